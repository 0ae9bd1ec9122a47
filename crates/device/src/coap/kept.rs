//! A session from one program to the next: a private file that is gone before its content is used.
//!
//! It is in the clear, like the keys of the virtual modem beside it, and readable by its owner only. Whoever copies a
//! device's folder while the device is off must leave this file out.

use std::net::SocketAddr;
use std::time::Duration;

use sectag_dtls::{Resumption, SavedSession};
use sectag_proto::device::coap::{Grant, LinkConduct, LinkInput};
use zeroize::Zeroizing;

use super::Coap;
use super::session::{Session, now};
use crate::way::Clock;

/// First byte of the file; another one is another layout.
const VERSION: u8 = 1;
/// What no session and no ticket reaches.
const PART_BYTES_MAX: usize = 64 * 1024;

/// What the file holds.
struct Kept {
    /// Who the server was, and whose roots said so: `host:port` and the PEM text.
    peer: String,
    roots: String,
    /// Where the session's server is.
    address: Option<SocketAddr>,
    /// Calendar time of writing.
    at_s: u64,
    /// Seconds; `u64::MAX` for a grant without an end, 0 for none.
    granted_s: u64,
    cid: bool,
    session: Option<SavedSession>,
    resumption: Option<Resumption>,
}

impl Coap {
    /// Goes on with the session of an earlier life, once.
    pub(super) fn take_up(&mut self, clock: Clock) {
        let Some(file) = self.kept_in.as_ref().filter(|_| self.session.is_none()) else {
            return;
        };
        if self.taken_up || self.conduct != LinkConduct::Ours {
            return;
        }
        self.taken_up = true;
        let bytes = sectag_keep::read_private(file);
        // Before anything is done with it, whatever it is: a session that goes on twice gives its key away.
        match sectag_keep::remove(file) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the kept session is not used"
                );
                return;
            }
        }
        let Some(kept) = bytes.ok().flatten().and_then(|bytes| Kept::parse(&bytes)) else {
            return;
        };
        let now_s = now(clock).unix_s;
        let same = kept.peer == self.peer() && Some(&kept.roots) == self.roots_pem.as_ref();
        if !same || now_s < kept.at_s {
            return;
        }
        if self.session_cache {
            self.resumption = kept.resumption;
        }
        let address = self.address.or(kept.address);
        let (Some(saved), Some(address), Some(roots)) =
            (kept.session, address, self.roots_pem.clone())
        else {
            return;
        };
        let config = sectag_dtls::ClientConfig {
            session_cache: self.session_cache,
            ..sectag_dtls::ClientConfig::new(roots, self.host.clone())
        };
        let coap = self.coap_config();
        match Session::take_up(address, saved, kept.cid, &config, coap, clock) {
            Ok(Ok(session)) => {
                self.session = Some(session);
                let granted = match kept.granted_s {
                    0 => None,
                    u64::MAX => Some(Grant::UntilRefused),
                    seconds => seconds
                        .checked_sub(now_s - kept.at_s)
                        .filter(|left| *left > 0)
                        .map(|left| Grant::For(Duration::from_secs(left))),
                };
                let cid = kept.cid;
                self.link
                    .handle(LinkInput::Restored { cid, granted }, clock.now());
            }
            Ok(Err(error)) => tracing::debug!(%error, "a new session instead of the kept one"),
            Err(error) => tracing::debug!(%error, "no socket for the kept session"),
        }
    }

    /// Writes down what a next life can go on with.
    pub(super) fn keep(&mut self, clock: Clock) {
        let Some(file) = self.kept_in.clone() else {
            return;
        };
        let roots = self.roots_pem.clone();
        let (LinkConduct::Ours, Some(roots)) = (self.conduct, roots) else {
            return;
        };
        let granted_s = match self.link.granted(clock.now()) {
            None => 0,
            Some(Grant::UntilRefused) => u64::MAX,
            Some(Grant::For(lasts)) => lasts.as_secs(),
        };
        self.past = self.spent();
        let mut kept = Kept {
            peer: self.peer(),
            roots,
            address: None,
            at_s: now(clock).unix_s,
            granted_s,
            cid: false,
            session: None,
            resumption: self.resumption.take(),
        };
        if let Some(session) = self.session.take() {
            self.link.handle(LinkInput::Lost, clock.now());
            kept.address = Some(session.server());
            kept.cid = session.has_cid();
            kept.resumption = session.resumption().or(kept.resumption);
            kept.session = session.save();
        }
        if !self.session_cache {
            kept.resumption = None;
        }
        if kept.session.is_none() && kept.resumption.is_none() {
            return;
        }
        if let Err(error) = sectag_keep::write_private(&file, &kept.to_bytes()) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the session is not kept"
            );
        }
    }
}

