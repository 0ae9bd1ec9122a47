//! A device's queue, and the commit of a decision about it.

use crate::contract::{CommitError, StoreError};
use crate::record::{Committed, DeviceChange, Issued, Loaded, View};
use crate::seal::SealKey;
use crate::sqlite::rows::{self, all, damaged, first, get, int, sql, time};
use crate::sqlite::{audit, devices, execute, lives, outbox, read_error, rules};
use rusqlite::{Connection, params};
use sectag_proto::es256::PublicKey;
use sectag_proto::service::{Command, Queue};
use sectag_proto::{CommandId, DeviceId};

pub(crate) fn queue(
    db: &Connection,
    id: DeviceId,
    named: &[CommandId],
    seal: &SealKey,
) -> Result<Option<Loaded>, StoreError> {
    // One snapshot for all that follows; dropped, it ends without a trace.
    let _snapshot = db.unchecked_transaction().map_err(read_error)?;
    let both = |row: &rusqlite::Row<'_>| Ok((rows::device(row)?, rules::seen(row)?));
    let found = first(db, sql!("device_for_queue"), [id.as_bytes()], both)?;
    let Some((device, (rules_generation, rules_seen))) = found else {
        return Ok(None);
    };
    let open = |row: &rusqlite::Row<'_>| rows::command(row, id, Some(seal));
    let mut commands = all(db, sql!("commands_open"), [id.as_bytes()], open)?;
    for &name in named {
        if commands.iter().all(|command| command.id != name) {
            commands.extend(command(db, id, name)?);
        }
    }
    let queue = Queue::new(id, commands, device.next_sequence);
    Ok(Some(Loaded {
        device,
        queue,
        rules_generation,
        rules_seen,
    }))
}

pub(crate) fn command(
    db: &Connection,
    device: DeviceId,
    id: CommandId,
) -> Result<Option<Command>, StoreError> {
    let key = [device.as_bytes(), id.as_bytes()];
    first(db, sql!("command_by_id"), key, |row| {
        rows::command(row, device, None)
    })
}

pub(crate) fn commands(db: &Connection, device: DeviceId) -> Result<Vec<Command>, StoreError> {
    let read = |row: &rusqlite::Row<'_>| rows::command(row, device, None);
    all(db, sql!("commands_all"), [device.as_bytes()], read)
}

pub(crate) fn seen(
    db: &Connection,
    view: &View,
    device: DeviceId,
    only: Option<CommandId>,
) -> Result<Option<Vec<Command>>, StoreError> {
    let _snapshot = db.unchecked_transaction().map_err(read_error)?;
    let known = devices::device(db, device)?;
    if !known.is_some_and(|known| view.shows(&known)) {
        return Ok(None);
    }
    let found = match only {
        Some(id) => command(db, device, id)?.into_iter().collect(),
        None => commands(db, device)?,
    };
    Ok(Some(found))
}

/// A change with its texts written and its secrets sealed: all that can be done outside of the writer's thread.
#[derive(Debug)]
pub(crate) struct Prepared {
    device: DeviceId,
    version: u64,
    change: DeviceChange,
    texts: Vec<Texts>,
}

/// The parts of a command that are not columns of plain values.
#[derive(Debug)]
struct Texts {
    request: String,
    response: Option<String>,
    on_error: Option<String>,
    secrets: Option<Vec<u8>>,
}

pub(crate) fn prepare(
    device: DeviceId,
    version: u64,
    mut change: DeviceChange,
    seal: &SealKey,
) -> Result<Prepared, StoreError> {
    if let Some(issued) = change.issued.iter().find(|issued| issued.device != device) {
        return Err(StoreError::Misuse {
            what: format!(
                "record a certificate of device {} in a change of device {device}",
                issued.device
            ),
        });
    }
    let mut texts = Vec::with_capacity(change.commands.len());
    for command in &mut change.commands {
        let what = format!("command {} of device {device}", command.id);
        let secrets = match &command.request.secrets()[..] {
            secrets if secrets.is_empty() || command.status.is_terminal() => None,
            secrets => Some(seal.seal(device, command.id, secrets).map_err(|_| {
                StoreError::Unavailable {
                    action: "seal a secret",
                    reason: format!("no random numbers for {what}"),
                }
            })?),
        };
        let text = |e: serde_json::Error| damaged(what.clone(), e);
        texts.push(Texts {
            request: serde_json::to_string(&command.request).map_err(text)?,
            response: command
                .response
                .as_ref()
                .map(serde_json::to_string)
                .transpose()
                .map_err(text)?,
            on_error: (!command.on_error.is_vendor_default())
                .then(|| serde_json::to_string(&command.on_error))
                .transpose()
                .map_err(text)?,
            secrets,
        });
        // What waits for the writer waits without the secrets.
        command.request.erase_secrets();
    }
    Ok(Prepared {
        device,
        version,
        change,
        texts,
    })
}

