//! When two contents are the same: byte for byte, one trailing line feed aside (spec/modem-at §10), and over a way
//! that changes line ends (a shell writes LF as CR LF, §9) also in the form in which they arrive.

use sectag_pki::sha256;
use zeroize::Zeroizing;

/// Whether `stored` is `wanted`. `altered`: the way to the modem changes line ends.
pub(super) fn same(stored: &str, wanted: &str, altered: bool) -> bool {
    let stored = without_line_feed(stored);
    stored == without_line_feed(wanted)
        || altered && {
            let arrives = as_a_shell_writes(wanted);
            without_line_end(stored) == without_line_end(&arrives)
        }
}

/// Whether something with this digest is `wanted`: for what cannot be read.
pub(super) fn same_digest(stored: &[u8; 32], wanted: &str, altered: bool) -> bool {
    let bare = without_line_feed(wanted);
    let forms = |text: &str, line_feed: &str| {
        let longer = Zeroizing::new(format!("{text}{line_feed}"));
        sha256(text.as_bytes()) == *stored || sha256(longer.as_bytes()) == *stored
    };
    forms(bare, "\n")
        || altered && {
            let arrives = as_a_shell_writes(bare);
            forms(&arrives, "\r\n")
        }
}

/// What was stored, from how it was read over a way that may add a CR before each LF, more than once: the form whose
/// digest is the one that the modem printed beside it. As read when none is.
pub(super) fn recover(read: &str, digest: Option<&[u8; 32]>) -> String {
    let matches = |text: &str| digest.is_some_and(|digest| sha256(text.as_bytes()) == *digest);
    let lf = read.replace('\r', "");
    let crlf = lf.replace('\n', "\r\n");
    let once = read.replace("\r\n", "\n");
    for form in [once, lf, crlf] {
        if !matches(read) && matches(&form) {
            return form;
        }
    }
    read.to_owned()
}

/// What arrives when a shell writes `content`: CR removed, LF as CR LF.
fn as_a_shell_writes(content: &str) -> Zeroizing<String> {
    let lf = Zeroizing::new(content.replace('\r', ""));
    Zeroizing::new(lf.replace('\n', "\r\n"))
}

fn without_line_feed(text: &str) -> &str {
    text.strip_suffix('\n').unwrap_or(text)
}

fn without_line_end(text: &str) -> &str {
    let text = without_line_feed(text);
    text.strip_suffix('\r').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trailing_line_feed_does_not_count_and_two_do() {
        for (a, b, equal) in [
            ("a", "a", true),
            ("a\n", "a", true),
            ("a", "a\n", true),
            ("a\n\n", "a\n", false),
            ("a\n\n", "a", false),
            ("a\r\nb", "a\nb", false),
            ("a", "b", false),
        ] {
            assert_eq!(same(a, b, false), equal, "{a:?} {b:?}");
            let digest = sha256(a.as_bytes());
            // A digest hides how the stored text ends, so only what was asked for can be varied.
            if equal || a != "a\n\n" {
                assert_eq!(same_digest(&digest, b, false), equal, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn over_a_shell_carriage_returns_do_not_count() {
        for stored in ["a\r\nb", "a\nb", "a\r\nb\r\n", "a\nb\n"] {
            for wanted in ["a\nb", "a\nb\n"] {
                assert!(same(stored, wanted, true), "{stored:?} {wanted:?}");
                let digest = sha256(stored.as_bytes());
                assert!(same_digest(&digest, wanted, true), "{stored:?} {wanted:?}");
            }
        }
        assert!(!same("a\r\nc", "a\nb", true));
    }

    #[test]
    fn the_digest_tells_which_carriage_returns_are_the_shells() {
        for stored in ["a\nb\n", "a\r\nb\r\n"] {
            let digest = sha256(stored.as_bytes());
            for read in [stored.to_owned(), stored.replace('\n', "\r\n")] {
                assert_eq!(recover(&read, Some(&digest)), stored);
            }
        }
        assert_eq!(recover("a\r\nb", None), "a\r\nb");
        assert_eq!(recover("a\r\nb", Some(&[0; 32])), "a\r\nb");
    }
}
