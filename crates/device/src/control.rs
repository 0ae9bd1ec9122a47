//! The private socket of a running device: `now`, `token`, `uuid`, `interval`, `status`, `events`.
//!
//! ```text
//!   sectag device now ──{"verb":"now"}──────────► control.sock ──► Handle ──► Resident
//!                     ◄─{"ok":true}──────────────
//!                     ◄─{"ok":false,"errno":"-EINVAL","message":"…"}──
//! ```
//!
//! One line of JSON is a request, one line is its answer; `events` is answered by one line for each event. The socket
//! lies in the device's folder, which only its owner can enter (0700), and is 0600 itself: whoever reaches it may make
//! the device come to its service and read its claim token, and nothing else. No credential passes through it.
//!
//! Requests, connections and waiting have limits ([`REQUEST_BYTES_MAX`], [`CONNECTIONS_MAX`], [`REQUEST_WAIT`]).

mod call;
mod serve;
mod words;

pub use call::{Connection, ControlError};
pub use serve::{Control, ServeError};
pub use words::{Request, RequestError};

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the socket in the device's folder.
pub const SOCKET: &str = "control.sock";
/// Bytes of one request with its line feed; the longest has 80.
pub const REQUEST_BYTES_MAX: usize = 4096;
/// Bytes of one answer with its line feed. An event holds at most 2048 characters of a modem's words.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Connections at once. A follower holds one as long as it follows.
pub const CONNECTIONS_MAX: usize = 16;
/// How long a connection may take for its next request.
pub const REQUEST_WAIT: Duration = Duration::from_secs(10);

/// Bytes that fit a socket address (`sun_path` of Linux, less its NUL).
const ADDRESS_BYTES_MAX: usize = 107;

/// A path that fits a socket address: the socket's own, or a short one through an open directory, which must stay open
/// while the path is used.
fn address(dir: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let path = dir.join(SOCKET);
    if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
        return Ok((path, None));
    }
    let open = File::open(dir)?;
    let short = format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd());
    Ok((PathBuf::from(short), Some(open)))
}
