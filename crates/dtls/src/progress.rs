//! What a handshake has cost so far, and what it was, read off its plaintext records.

use crate::event::HandshakeBytes;
use crate::record::{CHANGE_CIPHER_SPEC, HANDSHAKE, split};

/// Watches the datagrams of one handshake in both directions.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) cost: HandshakeBytes,
    /// A Certificate message went by, so no session was resumed.
    pub(crate) full: bool,
    sent: Seen,
    received: Seen,
    /// Datagrams that were received again.
    pub(crate) received_again: u64,
}

/// The furthest place in one direction's sequence of messages.
#[derive(Debug, Default)]
struct Seen {
    message: Option<(u16, u32)>,
    change_cipher_spec: bool,
}

impl Progress {
    /// Counts a datagram of ours; whether it repeats an earlier one.
    pub(crate) fn sent(&mut self, datagram: &[u8]) -> bool {
        let again = self.sent.again(datagram, &mut self.full);
        self.cost.sent += datagram.len() as u64;
        self.cost.datagrams_sent += 1;
        self.cost.retransmitted += u64::from(again);
        again
    }

    /// Counts a datagram of the peer's; whether it repeats an earlier one (or was overtaken by a later one).
    pub(crate) fn received(&mut self, datagram: &[u8]) -> bool {
        let again = self.received.again(datagram, &mut self.full);
        self.cost.received += datagram.len() as u64;
        self.cost.datagrams_received += 1;
        self.received_again += u64::from(again);
        again
    }
}

impl Seen {
    fn again(&mut self, datagram: &[u8], certificate_seen: &mut bool) -> bool {
        let mut again = false;
        // Records under a Connection ID are encrypted and tell nothing, so its length does not matter.
        for record in split(datagram, 0)
            .0
            .iter()
            .filter(|record| record.epoch == 0)
        {
            match record.kind {
                CHANGE_CIPHER_SPEC => {
                    again |= std::mem::replace(&mut self.change_cipher_spec, true)
                }
                HANDSHAKE => again |= self.messages(record.content, certificate_seen),
                _ => {}
            }
        }
        again
    }

    /// A record holds one message or a fragment of one, or several messages in a row.
    fn messages(&mut self, mut content: &[u8], certificate_seen: &mut bool) -> bool {
        const CERTIFICATE: u8 = 11;
        let mut again = false;
        while let Some((&[kind, _, _, _, q0, q1, o0, o1, o2, f0, f1, f2], rest)) =
            content.split_first_chunk::<12>()
        {
            let place = (
                u16::from_be_bytes([q0, q1]),
                u32::from_be_bytes([0, o0, o1, o2]),
            );
            *certificate_seen |= kind == CERTIFICATE;
            again |= self.message.is_some_and(|furthest| place <= furthest);
            self.message = self.message.max(Some(place));
            content = usize::try_from(u32::from_be_bytes([0, f0, f1, f2]))
                .ok()
                .and_then(|len| rest.get(len..))
                .unwrap_or_default();
        }
        again
    }
}
