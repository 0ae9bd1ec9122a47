//! `mbedtls_ssl_context`: one session. Fed with one record (or flight) at a time, it answers with datagrams to send and with what
//! the records said.

use std::ffi::{CStr, CString, c_int, c_void};
use std::net::IpAddr;
use std::ptr;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use mbedtls_rs_sys as sys;
use zeroize::Zeroizing;

use super::certificate::{Refusal, verify};
use super::config::Config;
use super::{clock, hands, words};
use crate::config::ConfigError;

unsafe extern "C" {
    /// Drops what a finished handshake leaves behind for a retransmission of its last flight. Mbed TLS calls it itself on the first
    /// record of the application (3.6.5, `ssl_misc.h`; part of the static library, not of its public headers).
    fn mbedtls_ssl_handshake_wrapup_free_hs_transform(ssl: *mut sys::mbedtls_ssl_context);
}

/// One session or handshake.
pub(crate) struct Context {
    raw: *mut sys::mbedtls_ssl_context,
    side: *mut Side,
    _config: Arc<Config>,
}

// SAFETY: all memory behind the pointers belongs to this value alone and moves with it; the configuration is `Sync`. Mbed TLS keeps no
// thread-local state; the time it sees is set on the thread that calls.
unsafe impl Send for Context {}

/// What Mbed TLS's callbacks touch. Reached through raw pointers only, since C holds one for as long as the context lives.
pub(super) struct Side {
    /// The datagram under way: valid during one call of [`Context::advance`].
    inbound: Option<(*const u8, usize)>,
    outbound: Vec<Vec<u8>>,
    /// Uptimes at which the intermediate and the final delay have passed.
    timer: Option<(Duration, Duration)>,
    /// The server's certificate must name this address; checked here, since Mbed TLS would send it as SNI as well.
    pub(super) address: Option<IpAddr>,
    pub(super) refusal: Option<Box<Refusal>>,
}

/// How far a context got with what it was fed.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// The peer closed the session.
    Closed,
    /// The peer sent a fatal alert.
    Alert(u8),
    /// All retransmissions were in vain.
    Timeout,
    /// Something else.
    Failed(i32),
}

impl Context {
    /// A context before its handshake.
    ///
    /// `cid`: our own Connection ID, of the length that the configuration says; `None` does not negotiate any.
    pub(crate) fn new(
        config: &Arc<Config>,
        datagram_bytes_max: u16,
        cid: Option<&[u8]>,
    ) -> Result<Self, ConfigError> {
        let side = Side {
            inbound: None,
            outbound: Vec::new(),
            timer: None,
            address: None,
            refusal: None,
        };
        let context = Self {
            raw: Box::into_raw(Box::default()),
            side: Box::into_raw(Box::new(side)),
            _config: Arc::clone(config),
        };
        // SAFETY: `raw` is a zeroed structure of our own, initialised first; the configuration and the side live as long as it does
        // (see `drop`), at addresses that do not change; the CID is readable for its length.
        let ret = unsafe {
            sys::mbedtls_ssl_init(context.raw);
            let mut ret = sys::mbedtls_ssl_setup(context.raw, config.raw());
            if ret == 0 {
                sys::mbedtls_ssl_set_bio(
                    context.raw,
                    context.side.cast(),
                    Some(send),
                    Some(receive),
                    None,
                );
                sys::mbedtls_ssl_set_timer_cb(
                    context.raw,
                    context.side.cast(),
                    Some(set_timer),
                    Some(get_timer),
                );
                sys::mbedtls_ssl_set_mtu(context.raw, datagram_bytes_max);
            }
            if ret == 0
                && let Some(cid) = cid
            {
                let cid_ptr = if cid.is_empty() {
                    ptr::null()
                } else {
                    cid.as_ptr()
                };
                ret = sys::mbedtls_ssl_set_cid(
                    context.raw,
                    sys::MBEDTLS_SSL_CID_ENABLED.cast_signed(),
                    cid_ptr,
                    cid.len(),
                );
            }
            ret
        };
        if ret == 0 {
            Ok(context)
        } else {
            Err(ConfigError::Library(words(ret)))
        }
    }

