//! HMAC-SHA256 (cookies, keys of periods) and AES-256-GCM (tickets).

use std::ptr;

use mbedtls_rs_sys as sys;
use zeroize::Zeroizing;

/// Bytes of a GCM nonce.
pub(crate) const NONCE_BYTES: usize = 12;
/// Bytes of a GCM tag.
pub(crate) const TAG_BYTES: usize = 16;

/// HMAC-SHA256. `None` when the library has no memory left.
pub(crate) fn hmac(key: &[u8], text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let mut mac = Zeroizing::new([0; 32]);
    // SAFETY: key and text are readable for their lengths, and 32 bytes, SHA-256's size, are writable at `mac`.
    let ret = unsafe {
        let sha256 = sys::mbedtls_md_info_from_type(sys::mbedtls_md_type_t_MBEDTLS_MD_SHA256);
        sys::mbedtls_md_hmac(
            sha256,
            key.as_ptr(),
            key.len(),
            text.as_ptr(),
            text.len(),
            mac.as_mut_ptr(),
        )
    };
    (ret == 0).then_some(mac)
}

/// Encrypts; ciphertext and then the tag. `None` when the library has no memory left.
pub(crate) fn seal(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    header: &[u8],
    plain: &[u8],
) -> Option<Vec<u8>> {
    let mut sealed = vec![0; plain.len() + TAG_BYTES];
    let (text, tag) = sealed.split_at_mut(plain.len());
    // SAFETY: `text` is as long as `plain`, `tag` has 16 bytes, and all other buffers are readable for the lengths given.
    let ret = with_key(key, |gcm| unsafe {
        sys::mbedtls_gcm_crypt_and_tag(
            gcm,
            sys::MBEDTLS_GCM_ENCRYPT.cast_signed(),
            plain.len(),
            nonce.as_ptr(),
            nonce.len(),
            header.as_ptr(),
            header.len(),
            plain.as_ptr(),
            text.as_mut_ptr(),
            tag.len(),
            tag.as_mut_ptr(),
        )
    });
    (ret == 0).then_some(sealed)
}

/// Decrypts what [`seal`] made; `None` when it is not that.
pub(crate) fn open(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    header: &[u8],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (text, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG_BYTES)?)?;
    let mut plain = Zeroizing::new(vec![0; text.len()]);
    // SAFETY: `plain` is as long as `text`, and all other buffers are readable for the lengths given.
    let ret = with_key(key, |gcm| unsafe {
        sys::mbedtls_gcm_auth_decrypt(
            gcm,
            text.len(),
            nonce.as_ptr(),
            nonce.len(),
            header.as_ptr(),
            header.len(),
            tag.as_ptr(),
            tag.len(),
            text.as_ptr(),
            plain.as_mut_ptr(),
        )
    });
    (ret == 0).then_some(plain)
}

fn with_key(key: &[u8; 32], work: impl FnOnce(*mut sys::mbedtls_gcm_context) -> i32) -> i32 {
    let mut gcm = sys::mbedtls_gcm_context::default();
    let gcm = ptr::from_mut(&mut gcm);
    // SAFETY: the context is initialised before its first use, lives on this frame until it is freed, and does not move in between;
    // the key has the 256 bits that are named.
    unsafe {
        sys::mbedtls_gcm_init(gcm);
        let mut ret = sys::mbedtls_gcm_setkey(
            gcm,
            sys::mbedtls_cipher_id_t_MBEDTLS_CIPHER_ID_AES,
            key.as_ptr(),
            256,
        );
        if ret == 0 {
            ret = work(gcm);
        }
        sys::mbedtls_gcm_free(gcm);
        ret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_agrees_with_rfc_4231() {
        let mac = hmac(b"Jefe", b"what do ya want for nothing?").expect("memory");
        assert_eq!(mac[..8], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]);
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_key_nonce_and_header_only() {
        let (key, nonce) = ([7; 32], [9; NONCE_BYTES]);
        let sealed = seal(&key, &nonce, b"head", b"secret").expect("memory");
        assert_eq!(
            open(&key, &nonce, b"head", &sealed)
                .as_deref()
                .map(Vec::as_slice),
            Some(&b"secret"[..])
        );
        assert_eq!(open(&[8; 32], &nonce, b"head", &sealed), None);
        assert_eq!(open(&key, &[8; NONCE_BYTES], b"head", &sealed), None);
        assert_eq!(open(&key, &nonce, b"tail", &sealed), None);
        assert_eq!(open(&key, &nonce, b"head", &sealed[..TAG_BYTES - 1]), None);
    }
}
