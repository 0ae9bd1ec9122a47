//! The closed loop: from a KEYGEN answer to a certificate (design: issuing).
//!
//! A CSR is signed only if all of this holds; each failure has its own reason, and none is signed:
//! it is a CSR · for this device · for the commanded tag · its digest is that of the original bytes · the COSE signature
//! holds under the pinned key · the CSR's self-signature holds · its subject is the one the command asked for · the
//! answer was not given before for another command · its key was never certified before, for any device · it is not of a
//! renewal that ended because its certificate was revoked.
//! From the CSR only the public key is taken; the name in the certificate is the verified device id.

use super::App;
use super::identity::{Caller, convention_name};
use crate::listen::one_line;
use sectag_pki::csr::{self, CsrError};
use sectag_pki::{Certificate, DeviceTerms, SPKI_BYTES, sha256};
use sectag_proto::es256::{PublicKey, VerifyEs256};
use sectag_proto::rules::{ClosedLoop, DeviceProfile};
use sectag_proto::service::{Changes, NeedsCertificate, Queue};
use sectag_proto::token::{KeygenBody, TokenError};
use sectag_proto::{CommandId, DeviceId, SecTag, Timestamp, Verified};
use sectag_store::{
    AuditEvent, Device, DeviceLives, Issued, Life, LifeChange, LifeState, Loaded, RenewalRun,
    RenewalStep, RulesChange, StoreError,
};
use serde_json::{Value, json};

/// Knows the root that devices receive; [`Issuers`](crate::issuers::Issuers) sign.
pub struct Issuer {
    /// The root, as PEM.
    pub(crate) root_pem: String,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issuer")
    }
}

impl Issuer {
    /// The root certificate, as PEM: what devices and clients trust.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }
}

/// Why the closed loop did not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueRefusal {
    /// KEYGEN printed a public key.
    #[error("the answer holds a public key, not a CSR")]
    NotACsr,
    /// The signed payload names another device.
    #[error("the KEYGEN answer is of device {found}")]
    ForeignDevice {
        /// The device named.
        found: DeviceId,
    },
    /// The signed payload names another tag.
    #[error("the KEYGEN answer is of sec tag {found}, the command asked for {asked}")]
    ForeignTag {
        /// The command's tag.
        asked: SecTag,
        /// The tag named.
        found: u32,
    },
    /// sha256(body) is not the signed digest.
    #[error(
        "the CSR is not the one that the device signed for: its SHA-256 differs from the signed digest"
    )]
    Digest,
    /// The COSE signature.
    #[error("the KEYGEN answer is not signed by this device's identity key: {0}")]
    NotSignedByDevice(TokenError),
    /// The CSR does not parse, or its self-signature does not hold.
    #[error("the CSR is refused: {0}")]
    Csr(CsrError),
    /// The CSR names another subject.
    #[error("the CSR is for subject `{found}`, the command asked for `{asked}`")]
    Subject {
        /// What the command asked for.
        asked: String,
        /// What the CSR has.
        found: String,
    },
    /// The same KEYGEN answer was reported before.
    #[error("the KEYGEN answer is a replay: it was reported for command {command} before")]
    Replayed {
        /// For which command.
        command: CommandId,
    },
    /// The key was certified before.
    #[error("a certificate for this key was issued before, to device {device} (serial {serial})")]
    KeyIssuedBefore {
        /// To whom.
        device: DeviceId,
        /// Its serial number.
        serial: String,
    },
    /// A renewal asked for it, and that has ended.
    #[error("the renewal that asked for it has ended: certificate {serial} was revoked")]
    RenewalEnded {
        /// The certificate that was to be renewed, or an earlier attempt's.
        serial: String,
    },
    /// The CA could not sign it.
    #[error("the certificate cannot be made: {0}")]
    Authority(String),
    /// The certificate does not fit the queue or the device.
    #[error("the certificate cannot be queued: {0}")]
    Queue(String),
}

