//! The C program as a carrier: its callbacks behind safe functions.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::{c_char, c_int, c_void};
use core::fmt::Write as _;
use core::ptr;
use core::time::Duration;

use sectag_proto::Uptime;
use sectag_proto::device::{ANSWER_BYTES_MAX, StoreFailure, TransportError};
use sectag_proto::query::FetchQuery;
use sectag_proto::secret::{Secret, SecretText};

use crate::errno::Code;
use crate::ffi::millis;

/// `sectag_http_fn`
pub type HttpFn = extern "C" fn(*mut c_void, *const sectag_request, *mut sectag_answer) -> c_int;
/// `sectag_at_fn`
pub type AtFn = extern "C" fn(*mut c_void, *const c_char, *mut c_char, usize) -> c_int;

/// See the header.
#[repr(C)]
#[derive(Debug)]
pub struct sectag_request {
    /// `GET` or `POST`.
    pub method: *const c_char,
    /// Path and query.
    pub target: *const c_char,
    /// `Bearer …`; a secret.
    pub authorization: *const c_char,
    /// Value of `Accept`.
    pub accept: *const c_char,
    /// Value of `Content-Type`.
    pub content_type: *const c_char,
    /// What to send, or NULL.
    pub body: *const u8,
    /// Its bytes.
    pub body_len: usize,
}

/// See the header.
#[repr(C)]
#[derive(Debug)]
pub struct sectag_answer {
    /// HTTP status.
    pub status: c_int,
    /// Where the body goes.
    pub body: *mut u8,
    /// Room there.
    pub body_size: usize,
    /// Bytes put there.
    pub body_len: usize,
    /// Seconds of `Retry-After`, or negative.
    pub retry_after_s: i64,
}

/// See the header.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sectag_carrier {
    /// Bytes of this structure.
    pub size: usize,
    /// Handed to each callback.
    pub user: *mut c_void,
    /// Carries a GET.
    pub fetch: Option<HttpFn>,
    /// Carries a POST.
    pub report: Option<HttpFn>,
    /// Carries an AT line.
    pub at_line: Option<AtFn>,
    /// Reads a setting.
    pub load: Option<extern "C" fn(*mut c_void, *const c_char, *mut c_char, usize) -> c_int>,
    /// Stores a setting.
    pub save: Option<extern "C" fn(*mut c_void, *const c_char, *const c_char, usize) -> c_int>,
    /// Whether a packet data network is active.
    pub network: Option<extern "C" fn(*mut c_void) -> c_int>,
    /// The clock.
    pub uptime_ms: Option<extern "C" fn(*mut c_void) -> u64>,
    /// Waits.
    pub wait: Option<extern "C" fn(*mut c_void, u32)>,
    /// Takes a line for the log.
    pub log: Option<extern "C" fn(*mut c_void, *const c_char)>,
}

/// Path of the command fetch (spec/device-protocol §5.1).
const COMMANDS_PATH: &str = "/v1/provisioning/commands";
/// Path of the report (spec/device-protocol §5.2).
const RESPONSE_PATH: &str = "/v1/provisioning/response";
/// Room for a setting: an interval has fewer than 20 characters, an id at most 45; what is longer is none of them.
const SETTING_BYTES_MAX: usize = 256;

/// The callbacks of one client or session, complete.
#[derive(Debug)]
pub(crate) struct Carrier {
    callbacks: sectag_carrier,
    fetch: HttpFn,
    report: HttpFn,
    at_line: AtFn,
    #[cfg(feature = "std")]
    started: std::time::Instant,
    #[cfg(not(feature = "std"))]
    uptime_ms: extern "C" fn(*mut c_void) -> u64,
}

// SAFETY: `user` is never looked at, only handed back to the functions it came with, and the header says that they are
// called by whichever thread drives, one at a time (`uptime_ms` and `log` by any thread that calls in).
unsafe impl Send for Carrier {}
// SAFETY: as above; the fields themselves never change.
unsafe impl Sync for Carrier {}

/// An answer to a fetch or report.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) retry_after: Option<Duration>,
}

impl Carrier {
    /// Checks that what must be there is there.
    pub(crate) fn new(callbacks: sectag_carrier) -> Result<Self, Code> {
        let (Some(fetch), Some(report), Some(at_line)) =
            (callbacks.fetch, callbacks.report, callbacks.at_line)
        else {
            return Err(Code::INVAL);
        };
        Ok(Self {
            fetch,
            report,
            at_line,
            #[cfg(feature = "std")]
            started: std::time::Instant::now(),
            #[cfg(not(feature = "std"))]
            uptime_ms: callbacks.uptime_ms.ok_or(Code::INVAL)?,
            callbacks,
        })
    }

