//! The rule language: which topics are open to whom, one rule per line; what no rule allows is closed.
//!
//! ```text
//! # every certificate below its own name, operators read everything: the default
//! allow both       {cn}/#
//! allow subscribe  #                  for role operator
//! allow publish    site/+/alarm       for cn gateway-7
//! allow both       acme/{cn}/#        for issuer CN=Acme devices,O=Acme
//! allow both       #                  for anonymous
//! ```
//!
//! A pattern is a topic filter. `{cn}` stands for the CN of the certificate, `{user}` for the user name, which is the CN as
//! well, `{client_id}` for the client identifier. A rule whose placeholder a client cannot fill with one plain topic level
//! opens nothing for it: an anonymous client has no CN. The language is `docs/reference/topic-rules.md`.

mod text;

use super::{TOPIC_BYTES_MAX, is_usable_name, plain_filter};
use crate::{ClientIdentity, Role};

/// Most rules of one text. Each publish walks the rules of its client, so a list without end would slow every message.
pub const RULES_MAX: usize = 1000;

/// The default as text: every certificate below its own name, operators read everything.
pub const DEFAULT_RULES: &str = "allow both {cn}/#\nallow subscribe # for role operator\n";

/// Everything for everybody, for listeners that ask for no certificate, as text.
pub const OPEN_RULES: &str = "allow both #\n";

/// What a rule opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Publishing.
    Publish,
    /// Subscribing.
    Subscribe,
    /// Both.
    Both,
}

/// Whom a rule is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whom {
    /// Everybody who may connect.
    Everybody,
    /// Certificates of this role.
    Role(Role),
    /// Clients without a certificate.
    Anonymous,
    /// The certificate with this CN.
    Cn(String),
    /// Certificates of the issuer with this distinguished name, in the order of RFC 4514.
    Issuer(String),
}

/// A topic filter with placeholders, checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Piece {
    Text(String),
    /// `{cn}` or `{user}`.
    Cn,
    /// `{client_id}`.
    ClientId,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What it opens.
    pub access: Access,
    /// Which topics.
    pub pattern: Pattern,
    /// For whom.
    pub whom: Whom,
}

/// All rules of a broker or of one of its listeners. They only allow, so their order does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

/// Who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Client<'a> {
    /// From the certificate; `None` without one.
    pub certificate: Option<&'a ClientIdentity>,
    /// The client identifier, once it is known.
    pub client_id: Option<&'a str>,
}

/// What one client may do: the rules that apply to it, with its names filled in.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rights {
    publish: Vec<Box<str>>,
    subscribe: Vec<Box<str>>,
}

/// A line that is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct RuleError {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl Rules {
    /// Reads a text: one rule per line; blank lines and lines that begin with `#` are comments.
    ///
    /// # Errors
    /// [`RuleError`] for the first line that is no rule.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let mut rules = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |reason| RuleError {
                line: index + 1,
                reason,
            };
            if rules.len() == RULES_MAX {
                return Err(wrong(format!("more than {RULES_MAX} rules")));
            }
            rules.push(line.parse().map_err(wrong)?);
        }
        Ok(Self(rules))
    }

    /// Everything for everybody ([`OPEN_RULES`]).
    pub fn open() -> Self {
        Self::parse(OPEN_RULES).expect("a test parses it")
    }

    /// In the order of the text.
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }

    /// Does a rule ask for the client identifier? If not, rights are known before CONNECT.
    pub fn ask_client_id(&self) -> bool {
        self.0
            .iter()
            .any(|rule| rule.pattern.0.contains(&Piece::ClientId))
    }

    /// What this client may do.
    pub fn rights(&self, client: &Client<'_>) -> Rights {
        let mut rights = Rights::default();
        for rule in &self.0 {
            let Some(filter) = rule.filter_for(client) else {
                continue;
            };
            let filter = filter.into_boxed_str();
            match rule.access {
                Access::Publish => rights.publish.push(filter),
                Access::Subscribe => rights.subscribe.push(filter),
                Access::Both => {
                    rights.publish.push(filter.clone());
                    rights.subscribe.push(filter);
                }
            }
        }
        rights
    }
}

impl Default for Rules {
    /// [`DEFAULT_RULES`].
    fn default() -> Self {
        Self::parse(DEFAULT_RULES).expect("a test parses it")
    }
}

impl Rights {
    /// May it publish to `topic`? Never to a topic that begins with `$`.
    pub fn may_publish(&self, topic: &str) -> bool {
        topic.len() <= TOPIC_BYTES_MAX
            && !topic.is_empty()
            && !topic.starts_with('$')
            && !topic.contains(['+', '#', '\0'])
            && self.publish.iter().any(|pattern| covers(pattern, topic))
    }

    /// May it subscribe to `filter`? Only if one rule alone covers everything that the filter matches; a shared
    /// subscription `$share/<group>/<filter>` is judged by its inner filter.
    pub fn may_subscribe(&self, filter: &str) -> bool {
        plain_filter(filter)
            .is_some_and(|inner| self.subscribe.iter().any(|pattern| covers(pattern, inner)))
    }
}

impl Rule {
    /// The topic filter that this rule opens for `client`, if it opens any.
    pub fn filter_for(&self, client: &Client<'_>) -> Option<String> {
        let certificate = client.certificate;
        let concerns = match &self.whom {
            Whom::Everybody => true,
            Whom::Anonymous => certificate.is_none(),
            Whom::Role(role) => certificate.is_some_and(|found| found.role == *role),
            Whom::Cn(cn) => certificate.is_some_and(|found| found.cn == *cn),
            Whom::Issuer(issuer) => certificate.is_some_and(|found| found.issuer == *issuer),
        };
        let usable = |name: &&str| is_usable_name(name);
        concerns
            .then(|| {
                self.pattern.fill(
                    certificate.map(|found| found.cn.as_str()).filter(usable),
                    client.client_id.filter(usable),
                )
            })
            .flatten()
    }
}

