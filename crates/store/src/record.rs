//! The records of the contract: what goes in and what comes out.

pub(crate) mod rules;

use crate::contract::lives::LifeChange;
use sectag_proto::es256::{Kid, PublicKey};
use sectag_proto::service::{Changes, Command, Queue};
use sectag_proto::token::{Candidate, DeviceType};
use sectag_proto::{CommandId, DeviceId, FirmwareId, Timestamp};
use serde_json::Value;

/// A claimed device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The modem's UUID.
    pub id: DeviceId,
    /// Raised by one with every change; never repeated for one id, not even by a later claim.
    pub version: u64,
    /// Keys that may be its identity key; after the pin only that one.
    pub candidates: Vec<Candidate>,
    /// The key that a JWT's `kid` picked; final.
    pub pin: Option<PublicKey>,
    /// From the token.
    pub device_type: DeviceType,
    /// From the token.
    pub firmware: FirmwareId,
    /// The team that claimed it.
    pub owner: String,
    /// In the owner's order, without repetitions.
    pub tags: Vec<String>,
    /// A blocked device keeps its claim and gets nothing.
    pub blocked: bool,
    /// When it was claimed.
    pub claimed_at: Timestamp,
    /// Last authenticated request that was committed.
    pub last_seen_at: Option<Timestamp>,
    /// Last time it acknowledged `finished`.
    pub finished_at: Option<Timestamp>,
    /// First sequence number of its queue not used yet; from 1.
    pub next_sequence: u32,
    /// Claimed by a key of an admin or an owner: editors and viewers may be kept from it (spec/owner-api §1).
    pub reserved: bool,
}

/// A device, changed in these respects and no others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DevicePatch {
    /// The tags it has from then on; empty ones and repetitions are left out.
    pub tags: Option<Vec<String>>,
    /// Whether it is blocked from then on.
    pub blocked: Option<bool>,
}

/// Which devices somebody may know of. All others do not exist for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Those of this team.
    pub team: String,
    /// Of these, those with at least one of these tags; empty: all.
    pub tags: Vec<String>,
    /// Of these, also the reserved ones ([`Device::reserved`]).
    pub reserved: bool,
}

impl View {
    /// All devices of a team.
    pub fn of(team: impl Into<String>) -> Self {
        Self {
            team: team.into(),
            tags: Vec::new(),
            reserved: true,
        }
    }

    /// Whether it shows this device.
    pub fn shows(&self, device: &Device) -> bool {
        device.owner == self.team
            && (self.reserved || !device.reserved)
            && (self.tags.is_empty() || device.tags.iter().any(|tag| self.tags.contains(tag)))
    }
}

/// A claim to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewClaim {
    /// From the token.
    pub device: DeviceId,
    /// All keys that may have signed the token; not empty.
    pub candidates: Vec<Candidate>,
    /// From the token.
    pub device_type: DeviceType,
    /// From the token.
    pub firmware: FirmwareId,
    /// Given by the owner; empty ones and repetitions are left out.
    pub tags: Vec<String>,
    /// Who claims, and what they may know of: a device that their team has, and they may not see, is another's for them.
    pub view: View,
    /// [`Device::reserved`] of the device, if it is created.
    pub reserved: bool,
    /// For the audit trail, as `by` elsewhere.
    pub by: String,
    /// Take this claim's keys although others are known for this device.
    pub accept_new_key: bool,
    /// The time of the request.
    pub claimed_at: Timestamp,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// Claimed by this request.
    Created(Device),
    /// Claimed before by the same team, with the same key: unchanged (tags as well), unless a new key was accepted.
    Existing(Device),
    /// Claimed by another team, kept from the claimer, or claimed for a team that was deleted. Do not tell the claimer apart from other refusals (spec/owner-api §2.1).
    OwnedByOther(Device),
    /// The device is known under another key.
    KeyConflict(KnownKey),
}

/// Under which key, and since when, a device is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// Whether it is claimed at this moment; else it is a tombstone.
    pub claimed: bool,
    /// The pinned kid, or all candidates.
    pub kids: Vec<Kid>,
}

/// What an unclaimed device left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Whose.
    pub device: DeviceId,
    /// The pin of the last claim.
    pub pin: Option<PublicKey>,
    /// The candidates of the last claim.
    pub candidates: Vec<Candidate>,
    /// The version it had.
    pub version: u64,
    /// When it was unclaimed.
    pub unclaimed_at: Timestamp,
}

