//! Teams: people who share devices, keys, an allow-list and an issuing CA.
//!
//! The home's own team is called `home`; its owners make the others and their first keys. A device, a key and an entry of
//! the allow-list belong to one team, and for all others they do not exist.

use super::keys::{HOME, checked_name, no_team};
use super::{App, Caller, OwnerError};
use crate::issuers::{IssuerError, Issuers};
use crate::settings::Policy;
use sectag_proto::{DeviceId, Timestamp};
use sectag_store::{AddTeamError, DeleteTeamError, Page, Role, Store, StoreError, Subject, Team};

/// A team to be made.
#[derive(Debug, Clone)]
pub struct NewTeam {
    /// Unique; goes into paths and, where no other is given, into topics.
    pub name: String,
    /// First level of the topics of its devices.
    pub topic_prefix: Option<String>,
}

/// The home's own team.
pub(crate) fn home_team(id: String, created_at: Timestamp) -> Team {
    Team {
        id,
        name: HOME.to_owned(),
        topic_prefix: None,
        created_at,
    }
}

impl App {
    /// Which device keys a claim trusts, never [`Policy::Auto`].
    pub fn policy(&self) -> Policy {
        match self.policy {
            Policy::Auto if self.doorkeeper.has_several_teams() => Policy::AllowList,
            Policy::Auto => Policy::FirstClaim,
            said => said,
        }
    }

    /// Makes a team.
    ///
    /// # Errors
    /// [`OwnerError::Invalid`], [`OwnerError::Exists`], [`OwnerError::Store`].
    pub async fn create_team(&self, caller: &Caller, new: NewTeam) -> Result<Team, OwnerError> {
        checked_name(&new.name)?;
        let prefix = new.topic_prefix.unwrap_or_else(|| new.name.clone());
        checked_prefix(&prefix)?;
        let team = Team {
            id: uuid::Uuid::new_v4().to_string(),
            name: new.name,
            topic_prefix: Some(prefix),
            created_at: self.now(),
        };
        if let Some(prefix) = &team.topic_prefix {
            let subject = Subject::Named(prefix.clone());
            if self.store.registered(subject, &self.owner).await?.is_some() {
                return Err(OwnerError::Invalid {
                    field: "topicPrefix",
                    reason: format!("a registered device has the id `{prefix}`, and its topics"),
                });
            }
        }
        // First of all: a team without a CA could claim devices and give them nothing.
        let (issuers, id, now_s) = (
            self.issuers.clone(),
            team.id.clone(),
            team.created_at.as_secs(),
        );
        tokio::task::spawn_blocking(move || issuers.create(&id, now_s).map(drop))
            .await
            .map_err(|e| OwnerError::NoAuthority(e.to_string()))?
            .map_err(|e| no_authority(&e))?;
        sectag_keep::crash::point("teams.create.made");
        if let Err(e) = self.store.add_team(team.clone(), &caller.name).await {
            // A store that failed may have it on record all the same; the next start knows.
            if !matches!(e, AddTeamError::Store(_)) {
                retire(&self.issuers, &team.id);
            }
            return Err(refused(e, &team.name));
        }
        self.doorkeeper.settled().await;
        tracing::info!(team = %team.name, id = %team.id, by = %caller.name, "team made");
        Ok(team)
    }

    /// Gives a team another name. Its topics stay.
    ///
    /// # Errors
    /// [`OwnerError::Invalid`], [`OwnerError::NotFound`], [`OwnerError::Exists`], [`OwnerError::Store`].
    pub async fn rename_team(
        &self,
        caller: &Caller,
        named: &str,
        name: &str,
    ) -> Result<Team, OwnerError> {
        let team = self.team_of(caller, named).await?;
        checked_name(name)?;
        if self.is_home(&team.id) && name != HOME {
            return Err(OwnerError::Invalid {
                field: "name",
                reason: format!("the home's own team is called `{HOME}`"),
            });
        }
        let by = &caller.name;
        self.store
            .rename_team(&team.id, name, by, self.now())
            .await
            .map_err(|e| refused(e, named))
    }

    /// Forgets a team without devices, and revokes its keys.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::TeamInUse`], [`OwnerError::Store`].
    pub async fn delete_team(&self, caller: &Caller, named: &str) -> Result<(), OwnerError> {
        let team = self.team_of(caller, named).await?;
        if self.is_home(&team.id) {
            let reason = "the home's own team cannot be deleted";
            return Err(OwnerError::TeamInUse(reason.to_owned()));
        }
        let (by, now) = (&caller.name, self.now());
        match self.store.delete_team(&team.id, by, now).await {
            Ok(()) => retire(&self.issuers, &team.id),
            Err(e @ DeleteTeamError::InUse { .. }) => {
                return Err(OwnerError::TeamInUse(format!(
                    "{e}; unclaim and remove them first"
                )));
            }
            Err(DeleteTeamError::Unknown) => return Err(no_team(named)),
            Err(DeleteTeamError::Store(e)) => return Err(e.into()),
        }
        self.doorkeeper.settled().await;
        tracing::info!(team = %team.name, id = %team.id, by, "team deleted");
        Ok(())
    }

