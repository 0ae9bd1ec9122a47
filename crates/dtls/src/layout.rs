//! The layout of what Mbed TLS saves, walked before it is given back.
//!
//! Mbed TLS says of its saved sessions and contexts that they must come from a trusted place: it believes the lengths of session
//! IDs and Connection IDs in them (3.6.5, `ssl_tls12_session_load` and `ssl_context_load`), and would write past its own structures.
//! Ours come from sealed files, and a caller may still hand over the wrong ones; so the lengths are checked here first.

/// Which end wrote it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    Server,
    Client,
}

/// Whether these bytes are laid out like a TLS 1.2 session with its header (`mbedtls_ssl_session_save`).
pub(crate) fn session(bytes: &[u8], side: Side) -> bool {
    let mut walk = Walk(bytes);
    walk.skip(SESSION_HEADER_BYTES)
        .and_then(|()| walk.session(side))
        .is_some()
        && walk.0.is_empty()
}

/// What is read off a saved session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SessionHead {
    /// IANA number.
    pub(crate) suite: u16,
    /// When its full handshake was, seconds since 1970.
    pub(crate) start_s: u64,
}

/// The beginning of a server's saved session with its header; `None` when it is laid out otherwise.
pub(crate) fn session_head(bytes: &[u8]) -> Option<SessionHead> {
    let mut walk = Walk(bytes);
    walk.skip(SESSION_HEADER_BYTES + 2)?; // version, end
    let suite = u16::from_be_bytes(*walk.chunk()?);
    let start_s = u64::from_be_bytes(*walk.chunk()?);
    session(bytes, Side::Server).then_some(SessionHead { suite, start_s })
}

/// What is read off a saved context.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SavedContext<'a> {
    /// The Connection ID that the peer puts into its records.
    pub(crate) own_cid: &'a [u8],
    /// Epoch and sequence number of the next record.
    pub(crate) next_record: [u8; 8],
}

/// Walks a saved context (`mbedtls_ssl_context_save`); `None` when it is laid out otherwise.
pub(crate) fn context(bytes: &[u8], side: Side) -> Option<SavedContext<'_>> {
    let mut walk = Walk(bytes);
    walk.skip(CONTEXT_HEADER_BYTES)?;
    let session_len = u32::from_be_bytes(*walk.chunk()?);
    let mut session = Walk(walk.take(usize::try_from(session_len).ok()?)?);
    session.session(side)?;
    if !session.0.is_empty() {
        return None;
    }
    walk.skip(64)?; // the randoms of both hellos
    let own_cid = walk.cid()?;
    let _peer_cid = walk.cid()?;
    walk.skip(4 + 8 + 8 + 1)?; // bad MACs, replay window (top, bits), datagram packing
    let next_record = *walk.chunk()?;
    walk.skip(2)?; // MTU
    let alpn_len = walk.byte()?;
    (alpn_len == 0 && walk.0.is_empty()).then_some(SavedContext {
        own_cid,
        next_record,
    })
}

struct Walk<'a>(&'a [u8]);

impl<'a> Walk<'a> {
    /// A session without its header.
    fn session(&mut self, side: Side) -> Option<()> {
        let version = self.byte()?;
        let endpoint = self.byte()?;
        let suite = u16::from_be_bytes(*self.chunk()?);
        let right_end = endpoint == if side == Side::Server { 1 } else { 0 };
        if version != 3 || !right_end || crate::config::suite_name(suite).is_none() {
            return None;
        }
        self.skip(8)?; // start
        if self.byte()? > 32 {
            return None;
        }
        self.skip(32 + 48 + 4)?; // ID, master secret, result of verification
        self.skip_len24()?; // the peer's certificate
        match side {
            Side::Client => {
                self.skip_len24()?; // ticket
                self.skip(4)?; // its lifetime
            }
            Side::Server => self.skip(8)?, // creation of its ticket
        }
        let fragment_length_code = self.byte()?;
        let encrypt_then_mac = self.byte()?;
        (fragment_length_code <= 4 && encrypt_then_mac <= 1).then_some(())
    }

    fn cid(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.byte()?);
        if len > CID_BYTES_MAX {
            return None;
        }
        self.take(len)
    }

    fn skip_len24(&mut self) -> Option<()> {
        let [a, b, c] = *self.chunk()?;
        self.skip(usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?)
    }

    fn skip(&mut self, len: usize) -> Option<()> {
        self.take(len).map(|_| ())
    }

    fn byte(&mut self) -> Option<u8> {
        self.chunk::<1>().map(|chunk| chunk[0])
    }

    fn chunk<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(chunk)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}

/// Version (3 bytes) and configuration (2 bytes) of the library; compared by itself.
const SESSION_HEADER_BYTES: usize = 5;
/// The same, and three bytes on contexts.
const CONTEXT_HEADER_BYTES: usize = 8;
/// `MBEDTLS_SSL_CID_IN_LEN_MAX` and `…_OUT_LEN_MAX`.
const CID_BYTES_MAX: usize = 32;
