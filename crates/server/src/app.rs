//! The use cases. Each reads outside, decides in `proto`, signs outside, and commits once; it knows no HTTP.
//!
//! ```text
//!  device:  identity ──► session::{authenticate, fetch, report} ──► issuing (closed loop) ──► store.commit (compare-and-swap)
//!  owner:   claim · commands · keys                                        ──► store
//! ```

mod claim;
mod claim_many;
mod commands;
mod forecast;
mod foreign;
mod identity;
mod issuing;
mod keys;
mod material;
mod plan;
mod renewal;
mod reset;
mod revocation;
mod rules;
mod session;
mod teams;
mod verified;

pub use claim::{BULK_ROWS_MAX, ClaimRequest, Claimed};
pub use claim_many::{CLAIMS_IN_HAND_MAX, recovery_cores};
pub use commands::{CommandPatch, Wish};
pub use forecast::{
    ALARM_DAYS, COUNTED_MAX, Expected, Forecast, ForecastQuery, Looked, Outlook, OwnCertificate,
    OwnCertificates, Sum, Sums, WINDOW_DAYS, WINDOW_DAYS_MAX, WINDOWS_MAX, Window,
};
pub(crate) use forecast::{of_home, watch_lives};
pub(crate) use foreign::rows_of;
pub use foreign::{REGISTER_BYTES_MAX, RowRules, checked_row};
pub use identity::{Credential, Refusal};
pub(crate) use issuing::hex;
pub use issuing::{IssueRefusal, Issuer};
pub use keys::{Caller, KeyText, NewKey};
pub use plan::{FleetPlan, Plan, PlanGroup, PlanSource, PlanStep};
pub use renewal::{SWITCH_KEY, problem_of, words_of};
pub use reset::Reset;
pub use rules::RulePatch;
pub use teams::NewTeam;
pub(crate) use teams::{home_team, reconcile_authorities};

use crate::admission::Admission;
use crate::gate::Doorkeeper;
use crate::issuers::Issuers;
use crate::settings::Policy;
use crate::verify::AwsLc;
use sectag_proto::{DeviceId, Timestamp};
use sectag_store::{Store, StoreError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// The calendar, as an argument: milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Attempts of one compare-and-swap. A conflict means that somebody else's change to the same device was committed,
/// so with few writers per device the second attempt succeeds.
pub(crate) const COMMIT_ATTEMPTS: usize = 16;
/// Tags of one device, and characters of one tag.
pub const TAGS_MAX: usize = 20;
/// See [`TAGS_MAX`].
pub const TAG_CHARS_MAX: usize = 128;
/// Characters of a command's description.
pub const DESCRIPTION_CHARS_MAX: usize = 1024;

/// Everything the use cases need.
pub struct App {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) issuer: Issuer,
    /// As the operator said; [`App::policy`] is what it comes to.
    pub(crate) policy: Policy,
    /// Whether editors and viewers are kept from devices that an admin or an owner claimed.
    pub(crate) admin_claims_hidden: bool,
    pub(crate) open_commands_max: usize,
    pub(crate) clock: Clock,
    pub(crate) verifier: AwsLc,
    /// Who is let in when many come at once.
    pub(crate) admission: Arc<Admission>,
    /// The active rules of each team.
    pub(crate) rules: rules::RuleBook,
    /// The id of the home's own team.
    pub(crate) owner: String,
    /// Which certificates devices connected with, on the way to the store.
    pub(crate) uses: renewal::Uses,
    /// The home's own certificates, for forecasts.
    pub(crate) own_certificates: OwnCertificates,
    /// What tells that two devices share one identity.
    pub(crate) clones: crate::clones::Clones,
    /// Who signs devices.
    pub(crate) issuers: Arc<Issuers>,
    /// Whom the broker lets in.
    pub(crate) doorkeeper: Arc<Doorkeeper>,
    /// An upload waits to be worked off.
    pub(crate) uploads: tokio::sync::Notify,
    /// When a device's key alarm was last written: one in ten minutes is enough to act on.
    pub(crate) alarmed: Mutex<HashMap<DeviceId, Timestamp>>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("policy", &self.policy)
            .field("open_commands_max", &self.open_commands_max)
            .finish_non_exhaustive()
    }
}

