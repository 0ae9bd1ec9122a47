//! `sectag events`, `sectag alarms` and `sectag webhooks`.

use clap::{Args, Subcommand};
use sectag_store::EVENT_KINDS;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Begin behind this event; 0 for all there are [default: what comes next]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) after: Option<u64>,
    /// Only this kind (repeat for several)
    #[arg(long = "kind", value_name = "KIND", value_parser = EVENT_KINDS)]
    pub(crate) kinds: Vec<String>,
    /// Only what concerns this device
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// End after so many [default: go on until Ctrl-C]
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<usize>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Alarms {
    /// Also those that were acknowledged
    #[arg(long)]
    pub(crate) all: bool,
    #[command(subcommand)]
    pub(crate) verb: Option<AlarmsVerb>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlarmsVerb {
    /// Say that somebody looked at an alarm; it stays in the audit trail
    Ack {
        /// Its number
        number: u64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Webhooks {
    /// All of the team's, and how each is doing
    List,
    /// Send events to a receiver's URL from now on; prints the secret that they are signed with, this once
    Add(AddWebhook),
    /// Send a test event at once, and say how that went
    ///
    /// Exit code 0: the receiver took it; 1: it did not.
    Test {
        /// Of the webhook
        id: String,
    },
    /// Send nothing until it is resumed; nothing is lost
    Pause {
        /// Of the webhook
        id: String,
    },
    /// Send what waited, and what comes
    Resume {
        /// Of the webhook
        id: String,
    },
    /// Send nothing any more
    Remove {
        /// Of the webhook
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddWebhook {
    /// https://…, or http://… within the own network
    #[arg(value_name = "RECEIVER")]
    pub(crate) receiver: String,
    /// Only this kind (repeat for several) [default: all]
    #[arg(long = "kind", value_name = "KIND", value_parser = EVENT_KINDS)]
    pub(crate) kinds: Vec<String>,
    /// File with the secret to sign with, 16 to 256 characters [default: a new one is made]
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
}