    /// For a client: whom the server must prove to be, and the session to resume.
    pub(crate) fn expect(
        &mut self,
        server_name: &str,
        resume: Option<&[u8]>,
    ) -> Result<(), ConfigError> {
        let unusable = || ConfigError::Value(format!("`{server_name}` cannot be a server's name"));
        let name = match server_name.parse::<IpAddr>() {
            Ok(address) => {
                // SAFETY: no call into Mbed TLS is under way, so nobody else looks at the side.
                unsafe { (*self.side).address = Some(address) };
                None
            }
            Err(_) if server_name.is_empty() => return Err(unusable()),
            Err(_) => Some(CString::new(server_name).map_err(|_| unusable())?),
        };
        let name_ptr = name.as_deref().map_or(ptr::null(), CStr::as_ptr);
        // SAFETY: the name is NUL-ended and copied, and a null pointer says that there is none; the side outlives the context.
        let ret = unsafe {
            sys::mbedtls_ssl_set_verify(self.raw, Some(verify), self.side.cast());
            sys::mbedtls_ssl_set_hostname(self.raw, name_ptr)
        };
        if ret != 0 {
            return Err(unusable());
        }
        resume.map_or(Ok(()), |bytes| self.resume(bytes))
    }

    fn resume(&mut self, bytes: &[u8]) -> Result<(), ConfigError> {
        let mut session = sys::mbedtls_ssl_session::default();
        let session = ptr::from_mut(&mut session);
        // SAFETY: the session lives on this frame, is initialised before its use and freed after it; Mbed TLS copies what it sets.
        let ret = unsafe {
            sys::mbedtls_ssl_session_init(session);
            let mut ret = sys::mbedtls_ssl_session_load(session, bytes.as_ptr(), bytes.len());
            if ret == 0 {
                ret = sys::mbedtls_ssl_set_session(self.raw, session);
            }
            sys::mbedtls_ssl_session_free(session);
            ret
        };
        if ret == 0 {
            Ok(())
        } else {
            Err(ConfigError::Resumption(words(ret)))
        }
    }

    /// Goes on with a saved context, whose layout the caller has checked. A context that fails to load is used up.
    pub(crate) fn load(&mut self, bytes: &[u8]) -> Result<(), i32> {
        // SAFETY: the context was set up in `new` and no handshake has begun; the bytes are readable, and their inner lengths were
        // walked by `layout::context`, which Mbed TLS would trust. After an error the context is emptied, which `drop` bears.
        let ret = unsafe { sys::mbedtls_ssl_context_load(self.raw, bytes.as_ptr(), bytes.len()) };
        if ret == 0 { Ok(()) } else { Err(ret) }
    }

    /// Takes the session out of the context, which is used up. Fails for suites that are not AEAD and before the handshake is over.
    pub(crate) fn save(mut self) -> Option<Zeroizing<Vec<u8>>> {
        /// Without certificates about 250 bytes; a client's session holds the server's certificate and a ticket.
        const CONTEXT_BYTES_MAX: usize = 16 << 10;
        if !self.connected() {
            return None;
        }
        self.drop_leftovers();
        let mut bytes = Zeroizing::new(vec![0; 512]);
        loop {
            let mut len = 0;
            // SAFETY: the buffer is writable for its length. With a buffer too small Mbed TLS only counts; success resets the context.
            let ret = unsafe {
                sys::mbedtls_ssl_context_save(
                    self.raw,
                    bytes.as_mut_ptr(),
                    bytes.len(),
                    &raw mut len,
                )
            };
            match ret {
                0 => {
                    bytes.truncate(len);
                    return Some(bytes);
                }
                sys::MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL
                    if len > bytes.len() && len <= CONTEXT_BYTES_MAX =>
                {
                    bytes = Zeroizing::new(vec![0; len])
                }
                _ => return None,
            }
        }
    }

    /// One step of the handshake with what was fed, or with what a timer says.
    pub(crate) fn handshake(&mut self) -> Result<bool, Fault> {
        // SAFETY: set up in `new`; the inbound datagram, if any, is alive (see `feed`).
        match unsafe { sys::mbedtls_ssl_handshake(self.raw) } {
            0 => Ok(true),
            sys::MBEDTLS_ERR_SSL_WANT_READ | sys::MBEDTLS_ERR_SSL_WANT_WRITE => Ok(false),
            code => Err(self.fault(code)),
        }
    }

