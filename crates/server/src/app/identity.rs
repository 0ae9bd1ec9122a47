//! Who is asking: from what a request shows to a [`Caller`], on every request anew (design: identity).
//!
//! A token names a device and a key; both only say where to look. The key that counts is the pinned one, or the
//! candidate of the claim that the token's `kid` picks, which is pinned in the same commit. What a session was granted holds
//! as long as that key is the device's: claim, block and key are looked at with each of its requests.

use super::App;
use crate::admission::Full;
use crate::listen::one_line;
use sectag_proto::cose::Convention;
use sectag_proto::es256::{Kid, PublicKey};
use sectag_proto::jwt::{JwtError, UnverifiedJwt};
use sectag_proto::query::QueryError;
use sectag_proto::service::grants::Granted;
use sectag_proto::token::{AttestationToken, TokenError};
use sectag_proto::wire::CborRefusal;
use sectag_proto::{DeviceId, Timestamp, Verified};
use sectag_store::{AuditEvent, Device};
use serde_json::{Value, json};
use std::time::Duration;

/// A device's key alarm is written once in this time: whoever sends foreign keys in a loop shall not fill the audit trail.
const ALARM_EVERY: Duration = Duration::from_secs(600);
/// Devices remembered for [`ALARM_EVERY`]; when full, all are forgotten.
const ALARMED_DEVICES_MAX: usize = 4096;

