//! The owner's verbs: claim, devices, commands, status. Each is a call of the owner API and a table.

use crate::args::{Claim, Commands, Devices, ListDevices};
use crate::client::Owner;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output::{self, text_of};
use serde_json::{Value, json};
use std::io::Read as _;

/// The security tag of the vendor's examples, 0x01010001 (spec/owner-api §4).
pub(crate) const SEC_TAG_DEFAULT: u32 = 16_842_753;

/// `sectag claim`
pub(crate) async fn claim(owner: &Owner, place: &Place, args: Claim, as_json: bool) -> Outcome {
    let token = match args.token {
        None => return crate::claim_bulk::claim_from(owner, &args, as_json).await,
        Some(token) if token == "-" => from_stdin()?,
        Some(token) => token,
    };
    let mut body = json!({ "claimToken": token.trim() });
    if !args.tags.is_empty() {
        body["tags"] = json!(args.tags);
    }
    if args.accept_new_key {
        body["acceptNewKey"] = json!(true);
    }
    if args.dry_run {
        owner.post("/v1/claimed-devices?dryrun=true", &body).await?;
        eprintln!("this device can be claimed");
        return Ok(());
    }
    let way = args.onboard.map(|tag| onboarding(place, tag.get()));
    let way = way.transpose()?;
    let device = owner.post("/v1/claimed-devices", &body).await?;
    let id = text_of(&device, "id");
    if let Some(commands) = way {
        queue(owner, &id, commands, None).await?;
    }
    if as_json {
        output::json(&device);
    } else {
        output::print(&format!("{id}\n"));
        match args.onboard {
            Some(sec_tag) => {
                eprintln!("claimed; key, certificate and root CA for sec tag {sec_tag} are queued")
            }
            None => {
                eprintln!("claimed; queue what it shall get with `sectag commands onboard {id}`")
            }
        }
    }
    Ok(())
}

/// Queues the closed loop: root CA, key and CSR whose certificate the service issues, finished.
pub(crate) async fn onboard(owner: &Owner, place: &Place, device: &str, sec_tag: u32) -> Outcome {
    let commands = onboarding(place, sec_tag)?;
    queue(owner, device, commands, None).await?;
    Ok(())
}

