//! `sectag rules`, `sectag tags`, `sectag plan`.

use clap::{Args, Subcommand};
use sectag_proto::SecTag;

#[derive(Debug, Subcommand)]
pub(crate) enum Rules {
    /// List rules in the order in which they apply
    List,
    /// Show one rule as JSON; secrets as digests
    Show {
        /// Its name or id
        rule: String,
    },
    /// Make a rule: from a file, from flags, or a file changed by flags
    ///
    /// The file is JSON as the owner API takes it; `sectag rules example` prints one. Texts may hold {{device.id}},
    /// {{device.imei}}, {{device.type}}, {{team.prefix}} and {{tag.NAME}}.
    Create(NewRule),
    /// Change a draft, by a file or flags; an active rule cannot be changed
    Change {
        /// Its name or id
        rule: String,
        #[command(flatten)]
        new: NewRule,
    },
    /// Let a draft apply to the devices with its tags, each once, when it shows up
    Activate {
        /// Its name or id
        rule: String,
    },
    /// Delete a rule; commands that it queued stay queued
    Delete {
        /// Its name or id
        rule: String,
    },
    /// Print a rule to begin with
    Example,
}

#[derive(Debug, Args)]
pub(crate) struct NewRule {
    /// The rule as JSON, see `sectag rules example`; `-` is stdin
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<String>,
    /// Its name, unique in the team
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Text shown with the rule
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// For devices with this tag; repeat it for more
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// The whole way to MQTT: root CA, key and certificate under this sec tag [default of the flag: 16842753]
    #[arg(long, value_name = "SEC_TAG", num_args = 0..=1, require_equals = true, default_missing_value = "16842753")]
    pub(crate) onboard: Option<SecTag>,
    /// Days that a certificate of --onboard is valid, 1 to 3650 [default: 730]
    #[arg(long, value_name = "DAYS", requires = "onboard", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) validity_days: Option<u32>,
    /// Renew certificates of this rule after this percentage of their life, 1 to 95 [default of the flag: 67]
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, require_equals = true, default_missing_value = "67", value_parser = clap::value_parser!(u8).range(1..=95))]
    pub(crate) renew: Option<u8>,
    /// With --renew: into this sec tag, so that the old certificate works until the new one is proven [default: in place]
    #[arg(long, value_name = "SEC_TAG", requires = "renew")]
    pub(crate) renew_into: Option<SecTag>,
    /// When a command fails: drop-rest (the vendor's way), keep-rest, retry=N, park
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    pub(crate) on_error: Option<serde_json::Value>,
    /// Activate it at once
    #[arg(long)]
    pub(crate) active: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tags {
    /// List registered tags; devices and rules may carry others
    List,
    /// Register a tag
    Create {
        /// A word, or NAME=VALUE for {{tag.NAME}}
        tag: String,
        /// Text shown with it
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Take a tag off the list; devices and rules keep it
    Delete {
        /// The tag
        tag: String,
    },
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["device", "tag", "rule"]))]
pub(crate) struct PlanArgs {
    /// What this device will get
    pub(crate) device: Option<String>,
    /// What the devices with this tag will get
    #[arg(long, conflicts_with_all = ["device", "rule"])]
    pub(crate) tag: Option<String>,
    /// What this rule would bring, if it were active: a file as for `sectag rules create`, or the name of a draft; with a
    /// device to that one, else to all devices with its tags
    #[arg(long, value_name = "FILE|NAME")]
    pub(crate) rule: Option<String>,
    /// Of a fleet, show the plans of so many devices
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) limit: usize,
    /// Of a fleet, look at every device, not at the first 500
    #[arg(long)]
    pub(crate) all: bool,
    /// Exit code 1 when a device does not get what its rules say
    #[arg(long)]
    pub(crate) check: bool,
}

/// An error policy as JSON of the owner API.
pub(crate) fn policy(text: &str) -> Result<serde_json::Value, String> {
    match text {
        "drop-rest" => Ok("vendorDefault".into()),
        "keep-rest" => Ok("keepRest".into()),
        "park" => Ok("park".into()),
        _ => text
            .strip_prefix("retry=")
            .and_then(|times| times.parse::<u8>().ok())
            .map(|times| serde_json::json!({ "retry": { "times": times } }))
            .ok_or_else(|| "one of drop-rest, keep-rest, retry=N, park".to_owned()),
    }
}
