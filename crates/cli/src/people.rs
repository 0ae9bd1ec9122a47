//! Keys, teams, the allow-list, and the list of devices: who may do what, to which of them.

use crate::args::{AllowList, Keys, ListDevices, OfTeam, Teams};
use crate::client::{Owner, all_pages, percent, segment};
use crate::fault::{Fault, Outcome};
use crate::output::{self, show, text_of};
use sectag_proto::DeviceId;
use sectag_proto::es256::Kid;
use sectag_proto::token::AttestationToken;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// `sectag keys`
pub(crate) async fn keys(owner: &Owner, verb: Option<Keys>, as_json: bool) -> Outcome {
    let list = Keys::List {
        of: OfTeam::default(),
    };
    match verb.unwrap_or(list) {
        Keys::List { of } => {
            let team = of_team(&of, '&');
            let items = all_pages(owner, &format!("/v1/keys?pageLimit=100{team}")).await?;
            let columns = [
                ("NAME", "name"),
                ("ROLE", "role"),
                ("TAGS", "tags"),
                ("CREATED", "createdAt"),
                ("EXPIRES", "expiresAt"),
                ("REVOKED", "revokedAt"),
            ];
            list_of(&items, &columns, as_json, "no keys");
        }
        Keys::Create {
            name,
            role,
            tags,
            expires,
            of,
        } => {
            let mut body = json!({ "name": name, "role": role });
            if !tags.is_empty() {
                body["tags"] = json!(tags);
            }
            if let Some(text) = expires {
                body["expiresAt"] = json!(moment(&text, OffsetDateTime::now_utc())?);
            }
            if let Some(team) = &of.team {
                body["team"] = json!(team);
            }
            let made = owner.post("/v1/keys", &body).await?;
            if as_json {
                output::json(&made);
            } else {
                let end = match made["expiresAt"].as_str() {
                    Some(end) => format!(", until {end}"),
                    None => String::new(),
                };
                eprintln!("key `{name}`, role {role}{end}; it is shown this once:");
                output::print(&format!("{}\n", text_of(&made, "key")));
            }
        }
        Keys::Revoke { name, of } => {
            let team = of_team(&of, '?');
            let path = format!("/v1/keys/{}{team}", percent(&name));
            owner.delete(&path).await?;
            eprintln!("revoked");
        }
    }
    Ok(())
}

fn of_team(of: &OfTeam, mark: char) -> String {
    let team = of.team.as_deref();
    team.map_or_else(String::new, |team| format!("{mark}team={}", percent(team)))
}

/// `sectag teams`
pub(crate) async fn teams(owner: &Owner, verb: Option<Teams>, as_json: bool) -> Outcome {
    let path = |team: &str| format!("/v1/teams/{}", percent(team));
    match verb.unwrap_or(Teams::List) {
        Teams::List => {
            let items = all_pages(owner, "/v1/teams?pageLimit=100").await?;
            let columns = [
                ("NAME", "name"),
                ("TEAM", "id"),
                ("TOPICS", "topicPrefix"),
                ("CREATED", "createdAt"),
            ];
            list_of(&items, &columns, as_json, "no teams");
        }
        Teams::Create { name, topic_prefix } => {
            let mut body = json!({ "name": name });
            if let Some(prefix) = topic_prefix {
                body["topicPrefix"] = json!(prefix);
            }
            let made = owner.post("/v1/teams", &body).await?;
            if as_json {
                output::json(&made);
            } else {
                output::print(&format!("{}\n", text_of(&made, "id")));
                eprintln!(
                    "made; its first key: `sectag keys create NAME --role owner --team {name}`"
                );
                let status = owner.get("/v1/status").await?;
                if status["policy"] == "allow-list" {
                    eprintln!(
                        "claims follow the allow-list: `sectag allow-list add` says which devices"
                    );
                }
            }
        }
        Teams::Show { team } => show(&owner.get(&path(&team)).await?, as_json),
        Teams::Rename { team, name } => {
            let body = json!({ "name": name });
            let changed = owner.patch(&path(&team), &body).await?;
            if as_json {
                output::json(&changed);
            } else {
                eprintln!("{team} is called {name} from now on");
            }
        }
        Teams::Delete { team } => {
            owner.delete(&path(&team)).await?;
            eprintln!("deleted; its keys are revoked");
        }
    }
    Ok(())
}

