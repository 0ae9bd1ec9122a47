//! What can be typed.

mod audit;
mod broker;
mod ca;
mod cert;
mod config;
mod creds;
mod device;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod documents;
mod evidence;
mod gateway;
mod issue;
mod modem;
mod mqtt;
mod nrf91;
mod people;
mod registration;
mod renewals;
mod rules;
mod sample;

pub(crate) use audit::{Audit, ListAudit, VerifyAudit};
pub(crate) use broker::{Broker, TopicRules};
pub(crate) use ca::{Ca, CaExport, CaImport, CaInit, KeyKind, PassphraseArgs};
pub(crate) use cert::{AtScript, Cert, Chain, Header, HeaderStyle, Lint, LintFor, ShowCert};
pub(crate) use config::{Config, ConfigVerb, Profile, Talk};
pub(crate) use creds::{Apply, Creds, CredsVerb, Keygen, ModemArgs, Slot, TestKeys};
pub(crate) use device::{DeviceVerb, Tuning, Which};
pub(crate) use evidence::{AddWebhook, Alarms, AlarmsVerb, Events, Webhooks};
pub(crate) use gateway::{
    Apply as ApplyGateway, BrokerArgs, Gateway, GatewayVerb, Init, LevelName,
};
pub(crate) use issue::{
    Create, CreateCsr, Crl, DeviceCert, Issue, IssueArgs, IssueClient, IssueServer, ListIssued,
    Reissue, Renew, Revoke, Subject,
};
pub(crate) use modem::{AtLine, ModemVerb, Record, Serve, StoredModem};
pub(crate) use mqtt::{Link, Mqtt};
pub(crate) use nrf91::{Kconfig, Nrf91};
pub(crate) use people::{AllowList, Keys, ListDevices, OfTeam, Teams};
pub(crate) use registration::{Register, RevokeDevice};
pub(crate) use renewals::{Forecast, Renewals};
pub(crate) use rules::{NewRule, PlanArgs, Rules, Tags};
pub(crate) use sample::{EditionName, Sample};

use clap::{Args, Parser, Subcommand};
use sectag_proto::SecTag;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Takes a device from blank to a mutually authenticated MQTT session over TLS, and keeps it there.
#[derive(Debug, Parser)]
#[command(
    name = "sectag",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit code 0: done; 1: the answer is no; 2: it could not be tried. A verb that has others says so."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Heading of the options that every verb takes, so that help shows a verb's own first.
const EVERYWHERE: &str = "Options of every verb";

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Global {
    /// Where everything lives [default: the XDG data directory, e.g. ~/.local/share/sectag]
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "SECTAG_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,
    /// Say more on stderr (-v: info, -vv: debug)
    #[arg(short, long, global = true, help_heading = EVERYWHERE, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// The service, e.g. http://127.0.0.1:8441 [default: the one running in this home]
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "SECTAG_URL")]
    pub(crate) url: Option<String>,
    /// File with the API key [default: HOME/owner.key]
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "SECTAG_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Where tedge.toml is [default: TEDGE_CONFIG_DIR, else the home]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "CONFIG_DIR")]
    pub(crate) config_dir: Option<PathBuf>,
}

