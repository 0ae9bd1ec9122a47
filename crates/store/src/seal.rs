//! Secrets at rest: AES-256-GCM under a key from the home, bound to the one command they belong to.
//!
//! Form of a sealed value: `01` ‖ nonce (12 bytes, random) ‖ ciphertext ‖ tag (16 bytes). The associated data is
//! device id ‖ command id, so a value that was moved to another row does not open.

use aws_lc_rs::aead::{AES_256_GCM, Aad, MAX_TAG_LEN, NONCE_LEN, Nonce, RandomizedNonceKey};
use sectag_proto::secret::SecretText;
use sectag_proto::{CommandId, DeviceId, RuleId};
use zeroize::Zeroizing;

/// The first byte of a sealed value.
const FORM: u8 = 1;
/// Sealed once into each database, to tell a wrong key at once.
const CHECK: &[u8] = b"sectag seal check";

/// The key that opens the secrets of commands; 32 random bytes, kept in the home beside the database, never in it.
pub struct SealKey(RandomizedNonceKey);

/// Does not open: another key, another row, or damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DoesNotOpen;

impl SealKey {
    /// From its 32 bytes. The copy given in is the caller's to erase.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(RandomizedNonceKey::new(&AES_256_GCM, key).expect("AES-256 takes a key of 32 bytes"))
    }

    /// Seals the secrets of one command. Fails only with the random number generator, or beyond 4 GiB.
    pub(crate) fn seal(
        &self,
        device: DeviceId,
        command: CommandId,
        secrets: &[&SecretText],
    ) -> Result<Vec<u8>, DoesNotOpen> {
        self.seal_texts(&bound_to(device, command), secrets)
    }

    /// Seals the secrets of all commands of a rule.
    pub(crate) fn seal_of_rule(
        &self,
        rule: RuleId,
        secrets: &[&SecretText],
    ) -> Result<Vec<u8>, DoesNotOpen> {
        self.seal_texts(&bound_to_rule(rule), secrets)
    }

    fn seal_texts(&self, aad: &[u8], secrets: &[&SecretText]) -> Result<Vec<u8>, DoesNotOpen> {
        let bytes = secrets.iter().map(|s| 4 + s.expose().len()).sum::<usize>();
        // Room for all of it at once: growing would leave copies behind in freed memory.
        let mut plain = Zeroizing::new(Vec::with_capacity(bytes));
        for secret in secrets {
            let text = secret.expose().as_bytes();
            let length = u32::try_from(text.len()).map_err(|_| DoesNotOpen)?;
            plain.extend_from_slice(&length.to_be_bytes());
            plain.extend_from_slice(text);
        }
        self.seal_bytes(aad, &plain)
    }

    /// The reverse of [`SealKey::seal`].
    pub(crate) fn open(
        &self,
        device: DeviceId,
        command: CommandId,
        sealed: &[u8],
    ) -> Result<Vec<SecretText>, DoesNotOpen> {
        self.open_texts(&bound_to(device, command), sealed)
    }

    /// The reverse of [`SealKey::seal_of_rule`].
    pub(crate) fn open_of_rule(
        &self,
        rule: RuleId,
        sealed: &[u8],
    ) -> Result<Vec<SecretText>, DoesNotOpen> {
        self.open_texts(&bound_to_rule(rule), sealed)
    }

    fn open_texts(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<SecretText>, DoesNotOpen> {
        let plain = self.open_bytes(aad, sealed)?;
        let mut rest = &plain[..];
        let mut secrets = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| DoesNotOpen)?;
            let (text, after) = after.split_at_checked(length).ok_or(DoesNotOpen)?;
            let text = str::from_utf8(text).map_err(|_| DoesNotOpen)?;
            secrets.push(SecretText::new(text.to_owned()));
            rest = after;
        }
        Ok(secrets)
    }

    /// A value for the database by which a later [`SealKey::is_key_of`] knows this key again.
    pub(crate) fn check(&self) -> Result<Vec<u8>, DoesNotOpen> {
        self.seal_bytes(CHECK, CHECK)
    }

    /// Whether `check` was made by this key.
    pub(crate) fn is_key_of(&self, check: &[u8]) -> bool {
        self.open_bytes(CHECK, check)
            .is_ok_and(|plain| plain[..] == *CHECK)
    }

    /// Seals what belongs to no command; `aad` is what it is bound to.
    pub(crate) fn seal_bytes(&self, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, DoesNotOpen> {
        let mut body = Zeroizing::new(Vec::with_capacity(plain.len() + MAX_TAG_LEN));
        body.extend_from_slice(plain);
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(aad), &mut *body)
            .map_err(|_| DoesNotOpen)?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + body.len());
        sealed.push(FORM);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    /// The reverse of [`SealKey::seal_bytes`].
    pub(crate) fn open_bytes(
        &self,
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, DoesNotOpen> {
        let body = sealed.strip_prefix(&[FORM]).ok_or(DoesNotOpen)?;
        let (nonce, body) = body.split_first_chunk::<NONCE_LEN>().ok_or(DoesNotOpen)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self
            .0
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(aad),
                &mut body,
            )
            .map_err(|_| DoesNotOpen)?
            .len();
        body.truncate(length);
        Ok(body)
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(****)")
    }
}

fn bound_to(device: DeviceId, command: CommandId) -> [u8; 32] {
    let mut aad = [0; 32];
    aad[..16].copy_from_slice(device.as_bytes());
    aad[16..].copy_from_slice(command.as_bytes());
    aad
}

/// Of another length than [`bound_to`], so that neither opens as the other.
fn bound_to_rule(rule: RuleId) -> [u8; 20] {
    let mut aad = *b"rule................";
    aad[4..].copy_from_slice(rule.as_bytes());
    aad
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId::from_bytes([1; 16]);
    const COMMAND: CommandId = CommandId::from_bytes([2; 16]);

    #[test]
    fn secrets_come_back_in_order_and_never_look_the_same_twice() {
        let key = SealKey::new(&[7; 32]);
        let (a, b) = (
            SecretText::new("hush".into()),
            SecretText::new(String::new()),
        );
        let sealed = key.seal(DEVICE, COMMAND, &[&a, &b]).unwrap();
        assert_ne!(sealed, key.seal(DEVICE, COMMAND, &[&a, &b]).unwrap());
        assert_eq!(key.open(DEVICE, COMMAND, &sealed).unwrap(), [a, b]);
    }

    #[test]
    fn a_sealed_value_opens_only_for_its_row_and_its_key() {
        let key = SealKey::new(&[7; 32]);
        let hush = SecretText::new("hush".into());
        let sealed = key.seal(DEVICE, COMMAND, &[&hush]).unwrap();
        let other = CommandId::from_bytes([3; 16]);
        assert_eq!(key.open(DEVICE, other, &sealed), Err(DoesNotOpen));
        let other = SealKey::new(&[8; 32]);
        assert_eq!(other.open(DEVICE, COMMAND, &sealed), Err(DoesNotOpen));
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(key.open(DEVICE, COMMAND, &altered), Err(DoesNotOpen));
            assert_eq!(key.open(DEVICE, COMMAND, &sealed[..at]), Err(DoesNotOpen));
        }
    }

    #[test]
    fn a_key_knows_its_own_check() {
        let key = SealKey::new(&[7; 32]);
        let check = key.check().unwrap();
        assert!(key.is_key_of(&check));
        assert!(!SealKey::new(&[8; 32]).is_key_of(&check));
        assert_eq!(format!("{key:?}"), "SealKey(****)");
    }
}
