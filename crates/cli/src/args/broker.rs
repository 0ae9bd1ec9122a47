//! `sectag mqtt broker`, and what `sectag up` shares with it: what can be typed.

use clap::Args;
use std::path::PathBuf;

/// Run a broker with the listeners of the keys mqtt.bind.* and mqtt.external.*
///
/// The internal listener is plaintext, 127.0.0.1:1883 by default. Any key mqtt.external.* adds the external one: plaintext,
/// TLS (cert_file, key_file), or mutual TLS (ca_path as well). `sectag config list mqtt.` shows the keys, `sectag config
/// check` judges them. Changed certificates, CAs and revocation lists are taken anew without a restart.
#[derive(Debug, Clone, Args)]
#[command(verbatim_doc_comment)]
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
