//! Claiming: a token becomes a device with candidate keys, under the trust policy (design: identity).

use super::commands::retry;
use super::{App, COMMIT_ATTEMPTS, Caller, OwnerError, TAG_CHARS_MAX, TAGS_MAX};
use crate::settings::Policy;
use sectag_proto::DeviceId;
use sectag_proto::token::AttestationToken;
use sectag_store::{AuditEvent, ClaimOutcome, Device, DevicePatch, NewClaim, Role};

/// Rows of one bulk claim (spec/owner-api §2.3).
pub const BULK_ROWS_MAX: usize = 1000;

/// What an owner sends to claim a device.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// The text of `%ATTESTTOKEN`.
    pub token: String,
    /// Elements may hold several tags with commas between them (spec/owner-api §2.1).
    pub tags: Vec<String>,
    /// Take this key although the device is known under another one.
    pub accept_new_key: bool,
}

/// A device that is claimed.
#[derive(Debug, Clone)]
pub enum Claimed {
    /// By this request.
    Created(Device),
    /// Before, by the same team, with the same key.
    Existing(Device),
}

impl App {
    /// Claims a device for the caller's team.
    ///
    /// # Errors
    /// [`OwnerError::BadToken`], [`OwnerError::ClaimRefused`], [`OwnerError::KeyConflict`], [`OwnerError::Invalid`] for
    /// the tags, [`OwnerError::Store`].
    pub async fn claim(
        &self,
        request: &ClaimRequest,
        caller: &Caller,
    ) -> Result<Claimed, OwnerError> {
        let claim = self.to_be_claimed(request, caller).await?;
        let (device, by) = (claim.device, &caller.name);
        match self.store.claim(claim).await? {
            ClaimOutcome::Created(device) => {
                tracing::info!(device = %device.id, by, device_type = %device.device_type.owner_name(), "device claimed");
                Ok(Claimed::Created(device))
            }
            ClaimOutcome::Existing(device) => Ok(Claimed::Existing(device)),
            refused => Err(self.refused(device, refused, caller).await),
        }
    }

    /// Whether [`App::claim`] would succeed. Changes nothing.
    ///
    /// # Errors
    /// As [`App::claim`].
    pub async fn would_claim(
        &self,
        request: &ClaimRequest,
        caller: &Caller,
    ) -> Result<(), OwnerError> {
        let claim = self.to_be_claimed(request, caller).await?;
        let device = claim.device;
        match self.store.would_claim(claim).await? {
            ClaimOutcome::Created(_) | ClaimOutcome::Existing(_) => Ok(()),
            ClaimOutcome::OwnedByOther(_) => Err(OwnerError::ClaimRefused(NOT_CLAIMABLE)),
            ClaimOutcome::KeyConflict(_) => Err(OwnerError::KeyConflict(device)),
        }
    }

    /// Forgets a device; its key stays on record.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Contention`], [`OwnerError::Store`].
    pub async fn unclaim(&self, caller: &Caller, device: DeviceId) -> Result<(), OwnerError> {
        let by = &caller.name;
        for _ in 0..COMMIT_ATTEMPTS {
            let version = self.device_of(caller, device).await?.version;
            match self.store.unclaim(device, version, by, self.now()).await {
                Ok(()) => {
                    self.doorkeeper.settled().await;
                    tracing::info!(%device, by, "device unclaimed");
                    return Ok(());
                }
                Err(e) => retry(e, device)?,
            }
        }
        Err(OwnerError::Contention)
    }