/// Why an owner's request was refused. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerError {
    /// No API key, or none that we know.
    #[error("no valid API key: send `Authorization: Bearer <key>`")]
    Unauthorized,
    /// A key whose role does not allow this.
    #[error("this API key has the role `{role}`, which does not allow this")]
    Forbidden {
        /// The key's role.
        role: &'static str,
    },
    /// A key that is limited to tags, and a question that concerns more.
    #[error("this API key is limited to devices with certain tags, and this concerns more")]
    BeyondScope,
    /// A key of another team than the home's own.
    #[error("only keys of the home's own team may do this")]
    HomeOnly,
    /// The Host or Origin header names somebody else: DNS rebinding, or a page of another site.
    #[error("{header} `{given}` is not a name of this service")]
    ForeignHost {
        /// `Host` or `Origin`.
        header: &'static str,
        /// Its value, shortened.
        given: String,
    },
    /// No such device, command or key.
    #[error("no {what} `{id}`")]
    NotFound {
        /// "claimed device", "command", "API key".
        what: &'static str,
        /// What was asked for.
        id: String,
    },
    /// No such path.
    #[error("no such path; the API is under /v1/")]
    UnknownPath,
    /// A path with another method.
    #[error("this path does not take {method}")]
    WrongMethod {
        /// The method.
        method: String,
    },
    /// Not JSON, not CSV, not a query.
    #[error("{0}")]
    Malformed(String),
    /// JSON of another shape than this call takes; in serde's words.
    #[error("{0}")]
    Unprocessable(String),
    /// A well-formed value that cannot be accepted.
    #[error("{field}: {reason}")]
    Invalid {
        /// The JSON member.
        field: &'static str,
        /// In words, with the limit.
        reason: String,
    },
    /// A rule that could not be applied to any device.
    #[error("{0}")]
    Rule(#[from] sectag_proto::rules::RuleError),
    /// Body over the limit.
    #[error("the body has more than {max} bytes")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// The claim token cannot be parsed.
    #[error("not a claim token: {0}")]
    BadToken(#[from] sectag_proto::token::TokenError),
    /// The claim token is one, and yet refused.
    #[error("claim refused: {0}")]
    ClaimRefused(&'static str),
    /// The device id is known under another key.
    #[error(
        "claim refused: device {0} is known under another key; if that is intended, claim it with `acceptNewKey`: true"
    )]
    KeyConflict(DeviceId),
    /// The queue took no more.
    #[error("{0}")]
    QueueFull(String),
    /// A name that is taken.
    #[error("{0}")]
    Exists(String),
    /// A command that the device has fetched.
    #[error(
        "command {0} is IN_PROGRESS: the device may be executing it; use `?force=true` to remove it anyway"
    )]
    InProgress(String),
    /// The last key that may manage keys.
    #[error(
        "this is the team's last API key with the role `owner`; revoking it would lock everyone out"
    )]
    LastOwnerKey,
    /// A team that cannot be deleted.
    #[error("{0}")]
    TeamInUse(String),
    /// A rule that is not a draft any more, or was changed meanwhile.
    #[error("{0}")]
    RuleActive(String),
    /// A command that is past being changed, or is not parked.
    #[error("{0}")]
    CommandState(String),
    /// As many streams of events are open as there may be, of this team or in all.
    #[error("{0}; close one, or use a webhook")]
    TooManyStreams(String),
    /// As many requests of one API key are in hand as may be.
    #[error("{max} requests of this API key are in hand already; wait for their answers")]
    TooManyRequests {
        /// The limit.
        max: u32,
    },
    /// Too many writers at one device.
    #[error("the device's queue is changing too fast; try again")]
    Contention,
    /// The issuing CA of a team cannot be made.
    #[error("{0}")]
    NoAuthority(String),
    /// A call of the vendor's cloud that is not ours; in words what is.
    #[error("{0}")]
    NotOurs(&'static str),
    /// The store failed; the reason is for the log only.
    #[error("the store failed; see the service's log")]
    Store(#[from] StoreError),
}

impl App {
    /// Now, by the clock that was handed in.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Whether this is the team of the home itself.
    pub fn is_home(&self, team: &str) -> bool {
        self.owner == team
    }

    /// Who was turned away.
    pub const fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// The store behind the use cases.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// A random v4 id.
    pub(crate) fn command_id() -> sectag_proto::CommandId {
        sectag_proto::CommandId::from_bytes(*uuid::Uuid::new_v4().as_bytes())
    }
}
