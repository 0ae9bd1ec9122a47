//! Certificates that the operator's own CA signed, registered by the thousand (spec/owner-api §10, docs/reference/registration.md).
//!
//! ```text
//!   CSV ─► kept as it came (202, an id) ─► row by row in the background: checked here, then in one transaction per step
//!                                              │  a row that fails is written down, and spoils no other
//!                                              └─ a stop or a crash between two steps: goes on with the next row
//! ```
//!
//! What is registered is pinned: the broker takes exactly these certificates, whoever signed them, as the device that they
//! name. So the CN has to be the id of the row, and the id has to be this team's to give: a UUID must be claimed by the team;
//! any other id is taken by whoever registers it first, below the team's own topics.

mod row;

pub(crate) use row::Checked;
pub use row::RowRules;
pub use row::row as checked_row;

use super::{App, BULK_ROWS_MAX, Caller, ClaimRequest, OwnerError};
use crate::owner_api::csv_rows_up_to;
use sectag_proto::Timestamp;
use sectag_store::{
    Bulk, BulkKind, BulkRow, BulkStatus, REGISTERED_ID_CHARS_MAX, Registered, Role, Subject,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Bytes of one upload: a thousand rows with a certificate of four kilobytes each.
pub const REGISTER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Rows in one transaction: long enough to share a disk write, short enough not to hold up devices.
const STEP_ROWS: usize = 32;
/// After a step that the store could not do.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the errors of an upload can be fetched without a key after it ended.
const ERRORS_OPEN: Duration = Duration::from_secs(3600);
/// Characters of a registered device's name.
const NAME_CHARS_MAX: usize = 256;

impl App {
    /// Keeps an upload of certificates to be worked off; its id.
    ///
    /// # Errors
    /// [`OwnerError::Malformed`], [`OwnerError::Unprocessable`] for too many rows, [`OwnerError::QueueFull`], [`OwnerError::Store`].
    pub async fn register_later(&self, caller: &Caller, body: &[u8]) -> Result<String, OwnerError> {
        self.later(caller, BulkKind::Register, body).await
    }

    /// Keeps an upload of claim tokens to be worked off; its id.
    ///
    /// # Errors
    /// As [`App::register_later`].
    pub async fn claim_later(&self, caller: &Caller, body: &[u8]) -> Result<String, OwnerError> {
        self.later(caller, BulkKind::Claim, body).await
    }

    async fn later(
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
            secret: super::hex(for_secret),
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

    /// A registered device that the caller may see.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn registered(&self, caller: &Caller, id: &str) -> Result<Registered, OwnerError> {
        let subject = self.registered_subject(caller, id).await?;
        let found = self.store.registered(subject, &caller.team).await?;
        found.ok_or_else(|| not_registered(id))
    }

    /// Names a registered device.
    ///
    /// # Errors
    /// [`OwnerError::Invalid`], [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn name_registered(
        &self,
        caller: &Caller,
        id: &str,
        name: &str,
    ) -> Result<Registered, OwnerError> {
        if name.is_empty()
            || name.chars().count() > NAME_CHARS_MAX
            || name.chars().any(char::is_control)
        {
            return Err(OwnerError::Invalid {
                field: "name",
                reason: format!("1 to {NAME_CHARS_MAX} characters, no control characters"),
            });
        }
        let subject = self.registered_subject(caller, id).await?;
        let (team, by) = (&caller.team, &caller.name);
        let named = self
            .store
            .name_registered(subject, team, name, by, self.now())
            .await?;
        match named {
            true => self.registered(caller, id).await,
            false => Err(not_registered(id)),
        }
    }

    /// Forgets a registered device; its certificates are taken back for good, and its sessions end.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn unregister(&self, caller: &Caller, id: &str) -> Result<(), OwnerError> {
        let subject = self.registered_subject(caller, id).await?;
        let (team, by) = (&caller.team, &caller.name);
        let gone = self.store.unregister(subject, team, by, self.now()).await?;
        self.doorkeeper.settled().await;
        match gone {
            true => {
                tracing::info!(device = %id, by, "registered device removed");
                Ok(())
            }
            false => Err(not_registered(id)),
        }
    }

    /// A key that is limited to tags sees the registrations of the devices it sees, and no others.
    async fn registered_subject(&self, caller: &Caller, id: &str) -> Result<Subject, OwnerError> {
        if id.chars().count() > REGISTERED_ID_CHARS_MAX {
            return Err(not_registered(id));
        }
        let subject = Subject::of(&canonical(id));
        match subject.device() {
            Some(device) => match self.may_register(caller, device).await {
                Err(OwnerError::NotFound { .. }) => Err(not_registered(id)),
                Err(e) => Err(e),
                Ok(()) => Ok(subject),
            },
            None if caller.scope.is_empty() => Ok(subject),
            None => Err(not_registered(id)),
        }
    }

    /// Works uploads off, oldest first, until the service ends. What is left goes on with the next start.
    pub(crate) async fn work_off(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let work = async {
            loop {
                match self.next_step().await {
                    Ok(true) => {}
                    Ok(false) => self.uploads.notified().await,
                    Err(reason) => {
                        tracing::warn!(%reason, "an upload cannot be worked off");
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

    /// Works the oldest upload off; whether there was one.
    async fn next_step(self: &Arc<Self>) -> Result<bool, OwnerError> {
        let Some(bulk) = self.store.open_bulk().await? else {
            return Ok(false);
        };
        let rows = rows_of(&bulk.body).unwrap_or_default();
        let caller = self.caller_of(&bulk);
        let total = usize::try_from(bulk.total).unwrap_or(usize::MAX);
        let mut done = usize::try_from(bulk.done).unwrap_or(usize::MAX);
        loop {
            let until = total.min(done.saturating_add(STEP_ROWS));
            // What was counted when it came and is not there any more is a damaged row.
            let step: Vec<Vec<String>> = (done..until)
                .map(|at| rows.get(at).cloned().unwrap_or_default())
                .collect();
            let step = match bulk.kind {
                BulkKind::Register => self.registrations(&caller, step).await?,
                BulkKind::Claim => self.claims(&caller, step).await?,
            };
            let stepped = self
                .store
                .step_bulk(&bulk.id, done as u64, step, self.now())
                .await?;
            done = until;
            if stepped.status.is_finished() {
                tracing::info!(upload = %bulk.id, rows = total, status = stepped.status.as_str(), "upload worked off");
                return Ok(true);
            }
        }
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
        let mut checked = Vec::with_capacity(rows.len());
        for fields in rows {
            checked.push(match row::row(&fields, &rules) {
                Err(reason) => Err(reason),
                Ok(new) => match self.may_be_registered(caller, &new).await? {
                    true => Ok(Some(new.into())),
                    false => Err(row::ID_REFUSED.to_owned()),
                },
            });
        }
        Ok(checked)
    }

    async fn may_be_registered(&self, caller: &Caller, new: &Checked) -> Result<bool, OwnerError> {
        match &new.subject {
            Subject::Device(device) => match self.may_register(caller, *device).await {
                Ok(()) => Ok(true),
                Err(OwnerError::NotFound { .. }) => Ok(false),
                Err(e) => Err(e),
            },
            // The first level of another team's topics.
            Subject::Named(id) => Ok(!self.is_home(&caller.team) || !self.doorkeeper.is_prefix(id)),
        }
    }

    async fn claims(
        self: &Arc<Self>,
        caller: &Caller,
        rows: Vec<Vec<String>>,
    ) -> Result<Vec<BulkRow>, OwnerError> {
        let requests = rows
            .into_iter()
            .map(|row| {
                let mut fields = row.into_iter();
                ClaimRequest {
                    token: fields.next().unwrap_or_default(),
                    tags: fields.next().into_iter().collect(),
                    accept_new_key: false,
                }
            })
            .collect();
        let answers = self.claim_many(requests, caller).await?;
        let told = |answer: Result<_, OwnerError>| match answer {
            Ok(_) => Ok(None),
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

/// A UUID in our spelling; anything else as it is.
fn canonical(id: &str) -> String {
    match id.parse::<sectag_proto::DeviceId>() {
        Ok(device) => device.to_string(),
        Err(_) => id.to_owned(),
    }
}

/// The rows of an upload.
///
/// # Errors
/// [`OwnerError::Malformed`], [`OwnerError::Unprocessable`] for more than [`BULK_ROWS_MAX`] rows.
pub(crate) fn rows_of(body: &[u8]) -> Result<Vec<Vec<String>>, OwnerError> {
    let malformed = |reason: String| OwnerError::Malformed(format!("CSV: {reason}"));
    let text =
        std::str::from_utf8(body).map_err(|_| OwnerError::Malformed("CSV is not UTF-8".into()))?;
    csv_rows_up_to(text, BULK_ROWS_MAX)
        .map_err(|line| malformed(format!("quotes do not match in line {line}")))?
        .ok_or_else(|| OwnerError::Unprocessable(format!("more than {BULK_ROWS_MAX} rows")))
}

fn no_upload(id: &str) -> OwnerError {
    OwnerError::NotFound {
        what: "upload",
        id: id.chars().filter(|c| !c.is_control()).take(64).collect(),
    }
}

fn not_registered(id: &str) -> OwnerError {
    OwnerError::NotFound {
        what: "registered device",
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

/// For tests and fuzzing: what is asked of a row, at a time.
impl RowRules {
    /// Of the home's own team, with a key that has no tags.
    pub fn of_the_home(now: Timestamp) -> Self {
        Self {
            now,
            is_home: true,
            has_prefix: false,
            is_scoped: false,
        }
    }
}

#[cfg(test)]
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
}
