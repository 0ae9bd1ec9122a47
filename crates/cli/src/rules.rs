//! `sectag rules`: what devices with a tag get when they show up.

use crate::args::{NewRule, Rules};
use crate::client::{Owner, all_pages, percent};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output::{self, text_of};
use serde_json::{Value, json};

const PATH: &str = "/v1/provisioning-rules";

/// `sectag rules`
pub(crate) async fn rules(
    owner: &Owner,
    place: &Place,
    verb: Option<Rules>,
    as_json: bool,
) -> Outcome {
    match verb.unwrap_or(Rules::List) {
        Rules::List => list(owner, as_json).await?,
        Rules::Show { rule } => output::json(&find(owner, &rule).await?),
        Rules::Create(new) => {
            let body = body(place, &new, json!({}))?;
            for member in ["name", "commands"] {
                if body[member].is_null() {
                    return Err(Fault::untried(format!("the rule has no `{member}`")).hint(
                        "`sectag rules create --name N --tag T --onboard`, or a file: `sectag rules example`",
                    ));
                }
            }
            let made = owner.post(PATH, &body).await?;
            say(&made, as_json, "made");
        }
        Rules::Change { rule, new } => {
            let known = find(owner, &rule).await?;
            let mut change = body(place, &new, json!({}))?;
            if change["active"] == json!(false) {
                change
                    .as_object_mut()
                    .map(|members| members.remove("active"));
            }
            let path = format!("{PATH}/{}", text_of(&known, "id"));
            let changed = owner.patch(&path, &change).await?;
            say(&changed, as_json, "changed");
        }
        Rules::Activate { rule } => {
            let known = find(owner, &rule).await?;
            let path = format!("{PATH}/{}/activate", text_of(&known, "id"));
            let active = owner.post(&path, &json!({})).await?;
            say(&active, as_json, "active");
        }
        Rules::Delete { rule } => {
            let known = find(owner, &rule).await?;
            owner
                .delete(&format!("{PATH}/{}", text_of(&known, "id")))
                .await?;
            eprintln!("deleted; commands that it queued stay queued");
        }
        Rules::Example => output::json(&example(place)),
    }
    Ok(())
}

fn say(rule: &Value, as_json: bool, what: &str) {
    if as_json {
        output::json(rule);
        return;
    }
    output::print(&format!("{}\n", text_of(rule, "id")));
    let name = text_of(rule, "name");
    match rule["state"].as_str() {
        Some("DRAFT") => eprintln!(
            "{what}; `{name}` is a draft: `sectag plan --rule {name}` shows what it would do, `sectag rules activate {name}` lets it"
        ),
        _ => eprintln!(
            "{what}; `{name}` applies to each device with one of its tags when it shows up, once"
        ),
    }
}