pub(crate) fn commit(db: &Connection, prepared: &Prepared) -> Result<Committed, CommitError> {
    let Prepared {
        device,
        version,
        change,
        texts,
    } = prepared;
    let id = device.as_bytes();
    let advanced = execute(
        db,
        sql!("device_advance"),
        params![
            id,
            int(*version),
            change.next_sequence,
            change.last_seen_at.map(time),
            change.finished_at.map(time),
        ],
    )?;
    if advanced == 0 {
        let current = first(db, sql!("device_version"), [id], |row| get::<i64>(row, 0))?;
        return Err(match current {
            None => CommitError::Gone,
            Some(current) => CommitError::Conflict {
                current: u64::try_from(current).map_err(|e| damaged("version", e))?,
            },
        });
    }
    if let Some(pin) = &change.pin {
        set_pin(db, *device, pin)?;
    }
    for (command, texts) in change.commands.iter().zip(texts) {
        put(db, *device, command, texts)?;
    }
    for removed in &change.removed {
        execute(db, sql!("command_delete"), [id, removed.as_bytes()])?;
    }
    for issued in &change.issued {
        put_issued(db, issued)?;
    }
    for life in &change.lives {
        lives::apply(db, life)?;
    }
    if let Some(rules) = &change.rules {
        rules::commit(db, *device, *version, rules)?;
    }
    for event in &change.audit {
        audit::insert(db, event)?;
    }
    for event in &change.events {
        outbox::insert(db, event)?;
    }
    Ok(Committed {
        version: version + 1,
    })
}

/// Pins one of the candidates and forgets the others. A pin is final.
fn set_pin(db: &Connection, device: DeviceId, pin: &PublicKey) -> Result<(), StoreError> {
    let known = first(db, sql!("device_keys"), [device.as_bytes()], |row| {
        Ok((rows::candidates(get(row, 0)?)?, rows::pin(get(row, 1)?)?))
    })?;
    let (mut candidates, pinned) = known.unwrap_or_default();
    candidates.retain(|candidate| candidate.key == *pin);
    if candidates.is_empty() || pinned.is_some_and(|pinned| pinned != *pin) {
        return Err(StoreError::Misuse {
            what: format!("pin key {} that is not one of device {device}", pin.kid()),
        });
    }
    let row = params![
        device.as_bytes(),
        rows::candidate_bytes(&candidates),
        pin.as_spki_der()
    ];
    execute(db, sql!("device_pin"), row).map(drop)
}

fn put(
    db: &Connection,
    device: DeviceId,
    command: &Command,
    texts: &Texts,
) -> Result<(), StoreError> {
    let row = params![
        device.as_bytes(),
        command.id.as_bytes(),
        command.sequence,
        command.position.0,
        command.position.1,
        command.rule_id,
        command.description,
        texts.request,
        texts.secrets,
        command.status.as_str(),
        time(command.created_at),
        command.updated_at.map(time),
        command.requested_at.map(time),
        command.responded_at.map(time),
        command.covered_at.map(time),
        texts.response,
        texts.on_error,
        command.tries,
        command.parked,
    ];
    execute(db, sql!("command_put"), row).map(drop)
}

/// One certificate per public key, ever; the very same one again is no second.
fn put_issued(db: &Connection, new: &Issued) -> Result<(), CommitError> {
    let known = first(
        db,
        sql!("issued_by_spki"),
        [&new.spki_sha256[..]],
        rows::issued,
    )?;
    if let Some(known) = known {
        let same = known.device == new.device
            && known.command == new.command
            && known.certificate_der == new.certificate_der;
        return if same {
            Ok(())
        } else {
            Err(CommitError::KeyAlreadyIssued {
                device: known.device,
            })
        };
    }
    let row = params![
        &new.spki_sha256[..],
        new.serial,
        new.certificate_der,
        new.command.as_bytes(),
        new.device.as_bytes(),
        time(new.issued_at),
    ];
    execute(db, sql!("issued_insert"), row)?;
    Ok(())
}
