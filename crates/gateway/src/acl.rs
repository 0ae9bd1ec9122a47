//! Topic rules as mosquitto's ACL file: what a client may do, decided by the name that its certificate gives it.
//!
//! ```text
//!   topic readwrite #            clients without a name (internal listener), when they may
//!   user operator-1              reads everything, writes below its own name
//!   topic read #
//!   pattern readwrite %u/#       everybody: below the own name (the rule of sectag_pki::topics)
//! ```
//!
//! mosquitto sees the common name only (`use_identity_as_username`), so operators are listed by name. `#` does not match
//! `$` topics there, as here. In 2.1 the same file goes to the plugin `mosquitto_acl_file.so`.

mod rules;

pub use rules::render_rules;

use std::fmt::Write as _;

use sectag_pki::topics;

/// Who may do what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Clients without a name may do everything: for brokers whose internal listener shares the file.
    pub anonymous_may_all: bool,
    /// Names that read everything.
    pub operators: Vec<String>,
    /// More for single names.
    pub grants: Vec<Grant>,
}

/// More topics for one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Common name.
    pub name: String,
    /// To do what.
    pub access: Access,
    /// With which topics; a filter.
    pub filter: String,
}

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Subscribe.
    Read,
    /// Publish.
    Write,
    /// Both.
    ReadWrite,
    /// Neither, whatever else allows it.
    Deny,
}

/// A name or filter that would be read as something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    /// Not one plain topic level.
    #[error(
        "`{0}` cannot be a name in topic rules: it must be one topic level without `+ # /`, control characters and a leading `$`"
    )]
    Name(String),
    /// Not a filter, or one with line breaks or outer blanks.
    #[error("`{0}` is not a topic filter")]
    Filter(String),
    /// A rule that mosquitto cannot express.
    #[error("mosquitto cannot be told `{rule}`: {why}")]
    Rule {
        /// The rule.
        rule: String,
        /// What mosquitto lacks.
        why: &'static str,
    },
}

/// Writes the file: sorted by name, the same policy gives the same bytes.
///
/// # Errors
/// [`AclError`] when a name or filter cannot be written safely.
pub fn render(policy: &Policy) -> Result<String, AclError> {
    let mut text = String::from("# Topic rules of Sectag's gateway. Generated, do not edit.\n");
    if policy.anonymous_may_all {
        text.push_str("\n# clients without a name\ntopic readwrite #\n");
    }
    let mut names: Vec<&str> = policy.operators.iter().map(String::as_str).collect();
    names.extend(policy.grants.iter().map(|grant| grant.name.as_str()));
    names.sort_unstable();
    names.dedup();
    for name in names {
        check_name(name)?;
        let _ = writeln!(text, "\nuser {name}"); // writing to a String cannot fail
        if policy.operators.iter().any(|operator| operator == name) {
            text.push_str("topic read #\n");
        }
        let mut lines: Vec<String> = Vec::new();
        for grant in policy.grants.iter().filter(|grant| grant.name == name) {
            check_filter(&grant.filter)?;
            lines.push(format!("topic {} {}\n", grant.access.word(), grant.filter));
        }
        lines.sort_unstable();
        lines.dedup();
        text.extend(lines);
    }
    text.push_str("\n# every client with a name, below it\npattern readwrite %u/#\n");
    Ok(text)
}

impl Access {
    /// mosquitto's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "readwrite",
            Self::Deny => "deny",
        }
    }
}

/// A name that mosquitto reads back as it is: it trims, and `#` would be a comment.
fn check_name(name: &str) -> Result<(), AclError> {
    if topics::is_usable_name(name) && name.trim() == name {
        Ok(())
    } else {
        Err(AclError::Name(name.escape_debug().take(80).collect()))
    }
}

fn check_filter(filter: &str) -> Result<(), AclError> {
    let levels: Vec<&str> = filter.split('/').collect();
    let valid = levels
        .iter()
        .enumerate()
        .all(|(index, level)| match *level {
            "#" => index + 1 == levels.len(),
            "+" => true,
            plain => !plain.contains(['+', '#']),
        });
    let plain = !filter.chars().any(char::is_control) && filter.trim() == filter;
    if valid && plain && !filter.is_empty() && filter.len() <= 65_535 {
        Ok(())
    } else {
        Err(AclError::Filter(filter.escape_debug().take(80).collect()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_is_the_rule_of_certificates() {
        let text = render(&Policy::default()).unwrap();
        let rule = topics::default_rule("%u").unwrap();
        assert!(text.ends_with(&format!("pattern readwrite {rule}\n")));
        assert!(!text.contains("\ntopic ") && !text.contains("\nuser "));
    }

    #[test]
    fn operators_read_everything_and_names_are_sorted() {
        let policy = Policy {
            anonymous_may_all: true,
            operators: vec!["zoe".into(), "amy".into()],
            grants: vec![Grant {
                name: "amy".into(),
                access: Access::Write,
                filter: "te/+/cmd/#".into(),
            }],
        };
        let text = render(&policy).unwrap();
        let body: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            body,
            [
                "",
                "topic readwrite #",
                "",
                "user amy",
                "topic read #",
                "topic write te/+/cmd/#",
                "",
                "user zoe",
                "topic read #",
                "",
                "pattern readwrite %u/#",
            ]
        );
    }

    #[test]
    fn names_and_filters_that_would_write_lines_are_refused() {
        for name in ["a\nuser b", "a/b", "#", "+", "", " a", "a ", "$SYS"] {
            let policy = Policy {
                operators: vec![name.to_owned()],
                ..Policy::default()
            };
            assert!(render(&policy).is_err(), "{name:?}");
        }
        for filter in ["", "a/#/b", "a#", "a\ntopic #", " a"] {
            let policy = Policy {
                grants: vec![Grant {
                    name: "a".into(),
                    access: Access::Read,
                    filter: filter.into(),
                }],
                ..Policy::default()
            };
            assert!(render(&policy).is_err(), "{filter:?}");
        }
    }
}
