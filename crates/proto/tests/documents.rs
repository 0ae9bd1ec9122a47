//! The reference pages say what commands, rules and policies are.

#![allow(clippy::unwrap_used, missing_docs)]

use sectag_proto::CommandRequest;
use sectag_proto::rules::template::KNOWN;
use sectag_proto::rules::{
    ErrorPolicy, NAME_CHARS_MAX, RENEW_AT_PERCENT_DEFAULT, RENEW_AT_PERCENT_MAX, RETRIES_MAX,
    RULE_TAGS_MAX, VALIDITY_DAYS_DEFAULT, VALIDITY_DAYS_MAX,
};
use std::collections::BTreeSet;

const OWNER_API: &str = include_str!("../../../docs/reference/owner-api.md");
const RULES: &str = include_str!("../../../docs/reference/rules.md");
const RENEWAL: &str = include_str!("../../../docs/reference/renewal.md");

/// The cells of a table's rows, by its head.
fn rows<'a>(page: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let (_, table) = page.split_once(head).unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let cells = |row: &'a str| row.trim_matches('|').split('|').map(str::trim).collect();
    rows.map(cells).collect()
}

/// What stands between backticks.
fn words(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What serde says that it expects in the place of `zebra`.
fn expected<T: for<'a> serde::Deserialize<'a>>(json: &str) -> BTreeSet<String> {
    let told = serde_json::from_str::<T>(json).err().unwrap().to_string();
    assert!(told.contains("`zebra`"), "{told}");
    let (_, names) = told.split_once("`zebra`").unwrap();
    words(names).into_iter().map(str::to_owned).collect()
}

#[test]
fn every_command_and_each_of_its_members_stands_in_the_reference() {
    let mut told = BTreeSet::new();
    for row in rows(OWNER_API, "| kind | members |") {
        for kind in words(row[0]) {
            told.insert(kind.to_owned());
            if kind == "config" {
                continue;
            }
            let members = expected::<CommandRequest>(&format!(r#"{{"{kind}":{{"zebra":1}}}}"#));
            let members: BTreeSet<&str> = members.iter().map(String::as_str).collect();
            assert_eq!(words(row[1]), members, "{kind}");
        }
    }
    assert_eq!(told, expected::<CommandRequest>(r#"{"zebra":{}}"#));
}

#[test]
fn every_policy_stands_in_the_reference() {
    let policies = expected::<ErrorPolicy>(r#""zebra""#);
    let rows = rows(RULES, "| policy | the failed command |");
    let told = rows.iter().flat_map(|row| words(row[0]));
    assert_eq!(told.map(str::to_owned).collect::<BTreeSet<_>>(), policies);
}

#[test]
fn every_variable_stands_in_the_reference() {
    let rows = rows(RULES, "| variable | value |");
    let told = rows.iter().flat_map(|row| words(row[0]));
    let told: BTreeSet<&str> = told
        .map(|variable| variable.trim_matches(['{', '}']))
        .collect();
    let known: BTreeSet<&str> = KNOWN
        .split([',', ' '])
        .filter(|w| w.contains('.'))
        .collect();
    assert_eq!(told, known);
}

#[test]
fn limits_of_rules_are_those_of_the_reference() {
    for (page, words) in [
        (
            RULES,
            format!("{{\"retry\": {{\"times\": 1…{RETRIES_MAX}}}}}"),
        ),
        (
            RULES,
            format!("1 to {NAME_CHARS_MAX} characters, a rule at most {RULE_TAGS_MAX} tags"),
        ),
        (RULES, format!("\"atPercent\": 1…{RENEW_AT_PERCENT_MAX}")),
        (RULES, format!("\"validityDays\": 1…{VALIDITY_DAYS_MAX}")),
        (RULES, format!("{VALIDITY_DAYS_DEFAULT} days by default")),
        (
            RENEWAL,
            format!("| `atPercent` | {RENEW_AT_PERCENT_DEFAULT} |"),
        ),
        (RENEWAL, format!("1 to {RENEW_AT_PERCENT_MAX} |")),
    ] {
        assert!(page.contains(&words), "no page says `{words}`");
    }
}
