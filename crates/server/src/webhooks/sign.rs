//! How a receiver knows that a delivery is ours and new: `Sectag-Signature: t=<seconds>,v1=<hex>`, HMAC-SHA256 (RFC 2104) over
//! the seconds, a full stop, and the body, under the webhook's secret as it was shown (docs/reference/webhooks.md).

use crate::app::hex;
use aws_lc_rs::hmac;
use sectag_proto::Timestamp;
use sectag_proto::secret::SecretText;

/// The header.
pub(crate) const HEADER: &str = "sectag-signature";

/// Its value.
pub(crate) fn signature(secret: &SecretText, now: Timestamp, body: &[u8]) -> String {
    let seconds = now.as_secs().to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(seconds.as_bytes());
    context.update(b".");
    context.update(body);
    format!("t={seconds},v1={}", hex(context.sign().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_answer() {
        // printf '1.{}' | openssl dgst -sha256 -hmac secret
        let secret = SecretText::new("secret".to_owned());
        let signed = signature(&secret, Timestamp::from_secs(1), b"{}");
        assert_eq!(
            signed,
            "t=1,v1=1122767b193110cfec322b6f199b599edbf608ed087f2d27afb0b97d99523908"
        );
    }
}
