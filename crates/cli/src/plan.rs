//! `sectag plan`: what devices will get, exactly, before anything runs.

use crate::args::PlanArgs;
use crate::client::{Owner, percent, segment};
use crate::fault::{Fault, Outcome};
use crate::output::{self, text_of};
use crate::rules::{find, policy_words, read};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// `sectag plan`
pub(crate) async fn plan(owner: &Owner, args: PlanArgs, as_json: bool) -> Outcome {
    let rule = match &args.rule {
        None => None,
        Some(named) => Some(draft(owner, named).await?),
    };
    let (found, problems) = match (&args.device, &args.tag, &rule) {
        (Some(device), _, rule) => {
            let path = format!("/v1/claimed-devices/{}/plan", segment(device)?);
            let plan = match rule {
                Some(rule) => owner.post(&path, rule).await?,
                None => owner.get(&path).await?,
            };
            let problems = list(&plan, "problems").len();
            (Shown::One(plan), problems)
        }
        (None, Some(tag), _) => {
            let body = json!({ "tag": tag });
            fleet(owner, "/v1/plan", &body, &args).await?
        }
        (None, None, Some(rule)) => {
            fleet(owner, "/v1/provisioning-rules/plan", rule, &args).await?
        }
        (None, None, None) => return Err(Fault::untried("a device, --tag or --rule is needed")),
    };
    match (&found, as_json) {
        (Shown::One(plan) | Shown::Fleet(plan), true) => output::json(plan),
        (Shown::One(plan), false) => output::print(&plan_text(plan)),
        (Shown::Fleet(fleet), false) => output::print(&fleet_text(fleet)),
    }
    if let (Shown::One(plan), false) = (&found, as_json)
        && list(plan, "commands").is_empty()
    {
        eprintln!("nothing is queued, and no rule brings anything");
    }
    if let (Shown::Fleet(fleet), false) = (&found, as_json)
        && fleet["lookedAt"] == 0
    {
        eprintln!("no device carries such a tag; `sectag claim TOKEN --tag TAG` gives it one");
    }
    if args.check && problems > 0 {
        return Err(Fault::no(format!(
            "{problems} {} not get what the rules say",
            if problems == 1 {
                "device does"
            } else {
                "devices do"
            }
        )));
    }
    Ok(())
}

enum Shown {
    One(Value),
    Fleet(Value),
}

/// A rule from a file, or one that is there, as the plan takes it.
async fn draft(owner: &Owner, named: &str) -> Outcome<Value> {
    if named == "-" || std::path::Path::new(named).exists() {
        return read(named);
    }
    let mut rule = find(owner, named).await.map_err(|_| {
        Fault::no(format!("there is neither a file nor a rule `{named}`"))
            .hint("`sectag rules` lists names; `sectag rules example` prints a file to begin with")
    })?;
    if rule["state"] == "ACTIVE" {
        return Err(Fault::no(format!("the rule `{named}` is active already"))
            .hint("`sectag plan --tag TAG` and `sectag plan DEVICE` show what it brings"));
    }
    let has_secrets = rule["commands"].to_string().contains("\"sha256\"");
    if has_secrets {
        return Err(Fault::no(format!(
            "the rule `{named}` holds secrets, which are not shown again"
        ))
        .hint("plan with the file that it was made from"));
    }
    if let Some(members) = rule.as_object_mut() {
        for member in ["id", "state", "active", "createdAt", "activatedAt"] {
            members.remove(member);
        }
        for command in members
            .get_mut("commands")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if command["description"].is_null() {
                command.as_object_mut().map(|c| c.remove("description"));
            }
        }
    }
    Ok(rule)
}

/// All pages that were asked for, their groups added up; how many devices have a problem.
async fn fleet(
    owner: &Owner,
    path: &str,
    body: &Value,
    args: &PlanArgs,
) -> Outcome<(Shown, usize)> {
    let mut sum = json!({ "lookedAt": 0, "groups": [], "items": [] });
    let mut next = String::new();
    loop {
        let shown = list(&sum, "items").len();
        let limit = args.limit.saturating_sub(shown).clamp(1, 100);
        let page = owner
            .post(&format!("{path}?pageLimit={limit}{next}"), body)
            .await?;
        if !page["total"].is_null() {
            sum["total"] = page["total"].clone();
        }
        let looked = sum["lookedAt"].as_u64().unwrap_or(0) + page["lookedAt"].as_u64().unwrap_or(0);
        sum["lookedAt"] = json!(looked);
        add_groups(&mut sum, &page);
        if let Some(items) = sum["items"].as_array_mut() {
            let more = list(&page, "items").iter().cloned();
            items.extend(more.take(args.limit.saturating_sub(shown)));
        }
        match page["pageNextToken"].as_str() {
            Some(token) if args.all => next = format!("&pageNextToken={}", percent(token)),
            Some(token) => {
                sum["pageNextToken"] = json!(token);
                break;
            }
            None => break,
        }
    }
    let problems = list(&sum, "groups")
        .iter()
        .filter(|group| !list(group, "problems").is_empty())
        .filter_map(|group| group["devices"].as_u64())
        .sum::<u64>();
    let problems = usize::try_from(problems).unwrap_or(usize::MAX);
    Ok((Shown::Fleet(sum), problems))
}

