//! What the sample runs on, and what can be watched of it.

use std::sync::Arc;
use std::time::Duration;

use sectag_modem::credentials::{FileStore, Written};
use sectag_modem::{Modem, TagSigner};
use sectag_mqtt::ClientError;
use sectag_mqtt::client::Traffic;

use super::credentials::{File, ProvisionError};
use super::words::Line;
use crate::failures::Explanation;
use crate::link::LinkError;

/// What the sample runs on.
pub struct Board {
    pub(super) parts: Parts,
    pub(super) signer: Arc<dyn TagSigner>,
}

pub(super) enum Parts {
    Modem(Box<dyn Modem + Send>),
    Files(FileStore),
}

impl Board {
    /// A device with a modem: its notifications are the network, its IMEI is the hardware's id.
    pub fn modem(modem: Box<dyn Modem + Send>, signer: Arc<dyn TagSigner>) -> Self {
        Self {
            parts: Parts::Modem(modem),
            signer,
        }
    }

    /// A host whose credentials are files. Its network is always up; its hardware has no id, so a number is drawn.
    pub fn files(store: FileStore) -> Self {
        Self {
            signer: Arc::new(store.clone()),
            parts: Parts::Files(store),
        }
    }
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.parts {
            Parts::Modem(_) => "Board(modem)",
            Parts::Files(_) => "Board(files)",
        })
    }
}

/// What can be watched.
#[derive(Debug)]
#[non_exhaustive]
pub enum Happening<'a> {
    /// A line of the log.
    Line(&'a Line),
    /// A light changed.
    Led {
        /// Numbers begin at 1.
        number: u8,
        /// Whether it shines.
        on: bool,
    },
    /// A credential file is under its tag.
    Provisioned(&'a File, Written),
    /// Credentials could not be put under their tags.
    NotProvisioned(&'a ProvisionError),
    /// The modem did not do as told; its words.
    Modem(&'a str),
    /// There is no link, and why.
    NotConnected(&'a LinkError),
    /// The broker refused the subscription.
    Refused(&'a ClientError, Option<&'a Explanation>),
    /// There is a link, and something about it that the user should know.
    Warning(&'a Explanation),
    /// A link is over, and what it was.
    Session(&'a Session),
}

/// A connection that is over.
#[derive(Debug, Clone)]
pub struct Session {
    /// The first is 1.
    pub number: u64,
    /// From CONNACK to the end.
    pub lasted: Duration,
    /// What it cost.
    pub traffic: Traffic,
    /// Why it ended; `None` when this side ended it.
    pub lost: Option<(ClientError, Option<Explanation>)>,
}

/// Watches a run.
pub type Observer<'a> = dyn FnMut(Happening<'_>) + Send + 'a;
