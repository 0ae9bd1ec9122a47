//! What can be typed about people and what they see: keys, teams, the allow-list, the list of devices.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// List API keys (never the keys themselves)
    List {
        #[command(flatten)]
        of: OfTeam,
    },
    /// Make a key; it is shown this once
    Create {
        /// A name that says what it is for
        name: String,
        /// What it may do; each role may do what the one before may: viewer reads, editor provisions, admin manages the
        /// devices of others, owner manages keys. Viewers and editors do not see devices that an admin or owner claimed
        #[arg(long, default_value = "editor", value_parser = ["viewer", "editor", "admin", "owner"])]
        role: String,
        /// Limit it to devices with this tag (repeat for several); not for owners
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
        /// When it stops being a key: 2027-01-31, 2027-01-31T12:00:00Z, or 90d, 12h from now [default: never]
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
        #[command(flatten)]
        of: OfTeam,
    },
    /// Revoke a key; whoever uses it is refused from then on
    Revoke {
        /// Its name, see `sectag keys`
        name: String,
        #[command(flatten)]
        of: OfTeam,
    },
}

#[derive(Debug, Default, Args)]
pub(crate) struct OfTeam {
    /// Another team's, by its name or id; for owners of the home's own team
    #[arg(long, value_name = "TEAM")]
    pub(crate) team: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Teams {
    /// List teams
    List,
    /// Make a team with its own issuing CA, devices, keys and allow-list; give it its first key with `sectag keys create`
    Create {
        /// 1 to 64 letters, digits, `-`, `_` and `.`
        name: String,
        /// First level of the topics of its devices [default: the name]
        #[arg(long, value_name = "LEVEL")]
        topic_prefix: Option<String>,
    },
    /// Show one team
    Show {
        /// Its name or id
        team: String,
    },
    /// Give a team another name; its topics stay
    Rename {
        /// Its name or id
        team: String,
        /// The new one
        name: String,
    },
    /// Delete a team without devices; its keys are revoked
    Delete {
        /// Its name or id
        team: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AllowList {
    /// List which devices may be claimed, and under which key
    List,
    /// Let a device be claimed under this key
    ///
    /// Two attestation tokens of the device, read on the bench, tell its id and its key as well: several keys may have made one
    /// signature, one made both.
    #[command(
        override_usage = "sectag allow-list add [OPTIONS] <DEVICE> <KEY_ID>\n       sectag allow-list add [OPTIONS] --token <TOKEN> --token <TOKEN>"
    )]
    Add {
        /// Device id
        #[arg(required_unless_present = "tokens")]
        device: Option<String>,
        /// Key id of its identity key: SHA-256 over the public key (SubjectPublicKeyInfo, DER), 64 hex digits
        #[arg(required_unless_present = "tokens")]
        key_id: Option<String>,
        /// A token of the device (`AT%ATTESTTOKEN`, `sectag device token`); give two that differ
        #[arg(long = "token", value_name = "TOKEN", conflicts_with_all = ["device", "key_id"])]
        tokens: Vec<String>,
    },
    /// Take a device off the list; if it is claimed, it stays so
    Remove {
        /// Device id
        device: String,
    },
}

#[derive(Debug, Default, Args)]
pub(crate) struct ListDevices {
    /// Only devices with this tag
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// Only those that are ready, or blocked
    #[arg(long, value_parser = ["ready", "blocked"], ignore_case = true)]
    pub(crate) status: Option<String>,
    /// Only those whose id begins like this, with or without hyphens
    #[arg(long, value_name = "HEX")]
    pub(crate) prefix: Option<String>,
}
