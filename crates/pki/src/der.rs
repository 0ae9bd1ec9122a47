//! As much DER (X.690) as a CSR needs: definite, minimal lengths; nothing is copied while reading.

pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
pub(crate) const CONTEXT_0: u8 = 0xa0;
pub(crate) const INTEGER: u8 = 0x02;

/// One element: its tag, its content, and the bytes of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) whole: &'a [u8],
}

/// Takes the first element; `None` when it is cut off, not minimal, indefinite or beyond 65535 bytes.
pub(crate) fn take(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, header) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81 => match *rest.first()? {
            n @ 0x80.. => (usize::from(n), 3),
            _ => return None,
        },
        0x82 => match (*rest.first()?, *rest.get(1)?) {
            (0, _) => return None,
            (high, low) => (usize::from(high) << 8 | usize::from(low), 4),
        },
        _ => return None,
    };
    let whole = bytes.get(..header + length)?;
    let element = Element {
        tag,
        content: &whole[header..],
        whole,
    };
    Some((element, &bytes[header + length..]))
}

/// The only element of `bytes`, if it has this tag.
pub(crate) fn only(tag: u8, bytes: &[u8]) -> Option<Element<'_>> {
    match take(bytes)? {
        (element, []) if element.tag == tag => Some(element),
        _ => None,
    }
}

/// Writes one element around the concatenated `parts`.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = length.to_be_bytes();
    let significant = &bytes[bytes
        .iter()
        .position(|b| *b != 0)
        .unwrap_or(bytes.len() - 1)..];
    let mut out = vec![tag];
    if length >= 0x80 {
        // At most eight bytes of length, so the count always fits beside the flag.
        out.push(0x80 | significant.len() as u8);
    }
    out.extend_from_slice(significant);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// r ‖ s as an ECDSA-Sig-Value (RFC 3279 §2.2.3).
pub(crate) fn ecdsa_signature(raw: &[u8; 64]) -> Vec<u8> {
    let (r, s) = raw.split_at(32);
    element(SEQUENCE, &[&unsigned(r), &unsigned(s)])
}

fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let start = bytes
        .iter()
        .position(|b| *b != 0)
        .unwrap_or(bytes.len() - 1);
    let digits = &bytes[start..];
    let sign: &[u8] = if digits[0] & 0x80 != 0 { &[0] } else { &[] };
    element(INTEGER, &[sign, digits])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_taken() {
        for length in [0, 1, 127, 128, 255, 256, 65535] {
            let content = vec![7; length];
            let whole = element(OCTET_STRING, &[&content]);
            let read = only(OCTET_STRING, &whole).unwrap();
            assert_eq!((read.content, read.whole), (&content[..], &whole[..]));
            assert!(take(&whole[..whole.len() - 1]).is_none());
        }
    }

    #[test]
    fn lengths_that_are_not_der_are_refused() {
        for bytes in [
            &[0x30, 0x80, 0, 0][..],
            &[0x30, 0x81, 0x01, 0],
            &[0x30, 0x82, 0, 0x81],
            &[0x30],
            &[],
        ] {
            assert!(take(bytes).is_none(), "{bytes:?}");
        }
    }
}