    /// A team by its id or its name. Whoever is no owner of the home's own team knows of the own one only.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn team_of(&self, caller: &Caller, named: &str) -> Result<Team, OwnerError> {
        let mut found = self.store.team(named).await?;
        if found.is_none() {
            found = self.store.team_by_name(named).await?;
        }
        found
            .filter(|team| team.id == caller.team || self.knows_teams(caller))
            .ok_or_else(|| no_team(named))
    }

    /// The teams that a caller knows of.
    ///
    /// # Errors
    /// [`OwnerError::Store`].
    pub async fn teams(
        &self,
        caller: &Caller,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<Team, String>, OwnerError> {
        if self.knows_teams(caller) {
            return Ok(self.store.teams(after, limit).await?);
        }
        let own = self.store.team(&caller.team).await?;
        let items: Vec<Team> = own
            .filter(|own| after.is_none_or(|after| own.id > after))
            .into_iter()
            .collect();
        Ok(Page {
            items,
            next: None,
            total: 1,
        })
    }

    fn knows_teams(&self, caller: &Caller) -> bool {
        self.is_home(&caller.team) && caller.role == Role::Owner
    }
}

/// Brings the CAs of the home into line with the teams on record, at a start: there was a crash between the two, or the
/// database is another one than at the last start. Of a team that was deleted nothing is left. A CA whose team is neither there
/// nor deleted is set aside and not destroyed, since the database may be an older one; it comes back with its team.
pub(crate) async fn reconcile_authorities(
    issuers: &Issuers,
    store: &dyn Store,
    now: Timestamp,
) -> Result<(), StoreError> {
    let found = match issuers.found() {
        Ok(found) => found,
        Err(e) => {
            let reason = no_authority(&e).to_string();
            tracing::warn!(%reason, "the CAs of teams cannot be looked through");
            return Ok(());
        }
    };
    for team in found {
        let done = if store.team(&team).await?.is_some() {
            issuers.take_back(&team, now.as_secs()).map(|was_aside| {
                if was_aside {
                    tracing::info!(%team, "the team is on record again: its CA is back from `ca/aside`");
                }
            })
        } else if store.was_deleted(&team).await? {
            retire(issuers, &team);
            tracing::info!(%team, "what was left of a deleted team is removed");
            Ok(())
        } else {
            issuers.set_aside(&team).map(|was_there| {
                if was_there {
                    tracing::warn!(%team, "a CA of a team that is not on record is set aside in `ca/aside`; if there was such a team, the database is an older one");
                }
            })
        };
        if let Err(e) = done {
            let reason = no_authority(&e).to_string();
            tracing::warn!(%team, %reason, "the CA of a team is not where it should be");
        }
    }
    Ok(())
}

/// The broker takes nobody of a team that is not on record; so the files may stay when they cannot be removed.
fn retire(issuers: &Issuers, team: &str) {
    if let Err(e) = issuers.retire(team) {
        let reason = no_authority(&e).to_string();
        tracing::warn!(team, %reason, "the CA of a team that is gone cannot be removed");
    }
}

/// One level of a topic, and none that a device of the home has by its id.
fn checked_prefix(prefix: &str) -> Result<(), OwnerError> {
    let refuse = |reason: String| {
        Err(OwnerError::Invalid {
            field: "topicPrefix",
            reason,
        })
    };
    if checked_name(prefix).is_err() {
        return refuse(
            "it has the letters of a team's name, and is one level of a topic".to_owned(),
        );
    }
    if prefix.parse::<DeviceId>().is_ok() {
        return refuse(
            "it is a device id, which is the first level of that device's own topics".to_owned(),
        );
    }
    Ok(())
}

fn no_authority(e: &IssuerError) -> OwnerError {
    let mut text = e.to_string();
    if let Some(cause) = std::error::Error::source(e) {
        text += &format!(": {cause}");
    }
    if let Some(hint) = e.hint() {
        text += &format!("; {hint}");
    }
    OwnerError::NoAuthority(text)
}

fn refused(e: AddTeamError, named: &str) -> OwnerError {
    match e {
        e @ (AddTeamError::NameTaken { .. } | AddTeamError::PrefixTaken { .. }) => {
            OwnerError::Exists(e.to_string())
        }
        AddTeamError::Unknown => no_team(named),
        AddTeamError::Store(e) => e.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_prefix_is_one_level_and_nobodys() {
        assert!(checked_prefix("north").is_ok());
        for bad in [
            "",
            "a/b",
            "+",
            "#",
            "$SYS",
            "50363154-3931-44f0-8022-121b6401627d",
        ] {
            assert!(checked_prefix(bad).is_err(), "{bad}");
        }
    }
}
