//! Who is asking: from the text of a JWT to `Verified<DeviceId>`, on every request anew (design: identity).
//!
//! The token names a device and a key; both only say where to look. The key that counts is the pinned one, or the
//! candidate of the claim that the token's `kid` picks, which is pinned in the same commit.

use super::App;
use crate::listen::one_line;
use sectag_proto::cose::Convention;
use sectag_proto::es256::{Kid, PublicKey};
use sectag_proto::jwt::{JwtError, UnverifiedJwt};
use sectag_proto::query::QueryError;
use sectag_proto::wire::CborRefusal;
use sectag_proto::{DeviceId, Timestamp, Verified};
use sectag_store::{AuditEvent, Device};
use std::time::Duration;

/// A device's key alarm is written once in this time: whoever sends foreign keys in a loop shall not fill the audit trail.
const ALARM_EVERY: Duration = Duration::from_secs(600);
/// Devices remembered for [`ALARM_EVERY`]; when full, all are forgotten.
const ALARMED_DEVICES_MAX: usize = 4096;

/// Why a device's request was refused. Nothing was changed (a key alarm is audited).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No `Authorization: Bearer …`.
    #[error("no bearer token")]
    NoToken,
    /// `Bearer att.…`, as the oldest clients sent.
    #[error("an attestation token can be replayed by whoever saw it; a JWT is required")]
    AttestationAuth,
    /// The JWT itself.
    #[error("JWT refused: {0}")]
    Token(JwtError),
    /// Nobody claimed this device.
    #[error("the device is not claimed")]
    UnknownDevice {
        /// Who it says it is.
        device: DeviceId,
    },
    /// A key that is not the device's.
    #[error("key alarm: kid {kid} is not this device's key ({known})")]
    ForeignKey {
        /// Who it says it is.
        device: DeviceId,
        /// The token's kid.
        kid: Kid,
        /// "pinned …" or "n candidates".
        known: String,
    },
    /// Blocked by its owner; a fetch hears "nothing", a report this.
    #[error("the device is blocked")]
    Blocked {
        /// Which.
        device: DeviceId,
    },
    /// The query of a fetch.
    #[error("query refused: {reason}")]
    Query {
        /// Who asked.
        device: DeviceId,
        /// What is wrong with it.
        reason: QueryError,
    },
    /// The CBOR of a report.
    #[error("report refused: {reason}")]
    Report {
        /// Who sent it.
        device: DeviceId,
        /// What is wrong with it.
        reason: CborRefusal,
    },
    /// A body over the limit.
    #[error("a body of {bytes} bytes or more, limit {max}")]
    TooLong {
        /// Bytes read until it was refused.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Not CBOR by its header.
    #[error("content type `{given}` is not application/cbor")]
    ContentType {
        /// What it said.
        given: String,
    },
    /// A known path with another method.
    #[error("method {method} is not for this path")]
    WrongMethod {
        /// Which.
        method: String,
    },
    /// A path that is not ours.
    #[error("no such path")]
    UnknownPath,
    /// The store failed, or the device's queue changed faster than we could decide. Trying later helps.
    #[error("cannot answer: {reason}")]
    Busy {
        /// Who asked.
        device: DeviceId,
        /// For the log.
        reason: String,
    },
}

impl Refusal {
    /// The one log line of a refused request. WARN where somebody should look, INFO else.
    pub fn log(&self, request: &'static str, status: u16) {
        // Parts of what a stranger sent may be in it.
        let reason = one_line(&self.to_string());
        match self {
            Self::ForeignKey { device, .. } | Self::Busy { device, .. } => {
                tracing::warn!(%device, request, status, %reason, "device request refused");
            }
            Self::UnknownDevice { device }
            | Self::Blocked { device }
            | Self::Query { device, .. }
            | Self::Report { device, .. } => {
                tracing::info!(%device, request, status, %reason, "device request refused");
            }
            _ => tracing::info!(request, status, %reason, "device request refused"),
        }
    }
}

/// A device that proved who it is, by this request.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) device: Verified<DeviceId>,
    pub(crate) key: PublicKey,
    /// The key has to be pinned by the commit of this request.
    pub(crate) pin: bool,
}

impl App {
    /// Checks a token against what the store knows about its device at this moment.
    pub(crate) fn identify(
        &self,
        token: &UnverifiedJwt,
        known: &Device,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        let kid = token.kid();
        let key = match &known.pin {
            Some(pinned) => (pinned.kid() == kid).then(|| pinned.clone()),
            None => known
                .candidates
                .iter()
                .find(|candidate| candidate.kid == kid)
                .map(|candidate| candidate.key.clone()),
        };
        let Some(key) = key else {
            return Err(Refusal::ForeignKey {
                device: known.id,
                kid,
                known: match &known.pin {
                    Some(pinned) => format!("pinned: {}", pinned.kid()),
                    None => format!("{} candidates from its claim", known.candidates.len()),
                },
            });
        };
        let device = token
            .verify(&key, now, &self.verifier)
            .map_err(Refusal::Token)?;
        Ok(Caller {
            device,
            pin: known.pin.is_none(),
            key,
        })
    }

    /// Writes a key alarm into the audit trail, at most one per device and [`ALARM_EVERY`].
    pub(crate) async fn key_alarm(&self, device: DeviceId, detail: String, now: Timestamp) {
        {
            let Ok(mut alarmed) = self.alarmed.lock() else {
                return;
            };
            if alarmed
                .get(&device)
                .is_some_and(|last| now.since(*last) < ALARM_EVERY)
            {
                return;
            }
            if alarmed.len() >= ALARMED_DEVICES_MAX {
                alarmed.clear();
            }
            alarmed.insert(device, now);
        }
        let event = AuditEvent {
            at: now,
            by: "service".to_owned(),
            action: "key-alarm".to_owned(),
            device: Some(device),
            command: None,
            detail,
        };
        if let Err(e) = self.store.record(vec![event]).await {
            tracing::warn!(%device, reason = %e, "cannot write a key alarm into the audit trail");
        }
    }
}

/// The signing convention in words, for audit details.
pub(crate) const fn convention_name(convention: Convention) -> &'static str {
    match convention {
        Convention::BodyIsAad => "body as external_aad",
        Convention::EmptyAad => "empty external_aad",
    }
}