/// Which devices to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceQuery {
    /// Of these.
    pub view: View,
    /// Begin behind this id: the [`Page::next`] of the page before.
    pub after: Option<DeviceId>,
    /// Rows at most, from 1 to [`crate::PAGE_ROWS_MAX`].
    pub limit: usize,
    /// Only devices with this tag.
    pub tag: Option<String>,
    /// Only blocked ones, or only those that are not.
    pub blocked: Option<bool>,
    /// Only ids that begin like this.
    pub prefix: Option<IdPrefix>,
}

impl DeviceQuery {
    /// The first `limit` of these devices.
    pub const fn first(view: View, limit: usize) -> Self {
        Self {
            view,
            after: None,
            limit,
            tag: None,
            blocked: None,
            prefix: None,
        }
    }
}

/// How the text of a device id begins: up to 32 hex digits, with or without hyphens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdPrefix {
    low: [u8; 16],
    high: [u8; 16],
}

impl IdPrefix {
    /// `None` when no id begins like this.
    pub fn parse(text: &str) -> Option<Self> {
        let (mut low, mut high) = ([0_u8; 16], [0xff_u8; 16]);
        let mut digits = 0;
        for c in text.chars().filter(|&c| c != '-') {
            let digit = u8::try_from(c.to_digit(16)?).ok()?;
            let at = digits / 2;
            if at == low.len() {
                return None;
            }
            let (shift, rest) = if digits % 2 == 0 { (4, 0x0f) } else { (0, 0) };
            low[at] |= digit << shift;
            high[at] = low[at] | rest;
            digits += 1;
        }
        (digits > 0).then_some(Self { low, high })
    }

    /// The first and the last id that begins like this.
    pub const fn range(&self) -> (DeviceId, DeviceId) {
        (
            DeviceId::from_bytes(self.low),
            DeviceId::from_bytes(self.high),
        )
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, Cursor, Total = u64> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Cursor>,
    /// All that the filter matches, on all pages.
    pub total: Total,
}

/// A page of devices. With several tags or a prefix nobody knows how many there are: `total` is `None`. With a tag beside
/// the tags of a [`View`] a page may hold fewer devices than asked for, and yet not be the last one.
pub type DevicePage = Page<Device, DeviceId, Option<u64>>;

/// A device and its queue at one moment.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its version goes to [`crate::Store::commit`].
    pub device: Device,
    /// Open commands, and the named terminal ones.
    pub queue: Queue,
    /// Of the active rules of its team ([`crate::ActiveRules`]); 0 when there never was one.
    pub rules_generation: u64,
    /// Whether the device has got all of them that are for it.
    pub rules_seen: bool,
}

/// A decision about one device, to be committed as a whole.
#[derive(Debug, Clone, Default)]
pub struct DeviceChange {
    /// Pin this key: one of the candidates, and the same one if it is pinned already.
    pub pin: Option<PublicKey>,
    /// Complete new states of changed or added commands. A terminal one loses its secrets. One that is still open and
    /// comes without them keeps what is sealed, if its request is otherwise unchanged.
    pub commands: Vec<Command>,
    /// First sequence number not used yet. Never lowers what is stored: 0 changes nothing.
    pub next_sequence: u32,
    /// Commands to delete, with their secrets.
    pub removed: Vec<CommandId>,
    /// Certificates issued by this decision. The same one again changes nothing.
    pub issued: Vec<Issued>,
    /// What the device got of its team's rules.
    pub rules: Option<rules::RulesChange>,
    /// What becomes of certificates by this decision, in this order.
    pub lives: Vec<LifeChange>,
    /// Events for the audit trail; they are told as well.
    pub audit: Vec<AuditEvent>,
    /// What is told and stands in no audit trail: fetches and results.
    pub events: Vec<crate::contract::NewEvent>,
    /// The request that led here was authenticated at this time.
    pub last_seen_at: Option<Timestamp>,
    /// `finished` was acknowledged at this time.
    pub finished_at: Option<Timestamp>,
}

