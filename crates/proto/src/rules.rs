//! Rules: what a device that carries a tag gets when it shows up (spec/owner-api §5), and what happens when a command fails.
//!
//! ```text
//!   owner ──► RuleDraft ──checked (template.rs)──► Rule DRAFT ──activate──► ACTIVE ──► due(device) ──bind──► commands, finished
//!                                                    │ PATCH, DELETE          │ DELETE only      once per device until reset
//! ```
//!
//! The serde form is the JSON of the owner API; members that the vendor's tools do not send are ours and optional.

mod bind;
mod closed_loop;
mod policy;
pub mod template;

pub use bind::{NO_TAGS, RuleError};
pub(crate) use closed_loop::member;
pub use closed_loop::{ClosedLoop, DeviceProfile, VALIDITY_DAYS_DEFAULT, VALIDITY_DAYS_MAX};
pub use policy::{ErrorPolicy, RETRIES_MAX};

use crate::command::CommandRequest;
use crate::id::RuleId;
use crate::{SecTag, Timestamp};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Characters of a rule's name.
pub const NAME_CHARS_MAX: usize = 128;
/// Tags that one rule is for.
pub const RULE_TAGS_MAX: usize = 20;

/// A rule as the service keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Shown as `ruleId` in the commands that it made.
    pub id: RuleId,
    /// Unique in its team.
    pub name: String,
    /// The owner's words.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether it applies to devices.
    pub state: RuleState,
    /// It is for the devices that carry one of these.
    pub tags: Vec<String>,
    /// In order of execution; texts may hold template variables ([`template`]).
    pub commands: Vec<RuleCommand>,
    /// What happens when one of its commands fails.
    #[serde(default)]
    pub on_error: ErrorPolicy,
    /// Whether certificates that it issued are renewed.
    #[serde(default)]
    pub renewal: Option<Renewal>,
    /// Rules of a device apply in this order.
    pub created_at: Timestamp,
    /// When it became ACTIVE.
    #[serde(default)]
    pub activated_at: Option<Timestamp>,
}

/// Where a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RuleState {
    /// Can be edited, applies to no device.
    Draft,
    /// Applies to devices, cannot be edited.
    Active,
}

impl RuleState {
    /// As the owner sees it: `DRAFT`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "DRAFT",
            Self::Active => "ACTIVE",
        }
    }
}

/// What an owner sends to create a rule; the vendor's tools send exactly these members without the last two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleDraft {
    /// Unique in the team.
    pub name: String,
    /// The owner's words.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether it is activated at once.
    #[serde(default)]
    pub active: bool,
    /// See [`Rule::tags`].
    #[serde(default)]
    pub tags: Vec<String>,
    /// See [`Rule::commands`].
    pub commands: Vec<RuleCommand>,
    /// See [`Rule::on_error`].
    #[serde(default)]
    pub on_error: ErrorPolicy,
    /// See [`Rule::renewal`].
    #[serde(default)]
    pub renewal: Option<Renewal>,
}

/// One command of a rule: as a hand-made one, and its texts may hold template variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleCommand {
    /// The owner's words, as in a hand-made command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What to do.
    pub request: CommandRequest,
}

impl RuleCommand {
    /// The closed loop that this command asks for: a CSR with `issue`.
    pub const fn closed_loop(&self) -> Option<(SecTag, ClosedLoop)> {
        match &self.request {
            CommandRequest::CertificateSigningRequest {
                sec_tag,
                issue: Some(closed_loop),
                ..
            } => Some((*sec_tag, *closed_loop)),
            _ => None,
        }
    }
}

/// How certificates of a rule's closed loop are renewed before they end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Renewal {
    /// Percent of its life after which a certificate is renewed; 67 (two thirds) by default, 1 to 95.
    #[serde(default = "two_thirds")]
    pub at_percent: u8,
    /// Where the new key and certificate go.
    #[serde(default)]
    pub into: RenewInto,
}

/// See [`Renewal::into`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RenewInto {
    /// The same tag: the old key is gone before the new certificate is there.
    #[default]
    InPlace,
    /// Another tag, so that the old pair works until the new one is proven; the next renewal goes back.
    Alternate {
        /// Where.
        sec_tag: SecTag,
    },
}

/// Percent of a life after which a renewal is due, by default.
pub const RENEW_AT_PERCENT_DEFAULT: u8 = 67;
/// Latest percent: some life must be left for devices that come once a day.
pub const RENEW_AT_PERCENT_MAX: u8 = 95;

const fn two_thirds() -> u8 {
    RENEW_AT_PERCENT_DEFAULT
}

impl Default for Renewal {
    fn default() -> Self {
        Self {
            at_percent: RENEW_AT_PERCENT_DEFAULT,
            into: RenewInto::InPlace,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// As the vendor's tool sends it (spec/owner-api §5).
    const ONBOARDING: &str = r#"{"name": "nRF Cloud Onboarding", "description": "…", "active": true,
       "commands": [{"request": {"clientPrivateKeyGeneration": {"secTag": 16842753}}},
                    {"request": {"cloudAccessKeyGeneration": {"secTag": 16842753}}},
                    {"request": {"serverCertificate": {"secTag": 16842753, "content": "<PEM>"}}}],
       "tags": ["nrf-cloud-onboarding"]}"#;

    #[test]
    fn the_vendors_rule_reads_and_means_the_vendors_policy() {
        let draft: RuleDraft = serde_json::from_str(ONBOARDING).unwrap();
        assert!(draft.active);
        assert_eq!(draft.commands.len(), 3);
        assert_eq!(draft.on_error, ErrorPolicy::VendorDefault);
        assert_eq!(draft.renewal, None);
    }

    #[test]
    fn our_members_are_read_in_camel_case() {
        let draft: RuleDraft = serde_json::from_str(
            r#"{"name":"n","tags":["a"],"onError":{"retry":{"times":3}},
                "renewal":{"into":{"alternate":{"secTag":7}}},
                "commands":[{"description":"d","request":{"certificateSigningRequest":
                    {"secTag":1,"issue":{"profile":"clientWithKeyAgreement","validityDays":90}}}}]}"#,
        )
        .unwrap();
        assert_eq!(draft.on_error, ErrorPolicy::Retry { times: 3 });
        let renewal = draft.renewal.unwrap();
        assert_eq!(renewal.at_percent, 67);
        let sec_tag = SecTag::new(7).unwrap();
        assert_eq!(renewal.into, RenewInto::Alternate { sec_tag });
        let (tag, closed_loop) = draft.commands[0].closed_loop().unwrap();
        assert_eq!((tag.get(), closed_loop.validity_days), (1, 90));
        assert_eq!(closed_loop.profile, DeviceProfile::ClientWithKeyAgreement);
    }

    #[test]
    fn an_unknown_member_is_named() {
        let e = serde_json::from_str::<RuleDraft>(r#"{"name":"n","commands":[],"tag":["a"]}"#);
        let e = std::format!("{}", e.unwrap_err());
        assert!(e.contains("`tag`") && e.contains("`tags`"), "{e}");
    }
}
