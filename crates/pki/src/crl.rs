//! What a revocation list says: needed by whoever makes the next one, which must not forget what the last one said.

use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use crate::certificate::seconds;
use crate::identity::name_text;
use crate::{PkiError, hex};

/// A revocation list, read. Its signature is not checked: that takes the authority's certificate, and is for verifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// Issuer in the order of RFC 4514.
    pub issuer: String,
    /// The CRL number (RFC 5280 §5.2.3); 0 when it has none, the largest that fits when it is larger.
    pub number: u64,
    /// When it was made, Unix seconds.
    pub this_update_s: u64,
    /// When the next one is due, Unix seconds.
    pub next_update_s: Option<u64>,
    /// Serial number in lower-case hexadecimal, as [`Certificate::serial_hex`](crate::Certificate::serial_hex) has it, and
    /// when it was revoked, Unix seconds.
    pub revoked: Vec<(String, u64)>,
}

impl RevocationList {
    /// Reads a list (DER).
    ///
    /// # Errors
    /// [`PkiError::Malformed`].
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        let (rest, list) = CertificateRevocationList::from_der(der)
            .map_err(|e| PkiError::malformed("revocation list", e))?;
        if !rest.is_empty() {
            let why = format!("{} bytes follow it", rest.len());
            return Err(PkiError::malformed("revocation list", why));
        }
        let number = list.crl_number().map_or(0, |number| {
            let digits = number.to_bytes_be();
            let mut eight = [0; 8];
            match digits.len() {
                0..=8 => eight[8 - digits.len()..].copy_from_slice(&digits),
                _ => eight = [0xff; 8],
            }
            u64::from_be_bytes(eight)
        });
        Ok(Self {
            issuer: name_text(list.issuer()),
            number,
            this_update_s: seconds(list.last_update().timestamp()),
            next_update_s: list.next_update().map(|time| seconds(time.timestamp())),
            revoked: list
                .iter_revoked_certificates()
                .map(|entry| {
                    let raw = entry.raw_serial();
                    let zeros = raw.iter().take_while(|byte| **byte == 0).count();
                    let start = zeros.min(raw.len().saturating_sub(1));
                    let at = seconds(entry.revocation_date.timestamp());
                    (hex(&raw[start..]), at)
                })
                .collect(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Authority;
    use proptest::prelude::*;

    const NOW_S: u64 = 1_750_000_000;

    #[test]
    fn what_was_signed_is_read() {
        let root = Authority::root("Root", NOW_S).unwrap();
        let revoked = [("0a", NOW_S - 5), ("7f00", NOW_S)];
        let der = root.crl_numbered(&revoked, 77, NOW_S, NOW_S + 60).unwrap();
        let read = RevocationList::from_der(&der).unwrap();
        assert_eq!((read.issuer.as_str(), read.number), ("CN=Root", 77));
        assert_eq!(
            (read.this_update_s, read.next_update_s),
            (NOW_S, Some(NOW_S + 60))
        );
        let expected = revoked.map(|(serial, at)| (serial.to_owned(), at));
        assert_eq!(read.revoked, expected);
        let mut longer = der.clone();
        longer.push(0);
        assert!(RevocationList::from_der(&longer).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_list_or_an_error(cut in 0_usize..200, flip in any::<(usize, u8)>()) {
            let root = Authority::root("Root", NOW_S).unwrap();
            let mut der = root.crl(&[("0a", NOW_S)], NOW_S, NOW_S + 60).unwrap();
            let at = flip.0 % der.len();
            der[at] ^= flip.1;
            let _ = RevocationList::from_der(&der);
            der.truncate(cut);
            let _ = RevocationList::from_der(&der);
        }
    }
}