/// `sectag allow-list`
pub(crate) async fn allow_list(owner: &Owner, verb: Option<AllowList>, as_json: bool) -> Outcome {
    match verb.unwrap_or(AllowList::List) {
        AllowList::List => {
            let items = all_pages(owner, "/v1/allow-list?pageLimit=100").await?;
            let columns = [("DEVICE", "id"), ("KEY ID", "keyId"), ("ADDED", "addedAt")];
            let none =
                "nobody; add a device with `sectag allow-list add --token TOKEN --token TOKEN`";
            list_of(&items, &columns, as_json, none);
        }
        AllowList::Add {
            device,
            key_id,
            tokens,
        } => {
            let (device, key_id) = match (device, key_id) {
                (Some(device), Some(key_id)) => (device, key_id),
                _ => identity_of(&tokens)?,
            };
            let path = format!("/v1/allow-list/{}", segment(&device)?);
            owner.put(&path, &json!({ "keyId": key_id })).await?;
            eprintln!("{device} may be claimed under key {key_id}");
        }
        AllowList::Remove { device } => {
            let path = format!("/v1/allow-list/{}", segment(&device)?);
            owner.delete(&path).await?;
            eprintln!("{device} is off the list");
        }
    }
    Ok(())
}

/// Whose tokens these are: the one key that can have signed them all.
fn identity_of(tokens: &[String]) -> Outcome<(String, String)> {
    let hint =
        "run `AT%ATTESTTOKEN` (or `sectag device token`) twice; each run prints another token";
    let mut found: Option<(DeviceId, Vec<Kid>)> = None;
    for text in tokens {
        let token = AttestationToken::parse(text.trim()).map_err(|e| Fault::no(e.to_string()))?;
        let candidates = token.candidates().map_err(|e| Fault::no(e.to_string()))?;
        let mut kids: Vec<Kid> = candidates.iter().map(|candidate| candidate.kid).collect();
        if let Some((device, earlier)) = &found {
            if *device != token.device {
                let both = format!(
                    "the tokens are of two devices, {device} and {}",
                    token.device
                );
                return Err(Fault::no(both));
            }
            kids.retain(|kid| earlier.contains(kid));
        }
        found = Some((token.device, kids));
    }
    match found {
        Some((device, kids)) if kids.len() == 1 => Ok((device.to_string(), kids[0].to_string())),
        Some((_, kids)) if kids.is_empty() => {
            Err(Fault::no("no key can have signed all of these tokens").hint(hint))
        }
        _ => Err(Fault::no("one token does not tell which key signed it").hint(hint)),
    }
}

/// `sectag devices list`
pub(crate) async fn devices(owner: &Owner, args: ListDevices, as_json: bool) -> Outcome {
    let status = args.status.map(|word| word.to_ascii_uppercase());
    let mut path = "/v1/claimed-devices?pageLimit=100".to_owned();
    let filters = [
        ("tag", args.tag),
        ("status", status),
        ("prefix", args.prefix),
    ];
    let filtered = filters.iter().any(|(_, value)| value.is_some());
    for (name, value) in filters {
        if let Some(value) = value {
            path += &format!("&{name}={}", percent(&value));
        }
    }
    let items = all_pages(owner, &path).await?;
    let columns = [
        ("DEVICE", "id"),
        ("TYPE", "deviceType"),
        ("STATUS", "status"),
        ("TAGS", "tags"),
        ("CLAIMED", "claimedAt"),
    ];
    let none = match filtered {
        true => "no such devices",
        false => {
            "no devices that this key may see; claim the first one with `sectag claim TOKEN`\n\
             (what an admin or owner claimed, viewers and editors do not see)"
        }
    };
    list_of(&items, &columns, as_json, none);
    Ok(())
}