    /// The plaintext of the next record into `buffer`, which must have room for a whole one; `None` when there is none.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Fault> {
        // SAFETY: set up in `new`; the buffer is writable for its length; the inbound datagram, if any, is alive (see `feed`).
        let ret = unsafe { sys::mbedtls_ssl_read(self.raw, buffer.as_mut_ptr(), buffer.len()) };
        match ret {
            sys::MBEDTLS_ERR_SSL_WANT_READ | sys::MBEDTLS_ERR_SSL_WANT_WRITE => Ok(None),
            0.. => Ok(usize::try_from(ret).ok()),
            code => Err(self.fault(code)),
        }
    }

    /// Runs `work` with `datagram` as the next thing to be read.
    pub(crate) fn feed<T>(&mut self, datagram: &[u8], work: impl FnOnce(&mut Self) -> T) -> T {
        // SAFETY: nobody else looks at the side between calls into Mbed TLS. The datagram outlives `work`, after which it is withdrawn;
        // the guard does so also when `work` panics.
        unsafe { (*self.side).inbound = Some((datagram.as_ptr(), datagram.len())) };
        struct Withdraw(*mut Side);
        impl Drop for Withdraw {
            fn drop(&mut self) {
                // SAFETY: the context, and with it the side, outlives this guard.
                unsafe { (*self.0).inbound = None };
            }
        }
        let withdraw = Withdraw(self.side);
        let result = work(self);
        drop(withdraw);
        result
    }

    /// Whether what was fed has not been taken yet.
    pub(crate) fn hungry(&self) -> bool {
        // SAFETY: nobody else looks at the side between calls into Mbed TLS.
        unsafe { (*self.side).inbound.is_none() }
    }

    /// Whether an encrypted record belongs to other keys than this handshake's. Fed to a context that waits for a Finished, it would end
    /// the handshake; but a late record of an earlier session at the same address is no reason to.
    pub(crate) fn is_foreign(&self, record: &[u8]) -> bool {
        let mut copy = record.to_vec();
        // SAFETY: set up in `new`; the copy, which is decrypted in place and erased, is writable for its length.
        let ret = unsafe { sys::mbedtls_ssl_check_record(self.raw, copy.as_mut_ptr(), copy.len()) };
        ret == sys::MBEDTLS_ERR_SSL_INVALID_MAC
    }

    /// Sends one record.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), i32> {
        // SAFETY: set up in `new`; the bytes are readable for their length.
        let ret = unsafe { sys::mbedtls_ssl_write(self.raw, bytes.as_ptr(), bytes.len()) };
        if usize::try_from(ret) == Ok(bytes.len()) {
            Ok(())
        } else {
            Err(ret)
        }
    }

    /// Sends a close_notify.
    pub(crate) fn close(&mut self) {
        // SAFETY: set up in `new`. What cannot be sent is not sent: the session ends either way.
        unsafe { sys::mbedtls_ssl_close_notify(self.raw) };
    }

    /// Bytes that fit one record.
    pub(crate) fn record_bytes_max(&self) -> usize {
        // SAFETY: set up in `new`.
        usize::try_from(unsafe { sys::mbedtls_ssl_get_max_out_record_payload(self.raw) })
            .unwrap_or(0)
    }

    /// The datagrams to send since the last call.
    pub(crate) fn outbound(&mut self) -> Vec<Vec<u8>> {
        // SAFETY: nobody else looks at the side between calls into Mbed TLS.
        unsafe { std::mem::take(&mut (*self.side).outbound) }
    }

    /// When to come back, if nothing is heard.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        // SAFETY: nobody else looks at the side between calls into Mbed TLS.
        unsafe { (*self.side).timer.map(|(_, last)| last) }
    }

    /// Whether the handshake is over.
    pub(crate) fn connected(&self) -> bool {
        // SAFETY: set up in `new`.
        unsafe {
            (*self.raw).private_state
                == sys::mbedtls_ssl_states_MBEDTLS_SSL_HANDSHAKE_OVER.cast_signed()
        }
    }

    /// Drops what the handshake has left behind to send its last flight again.
    pub(crate) fn drop_leftovers(&mut self) {
        // SAFETY: set up in `new`; with the handshake over and its structure still there, this is what Mbed TLS itself does on the
        // first record of the application.
        unsafe {
            if self.connected() && !(*self.raw).private_handshake.is_null() {
                mbedtls_ssl_handshake_wrapup_free_hs_transform(self.raw);
            }
        }
    }

    /// The window of records seen: the highest sequence number, and one bit for each of the 64 up to it. It changes with each record
    /// that was authenticated and is not a replay, and with no other.
    pub(crate) fn window(&self) -> (u64, u64) {
        // SAFETY: set up in `new`.
        unsafe {
            (
                (*self.raw).private_in_window_top,
                (*self.raw).private_in_window,
            )
        }
    }

    /// The cipher suite, IANA number.
    pub(crate) fn suite(&self) -> u16 {
        // SAFETY: set up in `new`.
        u16::try_from(unsafe { sys::mbedtls_ssl_get_ciphersuite_id_from_ssl(self.raw) })
            .unwrap_or(0)
    }

    /// Whether Connection IDs were negotiated, and how many bytes of the peer's our records carry.
    pub(crate) fn peer_cid_bytes(&self) -> Option<usize> {
        let (mut enabled, mut len, mut cid) = (0, 0, [0u8; 32]);
        // SAFETY: set up in `new`; the buffer has `MBEDTLS_SSL_CID_OUT_LEN_MAX` bytes.
        let ret = unsafe {
            sys::mbedtls_ssl_get_peer_cid(
                self.raw,
                &raw mut enabled,
                cid.as_mut_ptr(),
                &raw mut len,
            )
        };
        (ret == 0 && enabled == sys::MBEDTLS_SSL_CID_ENABLED.cast_signed()).then_some(len)
    }

    /// For a client after its handshake: the session, to be resumed later, and whether the server gave a ticket. Once per context.
    pub(crate) fn session(&self) -> Option<(Zeroizing<Vec<u8>>, bool)> {
        let mut session = sys::mbedtls_ssl_session::default();
        let session = ptr::from_mut(&mut session);
        // SAFETY: the session lives on this frame, is initialised before its use and freed after it.
        unsafe {
            sys::mbedtls_ssl_session_init(session);
            let mut result = None;
            if sys::mbedtls_ssl_get_session(self.raw, session) == 0 {
                let (ticket, by_id) = (
                    (*session).private_ticket_len > 0,
                    (*session).private_id_len > 0,
                );
                if ticket || by_id {
                    result = hands::session_bytes(session).map(|bytes| (bytes, ticket));
                }
            }
            sys::mbedtls_ssl_session_free(session);
            result
        }
    }

    /// Why the server's certificate was refused, if it was.
    pub(crate) fn refusal(&mut self) -> Option<Refusal> {
        // SAFETY: nobody else looks at the side between calls into Mbed TLS.
        unsafe {
            (*self.side)
                .refusal
                .take()
                .map(|refusal| *refusal)
                .filter(|refusal| refusal.flags != 0)
        }
    }

    fn fault(&self, code: c_int) -> Fault {
        match code {
            sys::MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY | sys::MBEDTLS_ERR_SSL_CONN_EOF => Fault::Closed,
            sys::MBEDTLS_ERR_SSL_TIMEOUT => Fault::Timeout,
            sys::MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE => {
                // SAFETY: after this error `in_msg` points to the two bytes of the alert, in the context's own buffer.
                Fault::Alert(unsafe { *(*self.raw).private_in_msg.add(1) })
            }
            code => Fault::Failed(code),
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: both made by `Box::into_raw` in `new` and freed here only; the context first, which points to the side.
        unsafe {
            sys::mbedtls_ssl_free(self.raw);
            drop(Box::from_raw(self.raw));
            drop(Box::from_raw(self.side));
        }
    }
}