    /// `room`: bytes that the body may have.
    pub(crate) fn fetch(
        &self,
        jwt: &SecretText,
        query: &FetchQuery,
        room: usize,
    ) -> Result<Answered, TransportError> {
        let target = format!("{COMMANDS_PATH}?{}", travelling(&query.print()));
        let types = (c"application/cbor".as_ptr(), c"*/*".as_ptr());
        self.exchange(self.fetch, c"GET".as_ptr(), &target, jwt, types, None, room)
    }

    pub(crate) fn report(&self, jwt: &SecretText, body: &[u8]) -> Result<Answered, TransportError> {
        // The body of the answer says nothing; some room, so that a chatty server is not a failure.
        const ROOM: usize = 1024;
        let types = (c"*/*".as_ptr(), c"application/cbor".as_ptr());
        let method = c"POST".as_ptr();
        self.exchange(
            self.report,
            method,
            RESPONSE_PATH,
            jwt,
            types,
            Some(body),
            ROOM,
        )
    }

    /// One AT line; everything the modem printed for it.
    pub(crate) fn line(&self, line: &str) -> Result<String, Code> {
        let line = terminated(line).ok_or(Code::INVAL)?;
        let mut answer = vec![0_u8; ANSWER_BYTES_MAX];
        let (place, size) = (answer.as_mut_ptr().cast(), answer.len());
        let taken = (self.at_line)(
            self.callbacks.user,
            line.expose().as_ptr().cast(),
            place,
            size,
        );
        let failed = match usize::try_from(taken) {
            Ok(bytes @ 1..) if bytes <= size => {
                answer.truncate(bytes);
                None
            }
            Ok(_) => Some(Code::IO),
            Err(_) => Some(Code::of_callback(taken)),
        };
        if let Some(code) = failed {
            // It may hold a part of a JWT.
            drop(Secret::new(answer));
            return Err(code);
        }
        while answer.last() == Some(&0) {
            answer.pop();
        }
        // Text that is none came over a bad line; the answer's frame is still worth having.
        Ok(String::from_utf8(answer).unwrap_or_else(|error| {
            let bytes = Secret::new(error.into_bytes());
            String::from_utf8_lossy(bytes.expose()).into_owned()
        }))
    }

    /// `None`: never stored.
    pub(crate) fn load(&self, key: &str) -> Result<Option<String>, StoreFailure> {
        let Some(load) = self.callbacks.load else {
            return Ok(None);
        };
        let key = terminated(key).ok_or(StoreFailure::Invalid)?;
        let mut value = vec![0_u8; SETTING_BYTES_MAX];
        let (place, size) = (value.as_mut_ptr().cast(), value.len());
        let taken = load(
            self.callbacks.user,
            key.expose().as_ptr().cast(),
            place,
            size,
        );
        let bytes = match usize::try_from(taken) {
            Ok(bytes) if bytes <= size => bytes,
            Ok(_) => return Err(StoreFailure::Io),
            Err(_) if Code::of_callback(taken) == Code::NOENT => return Ok(None),
            Err(_) => return Err(Code::of_callback(taken).store()),
        };
        value.truncate(bytes);
        // Older firmware stored a NUL with the text (spec/device-protocol §1).
        while value.last() == Some(&0) {
            value.pop();
        }
        String::from_utf8(value)
            .map(Some)
            .map_err(|_| StoreFailure::Invalid)
    }

    pub(crate) fn save(&self, key: &str, value: &str) -> Result<(), StoreFailure> {
        let save = self.callbacks.save.ok_or(StoreFailure::Io)?;
        let key = terminated(key).ok_or(StoreFailure::Invalid)?;
        // An empty text of Rust has no place in memory, and C wants one.
        let text = match value {
            "" => c"".as_ptr(),
            value => value.as_ptr().cast(),
        };
        let key = key.expose().as_ptr().cast();
        match save(self.callbacks.user, key, text, value.len()) {
            0.. => Ok(()),
            code => Err(Code::of_callback(code).store()),
        }
    }

    /// `None`: the program does not say.
    pub(crate) fn network(&self) -> Option<bool> {
        Some(self.callbacks.network?(self.callbacks.user) > 0)
    }

