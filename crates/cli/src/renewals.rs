//! `sectag forecast`: what will stop working; `sectag renewals`: what is done about it.

use crate::args::{Forecast, Renewals};
use crate::client::{Owner, percent, segment};
use crate::fault::{Fault, Outcome};
use crate::output::{self, text_of};
use serde_json::{Value, json};

/// Characters of a time as the service writes it.
const TIME: usize = "2026-03-01T12:30:00.000Z".len();
/// Rows asked for at once.
const PAGE: usize = 100;

/// `sectag forecast`
pub(crate) async fn forecast(owner: &Owner, args: Forecast, as_json: bool) -> Outcome {
    let path = format!(
        "/v1/forecast?days={}&all={}&pageLimit=",
        percent(&args.days),
        args.all
    );
    let (found, items, cut) = pages(owner, &path, args.limit).await?;
    let risks = at_risk(&found);
    if as_json {
        let mut whole = found;
        whole["items"] = json!(items);
        output::json(&whole);
    } else {
        print_forecast(&found, &items, cut);
    }
    if args.check && risks > 0 {
        return Err(Fault::no(format!("{risks} certificates need somebody"))
            .hint("`sectag forecast` lists them with the reasons"));
    }
    Ok(())
}

/// Of devices in the longest window, renewals that fail, and the home's own.
fn at_risk(found: &Value) -> u64 {
    let last = found["windows"]
        .as_array()
        .and_then(|windows| windows.last());
    let devices = last
        .and_then(|window| window["atRisk"].as_u64())
        .unwrap_or(0);
    // A failing renewal whose certificate ends within the window is counted there.
    let others = list(found, "own").len() + list(found, "foreign").len();
    devices.max(list(found, "failing").len() as u64) + others as u64
}

fn print_forecast(found: &Value, items: &[Value], cut: bool) {
    let rows = |window: &Value| {
        vec![
            format!("{} days", text_of(window, "days")),
            text_of(window, "certificates"),
            text_of(window, "atRisk"),
            reasons(&window["reasons"]),
        ]
    };
    let windows: Vec<_> = list(found, "windows").iter().map(rows).collect();
    output::table(&["WITHIN", "END", "AT RISK", "WHY"], &windows);
    if !items.is_empty() {
        output::print("\n");
        let rows: Vec<_> = items.iter().map(ending_row).collect();
        output::table(
            &[
                "DEVICE",
                "SEC TAG",
                "ENDS",
                "DAYS",
                "WHAT IS TO BE EXPECTED",
            ],
            &rows,
        );
    }
    let failing = list(found, "failing");
    if !failing.is_empty() {
        output::print("\n");
        let rows: Vec<_> = failing.iter().map(failing_row).collect();
        output::table(
            &["RENEWAL FAILS", "SINCE", "ATTEMPTS", "AGAIN FROM", "REASON"],
            &rows,
        );
    }
    let foreign = list(found, "foreign");
    if !foreign.is_empty() {
        output::print("\n");
        let row = |item: &Value| {
            vec![
                text_of(item, "id"),
                day(item, "notAfter"),
                text_of(item, "serial"),
            ]
        };
        let rows: Vec<_> = foreign.iter().map(row).collect();
        output::table(&["OF ANOTHER CA", "ENDS", "CERTIFICATE"], &rows);
    }
    let own = list(found, "own");
    if !own.is_empty() {
        output::print("\n");
        let row = |own: &Value| {
            vec![
                text_of(own, "name"),
                day(own, "notAfter"),
                text_of(own, "withoutIt"),
            ]
        };
        let rows: Vec<_> = own.iter().map(row).collect();
        output::table(&["OF THIS HOME", "ENDS", "WITHOUT IT"], &rows);
    }
    if cut {
        eprintln!("there is more; --limit N shows more rows");
    }
    if found["incomplete"] == true {
        eprintln!("more certificates end than were counted");
    }
    if items.is_empty() && failing.is_empty() && own.is_empty() && foreign.is_empty() {
        eprintln!("nothing will stop working in that time, as things stand");
    } else if items.iter().any(|item| item["outlook"] == "no-rule") {
        eprintln!(
            "what no rule renews: give a rule `renewal` (`sectag rules create --help`), and the device its tag"
        );
    }
}

/// `sectag renewals`
pub(crate) async fn renewals(owner: &Owner, args: Renewals, as_json: bool) -> Outcome {
    if let Some(device) = &args.device {
        return of_device(owner, device, as_json).await;
    }
    let (_, items, cut) = pages(owner, "/v1/renewals?pageLimit=", args.limit).await?;
    if as_json {
        output::json(&json!({ "items": items }));
        return Ok(());
    }
    if items.is_empty() {
        eprintln!(
            "no renewal is under way; `sectag forecast` tells what ends, and which rule renews it"
        );
        return Ok(());
    }
    let rows: Vec<_> = items.iter().map(renewal_row).collect();
    output::table(
        &[
            "DEVICE",
            "SEC TAG",
            "STEP",
            "SINCE",
            "ATTEMPTS",
            "OLD ENDS",
            "LAST SEEN",
            "FAILURE",
        ],
        &rows,
    );
    if cut {
        eprintln!("there is more; --limit N shows more rows");
    }
    Ok(())
}

