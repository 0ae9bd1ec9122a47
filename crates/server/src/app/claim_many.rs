//! Many claims at once: signatures are recovered on all cores, and the writes meet in the store's
//! group commit.
//!
//! ```text
//!   rows, those of one device together ─► at most [`CLAIMS_IN_HAND_MAX`] at a time ─► a thread for one of [`recovery_cores`] ─► store ─► answers, in the order of the rows
//! ```

use super::{App, Caller, ClaimRequest, Claimed, OwnerError};
use sectag_proto::DeviceId;
use sectag_proto::token::{AttestationToken, Candidate, TokenError};
use sectag_store::StoreError;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Rows of one call in hand at the same time: enough to fill the store's batches (256 writes) while the next ones are
/// recovered; more would only wait there.
pub const CLAIMS_IN_HAND_MAX: usize = 512;

/// Cores that keys are recovered on. A claim tries four keys, which takes most of a millisecond of a core; on a runtime's own
/// threads a bulk claim would hold up everybody else's requests.
pub fn recovery_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Recoveries in hand for each core: the next one is there when one ends, so that no core waits until a task has been woken.
const RECOVERIES_PER_CORE: usize = 2;

static RECOVERIES: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(RECOVERIES_PER_CORE * recovery_cores()));

impl ClaimRequest {
    /// A row of CSV: the token, and optionally its tags (spec/owner-api §2.3).
    pub(crate) fn of_row(row: Vec<String>) -> Self {
        let mut fields = row.into_iter();
        Self {
            token: fields.next().unwrap_or_default(),
            tags: fields.next().into_iter().collect(),
            accept_new_key: false,
        }
    }
}

impl App {
    /// Claims many devices. One row that is refused does not spoil the others; the answers are in the order of the rows. Rows of
    /// one device are claimed in their order, as if each were a call.
    ///
    /// # Errors
    /// [`OwnerError::Store`], when the store fails for all; some rows may be claimed by then, and asking again is safe. What is
    /// damaged for one row fails with that row.
    pub async fn claim_many(
        self: &Arc<Self>,
        rows: Vec<ClaimRequest>,
        caller: &Caller,
    ) -> Result<Vec<Result<Claimed, OwnerError>>, OwnerError> {
        let mut answers: Vec<Option<Result<Claimed, OwnerError>>> = Vec::new();
        answers.resize_with(rows.len(), || None);
        let mut groups = by_device(rows).into_iter();
        let mut in_hand = JoinSet::new();
        loop {
            while in_hand.len() < CLAIMS_IN_HAND_MAX
                && let Some(group) = groups.next()
            {
                let (app, caller) = (self.clone(), caller.clone());
                in_hand.spawn(async move {
                    let mut answered = Vec::with_capacity(group.len());
                    for (at, request) in group {
                        answered.push((at, app.claim(&request, &caller).await));
                    }
                    answered
                });
            }
            let answered = match in_hand.join_next().await {
                None => break,
                Some(Ok(answered)) => answered,
                // It panicked, and has said so; its rows are not answered.
                Some(Err(_)) => continue,
            };
            for (at, answer) in answered {
                match (answer, answers.get_mut(at)) {
                    (Err(OwnerError::Store(e)), Some(place)) if is_of_one_row(&e) => {
                        tracing::error!(row = at, reason = %e, "a row cannot be claimed");
                        *place = Some(Err(e.into()));
                    }
                    (Err(e @ OwnerError::Store(_)), _) => return Err(e),
                    (answer, Some(place)) => *place = Some(answer),
                    (_, None) => {}
                }
            }
        }
        let lost = || Err(OwnerError::Contention);
        Ok(answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(lost))
            .collect())
    }

    /// The keys that may have signed this token, recovered off the runtime's threads.
    ///
    /// # Errors
    /// [`OwnerError::ClaimRefused`] when there is none, [`OwnerError::BadToken`].
    pub(super) async fn candidates(token: &AttestationToken) -> Result<Vec<Candidate>, OwnerError> {
        let _thread = RECOVERIES.acquire().await;
        let token = token.clone();
        let recovered = tokio::task::spawn_blocking(move || token.candidates()).await;
        recovered.map_err(|_| OwnerError::Contention)?.map_err(|e| match e {
            TokenError::NoKey => OwnerError::ClaimRefused(
                "the token's signature was made by no key: it was altered or cut short, or is an example from a page",
            ),
            e => OwnerError::BadToken(e),
        })
    }
}

/// Whether the store does not work for this device, and may for others.
const fn is_of_one_row(e: &StoreError) -> bool {
    !matches!(e, StoreError::Unavailable { .. } | StoreError::Closed)
}

/// Rows with their places, those that name one device together; in the order of the first of each.
fn by_device(rows: Vec<ClaimRequest>) -> Vec<Vec<(usize, ClaimRequest)>> {
    let mut groups: Vec<Vec<(usize, ClaimRequest)>> = Vec::with_capacity(rows.len());
    let mut known: HashMap<DeviceId, usize> = HashMap::with_capacity(rows.len());
    for (at, request) in rows.into_iter().enumerate() {
        let device = AttestationToken::parse(&request.token).map(|token| token.device);
        let begun = groups.len();
        let place = device.map_or(begun, |device| *known.entry(device).or_insert(begun));
        match groups.get_mut(place) {
            Some(group) => group.push((at, request)),
            None => groups.push(vec![(at, request)]),
        }
    }
    groups
}
