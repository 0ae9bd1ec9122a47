//! The reference pages say what the code says: settings, statuses, limits, outlooks. Tests only.

use crate::admission::{self, DEVICE_REQUESTS_MAX, DEVICE_REQUESTS_PER_MINUTE};
use crate::app::{ALARM_DAYS, Outlook};
use crate::settings::Settings;
use axum::http::StatusCode;
use sectag_proto::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

const SETTINGS: &str = include_str!("../../../docs/reference/sectag-toml.md");
const STATUSES: &str = include_str!("../../../docs/reference/http-status.md");
const RENEWAL: &str = include_str!("../../../docs/reference/renewal.md");
const RULES: &str = include_str!("../../../docs/reference/rules.md");
const OWNER_API: &str = include_str!("../../../docs/reference/owner-api.md");
const REGISTRATION: &str = include_str!("../../../docs/reference/registration.md");
const EVENTS: &str = include_str!("../../../docs/reference/events.md");
const WEBHOOKS: &str = include_str!("../../../docs/reference/webhooks.md");

/// The cells of a table's rows, by the beginning of its head.
fn rows<'a>(page: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let (_, table) = page.split_once(head).unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let cells = |row: &'a str| {
        let row = row.trim_start_matches("| ").trim_end_matches(" |");
        row.split(" | ").map(str::trim).collect()
    };
    rows.map(cells).collect()
}

/// What stands between backticks.
fn words(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// What the program says of a key that it does not know: the keys that it does.
fn known(text: &str) -> Vec<String> {
    let told = Settings::parse(text, "f").unwrap_err().reason;
    let Some((_, names)) = told
        .split_once("unknown field")
        .and_then(|(_, told)| told.split_once("expected"))
    else {
        return Vec::new();
    };
    words(names).into_iter().map(str::to_owned).collect()
}

/// Every key, by what the parser expects.
fn keys() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for key in known("zebra = 1") {
        let below = known(&format!("[{key}]\nzebra = 1"));
        if below.is_empty() {
            keys.insert(key);
        } else {
            keys.extend(below.iter().map(|name| format!("{key}.{name}")));
        }
    }
    keys
}

#[test]
fn every_setting_stands_in_the_reference_with_its_default_and_its_variable() {
    let mut told = BTreeSet::new();
    let mut defaults = String::new();
    for row in rows(SETTINGS, "| key | default | environment |") {
        let (names, variables) = (words(row[0]), words(row[2]));
        assert_eq!(names.len(), variables.len(), "{row:?}");
        for (key, variable) in names.into_iter().zip(variables) {
            let upper = key.replace(['.', '-'], "_").to_uppercase();
            assert_eq!(variable, format!("SECTAG_{upper}"));
            let set = Settings::default().with_environment([(variable.to_owned(), "x".to_owned())]);
            assert!(set.is_err() || set != Ok(Settings::default()), "{variable}");
            if let [default] = words(row[1])[..] {
                defaults += &format!("{key} = {default}\n");
            } else {
                assert_eq!(row[1], "none", "{key}");
            }
            told.insert(key.to_owned());
        }
    }
    assert_eq!(told, keys());
    assert_eq!(
        Settings::parse(&defaults, "the reference"),
        Ok(Settings::default())
    );
}

/// `StatusCode::NOT_FOUND, 40400` of a function's text: status and code.
fn decided(source: &str, function: &str, end: &str) -> BTreeSet<(u16, String)> {
    let (_, body) = source.split_once(function).unwrap();
    let (body, _) = body.split_once(end).unwrap();
    let mut decided = BTreeSet::new();
    for rest in body.split("StatusCode::").skip(1) {
        let name: String = rest
            .chars()
            .take_while(|c| c.is_ascii_uppercase() || *c == '_')
            .collect();
        let status = (200..600).find(|number| {
            let status = StatusCode::from_u16(*number).ok();
            let reason = status.and_then(|status| status.canonical_reason());
            reason.is_some_and(|reason| reason.to_uppercase().replace([' ', '-'], "_") == name)
        });
        let code = rest[name.len()..].strip_prefix(", ").unwrap_or_default();
        let code = code.chars().take_while(char::is_ascii_digit).collect();
        decided.insert((status.expect(&name), code));
    }
    decided
}

