//! Which topics a client may use: the default rule as pure functions, and a small language for other [`Rules`]. `mqtt`
//! enforces them.
//!
//! By default a device publishes and subscribes below its own name, `<CN>/#`. An operator subscribes to everything and
//! publishes below its own name. `$` topics are closed to both; a shared subscription `$share/<group>/<filter>` is
//! judged by its inner filter. A name that could not be a single plain topic level opens nothing.
//!
//! Containment is exact: a filter is inside `<CN>/#` if and only if its first level is `<CN>` itself, because a
//! wildcard there matches other names too (MQTT 3.1.1 §4.7, MQTT 5 §4.7 and §4.8.2).

mod rules;

pub use rules::{
    Access, Client, DEFAULT_RULES, OPEN_RULES, Pattern, RULES_MAX, Rights, Rule, RuleError, Rules,
    Whom,
};

use crate::{ClientIdentity, Role};

/// MQTT strings carry a 16-bit length (MQTT 5 §1.5.4).
const TOPIC_BYTES_MAX: usize = 65_535;

impl ClientIdentity {
    /// May this client publish to `topic`?
    pub fn may_publish(&self, topic: &str) -> bool {
        publish_allowed(&self.cn, topic)
    }

    /// May this client subscribe to `filter`?
    pub fn may_subscribe(&self, filter: &str) -> bool {
        match self.role {
            Role::Device => filter_allowed(&self.cn, filter),
            Role::Operator => is_usable_name(&self.cn) && plain_filter(filter).is_some(),
        }
    }
}

/// The default rule of a name as a filter, `<CN>/#`; `None` when the name opens nothing.
pub fn default_rule(cn: &str) -> Option<String> {
    is_usable_name(cn).then(|| format!("{cn}/#"))
}

/// Is this name one plain topic level? Not empty, none of `+ # /`, no control characters, no `$` at the start.
pub fn is_usable_name(cn: &str) -> bool {
    !cn.is_empty()
        && !cn.starts_with('$')
        && !cn
            .chars()
            .any(|c| matches!(c, '+' | '#' | '/') || c.is_control())
}

/// May a device named `cn` publish to `topic`? Only below (or at) its own name, and only to a valid topic.
pub fn publish_allowed(cn: &str, topic: &str) -> bool {
    let valid = topic.len() <= TOPIC_BYTES_MAX && !topic.contains(['+', '#', '\0']);
    valid && is_usable_name(cn) && first_level(topic) == cn
}

/// May a device named `cn` subscribe to `filter`? Only when everything it matches is inside `<CN>/#`.
pub fn filter_allowed(cn: &str, filter: &str) -> bool {
    is_usable_name(cn) && plain_filter(filter).is_some_and(|inner| first_level(inner) == cn)
}

/// The filter that decides: the inner one of a shared subscription, else the filter itself. `None` when it is not
/// a valid filter or reaches into `$` topics.
fn plain_filter(filter: &str) -> Option<&str> {
    if filter.len() > TOPIC_BYTES_MAX {
        return None;
    }
    let inner = match filter.strip_prefix("$share/") {
        Some(rest) => match rest.split_once('/') {
            Some((group, inner)) if !group.is_empty() && !group.contains(['+', '#', '\0']) => inner,
            _ => return None,
        },
        None => filter,
    };
    (is_valid_filter(inner) && !inner.starts_with('$')).then_some(inner)
}

/// Wildcards fill a whole level, `#` only the last (MQTT 5 §4.7.1).
fn is_valid_filter(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    let mut valid = !filter.is_empty() && !filter.contains('\0');
    while let Some(level) = levels.next() {
        valid &= match level {
            "+" => true,
            "#" => levels.peek().is_none(),
            plain => !plain.contains(['+', '#']),
        };
    }
    valid
}