/// # Safety
/// Called by Mbed TLS with the pointer of `mbedtls_ssl_set_bio` and `len` bytes.
unsafe extern "C" fn send(side: *mut c_void, bytes: *const u8, len: usize) -> c_int {
    // SAFETY: the side of the context that is at work; the bytes are Mbed TLS's output buffer.
    let (side, bytes) = unsafe { (&mut *side.cast::<Side>(), slice::from_raw_parts(bytes, len)) };
    side.outbound.push(bytes.to_vec());
    c_int::try_from(len).unwrap_or(c_int::MAX)
}

/// # Safety
/// Called by Mbed TLS with the pointer of `mbedtls_ssl_set_bio` and room for `room` bytes.
unsafe extern "C" fn receive(side: *mut c_void, buffer: *mut u8, room: usize) -> c_int {
    // SAFETY: the side of the context that is at work.
    let side = unsafe { &mut *side.cast::<Side>() };
    let Some((datagram, len)) = side.inbound.take() else {
        return sys::MBEDTLS_ERR_SSL_WANT_READ;
    };
    let len = len.min(room);
    // SAFETY: `feed` keeps the datagram alive; `len` fits both sides, which do not overlap.
    unsafe { buffer.copy_from_nonoverlapping(datagram, len) };
    c_int::try_from(len).unwrap_or(c_int::MAX)
}

/// # Safety
/// Called by Mbed TLS with the pointer of `mbedtls_ssl_set_timer_cb`.
unsafe extern "C" fn set_timer(side: *mut c_void, intermediate_ms: u32, last_ms: u32) {
    let now = clock::now().uptime;
    let after = |ms: u32| now.saturating_add(Duration::from_millis(u64::from(ms)));
    // SAFETY: the side of the context that is at work.
    unsafe {
        (*side.cast::<Side>()).timer =
            (last_ms != 0).then(|| (after(intermediate_ms), after(last_ms)))
    };
}

/// # Safety
/// Called by Mbed TLS with the pointer of `mbedtls_ssl_set_timer_cb`.
unsafe extern "C" fn get_timer(side: *mut c_void) -> c_int {
    // SAFETY: the side of the context that is at work.
    let Some((intermediate, last)) = (unsafe { (*side.cast::<Side>()).timer }) else {
        return -1;
    };
    let now = clock::now().uptime;
    c_int::from(now >= intermediate) + c_int::from(now >= last)
}