#[test]
fn every_refusal_of_an_owner_stands_in_the_reference_and_the_reverse() {
    let source = include_str!("owner_api.rs");
    let decided = decided(source, "pub(crate) const fn status_of(", "\n}\n");
    let (_, owner) = STATUSES.split_once("## Owner API").unwrap();
    let mut told = BTreeSet::new();
    for row in rows(owner, "| status | code | when |") {
        let Ok(status) = row[0].parse::<u16>() else {
            continue;
        };
        for code in row[1].split(", ").filter(|code| *code != "–") {
            assert_eq!(code.get(..3), Some(row[0]), "{row:?}");
            told.insert((status, code.to_owned()));
        }
    }
    assert_eq!(told, decided);
}

#[test]
fn every_status_for_a_device_stands_in_the_reference() {
    let device = STATUSES.split_once("## Owner API").unwrap().0;
    let rows = rows(device, "| HTTPS | CoAP | when |");
    let has = |column: usize, word: &str| {
        rows.iter()
            .any(|row| row[column].split(' ').next() == Some(word))
    };
    let source = include_str!("device_api.rs");
    for (status, _) in decided(source, "pub(crate) fn status_of(", "\n}\n") {
        assert!(has(0, &status.to_string()), "{status}");
    }
    for status in ["200", "204"] {
        assert!(has(0, status), "{status}");
    }
    for row in &rows {
        let never = ["403", "429", "503", "4.03", "5.03"];
        assert!(
            !never.contains(&row[0]) && !never.contains(&row[1]),
            "{row:?}"
        );
    }
}

#[cfg(feature = "coap")]
#[test]
fn every_code_for_a_device_stands_in_the_reference() {
    use sectag_coap::Code;
    let device = STATUSES.split_once("## Owner API").unwrap().0;
    let rows = rows(device, "| HTTPS | CoAP | when |");
    let source = include_str!("coap/answers.rs");
    let known = [
        ("CREATED", Code::CREATED),
        ("CHANGED", Code::CHANGED),
        ("CONTENT", Code::CONTENT),
        ("BAD_REQUEST", Code::BAD_REQUEST),
        ("UNAUTHORIZED", Code::UNAUTHORIZED),
        ("NOT_FOUND", Code::NOT_FOUND),
        ("METHOD_NOT_ALLOWED", Code::METHOD_NOT_ALLOWED),
        ("NOT_ACCEPTABLE", Code::NOT_ACCEPTABLE),
        ("REQUEST_ENTITY_TOO_LARGE", Code::REQUEST_ENTITY_TOO_LARGE),
        (
            "UNSUPPORTED_CONTENT_FORMAT",
            Code::UNSUPPORTED_CONTENT_FORMAT,
        ),
        ("INTERNAL", Code::INTERNAL),
    ];
    let known = BTreeMap::from(known.map(|(name, code)| (name, code.to_string())));
    for rest in source.split(" Code::").skip(1) {
        let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_');
        let name = &rest[..end.unwrap_or(rest.len())];
        if name.is_empty() {
            continue;
        }
        let code = &known[name];
        let told = rows
            .iter()
            .any(|row| row[1].split(' ').next() == Some(code));
        assert!(told, "{name} {code}");
    }
}

#[test]
fn every_outlook_stands_in_the_reference_and_the_reverse() {
    let (since, from) = (Timestamp(0), Timestamp(0));
    let outlooks = [
        Outlook::Renews { from },
        Outlook::Renewing {
            step: sectag_store::RenewalStep::Key,
        },
        Outlook::NoRule,
        Outlook::NotSeen { since: None },
        Outlook::Overdue { since },
        Outlook::Failing {
            since,
            reason: String::new(),
        },
        Outlook::NotConnecting { since },
        Outlook::Blocked,
        Outlook::Expired,
    ];
    let told: Vec<&str> = rows(RENEWAL, "| outlook | meaning |")
        .iter()
        .flat_map(|row| words(row[0]))
        .collect();
    assert_eq!(told, outlooks.each_ref().map(Outlook::as_str));
}

/// `2000` as `2,000`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn kib(bytes: usize) -> String {
    match bytes.is_multiple_of(1 << 20) {
        true => format!("{} MiB", bytes >> 20),
        false => format!("{} KiB", bytes >> 10),
    }
}