fn first_level(topic: &str) -> &str {
    topic.split('/').next().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) fn client(cn: &str, role: Role) -> ClientIdentity {
        ClientIdentity {
            cn: cn.to_owned(),
            role,
            serial: "01".to_owned(),
            issuer: "CN=ca".to_owned(),
        }
    }

    #[test]
    fn a_device_reads_and_writes_below_its_name_only() {
        let device = client("dev-1", Role::Device);
        for yes in ["dev-1", "dev-1/", "dev-1/a", "dev-1/a/b"] {
            assert!(
                device.may_publish(yes) && device.may_subscribe(yes),
                "{yes}"
            );
        }
        for yes in ["dev-1/#", "dev-1/+", "dev-1/+/x/#", "$share/g/dev-1/#"] {
            assert!(
                device.may_subscribe(yes) && !device.may_publish(yes),
                "{yes}"
            );
        }
        for no in [
            "",
            "#",
            "+",
            "+/a",
            "dev-2",
            "dev-2/a",
            "dev-1x/a",
            "/dev-1/a",
            "dev-1#",
            "dev-1+/a",
            "DEV-1/a",
            "dev-1/a#",
            "dev-1/#/a",
            "$SYS/dev-1",
            "$share/g/#",
            "$share/g/dev-2/a",
            "$share//dev-1/a",
            "$share/g",
            "$share/+/dev-1/a",
            "$share/g/$share/h/dev-1/a",
            "$share/dev-1/#",
            "dev-1/\0",
        ] {
            assert!(!device.may_subscribe(no), "{no:?}");
            assert!(!device.may_publish(no), "{no:?}");
        }
    }

    #[test]
    fn an_operator_reads_all_and_writes_below_its_name() {
        let operator = client("operator", Role::Operator);
        for yes in ["#", "+/a", "dev-1/#", "$share/g/#", "operator/x"] {
            assert!(operator.may_subscribe(yes), "{yes}");
        }
        for no in ["$SYS/#", "$SYS", "$share/g/$SYS/#", "a/#/b", ""] {
            assert!(!operator.may_subscribe(no), "{no}");
        }
        assert!(operator.may_publish("operator/x"));
        assert!(!operator.may_publish("dev-1/x") && !operator.may_publish("$SYS/x"));
    }

    #[test]
    fn a_name_with_topic_characters_opens_nothing() {
        for cn in ["", "+", "#", "a/b", "a#", "$SYS", "a\0", "a\n"] {
            assert!(default_rule(cn).is_none());
            for role in [Role::Device, Role::Operator] {
                let client = client(cn, role);
                assert!(!client.may_publish(cn) && !client.may_publish(&format!("{cn}/x")));
                assert!(!client.may_subscribe(cn) && !client.may_subscribe(&format!("{cn}/#")));
            }
        }
        assert_eq!(default_rule("dev-1").unwrap(), "dev-1/#");
    }

    /// The honest model: does `filter` match `topic`, level by level?
    pub(super) fn matches(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) => true,
            ([], []) => true,
            (["+", f @ ..], [_, t @ ..]) => matches(f, t),
            ([a, f @ ..], [b, t @ ..]) => a == b && matches(f, t),
            _ => false,
        }
    }

    /// All topics of up to `depth_max` levels over these names.
    pub(super) fn all_topics<'a>(names: &[&'a str], depth_max: usize) -> Vec<Vec<&'a str>> {
        let mut topics: Vec<Vec<&str>> = names.iter().map(|level| vec![*level]).collect();
        for depth in 1..depth_max {
            let longer: Vec<Vec<&str>> = topics
                .iter()
                .filter(|topic| topic.len() == depth)
                .flat_map(|topic| names.iter().map(|level| [&topic[..], &[*level]].concat()))
                .collect();
            topics.extend(longer);
        }
        topics
    }

    proptest! {
        #[test]
        fn containment_agrees_with_trying_every_topic(
            levels in proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("+"), Just("")], 1..4),
            hash in any::<bool>(),
        ) {
            let mut levels = levels;
            if hash && levels.len() < 3 {
                levels.push("#");
            }
            let filter = levels.join("/");
            let contained = all_topics(&["a", "b", ""], 3)
                .iter()
                .filter(|topic| matches(&levels, topic))
                .all(|topic| matches(&["a", "#"], topic));
            prop_assume!(!filter.is_empty());
            prop_assert_eq!(filter_allowed("a", &filter), contained, "{}", filter);
        }

        #[test]
        fn any_text_is_judged_without_a_panic(cn in ".*", filter in ".*") {
            let _ = filter_allowed(&cn, &filter);
            if publish_allowed(&cn, &filter) {
                prop_assert!(filter_allowed(&cn, &filter));
            }
        }
    }
}
