//! API keys: 256 random bits, shown once, stored hashed.

use super::claim::not_claimed;
use super::{App, OwnerError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sectag_pki::sha256;
use sectag_proto::DeviceId;
use sectag_proto::secret::SecretText;
use sectag_store::{AddKeyError, ApiKey, Device, Role};

/// Characters of a key's name.
pub(super) const KEY_NAME_CHARS_MAX: usize = 64;
const PREFIX: &str = "sectag_";

/// The text of an API key. Prints as `****`.
#[derive(Debug, Clone)]
pub struct KeyText(pub SecretText);

impl KeyText {
    /// From 256 random bits of the operating system.
    ///
    /// # Errors
    /// When the operating system has none.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = zeroize::Zeroizing::new([0_u8; 32]);
        getrandom::fill(bytes.as_mut())?;
        Ok(Self(SecretText::new(format!(
            "{PREFIX}{}",
            URL_SAFE_NO_PAD.encode(bytes.as_ref())
        ))))
    }

    /// What is stored, and looked up: equal hashes mean equal keys, and an index over hashes tells an attacker nothing
    /// by its timing.
    pub fn hash(text: &str) -> [u8; 32] {
        sha256(text.as_bytes())
    }
}

/// Who asks, by API key.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The key's name; `by` in the audit trail.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whose devices it sees: [`Device::owner`].
    pub team: String,
    /// Only devices with one of these tags; empty: all of the team's.
    pub scope: Vec<String>,
}

impl Caller {
    /// Whether this key may know that `device` exists.
    pub fn sees(&self, device: &Device) -> bool {
        let in_scope = |tag: &String| self.scope.contains(tag);
        device.owner == self.team && (self.scope.is_empty() || device.tags.iter().any(in_scope))
    }

    /// # Errors
    /// [`OwnerError::Forbidden`] when the role is below `needed`.
    pub fn need(&self, needed: Role) -> Result<(), OwnerError> {
        if self.role >= needed {
            Ok(())
        } else {
            Err(OwnerError::Forbidden {
                role: self.role.as_str(),
            })
        }
    }
}

impl App {
    /// Who sent this `Authorization` header.
    ///
    /// # Errors
    /// [`OwnerError::Unauthorized`], [`OwnerError::Store`].
    pub async fn caller(&self, authorization: Option<&str>) -> Result<Caller, OwnerError> {
        let text = authorization
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, text)| text.trim())
            .ok_or(OwnerError::Unauthorized)?;
        let key = self
            .store
            .key_by_hash(KeyText::hash(text))
            .await?
            .ok_or(OwnerError::Unauthorized)?;
        Ok(Caller {
            name: key.name,
            role: key.role,
            team: self.owner.clone(),
            scope: Vec::new(),
        })
    }

    /// A claimed device that `caller` may see. Others do not exist for it.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn device_of(&self, caller: &Caller, device: DeviceId) -> Result<Device, OwnerError> {
        let found = self.store.device(device).await?;
        found
            .filter(|found| caller.sees(found))
            .ok_or_else(|| not_claimed(device))
    }

    /// Makes a key; its text exists in the answer only.
    ///
    /// # Errors
    /// [`OwnerError::Invalid`] for the name, [`OwnerError::Store`].
    pub async fn create_key(
        &self,
        name: &str,
        role: Role,
        by: &str,
    ) -> Result<(ApiKey, KeyText), OwnerError> {
        let refuse = |reason: String| OwnerError::Invalid {
            field: "name",
            reason,
        };
        let fits = !name.is_empty()
            && name.len() <= KEY_NAME_CHARS_MAX
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if !fits {
            return Err(refuse(format!(
                "1 to {KEY_NAME_CHARS_MAX} letters, digits, `-`, `_` and `.` are allowed"
            )));
        }
        let text = KeyText::random().map_err(|e| refuse(format!("no random numbers: {e}")))?;
        let key = ApiKey {
            name: name.to_owned(),
            hash: KeyText::hash(text.0.expose()),
            role,
            created_at: self.now(),
            revoked_at: None,
        };
        match self.store.add_key(key.clone(), by).await {
            Ok(()) => Ok((key, text)),
            Err(e @ AddKeyError::NameTaken { .. }) => Err(OwnerError::Exists(e.to_string())),
            Err(AddKeyError::Store(e)) => Err(e.into()),
        }
    }

    /// Revokes a key for ever.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::LastOwnerKey`], [`OwnerError::Store`].
    pub async fn revoke_key(&self, name: &str, by: &str) -> Result<(), OwnerError> {
        // One at a time: of two at once, each would see the other's key as the one that remains.
        let _alone = self.revoking.lock().await;
        let keys = self.store.keys().await?;
        let mut owners = keys
            .iter()
            .filter(|key| key.role == Role::Owner && key.revoked_at.is_none());
        if let (Some(last), None) = (owners.next(), owners.next())
            && last.name == name
        {
            return Err(OwnerError::LastOwnerKey);
        }
        if self.store.revoke_key(name, by, self.now()).await? {
            tracing::info!(key = name, by, "API key revoked");
            Ok(())
        } else {
            Err(OwnerError::NotFound {
                what: "API key",
                id: name.chars().take(KEY_NAME_CHARS_MAX).collect(),
            })
        }
    }
}
