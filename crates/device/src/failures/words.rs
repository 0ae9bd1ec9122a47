//! Values as people read them.

use time::OffsetDateTime;
use time::macros::format_description;
use x509_parser::prelude::{FromDer, X509Name};

/// `2026-05-01T12:00:05Z`.
pub(super) fn moment(unix_s: u64) -> String {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    i64::try_from(unix_s)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|moment| moment.format(form).ok())
        .unwrap_or_else(|| format!("{unix_s} s after 1970"))
}

/// `3 days`, `2 hours`, `5 minutes`, `40 seconds`.
pub(super) fn span(seconds: u64) -> String {
    let (count, unit) = match seconds {
        s if s >= 2 * 86_400 => (s / 86_400, "days"),
        s if s >= 2 * 3_600 => (s / 3_600, "hours"),
        s if s >= 120 => (s / 60, "minutes"),
        s => (s, "seconds"),
    };
    format!("{count} {unit}")
}

/// A DER name as text, last attribute first (RFC 4514).
pub(super) fn name_text(der: &[u8]) -> String {
    let Ok((_, name)) = X509Name::from_der(der) else {
        return "a name that cannot be read".to_owned();
    };
    let mut attributes: Vec<String> = name
        .iter_attributes()
        .map(|attribute| {
            let oid = attribute.attr_type().to_id_string();
            let kind = match oid.as_str() {
                "2.5.4.3" => "CN",
                "2.5.4.5" => "serialNumber",
                "2.5.4.6" => "C",
                "2.5.4.7" => "L",
                "2.5.4.8" => "ST",
                "2.5.4.10" => "O",
                "2.5.4.11" => "OU",
                other => other,
            };
            let value = attribute.as_str().unwrap_or("?");
            // The server writes this name, and a terminal may obey what is in it.
            let value: String = value
                .chars()
                .map(|c| if c.is_control() { '?' } else { c })
                .collect();
            format!("{kind}={value}")
        })
        .collect();
    attributes.reverse();
    attributes.join(",")
}

/// `a`, `a and b`, `a, b and 3 more`.
pub(super) fn list<T: ToString>(items: &[T]) -> String {
    const SHOWN_MAX: usize = 4;
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    match &texts[..] {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [first @ .., last] if texts.len() <= SHOWN_MAX => {
            format!("{} and {last}", first.join(", "))
        }
        more => format!(
            "{} and {} more",
            more[..SHOWN_MAX - 1].join(", "),
            more.len() - (SHOWN_MAX - 1)
        ),
    }
}

/// What a server's first bytes look like.
pub(super) fn first_bytes(bytes: &[u8]) -> String {
    let text: String = bytes
        .iter()
        .take_while(|byte| matches!(byte, 0x20..=0x7e))
        .map(|byte| char::from(*byte))
        .collect();
    if text.len() >= 4 {
        return format!("`{}`", text.trim_end());
    }
    let digits: Vec<String> = bytes
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("bytes {}", digits.join(" "))
}

/// A TLS record begins with its type and the major version 3 (RFC 8446 §5.1).
pub(super) fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [20..=24, 3, ..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_have_words(bytes: Vec<u8>) {
            prop_assert!(!name_text(&bytes).contains('\n'));
            prop_assert!(!first_bytes(&bytes).contains('\n'));
        }
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        // SEQUENCE { SET { SEQUENCE { OID commonName, UTF8String } } }
        let der = b"\x30\x0f\x31\x0d\x30\x0b\x06\x03\x55\x04\x03\x0c\x04\x1b[2J";
        assert_eq!(name_text(der), "CN=?[2J");
    }

    #[test]
    fn values_read_well() {
        assert_eq!(moment(1_777_636_805), "2026-05-01T12:00:05Z");
        assert_eq!(span(90), "90 seconds");
        assert_eq!(span(3 * 86_400 + 5), "3 days");
        assert_eq!(list(&["a", "b"]), "a and b");
        assert_eq!(list(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
        assert_eq!(
            first_bytes(b"HTTP/1.1 400 Bad Request\r\n"),
            "`HTTP/1.1 400 Bad Request`"
        );
        assert_eq!(first_bytes(&[0x20, 2, 0, 5]), "bytes 20 02 00 05");
    }
}
