//! The closed loop: from a KEYGEN answer to a certificate (design: issuing).
//!
//! A CSR is signed only if all of this holds; each failure has its own reason, and none is signed:
//! it is a CSR · for this device · for the commanded tag · its digest is that of the original bytes · the COSE signature
//! holds under the pinned key · the CSR's self-signature holds · its subject is the one the command asked for · the
//! answer was not given before for another command · its key was never certified before, for any device.
//! From the CSR only the public key is taken; the name in the certificate is the verified device id.

use super::App;
use super::identity::{Caller, convention_name};
use crate::listen::one_line;
use sectag_pki::csr::{self, CsrError};
use sectag_pki::{Authority, Certificate, SPKI_BYTES, sha256};
use sectag_proto::es256::{PublicKey, VerifyEs256};
use sectag_proto::service::{Changes, NeedsCertificate, Queue};
use sectag_proto::token::{KeygenBody, TokenError};
use sectag_proto::{CommandId, DeviceId, SecTag, Timestamp, Verified};
use sectag_store::{AuditEvent, Issued, StoreError};

/// Issues device certificates, and knows the root that devices receive.
pub struct Issuer {
    /// The issuing CA for devices.
    pub(crate) devices: Authority,
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

impl App {
    /// Signs or refuses each CSR that the report brought, and puts the outcome into `changes`.
    ///
    /// # Errors
    /// Only the store's; a refusal is an outcome.
    pub(crate) async fn close_the_loop(
        &self,
        queue: &Queue,
        changes: &mut Changes,
        caller: &Caller,
        audit: &mut Vec<AuditEvent>,
        now: Timestamp,
    ) -> Result<Vec<Issued>, StoreError> {
        let device = caller.device.get();
        let mut issued: Vec<Issued> = Vec::new();
        for need in std::mem::take(&mut changes.needs_certificate) {
            let outcome = self.issue(&need, caller, &issued, changes, now).await?;
            let outcome = outcome.and_then(|(certificate, convention)| {
                let id = Self::command_id();
                queue
                    .follow_with_certificate(changes, need.command, id, certificate.pem(), now)
                    .map_err(|e| IssueRefusal::Queue(e.to_string()))?;
                Ok((certificate, convention))
            });
            let (action, detail) = match outcome {
                Ok((certificate, convention)) => {
                    let detail = format!(
                        "certificate {} for sec tag {}, CN={device}, key {}, KEYGEN answer verified ({convention})",
                        certificate.serial_hex,
                        need.sec_tag,
                        hex(&certificate.spki_sha256),
                    );
                    issued.push(Issued {
                        spki_sha256: certificate.spki_sha256,
                        certificate_der: certificate.der().to_vec(),
                        serial: certificate.serial_hex,
                        command: need.command,
                        device,
                        issued_at: now,
                    });
                    ("certificate-issued", detail)
                }
                Err(refusal) => {
                    let reason = refusal.to_string();
                    tracing::warn!(%device, command = %need.command, reason = %one_line(&reason), "certificate refused");
                    queue.refuse_certificate(changes, need.command, &reason, now);
                    ("certificate-refused", reason)
                }
            };
            audit.push(
                AuditEvent::new(now, "service", action)
                    .device(device)
                    .command(need.command)
                    .detail(detail),
            );
        }
        Ok(issued)
    }

    async fn issue(
        &self,
        need: &NeedsCertificate,
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
        Ok(self
            .issuer
            .devices
            .issue_device(&spki, &device.to_string(), now.as_secs())
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
