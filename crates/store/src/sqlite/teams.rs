//! Teams: whose devices, keys and allow-lists are.

use crate::contract::StoreError;
use crate::contract::teams::{AddKeyError, AddTeamError, DeleteTeamError, RevokeKeyError, Teams};
use crate::record::{Allowed, ApiKey, AuditEvent, Page, Team};
use crate::sqlite::devices::{count, counted, cut, limits};
use crate::sqlite::rows::{self, all, first, get, sql, time};
use crate::sqlite::writer::Kind;
use crate::sqlite::{SqliteStore, access, audit, execute, foreign, read_error};
use async_trait::async_trait;
use rusqlite::{Connection, params};
use sectag_proto::es256::Kid;
use sectag_proto::{DeviceId, Timestamp};
use serde_json::{Value, json};

#[async_trait]
impl Teams for SqliteStore {
    async fn adopt(&self, home: Team) -> Result<(), StoreError> {
        self.write(Kind::KEY, move |db| adopt(db, &home)).await
    }

    async fn add_team(&self, team: Team, by: &str) -> Result<(), AddTeamError> {
        let by = by.to_owned();
        let job = move |db: &Connection| add(db, &team, &by);
        self.write(Kind::KEY, job).await
    }

    async fn team(&self, id: &str) -> Result<Option<Team>, StoreError> {
        let id = id.to_owned();
        self.read(move |db| team(db, &id)).await
    }

    async fn team_by_name(&self, name: &str) -> Result<Option<Team>, StoreError> {
        let name = name.to_owned();
        self.read(move |db| by_name(db, &name)).await
    }

