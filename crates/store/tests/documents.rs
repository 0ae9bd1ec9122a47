//! The reference pages say what the tables of this crate say.

#![allow(clippy::unwrap_used, missing_docs)]

use sectag_store::{EVENT_KINDS, LifeState, RULES_MAX, RenewalStep, TAGS_OF_TEAM_MAX, kind_of};

const AUDIT: &str = include_str!("../../../docs/reference/audit.md");
const EVENTS: &str = include_str!("../../../docs/reference/events.md");
const RENEWAL: &str = include_str!("../../../docs/reference/renewal.md");

/// The cells of a table's rows, by the first words of its head.
fn rows<'a>(page: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let (_, table) = page.split_once(head).unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

/// What stands between backticks.
fn words(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_kinds_of_events_stand_in_the_reference() {
    let told: Vec<&str> = rows(EVENTS, "| `kind` | what |")
        .into_iter()
        .flat_map(|row| words(row[0]))
        .collect();
    assert_eq!(told, EVENT_KINDS);
}

#[test]
fn the_actions_of_the_audit_trail_are_the_kinds_of_events_that_the_reference_says() {
    let mut actions = Vec::new();
    for row in rows(AUDIT, "| action | kind of [event](events.md) | what |") {
        for action in words(row[0]) {
            assert_eq!(kind_of(action), words(row[1])[0], "{action}");
            actions.push(action);
        }
    }
    for row in rows(AUDIT, "| alarm | raised by |") {
        for alarm in words(row[0]) {
            assert_eq!(kind_of(alarm), "alarm", "{alarm}");
        }
    }
    assert!(!actions.is_empty());
    let mut once = actions.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), actions.len(), "an action has two rows");
}

#[test]
fn the_states_of_a_certificate_and_the_steps_of_a_renewal_stand_in_the_reference() {
    let first = |head: &str| -> Vec<&str> {
        let rows = rows(RENEWAL, head);
        rows.iter().flat_map(|row| words(row[0])).collect()
    };
    let states = LifeState::ALL.map(LifeState::as_str);
    assert_eq!(first("| state | meaning |"), states);
    let open = RenewalStep::ALL.into_iter().filter(|step| step.is_open());
    let open: Vec<&str> = open.map(RenewalStep::as_str).collect();
    assert_eq!(first("| step | awaited |"), open);
}

#[test]
fn what_a_team_can_have_is_what_the_reference_says() {
    let page = include_str!("../../../docs/reference/rules.md");
    assert!(page.contains(&format!(
        "Team limits: {RULES_MAX} rules, 10 000 registered tags"
    )));
    assert_eq!(TAGS_OF_TEAM_MAX, 10_000);
}
