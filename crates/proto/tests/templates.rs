//! Variables hold what owners wrote into tags: whatever that is, a command keeps its shape, or is refused.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sectag_proto::rules::template::{Binding, Template};
use sectag_proto::rules::{RuleCommand, RuleDraft};
use sectag_proto::service::{Planned, planned};
use sectag_proto::token::DeviceType;
use serde_json::json;

/// Where the value of `{{tag.x}}` comes to stand.
const PLACES: [&str; 4] = [
    r#"{"request":{"atCommand":{"command":"%X","parameters":"1,{{tag.x}},3"}}}"#,
    r#"{"request":{"atCommand":{"command":"%X","parameters":"1,\"a{{tag.x}}b\",3"}}}"#,
    r#"{"request":{"certificateSigningRequest":{"secTag":1,"attributes":"CN=a,O={{tag.x}},L=c","keyUsage":"101010000"}}}"#,
    r#"{"request":{"preSharedKey":{"secTag":1,"identity":"{{tag.x}}","secret":"00"}}}"#,
];

fn bound(command: &str, value: &str) -> Option<RuleCommand> {
    let command: RuleCommand = serde_json::from_str(command).unwrap();
    command.check(None).unwrap();
    let tags = [format!("x={value}")];
    let binding = Binding {
        device: "50363154-3931-44f0-8022-121b6401627d".parse().unwrap(),
        device_type: DeviceType::NRF9151_LACA,
        tags: &tags,
        team_prefix: None,
    };
    command.bind(&binding).ok()
}

/// Quotes, and commas outside of them, of each AT line: where its parameters begin and end.
fn shape(command: &RuleCommand) -> Vec<(usize, usize)> {
    let lines = planned(&command.request);
    lines
        .iter()
        .map(|wire| {
            let Planned::At { line, .. } = wire else {
                panic!("{wire:?}");
            };
            assert!(!line.chars().any(char::is_control), "{line:?}");
            let (mut quotes, mut commas) = (0, 0);
            for c in line.chars() {
                quotes += usize::from(c == '"');
                commas += usize::from(c == ',' && quotes % 2 == 0);
            }
            (quotes, commas)
        })
        .collect()
}

proptest! {
    #[test]
    fn a_value_never_changes_the_shape_of_its_command(value in "\\PC{1,20}|[\"',;=\\\\\r\n\u{0}a-z]{1,12}") {
        for place in PLACES {
            let sample = bound(place, "sample").unwrap();
            if let Some(command) = bound(place, &value) {
                prop_assert_eq!(shape(&command), shape(&sample), "{}", place);
            }
        }
    }

    #[test]
    fn any_text_is_a_template_or_says_why(text in "[{} .a-z]{0,24}|\\PC{0,40}") {
        match Template::parse(&text) {
            Ok(template) => {
                let whole = template.fill(sectag_proto::rules::template::Place::Free, |_| Ok("v".into()));
                prop_assert!(whole.is_ok() || text.chars().any(char::is_control));
            }
            Err(e) => prop_assert!(!e.to_string().is_empty()),
        }
    }

    #[test]
    fn any_rule_is_checked_without_a_panic(
        name in "\\PC{0,10}", tags in prop::collection::vec("\\PC{0,5}", 0..3), text in "[{} .a-z]{0,24}", open_max in 0..5_usize,
    ) {
        let draft: RuleDraft = serde_json::from_value(json!({
            "name": name, "tags": tags, "active": true,
            "commands": [{"request": {"config": {"k": text}}}],
        })).unwrap();
        let _ = draft.check(None, open_max);
    }
}
