//! `sectag mqtt`: what can be typed.

use super::{Broker, Sample};
use clap::{Args, Subcommand, ValueEnum};
use sectag_device::link::{CipherSuite, PeerVerify};
use std::path::PathBuf;

/// Whether the server has to prove who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verify {
    /// 2: it has to
    Required,
    /// 1: look, warn, and connect all the same
    Optional,
    /// 0: do not look
    None,
}

impl From<Verify> for PeerVerify {
    fn from(verify: Verify) -> Self {
        match verify {
            Verify::Required => Self::Required,
            Verify::Optional => Self::DangerouslyOptional,
            Verify::None => Self::DangerouslyNone,
        }
    }
}

const BY_KEYS: &str = "Broker and credentials by configuration keys";

/// The broker of the keys `mqtt.client.*`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Keys {
    /// Connect as the configuration keys mqtt.client.* say: `sectag config list mqtt.client`. Every failure then exits with 1
    #[arg(long, help_heading = BY_KEYS)]
    pub(crate) gateway: bool,
    /// Seconds to try as long as only patience is needed (nothing listens, no answer); 0 for ever
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        requires = "gateway",
        help_heading = BY_KEYS
    )]
    pub(crate) connection_timeout: u64,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Link {
    #[command(flatten)]
    pub(crate) keys: Keys,
    /// Device whose credentials to use; its modem signs, the key stays there
    #[arg(long, conflicts_with_all = ["cert", "operator", "ca", "gateway"])]
    pub(crate) name: Option<String>,
    /// Sec tag that holds root CA, certificate and key of --name (repeat for a secondary one) [default: the one that a renewal
    /// told the device to use, its setting `mqtt/sec-tag`, and then 16842753]
    #[arg(long = "sec-tag", value_name = "SEC_TAG", conflicts_with = "gateway")]
    pub(crate) sec_tags: Vec<u32>,
    /// Use the home's operator certificate (may read everything)
    #[arg(long, conflicts_with_all = ["cert", "gateway"])]
    pub(crate) operator: bool,
    /// Client certificate chain, PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "key",
        conflicts_with = "gateway"
    )]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of --cert, PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "cert",
        conflicts_with = "gateway"
    )]
    pub(crate) key: Option<PathBuf>,
    /// Root CA of the broker, PEM, for --cert and --operator, or alone [default: HOME/ca/root.crt]
    #[arg(long, value_name = "FILE", conflicts_with = "gateway")]
    pub(crate) ca: Option<PathBuf>,
    /// Broker host
    #[arg(long, default_value = "localhost", conflicts_with = "gateway")]
    pub(crate) host: String,
    /// Broker port [default: the one of the service in this home, else 8883, with --plain 1883]
    #[arg(long, conflicts_with = "gateway")]
    pub(crate) port: Option<u16>,
    /// Name in the broker's certificate, if it is another than --host
    #[arg(long, value_name = "NAME", conflicts_with = "gateway")]
    pub(crate) server_name: Option<String>,
    /// Allow this cipher suite only, by IANA name or number (repeat for several) [default: all]
    #[arg(long = "cipher", value_name = "SUITE", conflicts_with = "gateway")]
    pub(crate) ciphers: Vec<CipherSuite>,
    /// Talk to a server that does not prove who it is; for tests on a desk only
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value = "required",
        hide_default_value = true,
        conflicts_with = "gateway"
    )]
    pub(crate) dangerously_peer_verify: Verify,
    /// MQTT over plain TCP: no TLS, no credentials, everybody on the way reads along
    #[arg(long, conflicts_with_all = ["sec_tags", "operator", "cert", "key", "ca", "server_name", "ciphers", "dangerously_peer_verify", "gateway"])]
    pub(crate) plain: bool,
    /// MQTT client id [default: the certificate's CN; without --name, a number is added to it]
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// MQTT version; only 5 says that a publish was refused
    #[arg(long, value_name = "VERSION", default_value = "3.1.1", value_parser = ["3.1.1", "5"])]
    pub(crate) mqtt_version: String,
    /// Seconds between pings on a silent connection; 0 for none
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) keep_alive: u16,
    /// User name, for brokers that want one
    #[arg(long, value_name = "NAME", conflicts_with = "gateway")]
    pub(crate) user_name: Option<String>,
    /// File with the password of --user-name; a line end at its end is left out
    #[arg(long, value_name = "FILE", requires = "user_name")]
    pub(crate) password_file: Option<PathBuf>,
    /// Topic of the last will: the broker publishes it when this client vanishes
    #[arg(long, value_name = "TOPIC")]
    pub(crate) will_topic: Option<String>,
    /// Payload of the last will [default: empty]
    #[arg(long, value_name = "TEXT", requires = "will_topic")]
    pub(crate) will_message: Option<String>,
    /// Quality of service of the last will
    #[arg(long, value_name = "QOS", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1), requires = "will_topic")]
    pub(crate) will_qos: u8,
    /// The broker keeps the last will
    #[arg(long, requires = "will_topic")]
    pub(crate) will_retain: bool,
    /// Say at the end how many bytes handshake, records and payload took
    #[arg(long)]
    pub(crate) traffic: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Mqtt {
    /// Publish one message
    Pub {
        #[command(flatten)]
        link: Link,
        /// Topic; `~/` at the start stands for the certificate's CN
        #[arg(short, long)]
        topic: String,
        /// Payload
        #[arg(short, long)]
        message: String,
        /// Quality of service: 0 at most once, 1 at least once
        #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
        qos: u8,
        /// The broker keeps it, and gives it to whoever subscribes later
        #[arg(short, long)]
        retain: bool,
    },
    /// Print messages as they come
    Sub {
        #[command(flatten)]
        link: Link,
        /// Topic filter; `~/` at the start stands for the certificate's CN
        #[arg(short, long)]
        topic: String,
        /// End after this many messages [default: run until Ctrl-C]
        #[arg(short = 'C', long)]
        count: Option<u64>,
    },
    /// Be the SDK's MQTT sample, or the Academy's exercise: same topics, triggers and log lines
    Sample(Box<Sample>),
    /// Run a broker with the listeners of the configuration keys mqtt.bind.* and mqtt.external.*
    ///
    /// The internal listener is plaintext, 127.0.0.1:1883 by default. Any key mqtt.external.* adds the external one:
    /// plaintext, TLS (cert_file, key_file), or mutual TLS (ca_path as well). `sectag config list --all mqtt.` shows the
    /// keys. Changed certificates, CAs and revocation lists are taken anew without a restart.
    Broker(Broker),
}
