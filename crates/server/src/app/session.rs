//! A device's requests: authenticate (once for a session, where the transport has sessions), fetch and report.
//!
//! ```text
//!  parse ─► load device + queue ─► identify ─► decide (proto) ─► sign (outside any transaction) ─► commit ─► answer
//!              ▲                                                                                     │
//!              └──────────────────────────── somebody else changed the device ◄──────────────────────┘
//! ```

mod alarms;

use super::identity::{Caller, Credential, Refusal, Shown};
use super::issuing::Made;
use super::verified::verify_answers;
use super::{App, COMMIT_ATTEMPTS};
use crate::events;
use crate::listen::one_line;
use sectag_proto::es256::Kid;
use sectag_proto::jwt::UnverifiedJwt;
use sectag_proto::query::FetchQuery;
use sectag_proto::service::{Changes, Command, FetchLimits, Fetched, Queue};
use sectag_proto::token::AttestationToken;
use sectag_proto::wire::{self, DecodeLimits, WireResponse};
use sectag_proto::{CommandId, DeviceId, Timestamp, Verified};
use sectag_store::{AuditEvent, CommitError, Device, DeviceChange, Loaded};
use serde_json::json;
use std::time::Duration;

/// Responses in one report: a device sends as many as it fetched, ten by default, and its buffers end the matter.
pub(crate) const REPORT_RECORDS_MAX: usize = 256;
/// A fetch that changes nothing is written down as "seen" when the last note is older than this, so that idle polling
/// does not wear the disk.
const SEEN_STEP: Duration = Duration::from_secs(60);
/// Smallest AT buffer of a device, CODEC_AT_CMD_LEN; the buffer is the larger of this and `txMaxSize` (§4).
const AT_BUFFER_MIN: u32 = 1792;

impl App {
    /// The next batch for a device, as CBOR; `None` when nothing is queued or the device is blocked.
    /// `head_bytes` is what the transport adds in front and counts against `rxMaxSize` (CoAP: 0).
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn fetch(
        &self,
        credential: Credential<'_>,
        query: &str,
        head_bytes: usize,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let now = self.now();
        let shown = Shown::new(credential)?;
        if let Shown::Granted(granted) = &shown
            && !granted.opens_fetch()
        {
            return Err(Refusal::ReportsOnly {
                device: granted.device.get(),
            });
        }
        let query = FetchQuery::parse(query);
        let named = match &query {
            Ok(query) => Queue::ids_named(&query.after, &[]),
            Err(_) => Vec::new(),
        };
        self.admission.may_ask(shown.device(), now)?;
        let mut stay = None;
        for _ in 0..COMMIT_ATTEMPTS {
            let (mut loaded, caller) = self.load(&shown, &named, now).await?;
            let device = caller.device.get();
            if stay.is_none() {
                stay = Some(self.admission.enter(device, now)?);
            }
            let query = match &query {
                Ok(query) => query,
                Err(reason) => {
                    return Err(Refusal::Query {
                        device,
                        reason: reason.clone(),
                    });
                }
            };
            if loaded.device.blocked {
                tracing::info!(%device, "blocked device asked for commands, told there are none");
                return Ok(None);
            }
            let mut changes = loaded.queue.progress(&query.after, now);
            loaded.queue.apply(&changes);
            let arrived = self
                .arrive(&mut loaded, now)
                .await
                .map_err(|e| Refusal::Busy {
                    device,
                    reason: e.to_string(),
                })?;
            let (bytes, count, fetched) =
                match loaded
                    .queue
                    .next_batch(&query.after, limits(query, head_bytes), now)
                {
                    Fetched::Batch {
                        bytes,
                        count,
                        changes: fetched,
                    } => (Some(bytes), count, fetched),
                    Fetched::Nothing { changes: fetched } => (None, 0, fetched),
                };
            changes.extend(arrived.changes);
            changes.extend(fetched);
            let made = Made {
                lives: arrived.lives,
                rules: arrived.rules,
                ..Made::default()
            };
            let alarms = alarms::words(&arrived.audit);
            if self
                .commit(&loaded.device, &caller, &changes, made, arrived.audit, now)
                .await?
            {
                for alarm in alarms {
                    tracing::warn!(%device, %alarm, "a rule is not applied");
                }
                log_failures(&changes, device);
                self.look_for_a_twin(&loaded, &query.after, &changes, now)
                    .await;
                match &bytes {
                    Some(bytes) => {
                        let (first, last) = ends_of(bytes);
                        tracing::info!(%device, commands = count, bytes = bytes.len(), %first, %last, "commands delivered");
                    }
                    None => tracing::debug!(%device, "nothing to do"),
                }
                return Ok(bytes);
            }
        }
        Err(Refusal::Busy {
            device: shown.device(),
            reason: format!("its queue changed {COMMIT_ATTEMPTS} times while deciding"),
        })
    }

