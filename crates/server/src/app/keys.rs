//! API keys: 256 random bits, shown once, stored hashed; and what a key may know of.

use super::claim::{not_claimed, split_tags};
use super::{App, OwnerError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sectag_pki::sha256;
use sectag_proto::secret::SecretText;
use sectag_proto::{DeviceId, Timestamp};
use sectag_store::{AddKeyError, ApiKey, Device, RevokeKeyError, Role, View};

/// Characters of a key's name, and of a team's.
pub(super) const NAME_CHARS_MAX: usize = 64;
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
    /// Whether it sees devices that an admin's or an owner's key claimed.
    pub sees_reserved: bool,
}

impl Caller {
    /// Which devices this key may know of.
    pub fn view(&self) -> View {
        View {
            team: self.team.clone(),
            tags: self.scope.clone(),
            reserved: self.sees_reserved,
        }
    }

    /// Whether this key may know that `device` exists.
    pub fn sees(&self, device: &Device) -> bool {
        self.view().shows(device)
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

    /// A key with tags gives and takes these alone: with others it could move a device to where other keys, and rules with
    /// their secrets, are waiting for it.
    ///
    /// # Errors
    /// [`OwnerError::Invalid`] for `tags`.
    pub fn may_tag(&self, before: &[String], after: &[String]) -> Result<(), OwnerError> {
        if self.scope.is_empty() {
            return Ok(());
        }
        let refuse = |reason: String| {
            Err(OwnerError::Invalid {
                field: "tags",
                reason,
            })
        };
        let mine = self.scope.join("`, `");
        if !after.iter().any(|tag| self.scope.contains(tag)) {
            return refuse(format!(
                "this API key is limited to the tags `{mine}`; the device must have one of them"
            ));
        }
        let given = after.iter().filter(|tag| !before.contains(tag));
        let taken = before.iter().filter(|tag| !after.contains(tag));
        match given.chain(taken).find(|tag| !self.scope.contains(tag)) {
            Some(other) => refuse(format!(
                "this API key is limited to the tags `{mine}`; it may neither give nor take `{other}`"
            )),
            None => Ok(()),
        }
    }
}

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Unique in its team, for ever.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// To which devices; empty: all of the team.
    pub tags: Vec<String>,
    /// From when on it is none.
    pub expires_at: Option<Timestamp>,
    /// Whose, when not the caller's: the id or the name of a team.
    pub team: Option<String>,
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
        let key = self.store.key_by_hash(KeyText::hash(text)).await?;
        let now = self.now();
        let key = key
            .filter(|key| key.expires_at.is_none_or(|end| now < end))
            .ok_or(OwnerError::Unauthorized)?;
        Ok(Caller {
            sees_reserved: key.role >= Role::Admin || !self.admin_claims_hidden,
            name: key.name,
            role: key.role,
            team: key.team,
            scope: key.tags,
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
    /// [`OwnerError::Invalid`], [`OwnerError::NotFound`] for the team, [`OwnerError::Exists`], [`OwnerError::Store`].
    pub async fn create_key(
        &self,
        caller: &Caller,
        new: NewKey,
    ) -> Result<(ApiKey, KeyText), OwnerError> {
        let refuse = |field, reason: String| OwnerError::Invalid { field, reason };
        checked_name(&new.name)?;
        let tags = split_tags(&new.tags)?;
        if new.role == Role::Owner && !tags.is_empty() {
            let reason = "a key with the role `owner` manages keys, and so cannot be limited";
            return Err(refuse("tags", reason.to_owned()));
        }
        let now = self.now();
        if new.expires_at.is_some_and(|end| end <= now) {
            return Err(refuse("expiresAt", "this is in the past".to_owned()));
        }
        let (team, by) = self.on_behalf(caller, new.team.as_deref()).await?;
        let text =
            KeyText::random().map_err(|e| refuse("name", format!("no random numbers: {e}")))?;
        let key = ApiKey {
            team,
            name: new.name,
            hash: KeyText::hash(text.0.expose()),
            role: new.role,
            tags,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
        };
        match self.store.add_key(key.clone(), &by).await {
            Ok(()) => {
                tracing::info!(key = %key.name, team = %key.team, role = key.role.as_str(), by, "API key made");
                Ok((key, text))
            }
            Err(e @ AddKeyError::NameTaken { .. }) => Err(OwnerError::Exists(e.to_string())),
            Err(AddKeyError::NoTeam) => Err(no_team(&key.team)),
            Err(AddKeyError::Store(e)) => Err(e.into()),
        }
    }

    /// Revokes a key for ever, of the caller's team or of the one that is named.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::LastOwnerKey`], [`OwnerError::Store`].
    pub async fn revoke_key(
        &self,
        caller: &Caller,
        team: Option<&str>,
        name: &str,
    ) -> Result<(), OwnerError> {
        let (team, by) = self.on_behalf(caller, team).await?;
        match self.store.revoke_key(&team, name, &by, self.now()).await {
            Ok(true) => {
                tracing::info!(key = name, team, by, "API key revoked");
                Ok(())
            }
            Ok(false) => Err(OwnerError::NotFound {
                what: "API key",
                id: name.chars().take(NAME_CHARS_MAX).collect(),
            }),
            Err(RevokeKeyError::LastOwner) => Err(OwnerError::LastOwnerKey),
            Err(RevokeKeyError::Store(e)) => Err(e.into()),
        }
    }

    /// The team that a caller speaks for, and how it is called in the audit trail. Only owners of the home's own team speak
    /// for others; for everybody else these do not exist.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn on_behalf(
        &self,
        caller: &Caller,
        team: Option<&str>,
    ) -> Result<(String, String), OwnerError> {
        let own = || Ok((caller.team.clone(), caller.name.clone()));
        let Some(named) = team else { return own() };
        let found = self.team_of(caller, named).await?;
        if found.id == caller.team {
            own()
        } else {
            Ok((found.id, format!("{HOME}/{}", caller.name)))
        }
    }
}

/// Name of the home's own team.
pub(crate) const HOME: &str = "home";

pub(super) fn no_team(named: &str) -> OwnerError {
    OwnerError::NotFound {
        what: "team",
        id: named
            .chars()
            .filter(|c| !c.is_control())
            .take(NAME_CHARS_MAX)
            .collect(),
    }
}

/// Names of keys and teams travel in paths, topics and log lines.
pub(super) fn checked_name(name: &str) -> Result<(), OwnerError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let dots = name.bytes().all(|b| b == b'.');
    if !dots && name.len() <= NAME_CHARS_MAX && name.bytes().all(plain) {
        return Ok(());
    }
    Err(OwnerError::Invalid {
        field: "name",
        reason: format!(
            "1 to {NAME_CHARS_MAX} letters, digits, `-`, `_` and `.` are allowed, not dots alone"
        ),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn scoped(tags: &[&str]) -> Caller {
        Caller {
            name: "k".into(),
            role: Role::Editor,
            team: "t".into(),
            scope: tags.iter().map(|&tag| tag.into()).collect(),
            sees_reserved: false,
        }
    }

    fn tags(tags: &[&str]) -> Vec<String> {
        tags.iter().map(|&tag| tag.into()).collect()
    }

    #[test]
    fn a_scoped_key_gives_and_takes_its_own_tags_only() {
        let key = scoped(&["a", "b"]);
        for (before, after, may) in [
            (&[][..], &["a"][..], true),
            (&[], &["a", "b"], true),
            (&[], &[], false),
            (&[], &["x"], false),
            (&[], &["a", "x"], false),
            (&["a", "x"], &["b", "x"], true),
            (&["a", "x"], &["a"], false),
            (&["a", "x"], &["x"], false),
        ] {
            let said = key.may_tag(&tags(before), &tags(after)).is_ok();
            assert_eq!(said, may, "{before:?} {after:?}");
        }
        assert!(scoped(&[]).may_tag(&tags(&["x"]), &[]).is_ok());
    }

    #[test]
    fn names_fit_into_paths() {
        for good in ["a", "ci.2", "a-b_c", &"x".repeat(64)] {
            assert!(checked_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "é", &"x".repeat(65)] {
            assert!(checked_name(bad).is_err(), "{bad}");
        }
    }
}
