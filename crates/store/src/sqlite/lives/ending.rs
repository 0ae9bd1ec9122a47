//! What a forecast reads, page by page and in the order of time: certificates that end, ours and others', and renewals under way.

use super::rows::{at, by_spki, life, renewal};
use crate::contract::StoreError;
use crate::contract::lives::{
    Ending, EndingCursor, EndingQuery, ForeignCursor, ForeignEnding, ForeignEndingQuery,
    RenewalQuery, RenewalSeen, Spki,
};
use crate::record::{Page, View};
use crate::sqlite::devices;
use crate::sqlite::rows::{all, damaged, first, get, int, sql, time};
use rusqlite::{Connection, Row, params};

pub(super) fn endings(
    db: &Connection,
    query: &EndingQuery,
) -> Result<Page<Ending, EndingCursor>, StoreError> {
    let (limit, rows) = devices::limits(query.limit);
    let (after, spki) = cursor(query.after);
    let until = time(query.until);
    let mut lives = match &query.view {
        None => all(
            db,
            sql!("lives_ending"),
            params![after, &spki[..], until, rows],
            life,
        ),
        Some(view) => all(
            db,
            sql!("lives_ending_of_team"),
            params![after, &spki[..], until, rows, view.team],
            life,
        ),
    }?;
    let next = devices::cut(&mut lives, limit).map(|last| (last.not_after, last.spki_sha256));
    let mut items = Vec::with_capacity(lives.len());
    for life in lives {
        let Some(device) = devices::device(db, life.device)? else {
            continue;
        };
        let is_shown = query.view.as_ref().is_none_or(|view| view.shows(&device));
        if device.owner != life.team || !is_shown {
            continue;
        }
        items.push(Ending {
            renewal: first(db, sql!("renewal_by_old"), [&life.spki_sha256[..]], renewal)?,
            tags: device.tags,
            blocked: device.blocked,
            last_seen_at: device.last_seen_at,
            life,
        });
    }
    let total = items.len() as u64;
    Ok(Page { items, next, total })
}

pub(super) fn foreign_endings(
    db: &Connection,
    query: &ForeignEndingQuery,
) -> Result<Page<ForeignEnding, ForeignCursor>, StoreError> {
    let (limit, rows) = devices::limits(query.limit);
    let (after, number) = (time(query.after.0), int(query.after.1));
    let until = time(query.until);
    let read = |row: &Row<'_>| {
        let id: String = get(row, 0)?;
        let tags: String = get(row, 5)?;
        let tags = serde_json::from_str(&tags)
            .map_err(|e| damaged(format!("registered device {id}"), e))?;
        let number: i64 = get(row, 6)?;
        let ending = ForeignEnding {
            id,
            team: get(row, 1)?,
            serial: get(row, 2)?,
            der_sha256: get(row, 3)?,
            ends_at: at(row, 4)?,
            tags,
        };
        Ok((number.unsigned_abs(), ending))
    };
    let mut found = match &query.view {
        None => all(
            db,
            sql!("registered_ending"),
            params![after, number, until, rows],
            read,
        ),
        Some(view) => all(
            db,
            sql!("registered_ending_of_team"),
            params![after, number, until, rows, view.team],
            read,
        ),
    }?;
    let next = devices::cut(&mut found, limit).map(|(number, last)| (last.ends_at, *number));
    let mut items = Vec::with_capacity(found.len());
    for (_, ending) in found {
        if is_shown(db, &ending, query.view.as_ref())? {
            items.push(ending);
        }
    }
    let total = items.len() as u64;
    Ok(Page { items, next, total })
}

/// A device that is claimed is seen by who sees it, whatever was written beside its certificate. What is known by its
/// registration alone has no tags.
fn is_shown(
    db: &Connection,
    ending: &ForeignEnding,
    view: Option<&View>,
) -> Result<bool, StoreError> {
    let Some(view) = view else { return Ok(true) };
    let device = match ending.id.parse() {
        Ok(id) => devices::device(db, id)?,
        Err(_) => None,
    };
    Ok(device.map_or(view.tags.is_empty(), |device| view.shows(&device)))
}

pub(super) fn renewals(
    db: &Connection,
    query: &RenewalQuery,
) -> Result<Page<RenewalSeen, EndingCursor>, StoreError> {
    let (limit, rows) = devices::limits(query.limit);
    let (after, old) = cursor(query.after);
    let mut runs = match &query.view {
        None => all(
            db,
            sql!("renewals_open"),
            params![after, &old[..], rows],
            renewal,
        ),
        Some(view) => all(
            db,
            sql!("renewals_open_of_team"),
            params![after, &old[..], rows, view.team],
            renewal,
        ),
    }?;
    let next = devices::cut(&mut runs, limit).map(|last| (last.started_at, last.old));
    let mut items = Vec::with_capacity(runs.len());
    for run in runs {
        let Some(device) = devices::device(db, run.device)? else {
            continue;
        };
        if query.view.as_ref().is_some_and(|view| !view.shows(&device)) {
            continue;
        }
        items.push(RenewalSeen {
            old: by_spki(db, &run.old)?,
            new: match &run.new {
                Some(new) => by_spki(db, new)?,
                None => None,
            },
            last_seen_at: device.last_seen_at,
            run,
        });
    }
    let total = items.len() as u64;
    Ok(Page { items, next, total })
}

/// Before everything, when there is no cursor.
fn cursor(after: Option<EndingCursor>) -> (i64, Spki) {
    after.map_or((-1, [0; 32]), |(at, spki)| (time(at), spki))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_per_fleet_is_found_by_an_index() {
        let mut db = Connection::open_in_memory().unwrap();
        crate::sqlite::migrate::migrate(&mut db).unwrap_or_else(|e| panic!("{e:?}"));
        for (sql, index) in [
            (sql!("lives_ending"), "lives_by_end"),
            (sql!("lives_ending_of_team"), "lives_by_team_and_end"),
            (sql!("lives_of_device"), "lives_by_device"),
            (sql!("renewals_of_device"), "renewals_by_device"),
            (sql!("renewal_by_new"), "renewals_by_new"),
            (sql!("registered_ending"), "registered_certificates_by_end"),
            (
                sql!("registered_ending_of_team"),
                "registered_certificates_by_team_and_end",
            ),
            (sql!("renewals_open"), "renewals_open"),
            (sql!("renewals_open_of_team"), "renewals_open_by_team"),
        ] {
            let mut explained = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let count = explained.parameter_count();
            let none = vec![rusqlite::types::Null; count];
            let plan: Vec<String> = explained
                .query_map(rusqlite::params_from_iter(none), |row| row.get(3))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            let plan = plan.join("; ");
            assert!(
                plan.contains("SEARCH") && plan.contains(index),
                "{plan}\n{sql}"
            );
            assert!(
                !plan.contains("SCAN") && !plan.contains("TEMP B-TREE"),
                "{plan}\n{sql}"
            );
        }
    }
}