fn add_groups(sum: &mut Value, page: &Value) {
    let Some(groups) = sum["groups"].as_array_mut() else {
        return;
    };
    for new in list(page, "groups") {
        let same = groups
            .iter_mut()
            .find(|g| g["commands"] == new["commands"] && g["problems"] == new["problems"]);
        match same {
            Some(known) => {
                let count = |group: &Value| group["devices"].as_u64().unwrap_or(0);
                known["devices"] = json!(count(known) + count(new));
            }
            None => groups.push(new.clone()),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group["devices"].as_u64()));
}

fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().map_or(&[], Vec::as_slice)
}

fn texts<'a>(value: &'a Value, member: &str) -> impl Iterator<Item = &'a str> {
    list(value, member).iter().filter_map(Value::as_str)
}

fn fleet_text(fleet: &Value) -> String {
    let mut text = String::new();
    let looked = text_of(fleet, "lookedAt");
    let of = match fleet["total"].as_u64() {
        Some(total) => format!(" of {total}"),
        None => String::new(),
    };
    let more = match fleet["pageNextToken"].is_string() {
        true => "; --all looks at the rest",
        false => "",
    };
    let _ = writeln!(text, "{looked}{of} devices looked at{more}");
    for group in list(fleet, "groups") {
        let devices = text_of(group, "devices");
        let example = text_of(group, "example");
        let _ = match group["devices"].as_u64() {
            Some(1) => writeln!(text, "\n1 device, {example}:"),
            _ => writeln!(text, "\n{devices} devices, {example} for example:"),
        };
        let commands: Vec<&str> = texts(group, "commands").collect();
        if commands.is_empty() {
            text.push_str("  nothing\n");
        }
        for command in commands {
            let _ = writeln!(text, "  {command}");
        }
        for problem in texts(group, "problems") {
            let _ = writeln!(text, "  problem: {problem}");
        }
    }
    for plan in list(fleet, "items") {
        let _ = writeln!(text, "\n{}:", text_of(plan, "deviceId"));
        match plan_text(plan) {
            empty if empty.is_empty() => text.push_str("  nothing\n"),
            lines => text.push_str(&lines),
        }
    }
    text
}

/// Each command with its lines, in the order of execution.
fn plan_text(plan: &Value) -> String {
    let mut text = String::new();
    for (number, command) in (1..).zip(list(plan, "commands")) {
        let kind = command["request"]
            .as_object()
            .and_then(|request| request.keys().next())
            .map_or("-", String::as_str);
        let _ = write!(text, "{number:3}  {}: {kind}", source(&command["source"]));
        let policy = policy_words(&command["onError"]);
        if policy != "drop-rest" {
            let _ = write!(text, "  (on error: {policy})");
        }
        text.push('\n');
        for wire in list(command, "wire") {
            // Line feeds of PEM are a part of the command.
            let line = wire_text(wire).replace('\n', "\n     ");
            let _ = writeln!(text, "     {line}");
        }
        for note in texts(command, "notes") {
            let _ = writeln!(text, "     note: {note}");
        }
    }
    for problem in texts(plan, "problems") {
        let _ = writeln!(text, "problem: {problem}");
    }
    text
}

fn source(source: &Value) -> String {
    if let Some(status) = source["status"].as_str() {
        return format!("queued, {status}");
    }
    if source["renewal"] == true {
        return "renewal".to_owned();
    }
    let name = text_of(source, "ruleName");
    match source["ruleState"].as_str() {
        Some("DRAFT") => format!("rule `{name}`, if it were active"),
        _ => format!("rule `{name}`"),
    }
}

fn wire_text(wire: &Value) -> String {
    if let Some(line) = wire["at"].as_str() {
        let codes: Vec<String> = list(wire, "ignoreCmeErrors")
            .iter()
            .map(Value::to_string)
            .collect();
        return match &codes[..] {
            [] => line.to_owned(),
            codes => format!("{line}    (CME {} counts as success)", codes.join(", ")),
        };
    }
    if let Some(pairs) = wire["config"].as_object() {
        return pairs
            .iter()
            .map(|(key, value)| format!("{key} = {}", value.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join("\n");
    }
    "finished".to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pages_add_up_by_what_devices_get() {
        let group = |devices: u64, command: &str| json!({"devices": devices, "commands": [command], "problems": [], "example": "x"});
        let mut sum = json!({"groups": [group(3, "a")]});
        add_groups(&mut sum, &json!({"groups": [group(2, "b"), group(4, "a")]}));
        assert_eq!(sum["groups"], json!([group(7, "a"), group(2, "b")]));
    }

    #[test]
    fn a_plan_reads_line_by_line() {
        let plan = json!({
            "commands": [
                {"source": {"ruleName": "farm", "ruleState": "DRAFT"}, "request": {"clientCertificate": {}},
                 "wire": [{"at": "AT%CMNG=3,7,1", "ignoreCmeErrors": [513]}, {"at": "AT%CMNG=0,7,1,\"A\nB\""}],
                 "onError": {"retry": {"times": 2}}, "notes": ["n"]},
                {"source": {"commandId": "c", "status": "PENDING"}, "request": {"finished": {}},
                 "wire": [{"finished": true}], "onError": "vendorDefault", "notes": []}],
            "problems": ["p"]});
        assert_eq!(
            plan_text(&plan),
            "  1  rule `farm`, if it were active: clientCertificate  (on error: retry=2)\n     AT%CMNG=3,7,1    (CME 513 counts as success)\n     AT%CMNG=0,7,1,\"A\n     B\"\n     note: n\n  2  queued, PENDING: finished\n     finished\nproblem: p\n"
        );
    }
}