fn onboarding(place: &Place, sec_tag: u32) -> Outcome<Vec<Value>> {
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

/// `sectag devices`
pub(crate) async fn devices(owner: &Owner, verb: Option<Devices>, as_json: bool) -> Outcome {
    match verb.unwrap_or_else(|| Devices::List(ListDevices::default())) {
        Devices::List(args) => crate::people::devices(owner, args, as_json).await?,
        Devices::Show { device } => {
            let found = owner
                .get(&format!("/v1/claimed-devices/{}", segment(&device)?))
                .await?;
            show(&found, as_json);
        }
        Devices::Unclaim { device } => {
            owner
                .delete(&format!("/v1/claimed-devices/{}", segment(&device)?))
                .await?;
            eprintln!(
                "{device} is no longer claimed; its certificates are revoked, its key stays known"
            );
        }
        Devices::Tag {
            device,
            tags,
            none: _,
        } => {
            crate::people::tag(owner, &device, &tags, as_json).await?;
        }
        Devices::Block { device } => block(owner, &device, true).await?,
        Devices::Unblock { device } => block(owner, &device, false).await?,
        Devices::Reset { device } => reset(owner, &device, as_json).await?,
        Devices::Register(args) => crate::registration::register(owner, args, as_json).await?,
        Devices::Revoke(args) => crate::registration::revoke(owner, args, as_json).await?,
    }
    Ok(())
}

async fn reset(owner: &Owner, device: &str, as_json: bool) -> Outcome {
    let path = format!("/v1/claimed-devices/{}/reset", segment(device)?);
    let done = owner.post(&path, &json!({})).await?;
    if as_json {
        output::json(&done);
        return Ok(());
    }
    let count = |member: &str| done[member].as_array().map_or(0, Vec::len);
    eprintln!(
        "{device} is reset: {} rules apply again, {} open commands discarded, {} ended ones removed",
        count("rules"),
        count("discarded"),
        count("removed")
    );
    Ok(())
}

async fn block(owner: &Owner, device: &str, blocked: bool) -> Outcome {
    owner
        .patch(
            &format!("/v1/claimed-devices/{}", segment(device)?),
            &json!({ "blocked": blocked }),
        )
        .await?;
    eprintln!(
        "{device} is {}",
        if blocked {
            "blocked"
        } else {
            "no longer blocked"
        }
    );
    Ok(())
}

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
    serde_json::from_str(text).map_err(|error| {
        Fault::untried(format!("`{text}` is no JSON: {error}"))
            .hint("for example '{\"finished\":{}}'")
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

/// `sectag status`
pub(crate) async fn status(owner: &Owner, as_json: bool) -> Outcome {
    let mut found = owner.get("/v1/status").await?;
    // Of CoAP a reader wants to know who is there; what each layer counted is for programs.
    if !as_json && let Some(Value::Object(coap)) = found.get_mut("coap") {
        coap.retain(|name, _| {
            ["sessions", "authorised", "takenOver", "handshakes"].contains(&name.as_str())
        });
    }
    match found {
        // Where it listens comes first, what it counted behind it.
        Value::Object(all) if !as_json => {
            let is_counter = |name: &str| ["admission", "broker", "coap"].contains(&name);
            let (counted, rest): (serde_json::Map<_, _>, serde_json::Map<_, _>) =
                all.into_iter().partition(|(name, _)| is_counter(name));
            show(&Value::Object(rest), false);
            output::print("\n");
            show(&Value::Object(counted), false);
        }
        found => show(&found, as_json),
    }
    Ok(())
}

/// A flat object as `member  value` lines, nested objects with dotted names; lists of objects as JSON.
pub(crate) fn show(value: &Value, as_json: bool) {
    if as_json {
        output::json(value);
        return;
    }
    let mut rows = Vec::new();
    flatten("", value, &mut rows);
    let width = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    for (name, text) in rows {
        let text = text.replace('\n', &format!("\n{:width$}  ", ""));
        output::print(&format!("{name:width$}  {text}\n"));
    }
}

fn flatten(prefix: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let name = if prefix.is_empty() {
                    key.clone()
                } else {
                    format!("{prefix}.{key}")
                };
                flatten(&name, value, rows);
            }
        }
        Value::Object(_) | Value::Null => rows.push((prefix.to_owned(), "-".to_owned())),
        Value::String(text) => rows.push((prefix.to_owned(), text.trim_end().to_owned())),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let text = items
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(", ");
            rows.push((
                prefix.to_owned(),
                if text.is_empty() {
                    "-".to_owned()
                } else {
                    text
                },
            ));
        }
        other => rows.push((prefix.to_owned(), other.to_string())),
    }
}

pub(crate) async fn all_pages(owner: &Owner, path: &str) -> Outcome<Vec<Value>> {
    let mut items = Vec::new();
    let mut next = String::new();
    loop {
        let page = owner.get(&format!("{path}{next}")).await?;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["pageNextToken"].as_str() {
            Some(token) if !token.is_empty() => next = format!("&pageNextToken={}", percent(token)),
            _ => return Ok(items),
        }
    }
}

fn from_stdin() -> Outcome<String> {
    let mut text = String::new();
    std::io::stdin().take(1 << 20).read_to_string(&mut text)?;
    Ok(text)
}

/// An id as a path segment; an id of ours never needs escaping, so other characters are a typing mistake.
pub(crate) fn segment(id: &str) -> Outcome<&str> {
    if !id.is_empty()
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    {
        Ok(id)
    } else {
        Err(Fault::no(format!("`{id}` is not an id")).hint("`sectag devices` lists device ids"))
    }
}

pub(crate) fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            use std::fmt::Write as _;
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
