//! `sectag creds`: what can be typed.

use crate::modem_choice::{self, Choice};
use clap::{Args, Subcommand};
use sectag_modem::credentials::type_from_text;
use sectag_modem::serial::{Mode, SerialOptions, Terminator};
use sectag_proto::{CredentialType, SecTag};
use std::path::PathBuf;
use std::time::Duration;

use super::Which;

#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Creds {
    #[command(flatten)]
    pub(crate) modem: ModemArgs,
    #[command(subcommand)]
    pub(crate) verb: CredsVerb,
}

/// Heading of the options that say which modem.
const WHICH_MODEM: &str = "Which modem, and how to speak to it";

/// Which modem, and how to speak to it.
#[derive(Debug, Clone, Args)]
pub(crate) struct ModemArgs {
    #[arg(long, global = true, help_heading = WHICH_MODEM, env = "SECTAG_MODEM", value_name = "MODEM", default_value = "virtual", help = modem_choice::HELP)]
    pub(crate) modem: Choice,
    /// Device of this home whose virtual modem it is; its state is HOME/devices/NAME
    #[arg(long, global = true, help_heading = WHICH_MODEM, default_value = "device-1")]
    pub(crate) name: String,
    /// Bits per second of a serial port
    #[arg(long, global = true, help_heading = WHICH_MODEM, value_name = "BITS", default_value_t = 115_200)]
    pub(crate) baud: u32,
    /// Without RTS/CTS flow control
    #[arg(long, global = true, help_heading = WHICH_MODEM)]
    pub(crate) no_rtscts: bool,
    /// What answers: an AT host, a firmware shell, or find out
    #[arg(long, global = true, help_heading = WHICH_MODEM, value_name = "MODE", default_value = "auto", value_parser = ["auto", "at", "shell"])]
    pub(crate) mode: String,
    /// What ends a command line: nul, cr, lf, crlf
    #[arg(long, global = true, help_heading = WHICH_MODEM, value_name = "END", default_value = "crlf")]
    pub(crate) terminator: Terminator,
    /// How long an answer may take; generating a key has 60 s at least
    #[arg(long, global = true, help_heading = WHICH_MODEM, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
    /// Write each line to and from the modem into FILE, with milliseconds, without secrets
    #[arg(long, global = true, help_heading = WHICH_MODEM, value_name = "FILE")]
    pub(crate) transcript: Option<PathBuf>,
    /// Ask, but change nothing: print what would be sent or written
    #[arg(long, global = true, help_heading = WHICH_MODEM)]
    pub(crate) dry_run: bool,
}

impl ModemArgs {
    /// The device of the home.
    pub(crate) fn which(&self) -> Which {
        Which {
            name: self.name.clone(),
        }
    }

    /// How to speak to a port.
    pub(crate) fn serial(&self) -> SerialOptions {
        SerialOptions {
            baud: self.baud,
            rtscts: !self.no_rtscts,
            mode: match self.mode.as_str() {
                "at" => Mode::At,
                "shell" => Mode::Shell,
                _ => Mode::Auto,
            },
            terminator: self.terminator,
            line_timeout: Duration::from_secs(self.timeout),
            ..SerialOptions::default()
        }
    }
}

/// A slot: tag and type.
#[derive(Debug, Clone, Args)]
pub(crate) struct Slot {
    /// Sec tag, 0 to 2147483647
    #[arg(value_name = "TAG")]
    pub(crate) tag: SecTag,
    /// Type by number or name: ROOT_CA_CERT (0), CLIENT_CERT (1), CLIENT_KEY (2), PSK (3), PSK_ID (4), …
    #[arg(value_name = "TYPE", value_parser = type_from_text)]
    pub(crate) kind: CredentialType,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CredsVerb {
    /// List what lies under the tags, with digests
    List {
        /// Only this sec tag
        #[arg(value_name = "TAG")]
        tag: Option<SecTag>,
        /// Only this type, by number or name
        #[arg(value_name = "TYPE", value_parser = type_from_text)]
        kind: Option<CredentialType>,
    },
    /// Is something there? Exit 0: yes, 1: no
    Exists {
        #[command(flatten)]
        slot: Slot,
    },
    /// Is it the same as in FILE? Exit 0: match, 1: mismatch
    Cmp {
        #[command(flatten)]
        slot: Slot,
        /// File to compare with; `-` reads stdin. White space at its end does not count
        file: PathBuf,
        /// Compare by digest, the only way for CLIENT_KEY and PSK
        #[arg(long)]
        digest: bool,
    },
    /// Write FILE under a tag, if it differs from what is there
    Write {
        #[command(flatten)]
        slot: Slot,
        /// PEM file (for PSK: hexadecimal digits; for PSK_ID: text); `-` reads stdin. White space at its end is left out
        file: PathBuf,
        /// Write without comparing first
        #[arg(long)]
        always: bool,
        #[command(flatten)]
        keys: TestKeys,
    },
    /// Print a certificate or a PSK identity; keys and PSKs are never read
    Read {
        #[command(flatten)]
        slot: Slot,
    },
    /// Delete one credential
    Delete {
        #[command(flatten)]
        slot: Slot,
    },
    /// Delete everything under a tag
    Clear {
        /// Sec tag, 0 to 2147483647
        tag: SecTag,
    },
    /// Generate a private key under a tag, where it stays, and print a CSR for it
    Keygen(Keygen),
    /// Print the modem's attestation token
    Attest {
        /// 32 hexadecimal digits in place of the token's nonce
        #[arg(long, value_name = "HEX")]
        challenge: Option<String>,
    },
    /// Print the modem's IMEI
    Imei,
    /// Make the tags hold what a folder or a manifest says: compare, change what differs, check the digests
    Apply(Apply),
}

/// What about private keys that lie in files.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct TestKeys {
    /// Refuse private keys from files: they are for tests only
    #[arg(long)]
    pub(crate) no_test_keys: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// Sec tag, 0 to 2147483647
    pub(crate) tag: SecTag,
    /// CLIENT_KEY (2), or ENDORSEMENT_KEY (8)
    #[arg(long = "type", value_name = "TYPE", default_value = "CLIENT_KEY", value_parser = type_from_text)]
    pub(crate) kind: CredentialType,
    /// Subject of the CSR, e.g. O=Example,C=NO,CN=dev-1 [default: a modem takes CN=<device UUID>]
    #[arg(long, value_name = "K=V,…")]
    pub(crate) attributes: Option<String>,
    /// Nine binary digits, digitalSignature first [default: 111010000]
    #[arg(long, value_name = "BITS")]
    pub(crate) key_usage: Option<String>,
    /// The bare public key, no CSR
    #[arg(long, conflicts_with_all = ["attributes", "key_usage"])]
    pub(crate) public_key: bool,
    /// DER, not PEM
    #[arg(long)]
    pub(crate) der: bool,
    /// Into FILE, not to stdout
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// Folder with ca-cert.pem, client-cert.pem, private-key.pem, psk, psk-id (and ca-cert-2.pem … for --secondary-tag), or
    /// with a folder per tag; or a TOML manifest
    #[arg(value_name = "FOLDER|MANIFEST")]
    pub(crate) source: PathBuf,
    /// Sec tag for the files of a folder
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Option<SecTag>,
    /// Sec tag for the files whose names end in -2
    #[arg(long, value_name = "TAG")]
    pub(crate) secondary_tag: Option<SecTag>,
    /// Print what would change, and change nothing. Exit 0: nothing to do, 1: there is
    #[arg(long)]
    pub(crate) plan: bool,
    #[command(flatten)]
    pub(crate) keys: TestKeys,
}
