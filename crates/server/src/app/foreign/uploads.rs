//! Uploads: taken, shown, and worked off in the background.
//!
//! ```text
//!   team a  ▭ ▭ ▭ ─┐
//!   team b  ▭      ├─► one of each team in turn ─► 32 rows ─► 32 rows ─► …   with the rights of the key that sent it,
//!   team c  ▭ ▭   ─┘                                 └─ not possible: row by row     as long as it is a key
//! ```

use super::{Checked, RowRules, row::row};
use crate::app::{App, BULK_ROWS_MAX, Caller, ClaimRequest, OwnerError};
use crate::listen::Chain;
use crate::owner_api::csv_rows_up_to;
use sectag_proto::Timestamp;
use sectag_store::{
    Bulk, BulkKind, BulkRow, BulkStatus, BulkStepped, NewRegistration, Role, StoreError, Subject,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Rows in one transaction: long enough to share a disk write, short enough not to hold up devices.
const STEP_ROWS: usize = 32;
/// After a step that the store could not do.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the errors of an upload can be fetched without a key after it ended.
const ERRORS_OPEN: Duration = Duration::from_secs(3600);
/// Characters of what is kept of a row that failed.
const REASON_CHARS_MAX: usize = 500;
/// What the owner is told of a row that would keep all others waiting.
const STUCK: &str = "the service cannot work on it; its log says why";

impl App {
    /// Keeps an upload to be worked off; its id.
    ///
    /// # Errors
    /// [`OwnerError::Malformed`], [`OwnerError::Unprocessable`] for too many rows, [`OwnerError::QueueFull`], [`OwnerError::Store`].
    pub async fn later(
        &self,
        caller: &Caller,
        kind: BulkKind,
        body: &[u8],
    ) -> Result<String, OwnerError> {
        let rows = rows_of(body)?.len();
        if rows == 0 {
            return Err(OwnerError::Malformed("CSV: there is no row".to_owned()));
        }
        let now = self.now();
        let mut random = [0_u8; 26];
        getrandom::fill(&mut random)
            .map_err(|e| OwnerError::QueueFull(format!("no random numbers: {e}")))?;
        let (for_id, for_secret) = random.split_at(10);
        let id = ulid(now, for_id);
        let bulk = Bulk {
            id: id.clone(),
            kind,
            team: caller.team.clone(),
            by: caller.name.clone(),
            role: caller.role,
            scope: caller.scope.clone(),
            status: BulkStatus::Pending,
            total: rows as u64,
            done: 0,
            failed: 0,
            created_at: now,
            finished_at: None,
            body: body.to_vec(),
            errors: Vec::new(),
            secret: crate::app::hex(for_secret),
        };
        if !self.store.add_bulk(bulk).await? {
            return Err(OwnerError::QueueFull(format!(
                "{} uploads of this team are not worked off yet; wait for them",
                sectag_store::BULK_OPEN_MAX
            )));
        }
        tracing::info!(upload = %id, rows, kind = kind.as_str(), by = %caller.name, "upload taken");
        self.uploads.notify_one();
        Ok(id)
    }

    /// An upload of the caller's team.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn upload(&self, caller: &Caller, id: &str) -> Result<Bulk, OwnerError> {
        let found = match is_ulid(id) {
            true => self.store.bulk(id).await?,
            false => None,
        };
        if found.as_ref().is_some_and(|bulk| bulk.status.is_finished()) {
            // Whoever hears that it is done finds the broker ready.
            self.doorkeeper.settled().await;
        }
        found
            .filter(|bulk| bulk.team == caller.team)
            .filter(|bulk| caller.scope.is_empty() || caller.name == bulk.by)
            .ok_or_else(|| no_upload(id))
    }

    /// The rows of an upload that failed, for whoever knows the secret of its path, within an hour of its end.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn upload_errors(&self, id: &str, secret: &str) -> Result<Vec<String>, OwnerError> {
        let found = match is_ulid(id) {
            true => self.store.bulk(id).await?,
            false => None,
        };
        found
            .filter(|bulk| self.shows_errors(bulk))
            // 128 random bits: whoever measures how long this takes learns nothing that could be guessed on.
            .filter(|bulk| {
                sectag_pki::sha256(bulk.secret.as_bytes()) == sectag_pki::sha256(secret.as_bytes())
            })
            .map(|bulk| bulk.errors)
            .ok_or_else(|| no_upload(id))
    }

    /// Whether the errors of an upload can be fetched without a key at this moment.
    pub fn shows_errors(&self, bulk: &Bulk) -> bool {
        let fresh = |at| self.now().since(at) < ERRORS_OPEN;
        bulk.status == BulkStatus::Failed && bulk.finished_at.is_some_and(fresh)
    }

    /// Works uploads off, one of each team in turn, until the service ends. What is left goes on with the next start.
    pub(crate) async fn work_off(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let work = async {
            let mut last = String::new();
            loop {
                match self.next_turn(&mut last).await {
                    Ok(true) => {}
                    Ok(false) => self.uploads.notified().await,
                    Err(e) => {
                        let reason = Chain(&e).to_string();
                        tracing::warn!(%reason, "an upload cannot be worked off, and is tried again");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = work => {}
            _ = stopped.wait_for(|asked| *asked) => {}
        }
    }

    /// Works one upload off, of the next team behind `last` that has one; whether there was one.
    async fn next_turn(self: &Arc<Self>, last: &mut String) -> Result<bool, OwnerError> {
        let Some((team, id)) = self.store.next_bulk(last).await? else {
            return Ok(false);
        };
        // Also when this one stays behind: the next team does not wait for it.
        *last = team;
        match self.work_through(&id).await {
            Err(e) if !may_pass(&e) => {
                let reason = Chain(&e).to_string();
                tracing::error!(upload = %id, %reason, "an upload cannot be worked off, and fails");
                self.store.fail_bulk(&id, STUCK, self.now()).await?;
            }
            worked => worked?,
        }
        Ok(true)
    }

    /// Works the rest of an upload off, some rows at a time. When that is not possible, row by row, and the one that it is
    /// not possible for fails.
    async fn work_through(self: &Arc<Self>, id: &str) -> Result<(), OwnerError> {
        let Some(mut bulk) = self.store.bulk_with_body(id).await? else {
            return Ok(());
        };
        let caller = self.caller_of(&bulk);
        let rows = rows_of(&std::mem::take(&mut bulk.body)).unwrap_or_default();
        let total = usize::try_from(bulk.total).unwrap_or(usize::MAX);
        if rows.len() != total {
            tracing::error!(upload = %id, rows = rows.len(), total, "what was kept of an upload is damaged");
            self.store.fail_bulk(id, STUCK, self.now()).await?;
            return Ok(());
        }
        let mut done = usize::try_from(bulk.done).unwrap_or(usize::MAX);
        let mut at_once = STEP_ROWS;
        loop {
            if let Some(reason) = self.store.bulk_halted(id, self.now()).await? {
                tracing::info!(upload = %id, done, rows = total, %reason, "upload ended");
                self.store.fail_bulk(id, &reason, self.now()).await?;
                return Ok(());
            }
            let until = total.min(done.saturating_add(at_once));
            let step = rows.get(done..until).unwrap_or_default().to_vec();
            let stepped = match self.step(&bulk, &caller, done as u64, step).await {
                Err(e) if !may_pass(&e) && until - done > 1 => {
                    at_once = 1;
                    continue;
                }
                Err(e) if !may_pass(&e) => {
                    let reason = Chain(&e).to_string();
                    tracing::error!(upload = %id, row = done, %reason, "a row of an upload cannot be worked on, and fails");
                    at_once = STEP_ROWS;
                    let failed = vec![Err(STUCK.to_owned())];
                    let now = self.now();
                    self.store.step_bulk(id, done as u64, failed, now).await?
                }
                stepped => stepped?,
            };
            done = until;
            if stepped.status.is_finished() {
                tracing::info!(upload = %id, rows = total, status = stepped.status.as_str(), "upload worked off");
                return Ok(());
            }
        }
    }

    /// Does some rows. A panic ends only these.
    async fn step(
        self: &Arc<Self>,
        bulk: &Bulk,
        caller: &Caller,
        from: u64,
        rows: Vec<Vec<String>>,
    ) -> Result<BulkStepped, OwnerError> {
        let (app, caller) = (self.clone(), caller.clone());
        let (id, kind) = (bulk.id.clone(), bulk.kind);
        let mut alone = JoinSet::new();
        alone.spawn(async move {
            let rows = match kind {
                BulkKind::Register => app.registrations(&caller, rows).await?,
                BulkKind::Claim => app.claims(&caller, rows).await?,
            };
            Ok(app.store.step_bulk(&id, from, rows, app.now()).await?)
        });
        let panicked = || Err(StoreError::Closed.into());
        alone
            .join_next()
            .await
            .and_then(Result::ok)
            .unwrap_or_else(panicked)
    }

    async fn registrations(
        &self,
        caller: &Caller,
        rows: Vec<Vec<String>>,
    ) -> Result<Vec<BulkRow>, OwnerError> {
        let team = self.store.team(&caller.team).await?;
        let rules = RowRules {
            now: self.now(),
            is_home: self.is_home(&caller.team),
            has_prefix: team.is_some_and(|team| team.topic_prefix.is_some()),
            is_scoped: !caller.scope.is_empty(),
        };
        let home = self.issuers.for_team(&self.owner);
        let mut checked = Vec::with_capacity(rows.len());
        for fields in rows {
            checked.push(match row(&fields, &rules) {
                // What a certificate says of itself is as long as somebody likes.
                Err(reason) => Err(reason.chars().take(REASON_CHARS_MAX).collect()),
                // Or a team would draw the home's clients below its own topics. What teams' CAs sign is known by its key.
                Ok(new)
                    if !rules.is_home
                        && home.as_ref().is_some_and(|ca| new.is_of(ca, rules.now)) =>
                {
                    Err(NewRegistration::CERTIFICATE_REFUSED.to_owned())
                }
                Ok(new) => match self.may_be_registered(caller, &new).await? {
                    true => Ok(Some(new.into())),
                    false => Err(NewRegistration::ID_REFUSED.to_owned()),
                },
            });
        }
        Ok(checked)
    }

    /// What the store does not ask for: whether the key may see the device.
    async fn may_be_registered(&self, caller: &Caller, new: &Checked) -> Result<bool, OwnerError> {
        Ok(match &new.subject {
            Subject::Device(device) => match self.store.device(*device).await? {
                Some(device) => caller.sees(&device),
                None => !new.needs_claim,
            },
            Subject::Named(_) => true,
        })
    }

    async fn claims(
        self: &Arc<Self>,
        caller: &Caller,
        rows: Vec<Vec<String>>,
    ) -> Result<Vec<BulkRow>, OwnerError> {
        let requests = rows.into_iter().map(ClaimRequest::of_row).collect();
        let answers = self.claim_many(requests, caller).await?;
        let told = |answer: Result<_, OwnerError>| match answer {
            Ok(_) => Ok(None),
            Err(OwnerError::Store(_)) => Err(STUCK.to_owned()),
            Err(e) => Err(e.to_string()),
        };
        Ok(answers.into_iter().map(told).collect())
    }

    /// With the rights that the key had when the upload came.
    fn caller_of(&self, bulk: &Bulk) -> Caller {
        Caller {
            name: bulk.by.clone(),
            role: bulk.role,
            team: bulk.team.clone(),
            scope: bulk.scope.clone(),
            sees_reserved: bulk.role >= Role::Admin || !self.admin_claims_hidden,
        }
    }
}

/// Whether trying later may help: the disk is full, or claims stood in each other's way. What is damaged stays so.
const fn may_pass(e: &OwnerError) -> bool {
    !matches!(e, OwnerError::Store(e) if !matches!(e, StoreError::Unavailable { .. }))
}

/// The rows of an upload.
///
/// # Errors
/// [`OwnerError::Malformed`], [`OwnerError::Unprocessable`] for more than [`BULK_ROWS_MAX`] rows.
pub(crate) fn rows_of(body: &[u8]) -> Result<Vec<Vec<String>>, OwnerError> {
    let malformed = |reason: &str| OwnerError::Malformed(format!("CSV: {reason}"));
    // Its marks at the start, or every other byte of plain letters.
    if matches!(
        body,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, ..] | [_, 0, ..]
    ) {
        return Err(malformed("this is UTF-16; save it as UTF-8"));
    }
    let text = std::str::from_utf8(body).map_err(|_| malformed("this is not UTF-8"))?;
    // As spreadsheets write it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    csv_rows_up_to(text, BULK_ROWS_MAX)
        .map_err(|line| malformed(&format!("quotes do not match in line {line}")))?
        .ok_or_else(|| OwnerError::Unprocessable(format!("more than {BULK_ROWS_MAX} rows")))
}

fn no_upload(id: &str) -> OwnerError {
    OwnerError::NotFound {
        what: "upload",
        id: id.chars().filter(|c| !c.is_control()).take(64).collect(),
    }
}

const ULID_DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const ULID_CHARS: usize = 26;

/// 48 bits of time and 80 random ones in 26 characters, as the vendor's ids look: sorted by time.
fn ulid(now: Timestamp, random: &[u8]) -> String {
    let mut number = u128::from(now.0 & 0xffff_ffff_ffff) << 80;
    for (at, byte) in random.iter().take(10).enumerate() {
        number |= u128::from(*byte) << (8 * (9 - at));
    }
    (0..ULID_CHARS)
        .rev()
        .map(|place| char::from(ULID_DIGITS[(number >> (5 * place)) as usize & 31]))
        .collect()
}

fn is_ulid(id: &str) -> bool {
    id.len() == ULID_CHARS && id.bytes().all(|digit| ULID_DIGITS.contains(&digit))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_uploads_look_like_the_vendors_and_sort_by_time() {
        let early = ulid(Timestamp(1_745_924_553_377), &[0xff; 10]);
        let late = ulid(Timestamp(1_745_924_553_378), &[0; 10]);
        assert!(early < late && is_ulid(&early) && is_ulid(&late));
        assert_eq!(late, "01JT0KCYN20000000000000000");
        assert!(!is_ulid("01JT0KCYN2000000000000000U") && !is_ulid("1"));
    }

    #[test]
    fn what_spreadsheets_and_wrong_encodings_make_of_a_list() {
        let rows = rows_of(b"\xef\xbb\xbf\"a\",\"b\"\r\nc\r\n").unwrap();
        assert_eq!(rows, [vec!["a", "b"], vec!["c"]]);
        let wide: Vec<u8> = "a,b\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked = [&[0xff, 0xfe], &wide[..]].concat();
        for (body, words) in [
            (&wide[..], "UTF-16"),
            (&marked, "UTF-16"),
            (b"\0a", "UTF-16"),
            (b"a\xff", "not UTF-8"),
            (b"a\n\"b\nc", "quotes do not match in line 2"),
            (&b"a\n".repeat(BULK_ROWS_MAX + 1), "more than 1000 rows"),
        ] {
            let said = rows_of(body).unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
        // One row is one row, whatever is in it; what it is worth is asked later.
        let long = "x".repeat(1 << 20);
        assert_eq!(rows_of(long.as_bytes()).unwrap(), [[long]]);
        assert_eq!(rows_of(b"aa\0b\rc").unwrap(), [["aa\0b\rc"]]);
    }
}
