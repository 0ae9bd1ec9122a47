//! People, and who may come in: teams, their API keys, their allow-lists.
//!
//! The home's own team is there from the start ([`Teams::adopt`]). A key belongs to one team and speaks for it. What is
//! written here is audited for the team that it concerns.

use crate::contract::StoreError;
use crate::record::{Allowed, ApiKey, Page, Team};
use async_trait::async_trait;
use sectag_proto::es256::Kid;
use sectag_proto::{DeviceId, Timestamp};

/// Teams, keys, allow-lists.
#[async_trait]
pub trait Teams: Send + Sync {
    /// Enters the home's own team, if it is not there, and gives it what names no team yet: keys and entries of the
    /// allow-list from before there were teams. Not audited.
    async fn adopt(&self, home: Team) -> Result<(), StoreError>;

    /// Records a team.
    ///
    /// # Errors
    /// [`AddTeamError`]; nothing was changed.
    async fn add_team(&self, team: Team, by: &str) -> Result<(), AddTeamError>;

    /// The team with this id.
    async fn team(&self, id: &str) -> Result<Option<Team>, StoreError>;

    /// The team with this name.
    async fn team_by_name(&self, name: &str) -> Result<Option<Team>, StoreError>;

    /// A page of the teams, in the order of their ids.
    async fn teams(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<Team, String>, StoreError>;

    /// Claimed devices of all teams, and of these the blocked ones.
    async fn device_totals(&self) -> Result<(u64, u64), StoreError>;

    /// Renames a team.
    ///
    /// # Errors
    /// [`AddTeamError::NameTaken`], [`AddTeamError::Unknown`].
    async fn rename_team(
        &self,
        id: &str,
        name: &str,
        by: &str,
        at: Timestamp,
    ) -> Result<Team, AddTeamError>;

    /// Forgets a team that has no devices; revokes its keys, empties its allow-list. Its keys stay on record.
    ///
    /// # Errors
    /// [`DeleteTeamError`]; nothing was changed.
    async fn delete_team(&self, id: &str, by: &str, at: Timestamp) -> Result<(), DeleteTeamError>;

    /// Whether a team was here and was deleted: the audit trail says so. `false` also for an id that never was a team's.
    async fn was_deleted(&self, id: &str) -> Result<bool, StoreError>;

    /// Records an API key. Only its hash is known here.
    ///
    /// # Errors
    /// [`AddKeyError::NameTaken`], also by a revoked key: names in the audit trail stay unambiguous.
    async fn add_key(&self, key: ApiKey, by: &str) -> Result<(), AddKeyError>;

    /// The key with this SHA-256, unless it was revoked. It may have expired.
    async fn key_by_hash(&self, hash: [u8; 32]) -> Result<Option<ApiKey>, StoreError>;

    /// A page of a team's keys in the order of their names, revoked ones as well.
    async fn keys(
        &self,
        team: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<ApiKey, String>, StoreError>;

    /// Revokes a key, for ever. `false`: no such key, or revoked already.
    ///
    /// # Errors
    /// [`RevokeKeyError::LastOwner`]: no other key of the team could manage keys at this moment.
    async fn revoke_key(
        &self,
        team: &str,
        name: &str,
        by: &str,
        at: Timestamp,
    ) -> Result<bool, RevokeKeyError>;

    /// Puts a device on a team's allow-list, or replaces its key there.
    async fn allow(
        &self,
        team: &str,
        device: DeviceId,
        kid: Kid,
        by: &str,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Takes a device off a team's allow-list. `false`: it was not on it.
    async fn disallow(
        &self,
        team: &str,
        device: DeviceId,
        by: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// The key that a team's allow-list has for this device.
    async fn allowed(&self, team: &str, device: DeviceId) -> Result<Option<Kid>, StoreError>;

    /// A page of a team's allow-list, in the order of the device ids.
    async fn allow_list(
        &self,
        team: &str,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Page<Allowed, DeviceId>, StoreError>;
}

/// Why a team was not recorded or renamed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddTeamError {
    /// Choose another name.
    #[error("there is a team named `{name}` already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Two teams would publish under one topic.
    #[error("there is a team with the topic prefix `{prefix}` already")]
    PrefixTaken {
        /// The prefix.
        prefix: String,
    },
    /// No such team.
    #[error("there is no such team")]
    Unknown,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a team was not deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeleteTeamError {
    /// It has devices.
    #[error("the team still has devices (claimed: {devices}, registered: {registered})")]
    InUse {
        /// How many are claimed.
        devices: u64,
        /// How many are registered; claimed ones can be among them.
        registered: u64,
    },
    /// No such team.
    #[error("there is no such team")]
    Unknown,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an API key was not recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddKeyError {
    /// Choose another name.
    #[error("there is a key named `{name}` already (a revoked one keeps its name)")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// No such team (any more).
    #[error("there is no such team")]
    NoTeam,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an API key was not revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevokeKeyError {
    /// Nobody could manage the team's keys any more.
    #[error("it is the team's last key that can manage keys")]
    LastOwner,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}