#[test]
fn limits_are_those_of_the_reference() {
    let requests = thousands(admission::DECISIONS_MAX as u64);
    let (first, last) = (
        admission::RETURN_MIN_S,
        admission::RETURN_MIN_S + admission::RETURN_SPREAD_S,
    );
    let (body, bulk) = (
        kib(crate::owner_api::BODY_BYTES_MAX),
        kib(crate::owner_api::BULK_BYTES_MAX),
    );
    let upload = kib(crate::app::REGISTER_BYTES_MAX);
    let days: Vec<String> = ALARM_DAYS
        .iter()
        .rev()
        .filter(|days| **days > 0)
        .map(u32::to_string)
        .collect();
    for (page, words) in [
        (STATUSES, format!("transports | {requests}, half of them")),
        (STATUSES, format!("in hand | {DEVICE_REQUESTS_MAX} |")),
        (
            STATUSES,
            format!("in a minute | {DEVICE_REQUESTS_PER_MINUTE} |"),
        ),
        (
            STATUSES,
            format!(
                "bodies over {} before their token was looked up (HTTPS) | {} together",
                kib(admission::BODY_BYTES_FREE),
                kib(admission::BODY_BYTES_TOTAL_MAX)
            ),
        ),
        (
            STATUSES,
            format!(
                "of all {} |",
                thousands(crate::device_api::MANNERS.connections_max as u64)
            ),
        ),
        (
            STATUSES,
            format!(
                "strangers | {} in a minute",
                admission::STRANGER_LINES_PER_MINUTE
            ),
        ),
        (STATUSES, format!("{first} to {last} seconds by\nchance")),
        (
            STATUSES,
            format!(
                "body over {}; over CoAP",
                kib(crate::device_api::REPORT_BYTES_MAX)
            ),
        ),
        (
            STATUSES,
            format!("{} requests of this API key", admission::KEY_REQUESTS_MAX),
        ),
        (STATUSES, format!("body over {body} (rules")),
        (
            STATUSES,
            format!("tokens: {bulk}, of certificates: {upload})"),
        ),
        (OWNER_API, format!("A JSON body has at most {body}, rules")),
        (
            OWNER_API,
            format!("tokens {bulk}, of certificates {upload}."),
        ),
        (
            REGISTRATION,
            format!("At most {} rows and {upload}", crate::app::BULK_ROWS_MAX),
        ),
        (
            REGISTRATION,
            format!(
                "one device | {} |",
                sectag_store::REGISTERED_CERTIFICATES_MAX
            ),
        ),
        (
            REGISTRATION,
            format!(
                "device that a team has taken back | {} |",
                thousands(sectag_store::TAKEN_BACK_MAX as u64)
            ),
        ),
        (
            REGISTRATION,
            format!("one team | {} (", thousands(sectag_store::REGISTERED_MAX)),
        ),
        (
            REGISTRATION,
            format!("that wait | {} |", sectag_store::BULK_OPEN_MAX),
        ),
        (
            REGISTRATION,
            format!("remembered | {} of each team", sectag_store::BULK_KEPT_MAX),
        ),
        (
            EVENTS,
            format!("newest {}", thousands(sectag_store::EVENTS_MAX)),
        ),
        (
            EVENTS,
            format!(
                "{} streams at the same time, {} of one team",
                crate::events::STREAMS_MAX,
                crate::events::STREAMS_OF_TEAM_MAX
            ),
        ),
        (
            WEBHOOKS,
            format!(
                "A team has {} webhooks at most",
                sectag_store::WEBHOOKS_OF_TEAM_MAX
            ),
        ),
        (
            RENEWAL,
            format!("| `expiry-alarm` | {} days before", days.join(", ")),
        ),
        (RENEWAL, format!("the setting `{}`", crate::app::SWITCH_KEY)),
        (
            RULES,
            format!(
                "(`open-commands-max`, {})",
                Settings::default().open_commands_max
            ),
        ),
        (
            SETTINGS,
            format!("1 to {}", crate::settings::OPEN_COMMANDS_LIMIT),
        ),
        (
            SETTINGS,
            format!("1 to {}.", crate::settings::AUTHORISED_S_LIMIT),
        ),
    ] {
        assert!(page.contains(&words), "no page says `{words}`");
    }
}
