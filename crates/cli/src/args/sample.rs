//! `sectag mqtt sample`: what can be typed.

use super::Which;
use crate::modem_choice::{self, Choice};
use clap::{Args, ValueEnum};
use sectag_device::link::CipherSuite;
use std::path::PathBuf;

/// Which edition of the exercise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EditionName {
    /// SDK v2.2 to v2.4
    #[value(name = "2.2")]
    V2_2,
    /// With the mqtt_helper library
    Current,
}

const BROKER: &str = "Broker";
const TLS: &str = "TLS and credentials";
const SESSION: &str = "MQTT session";
const RUN: &str = "Run";

#[derive(Debug, Clone, Args)]
pub(crate) struct Sample {
    #[command(flatten)]
    pub(crate) which: Which,
    #[arg(long, env = "SECTAG_MODEM", value_name = "MODEM", default_value = "virtual", help = modem_choice::HELP)]
    pub(crate) modem: Choice,
    /// Be the exercise "MQTT over TLS" of Nordic's Developer Academy, not the SDK's sample
    #[arg(long)]
    pub(crate) academy: bool,
    /// Edition of the exercise [default: current]
    #[arg(long, value_enum, requires = "academy")]
    pub(crate) edition: Option<EditionName>,
    /// Do as the firmware does, flaws included
    #[arg(long)]
    pub(crate) faithful: bool,
    /// Take options from a firmware's prj.conf (repeat for overlays); what is typed here wins
    #[arg(long, value_name = "FILE")]
    pub(crate) kconfig: Vec<PathBuf>,
    /// Press button N of the sample that runs for --name, and end
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=4))]
    pub(crate) press: Option<u8>,

    /// Broker and credentials as the configuration keys mqtt.client.* say: `sectag config list mqtt.client`
    #[arg(long, conflicts_with_all = ["host", "port", "plain", "tls", "sec_tag", "secondary_sec_tag", "certs", "server_name", "ciphers", "session_cache", "dangerously_accept_any_broker", "dangerously_accept_with_warning"], help_heading = BROKER)]
    pub(crate) gateway: bool,
    /// Host of the broker, for example test.mosquitto.org [default: the broker of this home]
    #[arg(long, help_heading = BROKER)]
    pub(crate) host: Option<String>,
    /// Connect to this address; the name of --host is still verified
    #[arg(long, value_name = "ADDR", requires = "host", help_heading = BROKER)]
    pub(crate) address: Option<String>,
    /// Port [default: 8883, with --plain 1883; of this home's broker, its own]
    #[arg(long, help_heading = BROKER)]
    pub(crate) port: Option<u16>,
    /// Speak MQTT without TLS: everybody on the way reads and writes along
    #[arg(long, alias = "no-tls", conflicts_with_all = ["tls", "certs", "server_name", "ciphers"], help_heading = BROKER)]
    pub(crate) plain: bool,
    /// Speak MQTT over TLS (the default), whatever --kconfig says
    #[arg(long, help_heading = BROKER)]
    pub(crate) tls: bool,

    /// Sec tag of CA, client certificate and key [default: 955; with --academy 24]
    #[arg(long, value_name = "SEC_TAG", help_heading = TLS)]
    pub(crate) sec_tag: Option<u32>,
    /// A second sec tag
    #[arg(long, value_name = "SEC_TAG", help_heading = TLS)]
    pub(crate) secondary_sec_tag: Option<u32>,
    /// Folder with ca-cert.pem, and client-cert.pem with private-key.pem; the same with -2 for the secondary tag. What is
    /// different there is written to the tags before connecting
    #[arg(long, value_name = "FOLDER", help_heading = TLS)]
    pub(crate) certs: Option<PathBuf>,
    /// Write no credentials: use what is under the tags
    #[arg(long, help_heading = TLS)]
    pub(crate) no_provision: bool,
    /// Take no private key from a file
    #[arg(long, help_heading = TLS)]
    pub(crate) no_test_keys: bool,
    /// Name that must be in the broker's certificate [default: the host]
    #[arg(long, value_name = "NAME", help_heading = TLS)]
    pub(crate) server_name: Option<String>,
    /// Cipher suite that may be used, by its IANA name or number (repeat for several) [default: all]
    #[arg(long = "cipher", value_name = "SUITE", help_heading = TLS)]
    pub(crate) ciphers: Vec<CipherSuite>,
    /// Continue earlier TLS sessions when connecting again
    #[arg(long, overrides_with = "no_session_cache", help_heading = TLS)]
    pub(crate) session_cache: bool,
    /// A full handshake each time (the default), whatever --kconfig says
    #[arg(long, help_heading = TLS)]
    pub(crate) no_session_cache: bool,
    /// Do not look at the broker's certificate: whoever is on the way can read and write along
    #[arg(long, help_heading = TLS)]
    pub(crate) dangerously_accept_any_broker: bool,
    /// Look at the broker's certificate, warn, and connect all the same
    #[arg(long, conflicts_with = "dangerously_accept_any_broker", help_heading = TLS)]
    pub(crate) dangerously_accept_with_warning: bool,

    /// Client id [default: the name in the client certificate, else the IMEI; with --academy nrf-IMEI]
    #[arg(long, value_name = "ID", help_heading = SESSION)]
    pub(crate) client_id: Option<String>,
    /// Where to publish: behind `<client id>/`, with --academy the whole topic
    /// [default: my/publish/topic; devacademy/publish/topic]
    #[arg(long, value_name = "TOPIC", help_heading = SESSION)]
    pub(crate) publish_topic: Option<String>,
    /// Where to listen, likewise [default: my/subscribe/topic; devacademy/subscribe/topic]
    #[arg(long, value_name = "TOPIC", help_heading = SESSION)]
    pub(crate) subscribe_topic: Option<String>,
    /// What button 1 publishes with --academy
    #[arg(long, value_name = "TEXT", help_heading = SESSION)]
    pub(crate) message: Option<String>,
    /// Seconds from one message to the next [default: 60; with --academy only the button publishes]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), help_heading = SESSION)]
    pub(crate) interval: Option<u64>,
    /// Keep-alive in seconds [default: 30; with --plain or --academy 60]
    #[arg(long, value_name = "SECONDS", help_heading = SESSION)]
    pub(crate) keep_alive: Option<u16>,
    /// Let the broker keep the session
    #[arg(long, help_heading = SESSION)]
    pub(crate) keep_session: bool,
    /// Topic of a last will
    #[arg(long, value_name = "TOPIC", help_heading = SESSION)]
    pub(crate) will_topic: Option<String>,
    /// Payload of a last will
    #[arg(long, value_name = "TEXT", help_heading = SESSION)]
    pub(crate) will_message: Option<String>,

    /// Seconds from network up to the first attempt [default: 5; with --academy 0]
    #[arg(long, value_name = "SECONDS", help_heading = RUN)]
    pub(crate) connect_delay: Option<u64>,
    /// Seconds from a failed attempt to the next [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), help_heading = RUN)]
    pub(crate) reconnect: Option<u64>,
    /// Seconds for each stage of connecting and each acknowledgement [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), help_heading = RUN)]
    pub(crate) timeout: Option<u64>,
    /// End after this many acknowledged messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = RUN)]
    pub(crate) count: Option<u64>,
    /// End after this many seconds
    #[arg(long = "for", value_name = "SECONDS", help_heading = RUN)]
    pub(crate) seconds: Option<u64>,
}