/// What must be asked of a KEYGEN answer before its CSR is even looked at. Pure.
pub(crate) fn check_answer(
    need: &NeedsCertificate,
    device: Verified<DeviceId>,
    pinned: &PublicKey,
    verifier: &dyn VerifyEs256,
) -> Result<([u8; SPKI_BYTES], &'static str), IssueRefusal> {
    let output = &need.output;
    if output.kind != KeygenBody::Csr {
        return Err(IssueRefusal::NotACsr);
    }
    if output.device != device.get() {
        return Err(IssueRefusal::ForeignDevice {
            found: output.device,
        });
    }
    if output.sec_tag != need.sec_tag.get() {
        return Err(IssueRefusal::ForeignTag {
            asked: need.sec_tag,
            found: output.sec_tag,
        });
    }
    let convention = output.verify(pinned, verifier).map_err(|e| match e {
        TokenError::Digest => IssueRefusal::Digest,
        e => IssueRefusal::NotSignedByDevice(e),
    })?;
    // Parsing also checks the self-signature, after the repair of the algorithm's NULL parameters.
    let csr = csr::parse(&output.body).map_err(IssueRefusal::Csr)?;
    if csr.original_sha256 != output.digest {
        return Err(IssueRefusal::Digest);
    }
    let asked = if need.attributes.trim().is_empty() {
        format!("CN={}", device.get())
    } else {
        need.attributes.clone()
    };
    let wanted = csr::attributes(&asked).map_err(IssueRefusal::Csr)?;
    let same = wanted.len() == csr.attributes.len()
        && wanted
            .iter()
            .zip(&csr.attributes)
            .all(|((kind, value), (k, v))| kind == k && value == v);
    if !same {
        return Err(IssueRefusal::Subject {
            asked,
            found: csr.subject(),
        });
    }
    Ok((csr.spki_der, convention_name(convention)))
}

/// What a report's CSRs have led to.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// The certificates.
    pub(crate) issued: Vec<Issued>,
    /// Their lives, and what ends with them.
    pub(crate) lives: Vec<LifeChange>,
    /// What the device got of its team's rules.
    pub(crate) rules: Option<RulesChange>,
}

/// What the command asked for, in the authority's words.
fn terms_of(closed_loop: &ClosedLoop) -> DeviceTerms {
    DeviceTerms {
        lifetime_s: closed_loop.validity_s(),
        key_agreement: match closed_loop.profile {
            DeviceProfile::Client => false,
            DeviceProfile::ClientWithKeyAgreement => true,
        },
    }
}

fn life_of(
    certificate: &Certificate,
    need: &NeedsCertificate,
    known: &Device,
    queue: &Queue,
    writes: CommandId,
    now: Timestamp,
) -> Life {
    let csr = queue.commands().iter().find(|c| c.id == need.command);
    Life {
        spki_sha256: certificate.spki_sha256,
        device: known.id,
        team: known.owner.clone(),
        serial: certificate.serial_hex.clone(),
        csr: need.command,
        certificate: Some(writes),
        sec_tag: Some(need.sec_tag),
        rule_id: csr.and_then(|csr| csr.rule_id.clone()),
        not_before: Timestamp::from_secs(certificate.not_before_s),
        not_after: Timestamp::from_secs(certificate.not_after_s),
        issued_at: now,
        written_at: None,
        used_at: None,
        last_used_at: None,
        state: LifeState::Issued,
        ended_at: None,
        alarm_days: None,
    }
}

/// A new certificate among those that count: what lay under its tag has lost its key, and the renewal that asked for it
/// goes on to the next step. Another renewal of what has lost its key is over; one whose new certificate has lost its key
/// begins again, unless it was in place: then the newest is this one.
fn take_over(known: &mut DeviceLives, life: Life, now: Timestamp) -> Vec<LifeChange> {
    let (new, csr, writes) = (life.spki_sha256, life.csr, life.certificate);
    let csr_of = |lives: &[Life], spki| {
        let found = lives.iter().find(|l| Some(l.spki_sha256) == spki);
        found.map(|l| l.csr)
    };
    let asked_before: Vec<bool> = known
        .renewals
        .iter()
        .map(|run| run.command == Some(csr) || csr_of(&known.lives, run.new) == Some(csr))
        .collect();
    let is_replaced = |old: &Life| old.sec_tag.is_some() && old.sec_tag == life.sec_tag;
    let replaced: Vec<[u8; 32]> = known
        .lives
        .iter()
        .filter(|old| is_replaced(old))
        .map(|old| old.spki_sha256)
        .collect();
    known.lives.retain(|old| !is_replaced(old));
    known.lives.push(life.clone());
    let mut changes = vec![LifeChange::Born(Box::new(life))];
    changes.extend(replaced.iter().map(|spki| LifeChange::Superseded {
        spki_sha256: *spki,
        at: now,
    }));
    let lives = &known.lives;
    let counts = |spki| lives.iter().any(|life| life.spki_sha256 == spki);
    for (run, asked) in known.renewals.iter_mut().zip(asked_before) {
        let has_lost_new = run.new.is_some_and(|spki| replaced.contains(&spki));
        if asked {
            run.step = RenewalStep::Certificate;
            run.command = writes;
            run.new = Some(new);
        } else if has_lost_new && counts(run.old) {
            run.step = RenewalStep::Waiting;
            run.command = None;
            run.new = None;
        } else if has_lost_new || replaced.contains(&run.old) {
            run.step = RenewalStep::Abandoned;
            run.command = None;
            run.ended_at = Some(now);
        } else {
            continue;
        }
        run.step_at = now;
        changes.push(LifeChange::Renewal(Box::new(run.clone())));
    }
    known.renewals.retain(|run| run.ended_at.is_none());
    changes
}

