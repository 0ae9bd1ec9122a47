//! A session between two lives of a program: saved at orderly shutdown, loaded once.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use zeroize::Zeroizing;

use crate::event::SessionKey;
use crate::layout::{self, Side};

/// An established session, taken out of an endpoint (or client) that has ended, on its way into another.
///
/// There is no `Clone`, and loading consumes the value: two endpoints that go on with one session would send two records with one
/// nonce, which breaks AES-GCM. Whoever writes [`SavedSession::to_bytes`] down must encrypt them, and must delete them before
/// loading; after a crash nothing may be loaded, and a backup must not hold them.
pub struct SavedSession {
    /// What the session was called. Loading gives it a new key.
    pub key: SessionKey,
    /// Where its peer was; of a client's session the unspecified address.
    pub peer: SocketAddr,
    /// The Connection ID that its peer puts into records to us; empty when there is none.
    pub cid: Vec<u8>,
    pub(crate) side: Side,
    /// When the peer was last heard, seconds since 1970.
    pub(crate) heard_s: u64,
    /// Mbed TLS's own bytes: keys, sequence numbers, replay window.
    pub(crate) state: Zeroizing<Vec<u8>>,
}

impl SavedSession {
    /// The bytes to encrypt and to keep until the next start.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let ip = match self.peer.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        // Room for all at once, so that no copy of the keys stays behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(HEAD_BYTES + self.state.len()));
        bytes.extend_from_slice(&[
            FORMAT,
            u8::from(self.side == Side::Server),
            u8::from(self.peer.is_ipv4()),
        ]);
        bytes.extend_from_slice(&self.key.0.to_be_bytes());
        bytes.extend_from_slice(&ip.octets());
        bytes.extend_from_slice(&self.peer.port().to_be_bytes());
        bytes.extend_from_slice(&self.heard_s.to_be_bytes());
        bytes.extend_from_slice(&self.state);
        bytes
    }

    /// Back from [`SavedSession::to_bytes`].
    ///
    /// # Errors
    /// [`LoadError::Garbage`] when the bytes are not a saved session.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LoadError> {
        Self::parse(bytes).ok_or(LoadError::Garbage)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[format, server, v4], rest) = bytes.split_first_chunk::<3>()?;
        let (key, rest) = rest.split_first_chunk::<8>()?;
        let (ip, rest) = rest.split_first_chunk::<16>()?;
        let (port, rest) = rest.split_first_chunk::<2>()?;
        let (heard_s, state) = rest.split_first_chunk::<8>()?;
        if format != FORMAT || server > 1 || v4 > 1 {
            return None;
        }
        let side = if server == 1 {
            Side::Server
        } else {
            Side::Client
        };
        let cid = layout::context(state, side)?.own_cid.to_vec();
        let ip = Ipv6Addr::from(*ip);
        let ip = if v4 == 1 {
            IpAddr::V4(ip.to_ipv4_mapped()?)
        } else {
            IpAddr::V6(ip)
        };
        Some(Self {
            key: SessionKey(u64::from_be_bytes(*key)),
            peer: SocketAddr::new(ip, u16::from_be_bytes(*port)),
            cid,
            side,
            heard_s: u64::from_be_bytes(*heard_s),
            state: Zeroizing::new(state.to_vec()),
        })
    }

    /// Epoch (16 bits) and sequence number (48 bits) of the next record that is sent; for watching that none is used twice.
    pub fn next_record(&self) -> u64 {
        layout::context(&self.state, self.side)
            .map_or(0, |context| u64::from_be_bytes(context.next_record))
    }
}

impl fmt::Debug for SavedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedSession")
            .field("key", &self.key)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Why a saved session does not go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LoadError {
    /// Not a saved session, or one of another version of the library.
    #[error("these bytes are not a saved session")]
    Garbage,
    /// Its Connection ID has another length than this endpoint's.
    #[error("its Connection ID has another length than this endpoint's")]
    CidLength,
    /// A session with this Connection ID, or without one at this address, is here already.
    #[error("a session with this Connection ID or at this address is here already")]
    Twice,
    /// It has been idle for longer than the limit.
    #[error("it has been idle for too long")]
    Idle,
    /// The endpoint is full.
    #[error("the endpoint is full")]
    Full,
}

/// The first byte; another layout gets another number.
const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 3 + 8 + 16 + 2 + 8;
