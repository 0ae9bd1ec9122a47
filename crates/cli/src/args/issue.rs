//! `sectag cert`: verbs that make, list and end certificates; what can be typed.

use super::{KeyKind, PassphraseArgs};
use clap::{ArgGroup, Args, Subcommand};
use sectag_pki::ServerName;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Issue {
    /// A certificate for this machine's listener
    ///
    /// Its names are this machine's name and fully qualified name, localhost, 127.0.0.1, ::1, what mqtt.external.bind.address
    /// and mqtt.client.host say, and those given.
    Server(IssueServer),
    /// A certificate for a client, whose name is its user name at the broker and its place in the ACL
    Client(IssueClient),
}

/// What both kinds have in common.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct IssueArgs {
    /// Folder for NAME.crt and NAME.key [default: HOME/pki]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// For how many days [default: certificate.validity.requested_duration, else 365]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=7300))]
    pub(crate) days: Option<u64>,
    /// Kind of the key
    #[arg(long, value_name = "KIND", default_value = "p256")]
    pub(crate) key: KeyKind,
    /// Where the revocation list of the CA is published; written into the certificate
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) crl_url: Option<String>,
    /// Replace a certificate and key that are there
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct IssueServer {
    /// A further name or address under which clients reach it (repeat for several, or separate by commas)
    #[arg(long = "san", value_name = "NAME", value_delimiter = ',', value_parser = server_name)]
    pub(crate) sans: Vec<ServerName>,
    /// Only the names given
    #[arg(long, requires = "sans")]
    pub(crate) only_given: bool,
    /// Name of the files and in the register
    #[arg(long, value_name = "NAME", default_value = "server")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) issue: IssueArgs,
}

#[derive(Debug, Args)]
pub(crate) struct IssueClient {
    /// Identity: 1 to 64 characters, none of `+ # /`, no control characters
    pub(crate) name: String,
    /// The name is the id of a device, and this is its certificate
    #[arg(long)]
    pub(crate) device: bool,
    #[command(flatten)]
    pub(crate) issue: IssueArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListIssued {
    /// Those that expired or were revoked as well
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("issued").args(["name", "all"]))]
pub(crate) struct Renew {
    /// Name in the register (`sectag cert list`); without it and --all the device certificate is renewed
    pub(crate) name: Option<String>,
    /// Everything that was issued here, is still valid, and has its files
    #[arg(long)]
    pub(crate) all: bool,
    /// Only what ends within certificate.validity.minimum_duration; where all of a life is short, its last third counts
    #[arg(long, requires = "issued")]
    pub(crate) due: bool,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Put the new pair in place at once, without the proof by a connection that `sectag gateway apply` makes
    #[arg(long, requires = "issued")]
    pub(crate) now: bool,
    /// Keep the key
    #[arg(long, requires = "issued")]
    pub(crate) reuse_key: bool,
    /// For how many days [default: as many as before]
    #[arg(long, value_name = "DAYS", requires = "issued", value_parser = clap::value_parser!(u64).range(1..=7300))]
    pub(crate) days: Option<u64>,
    /// Who signs the device certificate: self-signed; the cloud cannot be asked from here
    #[arg(long, value_name = "CA", conflicts_with_all = ["name", "all", "due"])]
    pub(crate) ca: Option<String>,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Name or serial number in the register, or a file with a certificate of this home's CAs
    pub(crate) what: String,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Crl {
    /// The list of the servers' CA [default: the one of the clients' CA]
    #[arg(long)]
    pub(crate) servers: bool,
    /// Sign it anew, valid for a year from now
    #[arg(long)]
    pub(crate) refresh: bool,
    /// Write it to a file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

/// Which certificate is asked about.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Subject {
    /// A file, or a name in the register [default: the device certificate, device.cert_path]
    #[arg(value_name = "FILE|NAME", conflicts_with_all = ["cert_path", "all"])]
    pub(crate) what: Option<String>,
    /// A file
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    pub(crate) cert_path: Option<PathBuf>,
    /// Everything that was issued here
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("side").args(["client", "server"]).required(true))]
pub(crate) struct Reissue {
    /// A certificate request, or a certificate whose holder keeps the key
    pub(crate) file: PathBuf,
    /// Issue it for a client; its identity is the CN that was asked for
    #[arg(long)]
    pub(crate) client: bool,
    /// Issue it for a server; its names are those that were asked for
    #[arg(long)]
    pub(crate) server: bool,
    /// Another identity than the one that was asked for
    #[arg(long, value_name = "NAME", conflicts_with = "server")]
    pub(crate) name: Option<String>,
    /// A further name or address of a server (repeat for several, or separate by commas)
    #[arg(long = "san", value_name = "NAME", value_delimiter = ',', value_parser = server_name, conflicts_with = "client")]
    pub(crate) sans: Vec<ServerName>,
    /// Certificate of the CA that shall sign [default: this home's]
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    pub(crate) ca: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "ca")]
    pub(crate) ca_key: Option<PathBuf>,
    /// Where to write [default: the file's name with -v3.crt at its end, beside it]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// For how many days [default: certificate.validity.requested_duration, else 365]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=7300))]
    pub(crate) days: Option<u64>,
    /// Where the revocation list of the CA is published; written into the certificate
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) crl_url: Option<String>,
    /// Replace a certificate that is there
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Identity of the device [default: device.id]
    #[arg(long, value_name = "ID")]
    pub(crate) device_id: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CreateCsr {
    /// Identity of the device [default: the one of its certificate, else device.id]
    #[arg(long, value_name = "ID")]
    pub(crate) device_id: Option<String>,
    /// Where to write [default: device.csr_path]
    #[arg(long, value_name = "FILE")]
    pub(crate) output_path: Option<PathBuf>,
}

/// The verbs of thin-edge.io's `cert`, for calls by the name `tedge`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCert {
    /// Create a self-signed device certificate
    Create(Create),
    /// Create a certificate signing request
    CreateCsr(CreateCsr),
    /// Show the device certificate, if any
    Show {
        /// A file [default: device.cert_path]
        #[arg(long, value_name = "CERT_PATH")]
        cert_path: Option<PathBuf>,
        /// The new certificate that waits beside it
        #[arg(long)]
        new: bool,
    },
    /// Check if the device certificate has to be renewed (exit code 0: yes, 1: still valid, 2: cannot tell)
    NeedsRenewal {
        /// A file [default: device.cert_path]
        #[arg(long, value_name = "CERT_PATH")]
        cert_path: Option<PathBuf>,
    },
    /// Renew the device certificate, beside the current one
    Renew {
        /// Who signs: self-signed; the cloud cannot be asked from here
        #[arg(long, value_name = "CA")]
        ca: Option<String>,
    },
    /// Remove the device certificate and its key
    Remove,
}

fn server_name(text: &str) -> Result<ServerName, String> {
    text.parse().map_err(|_| {
        "give a host name or an IP address, without port and without https://".to_owned()
    })
}

fn url(text: &str) -> Result<String, String> {
    let known = ["http://", "ldap://", "https://"];
    let plain = text.is_ascii() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if plain
        && known
            .iter()
            .any(|scheme| text.len() > scheme.len() && text.starts_with(scheme))
    {
        Ok(text.to_owned())
    } else {
        Err("give a URL that begins with http://".to_owned())
    }
}
