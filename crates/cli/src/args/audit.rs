//! `sectag audit`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// The newest entries: who did what to which device, and why
    List(ListAudit),
    /// Everything as one file (JSON, an entry per line) that `sectag audit verify` takes; needs a key of the home's
    /// own team with the role admin
    Export {
        /// Where to write it; a file there is replaced when the new one is whole [default: stdout]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Look whether an export is whole and unchanged; asks no service
    ///
    /// Exit code 0: everything holds; 1: it does not, and what was altered, dropped, inserted, reordered or cut off is named;
    /// 2: it could not be looked at. Where the home has an `audit.key`, that key is asked for, and the checkpoints in
    /// `audit.checkpoints` as well.
    Verify(VerifyAudit),
    /// The public key of this home's checkpoints, PEM
    Key,
}

#[derive(Debug, Args)]
pub(crate) struct ListAudit {
    /// Only what concerns this device
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// What concerns any team; for owners of the home's own team
    #[arg(long)]
    pub(crate) all: bool,
    /// Entries at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyAudit {
    /// What `sectag audit export` wrote
    pub(crate) file: PathBuf,
    /// Public key of the checkpoints, PEM (`sectag audit key` prints it) [default: the home's, else the one in the export]
    #[arg(long, value_name = "PUBKEY.pem")]
    pub(crate) key: Option<PathBuf>,
}
