//! What Mbed TLS asks for while it works: random bytes, tickets, the cache of sessions. One `Hands` per endpoint or client, shared
//! by its configurations.

use std::collections::{HashMap, VecDeque};
use std::ffi::{c_int, c_void};
use std::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mbedtls_rs_sys as sys;
use zeroize::Zeroizing;

use super::clock;
use super::crypto::NONCE_BYTES;
use crate::config::Random;
use crate::layout;
use crate::tickets::TicketKeys;

/// See the head of the file. Mbed TLS holds a pointer to it, through [`Config`](super::Config).
pub(crate) struct Hands(Mutex<Inner>);

struct Inner {
    random: Box<dyn Random>,
    tickets: Option<TicketKeys>,
    cache: Cache,
    /// Sessions cached since the last [`Hands::cached`].
    fresh: Vec<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    /// A ticket was opened since the last [`Hands::ticket_opened`].
    ticket_opened: bool,
}

impl Hands {
    pub(crate) fn new(
        random: Box<dyn Random>,
        tickets: Option<TicketKeys>,
        cached_sessions_max: usize,
    ) -> Self {
        let cache = Cache {
            sessions: HashMap::new(),
            order: VecDeque::new(),
            sessions_max: cached_sessions_max,
        };
        Self(Mutex::new(Inner {
            random,
            tickets,
            cache,
            fresh: Vec::new(),
            ticket_opened: false,
        }))
    }

    /// Random bytes for the caller's own use.
    pub(crate) fn fill(&self, bytes: &mut [u8]) {
        self.inner().random.fill(bytes);
    }

    /// Puts a session into the cache, unless its bytes are not a server's session.
    pub(crate) fn remember(&self, id: &[u8], session: &[u8]) {
        if layout::session(session, layout::Side::Server) {
            self.inner().cache.put(id, Zeroizing::new(session.to_vec()));
        }
    }

    /// Whether a session that is known and not too old has this ID and this suite, or this ticket holds one.
    pub(crate) fn resumes(&self, id: &[u8], ticket: &[u8], suite: Option<u16>, now_s: u64) -> bool {
        let inner = self.inner();
        let lifetime_s = inner.lifetime_s();
        let in_time = |start_s: u64| !too_old(start_s, now_s, lifetime_s);
        let by_ticket = !ticket.is_empty()
            && inner
                .tickets
                .as_ref()
                .and_then(|keys| keys.open(now_s, ticket))
                .and_then(|session| layout::session_head(&session))
                .is_some_and(|head| in_time(head.start_s));
        // Mbed TLS goes on with a session by its ID only under the suite it was made with.
        by_ticket
            || inner
                .cache
                .sessions
                .get(id)
                .and_then(|session| layout::session_head(session))
                .is_some_and(|head| Some(head.suite) == suite && in_time(head.start_s))
    }

    /// Full handshakes since the last call whose sessions can be resumed by ID.
    pub(crate) fn cached(&self) -> Vec<(Vec<u8>, Zeroizing<Vec<u8>>)> {
        std::mem::take(&mut self.inner().fresh)
    }

    /// Whether a ticket was opened since the last call.
    pub(crate) fn ticket_opened(&self) -> bool {
        std::mem::take(&mut self.inner().ticket_opened)
    }

    /// A generator that panicked has left no half-made state here, so a poisoned lock is as good as another.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Seconds for which a session can be resumed.
    fn lifetime_s(&self) -> u32 {
        self.tickets
            .as_ref()
            .map_or(u32::MAX, TicketKeys::lifetime_s)
    }
}

/// Sessions by their ID, the oldest first out.
struct Cache {
    sessions: HashMap<Vec<u8>, Zeroizing<Vec<u8>>>,
    order: VecDeque<Vec<u8>>,
    sessions_max: usize,
}

impl Cache {
    fn put(&mut self, id: &[u8], session: Zeroizing<Vec<u8>>) {
        if self.sessions_max == 0 {
            return;
        }
        if self.sessions.insert(id.to_vec(), session).is_none() {
            self.order.push_back(id.to_vec());
        }
        if self.order.len() > self.sessions_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.sessions.remove(&oldest);
        }
    }
}