    /// Takes a device's report. Settled twice gives the same.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn report(&self, credential: Credential<'_>, body: &[u8]) -> Result<(), Refusal> {
        let now = self.now();
        let shown = Shown::new(credential)?;
        let report = wire::decode_responses(
            body,
            DecodeLimits {
                records_max: REPORT_RECORDS_MAX,
                config_pairs_max: wire::CONFIG_PAIRS_MAX,
                bytes_max: crate::device_api::REPORT_BYTES_MAX,
            },
        );
        let named = match &report {
            Ok(report) => Queue::ids_named("", report),
            Err(_) => Vec::new(),
        };
        self.admission.may_ask(shown.device(), now)?;
        let mut stay = None;
        for _ in 0..COMMIT_ATTEMPTS {
            let (loaded, caller) = self.load(&shown, &named, now).await?;
            let device = caller.device.get();
            if stay.is_none() {
                stay = Some(self.admission.enter(device, now)?);
            }
            if loaded.device.blocked {
                return Err(Refusal::Blocked { device });
            }
            let report = match &report {
                Ok(report) => report,
                Err(reason) => {
                    return Err(Refusal::Report {
                        device,
                        reason: reason.clone(),
                    });
                }
            };
            if self.settle(&loaded, &caller, report, now).await? {
                return Ok(());
            }
        }
        Err(Refusal::Busy {
            device: shown.device(),
            reason: format!("its queue changed {COMMIT_ATTEMPTS} times while deciding"),
        })
    }

    /// Checks a JWT once for a whole session; what it opens is then shown with each request as [`Credential::Session`].
    /// That the token has expired ([`JwtError::Expired`](sectag_proto::jwt::JwtError::Expired)) is said of a claimed
    /// device's key only, so that [`Grants::readmit`](sectag_proto::service::grants::Grants::readmit) has the last word.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn authenticate(&self, token: &UnverifiedJwt) -> Result<Verified<DeviceId>, Refusal> {
        let shown = Shown::Token(token.clone());
        Ok(self.admit(&shown).await?.device)
    }

    /// As [`App::authenticate`], by the attestation token that the oldest clients show: whoever calls this was told to by a
    /// setting. A device whose key is not certain (two candidates from its claim, no JWT seen) cannot be known by it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn authenticate_attested(
        &self,
        token: &AttestationToken,
    ) -> Result<(Verified<DeviceId>, Kid), Refusal> {
        let caller = self.admit(&Shown::Attested(token)).await?;
        Ok((caller.device, caller.key.kid()))
    }

    async fn admit(&self, shown: &Shown<'_>) -> Result<Caller, Refusal> {
        let now = self.now();
        let device = shown.device();
        let busy = |reason| Refusal::Busy { device, reason };
        self.admission.may_ask(device, now)?;
        let mut stay = None;
        for _ in 0..COMMIT_ATTEMPTS {
            let known = self
                .store
                .device(device)
                .await
                .map_err(|e| busy(e.to_string()))?
                .ok_or(Refusal::UnknownDevice { device })?;
            let caller = self.identify_or_alarm(shown, &known, now).await?;
            if stay.is_none() {
                stay = Some(self.admission.enter(device, now)?);
            }
            let nothing = Changes::default();
            if self
                .commit(&known, &caller, &nothing, Made::default(), Vec::new(), now)
                .await?
            {
                return Ok(caller);
            }
        }
        Err(busy(format!(
            "it changed {COMMIT_ATTEMPTS} times while deciding"
        )))
    }

    async fn settle(
        &self,
        loaded: &Loaded,
        caller: &Caller,
        report: &[WireResponse],
        now: Timestamp,
    ) -> Result<bool, Refusal> {
        let device = caller.device.get();
        let mut changes = loaded.queue.settle(report, now);
        let mut audit = alarms::of_report(loaded, &changes, report, now);
        let busy = |e: sectag_store::StoreError| Refusal::Busy {
            device,
            reason: e.to_string(),
        };
        let mut made = self
            .close_the_loop(loaded, &mut changes, caller, &mut audit, now)
            .await
            .map_err(busy)?;
        made.lives = self
            .renewals_of_report(&loaded.device, &changes, made.lives, now)
            .await
            .map_err(busy)?;
        let unproven = verify_answers(&mut changes, caller.device, &caller.key, &self.verifier);
        audit.extend(unproven.iter().map(|it| alarms::unproven(loaded, it, now)));
        let alarms = alarms::words(&audit);
        let certificates = made.issued.len();
        let settled = changes
            .commands
            .iter()
            .filter(|command| command.status.is_terminal())
            .count();
        if !self
            .commit(&loaded.device, caller, &changes, made, audit, now)
            .await?
        {
            return Ok(false);
        }
        for alarm in alarms {
            tracing::warn!(%device, %alarm, "report raised an alarm");
        }
        log_failures(&changes, device);
        let correlation = report
            .last()
            .map_or("none", |last| last.correlation.as_str());
        tracing::info!(%device, responses = report.len(), settled, certificates, finished = changes.finished, last = %one_line(correlation), "report settled");
        Ok(true)
    }

    /// Device and queue, and the proof that the device itself asks. Claim and key are looked at on every request.
    async fn load(
        &self,
        shown: &Shown<'_>,
        named: &[CommandId],
        now: Timestamp,
    ) -> Result<(Loaded, Caller), Refusal> {
        let device = shown.device();
        let loaded = self
            .store
            .queue(device, named)
            .await
            .map_err(|e| Refusal::Busy {
                device,
                reason: e.to_string(),
            })?
            .ok_or(Refusal::UnknownDevice { device })?;
        let caller = self.identify_or_alarm(shown, &loaded.device, now).await?;
        Ok((loaded, caller))
    }

    /// `false`: somebody else changed the device; decide again.
    async fn commit(
        &self,
        known: &Device,
        caller: &Caller,
        changes: &Changes,
        made: Made,
        audit: Vec<AuditEvent>,
        now: Timestamp,
    ) -> Result<bool, Refusal> {
        let device = caller.device.get();
        let unseen = known
            .last_seen_at
            .is_none_or(|seen| now.since(seen) >= SEEN_STEP);
        let silent = changes.commands.is_empty()
            && !changes.finished
            && made.issued.is_empty()
            && made.lives.is_empty()
            && made.rules.is_none()
            && audit.is_empty()
            && !caller.pin;
        if silent && !unseen {
            return Ok(true);
        }
        let mut change = DeviceChange {
            pin: caller.pin.then(|| caller.key.clone()),
            issued: made.issued,
            lives: made.lives,
            rules: made.rules,
            audit,
            events: events::of_changes(&known.owner, device, changes, now),
            ..DeviceChange::seen(changes, now)
        };
        if caller.pin {
            let kid = caller.key.kid().to_string();
            let candidates = known.candidates.iter().map(|known| known.kid.to_string());
            change.audit.push(
                AuditEvent::new(now, "device", "pin")
                    .device(device)
                    .detail(format!("identity key pinned: kid {kid}"))
                    .changed(
                        json!({ "keyIds": candidates.collect::<Vec<_>>() }),
                        json!({ "keyIds": [kid] }),
                    ),
            );
        }
        match self.store.commit(device, known.version, change).await {
            Ok(_) => {
                if caller.pin {
                    tracing::info!(%device, kid = %caller.key.kid(), "identity key pinned");
                }
                Ok(true)
            }
            // The next round finds the certificate that won, and refuses this one with the reason.
            Err(CommitError::Conflict { .. } | CommitError::KeyAlreadyIssued { .. }) => Ok(false),
            Err(CommitError::Gone) => Err(Refusal::UnknownDevice { device }),
            Err(CommitError::Store(e)) => Err(Refusal::Busy {
                device,
                reason: e.to_string(),
            }),
        }
    }
}