/// The certificate whose revocation ended the renewal that asked with this command. Other CSRs have nothing to do with it: an
/// owner who wants the device kept out blocks it.
fn revoked_with(history: &DeviceLives, command: CommandId) -> Option<String> {
    let asked = |run: &&RenewalRun| run.command == Some(command) && !run.step.is_open();
    let run = history.renewals.iter().find(asked)?;
    let is_of_run = |life: &&Life| life.spki_sha256 == run.old || Some(life.spki_sha256) == run.new;
    let mut of_run = history.lives.iter().filter(is_of_run);
    let revoked = of_run.find(|life| life.state == LifeState::Revoked)?;
    Some(revoked.serial.clone())
}

impl App {
    /// Signs or refuses each CSR that the report brought, and puts the outcome into `changes`.
    ///
    /// # Errors
    /// Only the store's; a refusal is an outcome.
    pub(crate) async fn close_the_loop(
        &self,
        loaded: &Loaded,
        changes: &mut Changes,
        caller: &Caller,
        audit: &mut Vec<AuditEvent>,
        now: Timestamp,
    ) -> Result<Made, StoreError> {
        let (known, queue) = (&loaded.device, &loaded.queue);
        let device = caller.device.get();
        let mut issued: Vec<Issued> = Vec::new();
        let mut lives: Vec<LifeChange> = Vec::new();
        let (mut counting, history) = match changes.needs_certificate.is_empty() {
            true => Default::default(),
            false => (
                self.store.lives(device).await?,
                self.store.life_history(device).await?,
            ),
        };
        for need in std::mem::take(&mut changes.needs_certificate) {
            let outcome = match revoked_with(&history, need.command) {
                Some(serial) => Err(IssueRefusal::RenewalEnded { serial }),
                None => {
                    self.issue(&need, &known.owner, caller, &issued, changes, now)
                        .await?
                }
            };
            let outcome = outcome.and_then(|(certificate, convention)| {
                let id = Self::command_id();
                queue
                    .follow_with_certificate(changes, need.command, id, certificate.pem(), now)
                    .map_err(|e| IssueRefusal::Queue(e.to_string()))?;
                Ok((certificate, convention, id))
            });
            let (action, detail, after) = match outcome {
                Ok((certificate, convention, id)) => {
                    let detail = format!(
                        "certificate {} for sec tag {}, CN={device}, key {}, KEYGEN answer verified ({convention})",
                        certificate.serial_hex,
                        need.sec_tag,
                        hex(&certificate.spki_sha256),
                    );
                    let after = json!({
                        "serial": certificate.serial_hex,
                        "publicKeySha256": hex(&certificate.spki_sha256),
                        "secTag": need.sec_tag,
                    });
                    let life = life_of(&certificate, &need, known, queue, id, now);
                    lives.extend(take_over(&mut counting, life, now));
                    issued.push(Issued {
                        spki_sha256: certificate.spki_sha256,
                        certificate_der: certificate.der().to_vec(),
                        serial: certificate.serial_hex,
                        command: need.command,
                        device,
                        issued_at: now,
                    });
                    ("certificate-issued", detail, after)
                }
                Err(refusal) => {
                    let reason = refusal.to_string();
                    tracing::warn!(%device, command = %need.command, reason = %one_line(&reason), "certificate refused");
                    queue.refuse_certificate(changes, need.command, &reason, now);
                    ("certificate-refused", reason, Value::Null)
                }
            };
            audit.push(
                AuditEvent::new(now, "service", action)
                    .device(device)
                    .command(need.command)
                    .detail(detail)
                    .changed(Value::Null, after),
            );
        }
        Ok(Made {
            issued,
            lives,
            rules: None,
        })
    }

