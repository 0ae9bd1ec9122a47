//! Cipher suites by their names in the IANA registry.

use rustls::CipherSuite;

/// The suite's IANA name; `None` for a number the TLS library has no name for.
pub fn suite_name(suite: CipherSuite) -> Option<&'static str> {
    // The library's names of TLS 1.3 suites say the version, those of the registry do not (RFC 8446 §B.4).
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => Some("TLS_AES_128_GCM_SHA256"),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => Some("TLS_AES_256_GCM_SHA384"),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some("TLS_CHACHA20_POLY1305_SHA256"),
        CipherSuite::TLS13_AES_128_CCM_SHA256 => Some("TLS_AES_128_CCM_SHA256"),
        CipherSuite::TLS13_AES_128_CCM_8_SHA256 => Some("TLS_AES_128_CCM_8_SHA256"),
        other => other.as_str(),
    }
}