impl Kept {
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let session = self.session.as_ref().map(SavedSession::to_bytes);
        let resumption = self.resumption.as_ref().map(Resumption::to_bytes);
        let address = self.address.map(|address| address.to_string());
        let address = address.unwrap_or_default();
        let parts: [&[u8]; 5] = [
            self.peer.as_bytes(),
            self.roots.as_bytes(),
            address.as_bytes(),
            session.as_ref().map_or(&[], |bytes| bytes.as_slice()),
            resumption.as_ref().map_or(&[], |bytes| bytes.as_slice()),
        ];
        // Room for all at once, so that no copy of the keys stays behind.
        let room = 2 + 8 + 8 + parts.iter().map(|part| 4 + part.len()).sum::<usize>();
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        bytes.extend_from_slice(&[VERSION, u8::from(self.cid)]);
        bytes.extend_from_slice(&self.at_s.to_be_bytes());
        bytes.extend_from_slice(&self.granted_s.to_be_bytes());
        for part in parts {
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// `None` for anything that is not exactly what [`Kept::to_bytes`] writes.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<2>()?;
        let &[VERSION, cid @ (0 | 1)] = head else {
            return None;
        };
        let (at_s, rest) = rest.split_first_chunk::<8>()?;
        let (granted_s, mut rest) = rest.split_first_chunk::<8>()?;
        let mut part = || {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let part = after.get(..length.min(PART_BYTES_MAX + 1))?;
            rest = after.get(length..)?;
            (length <= PART_BYTES_MAX).then_some(part)
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let peer = text(part()?)?;
        let roots = text(part()?)?;
        let address = text(part()?)?.parse().ok();
        let session = part()?;
        let resumption = part()?;
        if !rest.is_empty() {
            return None;
        }
        Some(Self {
            peer,
            roots,
            address,
            at_s: u64::from_be_bytes(*at_s),
            granted_s: u64::from_be_bytes(*granted_s),
            cid: cid == 1,
            session: (!session.is_empty())
                .then(|| SavedSession::from_bytes(session).ok())
                .flatten(),
            resumption: (!resumption.is_empty()).then(|| Resumption::from_bytes(resumption)),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept() -> Kept {
        Kept {
            peer: "localhost:5684".to_owned(),
            roots: "-----BEGIN CERTIFICATE-----".to_owned(),
            address: Some(([127, 0, 0, 1], 5684).into()),
            at_s: 1_700_000_000,
            granted_s: u64::MAX,
            cid: true,
            session: None,
            resumption: Some(Resumption::from_bytes(b"secret")),
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let bytes = kept().to_bytes();
        let read = Kept::parse(&bytes).unwrap();
        assert_eq!(read.to_bytes(), bytes);
        assert_eq!(read.address, kept().address);
        for end in 0..bytes.len() {
            assert!(Kept::parse(&bytes[..end]).is_none(), "{end}");
        }
        let longer: Vec<u8> = bytes.iter().copied().chain([0]).collect();
        assert!(Kept::parse(&longer).is_none());
        let mut other_layout = bytes.to_vec();
        other_layout[0] = 2;
        assert!(Kept::parse(&other_layout).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            at in 0_usize..100,
            flip in any::<u8>(),
        ) {
            let _ = Kept::parse(&bytes);
            let mut damaged = kept().to_bytes().to_vec();
            let at = at % damaged.len();
            damaged[at] ^= flip;
            let _ = Kept::parse(&damaged);
        }
    }
}