    /// A claimed device, whoever asks.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn device(&self, device: DeviceId) -> Result<Device, OwnerError> {
        self.store
            .device(device)
            .await?
            .ok_or_else(|| not_claimed(device))
    }

    /// Changes tags, block, or both.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Invalid`] for the tags, [`OwnerError::Contention`], [`OwnerError::Store`].
    pub async fn change_device(
        &self,
        caller: &Caller,
        device: DeviceId,
        mut patch: DevicePatch,
    ) -> Result<Device, OwnerError> {
        if let Some(tags) = &mut patch.tags {
            *tags = split_tags(tags)?;
        }
        let by = &caller.name;
        for _ in 0..COMMIT_ATTEMPTS {
            let known = self.device_of(caller, device).await?;
            if let Some(tags) = &patch.tags {
                caller.may_tag(&known.tags, tags)?;
            }
            let (version, patch, now) = (known.version, patch.clone(), self.now());
            let blocked = patch.blocked;
            match self
                .store
                .change_device(device, version, patch, by, now)
                .await
            {
                Ok(changed) => {
                    if let Some(blocked) = blocked {
                        self.doorkeeper.settled().await;
                        tracing::info!(%device, blocked, by, "device block changed");
                    }
                    return Ok(changed);
                }
                Err(e) => retry(e, device)?,
            }
        }
        Err(OwnerError::Contention)
    }

    async fn to_be_claimed(
        &self,
        request: &ClaimRequest,
        caller: &Caller,
    ) -> Result<NewClaim, OwnerError> {
        let tags = split_tags(&request.tags)?;
        caller.may_tag(&[], &tags)?;
        let token = AttestationToken::parse(&request.token)?;
        let mut candidates = Self::candidates(&token).await?;
        if self.policy() == Policy::AllowList {
            let allowed = self.store.allowed(&caller.team, token.device).await?;
            // What this key sees has been claimed; to ask for it once more is no new claim.
            let claimed = self.store.device(token.device).await?;
            let claimed = claimed.filter(|device| caller.sees(device));
            candidates.retain(|candidate| {
                let mut known = claimed.iter().flat_map(|device| &device.candidates);
                Some(candidate.kid) == allowed || known.any(|known| known.kid == candidate.kid)
            });
            if candidates.is_empty() {
                tracing::warn!(device = %token.device, by = %caller.name, "claim refused: the allow-list has no such device and key");
                return Err(OwnerError::ClaimRefused(NOT_CLAIMABLE));
            }
        }
        Ok(NewClaim {
            device: token.device,
            candidates,
            device_type: token.device_type,
            firmware: token.firmware,
            tags,
            view: caller.view(),
            reserved: caller.role >= Role::Admin,
            by: caller.name.clone(),
            accept_new_key: request.accept_new_key,
            claimed_at: self.now(),
        })
    }

    async fn refused(
        &self,
        device: DeviceId,
        outcome: ClaimOutcome,
        caller: &Caller,
    ) -> OwnerError {
        let by = &caller.name;
        let ClaimOutcome::KeyConflict(known) = outcome else {
            tracing::warn!(%device, by, "claim refused: another team has it, or this key may not see it");
            return OwnerError::ClaimRefused(NOT_CLAIMABLE);
        };
        let kids: Vec<String> = known.kids.iter().map(ToString::to_string).collect();
        let detail = format!(
            "claim with another key than the one known ({}; {})",
            if known.claimed {
                "claimed at this moment"
            } else {
                "of an earlier claim"
            },
            kids.join(", ")
        );
        tracing::warn!(%device, by, %detail, "key alarm");
        let event = AuditEvent::new(self.now(), by, "key-alarm")
            .team(&caller.team)
            .device(device)
            .detail(detail);
        if let Err(e) = self.store.record(vec![event]).await {
            return OwnerError::Store(e);
        }
        OwnerError::KeyConflict(device)
    }
}

/// The same words for whatever the owner may not know more about.
const NOT_CLAIMABLE: &str = "this device cannot be claimed with this token";

pub(crate) fn not_claimed(device: DeviceId) -> OwnerError {
    OwnerError::NotFound {
        what: "claimed device",
        id: device.to_string(),
    }
}

/// The tags of a device.
pub(super) fn split_tags(given: &[String]) -> Result<Vec<String>, OwnerError> {
    let tags = tidy_tags(given)?;
    if tags.len() > TAGS_MAX {
        return Err(OwnerError::Invalid {
            field: "tags",
            reason: format!("{} tags, limit {TAGS_MAX}", tags.len()),
        });
    }
    Ok(tags)
}

/// Elements split at commas, blanks trimmed, empty ones and repetitions dropped.
pub(super) fn tidy_tags(given: &[String]) -> Result<Vec<String>, OwnerError> {
    let mut tags: Vec<String> = Vec::new();
    for tag in given.iter().flat_map(|element| element.split(',')) {
        let tag = tag.trim();
        if tag.is_empty() || tags.iter().any(|known| known == tag) {
            continue;
        }
        if tag.chars().count() > TAG_CHARS_MAX || tag.chars().any(char::is_control) {
            return Err(OwnerError::Invalid {
                field: "tags",
                reason: format!(
                    "a tag has at most {TAG_CHARS_MAX} characters and no control characters"
                ),
            });
        }
        tags.push(tag.to_owned());
    }
    Ok(tags)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_split_at_commas_and_said_once() {
        let given = [
            "a,b".to_owned(),
            " b ".to_owned(),
            "location=Trondheim".to_owned(),
        ];
        assert_eq!(
            split_tags(&given).unwrap(),
            ["a", "b", "location=Trondheim"]
        );
        assert!(split_tags(&["x".repeat(129)]).is_err());
        assert!(split_tags(&[(0..21).map(|n| n.to_string() + ",").collect::<String>()]).is_err());
    }
}
