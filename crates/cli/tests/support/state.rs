//! Everything an owner can see of a service, without what differs from run to run: so that two runs can be compared.

use super::support::owner::{Answer, call};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;

/// The state as one JSON value.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// Comparable: no moments, ids of commands by their place, long texts as `…`.
    pub(crate) seen: Value,
    /// Ids of the commands of each device, in queue order.
    pub(crate) commands: Vec<(String, String)>,
    /// PEM of each certificate on record.
    pub(crate) certificates: Vec<String>,
    /// SHA-256 of the key of each certificate on record.
    pub(crate) certified_keys: Vec<String>,
}

/// Asks for all of it. `devices` are those whose queues are of interest.
pub(crate) fn look(at: SocketAddr, key: &str, devices: &[String]) -> State {
    let get = |path: &str| match call(at, key, "GET", path, None) {
        Ok(Answer { status: 200, body }) => body,
        Ok(Answer { status: 404, .. }) => Value::Null,
        other => panic!("GET {path}: {other:?}"),
    };
    let mut seen = Map::new();
    let (mut commands, mut certificates, mut certified_keys) = (vec![], vec![], vec![]);
    for device in devices {
        let path = format!("/v1/claimed-devices/{device}");
        let queue = get(&format!("{path}/provisioning"));
        let issued = get(&format!("{path}/certificates"));
        for item in items(&queue) {
            commands.push((device.clone(), text(&item["id"])));
        }
        for item in items(&issued) {
            certificates.push(text(&item["content"]));
            certified_keys.push(text(&item["publicKeySha256"]));
        }
        seen.insert(
            format!("device {device}"),
            json!({ "itself": get(&path), "commands": queue, "certificates": issued }),
        );
    }
    seen.insert("devices".into(), get("/v1/claimed-devices?pageLimit=100"));
    seen.insert("keys".into(), get("/v1/keys"));
    seen.insert("allowed".into(), get("/v1/allow-list?pageLimit=100"));
    seen.insert("audit".into(), get("/v1/audit?pageLimit=100"));
    let mut seen = Value::Object(seen);
    normalise(&mut seen, &commands);
    State {
        seen,
        commands,
        certificates,
        certified_keys,
    }
}

/// Status of each command of `device`, in queue order.
pub(crate) fn statuses(state: &State, device: &str) -> Vec<String> {
    items(&state.seen[format!("device {device}")]["commands"])
        .iter()
        .map(|item| text(&item["status"]))
        .collect()
}

/// Where two states differ first; `None` when they do not.
pub(crate) fn difference(left: &Value, right: &Value) -> Option<String> {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => a.keys().chain(b.keys()).find_map(|key| {
            let at = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
            difference(&at(a), &at(b)).map(|found| format!(".{key}{found}"))
        }),
        (Value::Array(a), Value::Array(b)) => (0..a.len().max(b.len())).find_map(|index| {
            let at = |list: &[Value]| list.get(index).cloned().unwrap_or(Value::Null);
            difference(&at(a), &at(b)).map(|found| format!("[{index}]{found}"))
        }),
        _ => (left != right).then(|| format!(": {left} and {right}")),
    }
}

fn items(list: &Value) -> Vec<Value> {
    list["items"].as_array().cloned().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn normalise(value: &mut Value, commands: &[(String, String)]) {
    /// Differ between two homes.
    const OTHER_EACH_TIME: [&str; 5] = ["serial", "publicKeySha256", "ownerId", "teamId", "detail"];
    const SHOWN_CHARS: usize = 80;
    match value {
        Value::Object(map) => {
            map.retain(|name, _| !OTHER_EACH_TIME.contains(&name.as_str()));
            for (name, member) in map {
                if name == "at" || name.ends_with("At") {
                    *member = json!(!member.is_null());
                } else if name == "commandId" && !commands.iter().any(|(_, id)| *member == **id) {
                    *member = json!(if member.is_null() { "none" } else { "gone" });
                } else {
                    normalise(member, commands);
                }
            }
        }
        Value::Array(list) => list
            .iter_mut()
            .for_each(|element| normalise(element, commands)),
        Value::String(text) => {
            for (place, (_, id)) in commands.iter().enumerate() {
                if text.contains(id) {
                    *text = text.replace(id, &format!("command {place}"));
                }
            }
            if text.chars().count() > SHOWN_CHARS {
                "…".clone_into(text);
            }
        }
        _ => {}
    }
}