/// What a device shows with a request.
#[derive(Debug, Clone, Copy)]
pub enum Credential<'a> {
    /// A JWT that came with the request: HTTPS.
    Jwt(&'a str),
    /// What an earlier token opened for the DTLS session in which the request came: CoAP.
    Session(&'a Granted),
}

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
    /// The attestation token itself, where a setting takes one.
    #[error("attestation token refused: {0}")]
    Attestation(TokenError),
    /// The JWT itself.
    #[error("JWT refused: {0}")]
    Token(JwtError),
    /// A request in a session that has shown no token, or whose authorisation has ended.
    #[error("this session is not authorised")]
    NotAuthorised,
    /// A session opened by a token past its time asked for more than it opens.
    #[error("this session was opened by an expired token, which is good for a report only")]
    ReportsOnly {
        /// Who asked.
        device: DeviceId,
    },
    /// The device's key is no longer the one that the session was opened with.
    #[error("this session was opened with kid {kid}, and the device's key is {known}")]
    KeyChanged {
        /// Who asked.
        device: DeviceId,
        /// The session's.
        kid: Kid,
        /// "pinned: …", or "not certain yet".
        known: String,
    },
    /// Nobody claimed this device.
    #[error("the device is not claimed")]
    UnknownDevice {
        /// Who it says it is.
        device: DeviceId,
    },
    /// An attestation token of a device that has more than one candidate key.
    #[error(
        "the claim left more than one key, and an attestation token does not choose: a JWT is required once"
    )]
    KeyNotCertain {
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
    /// The only format that the client takes, and not ours.
    #[error("content format {format} is asked for, and there is only application/cbor (60)")]
    NotAcceptable {
        /// What it asked for.
        format: u16,
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
    /// More than this service does at a time, or for one device. Trying later helps.
    #[error("told to come later: {0}")]
    Full(#[from] Full),
    /// The store failed, or the device's queue changed faster than we could decide. Trying later helps.
    #[error("cannot answer: {reason}")]
    Busy {
        /// Who asked.
        device: DeviceId,
        /// For the log.
        reason: String,
    },
    /// A use case panicked, which is an error of this service; the log has the place. Trying later may help.
    #[error("an error of this service ended the request: {reason}")]
    Broken {
        /// For the log.
        reason: String,
    },
}

impl Refusal {
    /// Whether trying again later helps.
    pub const fn is_busy(&self) -> bool {
        matches!(
            self,
            Self::Full(_) | Self::Busy { .. } | Self::Broken { .. }
        )
    }

    /// Whether anybody can cause it in any number, without proving who asks: its log lines are counted
    /// ([`Admission::may_tell`](crate::admission)).
    const fn is_a_strangers(&self) -> bool {
        !matches!(
            self,
            Self::Busy { .. }
                | Self::Broken { .. }
                | Self::Blocked { .. }
                | Self::ReportsOnly { .. }
                | Self::KeyChanged { .. }
                | Self::Query { .. }
                | Self::Report { .. }
        )
    }

    /// The one log line of a refused request, unless strangers have caused too many. WARN where somebody should look, INFO else.
    pub(crate) fn log(&self, app: &App, request: &'static str, status: &dyn std::fmt::Display) {
        if self.is_a_strangers() && !app.admission.may_tell(app.now()) {
            return;
        }
        // Parts of what a stranger sent may be in it.
        let reason = one_line(&self.to_string());
        match self {
            Self::ForeignKey { device, .. } | Self::Busy { device, .. } => {
                tracing::warn!(%device, request, %status, %reason, "device request refused");
            }
            Self::Broken { .. } => {
                tracing::error!(request, %status, %reason, "device request refused");
            }
            Self::UnknownDevice { device }
            | Self::Blocked { device }
            | Self::ReportsOnly { device }
            | Self::KeyNotCertain { device }
            | Self::KeyChanged { device, .. }
            | Self::Query { device, .. }
            | Self::Report { device, .. } => {
                tracing::info!(%device, request, %status, %reason, "device request refused");
            }
            _ => tracing::info!(request, %status, %reason, "device request refused"),
        }
    }
}

/// A credential, parsed.
#[derive(Debug)]
pub(crate) enum Shown<'a> {
    Token(UnverifiedJwt),
    Attested(&'a AttestationToken),
    Granted(&'a Granted),
}

impl<'a> Shown<'a> {
    pub(crate) fn new(credential: Credential<'a>) -> Result<Self, Refusal> {
        Ok(match credential {
            Credential::Jwt(text) => {
                Self::Token(UnverifiedJwt::parse(text).map_err(Refusal::Token)?)
            }
            Credential::Session(granted) => Self::Granted(granted),
        })
    }

    /// Who it says it is: only good for looking up the key.
    pub(crate) const fn device(&self) -> DeviceId {
        match self {
            Self::Token(token) => token.claimed_device(),
            Self::Attested(token) => token.device,
            Self::Granted(granted) => granted.device.get(),
        }
    }
}

/// A device that proved who it is. Only [`App::identify`] makes one.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) device: Verified<DeviceId>,
    pub(crate) key: PublicKey,
    /// The key has to be pinned by the commit of this request.
    pub(crate) pin: bool,
}

impl App {
    /// Checks what was shown against what the store knows about its device at this moment.
    pub(crate) fn identify(
        &self,
        shown: &Shown<'_>,
        known: &Device,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        match shown {
            Shown::Token(token) => self.identify_token(token, known, now),
            Shown::Attested(token) => self.identify_attested(token, known),
            Shown::Granted(granted) => identify_granted(granted, known),
        }
    }

    /// As [`App::identify`], and a foreign key is written down.
    pub(crate) async fn identify_or_alarm(
        &self,
        shown: &Shown<'_>,
        known: &Device,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        let identified = self.identify(shown, known, now);
        if let Err(refusal @ Refusal::ForeignKey { device, kid, .. }) = &identified {
            self.key_alarm(*device, *kid, refusal.to_string(), self.now())
                .await;
        }
        identified
    }

    fn identify_token(
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
            return Err(foreign(kid, known));
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

    fn identify_attested(
        &self,
        token: &AttestationToken,
        known: &Device,
    ) -> Result<Caller, Refusal> {
        let key = match (&known.pin, &known.candidates[..]) {
            (Some(pinned), _) => pinned,
            (None, [only]) => &only.key,
            (None, _) => return Err(Refusal::KeyNotCertain { device: known.id }),
        };
        let device =
            token
                .verified_device(key, &self.verifier)
                .map_err(|e| match token.candidates() {
                    Ok(made_by) if matches!(e, TokenError::Signature) && !made_by.is_empty() => {
                        foreign(made_by[0].kid, known)
                    }
                    _ => Refusal::Attestation(e),
                })?;
        Ok(Caller {
            device,
            pin: known.pin.is_none(),
            key: key.clone(),
        })
    }

    /// Writes a key alarm into the audit trail, at most one per device and [`ALARM_EVERY`].
    pub(crate) async fn key_alarm(
        &self,
        device: DeviceId,
        shown: Kid,
        detail: String,
        now: Timestamp,
    ) {
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
        let event = AuditEvent::new(now, "service", "key-alarm")
            .device(device)
            .detail(detail)
            .changed(Value::Null, json!({ "shownKeyId": shown.to_string() }));
        if let Err(e) = self.store.record(vec![event]).await {
            tracing::warn!(%device, reason = %e, "cannot write a key alarm into the audit trail");
        }
    }
}

fn identify_granted(granted: &Granted, known: &Device) -> Result<Caller, Refusal> {
    match &known.pin {
        Some(pinned) if pinned.kid() == granted.kid => Ok(Caller {
            device: granted.device,
            key: pinned.clone(),
            pin: false,
        }),
        pin => Err(Refusal::KeyChanged {
            device: granted.device.get(),
            kid: granted.kid,
            known: pin.as_ref().map_or_else(
                || "not certain yet".to_owned(),
                |pinned| format!("pinned: {}", pinned.kid()),
            ),
        }),
    }
}

fn foreign(kid: Kid, known: &Device) -> Refusal {
    Refusal::ForeignKey {
        device: known.id,
        kid,
        known: match &known.pin {
            Some(pinned) => format!("pinned: {}", pinned.kid()),
            None => format!("{} candidates from its claim", known.candidates.len()),
        },
    }
}

/// The signing convention in words, for audit details.
pub(crate) const fn convention_name(convention: Convention) -> &'static str {
    match convention {
        Convention::BodyIsAad => "body as external_aad",
        Convention::EmptyAad => "empty external_aad",
    }
}