    async fn issue(
        &self,
        need: &NeedsCertificate,
        team: &str,
        caller: &Caller,
        beside: &[Issued],
        changes: &Changes,
        now: Timestamp,
    ) -> Result<Result<(Certificate, &'static str), IssueRefusal>, StoreError> {
        let device = caller.device.get();
        let (spki, convention) =
            match check_answer(need, caller.device, &caller.key, &self.verifier) {
                Ok(checked) => checked,
                Err(refusal) => return Ok(Err(refusal)),
            };
        let spki_sha256 = sha256(&spki);
        let before = match beside.iter().find(|i| i.spki_sha256 == spki_sha256) {
            Some(issued) => Some(issued.clone()),
            None => self.store.issued_by_spki(spki_sha256).await?,
        };
        if let Some(before) = before {
            return Ok(Err(IssueRefusal::KeyIssuedBefore {
                device: before.device,
                serial: before.serial,
            }));
        }
        let body = need.output.body_text();
        let stored = self.store.commands(device).await?;
        // The same report may have answered an earlier command with it; changes are in queue order.
        let earlier = changes.commands.iter().take_while(|c| c.id != need.command);
        let reported = stored.iter().chain(earlier).find(|other| {
            let response = other.response.as_ref();
            other.id != need.command && response.is_some_and(|r| r.message == body)
        });
        if let Some(other) = reported {
            return Ok(Err(IssueRefusal::Replayed { command: other.id }));
        }
        let Some(authority) = self.issuers.for_team(team) else {
            let reason = "the team of this device has no issuing CA";
            return Ok(Err(IssueRefusal::Authority(reason.to_owned())));
        };
        Ok(authority
            .issue_device_on(
                &spki,
                &device.to_string(),
                now.as_secs(),
                &terms_of(&need.closed_loop),
            )
            .map(|certificate| (certificate, convention))
            .map_err(|e| IssueRefusal::Authority(e.to_string())))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn life(n: u8, under: u64) -> Life {
        Life {
            spki_sha256: [n; 32],
            device: DeviceId::from_bytes([1; 16]),
            team: "team".into(),
            serial: format!("{n:02x}"),
            csr: CommandId::from_bytes([n; 16]),
            certificate: None,
            sec_tag: SecTag::new(under).ok(),
            rule_id: None,
            not_before: Timestamp(0),
            not_after: Timestamp(100),
            issued_at: Timestamp(0),
            written_at: None,
            used_at: None,
            last_used_at: None,
            state: LifeState::Written,
            ended_at: None,
            alarm_days: None,
        }
    }

    #[test]
    fn a_renewal_whose_new_certificate_was_replaced_goes_on_only_from_an_old_one() {
        let step_after = |lives: Vec<Life>| {
            let run = RenewalRun {
                old: [1; 32],
                device: DeviceId::from_bytes([1; 16]),
                team: "team".into(),
                rule_id: "r".into(),
                sec_tag: SecTag::new(2).unwrap(),
                in_place: lives.len() == 1,
                started_at: Timestamp(1),
                step: RenewalStep::Connect,
                step_at: Timestamp(1),
                command: None,
                new: Some([2; 32]),
                attempts: 1,
                retry_at: Timestamp(1),
                failing_since: None,
                reason: None,
                alarmed_at: None,
                ended_at: None,
            };
            let renewals = vec![run];
            let mut known = DeviceLives { lives, renewals };
            let changes = take_over(&mut known, life(3, 2), Timestamp(9));
            match changes.last() {
                Some(LifeChange::Renewal(run)) => (run.step, known.renewals.len()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            step_after(vec![life(1, 1), life(2, 2)]),
            (RenewalStep::Waiting, 1)
        );
        assert_eq!(
            step_after(vec![life(2, 2)]),
            (RenewalStep::Abandoned, 0),
            "in place the old one is gone, and nothing could begin again"
        );
    }
}
