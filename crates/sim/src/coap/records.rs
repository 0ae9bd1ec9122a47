//! Every protected record that was sent, by connection and direction: one key each, and so no number twice.

use std::collections::BTreeSet;

/// The numbers of all protected records. Panics when one comes twice.
///
/// With GCM under TLS 1.2 the nonce is the key's salt and eight bytes that travel in front of the ciphertext; both those and
/// the record's own number are looked at.
#[derive(Debug, Default)]
pub struct Records {
    numbers: BTreeSet<(u16, bool, u64)>,
    nonces: BTreeSet<(u16, bool, u64)>,
}

impl Records {
    /// How many.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether nothing was protected.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// A datagram leaves: of the connection on this port of the device, upwards or downwards. `cid_bytes` is the length of
    /// a Connection ID in this direction.
    pub(super) fn leave(&mut self, port: u16, up: bool, mut datagram: &[u8], cid_bytes: usize) {
        while !datagram.is_empty() {
            let Some(record) = Record::parse(datagram, cid_bytes) else {
                panic!("an end sends what is no record: {datagram:02x?}");
            };
            datagram = &datagram[record.bytes..];
            if record.epoch() == 0 {
                continue;
            }
            let number = record.number;
            assert!(
                self.numbers.insert((port, up, number)),
                "port {port}: record {number:#x} is sent twice"
            );
            assert!(
                self.nonces.insert((port, up, record.nonce)),
                "port {port}: record {number:#x} has the nonce of another"
            );
        }
    }
}

/// One record of a datagram (RFC 6347 §4.1, RFC 9146 §4).
struct Record {
    /// Epoch, 16 bits, and sequence number, 48 bits.
    number: u64,
    /// The first eight bytes of its fragment.
    nonce: u64,
    /// Header and fragment.
    bytes: usize,
}

impl Record {
    fn parse(bytes: &[u8], cid_bytes: usize) -> Option<Self> {
        let cid_bytes = match bytes.first()? {
            20..=23 => 0,
            25 => cid_bytes,
            _ => return None,
        };
        let number = u64::from_be_bytes(bytes.get(3..11)?.try_into().ok()?);
        let header = 13 + cid_bytes;
        let length = bytes.get(header - 2..header)?.try_into().ok()?;
        let bytes_all = header + usize::from(u16::from_be_bytes(length));
        let fragment = bytes.get(header..bytes_all)?;
        let nonce = fragment.first_chunk().map_or(0, |n| u64::from_be_bytes(*n));
        Some(Self {
            number,
            nonce,
            bytes: bytes_all,
        })
    }

    const fn epoch(&self) -> u64 {
        self.number >> 48
    }
}

#[cfg(test)]
mod tests {
    use super::Records;

    /// A record with a CID of two bytes, epoch 1.
    fn record(sequence: u8, nonce: u8) -> Vec<u8> {
        let mut bytes = vec![25, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, sequence, 7, 7, 0, 9];
        bytes.extend([nonce; 9]);
        bytes
    }

    #[test]
    fn different_numbers_are_fine() {
        let mut records = Records::default();
        let two = [record(1, 1), record(2, 2)].concat();
        records.leave(40_001, true, &two, 2);
        records.leave(40_001, false, &record(1, 1), 2);
        records.leave(40_002, true, &record(1, 1), 2);
        assert_eq!(records.len(), 4);
    }

    #[test]
    #[should_panic = "is sent twice"]
    fn a_number_comes_once() {
        let mut records = Records::default();
        records.leave(40_001, true, &record(1, 1), 2);
        records.leave(40_001, true, &record(1, 2), 2);
    }

    #[test]
    #[should_panic = "has the nonce of another"]
    fn a_nonce_comes_once() {
        let mut records = Records::default();
        records.leave(40_001, true, &record(1, 1), 2);
        records.leave(40_001, true, &record(2, 1), 2);
    }
}
