//! Paths, lists and times in sentences and commands.

use std::path::Path;

use sectag_pki::material::Held;
use time::OffsetDateTime;

use crate::facts::Trusted;

/// Names that a sentence lists before it says how many more there are.
const LISTED_MAX: usize = 4;

/// A path as a shell takes it.
pub fn shell(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// `2026-05-01 13:07 UTC`.
pub(super) fn moment(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    match time {
        Some(time) => format!(
            "{} {:02}:{:02} UTC",
            time.date(),
            time.hour(),
            time.minute()
        ),
        None => format!("{seconds} s after 1970"),
    }
}

/// `a, b, c and 3 more`.
pub(super) fn list<T: AsRef<str>>(items: &[T]) -> String {
    let shown: Vec<&str> = items.iter().take(LISTED_MAX).map(AsRef::as_ref).collect();
    let shown = shown.join(", ");
    match items.len().saturating_sub(LISTED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Names in a certificate without their kind: `localhost, 127.0.0.1`.
pub(super) fn names(held: &Held) -> Vec<&str> {
    let names = held.facts.names.iter();
    names
        .filter_map(|name| name.strip_prefix("DNS:").or(name.strip_prefix("IP:")))
        .collect()
}

/// `CN=Root (2 certificates in /etc/ca.crt)`.
pub(super) fn trusted(trusted: &[Trusted<'_>]) -> String {
    let mut subjects: Vec<&str> = Vec::new();
    for one in trusted {
        let subject = one.held.facts.subject.as_str();
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    list(&subjects)
}

/// `1 certificate`, `3 certificates`.
pub(super) fn count(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

/// A subject that people can read even when it is empty.
pub(super) fn subject(held: &Held) -> &str {
    match held.facts.subject.as_str() {
        "" => "(no subject)",
        subject => subject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_survives_a_shell() {
        assert_eq!(shell(Path::new("/etc/a b/it's")), r"'/etc/a b/it'\''s'");
        assert_eq!(shell(Path::new("/etc/ca-1.crt")), "/etc/ca-1.crt");
        assert_eq!(shell(Path::new("/a$(x)")), "'/a$(x)'");
    }

    #[test]
    fn times_and_lists_are_for_people() {
        assert_eq!(moment(1_777_640_820), "2026-05-01 13:07 UTC");
        assert_eq!(moment(u64::MAX), format!("{} s after 1970", u64::MAX));
        assert_eq!(list(&["a", "b"]), "a, b");
        assert_eq!(list(&["a", "b", "c", "d", "e"]), "a, b, c, d and 1 more");
    }
}
