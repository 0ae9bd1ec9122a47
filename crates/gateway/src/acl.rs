//! Topic rules as mosquitto's ACL file: what a client may do, decided by the name that its certificate gives it.
//!
//! The rules are those of [`sectag_pki::topics`], which our own broker enforces:
//!
//! | rule | mosquitto |
//! |---|---|
//! | for everybody | `pattern`, with `%u` for `{cn}` and `%c` for `{client_id}` |
//! | `for anonymous` | `topic` before the first `user` |
//! | `for cn NAME` | `topic` below `user NAME` |
//! | `for role operator` | the same below each operator's name, which the caller has to know |
//! | `for role device`, `for issuer …`, and `{client_id}` in a rule for some | refused: mosquitto sees the user name only, and a wider rule would open too much |
//!
//! mosquitto sees the common name only (`use_identity_as_username`). `#` does not match `$` topics there, as here. In 2.1 the
//! same file goes to the plugin `mosquitto_acl_file.so`. What still differs is in `docs/reference/topic-rules.md`: mosquitto grants a subscription that is too wide and holds the
//! messages back.

use std::collections::{BTreeMap, BTreeSet};

use sectag_pki::Role;
use sectag_pki::topics::{self, Access, Rule, Rules, Whom};

/// A rule or name that mosquitto would read as something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    /// Not one plain topic level.
    #[error(
        "`{0}` cannot be a name in topic rules: it must be one topic level without `+ # /`, control characters and a leading `$`"
    )]
    Name(String),
    /// A rule that mosquitto cannot express.
    #[error("mosquitto cannot be told `{rule}`: {why}")]
    Rule {
        /// The rule.
        rule: String,
        /// What mosquitto lacks.
        why: &'static str,
    },
}

/// Writes rules as an ACL file; `operators` are the names of those whose certificates say so. The same rules give the same
/// bytes.
///
/// # Errors
/// [`AclError`] for a rule that mosquitto cannot express, and for a name that cannot be written safely.
pub fn render(rules: &Rules, operators: &[String]) -> Result<String, AclError> {
    let mut anonymous = BTreeSet::new();
    let mut users: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut patterns = BTreeSet::new();
    for rule in rules.rules() {
        match &rule.whom {
            Whom::Everybody => {
                patterns.insert(pattern(rule)?);
            }
            // Without a certificate there is no CN, so a rule with one opens nothing.
            Whom::Anonymous => anonymous.extend(topic(rule, None)?),
            Whom::Cn(name) => {
                let lines = users.entry(name).or_default();
                lines.extend(topic(rule, Some(name))?);
            }
            Whom::Role(Role::Operator) => {
                for name in operators {
                    let lines = users.entry(name).or_default();
                    lines.extend(topic(rule, Some(name))?);
                }
            }
            Whom::Role(Role::Device) => return Err(no(rule, "it knows no roles")),
            Whom::Issuer(_) => return Err(no(rule, "it does not look at the issuer")),
        }
    }
    let mut text = String::from("# Topic rules of Sectag's gateway. Generated, do not edit.\n");
    let mut section = |title: &str, lines: BTreeSet<String>| {
        if !lines.is_empty() {
            text += &format!("\n{title}\n");
            lines.iter().for_each(|line| text += &format!("{line}\n"));
        }
    };
    section("# clients without a name", anonymous);
    for (name, lines) in users {
        check_name(name)?;
        section(&format!("user {name}"), lines);
    }
    section("# everybody", patterns);
    Ok(text)
}

/// A line that mosquitto fills in for each client.
fn pattern(rule: &Rule) -> Result<String, AclError> {
    // `%u` and `%c` of the rule itself would be filled in as well.
    let plain = rule.pattern.fill(Some(""), Some("")).unwrap_or_default();
    if plain.contains("%u") || plain.contains("%c") {
        return Err(no(rule, "`%u` and `%c` are its placeholders"));
    }
    let filter = rule.pattern.fill(Some("%u"), Some("%c"));
    Ok(format!(
        "pattern {} {}",
        word(rule),
        filter.unwrap_or_default()
    ))
}

/// A line for one name, or for clients without one; `None` when the rule opens nothing for it.
fn topic(rule: &Rule, cn: Option<&str>) -> Result<Option<String>, AclError> {
    if rule.pattern.fill(Some(""), None).is_none() {
        return Err(no(
            rule,
            "it fills in client identifiers for everybody only",
        ));
    }
    let cn = cn.filter(|cn| topics::is_usable_name(cn));
    let filter = rule.pattern.fill(cn, None);
    Ok(filter.map(|filter| format!("topic {} {filter}", word(rule))))
}

const fn word(rule: &Rule) -> &'static str {
    match rule.access {
        Access::Publish => "write",
        Access::Subscribe => "read",
        Access::Both => "readwrite",
    }
}

/// A name that mosquitto reads back as it is: it trims.
fn check_name(name: &str) -> Result<(), AclError> {
    if topics::is_usable_name(name) && name.trim() == name {
        Ok(())
    } else {
        Err(AclError::Name(name.escape_debug().take(80).collect()))
    }
}

fn no(rule: &Rule, why: &'static str) -> AclError {
    AclError::Rule {
        rule: rule.to_string(),
        why,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> Result<String, AclError> {
        let operators = ["op-2".to_owned(), "op-1".to_owned()];
        render(&Rules::parse(text).unwrap(), &operators)
    }

    #[test]
    fn the_default_rules_are_patterns_and_operators_by_name() {
        assert_eq!(
            rendered(topics::DEFAULT_RULES).unwrap(),
            "# Topic rules of Sectag's gateway. Generated, do not edit.\n\
             \nuser op-1\ntopic read #\n\
             \nuser op-2\ntopic read #\n\
             \n# everybody\npattern readwrite %u/#\n"
        );
    }

    #[test]
    fn every_rule_that_can_be_said_has_its_section() {
        let text = "allow both x/{client_id}/{cn}\nallow publish # for anonymous\n\
                    allow subscribe {cn}/y for anonymous\nallow publish a/{cn} for cn dev 1\n";
        assert_eq!(
            rendered(text).unwrap(),
            "# Topic rules of Sectag's gateway. Generated, do not edit.\n\
             \n# clients without a name\ntopic write #\n\
             \nuser dev 1\ntopic write a/dev 1\n\
             \n# everybody\npattern readwrite x/%c/%u\n"
        );
    }

    #[test]
    fn what_mosquitto_cannot_say_is_refused_with_the_reason() {
        for (text, part) in [
            ("allow both a for role device", "no roles"),
            ("allow both a for issuer CN=x", "the issuer"),
            ("allow both {client_id} for anonymous", "for everybody only"),
            ("allow both {client_id} for cn x", "for everybody only"),
            ("allow both a%u/{cn}", "placeholders"),
            ("allow both a for cn #x", "cannot be a name"),
        ] {
            let error = rendered(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn operators_whose_names_would_write_lines_are_refused() {
        let rules = Rules::default();
        for name in ["a\nuser b", "a/b", "#", "+", "", " a", "a ", "$SYS"] {
            assert!(render(&rules, &[name.to_owned()]).is_err(), "{name:?}");
        }
    }
}