impl DeviceChange {
    /// What a question to the queue changed, when the device itself asked at `now`.
    pub fn seen(changes: &Changes, now: Timestamp) -> Self {
        Self {
            last_seen_at: Some(now),
            finished_at: changes.finished.then_some(now),
            ..Self::from_owner(changes)
        }
    }

    /// What a question to the queue changed, when its owner asked.
    pub fn from_owner(changes: &Changes) -> Self {
        Self {
            commands: changes.commands.clone(),
            next_sequence: changes.next_sequence,
            ..Self::default()
        }
    }
}

/// The answer to a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The device's version from this commit on.
    pub version: u64,
}

/// A certificate that was issued to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// SHA-256 of the SubjectPublicKeyInfo: unique over all devices and all time.
    pub spki_sha256: [u8; 32],
    /// Serial number, lower-case hex.
    pub serial: String,
    /// The certificate.
    pub certificate_der: Vec<u8>,
    /// The CSR command that it answers.
    pub command: CommandId,
    /// To whom.
    pub device: DeviceId,
    /// When.
    pub issued_at: Timestamp,
}

/// An entry of the allow-list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// To whom.
    pub team: String,
    /// Who may come.
    pub device: DeviceId,
    /// Under which key.
    pub kid: Kid,
    /// Since when.
    pub added_at: Timestamp,
}

/// People who share devices, keys and an issuing CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    /// Never changes, never used again.
    pub id: String,
    /// Unique, for people.
    pub name: String,
    /// First level of the topics of its devices; `None`: there is none.
    pub topic_prefix: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An API key. The key itself is never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Whose it is.
    pub team: String,
    /// Unique in its team, for people and for the audit trail.
    pub name: String,
    /// SHA-256 of the key (256 random bits need no slow hash).
    pub hash: [u8; 32],
    /// What it may do.
    pub role: Role,
    /// To which devices: those with one of these tags; empty: all of the team.
    pub tags: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops being one. The caller compares: no clock here.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// What an API key may do; each role may do all that the one before may (spec/owner-api §1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Provisions.
    Editor,
    /// Manages devices of others.
    Admin,
    /// Everything, keys as well.
    Owner,
}

impl Role {
    /// All roles, weakest first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Editor, Self::Admin, Self::Owner];

    /// `viewer`, `editor`, `admin`, `owner`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The reverse of [`Role::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// Something that happened, for whoever asks later. Holds no secrets: it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// Who: the name of an API key, `device`, or `service`.
    pub by: String,
    /// What, as a short stable word: `claim`, `accept-new-key`, `certificate-issued`.
    pub action: String,
    /// The team it concerns; `None` for the service itself.
    pub team: Option<String>,
    /// The device it concerns.
    pub device: Option<DeviceId>,
    /// The command it concerns.
    pub command: Option<CommandId>,
    /// In words, with the facts.
    pub detail: String,
    /// What was changed, as it was; an object.
    pub before: Option<Value>,
    /// What was changed, as it is from then on; an object.
    pub after: Option<Value>,
}

impl AuditEvent {
    /// An event of which nothing but time, person and deed is known.
    pub fn new(at: Timestamp, by: &str, action: &str) -> Self {
        Self {
            at,
            by: by.to_owned(),
            action: action.to_owned(),
            team: None,
            device: None,
            command: None,
            detail: String::new(),
            before: None,
            after: None,
        }
    }

    /// Of this team.
    #[must_use]
    pub fn team(self, team: &str) -> Self {
        let team = Some(team.to_owned());
        Self { team, ..self }
    }

    /// About this device.
    #[must_use]
    pub fn device(self, device: impl Into<Option<DeviceId>>) -> Self {
        let device = device.into();
        Self { device, ..self }
    }

    /// About this command.
    #[must_use]
    pub fn command(self, command: impl Into<Option<CommandId>>) -> Self {
        let command = command.into();
        Self { command, ..self }
    }

    /// In words, with the facts.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { detail, ..self }
    }

    /// What was and what is, as objects; `Value::Null` where there is nothing.
    #[must_use]
    pub fn changed(self, before: Value, after: Value) -> Self {
        let some = |value: Value| (!value.is_null()).then_some(value);
        Self {
            before: some(before),
            after: some(after),
            ..self
        }
    }
}

/// An event with its place in the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Rises by one with each event.
    pub number: u64,
    /// What happened.
    pub event: AuditEvent,
}
