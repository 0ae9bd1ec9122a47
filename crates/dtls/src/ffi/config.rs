//! `mbedtls_ssl_config` with all that it points to: certificate chain, key, trusted authorities, lists, callbacks.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use mbedtls_rs_sys as sys;
use zeroize::Zeroizing;

use super::hands::{self, Hands};
use super::words;
use crate::config::{ConfigError, Identity, Suites};

/// Which end a configuration is for.
pub(crate) enum Role<'a> {
    Server {
        identity: &'a Identity,
        tickets: bool,
        session_ids: bool,
    },
    Client {
        roots_pem: &'a str,
        tickets: bool,
        extended_master_secret: bool,
    },
}

/// What both ends have.
pub(crate) struct Settings<'a> {
    pub(crate) suites: &'a Suites,
    pub(crate) cid_bytes: usize,
    pub(crate) timeout_min: Duration,
    pub(crate) timeout_max: Duration,
}

/// A configuration: made once, then constant.
pub(crate) struct Config {
    raw: *mut sys::mbedtls_ssl_config,
    certificates: Certificates,
    key: Key,
    // Mbed TLS keeps pointers into these three.
    _suites: Box<[c_int]>,
    _groups: Box<[u16]>,
    _signatures: Box<[u16]>,
    hands: Arc<Hands>,
}

// SAFETY: all memory behind the pointers belongs to this value alone and moves with it. Mbed TLS takes a configuration, its
// certificates and its key as constant while contexts use them (signing draws randomness, but writes into no key of a fixed curve),
// and what the callbacks change lies behind the mutex of `Hands`.
unsafe impl Send for Config {}
// SAFETY: as above.
unsafe impl Sync for Config {}

impl Config {
    pub(crate) fn new(
        role: &Role<'_>,
        settings: &Settings<'_>,
        hands: Arc<Hands>,
    ) -> Result<Self, ConfigError> {
        let (certificates, key) = match role {
            Role::Server { identity, .. } => (
                Certificates::parse(&identity.chain_pem).map_err(ConfigError::Chain)?,
                Key::parse(&identity.key_pem, &hands)?,
            ),
            Role::Client { roots_pem, .. } => (
                Certificates::parse(roots_pem).map_err(ConfigError::Roots)?,
                Key::none(),
            ),
        };
        let suites: Box<[c_int]> = settings
            .suites
            .numbers()
            .iter()
            .map(|number| c_int::from(*number))
            .chain([0])
            .collect();
        let config = Self {
            raw: Box::into_raw(Box::default()),
            certificates,
            key,
            _suites: suites,
            _groups: Box::new(GROUPS),
            _signatures: Box::new(SIGNATURES),
            hands,
        };
        config.set(role, settings)?;
        Ok(config)
    }

