//! `sectag commands`, and what the closed loop is made of.

use crate::args::Commands;
use crate::client::{Owner, segment};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output::{self, from_stdin, show, text_of};
use serde_json::{Value, json};

/// The security tag of the vendor's examples, 0x01010001 (spec/owner-api §4).
pub(crate) const SEC_TAG_DEFAULT: u32 = 16_842_753;

/// `sectag commands`
pub(crate) async fn commands(
    owner: &Owner,
    place: &Place,
    verb: Commands,
    as_json: bool,
) -> Outcome {
    match verb {
        Commands::List { device } => {
            let found = owner
                .get(&format!(
                    "/v1/claimed-devices/{}/provisioning",
                    segment(&device)?
                ))
                .await?;
            if as_json {
                output::json(&found);
                return Ok(());
            }
            let items = found["items"].as_array().cloned().unwrap_or_default();
            if items.is_empty() {
                eprintln!("no commands; queue some with `sectag commands onboard {device}`");
            } else {
                let rows: Vec<_> = items.iter().map(command_row).collect();
                output::table(&["COMMAND", "KIND", "SEC TAG", "STATUS", "ANSWER"], &rows);
            }
        }
        Commands::Show { device, command } => {
            let path = format!(
                "/v1/claimed-devices/{}/provisioning/{}",
                segment(&device)?,
                segment(&command)?
            );
            show(&owner.get(&path).await?, as_json);
        }
        Commands::Add {
            device,
            requests,
            description,
            on_error,
        } => {
            let mut parsed = Vec::new();
            for text in requests {
                let texts = if text == "-" {
                    from_stdin()?.lines().map(str::to_owned).collect()
                } else {
                    vec![text]
                };
                for text in texts.iter().filter(|text| !text.trim().is_empty()) {
                    let mut command = json!({ "request": parsed_request(text)? });
                    if let Some(description) = &description {
                        command["description"] = json!(description);
                    }
                    parsed.push(command);
                }
            }
            if parsed.is_empty() {
                return Err(Fault::untried("there is no command on stdin")
                    .hint("one JSON object per line, for example {\"finished\":{}}"));
            }
            let (made, items) = queue(owner, &device, parsed, on_error).await?;
            if as_json {
                output::json(&made);
            } else {
                for item in &items {
                    output::print(&format!("{}\n", text_of(item, "id")));
                }
            }
        }
        Commands::Change {
            device,
            command,
            request,
            description,
            resume,
            skip,
            discard,
        } => {
            let mut change = json!({});
            if let Some(text) = request {
                change["request"] = parsed_request(&text)?;
            }
            if let Some(text) = description {
                change["description"] = json!(text);
            }
            let wish = [(resume, "resume"), (skip, "skip"), (discard, "discard")];
            if let Some((_, action)) = wish.into_iter().find(|(given, _)| *given) {
                change["action"] = json!(action);
            }
            let path = format!(
                "/v1/claimed-devices/{}/provisioning/{}",
                segment(&device)?,
                segment(&command)?
            );
            let changed = owner.patch(&path, &change).await?;
            if as_json {
                output::json(&changed);
            } else {
                eprintln!("changed; it is {}", text_of(&changed, "status"));
            }
        }
        Commands::Onboard { device, sec_tag } => {
            onboard(owner, place, &device, sec_tag.get()).await?;
            eprintln!(
                "key, certificate and root CA for sec tag {sec_tag} are queued; the device gets them when it comes"
            );
        }
        Commands::Delete {
            device,
            command,
            all: _,
            force,
        } => {
            let device = segment(&device)?;
            let force = if force { "?force=true" } else { "" };
            let path = match &command {
                Some(command) => format!(
                    "/v1/claimed-devices/{device}/provisioning/{}{force}",
                    segment(command)?
                ),
                None => format!("/v1/claimed-devices/{device}/provisioning{force}"),
            };
            owner.delete(&path).await?;
            eprintln!("discarded");
        }
    }
    Ok(())
}

fn parsed_request(text: &str) -> Outcome<Value> {
    let parsed = match text.trim_start().starts_with('{') {
        true => serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}")),
        false => Err("is no command, which is a JSON object".to_owned()),
    };
    parsed.map_err(|why| {
        Fault::untried(format!("`{text}` {why}")).hint("for example '{\"finished\":{}}'")
    })
}

/// Kind, tag, status and the first line of the answer.
pub(crate) fn command_row(item: &Value) -> Vec<String> {
    let member = |object: &Value| {
        object.as_object().and_then(|map| {
            map.iter()
                .find(|(key, _)| *key != "requestedAt" && *key != "respondedAt")
                .map(|(key, value)| (key.clone(), value.clone()))
        })
    };
    let (kind, fields) = member(&item["request"]).unwrap_or(("-".to_owned(), Value::Null));
    let answer = member(&item["response"])
        .map(|(_, response)| answer_text(&response))
        .unwrap_or_default();
    vec![
        text_of(item, "id"),
        kind,
        text_of(&fields, "secTag"),
        status_of(item),
        if answer.is_empty() {
            "-".to_owned()
        } else {
            answer
        },
    ]
}

/// The status, and that it is parked.
fn status_of(item: &Value) -> String {
    let status = text_of(item, "status");
    match item["parked"] == true {
        true => format!("{status}, parked"),
        false => status,
    }
}

fn answer_text(response: &Value) -> String {
    /// Characters of an answer that fit beside the other columns; `commands show` has all.
    const SHOWN: usize = 48;
    let number = response["cmeError"]
        .as_u64()
        .map(|number| format!("CME {number}: "))
        .unwrap_or_default();
    let words = response["message"].as_str().unwrap_or_default();
    let first = words
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default()
        .trim();
    let text = format!("{number}{first}");
    if text.chars().count() > SHOWN {
        format!("{}…", text.chars().take(SHOWN).collect::<String>())
    } else {
        text
    }
}

/// Queues the closed loop: root CA, key and CSR whose certificate the service issues, finished.
pub(crate) async fn onboard(owner: &Owner, place: &Place, device: &str, sec_tag: u32) -> Outcome {
    let commands = onboarding(place, sec_tag)?;
    queue(owner, device, commands, None).await?;
    Ok(())
}

pub(crate) fn onboarding(place: &Place, sec_tag: u32) -> Outcome<Vec<Value>> {
    let mut commands = crate::rules::onboarding(place, sec_tag, None)?;
    commands.push(json!({ "description": "Done", "request": { "finished": {} } }));
    Ok(commands)
}

/// Creates commands together, all or none: the answer, and the commands in it.
pub(crate) async fn queue(
    owner: &Owner,
    device: &str,
    mut commands: Vec<Value>,
    policy: Option<Value>,
) -> Outcome<(Value, Vec<Value>)> {
    let path = format!("/v1/claimed-devices/{}/provisioning", segment(device)?);
    let mut body = match commands.len() {
        1 => commands.remove(0),
        _ => json!({ "commands": commands }),
    };
    if let Some(policy) = policy {
        body["onError"] = policy;
    }
    let made = owner.post(&path, &body).await?;
    let items = match made["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![made.clone()],
    };
    Ok((made, items))
}
