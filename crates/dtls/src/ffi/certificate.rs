//! The server's certificate, looked at while Mbed TLS verifies it: an address as its name, and the facts for a refusal.

use std::ffi::{c_char, c_int, c_void};
use std::net::IpAddr;
use std::ptr;
use std::slice;

use mbedtls_rs_sys as sys;

use super::context::Side;
use crate::date::Date;

/// What was wrong with a certificate of the server's chain, and the facts around it.
#[derive(Debug, Default)]
pub(crate) struct Refusal {
    pub(crate) flags: u32,
    /// Of the certificate that expired or is not valid yet.
    pub(crate) subject: String,
    pub(crate) from: String,
    pub(crate) until: String,
    /// Issuer of the highest certificate that was presented.
    pub(crate) issuer: String,
    /// Names in the leaf.
    pub(crate) names: Vec<String>,
}

/// Sees each certificate of the chain, the highest first, and may add to what is wrong with it.
///
/// # Safety
/// Called by Mbed TLS with the pointer of `mbedtls_ssl_set_verify`, a certificate, its place in the chain (0 is the leaf), and flags.
pub(super) unsafe extern "C" fn verify(
    side: *mut c_void,
    certificate: *mut sys::mbedtls_x509_crt,
    depth: c_int,
    flags: *mut u32,
) -> c_int {
    // SAFETY: the side of the context that is at work; certificate and flags are valid during this call.
    let (side, certificate, flags) =
        unsafe { (&mut *side.cast::<Side>(), &*certificate, &mut *flags) };
    let refusal = side.refusal.get_or_insert_default();
    if depth == 0 {
        let names = Names::of(certificate);
        if side
            .address
            .is_some_and(|address| !names.addresses.contains(&address))
        {
            *flags |= sys::MBEDTLS_X509_BADCERT_CN_MISMATCH;
        }
        refusal.names = names.text();
        if refusal.names.is_empty() {
            refusal.names.push(distinguished(&certificate.subject));
        }
    }
    if refusal.issuer.is_empty() {
        refusal.issuer = distinguished(&certificate.issuer);
    }
    if *flags & (sys::MBEDTLS_X509_BADCERT_EXPIRED | sys::MBEDTLS_X509_BADCERT_FUTURE) != 0
        && refusal.subject.is_empty()
    {
        refusal.subject = distinguished(&certificate.subject);
        refusal.from = date(&certificate.valid_from);
        refusal.until = date(&certificate.valid_to);
    }
    refusal.flags |= *flags;
    0
}

/// The names in a certificate (subjectAltName).
#[derive(Default)]
struct Names {
    dns: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Names {
    fn of(certificate: &sys::mbedtls_x509_crt) -> Self {
        let (mut names, mut next) = (
            Self::default(),
            ptr::from_ref(&certificate.subject_alt_names),
        );
        while !next.is_null() {
            // SAFETY: the list that Mbed TLS made, ended by a null pointer; an entry without a pointer is an empty list.
            let entry = unsafe { &*next };
            next = entry.next;
            if entry.buf.p.is_null() {
                continue;
            }
            // SAFETY: the entry points into the certificate's own bytes.
            let bytes = unsafe { slice::from_raw_parts(entry.buf.p, entry.buf.len) };
            match (entry.buf.tag & 0x1f, bytes.len()) {
                (2, _) => names.dns.push(String::from_utf8_lossy(bytes).into_owned()),
                (7, 4) => names
                    .addresses
                    .extend(<[u8; 4]>::try_from(bytes).map(IpAddr::from)),
                (7, 16) => names
                    .addresses
                    .extend(<[u8; 16]>::try_from(bytes).map(IpAddr::from)),
                _ => {}
            }
        }
        names
    }

    fn text(&self) -> Vec<String> {
        self.dns
            .iter()
            .map(|name| format!("`{name}`"))
            .chain(self.addresses.iter().map(|address| format!("`{address}`")))
            .collect()
    }
}

fn distinguished(name: &sys::mbedtls_x509_name) -> String {
    let mut text = [0u8; 256];
    // SAFETY: the name belongs to a parsed certificate; the buffer is writable for its length.
    let ret =
        unsafe { sys::mbedtls_x509_dn_gets(text.as_mut_ptr().cast::<c_char>(), text.len(), name) };
    usize::try_from(ret)
        .ok()
        .and_then(|len| text.get(..len))
        .map_or_else(String::new, |text| {
            String::from_utf8_lossy(text).into_owned()
        })
}

fn date(time: &sys::mbedtls_x509_time) -> String {
    let sys::mbedtls_x509_time {
        year,
        mon,
        day,
        hour,
        min,
        sec,
        ..
    } = *time;
    Date {
        year,
        month: mon,
        day,
        hour,
        minute: min,
        second: sec,
    }
    .to_string()
}