    fn set(&self, role: &Role<'_>, settings: &Settings<'_>) -> Result<(), ConfigError> {
        let endpoint = match role {
            Role::Server { .. } => sys::MBEDTLS_SSL_IS_SERVER,
            Role::Client { .. } => sys::MBEDTLS_SSL_IS_CLIENT,
        };
        let hands = Arc::as_ptr(&self.hands).cast_mut().cast::<c_void>();
        let milliseconds = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        // SAFETY: `raw` is a zeroed configuration of our own, initialised first; each pointer handed over points into memory that
        // this value owns (lists, certificates, key) or keeps alive (`hands`), at an address that does not change.
        unsafe {
            sys::mbedtls_ssl_config_init(self.raw);
            library(sys::mbedtls_ssl_config_defaults(
                self.raw,
                endpoint.cast_signed(),
                sys::MBEDTLS_SSL_TRANSPORT_DATAGRAM.cast_signed(),
                sys::MBEDTLS_SSL_PRESET_DEFAULT.cast_signed(),
            ))?;
            sys::mbedtls_ssl_conf_rng(self.raw, Some(hands::random), hands);
            sys::mbedtls_ssl_conf_ciphersuites(self.raw, self._suites.as_ptr());
            sys::mbedtls_ssl_conf_groups(self.raw, self._groups.as_ptr());
            sys::mbedtls_ssl_conf_sig_algs(self.raw, self._signatures.as_ptr());
            sys::mbedtls_ssl_conf_renegotiation(
                self.raw,
                sys::MBEDTLS_SSL_RENEGOTIATION_DISABLED.cast_signed(),
            );
            sys::mbedtls_ssl_conf_handshake_timeout(
                self.raw,
                milliseconds(settings.timeout_min),
                milliseconds(settings.timeout_max),
            );
            library(sys::mbedtls_ssl_conf_cid(
                self.raw,
                settings.cid_bytes,
                sys::MBEDTLS_SSL_UNEXPECTED_CID_IGNORE.cast_signed(),
            ))?;
            match role {
                Role::Server {
                    tickets,
                    session_ids,
                    ..
                } => {
                    sys::mbedtls_ssl_conf_authmode(
                        self.raw,
                        sys::MBEDTLS_SSL_VERIFY_NONE.cast_signed(),
                    );
                    library(sys::mbedtls_ssl_conf_own_cert(
                        self.raw,
                        self.certificates.0,
                        self.key.0,
                    ))?;
                    // A context is made only for a ClientHello whose cookie is proven (`endpoint.rs`), so the check says yes; with no
                    // way to write cookies, Mbed TLS never answers a ClientHello inside an established session on its own.
                    sys::mbedtls_ssl_conf_dtls_cookies(
                        self.raw,
                        None,
                        Some(cookie_proven),
                        ptr::null_mut(),
                    );
                    if *tickets {
                        sys::mbedtls_ssl_conf_session_tickets_cb(
                            self.raw,
                            Some(hands::ticket_write),
                            Some(hands::ticket_parse),
                            hands,
                        );
                    }
                    if *session_ids {
                        sys::mbedtls_ssl_conf_session_cache(
                            self.raw,
                            hands,
                            Some(hands::cache_get),
                            Some(hands::cache_set),
                        );
                    }
                }
                Role::Client {
                    tickets,
                    extended_master_secret,
                    ..
                } => {
                    sys::mbedtls_ssl_conf_authmode(
                        self.raw,
                        sys::MBEDTLS_SSL_VERIFY_REQUIRED.cast_signed(),
                    );
                    sys::mbedtls_ssl_conf_ca_chain(self.raw, self.certificates.0, ptr::null_mut());
                    sys::mbedtls_ssl_conf_session_tickets(self.raw, c_int::from(*tickets));
                    sys::mbedtls_ssl_conf_extended_master_secret(
                        self.raw,
                        c_char(*extended_master_secret),
                    );
                }
            }
        }
        Ok(())
    }

    pub(super) fn raw(&self) -> *const sys::mbedtls_ssl_config {
        self.raw
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw` in `new` and freed here only; contexts keep this value alive, so none points to it.
        unsafe {
            sys::mbedtls_ssl_config_free(self.raw);
            drop(Box::from_raw(self.raw));
        }
    }
}

/// Whether chain and key can be read, belong together, and fit our records.
pub(crate) fn check_identity(identity: &Identity) -> Result<(), ConfigError> {
    /// Draws nothing from anywhere: reading a key needs randomness only as a mask against observers, and this is not the moment of
    /// its use.
    struct Masks(u8);
    impl crate::config::Random for Masks {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                self.0 = self.0.wrapping_add(0x6d);
                *byte = self.0;
            }
        }
    }
    let chain = Certificates::parse(&identity.chain_pem).map_err(ConfigError::Chain)?;
    let hands = Hands::new(Box::new(Masks(0x29)), None, 0);
    let key = Key::parse(&identity.key_pem, &hands)?;
    let bytes = chain.message_bytes();
    if bytes > HANDSHAKE_MESSAGE_BYTES_MAX {
        return Err(ConfigError::Chain(format!(
            "it takes {bytes} bytes in a handshake, and {HANDSHAKE_MESSAGE_BYTES_MAX} fit our records; leave out the root"
        )));
    }
    // SAFETY: both are initialised; `chain` holds at least one certificate, whose public key is read.
    let same = unsafe {
        sys::mbedtls_pk_check_pair(
            &raw const (*chain.0).pk,
            key.0,
            Some(hands::random),
            ptr::from_ref(&hands).cast_mut().cast(),
        )
    };
    if same == 0 {
        Ok(())
    } else {
        Err(ConfigError::KeyOfAnother)
    }
}

/// A chain, or a set of authorities.
struct Certificates(*mut sys::mbedtls_x509_crt);

impl Certificates {
    fn parse(pem: &str) -> Result<Self, String> {
        let text = nul_ended(pem);
        let certificates = Self(Box::into_raw(Box::default()));
        // SAFETY: `certificates.0` is a zeroed structure of our own, initialised first; the text is readable for its length, which
        // includes the NUL that marks PEM.
        let ret = unsafe {
            sys::mbedtls_x509_crt_init(certificates.0);
            sys::mbedtls_x509_crt_parse(certificates.0, text.as_ptr(), text.len())
        };
        match ret {
            0 => Ok(certificates),
            1.. => Err(format!("{ret} of its certificates cannot be read")),
            _ => Err(words(ret)),
        }
    }

    /// Bytes of a Certificate message of these (RFC 5246 §7.4.2), handshake header included.
    fn message_bytes(&self) -> usize {
        let (mut bytes, mut next) = (12 + 3, self.0.cast_const());
        while !next.is_null() {
            // SAFETY: the list that Mbed TLS made, ended by a null pointer.
            let certificate = unsafe { &*next };
            bytes += 3 + certificate.raw.len;
            next = certificate.next;
        }
        bytes
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw` in `parse` and freed here only.
        unsafe {
            sys::mbedtls_x509_crt_free(self.0);
            drop(Box::from_raw(self.0));
        }
    }
}