/// `sectag config` alone: the whole tree of verbs takes longer to build than a key to read.
#[derive(Debug, Parser)]
#[command(name = "sectag", version, propagate_version = true)]
pub(crate) struct OnlyConfig {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: OnlyConfigVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OnlyConfigVerb {
    /// What the broker and its clients must know: keys in thin-edge.io's names
    Config(Config),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the service: owner API, device API, CA and MQTT broker, in one process with one home
    ///
    /// When a configuration key mqtt.bind.* or mqtt.external.* is set, the broker opens their listeners as well, as `sectag
    /// mqtt broker` does.
    Up(Up),
    /// Tell the whole story in one command: a blank device ends in an MQTT session over mutual TLS
    Demo(Demo),
    /// Show what runs and where it listens
    Status,
    /// Claim a device by its attestation token
    Claim(Claim),
    /// The claimed devices
    ///
    /// Without a verb: list them
    Devices {
        #[command(subcommand)]
        verb: Option<Devices>,
    },
    /// The command queue of a device
    Commands {
        #[command(subcommand)]
        verb: Commands,
    },
    /// What devices with a tag get when they show up
    ///
    /// Without a verb: list them
    Rules {
        #[command(subcommand)]
        verb: Option<Rules>,
    },
    /// The registry of tags: groups of devices
    ///
    /// Without a verb: list them
    Tags {
        #[command(subcommand)]
        verb: Option<Tags>,
    },
    /// What a device, a tag's devices, or the devices of a rule will get: the exact commands, before anything runs
    Plan(PlanArgs),
    /// What will stop working in 30, 60, 90 days: certificates that end and are not renewed as things stand
    Forecast(Forecast),
    /// Renewals under way, or everything about one device's certificates
    Renewals(Renewals),
    /// API keys of people and programs
    ///
    /// Without a verb: list them
    Keys {
        #[command(subcommand)]
        verb: Option<Keys>,
    },
    /// Teams: people who share devices, keys, an allow-list and an issuing CA
    ///
    /// Without a verb: list them
    Teams {
        #[command(subcommand)]
        verb: Option<Teams>,
    },
    /// Which devices may be claimed, and under which key, where the policy is allow-list
    ///
    /// Without a verb: list them
    AllowList {
        #[command(subcommand)]
        verb: Option<AllowList>,
    },
    /// What happens, as it happens: claims, fetches, results, certificates, alarms
    Events(Events),
    /// What somebody should look at: keys that changed, twins, reports that make no sense, renewals that fail
    ///
    /// Without a verb: list them
    Alarms(Alarms),
    /// Where events are sent
    ///
    /// Without a verb: list them
    Webhooks {
        #[command(subcommand)]
        verb: Option<Webhooks>,
    },
    /// Who did what, and the proof that nobody changed the record of it
    Audit {
        #[command(subcommand)]
        verb: Audit,
    },
    /// The owner API as an OpenAPI document; a running service shows it at /docs
    Openapi,
    /// Be a device: a virtual modem and the provisioning client
    Device {
        #[command(subcommand)]
        verb: DeviceVerb,
    },
    /// A virtual modem on a pty or TCP; one AT line to any modem
    Modem {
        #[command(subcommand)]
        verb: ModemVerb,
    },
    /// What a real nRF91's firmware needs to reach this service
    Nrf91 {
        #[command(subcommand)]
        verb: Nrf91,
    },
    /// Credentials under security tags: over AT serial, a virtual modem, or files
    Creds(Box<Creds>),
    /// Publish or subscribe over MQTT; the SDK's sample; a broker
    Mqtt {
        #[command(subcommand)]
        verb: Mqtt,
    },
    /// The home's certificate authorities: make, import, show and export them
    ///
    /// Without a verb: show them
    Ca {
        #[command(subcommand)]
        verb: Option<Ca>,
    },
    /// What the broker and its clients must know: keys in thin-edge.io's names
    Config(Config),
    /// The broker of this machine: plan, apply and prove what the keys ask for
    Gateway(Box<Gateway>),
    /// Certificates: issue, renew, revoke, show, lint, fetch a chain, write headers
    Cert {
        #[command(subcommand)]
        verb: Cert,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// A name or address for the server certificate, besides localhost, 127.0.0.1 and ::1 (repeat for several)
    #[arg(long = "name", value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Owner API over TLS; port 0 is any free one [default: sectag.toml, else 127.0.0.1:8440]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub(crate) listen_owner: Option<SocketAddr>,
    /// Owner API over plain HTTP, loopback only [default: sectag.toml, else 127.0.0.1:8441]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub(crate) listen_loopback: Option<SocketAddr>,
    /// Device API over TLS [default: sectag.toml, else 127.0.0.1:8443]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub(crate) listen_device: Option<SocketAddr>,
    /// MQTT over mutual TLS [default: sectag.toml, else 127.0.0.1:8883]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub(crate) listen_mqtt: Option<SocketAddr>,
    /// Device API over CoAP and DTLS, a UDP port [default: sectag.toml, else 127.0.0.1:5684]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub(crate) listen_coap: Option<SocketAddr>,
    /// Which device keys a claim trusts: those of the first claim, or only those on the allow-list; auto: the first claim with
    /// one team, the allow-list with several [default: sectag.toml, else auto]
    #[arg(long, value_name = "POLICY", value_parser = ["auto", "first-claim", "allow-list"])]
    pub(crate) policy: Option<String>,
    #[command(flatten)]
    pub(crate) rules: TopicRules,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Play the failing chart: the second command fails, the rest is dropped
    #[arg(long, conflicts_with = "keep")]
    pub(crate) failing: bool,
    /// Leave everything running and print how to look around
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "sectag claim [OPTIONS] <TOKEN>\n       sectag claim [OPTIONS] --from <FILE>"
)]
pub(crate) struct Claim {
    /// The device's attestation token (`AT%ATTESTTOKEN`, `sectag device token`); `-` reads it from stdin
    #[arg(required_unless_present = "from")]
    pub(crate) token: Option<String>,
    /// A tag for the device (repeat for several)
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Only ask whether it could be claimed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Queue the whole way to MQTT as well: root CA, key and certificate under this sec tag (0 to 2147483647), finished
    #[arg(long, value_name = "SEC_TAG")]
    pub(crate) onboard: Option<SecTag>,
    /// Replace the key known for this device by the token's; the audit log says so
    #[arg(long)]
    pub(crate) accept_new_key: bool,
    /// Claim a device for each row of this file: `token`, `token,tags`, or `imei,uuid,token,time` as the vendor's
    /// gather_attestation_tokens writes it; `-` is stdin. After any end the same command goes on where it was
    #[arg(long, value_name = "FILE", conflicts_with_all = ["token", "dry_run", "onboard", "accept_new_key"])]
    pub(crate) from: Option<PathBuf>,
    /// With --from: where refused rows go, with the reasons [default: FILE.failed.csv; of stdin, stdout]
    #[arg(long, value_name = "FILE", requires = "from")]
    pub(crate) failed: Option<PathBuf>,
    /// With --from: rows in one call of the service, at most 1000
    #[arg(long, value_name = "ROWS", requires = "from", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) rows_per_call: u16,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Devices {
    /// List claimed devices
    List(ListDevices),
    /// Show one device
    Show {
        /// Device id
        device: String,
    },
    /// Give a device back; its queue is erased, its certificates are revoked, its key stays known
    Unclaim {
        /// Device id
        device: String,
    },
    /// Give a device these tags, and take all others from it
    Tag {
        /// Device id
        device: String,
        /// The tags it has from then on
        #[arg(required_unless_present = "none")]
        tags: Vec<String>,
        /// Take all tags from it
        #[arg(long, conflicts_with = "tags")]
        none: bool,
    },
    /// Stop provisioning a device and end its MQTT sessions; the claim stays
    Block {
        /// Device id
        device: String,
    },
    /// Provision a blocked device again, and let it connect
    Unblock {
        /// Device id
        device: String,
    },
    /// Let the rules of a device apply again; its open rule commands are discarded, hand-made ones stay
    Reset {
        /// Device id
        device: String,
    },
    /// Let the broker take certificates that another CA signed
    Register(Register),
    /// Take certificates of a device back, for good; its live sessions end
    Revoke(RevokeDevice),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Commands {
    /// List a device's commands in queue order
    List {
        /// Device id
        device: String,
    },
    /// Show one command
    Show {
        /// Device id
        device: String,
        /// Command id
        command: String,
    },
    /// Add commands, all or none, each as the JSON of its `request`, e.g. '{"finished":{}}'
    Add {
        /// Device id
        device: String,
        /// One JSON object per command, e.g. '{"atCommand":{"command":"%CMNG","parameters":"1"}}'; `-` reads one per line
        /// from stdin
        #[arg(required = true)]
        requests: Vec<String>,
        /// Text shown with the commands
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// When one of them fails: drop-rest (the vendor's way), keep-rest, retry=N, park
        #[arg(long, value_name = "POLICY", value_parser = rules::policy)]
        on_error: Option<serde_json::Value>,
    },
    /// Change a command that the device has not fetched, or resume, skip or discard a parked one
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args(["request", "description", "resume", "skip", "discard"]))]
    Change {
        /// Device id
        device: String,
        /// Command id
        command: String,
        /// Another request in its place, as JSON
        #[arg(long, value_name = "JSON")]
        request: Option<String>,
        /// Other words; empty: none
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Deliver a parked command again
        #[arg(long)]
        resume: bool,
        /// Let a parked command fail, and go on behind it
        #[arg(long, conflicts_with = "resume")]
        skip: bool,
        /// Let a parked command fail, and drop what is behind it
        #[arg(long, conflicts_with_all = ["resume", "skip"])]
        discard: bool,
    },
    /// Queue the whole way to MQTT: root CA, key and certificate, finished
    Onboard {
        /// Device id
        device: String,
        /// Sec tag for root CA, key and certificate, 0 to 2147483647
        #[arg(long, value_name = "SEC_TAG", default_value = "16842753")]
        sec_tag: SecTag,
    },
    /// Discard one command, or all with --all
    #[command(
        override_usage = "sectag commands delete [OPTIONS] <DEVICE> <COMMAND>\n       sectag commands delete [OPTIONS] <DEVICE> --all"
    )]
    Delete {
        /// Device id
        device: String,
        /// Command id
        #[arg(required_unless_present = "all")]
        command: Option<String>,
        /// Discard the whole queue
        #[arg(long, conflicts_with = "command")]
        all: bool,
        /// Also a command that the device has fetched already
        #[arg(long)]
        force: bool,
    },
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "give an address and a port, like 127.0.0.1:8443".to_owned())
}