impl Pattern {
    /// The filter with these texts for `{cn}` (and `{user}`) and `{client_id}`, as they are; `None` when one is needed and
    /// not given.
    pub fn fill(&self, cn: Option<&str>, client_id: Option<&str>) -> Option<String> {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => Some(text.as_str()),
                Piece::Cn => cn,
                Piece::ClientId => client_id,
            })
            .collect()
    }

    /// Does it hold a placeholder?
    pub fn has_placeholder(&self) -> bool {
        self.0.iter().any(|piece| !matches!(piece, Piece::Text(_)))
    }
}

/// Does `pattern` match everything that `filter` matches? Both are valid filters, `filter` may be a plain topic.
///
/// Exact for one pattern: a `+` or `#` of the filter also matches names that no literal of the pattern equals, and `a/#`
/// matches `a` itself (MQTT 5 §4.7.1.2).
fn covers(pattern: &str, filter: &str) -> bool {
    // A topic has at least one level: at the first, `#` is `+/#`.
    let filter = if filter == "#" { "+/#" } else { filter };
    let mut levels = filter.split('/');
    for level in pattern.split('/') {
        if level == "#" {
            return true;
        }
        match levels.next() {
            None | Some("#") => return false,
            Some(asked) if level == "+" || level == asked => {}
            Some(_) => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{all_topics, client, matches};
    use super::*;

    fn rights(text: &str, certificate: Option<&ClientIdentity>, client_id: &str) -> Rights {
        let client_id = Some(client_id);
        Rules::parse(text).unwrap().rights(&Client {
            certificate,
            client_id,
        })
    }

    #[test]
    fn a_rule_is_for_whom_it_says() {
        let text = "\
            # a comment\n\n\
            allow publish a/{cn}\n\
            allow subscribe b/# for role operator\n\
            allow both c/{client_id}/# for anonymous\n\
            allow publish d for cn dev-1\n\
            allow publish e for issuer CN=ca\n";
        let device = client("dev-1", Role::Device);
        let operator = client("op", Role::Operator);
        for (who, id, publishes, reads) in [
            (Some(&device), "x", &["a/dev-1", "d", "e"][..], &[][..]),
            (Some(&operator), "x", &["a/op", "e"], &["b", "b/x/#"]),
            (None, "x", &["c/x", "c/x/y"], &["c/x/#"]),
            (None, "+", &[], &[]),
        ] {
            let rights = rights(text, who, id);
            for topic in ["a/dev-1", "a/op", "b", "c/x", "c/x/y", "c/+", "d", "e", "f"] {
                assert_eq!(
                    rights.may_publish(topic),
                    publishes.contains(&topic),
                    "{who:?} {topic}"
                );
            }
            for filter in ["b", "b/x/#", "c/x/#", "c/+/#", "#", "a/dev-1"] {
                assert_eq!(
                    rights.may_subscribe(filter),
                    reads.contains(&filter),
                    "{who:?} {filter}"
                );
            }
        }
    }

    #[test]
    fn the_open_rules_keep_system_topics_closed() {
        let rights = Rules::open().rights(&Client::default());
        assert!(rights.may_publish("a/b") && rights.may_subscribe("#"));
        assert!(rights.may_subscribe("+/#") && rights.may_subscribe("$share/g/#"));
        assert!(!rights.may_publish("$SYS/x") && !rights.may_subscribe("$SYS/#"));
        assert!(!rights.may_publish("") && !rights.may_publish("a/+"));
        assert_eq!(Rules::parse("").unwrap().rules().len(), 0);
    }

    fn filters() -> impl Strategy<Value = Vec<&'static str>> {
        let level = prop_oneof![Just("a"), Just("b"), Just("+"), Just("")];
        (proptest::collection::vec(level, 1..4), any::<bool>()).prop_map(|(mut levels, hash)| {
            if hash {
                levels.truncate(2);
                levels.push("#");
            }
            levels
        })
    }

    proptest! {
        #[test]
        fn covering_agrees_with_trying_every_topic(pattern in filters(), filter in filters()) {
            let joined = (pattern.join("/"), filter.join("/"));
            prop_assume!(!joined.0.is_empty() && !joined.1.is_empty());
            // `c` stands for the names that no literal equals; four levels, one more than any filter here.
            let contained = all_topics(&["a", "b", "c", ""], 4)
                .iter()
                .filter(|topic| matches(&filter, topic))
                .all(|topic| matches(&pattern, topic));
            prop_assert_eq!(covers(&joined.0, &joined.1), contained, "{:?}", joined);
        }

        #[test]
        fn the_default_rules_are_the_default_rule(
            topic in "[a-c+#$/]{0,8}",
            operator in any::<bool>(),
        ) {
            let role = if operator { Role::Operator } else { Role::Device };
            let identity = client("a", role);
            let rights = Rules::default().rights(&Client { certificate: Some(&identity), client_id: None });
            prop_assert_eq!(rights.may_publish(&topic), identity.may_publish(&topic));
            prop_assert_eq!(rights.may_subscribe(&topic), identity.may_subscribe(&topic));
        }

        #[test]
        fn any_text_is_rules_or_an_error(text in ".*", line in "allow (both|publish) [a-c+#{}$/]{1,8}( for (cn|role|anonymous|issuer) .{0,8})?") {
            let _ = Rules::parse(&text);
            if let Ok(rules) = Rules::parse(&line) {
                for rule in rules.rules() {
                    prop_assert_eq!(&rule.to_string().parse::<Rule>().unwrap(), rule);
                }
            }
        }
    }
}