/// # Safety
/// `hands` must come from a `Config` that is alive.
unsafe fn hands<'a>(hands: *mut c_void) -> &'a Hands {
    // SAFETY: the pointer was made from the `Arc<Hands>` that the `Config` keeps, and Mbed TLS calls back only while a function
    // that was given a context of that config runs.
    unsafe { &*hands.cast::<Hands>() }
}

/// Random bytes for Mbed TLS.
///
/// # Safety
/// Called by Mbed TLS with the pointer of `mbedtls_ssl_conf_rng` and a buffer of `len` bytes.
pub(super) unsafe extern "C" fn random(context: *mut c_void, output: *mut u8, len: usize) -> c_int {
    // SAFETY: see `hands`; the buffer is Mbed TLS's, `len` bytes long, and initialised here before it is read.
    let (hands, output) = unsafe { (hands(context), slice::from_raw_parts_mut(output, len)) };
    hands.fill(output);
    0
}

/// Makes a ticket (RFC 5077 §4): period of the key, nonce, encrypted session.
///
/// # Safety
/// Called by Mbed TLS with the pointer of `mbedtls_ssl_conf_session_tickets_cb`, a session, and room from `start` to `end`.
pub(super) unsafe extern "C" fn ticket_write(
    context: *mut c_void,
    session: *const sys::mbedtls_ssl_session,
    start: *mut u8,
    end: *const u8,
    ticket_len: *mut usize,
    lifetime: *mut u32,
) -> c_int {
    // SAFETY: see `hands`; both results are writable. They are set before anything can fail, since up to 3.6.6 Mbed TLS sends the
    // lifetime also after a failure (CVE-2026-50586).
    let hands = unsafe {
        *ticket_len = 0;
        *lifetime = 0;
        hands(context)
    };
    let mut inner = hands.inner();
    let mut nonce = [0; NONCE_BYTES];
    inner.random.fill(&mut nonce);
    // SAFETY: Mbed TLS's session, valid during this call.
    let Some(plain) = (unsafe { session_bytes(session) }) else {
        return sys::MBEDTLS_ERR_SSL_INTERNAL_ERROR;
    };
    let Some(keys) = &inner.tickets else {
        return sys::MBEDTLS_ERR_SSL_INTERNAL_ERROR;
    };
    let Some(ticket) = keys.seal(clock::now().unix_s, &nonce, &plain) else {
        return sys::MBEDTLS_ERR_SSL_ALLOC_FAILED;
    };
    let room = (end as usize).saturating_sub(start as usize);
    if ticket.len() > room {
        return sys::MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL;
    }
    // SAFETY: there are `room` bytes from `start` on, and both results are writable.
    unsafe {
        start.copy_from_nonoverlapping(ticket.as_ptr(), ticket.len());
        *ticket_len = ticket.len();
        *lifetime = keys.lifetime_s();
    }
    0
}

/// Opens a ticket, unless it is not ours, or too old.
///
/// # Safety
/// Called by Mbed TLS with the pointer of `mbedtls_ssl_conf_session_tickets_cb`, an initialised session, and `len` bytes.
pub(super) unsafe extern "C" fn ticket_parse(
    context: *mut c_void,
    session: *mut sys::mbedtls_ssl_session,
    bytes: *mut u8,
    len: usize,
) -> c_int {
    // SAFETY: see `hands`; the bytes are Mbed TLS's input buffer.
    let (hands, ticket) = unsafe { (hands(context), slice::from_raw_parts(bytes, len)) };
    let now_s = clock::now().unix_s;
    let mut inner = hands.inner();
    let Some(keys) = &inner.tickets else {
        return sys::MBEDTLS_ERR_SSL_INVALID_MAC;
    };
    let Some(plain) = keys.open(now_s, ticket) else {
        return sys::MBEDTLS_ERR_SSL_INVALID_MAC;
    };
    // SAFETY: Mbed TLS's session, initialised and empty.
    let ret = unsafe { load_session(session, &plain, now_s, keys.lifetime_s()) };
    inner.ticket_opened |= ret == 0;
    ret
}

