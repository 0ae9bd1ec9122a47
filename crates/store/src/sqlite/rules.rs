//! Rules, tags, and what a device has of them.

use crate::contract::rules::{RULES_MAX, RuleStoreError, Rules, TAGS_OF_TEAM_MAX};
use crate::contract::{CommitError, StoreError};
use crate::record::rules::{ActiveRules, RulesChange, Tag};
use crate::record::{AuditEvent, Page};
use crate::seal::SealKey;
use crate::sqlite::devices::{count, cut, limits};
use crate::sqlite::rows::{self, all, damaged, first, get, int, sql, time};
use crate::sqlite::writer::Kind;
use crate::sqlite::{SqliteStore, audit, execute, read_error};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use sectag_proto::rules::{Rule, RuleState};
use sectag_proto::secret::SecretText;
use sectag_proto::{DeviceId, RuleId, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

#[async_trait]
impl Rules for SqliteStore {
    async fn add_rule(&self, team: &str, rule: Rule, by: &str) -> Result<(), RuleStoreError> {
        let (team, by) = (team.to_owned(), by.to_owned());
        let texts = Texts::of(&rule, &self.seal)?;
        let job = move |db: &Connection| add(db, &team, &rule, &texts, &by);
        self.write(Kind::RECORD, job).await
    }

    async fn replace_rule(
        &self,
        team: &str,
        known: Rule,
        rule: Rule,
        by: &str,
        at: Timestamp,
    ) -> Result<(), RuleStoreError> {
        let (team, by, seal) = (team.to_owned(), by.to_owned(), Arc::clone(&self.seal));
        let texts = Texts::of(&rule, &self.seal)?;
        let job = move |db: &Connection| {
            let found =
                rule_of(db, &team, rule.id, &seal)?.ok_or(RuleStoreError::Unknown(rule.id))?;
            replace(
                db,
                &team,
                &Replacing {
                    found,
                    known,
                    rule,
                    texts,
                },
                &by,
                at,
            )
        };
        self.write(Kind::RECORD, job).await
    }

    async fn delete_rule(
        &self,
        team: &str,
        id: RuleId,
        by: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let (team, by, seal) = (team.to_owned(), by.to_owned(), Arc::clone(&self.seal));
        let job = move |db: &Connection| match rule_of(db, &team, id, &seal)? {
            None => Ok(false),
            Some(rule) => {
                execute(db, sql!("rule_delete"), params![id.as_bytes(), team])?;
                if rule.state == RuleState::Active {
                    raise_generation(db, &team)?;
                }
                let deleted = about(at, &by, "rule-deleted", &team, &rule);
                audit::insert(db, &deleted.changed(said(&rule)?, Value::Null))?;
                Ok(true)
            }
        };
        self.write(Kind::RECORD, job).await
    }

    async fn rule(&self, team: &str, id: RuleId) -> Result<Option<Rule>, StoreError> {
        let (team, seal) = (team.to_owned(), Arc::clone(&self.seal));
        self.read(move |db| rule_of(db, &team, id, &seal)).await
    }

    async fn rules(
        &self,
        team: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page<Rule, u64>, StoreError> {
        let team = team.to_owned();
        self.read(move |db| {
            let _snapshot = db.unchecked_transaction().map_err(read_error)?;
            let (limit, rows) = limits(limit);
            let page = params![team, int(after.unwrap_or(0)), rows];
            let mut items = all(db, sql!("rules_page"), page, |row| {
                Ok((get::<i64>(row, 0)?, rule(row, None)?))
            })?;
            let next = cut(&mut items, limit).map(|(number, _)| number.unsigned_abs());
            let total = count(db, &format!("rules:{team}"))?;
            let items = items.into_iter().map(|(_, rule)| rule).collect();
            Ok(Page { items, next, total })
        })
        .await
    }

    async fn active_rules(&self, team: &str) -> Result<ActiveRules, StoreError> {
        let (team, seal) = (team.to_owned(), Arc::clone(&self.seal));
        self.read(move |db| {
            let _snapshot = db.unchecked_transaction().map_err(read_error)?;
            Ok(ActiveRules {
                generation: generation(db, sql!("rules_generation"), params![team])?,
                rules: all(db, sql!("rules_active"), [&team], |row| {
                    rule(row, Some(&seal))
                })?,
            })
        })
        .await
    }

    async fn applied_rules(&self, device: DeviceId) -> Result<Vec<RuleId>, StoreError> {
        self.read(move |db| {
            all(db, sql!("rules_applied"), [device.as_bytes()], |row| {
                get(row, 0).map(RuleId::from_bytes)
            })
        })
        .await
    }

    async fn add_tag(&self, team: &str, tag: Tag, by: &str) -> Result<(), RuleStoreError> {
        let (team, by) = (team.to_owned(), by.to_owned());
        let job = move |db: &Connection| {
            if tag_of(db, &team, &tag.tag)?.is_some() {
                return Err(RuleStoreError::NameTaken {
                    what: "tag",
                    name: tag.tag,
                });
            }
            if count(db, &format!("tags:{team}"))? >= TAGS_OF_TEAM_MAX {
                return Err(RuleStoreError::TooMany {
                    what: "tags",
                    max: TAGS_OF_TEAM_MAX,
                });
            }
            let row = params![team, tag.tag, tag.description, time(tag.created_at)];
            execute(db, sql!("tag_register"), row)?;
            let created = AuditEvent::new(tag.created_at, &by, "tag-created")
                .team(&team)
                .detail(tag.tag.clone());
            let after = json!({ "tag": tag.tag, "description": tag.description });
            Ok(audit::insert(db, &created.changed(Value::Null, after))?)
        };
        self.write(Kind::RECORD, job).await
    }

    async fn delete_tag(
        &self,
        team: &str,
        tag: &str,
        by: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let (team, tag, by) = (team.to_owned(), tag.to_owned(), by.to_owned());
        let job = move |db: &Connection| {
            let Some(known) = tag_of(db, &team, &tag)? else {
                return Ok(false);
            };
            execute(db, sql!("tag_unregister"), [&team, &tag])?;
            let deleted = AuditEvent::new(at, &by, "tag-deleted")
                .team(&team)
                .detail(tag.clone());
            let before = json!({ "tag": known.tag, "description": known.description });
            audit::insert(db, &deleted.changed(before, Value::Null))?;
            Ok(true)
        };
        self.write(Kind::RECORD, job).await
    }

    async fn tag(&self, team: &str, tag: &str) -> Result<Option<Tag>, StoreError> {
        let (team, tag) = (team.to_owned(), tag.to_owned());
        self.read(move |db| tag_of(db, &team, &tag)).await
    }

    async fn tags(
        &self,
        team: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<Tag, String>, StoreError> {
        let team = team.to_owned();
        self.read(move |db| {
            let _snapshot = db.unchecked_transaction().map_err(read_error)?;
            let (limit, rows) = limits(limit);
            let page = params![team, after.unwrap_or_default(), rows];
            let mut items = all(db, sql!("tags_page"), page, tag_row)?;
            let next = cut(&mut items, limit).map(|last| last.tag.clone());
            let total = count(db, &format!("tags:{team}"))?;
            Ok(Page { items, next, total })
        })
        .await
    }
}

/// The generation of the team's rules, and whether the device has seen it: the last columns of `device_for_queue`.
pub(crate) fn seen(row: &Row<'_>) -> Result<(u64, bool), StoreError> {
    let seen: i64 = get(row, 14)?;
    let there = get::<Option<i64>>(row, 15)?.unwrap_or(0);
    Ok((there.unsigned_abs(), there == seen || there == 0))
}

/// The part of a commit that is about rules.
pub(crate) fn commit(
    db: &Connection,
    device: DeviceId,
    version: u64,
    change: &RulesChange,
) -> Result<(), CommitError> {
    let id = device.as_bytes();
    match change {
        RulesChange::Forgotten => {
            execute(db, sql!("rules_applied_delete"), [id])?;
            execute(db, sql!("device_rules_seen"), params![id, 0])?;
        }
        RulesChange::Applied {
            rules,
            generation: looked_at,
            done,
        } => {
            let there = generation(db, sql!("rules_generation_of_device"), params![id])?;
            if there != *looked_at {
                return Err(CommitError::Conflict { current: version });
            }
            for rule in rules {
                execute(db, sql!("rule_applied_insert"), [id, rule.as_bytes()])?;
            }
            if *done {
                let row = params![id, int(*looked_at)];
                execute(db, sql!("device_rules_seen"), row)?;
            }
        }
    }
    Ok(())
}

fn generation(
    db: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<u64, StoreError> {
    let found = first(db, sql, params, |row| get::<i64>(row, 0))?;
    Ok(found.map_or(0, i64::unsigned_abs))
}

fn raise_generation(db: &Connection, team: &str) -> Result<(), StoreError> {
    execute(db, sql!("rules_generation_raise"), [team]).map(drop)
}

/// A rule as it is kept.
struct Texts {
    content: String,
    secrets: Option<Vec<u8>>,
}

impl Texts {
    fn of(rule: &Rule, seal: &SealKey) -> Result<Self, StoreError> {
        let secrets: Vec<&SecretText> = rule
            .commands
            .iter()
            .flat_map(|command| command.request.secrets())
            .collect();
        let secrets = if secrets.is_empty() {
            None
        } else {
            let sealed = seal.seal_of_rule(rule.id, &secrets);
            Some(sealed.map_err(|_| StoreError::Unavailable {
                action: "seal a secret",
                reason: format!("no random numbers for rule {}", rule.id),
            })?)
        };
        let content =
            serde_json::to_string(rule).map_err(|e| damaged(format!("rule {}", rule.id), e))?;
        Ok(Self { content, secrets })
    }
}

fn add(
    db: &Connection,
    team: &str,
    rule: &Rule,
    texts: &Texts,
    by: &str,
) -> Result<(), RuleStoreError> {
    name_is_free(db, team, rule)?;
    if count(db, &format!("rules:{team}"))? >= RULES_MAX {
        return Err(RuleStoreError::TooMany {
            what: "rules",
            max: RULES_MAX,
        });
    }
    let row = params![
        rule.id.as_bytes(),
        team,
        rule.name,
        rule.state.as_str(),
        texts.content,
        texts.secrets
    ];
    execute(db, sql!("rule_insert"), row)?;
    let created = about(rule.created_at, by, "rule-created", team, rule);
    audit::insert(db, &created.changed(Value::Null, said(rule)?))?;
    if rule.state == RuleState::Active {
        activated(db, team, rule, by, rule.created_at)?;
    }
    Ok(())
}

struct Replacing {
    found: Rule,
    known: Rule,
    rule: Rule,
    texts: Texts,
}

fn replace(
    db: &Connection,
    team: &str,
    replacing: &Replacing,
    by: &str,
    at: Timestamp,
) -> Result<(), RuleStoreError> {
    let Replacing {
        found,
        known,
        rule,
        texts,
    } = replacing;
    let name = found.name.clone();
    if found.state == RuleState::Active {
        return Err(RuleStoreError::Active { name });
    }
    if found != known {
        return Err(RuleStoreError::Changed { name });
    }
    name_is_free(db, team, rule)?;
    let row = params![
        rule.id.as_bytes(),
        team,
        rule.name,
        rule.state.as_str(),
        texts.content,
        texts.secrets
    ];
    execute(db, sql!("rule_replace"), row)?;
    let still = Rule {
        state: rule.state,
        activated_at: rule.activated_at,
        ..found.clone()
    };
    if still != *rule {
        let changed = about(at, by, "rule-changed", team, rule);
        audit::insert(db, &changed.changed(said(found)?, said(rule)?))?;
    }
    if rule.state == RuleState::Active {
        activated(db, team, rule, by, at)?;
    }
    Ok(())
}

fn activated(
    db: &Connection,
    team: &str,
    rule: &Rule,
    by: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    raise_generation(db, team)?;
    let state = |state: RuleState| json!({ "state": state.as_str() });
    let activated = about(at, by, "rule-activated", team, rule)
        .changed(state(RuleState::Draft), state(RuleState::Active));
    audit::insert(db, &activated)
}

/// Another rule must not have this name.
fn name_is_free(db: &Connection, team: &str, rule: &Rule) -> Result<(), RuleStoreError> {
    let has = first(db, sql!("rule_by_name"), [team, &rule.name], |row| {
        get(row, 0).map(RuleId::from_bytes)
    })?;
    match has {
        Some(id) if id != rule.id => Err(RuleStoreError::NameTaken {
            what: "rule",
            name: rule.name.clone(),
        }),
        _ => Ok(()),
    }
}

fn about(at: Timestamp, by: &str, action: &str, team: &str, rule: &Rule) -> AuditEvent {
    AuditEvent::new(at, by, action)
        .team(team)
        .detail(format!("{} ({})", rule.name, rule.id))
}

/// A rule for the audit trail, its requests in outline.
fn said(rule: &Rule) -> Result<Value, StoreError> {
    let mut rule = rule.clone();
    for command in &mut rule.commands {
        command.request = command.request.outline();
    }
    let what = || format!("rule {}", rule.id);
    serde_json::to_value(&rule).map_err(|e| damaged(what(), e))
}

fn rule_of(
    db: &Connection,
    team: &str,
    id: RuleId,
    seal: &SealKey,
) -> Result<Option<Rule>, StoreError> {
    first(
        db,
        sql!("rule_by_id"),
        params![id.as_bytes(), team],
        |row| rule(row, Some(seal)),
    )
}

/// With its secrets when `seal` is given, with their digests otherwise.
fn rule(row: &Row<'_>, seal: Option<&SealKey>) -> Result<Rule, StoreError> {
    let id = RuleId::from_bytes(get(row, 1)?);
    let what = || format!("rule {id}");
    let content: String = get(row, 2)?;
    let mut rule: Rule = serde_json::from_str(&content).map_err(|e| damaged(what(), e))?;
    if let Some(seal) = seal
        && let Some(sealed) = get::<Option<Vec<u8>>>(row, 3)?
    {
        let secrets = seal
            .open_of_rule(id, &sealed)
            .map_err(|_| StoreError::Unsealable { what: what() })?;
        let mut secrets = secrets.into_iter();
        for command in &mut rule.commands {
            let count = command.request.secret_count();
            let own = secrets.by_ref().take(count).collect();
            command.request.restore_secrets(own);
        }
    }
    Ok(rule)
}

fn tag_of(db: &Connection, team: &str, tag: &str) -> Result<Option<Tag>, StoreError> {
    first(db, sql!("tag_by_name"), [team, tag], tag_row)
}

fn tag_row(row: &Row<'_>) -> Result<Tag, StoreError> {
    Ok(Tag {
        tag: get(row, 0)?,
        description: get(row, 1)?,
        created_at: rows::at(row, 2)?,
    })
}
