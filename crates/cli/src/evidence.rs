//! `sectag events`: what happens, as it happens; `sectag alarms`: what somebody should look at; `sectag webhooks`: where
//! events are sent.

use crate::args::{AddWebhook, Alarms, AlarmsVerb, Events, Webhooks};
use crate::client::{Owner, all_pages, percent, segment};
use crate::fault::{Fault, Outcome};
use crate::output::{self, text_of};
use serde_json::{Value, json};
use std::time::Duration;

/// Before a stream that ended is begun again.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Rows asked for at once.
const PAGE: usize = 100;

/// `sectag events`
pub(crate) async fn events(owner: &Owner, args: Events, as_json: bool) -> Outcome {
    let mut followed = Followed {
        after: args.after,
        ..Followed::default()
    };
    let mut left = args.count.unwrap_or(usize::MAX);
    let mut begun = false;
    while left > 0 {
        let path = path_of(&args, followed.after);
        followed.begins();
        let ended = owner
            .follow(&path, |line| {
                begun = true;
                match followed.read(line) {
                    Some(data) if followed.kind == "lost" => say_lost(data),
                    Some(data) => {
                        print_event(data, as_json);
                        left = left.saturating_sub(1);
                    }
                    None => {}
                }
                left > 0
            })
            .await;
        match ended {
            _ if left == 0 => {}
            Ok(()) => {
                eprintln!(
                    "the stream ended; going on behind event {}",
                    followed.after.unwrap_or(0)
                );
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            // A service that is being restarted.
            Err(fault) if begun && fault.is_untried() => tokio::time::sleep(AGAIN_AFTER).await,
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

/// Where a stream is. A number counts when what it numbers was read: an end between the two loses nothing.
#[derive(Debug, Default)]
struct Followed {
    kind: String,
    id: Option<u64>,
    after: Option<u64>,
}

impl Followed {
    /// What the stream before left unfinished comes again.
    fn begins(&mut self) {
        (self.kind, self.id) = (String::new(), None);
    }

    /// Reads a line; gives what an event says.
    fn read<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        let mut data = None;
        if let Some(value) = line.strip_prefix("event: ") {
            value.clone_into(&mut self.kind);
        } else if let Some(value) = line.strip_prefix("id: ") {
            self.id = value.parse().ok();
        } else {
            data = line.strip_prefix("data: ");
        }
        // An empty line ends a number that came without an event.
        if data.is_some() || line.is_empty() {
            self.after = self.id.take().or(self.after);
        }
        data
    }
}

fn path_of(args: &Events, after: Option<u64>) -> String {
    let mut path = format!("/v1/events?kind={}", percent(&args.kinds.join(",")));
    if let Some(after) = after {
        path.push_str(&format!("&after={after}"));
    }
    if let Some(device) = &args.device {
        path.push_str(&format!("&device={}", percent(device)));
    }
    path
}

fn say_lost(data: &str) {
    let lost: Value = serde_json::from_str(data).unwrap_or_default();
    eprintln!(
        "events {} to {} were dropped before they were read",
        lost["from"], lost["to"]
    );
}

fn print_event(text: &str, as_json: bool) {
    if as_json {
        output::print(&format!("{text}\n"));
        return;
    }
    let event: Value = serde_json::from_str(text).unwrap_or_default();
    let line = format!(
        "{:>8}  {}  {:11}  {:36}  {}",
        text_of(&event, "number"),
        text_of(&event, "at"),
        text_of(&event, "kind"),
        text_of(&event, "deviceId"),
        words(&event)
    );
    output::print(&format!("{}\n", line.trim_end()));
}

/// What an event says, for people.
fn words(event: &Value) -> String {
    let data = &event["data"];
    match event["kind"].as_str() {
        Some("fetch") => {
            let kinds = data["commands"].as_array().into_iter().flatten();
            let kinds: Vec<String> = kinds.map(|command| text_of(command, "kind")).collect();
            kinds.join(", ")
        }
        Some("result") => {
            let mut words = format!("{} {}", text_of(data, "kind"), text_of(data, "status"));
            if data["failure"].is_string() {
                words.push_str(&format!(" ({})", text_of(data, "failure")));
            }
            words
        }
        _ => {
            let detail = data["detail"].as_str().unwrap_or_default();
            let words = format!("{} by {}", text_of(data, "action"), text_of(data, "by"));
            match detail {
                "" => words,
                detail => format!("{words}: {detail}"),
            }
        }
    }
}

/// `sectag alarms`
pub(crate) async fn alarms(owner: &Owner, args: Alarms, as_json: bool) -> Outcome {
    if let Some(AlarmsVerb::Ack { number }) = args.verb {
        owner
            .post(&format!("/v1/alarms/{number}/ack"), &Value::Null)
            .await?;
        eprintln!("alarm {number} acknowledged");
        return Ok(());
    }
    let path = format!("/v1/alarms?pageLimit={PAGE}&all={}", args.all);
    let items = all_pages(owner, &path).await?;
    if as_json {
        output::json(&json!({ "items": items }));
        return Ok(());
    }
    if items.is_empty() {
        eprintln!(
            "{}",
            match args.all {
                true => "no alarm has been raised that this key may see",
                false =>
                    "no alarm is open; `sectag alarms --all` lists those that were acknowledged",
            }
        );
        return Ok(());
    }
    let row = |item: &Value| {
        [
            "number",
            "at",
            "alarm",
            "deviceId",
            "acknowledgedBy",
            "detail",
        ]
        .map(|name| text_of(item, name))
        .to_vec()
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    output::table(
        &[
            "NUMBER",
            "AT",
            "ALARM",
            "DEVICE",
            "ACKNOWLEDGED BY",
            "DETAIL",
        ],
        &rows,
    );
    Ok(())
}

/// `sectag webhooks`
pub(crate) async fn webhooks(owner: &Owner, verb: Option<Webhooks>, as_json: bool) -> Outcome {
    match verb.unwrap_or(Webhooks::List) {
        Webhooks::List => list_webhooks(owner, as_json).await,
        Webhooks::Add(args) => add_webhook(owner, args, as_json).await,
        Webhooks::Test { id } => {
            let path = format!("/v1/webhooks/{}/test", segment(&id)?);
            let tested = owner.post(&path, &Value::Null).await?;
            if as_json {
                output::json(&tested);
            }
            match tested["delivered"].as_bool() {
                Some(true) => {
                    eprintln!(
                        "taken with status {} in {} ms",
                        tested["status"], tested["tookMs"]
                    );
                    Ok(())
                }
                _ => Err(Fault::no(format!(
                    "not taken: {}",
                    text_of(&tested, "error")
                ))),
            }
        }
        Webhooks::Pause { id } => pause(owner, &id, true).await,
        Webhooks::Resume { id } => pause(owner, &id, false).await,
        Webhooks::Remove { id } => {
            let path = format!("/v1/webhooks/{}", segment(&id)?);
            owner.delete(&path).await?;
            eprintln!("nothing is sent there any more");
            Ok(())
        }
    }
}

async fn list_webhooks(owner: &Owner, as_json: bool) -> Outcome {
    let found = owner.get("/v1/webhooks").await?;
    if as_json {
        output::json(&found);
        return Ok(());
    }
    let items = found["items"].as_array().cloned().unwrap_or_default();
    if items.is_empty() {
        eprintln!("there is none; `sectag webhooks add https://…` makes the first");
        return Ok(());
    }
    let row = |item: &Value| {
        ["id", "state", "behind", "kinds", "url", "lastError"]
            .map(|name| text_of(item, name))
            .to_vec()
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    output::table(
        &["ID", "STATE", "BEHIND", "KINDS", "URL", "LAST ERROR"],
        &rows,
    );
    Ok(())
}

async fn add_webhook(owner: &Owner, args: AddWebhook, as_json: bool) -> Outcome {
    let mut body = json!({ "url": args.receiver, "kinds": args.kinds });
    let given = args.secret_file.is_some();
    if let Some(path) = args.secret_file {
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Fault::untried(format!("cannot read `{}`: {error}", path.display()))
        })?;
        body["secret"] = text.trim().into();
    }
    let made = owner.post("/v1/webhooks", &body).await?;
    if as_json {
        output::json(&made);
        return Ok(());
    }
    output::print(&format!("id      {}\n", text_of(&made, "id")));
    if !given {
        output::print(&format!("secret  {}\n", text_of(&made, "secret")));
        eprintln!("the secret is shown this once; the receiver checks signatures with it");
    }
    eprintln!(
        "try it with `sectag webhooks test {}`",
        text_of(&made, "id")
    );
    Ok(())
}

async fn pause(owner: &Owner, id: &str, paused: bool) -> Outcome {
    let path = format!("/v1/webhooks/{}", segment(id)?);
    let known = owner.patch(&path, &json!({ "paused": paused })).await?;
    eprintln!("it is {}", text_of(&known, "state"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_ends_between_a_number_and_its_event_goes_on_before_it() {
        let mut followed = Followed::default();
        for line in ["event: claim", "id: 7", "data: {}", "", ": 9", "id: 9", ""] {
            followed.read(line);
        }
        assert_eq!(followed.after, Some(9));
        followed.read("event: fetch");
        followed.read("id: 10");
        assert_eq!(followed.after, Some(9), "its event has not come");
        followed.begins();
        assert_eq!((followed.read(""), followed.after), (None, Some(9)));
    }

    #[test]
    fn events_read_as_sentences() {
        for (event, said) in [
            (
                json!({"kind": "fetch", "data": {"commands": [{"kind": "finished"}, {"kind": "config"}]}}),
                "finished, config",
            ),
            (
                json!({"kind": "result", "data": {"kind": "config", "status": "FAILED", "failure": "at-error"}}),
                "config FAILED (at-error)",
            ),
            (
                json!({"kind": "claim", "data": {"action": "claim", "by": "owner", "detail": "for x"}}),
                "claim by owner: for x",
            ),
        ] {
            assert_eq!(words(&event), said);
        }
    }
}
