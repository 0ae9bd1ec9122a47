//! `sectag mqtt`: what can be typed.

use super::Sample;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
pub(crate) struct Link {
    /// Device whose credentials to use; its modem signs, the key stays there
    #[arg(long, conflicts_with_all = ["cert", "operator"])]
    pub(crate) name: Option<String>,
    /// Sec tag that holds root CA, certificate and key of --name
    #[arg(long, value_name = "SEC_TAG", default_value_t = crate::owner::SEC_TAG_DEFAULT)]
    pub(crate) sec_tag: u32,
    /// Use the home's operator certificate (may read everything)
    #[arg(long, conflicts_with = "cert")]
    pub(crate) operator: bool,
    /// Client certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of --cert, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Root CA of the broker, PEM, for --cert and --operator [default: HOME/ca/root.crt]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Broker host
    #[arg(long, default_value = "localhost")]
    pub(crate) host: String,
    /// Broker port [default: the one of the service in this home, else 8883]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// MQTT client id [default: the certificate's CN; without --name, a number is added to it]
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// MQTT version; only 5 says that a publish was refused
    #[arg(long, value_name = "VERSION", default_value = "3.1.1", value_parser = ["3.1.1", "5"])]
    pub(crate) mqtt_version: String,
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
}
