//! `sectag ca`: what can be typed.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Ca {
    /// Show the three CAs: root, servers, devices
    Show,
    /// Make a root and two issuing CAs in this home: one for servers, one for clients
    ///
    /// `sectag up` makes the same by itself when it first starts; this is for a gateway without the service. Both find the
    /// same files, HOME/ca/{root,servers,devices}.{crt,key}, and an empty revocation list of each issuing CA. What an
    /// interrupted call left unfinished is finished by the next.
    Init(CaInit),
    /// Take over CAs that were made elsewhere: by openssl, step-ca, a company
    ///
    /// Chains, purposes and keys are checked the way peers check them before anything is written. A CA without its key is
    /// trusted, and issues nothing here. Without --servers (--clients), the root itself issues servers (clients).
    Import(CaImport),
    /// Print what others must trust, PEM
    Export(CaExport),
}

#[derive(Debug, Default, Args)]
pub(crate) struct CaInit {
    /// Common name of the root [default: `Sectag root` and this machine's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Encrypt the three CA keys with a passphrase; issuing and revoking will ask for it, and `sectag up` cannot use them
    #[arg(long)]
    pub(crate) encrypt: bool,
    /// Kind of the CA keys
    #[arg(long, value_name = "KIND", default_value = "p256")]
    pub(crate) key: KeyKind,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CaImport {
    /// The root's certificate, PEM; several roots and intermediates may follow in the file
    #[arg(long, value_name = "FILE")]
    pub(crate) root: PathBuf,
    /// The root's key, if it shall be kept here
    #[arg(long, value_name = "FILE")]
    pub(crate) root_key: Option<PathBuf>,
    /// Certificate of the CA that issues servers; its intermediates may follow
    #[arg(long, value_name = "FILE")]
    pub(crate) servers: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "servers")]
    pub(crate) servers_key: Option<PathBuf>,
    /// Certificate of the CA that issues clients; its intermediates may follow
    #[arg(long, value_name = "FILE")]
    pub(crate) clients: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "clients")]
    pub(crate) clients_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CaExport {
    /// What clients trust: the root of the servers' CA [default]
    #[arg(long, group = "what")]
    pub(crate) servers: bool,
    /// What a broker trusts: the CA of the clients, and the way to its root
    #[arg(long, group = "what")]
    pub(crate) clients: bool,
    /// All CA certificates of this home
    #[arg(long, group = "what")]
    pub(crate) bundle: bool,
    /// Write it to a file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Where the passphrase of an encrypted CA key comes from.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PassphraseArgs {
    /// File whose first line is the passphrase of the CA keys [default: SECTAG_CA_PASSPHRASE, else the terminal is asked]
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// Kinds of new keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyKind {
    /// ECDSA on P-256
    #[default]
    P256,
    /// RSA with 2048 bits, for peers that know nothing else
    Rsa2048,
}

impl From<KeyKind> for sectag_pki::KeyType {
    fn from(kind: KeyKind) -> Self {
        match kind {
            KeyKind::P256 => Self::P256,
            KeyKind::Rsa2048 => Self::Rsa2048,
        }
    }
}
