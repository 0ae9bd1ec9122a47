//! Rules as they are written: `allow ACCESS PATTERN [for WHOM]`, read and printed.

use std::fmt;
use std::str::FromStr;

use super::super::{TOPIC_BYTES_MAX, is_valid_filter};
use super::{Access, Pattern, Piece, Rule, Whom};
use crate::Role;

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| format!("`{{` without `}}` in the pattern `{text}`"))?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(match name {
                "cn" | "user" => Piece::Cn,
                "client_id" => Piece::ClientId,
                _ => {
                    return Err(format!(
                        "`{{{name}}}` stands for nothing; there are `{{cn}}`, `{{user}}` and `{{client_id}}`"
                    ));
                }
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        let pattern = Self(pieces);
        // Names are single plain levels, so a pattern is a filter for all names or for none.
        let sample = pattern.fill(Some("n"), Some("n")).unwrap_or_default();
        if sample.starts_with('$') {
            return Err(format!(
                "`{text}`: topics that begin with `$` are closed to clients"
            ));
        }
        if sample.len() > TOPIC_BYTES_MAX || !is_valid_filter(&sample) {
            return Err(format!(
                "`{text}` is no topic filter: `+` fills a whole level, `#` is the whole last level"
            ));
        }
        Ok(pattern)
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let (verb, rest) = word(line);
        if verb != "allow" {
            let note = match verb {
                "deny" => "; there is no `deny`: what no rule allows is closed",
                _ => "",
            };
            return Err(format!("a rule begins with `allow`, not `{verb}`{note}"));
        }
        let (access, rest) = word(rest);
        let access = match access {
            "publish" => Access::Publish,
            "subscribe" => Access::Subscribe,
            "both" => Access::Both,
            "" => return Err("`allow` needs `publish`, `subscribe` or `both`".to_owned()),
            other => {
                return Err(format!("`{other}` is not `publish`, `subscribe` or `both`"));
            }
        };
        let (pattern, rest) = word(rest);
        if pattern.is_empty() {
            return Err("the topic pattern is missing, e.g. `{cn}/#`".to_owned());
        }
        let pattern = pattern.parse()?;
        let whom = match word(rest) {
            ("", _) => Whom::Everybody,
            ("for", whom) => whom.parse()?,
            (other, _) => {
                return Err(format!(
                    "`{other}` after the pattern: only `for …` may follow, and a pattern has no blanks"
                ));
            }
        };
        Ok(Self {
            access,
            pattern,
            whom,
        })
    }
}

impl FromStr for Whom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, value) = word(text);
        let given = |what: &str| {
            if value.is_empty() {
                Err(format!("`for {kind}` needs {what}"))
            } else {
                Ok(value.to_owned())
            }
        };
        match kind {
            "anonymous" if value.is_empty() => Ok(Self::Anonymous),
            "role" => match value {
                "device" => Ok(Self::Role(Role::Device)),
                "operator" => Ok(Self::Role(Role::Operator)),
                other => Err(format!("role `{other}` is not `device` or `operator`")),
            },
            "cn" => Ok(Self::Cn(given("the CN of a certificate")?)),
            "issuer" => Ok(Self::Issuer(given(
                "a distinguished name such as `CN=Devices,O=Acme`",
            )?)),
            _ => Err(format!(
                "`for {text}`: give `role device`, `role operator`, `cn NAME`, `issuer NAME` or `anonymous`"
            )),
        }
    }
}

impl fmt::Display for Rule {
    /// As it is written in a text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = match self.access {
            Access::Publish => "publish",
            Access::Subscribe => "subscribe",
            Access::Both => "both",
        };
        write!(f, "allow {access} {}{}", self.pattern, self.whom)
    }
}

impl fmt::Display for Pattern {
    /// As it is written in a text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            &self
                .fill(Some("{cn}"), Some("{client_id}"))
                .unwrap_or_default(),
        )
    }
}

impl fmt::Display for Whom {
    /// As it is written behind the pattern, with a blank before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => Ok(()),
            Self::Role(Role::Device) => f.write_str(" for role device"),
            Self::Role(Role::Operator) => f.write_str(" for role operator"),
            Self::Anonymous => f.write_str(" for anonymous"),
            Self::Cn(cn) => write!(f, " for cn {cn}"),
            Self::Issuer(issuer) => write!(f, " for issuer {issuer}"),
        }
    }
}

/// The first word, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim();
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{RULES_MAX, Rules};
    use super::*;

    #[test]
    fn a_wrong_line_is_named_with_what_would_be_right() {
        for (text, line, part) in [
            ("allow both #\ndeny both x", 2, "there is no `deny`"),
            ("\n\nallow", 3, "`publish`, `subscribe` or `both`"),
            ("allow read x", 1, "`read` is not"),
            ("allow both", 1, "pattern is missing"),
            ("allow both a/#/b", 1, "no topic filter"),
            ("allow both a+/b", 1, "no topic filter"),
            ("allow both {name}/#", 1, "`{name}` stands for nothing"),
            ("allow both {cn/#", 1, "without `}`"),
            ("allow both $SYS/#", 1, "begin with `$`"),
            ("allow both a b/#", 1, "has no blanks"),
            ("allow both a for", 1, "give `role device`"),
            ("allow both a for role boss", 1, "`boss` is not"),
            ("allow both a for cn", 1, "needs the CN"),
            ("allow both a for anonymous people", 1, "give `role device`"),
        ] {
            let error = Rules::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}");
            assert!(error.to_string().contains(part), "{text:?}: {error}");
        }
        let many = "allow both a\n".repeat(RULES_MAX + 1);
        assert_eq!(Rules::parse(&many).unwrap_err().line, RULES_MAX + 1);
    }

    #[test]
    fn a_rule_reads_back_what_it_prints() {
        for line in [
            "allow both {cn}/#",
            "allow subscribe # for role operator",
            "allow publish a/{client_id}/x-{cn} for cn Dev 1",
            "allow both + for issuer CN=a\\, b,O=c",
            "allow both a for anonymous",
        ] {
            let rule: Rule = line.parse().unwrap();
            assert_eq!(rule.to_string(), line);
        }
        assert_eq!(
            "allow both {user}".parse::<Rule>(),
            "allow both {cn}".parse()
        );
    }
}