fn limits(query: &FetchQuery, head_bytes: usize) -> FetchLimits {
    let bytes = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    FetchLimits {
        records_max: query.limit.map_or(10, bytes),
        cbor_bytes_max: bytes(query.rx_bytes_max)
            .saturating_sub(head_bytes)
            .min(crate::device_api::BATCH_BYTES_MAX),
        report_bytes_max: bytes(query.tx_bytes_max),
        at_chars_max: bytes(query.tx_bytes_max.max(AT_BUFFER_MIN)) - 1,
    }
}

/// One line for each command that ended badly by this question; its message may hold a device's words and stays out.
fn log_failures(changes: &Changes, device: DeviceId) {
    for command in &changes.commands {
        if let Some(failure) = command.response.as_ref().and_then(|r| r.failure) {
            tracing::info!(%device, command = %command.id, correlation = %correlation_of(command), kind = command.request.kind().member(), ?failure, "command failed");
        }
    }
}

/// The id under which a device knows a command (spec/owner-api §4), without a step in front of it.
fn correlation_of(command: &Command) -> String {
    format!("{}.{:x}", command.id, command.sequence)
}

/// The correlation ids of the first and the last command of a batch.
fn ends_of(batch: &[u8]) -> (String, String) {
    let limits = DecodeLimits {
        records_max: REPORT_RECORDS_MAX,
        config_pairs_max: wire::CONFIG_PAIRS_MAX,
        bytes_max: batch.len(),
    };
    let commands = wire::decode_commands(batch, limits).unwrap_or_default();
    let id = |command: Option<&wire::WireCommand>| {
        command.map_or_else(String::new, |command| command.correlation.to_string())
    };
    (id(commands.first()), id(commands.last()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::device_api::{BATCH_BYTES_MAX, HEAD_BYTES_MAX};

    #[test]
    fn no_batch_is_longer_than_the_head_has_digits_for() {
        let limits_of = |query| limits(&FetchQuery::parse(query).unwrap(), HEAD_BYTES_MAX);
        let large = limits_of("after=&rxMaxSize=1048576");
        assert_eq!(large.cbor_bytes_max, BATCH_BYTES_MAX);
        assert_eq!(limits_of("after=").cbor_bytes_max, 1024 - HEAD_BYTES_MAX);
        assert_eq!(limits_of("after=&rxMaxSize=1").cbor_bytes_max, 0);
    }
}