/// Gives Mbed TLS the session of an ID, unless it is unknown, or too old.
///
/// # Safety
/// Called by Mbed TLS with the pointer of `mbedtls_ssl_conf_session_cache`, `len` bytes of ID, and an initialised session.
pub(super) unsafe extern "C" fn cache_get(
    context: *mut c_void,
    id: *const u8,
    len: usize,
    session: *mut sys::mbedtls_ssl_session,
) -> c_int {
    // SAFETY: see `hands`; the ID is readable.
    let (hands, id) = unsafe { (hands(context), slice::from_raw_parts(id, len)) };
    let inner = hands.inner();
    let Some(bytes) = inner.cache.sessions.get(id) else {
        return sys::MBEDTLS_ERR_SSL_CACHE_ENTRY_NOT_FOUND;
    };
    let lifetime_s = inner.lifetime_s();
    // SAFETY: Mbed TLS's session, initialised and empty.
    unsafe { load_session(session, bytes, clock::now().unix_s, lifetime_s) }
}

/// Remembers a session under its ID.
///
/// # Safety
/// Called by Mbed TLS with the pointer of `mbedtls_ssl_conf_session_cache`, `len` bytes of ID, and a session.
pub(super) unsafe extern "C" fn cache_set(
    context: *mut c_void,
    id: *const u8,
    len: usize,
    session: *const sys::mbedtls_ssl_session,
) -> c_int {
    // SAFETY: see `hands`; the ID is readable, the session valid during this call.
    let (hands, id, bytes) = unsafe {
        (
            hands(context),
            slice::from_raw_parts(id, len),
            session_bytes(session),
        )
    };
    let Some(bytes) = bytes else {
        return sys::MBEDTLS_ERR_SSL_INTERNAL_ERROR;
    };
    let mut inner = hands.inner();
    inner.cache.put(id, bytes.clone());
    inner.fresh.push((id.to_vec(), bytes));
    0
}

/// A session as Mbed TLS writes it.
///
/// # Safety
/// `session` must be initialised and valid.
pub(super) unsafe fn session_bytes(
    session: *const sys::mbedtls_ssl_session,
) -> Option<Zeroizing<Vec<u8>>> {
    /// Without certificates about 120 bytes; with the peer's, and a foreign server's ticket, some kilobytes.
    const SESSION_BYTES_MAX: usize = 16 << 10;
    let mut bytes = Zeroizing::new(vec![0; 256]);
    loop {
        let mut len = 0;
        // SAFETY: the session is valid by contract; the buffer is writable for its length.
        let ret = unsafe {
            sys::mbedtls_ssl_session_save(session, bytes.as_mut_ptr(), bytes.len(), &raw mut len)
        };
        match ret {
            0 => {
                bytes.truncate(len);
                return Some(bytes);
            }
            sys::MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL
                if len > bytes.len() && len <= SESSION_BYTES_MAX =>
            {
                bytes = Zeroizing::new(vec![0; len])
            }
            _ => return None,
        }
    }
}

/// Reads a session that [`session_bytes`] wrote, if it is not too old.
///
/// # Safety
/// `session` must be initialised and empty.
unsafe fn load_session(
    session: *mut sys::mbedtls_ssl_session,
    bytes: &[u8],
    now_s: u64,
    lifetime_s: u32,
) -> c_int {
    if !layout::session(bytes, layout::Side::Server) {
        return sys::MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    }
    // SAFETY: by contract; the layout was checked above, since Mbed TLS trusts the length of the ID.
    let ret = unsafe { sys::mbedtls_ssl_session_load(session, bytes.as_ptr(), bytes.len()) };
    if ret != 0 {
        return ret;
    }
    // SAFETY: loaded above.
    let started = u64::try_from(unsafe { (*session).private_start }).unwrap_or(u64::MAX);
    if too_old(started, now_s, lifetime_s) {
        // SAFETY: loaded above; Mbed TLS frees it again, which an emptied session bears.
        unsafe { sys::mbedtls_ssl_session_free(session) };
        return sys::MBEDTLS_ERR_SSL_SESSION_TICKET_EXPIRED;
    }
    0
}

/// Whether a session that began then can be resumed no more.
fn too_old(start_s: u64, now_s: u64, lifetime_s: u32) -> bool {
    now_s.saturating_sub(start_s) > u64::from(lifetime_s)
        || start_s > now_s.saturating_add(CLOCK_STEP_S)
}

/// A session may start this long in the future: the calendar was set back by so much after a start with a wrong clock.
const CLOCK_STEP_S: u64 = 300;