async fn of_device(owner: &Owner, device: &str, as_json: bool) -> Outcome {
    let path = format!("/v1/claimed-devices/{}/renewals", segment(device)?);
    let found = owner.get(&path).await?;
    if as_json {
        output::json(&found);
        return Ok(());
    }
    let certificates = list(&found, "certificates");
    if certificates.is_empty() {
        eprintln!("no certificate was issued to this device");
        return Ok(());
    }
    let row = |life: &Value| {
        vec![
            text_of(life, "serial"),
            text_of(life, "secTag"),
            text_of(life, "state"),
            day(life, "issuedAt"),
            day(life, "notAfter"),
            day(life, "usedAt"),
            day(life, "lastUsedAt"),
        ]
    };
    let rows: Vec<_> = certificates.iter().map(row).collect();
    output::table(
        &[
            "CERTIFICATE",
            "SEC TAG",
            "STATE",
            "ISSUED",
            "ENDS",
            "FIRST USED",
            "LAST USED",
        ],
        &rows,
    );
    let renewals = list(&found, "renewals");
    if !renewals.is_empty() {
        output::print("\n");
        let row = |run: &Value| {
            let way = if run["inPlace"] == true {
                "in place"
            } else {
                "alternate"
            };
            vec![
                day(run, "startedAt"),
                text_of(run, "secTag"),
                way.to_owned(),
                text_of(run, "step"),
                day(run, "stepSince"),
                text_of(run, "attempts"),
                failure(run),
            ]
        };
        let rows: Vec<_> = renewals.iter().map(row).collect();
        output::table(
            &[
                "RENEWAL", "SEC TAG", "WAY", "STEP", "SINCE", "ATTEMPTS", "FAILURE",
            ],
            &rows,
        );
    }
    Ok(())
}

/// The first page as it came, the items of as many pages as `limit` asks for, and whether there are more.
async fn pages(owner: &Owner, path: &str, limit: usize) -> Outcome<(Value, Vec<Value>, bool)> {
    let mut first = Value::Null;
    let mut items: Vec<Value> = Vec::new();
    let mut token = String::new();
    loop {
        let size = limit.saturating_sub(items.len()).clamp(1, PAGE);
        let page = owner.get(&format!("{path}{size}{token}")).await?;
        items.extend(list(&page, "items").iter().cloned());
        let next = page["pageNextToken"].as_str().map(str::to_owned);
        if first.is_null() {
            first = page;
        }
        match next {
            Some(next) if items.len() < limit => {
                token = format!("&pageNextToken={}", percent(&next));
            }
            next => {
                items.truncate(limit);
                return Ok((first, items, next.is_some()));
            }
        }
    }
}

fn ending_row(item: &Value) -> Vec<String> {
    vec![
        text_of(item, "deviceId"),
        text_of(item, "secTag"),
        day(item, "notAfter"),
        text_of(item, "daysLeft"),
        dated(&text_of(item, "message")),
    ]
}

fn failing_row(run: &Value) -> Vec<String> {
    vec![
        text_of(run, "deviceId"),
        day(run, "failingSince"),
        text_of(run, "attempts"),
        day(run, "retryAt"),
        text_of(run, "reason"),
    ]
}

fn renewal_row(run: &Value) -> Vec<String> {
    vec![
        text_of(run, "deviceId"),
        text_of(run, "secTag"),
        text_of(run, "step"),
        day(run, "stepSince"),
        text_of(run, "attempts"),
        day(run, "oldNotAfter"),
        day(run, "lastSeenAt"),
        failure(run),
    ]
}

fn failure(run: &Value) -> String {
    match run["failingSince"].as_str() {
        Some(_) => format!(
            "since {}: {}",
            day(run, "failingSince"),
            text_of(run, "reason")
        ),
        None => "-".to_owned(),
    }
}

/// `no-rule 2, not-seen 1`
fn reasons(counts: &Value) -> String {
    let counts = counts.as_object().into_iter().flatten();
    let words: Vec<String> = counts.map(|(word, n)| format!("{word} {n}")).collect();
    match words.is_empty() {
        true => "-".to_owned(),
        false => words.join(", "),
    }
}

/// The day and minute of a time; `-` when there is none.
fn day(value: &Value, member: &str) -> String {
    value[member].as_str().map_or_else(|| "-".to_owned(), short)
}

/// `2026-03-01T12:30:00.000Z` as `2026-03-01 12:30`; anything else as it is.
fn short(time: &str) -> String {
    match (time.get(..10), time.get(10..11), time.get(11..16)) {
        (Some(day), Some("T"), Some(minute)) if time.ends_with('Z') => format!("{day} {minute}"),
        _ => time.to_owned(),
    }
}

/// Times within a sentence, shortened.
fn dated(sentence: &str) -> String {
    let words: Vec<String> = sentence
        .split(' ')
        .map(|word| match (word.get(..TIME), word.get(TIME..)) {
            (Some(time), Some(rest)) if time.ends_with('Z') => short(time) + rest,
            _ => word.to_owned(),
        })
        .collect();
    words.join(" ")
}

fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_to_the_minute_wherever_they_stand() {
        assert_eq!(short("2026-03-01T12:30:00.000Z"), "2026-03-01 12:30");
        assert_eq!(short("-"), "-");
        let words = "renewals failing since 2026-03-01T12:30:00.000Z: CSR: +CME ERROR: 514 é";
        assert_eq!(
            dated(words),
            "renewals failing since 2026-03-01 12:30: CSR: +CME ERROR: 514 é"
        );
    }

    #[test]
    fn reasons_are_said_in_one_cell() {
        assert_eq!(reasons(&json!({})), "-");
        assert_eq!(
            reasons(&json!({"no-rule": 2, "blocked": 1})),
            "blocked 1, no-rule 2"
        );
    }
}
