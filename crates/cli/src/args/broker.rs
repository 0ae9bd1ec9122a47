//! `sectag mqtt broker`, and what `sectag up` shares with it: what can be typed.

use clap::Args;
use std::path::PathBuf;

/// The broker of the configuration keys.
#[derive(Debug, Clone, Args)]
pub(crate) struct Broker {
    #[command(flatten)]
    pub(crate) rules: TopicRules,
}

/// Who may use which topics.
#[derive(Debug, Clone, Args)]
pub(crate) struct TopicRules {
    /// Who may use which topics, one rule per line, e.g. `allow both {cn}/#`; for every MQTT listener but the internal one
    /// [default: with a certificate <CN>/#, without one everything]
    #[arg(long, value_name = "FILE", env = "SECTAG_TOPIC_RULES")]
    pub(crate) topic_rules: Option<PathBuf>,
}