    pub(crate) fn uptime(&self) -> Uptime {
        #[cfg(feature = "std")]
        let ms = match self.callbacks.uptime_ms {
            Some(uptime_ms) => uptime_ms(self.callbacks.user),
            None => u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        #[cfg(not(feature = "std"))]
        let ms = (self.uptime_ms)(self.callbacks.user);
        Uptime(ms)
    }

    /// Whether the program waits by a callback of its own.
    pub(crate) const fn has_wait(&self) -> bool {
        self.callbacks.wait.is_some()
    }

    /// Whether there is any way to wait.
    pub(crate) const fn can_wait(&self) -> bool {
        cfg!(feature = "std") || self.has_wait()
    }

    /// Waits by the program's callback; `None`: without end.
    pub(crate) fn wait(&self, limit: Option<Duration>) {
        if let Some(wait) = self.callbacks.wait {
            wait(self.callbacks.user, millis(limit));
        }
    }

    pub(crate) fn log(&self, text: &str) {
        let Some(log) = self.callbacks.log else {
            return;
        };
        // Words of a modem may hold anything; the log gets one line.
        let shown: String = text
            .split(char::is_control)
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        if let Some(line) = terminated(&shown) {
            log(self.callbacks.user, line.expose().as_ptr().cast());
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one request is that many facts")]
    fn exchange(
        &self,
        send: HttpFn,
        method: *const c_char,
        target: &str,
        jwt: &SecretText,
        (accept, content_type): (*const c_char, *const c_char),
        body: Option<&[u8]>,
        room: usize,
    ) -> Result<Answered, TransportError> {
        let target = terminated(target).ok_or(TransportError::Garbage)?;
        let authorization = joined("Bearer ", jwt.expose()).ok_or(TransportError::Garbage)?;
        let request = sectag_request {
            method,
            target: target.expose().as_ptr().cast(),
            authorization: authorization.expose().as_ptr().cast(),
            accept,
            content_type,
            body: body.map_or(ptr::null(), <[u8]>::as_ptr),
            body_len: body.map_or(0, <[u8]>::len),
        };
        let mut received = vec![0_u8; room];
        let mut answer = sectag_answer {
            status: 0,
            body: received.as_mut_ptr(),
            body_size: room,
            body_len: 0,
            retry_after_s: -1,
        };
        let taken = send(self.callbacks.user, &raw const request, &raw mut answer);
        if taken < 0 {
            return Err(Code::of_callback(taken).transport());
        }
        if answer.body_len > room {
            return Err(TransportError::TooLarge);
        }
        received.truncate(answer.body_len);
        match u16::try_from(answer.status) {
            Ok(status @ 100..=599) => Ok(Answered {
                status,
                body: received,
                retry_after: u64::try_from(answer.retry_after_s)
                    .ok()
                    .map(Duration::from_secs),
            }),
            _ => Err(TransportError::Garbage),
        }
    }
}

/// With a NUL; `None` when there is one inside. Forgotten on drop, whatever it was.
fn terminated(text: &str) -> Option<Secret<Vec<u8>>> {
    joined("", text)
}

fn joined(start: &str, text: &str) -> Option<Secret<Vec<u8>>> {
    if text.contains('\0') {
        return None;
    }
    // At its full size at once: growing would leave copies behind.
    let mut bytes = Vec::with_capacity(start.len() + text.len() + 1);
    bytes.extend_from_slice(start.as_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    Some(Secret::new(bytes))
}

/// The firmware encodes nothing, and its values need nothing. A version from elsewhere might hold characters that would
/// end the request line; only those are percent-encoded.
fn travelling(query: &str) -> String {
    let mut out = String::with_capacity(query.len());
    for byte in query.bytes() {
        if byte.is_ascii_graphic() && byte != b'#' {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_version_with_a_line_break_cannot_end_the_request_line() {
        assert_eq!(travelling("mver=a b\r\n#"), "mver=a%20b%0D%0A%23");
        assert_eq!(
            travelling("after=&mver=mfw_nrf91x1_2.0.2"),
            "after=&mver=mfw_nrf91x1_2.0.2"
        );
    }

    #[test]
    fn a_text_with_a_nul_has_no_c_form() {
        assert!(terminated("a\0b").is_none());
        assert_eq!(terminated("ab").unwrap().expose(), b"ab\0");
        assert_eq!(joined("Bearer ", "x").unwrap().expose(), b"Bearer x\0");
    }
}
