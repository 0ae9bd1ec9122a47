//! Verbs that talk to the running device over its control socket. `token` and `uuid` need none to run.

use super::{id_and_token, name_fault, print_one};
use crate::args::Which;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::modem_choice::{self, Choice};
use crate::output;
use sectag_device::control::{Connection, ControlError, Request};
use sectag_device::state::DeviceState;
use sectag_device::verbs;
use serde_json::{Value, json};

/// `sectag device token`
pub(super) async fn token(place: &Place, which: &Which, choice: &Choice, as_json: bool) -> Outcome {
    let (id, token) = match connect_if_running(place, which).await? {
        Some(mut connection) => (
            text(&ask(&mut connection, Request::Uuid).await?, "id"),
            text(&ask(&mut connection, Request::Token).await?, "claimToken"),
        ),
        None => {
            let mut opened = modem_choice::open(place, choice, which)?;
            let id = verbs::uuid(&mut *opened.modem)?;
            (id.to_string(), verbs::token(&mut *opened.modem)?)
        }
    };
    print_one(as_json, &id_and_token(&id, &token), &token);
    Ok(())
}

/// `sectag device uuid`
pub(super) async fn uuid(place: &Place, which: &Which, choice: &Choice, as_json: bool) -> Outcome {
    let id = match connect_if_running(place, which).await? {
        Some(mut connection) => text(&ask(&mut connection, Request::Uuid).await?, "id"),
        None => {
            let mut opened = modem_choice::open(place, choice, which)?;
            verbs::uuid(&mut *opened.modem)?.to_string()
        }
    };
    print_one(as_json, &json!({ "id": id }), &id);
    Ok(())
}

/// `sectag device now`
pub(super) async fn now(place: &Place, which: &Which, as_json: bool) -> Outcome {
    let mut connection = connect(place, which).await?;
    ask(&mut connection, Request::Now).await?;
    print_one(as_json, &json!({ "result": 0 }), "triggered");
    Ok(())
}

/// `sectag device interval`
pub(super) async fn interval(
    place: &Place,
    which: &Which,
    seconds: Option<i64>,
    as_json: bool,
) -> Outcome {
    let mut connection = connect(place, which).await?;
    let request = seconds.map_or(Request::Interval, Request::SetInterval);
    let mut answer = ask(&mut connection, request).await?;
    if let Some(members) = answer.as_object_mut() {
        members.remove("ok");
    }
    let text = format!("{} s", answer["seconds"]);
    if let (false, Some(next)) = (as_json, answer["nextSeconds"].as_u64()) {
        eprintln!("the next session begins in {next} s");
    }
    print_one(as_json, &answer, &text);
    Ok(())
}

/// `sectag device events`
pub(super) async fn events(
    place: &Place,
    which: &Which,
    after: u64,
    follow: bool,
    as_json: bool,
) -> Outcome {
    let mut connection = connect(place, which).await?;
    connection.follow(after, follow).await.map_err(fault)?;
    let mut seen = false;
    while let Some(event) = connection.next_event().await.map_err(fault)? {
        seen = true;
        if as_json {
            output::print(&format!("{event}\n"));
        } else {
            output::print(&format!("{}\n", event_line(&event)));
        }
    }
    if follow {
        eprintln!("the device has stopped");
    } else if !seen {
        let since = match after {
            0 => "yet".to_owned(),
            after => format!("behind {after}"),
        };
        eprintln!(
            "nothing happened {since}; `sectag device now` makes the device ask for commands"
        );
    }
    Ok(())
}

/// Number, time, name, then what belongs to it.
pub(super) fn event_line(event: &Value) -> String {
    let mut line = format!(
        "{:>4}  {}  {}",
        event["seq"].to_string(),
        text(event, "at"),
        text(event, "event")
    );
    for (name, value) in event.as_object().into_iter().flatten() {
        if matches!(name.as_str(), "seq" | "at" | "event") || value.is_null() {
            continue;
        }
        if name == "air" {
            line.push_str(&air(value));
            continue;
        }
        match value.as_str() {
            Some(text) => line.push_str(&format!("  {name}={}", text.escape_debug())),
            None => line.push_str(&format!("  {name}={value}")),
        }
    }
    line
}

/// What a session cost, for people; `--json` has the layers.
fn air(value: &Value) -> String {
    let number = |pointer: &str| value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    format!(
        "  {}: handshakes={} resumed={} round-trips={} sent={} received={}",
        text(value, "transport"),
        number("/handshakes/full"),
        number("/handshakes/resumed"),
        number("/roundTrips"),
        number("/sent/total"),
        number("/received/total"),
    )
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_default().to_owned()
}

async fn connect(place: &Place, which: &Which) -> Outcome<Connection> {
    connect_if_running(place, which).await?.ok_or_else(|| {
        Fault::untried(format!("device `{}` does not run", which.name)).hint(format!(
            "start it with `sectag device run --keep-running{}`",
            if which.name == "device-1" {
                String::new()
            } else {
                format!(" --name {}", which.name)
            }
        ))
    })
}

async fn connect_if_running(place: &Place, which: &Which) -> Outcome<Option<Connection>> {
    let folder = DeviceState::folder(&place.home, &which.name).map_err(name_fault)?;
    match Connection::open(&folder).await {
        Ok(connection) => Ok(Some(connection)),
        Err(ControlError::NotRunning { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn ask(connection: &mut Connection, request: Request) -> Outcome<Value> {
    connection.ask(request).await.map_err(fault)
}

fn fault(error: ControlError) -> Fault {
    let hint = match &error {
        ControlError::Refused { errno, .. } => match errno.as_str() {
            "-ENOTSUP" => Some(
                "start it with `-o auto-start=y -o scheduled=y`, or without a prj.conf that says otherwise",
            ),
            "-EINVAL" => Some("an interval is a number of seconds, 0 for the default"),
            "-ENOSTR" => Some("is there room, and may the device write its folder?"),
            _ => None,
        },
        ControlError::Closed | ControlError::Timeout { .. } => {
            Some("does it still run? its terminal says more")
        }
        _ => None,
    };
    let fault = match error {
        ControlError::Refused { .. } => Fault::no_because(error),
        other => Fault::from(other),
    };
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}
