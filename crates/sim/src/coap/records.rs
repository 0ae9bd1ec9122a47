//! Every protected record that was sent, by key: no number twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// The numbers of all protected records. Panics when one comes twice under one key.
///
/// With GCM under TLS 1.2 the nonce is the key's salt and eight bytes that travel in front of the ciphertext; both those and
/// the record's own number are looked at. A device has one handshake for each of its ports. A service may have several, when
/// a ClientHello arrives twice; its random tells them apart.
#[derive(Debug, Default)]
pub struct Records {
    numbers: BTreeSet<(Key, u64)>,
    nonces: BTreeSet<(Key, u64)>,
    /// The service's newest random for an address.
    randoms: BTreeMap<SocketAddr, u64>,
    /// The one that arrived first at a port of the device: the session that can move to other addresses.
    accepted: BTreeMap<u16, u64>,
}

/// What stands for a key.
type Key = (u16, Option<u64>);

impl Records {
    /// How many.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether nothing was protected.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The device sends from this port of its own. `cid_bytes` is the length of the service's Connection IDs.
    pub(super) fn up(&mut self, port: u16, datagram: &[u8], cid_bytes: usize) {
        for record in Record::all(datagram, cid_bytes) {
            self.protected((port, None), &record);
        }
    }

    /// The service sends to this address, which is or was of this port of the device.
    pub(super) fn down(&mut self, port: u16, to: SocketAddr, datagram: &[u8]) {
        for record in Record::all(datagram, 0) {
            if let Some(random) = record.server_random {
                self.randoms.insert(to, random);
            }
            let random = self.randoms.get(&to).or_else(|| self.accepted.get(&port));
            self.protected((port, Some(random.copied().unwrap_or(0))), &record);
        }
    }

    /// It arrives at this port of the device.
    pub(super) fn arrived(&mut self, port: u16, datagram: &[u8]) {
        let randoms = Record::all(datagram, 0).into_iter();
        if let Some(random) = randoms.filter_map(|record| record.server_random).next() {
            self.accepted.entry(port).or_insert(random);
        }
    }

    fn protected(&mut self, key: Key, record: &Record) {
        let Record { number, nonce, .. } = *record;
        if number >> 48 == 0 {
            return;
        }
        assert!(
            self.numbers.insert((key, number)),
            "record {number:#x} is sent twice under the key {key:x?}"
        );
        assert!(
            self.nonces.insert((key, nonce)),
            "record {number:#x} has the nonce of another under the key {key:x?}"
        );
    }
}

/// One record of a datagram (RFC 6347 §4.1, RFC 9146 §4).
struct Record {
    /// Epoch, 16 bits, and sequence number, 48 bits.
    number: u64,
    /// The first eight bytes of its fragment.
    nonce: u64,
    /// Of a ServerHello: a part of its random.
    server_random: Option<u64>,
    /// Header and fragment.
    bytes: usize,
}

impl Record {
    /// Panics at what is no record.
    fn all(mut datagram: &[u8], cid_bytes: usize) -> Vec<Self> {
        let mut all = Vec::new();
        while !datagram.is_empty() {
            let Some(record) = Self::parse(datagram, cid_bytes) else {
                panic!("an end sends what is no record: {datagram:02x?}");
            };
            datagram = &datagram[record.bytes..];
            all.push(record);
        }
        all
    }

    fn parse(bytes: &[u8], cid_bytes: usize) -> Option<Self> {
        let kind = *bytes.first()?;
        let cid_bytes = match kind {
            20..=23 => 0,
            25 => cid_bytes,
            _ => return None,
        };
        let number = u64::from_be_bytes(bytes.get(3..11)?.try_into().ok()?);
        let header = 13 + cid_bytes;
        let length = bytes.get(header - 2..header)?.try_into().ok()?;
        let bytes_all = header + usize::from(u16::from_be_bytes(length));
        let fragment = bytes.get(header..bytes_all)?;
        let eight = |at: usize| {
            Some(u64::from_be_bytes(
                fragment.get(at..at + 8)?.try_into().ok()?,
            ))
        };
        let is_server_hello = kind == 22 && number >> 48 == 0 && fragment.first() == Some(&2);
        Some(Self {
            number,
            nonce: eight(0).unwrap_or(0),
            // Behind the handshake header, the version, and the time in seconds.
            server_random: if is_server_hello {
                eight(12 + 2 + 4)
            } else {
                None
            },
            bytes: bytes_all,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Records;
    use std::net::SocketAddr;

    /// A record with a CID of two bytes, epoch 1.
    fn record(sequence: u8, nonce: u8) -> Vec<u8> {
        let mut bytes = vec![25, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, sequence, 7, 7, 0, 9];
        bytes.extend([nonce; 9]);
        bytes
    }

    fn application_data(sequence: u8) -> Vec<u8> {
        let mut bytes = vec![23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, sequence, 0, 9];
        bytes.extend([sequence; 9]);
        bytes
    }

    fn server_hello(random: u8) -> Vec<u8> {
        let mut bytes = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 50, 2];
        bytes.extend([random; 49]);
        bytes
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, 7], port))
    }

    #[test]
    fn different_numbers_are_fine() {
        let mut records = Records::default();
        let two = [record(1, 1), record(2, 2)].concat();
        records.up(40_001, &two, 2);
        records.up(40_002, &record(1, 1), 2);
        records.down(40_001, address(1), &application_data(1));
        assert_eq!(records.len(), 4);
    }

    #[test]
    #[should_panic = "is sent twice"]
    fn a_number_comes_once() {
        let mut records = Records::default();
        records.up(40_001, &record(1, 1), 2);
        records.up(40_001, &record(1, 2), 2);
    }

    #[test]
    #[should_panic = "has the nonce of another"]
    fn a_nonce_comes_once() {
        let mut records = Records::default();
        records.up(40_001, &record(1, 1), 2);
        records.up(40_001, &record(2, 1), 2);
    }

    #[test]
    fn another_handshake_begins_anew() {
        let mut records = Records::default();
        for random in [1, 2] {
            records.down(40_001, address(1), &server_hello(random));
            records.down(40_001, address(1), &application_data(0));
        }
        assert_eq!(records.len(), 2);
    }

    #[test]
    #[should_panic = "is sent twice"]
    fn another_address_does_not() {
        let mut records = Records::default();
        records.down(40_001, address(1), &server_hello(1));
        records.arrived(40_001, &server_hello(1));
        records.down(40_001, address(1), &application_data(0));
        records.down(40_001, address(2), &application_data(0));
    }
}