/// A private key; Mbed TLS erases it when it is freed.
struct Key(*mut sys::mbedtls_pk_context);

impl Key {
    fn none() -> Self {
        let key = Self(Box::into_raw(Box::default()));
        // SAFETY: a zeroed structure of our own.
        unsafe { sys::mbedtls_pk_init(key.0) };
        key
    }

    fn parse(pem: &str, hands: &Hands) -> Result<Self, ConfigError> {
        let text = nul_ended(pem);
        let key = Self::none();
        // SAFETY: initialised in `none`; the text is readable for its length; the generator is used during this call only.
        let ret = unsafe {
            sys::mbedtls_pk_parse_key(
                key.0,
                text.as_ptr(),
                text.len(),
                ptr::null(),
                0,
                Some(hands::random),
                ptr::from_ref(hands).cast_mut().cast(),
            )
        };
        if ret != 0 {
            return Err(ConfigError::Key(words(ret)));
        }
        // SAFETY: parsed above.
        let (kind, bits) = unsafe {
            (
                sys::mbedtls_pk_get_type(key.0),
                sys::mbedtls_pk_get_bitlen(key.0),
            )
        };
        if kind != sys::mbedtls_pk_type_t_MBEDTLS_PK_ECKEY || ![256, 384].contains(&bits) {
            return Err(ConfigError::Key(format!(
                "it must be an elliptic curve key on P-256 or P-384, and it has {bits} bits"
            )));
        }
        Ok(key)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw` in `none` and freed here only.
        unsafe {
            sys::mbedtls_pk_free(self.0);
            drop(Box::from_raw(self.0));
        }
    }
}

/// # Safety
/// Called by Mbed TLS; touches no argument.
unsafe extern "C" fn cookie_proven(
    _context: *mut c_void,
    _cookie: *const u8,
    _cookie_len: usize,
    _client: *const u8,
    _client_len: usize,
) -> c_int {
    0
}

fn nul_ended(text: &str) -> Zeroizing<Vec<u8>> {
    // Room for all at once, so that a key does not stay behind in a buffer that was too small.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() + 1));
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    bytes
}

fn library(ret: c_int) -> Result<(), ConfigError> {
    if ret == 0 {
        Ok(())
    } else {
        Err(ConfigError::Library(words(ret)))
    }
}

fn c_char(yes: bool) -> std::ffi::c_char {
    std::ffi::c_char::from(yes)
}

/// P-256, which every peer has, then P-384.
const GROUPS: [u16; 3] = [0x0017, 0x0018, 0];

/// ECDSA with SHA-256 or SHA-384; nobody needs SHA-1 for a signature.
const SIGNATURES: [u16; 3] = [0x0403, 0x0503, 0];

/// `ssl-in-content-len-2048` and `ssl-out-content-len-2048` bound a handshake message.
const HANDSHAKE_MESSAGE_BYTES_MAX: usize = 2048;
