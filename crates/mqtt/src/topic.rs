//! Topic names and topic filters: what is well formed, what matches, what covers what.
//!
//! Rules: MQTT 3.1.1 §4.7, MQTT 5 §4.7. A filter that starts with a wildcard does not match a topic that starts with `$`.

/// Most levels a topic or filter may have. Real topics have under ten; the bound keeps tree walks shallow.
pub const LEVELS_MAX: usize = 32;

/// Longest topic or filter in bytes. MQTT allows 65535; a fleet of long names would only cost memory.
pub const TOPIC_BYTES_MAX: usize = 1024;

/// True if `topic` may be published to: not empty, no wildcard, no NUL, within [`LEVELS_MAX`] and [`TOPIC_BYTES_MAX`].
pub fn is_topic(topic: &str) -> bool {
    within_bounds(topic) && !topic.contains(['+', '#'])
}

/// True if `filter` may be subscribed to: `+` fills a whole level, `#` is the whole last level.
pub fn is_filter(filter: &str) -> bool {
    if !within_bounds(filter) {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let is_last = levels.peek().is_none();
        match level {
            "+" => {}
            "#" if is_last => {}
            _ if level.contains(['+', '#']) => return false,
            _ => {}
        }
    }
    true
}

/// True if a subscription to `filter` receives a message on `topic`.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        if level == "#" {
            return true;
        }
        match topic.next() {
            Some(name) if level == "+" || level == name => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

/// The wildcard-free beginning of `filter`: every topic it matches starts with this text.
pub fn literal_prefix(filter: &str) -> &str {
    match filter.find(['+', '#']) {
        // "a/#" also matches "a", so the slash is not part of what all matches share.
        Some(at) => filter[..at].trim_end_matches('/'),
        None => filter,
    }
}

fn within_bounds(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= TOPIC_BYTES_MAX
        && !text.contains('\0')
        && text.split('/').count() <= LEVELS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_the_standard_says() {
        for (filter, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("+/+", "/a", true),
            ("/+", "/a", true),
            ("+", "/a", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} against {topic}");
        }
    }

    #[test]
    fn malformed_filters_and_topics_are_refused() {
        for filter in ["", "a#", "a/#/b", "a/b+", "#/a", "a\0b"] {
            assert!(!is_filter(filter), "{filter:?}");
        }
        for filter in ["#", "+", "a/+/b", "a/#", "/", "+/#"] {
            assert!(is_filter(filter), "{filter:?}");
        }
        assert!(!is_topic("a/+"));
        assert!(!is_topic("a/#"));
        assert!(is_topic("a//b"));
        assert!(!is_topic(&"a/".repeat(LEVELS_MAX)));
    }

    #[test]
    fn a_literal_prefix_never_hides_a_match() {
        assert_eq!(literal_prefix("a/#"), "a");
        assert_eq!(literal_prefix("a/+/c"), "a");
        assert_eq!(literal_prefix("#"), "");
        assert_eq!(literal_prefix("a/b"), "a/b");
    }
}