    async fn teams(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<Team, String>, StoreError> {
        self.read(move |db| page(db, after.as_deref(), limit)).await
    }

    async fn device_totals(&self) -> Result<(u64, u64), StoreError> {
        self.read(device_totals).await
    }

    async fn rename_team(
        &self,
        id: &str,
        name: &str,
        by: &str,
        at: Timestamp,
    ) -> Result<Team, AddTeamError> {
        let (id, name, by) = (id.to_owned(), name.to_owned(), by.to_owned());
        let job = move |db: &Connection| rename(db, &id, &name, &by, at);
        self.write(Kind::KEY, job).await
    }

    async fn delete_team(&self, id: &str, by: &str, at: Timestamp) -> Result<(), DeleteTeamError> {
        let (id, by) = (id.to_owned(), by.to_owned());
        let job = move |db: &Connection| delete(db, &id, &by, at);
        self.write(Kind::KEY, job).await
    }

    async fn was_deleted(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.read(move |db| Ok(first(db, sql!("team_deleted"), [&id], |_| Ok(()))?.is_some()))
            .await
    }

    async fn add_key(&self, key: ApiKey, by: &str) -> Result<(), AddKeyError> {
        let by = by.to_owned();
        let job = move |db: &Connection| access::add_key(db, &key, &by);
        self.write(Kind::KEY, job).await
    }

    async fn key_by_hash(&self, hash: [u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        self.read(move |db| access::key_by_hash(db, &hash)).await
    }

    async fn keys(
        &self,
        team: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<ApiKey, String>, StoreError> {
        let team = team.to_owned();
        self.read(move |db| access::keys(db, &team, after.as_deref(), limit))
            .await
    }

    async fn revoke_key(
        &self,
        team: &str,
        name: &str,
        by: &str,
        at: Timestamp,
    ) -> Result<bool, RevokeKeyError> {
        let (team, name, by) = (team.to_owned(), name.to_owned(), by.to_owned());
        let job = move |db: &Connection| access::revoke_key(db, &team, &name, &by, at);
        self.write(Kind::KEY, job).await
    }

    async fn allow(
        &self,
        team: &str,
        device: DeviceId,
        kid: Kid,
        by: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let (team, by) = (team.to_owned(), by.to_owned());
        let job = move |db: &Connection| access::allow(db, &team, device, kid, &by, at);
        self.write(Kind::ALLOW, job).await
    }

    async fn disallow(
        &self,
        team: &str,
        device: DeviceId,
        by: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let (team, by) = (team.to_owned(), by.to_owned());
        let job = move |db: &Connection| access::disallow(db, &team, device, &by, at);
        self.write(Kind::ALLOW, job).await
    }

    async fn allowed(&self, team: &str, device: DeviceId) -> Result<Option<Kid>, StoreError> {
        let team = team.to_owned();
        self.read(move |db| access::allowed(db, &team, device))
            .await
    }

    async fn allow_list(
        &self,
        team: &str,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Page<Allowed, DeviceId>, StoreError> {
        let team = team.to_owned();
        self.read(move |db| access::allow_list(db, &team, after, limit))
            .await
    }
}

pub(crate) fn adopt(db: &Connection, home: &Team) -> Result<(), StoreError> {
    if team(db, &home.id)?.is_none() {
        put(db, home)?;
    }
    execute(db, sql!("keys_adopt"), [&home.id])?;
    execute(db, sql!("allowed_adopt"), [&home.id])?;
    Ok(())
}

fn put(db: &Connection, team: &Team) -> Result<(), StoreError> {
    let row = params![team.id, team.name, team.topic_prefix, time(team.created_at)];
    execute(db, sql!("team_insert"), row).map(drop)
}

pub(crate) fn team(db: &Connection, id: &str) -> Result<Option<Team>, StoreError> {
    first(db, sql!("team_by_id"), [id], rows::team)
}

/// Whether a team was deleted, so that nothing may become its own any more.
pub(crate) fn is_gone(db: &Connection, id: &str) -> Result<bool, StoreError> {
    let gone = first(db, sql!("team_gone"), [id], |row| get::<bool>(row, 0))?;
    Ok(gone.unwrap_or(true))
}

/// Whether the topics of a team lie below this level.
pub(crate) fn has_prefix(db: &Connection, level: &str) -> Result<bool, StoreError> {
    let found = first(db, sql!("team_by_topic_prefix"), [level], |_| Ok(()))?;
    Ok(found.is_some())
}

pub(crate) fn by_name(db: &Connection, name: &str) -> Result<Option<Team>, StoreError> {
    first(db, sql!("team_by_name"), [name], rows::team)
}

pub(crate) fn page(
    db: &Connection,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<Team, String>, StoreError> {
    let _snapshot = db.unchecked_transaction().map_err(read_error)?;
    let (limit, rows) = limits(limit);
    let range = params![after.unwrap_or(""), rows];
    let mut items = all(db, sql!("teams_page"), range, rows::team)?;
    let next = cut(&mut items, limit).map(|last| last.id.clone());
    let total = count(db, "teams")?;
    Ok(Page { items, next, total })
}

fn device_totals(db: &Connection) -> Result<(u64, u64), StoreError> {
    let _snapshot = db.unchecked_transaction().map_err(read_error)?;
    let (mut claimed, mut blocked) = (0, 0);
    let mut after = String::new();
    loop {
        let range = params![after, 100];
        let teams = all(db, sql!("teams_page"), range, rows::team)?;
        let Some(last) = teams.last() else {
            return Ok((claimed + blocked, blocked));
        };
        after.clone_from(&last.id);
        for team in &teams {
            claimed += counted(db, &team.id, "", &[0, 1], &[0])?;
            blocked += counted(db, &team.id, "", &[0, 1], &[1])?;
        }
    }
}

pub(crate) fn add(db: &Connection, team: &Team, by: &str) -> Result<(), AddTeamError> {
    if by_name(db, &team.name)?.is_some() {
        return Err(AddTeamError::NameTaken {
            name: team.name.clone(),
        });
    }
    if let Some(prefix) = &team.topic_prefix
        && (has_prefix(db, prefix)? || foreign::is_a_top_level(db, prefix)?)
    {
        return Err(AddTeamError::PrefixTaken {
            prefix: prefix.clone(),
        });
    }
    put(db, team)?;
    let added = AuditEvent::new(team.created_at, by, "team-created")
        .team(&team.id)
        .detail(&team.name)
        .changed(Value::Null, said(team));
    Ok(audit::insert(db, &added)?)
}

pub(crate) fn rename(
    db: &Connection,
    id: &str,
    name: &str,
    by: &str,
    at: Timestamp,
) -> Result<Team, AddTeamError> {
    let mut team = team(db, id)?.ok_or(AddTeamError::Unknown)?;
    if by_name(db, name)?.is_some_and(|other| other.id != id) {
        return Err(AddTeamError::NameTaken {
            name: name.to_owned(),
        });
    }
    let before = said(&team);
    name.clone_into(&mut team.name);
    execute(db, sql!("team_rename"), [id, name])?;
    let renamed = AuditEvent::new(at, by, "team-changed")
        .team(id)
        .detail(name)
        .changed(before, said(&team));
    audit::insert(db, &renamed)?;
    Ok(team)
}

pub(crate) fn delete(
    db: &Connection,
    id: &str,
    by: &str,
    at: Timestamp,
) -> Result<(), DeleteTeamError> {
    let team = team(db, id)?.ok_or(DeleteTeamError::Unknown)?;
    let devices = counted(db, id, "", &[0, 1], &[0, 1])?;
    let registered = count(db, &format!("registered:{id}"))?;
    if devices > 0 || registered > 0 {
        return Err(DeleteTeamError::InUse {
            devices,
            registered,
        });
    }
    execute(db, sql!("keys_revoke_team"), params![id, time(at)])?;
    execute(db, sql!("allowed_delete_team"), [id])?;
    execute(db, sql!("rules_delete_team"), [id])?;
    execute(db, sql!("tags_unregister_team"), [id])?;
    execute(db, sql!("webhooks_delete_team"), [id])?;
    execute(db, sql!("team_delete"), [id])?;
    let deleted = AuditEvent::new(at, by, "team-deleted")
        .team(id)
        .detail(&team.name)
        .changed(said(&team), Value::Null);
    Ok(audit::insert(db, &deleted)?)
}

fn said(team: &Team) -> Value {
    json!({ "name": team.name, "topicPrefix": team.topic_prefix })
}