async fn list(owner: &Owner, as_json: bool) -> Outcome {
    let items = all_pages(owner, &format!("{PATH}?pageLimit=100")).await?;
    if as_json {
        output::json(&json!({ "items": items }));
        return Ok(());
    }
    if items.is_empty() {
        eprintln!("no rules; make one with `sectag rules create --name N --tag T --onboard`");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = items
        .iter()
        .map(|rule| {
            let commands = rule["commands"].as_array().map_or(0, Vec::len);
            vec![
                text_of(rule, "id"),
                text_of(rule, "name"),
                text_of(rule, "state"),
                text_of(rule, "tags"),
                commands.to_string(),
                policy_words(&rule["onError"]),
                match rule["renewal"].is_object() {
                    true => format!("at {} %", text_of(&rule["renewal"], "atPercent")),
                    false => "-".to_owned(),
                },
            ]
        })
        .collect();
    output::table(
        &[
            "RULE", "NAME", "STATE", "TAGS", "COMMANDS", "ON ERROR", "RENEWAL",
        ],
        &rows,
    );
    Ok(())
}

/// As `--on-error` takes it.
pub(crate) fn policy_words(policy: &Value) -> String {
    match policy.as_str() {
        Some("keepRest") => "keep-rest".to_owned(),
        Some("park") => "park".to_owned(),
        Some(_) => "drop-rest".to_owned(),
        None => match policy["retry"]["times"].as_u64() {
            Some(times) => format!("retry={times}"),
            None => "drop-rest".to_owned(),
        },
    }
}

/// A rule by its name or id.
pub(crate) async fn find(owner: &Owner, named: &str) -> Outcome<Value> {
    let items = all_pages(owner, &format!("{PATH}?pageLimit=100")).await?;
    let found = items
        .into_iter()
        .find(|rule| rule["name"] == named || rule["id"] == named.to_ascii_lowercase());
    found.ok_or_else(|| {
        Fault::no(format!("no rule `{named}`")).hint("`sectag rules` lists names and ids")
    })
}

/// What the file and the flags say, as JSON of the owner API.
pub(crate) fn body(place: &Place, new: &NewRule, start: Value) -> Outcome<Value> {
    let mut rule = match &new.file {
        None => start,
        Some(file) => read(file)?,
    };
    let Some(members) = rule.as_object_mut() else {
        return Err(Fault::untried("a rule is a JSON object").hint("see `sectag rules example`"));
    };
    if let Some(name) = &new.name {
        members.insert("name".into(), json!(name));
    }
    if let Some(description) = &new.description {
        members.insert("description".into(), json!(description));
    }
    if !new.tags.is_empty() {
        members.insert("tags".into(), json!(new.tags));
    }
    if let Some(policy) = &new.on_error {
        members.insert("onError".into(), policy.clone());
    }
    if let Some(sec_tag) = new.onboard {
        let commands = onboarding(place, sec_tag.get(), new.validity_days)?;
        members.insert("commands".into(), json!(commands));
    }
    if let Some(percent) = new.renew {
        let mut renewal = json!({ "atPercent": percent });
        if let Some(sec_tag) = new.renew_into {
            renewal["into"] = json!({ "alternate": { "secTag": sec_tag.get() } });
        }
        members.insert("renewal".into(), renewal);
    }
    if new.active {
        members.insert("active".into(), json!(true));
    }
    Ok(rule)
}

/// Root CA, key and certificate; for a rule the service appends `finished`.
pub(crate) fn onboarding(place: &Place, sec_tag: u32, days: Option<u32>) -> Outcome<Vec<Value>> {
    let root = root_command(place, sec_tag)?;
    let issue = days.map_or(json!(true), |days| json!({ "validityDays": days }));
    let key = json!({ "description": "Key and certificate",
        "request": { "certificateSigningRequest":
            { "secTag": sec_tag, "attributes": "", "keyUsage": "101010000", "issue": issue } } });
    Ok(vec![root, key])
}

/// What lets a device know the servers of this home.
fn root_command(place: &Place, sec_tag: u32) -> Outcome<Value> {
    let path = place.home.join("ca/root.crt");
    let root = std::fs::read_to_string(&path).map_err(|error| {
        Fault::untried(format!("no root CA at `{}`: {error}", path.display()))
            .hint("with a service elsewhere give a file that holds its root CA")
    })?;
    Ok(json!({ "description": "Root CA",
        "request": { "serverCertificate": { "secTag": sec_tag, "content": root.trim_end() } } }))
}

/// JSON from a file or stdin.
pub(crate) fn read(file: &str) -> Outcome<Value> {
    let text = match file {
        "-" => output::from_stdin()?,
        file => std::fs::read_to_string(file)
            .map_err(|error| Fault::untried(format!("cannot read `{file}`: {error}")))?,
    };
    serde_json::from_str(&text).map_err(|error| {
        Fault::untried(format!("`{file}` is no JSON: {error}"))
            .hint("`sectag rules example` prints a rule to begin with")
    })
}

/// The whole way to MQTT with all that a rule can say. Without the root CA, which must be said, where that is elsewhere.
fn example(place: &Place) -> Value {
    let mut rule = json!({
        "name": "farm",
        "description": "What every device of the farm gets",
        "tags": ["farm"],
        "commands": [
            { "description": "Key and certificate",
              "request": { "certificateSigningRequest": {
                "secTag": 16_842_753, "attributes": "CN={{device.id}}", "keyUsage": "101010000",
                "issue": { "profile": "client", "validityDays": 365 } } } },
            { "description": "Where it reports to",
              "request": { "config": { "topic": "farm/{{tag.location}}/{{device.id}}" } } },
        ],
        "onError": { "retry": { "times": 2 } },
        "renewal": { "atPercent": 67, "into": { "alternate": { "secTag": 16_842_754 } } },
        "active": false,
    });
    match (
        root_command(place, 16_842_753),
        rule["commands"].as_array_mut(),
    ) {
        (Ok(root), Some(commands)) => commands.insert(0, root),
        _ => eprintln!(
            "there is no root CA in this home: put a serverCertificate with the one of your service before the other commands"
        ),
    }
    rule
}

/// The path of a tag; tags are free text.
pub(crate) fn tag_path(tag: &str) -> String {
    format!("/v1/provisioning/tags/{}", percent(tag))
}
