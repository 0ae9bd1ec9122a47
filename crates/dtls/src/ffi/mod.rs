//! All calls into Mbed TLS, and all `unsafe` of this crate.
//!
//! | file | wraps |
//! |---|---|
//! | `clock.rs` | the process-wide time hooks, answered from the time of the call under way on this thread |
//! | `hands.rs` | what Mbed TLS asks for while it works: random bytes, tickets, the cache of sessions |
//! | `config.rs` | `mbedtls_ssl_config` with certificate chain, key and trusted authorities |
//! | `context.rs` | `mbedtls_ssl_context`: one session, fed with records, asked for records |
//! | `certificate.rs` | what a server's certificate says, for its name and for a refusal |
//! | `crypto.rs` | HMAC-SHA256 and AES-256-GCM |
//!
//! Who owns what: a `Context` keeps its `Config` alive, a `Config` keeps its `Hands` alive, and each is freed once, in that order.
//! Mbed TLS takes a config as constant, and what its callbacks change lies behind the mutex of `Hands`; so a `Config` may be
//! shared. A `Context` may move to another thread, and is used by one at a time.
#![allow(unsafe_code)]

mod certificate;
mod clock;
mod config;
mod context;
mod crypto;
mod hands;

pub(crate) use certificate::Refusal;
pub(crate) use clock::at;
pub(crate) use config::{Config, Role, Settings, check_identity};
pub(crate) use context::{Context, Fault};
pub(crate) use crypto::{hmac, open, seal};
pub(crate) use hands::Hands;

use std::ffi::{c_char, c_int};

use mbedtls_rs_sys as sys;

unsafe extern "C" {
    /// In the library (`error.h`), not in the binding.
    fn mbedtls_strerror(code: c_int, text: *mut c_char, len: usize);
}

/// Mbed TLS's words for an error number.
pub(crate) fn words(code: i32) -> String {
    let mut text = [0u8; 160];
    // SAFETY: the buffer is writable for the length given, and the function ends it with a NUL.
    unsafe { mbedtls_strerror(code, text.as_mut_ptr().cast(), text.len()) };
    let end = text
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(text.len());
    String::from_utf8_lossy(text.get(..end).unwrap_or_default()).into_owned()
}

/// The time of the call under way.
pub(crate) fn unix_s() -> u64 {
    clock::now().unix_s
}

/// What may be wrong with a certificate.
pub(crate) mod flags {
    use mbedtls_rs_sys as sys;

    pub(crate) const EXPIRED: u32 = sys::MBEDTLS_X509_BADCERT_EXPIRED;
    pub(crate) const FUTURE: u32 = sys::MBEDTLS_X509_BADCERT_FUTURE;
    pub(crate) const NAME: u32 = sys::MBEDTLS_X509_BADCERT_CN_MISMATCH;
    pub(crate) const NOT_TRUSTED: u32 = sys::MBEDTLS_X509_BADCERT_NOT_TRUSTED;
}

/// The number under which a peer's fatal alert is reported.
pub(crate) const FATAL_ALERT: i32 = sys::MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE;

/// The generator of Mbed TLS's PSA part, which nothing here uses: DTLS draws from [`Hands`]. It refuses, so that a use that comes
/// unnoticed with a later version fails loudly.
///
/// # Safety
/// Called by Mbed TLS only; touches no argument.
#[unsafe(no_mangle)]
unsafe extern "C" fn mbedtls_psa_external_get_random(
    _context: *mut sys::mbedtls_psa_external_random_context_t,
    _output: *mut u8,
    _output_size: usize,
    _output_length: *mut usize,
) -> sys::psa_status_t {
    const PSA_ERROR_INSUFFICIENT_ENTROPY: sys::psa_status_t = -148;
    PSA_ERROR_INSUFFICIENT_ENTROPY
}