/// `sectag devices tag`
pub(crate) async fn tag(owner: &Owner, device: &str, tags: &[String], as_json: bool) -> Outcome {
    let path = format!("/v1/claimed-devices/{}", segment(device)?);
    let changed = owner.patch(&path, &json!({ "tags": tags })).await?;
    if as_json {
        output::json(&changed);
    } else {
        match changed["tags"]
            .as_array()
            .is_some_and(|tags| !tags.is_empty())
        {
            true => eprintln!("{device} has the tags {}", text_of(&changed, "tags")),
            false => eprintln!("{device} has no tags"),
        }
    }
    Ok(())
}

fn list_of(items: &[Value], columns: &[(&str, &str)], as_json: bool, none: &str) {
    if as_json {
        output::json(&json!({ "items": items }));
    } else if items.is_empty() {
        eprintln!("{none}");
    } else {
        let row = |item: &Value| columns.iter().map(|(_, of)| text_of(item, of)).collect();
        let headers: Vec<&str> = columns.iter().map(|(header, _)| *header).collect();
        output::table(&headers, &items.iter().map(row).collect::<Vec<_>>());
    }
}

/// A date, a time, or a span from now, as RFC 3339.
fn moment(text: &str, now: OffsetDateTime) -> Outcome<String> {
    let wrong = || {
        Fault::untried(format!("`{text}` is no time"))
            .hint("for example 2027-01-31, 2027-01-31T12:00:00Z, 90d or 12h")
    };
    let span = |digits: &str, hours: i64| {
        let count = digits.parse::<u32>().ok();
        count.and_then(|n| now.checked_add(Duration::hours(i64::from(n) * hours)))
    };
    let at = match (text.strip_suffix('d'), text.strip_suffix('h')) {
        (Some(days), _) => span(days, 24),
        (_, Some(hours)) => span(hours, 1),
        _ => OffsetDateTime::parse(text, &Rfc3339)
            .or_else(|_| OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339))
            .ok(),
    };
    let text = at.and_then(|at| at.format(&Rfc3339).ok());
    text.ok_or_else(wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_a_time_or_a_span() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        for (text, expected) in [
            ("2027-01-31", "2027-01-31T00:00:00Z"),
            ("2027-01-31T12:30:00+02:00", "2027-01-31T12:30:00+02:00"),
            ("1d", "2027-01-16T08:00:00Z"),
            ("2h", "2027-01-15T10:00:00Z"),
        ] {
            assert_eq!(moment(text, now).unwrap(), expected);
        }
        for wrong in ["", "d", "tomorrow", "2027-02-30", "-1d", "99999999999d"] {
            assert!(moment(wrong, now).is_err(), "{wrong}");
        }
    }

    /// Two of one virtual modem.
    const TOKENS: [&str; 2] = [
        "2dn3hQFQUOnYV94wQaS9kgQONMBmIgZQbxwtPkpbTG2Of5ChssPU5VDEp3QbLLtivDTPHNWgv17e.0oRDoQEmoQRBIfZYQCDIFDIiASmwKig8_nMp0IWei_-x0LmoIWyGzA9LOnLjcymq6JrRD1wyiZRc0H-Y4oMKWaQCqz1gCgBCaKYigAg",
        "2dn3hQFQUOnYV94wQaS9kgQONMBmIgZQbxwtPkpbTG2Of5ChssPU5VCSstfD3wMfjBPayIlRRl93.0oRDoQEmoQRBIfZYQAiF_7DQmHmTttu-k6llecEnRRiX9GCfafuBriAlmgERI1ZFWE-dEvIgDHhs4etpdcGRkkLf8-5QxOyxb0Qt9bk",
    ];

    #[test]
    fn two_tokens_tell_the_key_and_one_does_not() {
        let (device, key_id) = identity_of(&TOKENS.map(str::to_owned)).unwrap();
        assert_eq!(device, "50e9d857-de30-41a4-bd92-040e34c06622");
        assert_eq!(
            key_id,
            "94c2472f8bdd23940877dc8f095b353c2d34640fe4596ef3d0cc218cbedef150"
        );
        assert!(
            identity_of(
                &TOKENS[..1]
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
            )
            .is_err()
        );
        assert!(identity_of(&[]).is_err());
        assert!(identity_of(&["x".to_owned()]).is_err());
    }
}
