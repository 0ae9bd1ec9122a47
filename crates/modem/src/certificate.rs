//! What firmware 2.0.1 and later checks of types 0 and 1: PEM certificates, one or a chain.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Whether `content` is one or more PEM certificates, each base64 of one complete DER sequence.
/// Blanks around and between them do not matter, anything else does.
pub(crate) fn is_pem_chain(content: &str) -> bool {
    let mut rest = content.trim();
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let Some((body, after)) = rest
            .strip_prefix(BEGIN)
            .and_then(|inner| inner.split_once(END))
        else {
            return false;
        };
        let packed: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        match STANDARD.decode(packed) {
            Ok(der) if is_one_sequence(&der) => {}
            _ => return false,
        }
        rest = after.trim_start();
    }
    true
}

/// X.690 §8.1: tag 0x30 and a definite length that ends exactly where the bytes end.
fn is_one_sequence(der: &[u8]) -> bool {
    match der {
        [0x30, length @ 0..=0x7f, rest @ ..] => rest.len() == usize::from(*length),
        [0x30, 0x81, a, rest @ ..] => rest.len() == usize::from(*a),
        [0x30, 0x82, a, b, rest @ ..] => rest.len() == usize::from(*a) << 8 | usize::from(*b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n";

    #[test]
    fn a_chain_with_any_line_ends_is_taken() {
        assert!(is_pem_chain(ONE));
        assert!(is_pem_chain(ONE.trim_end()));
        assert!(is_pem_chain(&format!("{ONE}{ONE}")));
        assert!(is_pem_chain(&ONE.replace('\n', "\r\n")));
    }

    #[test]
    fn garbage_is_not() {
        for bad in [
            "",
            " \n",
            "foo",
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN CERTIFICATE-----\nfoo\n-----END CERTIFICATE-----",
            "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
            "-----BEGIN PUBLIC KEY-----\nMAMCAQU=\n-----END PUBLIC KEY-----",
        ] {
            assert!(!is_pem_chain(bad), "{bad}");
        }
        assert!(!is_pem_chain(&format!("{ONE}tail")));
        assert!(
            !is_pem_chain(&ONE.replace("MAMCAQU=", "MAQCAQU=")),
            "cut short"
        );
    }
}
