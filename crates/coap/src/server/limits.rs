//! What a peer may make the server keep, each number with its reason.

use crate::BlockSize;
use std::time::Duration;

/// An answer that is not there after this long is announced by an empty acknowledgement and sent as a message of its own.
/// A client waits [`crate::timing::ACK_TIMEOUT`] before it sends again; 1.5 s of it are left to a slow radio. Smaller would
/// pay two more datagrams for answers that only had to wait for a disk.
pub const SEPARATE_AFTER: Duration = Duration::from_millis(500);

/// A request that the application has not answered by then is answered 5.00. A modem's client waits 30 s
/// (spec/device-protocol §6.2); a later answer would find nobody.
pub const APPLICATION_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a request's body: as many as over HTTPS, where a report of ten answers of 4 kB fits.
pub const BODY_BYTES_MAX: usize = 48 * 1024;

/// Bytes of an answer's body: the largest batch a device can ask for has 99 999.
pub const ANSWER_BYTES_MAX: usize = 100_000;

/// Bodies a session may have half-sent. A client with NSTART 1 has one; the second leaves room for one it gave up.
pub const ASSEMBLIES_MAX: usize = 2;

/// Sliced answers kept for a session until their last block was fetched long ago.
pub const REPRESENTATIONS_MAX: usize = 2;

/// A half-sent body or a sliced answer that nobody touched for this long is dropped: by then every sender has given up.
pub const BODY_LIFETIME: Duration = crate::timing::MAX_TRANSMIT_WAIT;

/// Requests of one session the application works on at once. A client with NSTART 1 has one; more are told 5.00.
pub const EXCHANGES_MAX: usize = 4;

/// Requests of all sessions the application works on at once; more are told 5.00. At a kilobyte each 4 MB; an application
/// with a bound of its own has a smaller one.
pub const EXCHANGES_TOTAL_MAX: usize = 4096;

/// Message ids remembered for a session. A client with NSTART 1 is at the newest; a duplicate that is older than this many
/// round trips does not exist on any real network.
pub const SEEN_MAX: usize = 64;

/// Bytes of answers remembered for duplicates in one session, besides sliced ones, which are cut again. At least the
/// newest is kept, so that the last answer can always be repeated.
pub const SEEN_BYTES_MAX: usize = 4 * 1024;

/// A larger datagram is rejected unread: DTLS records toward and from modems have 2 kB.
pub const DATAGRAM_BYTES_MAX: usize = 4 * 1024;

/// Everything kept for one session, whatever its peer sends: bodies in both directions, and 24 KiB for message ids,
/// remembered answers, open requests and options.
pub const SESSION_BYTES_MAX: usize =
    ASSEMBLIES_MAX * BODY_BYTES_MAX + REPRESENTATIONS_MAX * ANSWER_BYTES_MAX + 24 * 1024;

/// Bytes kept for all sessions. 10,000 devices that fetch and report at the same time hold about 2 kB each; over the limit
/// the session that began earliest to hold something loses it, and its peer starts that transfer again.
pub const TOTAL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Sessions known at once. The DTLS endpoint has a smaller number; this is for callers who forget to forget.
pub const SESSIONS_MAX: usize = 65_536;

/// What may differ between two servers; the default is the constants of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest block sent or asked for; default 1024. A peer may ask for smaller ones.
    pub block_size: BlockSize,
    /// Bytes of a request's body; default and most: [`BODY_BYTES_MAX`]. More is answered 4.13 with this number as Size1.
    pub body_bytes_max: usize,
    /// The same for a session that nobody has vouched for by [`Server::trust`](crate::Server::trust); default
    /// [`BODY_BYTES_MAX`]. Whoever takes requests from strangers sets it to what a stranger has to say.
    pub stranger_body_bytes_max: usize,
    /// Bytes kept for all sessions; default [`TOTAL_BYTES_MAX`].
    pub total_bytes_max: usize,
    /// Sessions known at once; default [`SESSIONS_MAX`]. Over it a session that was quiet is forgotten.
    pub sessions_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            block_size: BlockSize::B1024,
            body_bytes_max: BODY_BYTES_MAX,
            stranger_body_bytes_max: BODY_BYTES_MAX,
            total_bytes_max: TOTAL_BYTES_MAX,
            sessions_max: SESSIONS_MAX,
        }
    }
}
