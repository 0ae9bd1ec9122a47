//! Records in a datagram (RFC 6347 §4.1, RFC 9146 §4), read only as far as their headers.

/// One record: header and content, still encrypted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Record<'a> {
    /// All of it.
    pub(crate) bytes: &'a [u8],
    /// What it says it holds; [`WITH_CID`] hides that inside.
    pub(crate) kind: u8,
    pub(crate) epoch: u16,
    /// 48 bits.
    pub(crate) sequence: u64,
    /// Empty unless the kind is [`WITH_CID`].
    pub(crate) cid: &'a [u8],
    pub(crate) content: &'a [u8],
}

/// change_cipher_spec.
pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
/// alert.
pub(crate) const ALERT: u8 = 21;
/// handshake.
pub(crate) const HANDSHAKE: u8 = 22;
/// tls12_cid: a record of any kind under a Connection ID.
pub(crate) const WITH_CID: u8 = 25;

/// The records of a datagram, up to the first that is cut off or not DTLS; whether there was such a one is in the second value.
pub(crate) fn split(datagram: &[u8], cid_bytes: usize) -> (Vec<Record<'_>>, bool) {
    let (mut records, mut rest) = (Vec::with_capacity(1), datagram);
    while !rest.is_empty() {
        let Some(record) = first(rest, cid_bytes) else {
            return (records, true);
        };
        rest = rest.get(record.bytes.len()..).unwrap_or_default();
        records.push(record);
    }
    (records, datagram.is_empty())
}

fn first(bytes: &[u8], cid_bytes: usize) -> Option<Record<'_>> {
    let (&[kind, major, _minor, e0, e1, s0, s1, s2, s3, s4, s5], rest) =
        bytes.split_first_chunk::<11>()?;
    if major != 0xfe || !(CHANGE_CIPHER_SPEC..=WITH_CID).contains(&kind) {
        return None;
    }
    let (cid, rest) = rest.split_at_checked(if kind == WITH_CID { cid_bytes } else { 0 })?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let content = rest.get(..usize::from(u16::from_be_bytes(*len)))?;
    Some(Record {
        bytes: bytes.get(..11 + cid.len() + 2 + content.len())?,
        kind,
        epoch: u16::from_be_bytes([e0, e1]),
        sequence: u64::from_be_bytes([0, 0, s0, s1, s2, s3, s4, s5]),
        cid,
        content,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, cid: &[u8], content: &[u8]) -> Vec<u8> {
        let len = u8::try_from(content.len()).expect("short");
        [
            &[kind, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 7],
            cid,
            &[0, len],
            content,
        ]
        .concat()
    }

    #[test]
    fn a_datagram_is_split_at_its_records_with_and_without_connection_ids() {
        let datagram = [
            record(22, b"", b"hello"),
            record(WITH_CID, b"12345678", b"data"),
            record(23, b"", b"x"),
        ]
        .concat();
        let (records, garbage) = split(&datagram, 8);
        assert!(!garbage);
        assert_eq!(
            records
                .iter()
                .map(|record| (record.kind, record.cid, record.content))
                .collect::<Vec<_>>(),
            [
                (22, &b""[..], &b"hello"[..]),
                (WITH_CID, b"12345678", b"data"),
                (23, b"", b"x")
            ]
        );
        assert_eq!((records[0].epoch, records[0].sequence), (1, 7));
        assert_eq!(
            records
                .iter()
                .flat_map(|record| record.bytes)
                .copied()
                .collect::<Vec<_>>(),
            datagram
        );
    }

    #[test]
    fn what_is_cut_off_or_foreign_ends_the_datagram() {
        let whole = record(23, b"", b"abc");
        for len in 0..whole.len() {
            assert_eq!(split(&whole[..len], 8), (vec![], true), "{len} bytes");
        }
        assert_eq!(split(b"GET / HTTP/1.1\r\n\r\n", 8), (vec![], true));
        assert_eq!(
            split(&[whole.clone(), vec![0xff; 20]].concat(), 8).0.len(),
            1
        );
        assert!(split(&[whole, vec![0xff; 20]].concat(), 8).1);
    }
}
