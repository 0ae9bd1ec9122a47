//! The virtual modem itself: takes a line, finds the command, prints the answer.

use std::fmt;
use std::path::Path;

use sectag_keep::KeepError;
use sectag_proto::at::Command;
use sectag_proto::{CredentialType, SecTag, Timestamp, Uptime};

use crate::cme::{Failure, Reporting};
use crate::functional::Functional;
use crate::key::PrivateKey;
use crate::network::Network;
use crate::options::{Entropy, FaultAnswer, Moment, Options};
use crate::signer::SignerError;
use crate::state::{OpenError, StateFile};
use crate::storage::Storage;
use crate::{Cme, Identity, LineError, Modem, Whose, commands, seeded};

/// Longest command line, in bytes: a chain of 4 kB with its command around it. Longer ones answer `ERROR`.
pub const LINE_BYTES_MAX: usize = 8192;

/// A modem in memory: state in, state out. Credentials and identity are what survives a restart
/// (see [`VirtualModem::open`]); CMEE, CFUN and subscriptions begin anew.
pub struct VirtualModem {
    pub(crate) identity: Identity,
    pub(crate) options: Options,
    pub(crate) entropy: Entropy,
    pub(crate) storage: Storage,
    pub(crate) functional: Functional,
    pub(crate) reporting: Reporting,
    pub(crate) network: Network,
    flash_writes: u64,
    /// Flash writes since it was made: what a power cut is counted by.
    writes_here: u64,
    power: Power,
    /// Notifications read through [`Modem::notifications`] of this value.
    heard: u64,
    /// How often each fault's prefix was met.
    fault_hits: Vec<u32>,
    file: Option<StateFile>,
    save_error: Option<KeepError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Power {
    On,
    Cut,
}

impl VirtualModem {
    /// A modem that lives in memory only.
    pub fn new(identity: Identity, options: Options, entropy: Entropy) -> Self {
        let mut modem = Self {
            fault_hits: vec![0; options.faults.len()],
            identity,
            options,
            entropy,
            storage: Storage::default(),
            functional: Functional::POWERED_OFF,
            reporting: Reporting::default(),
            network: Network::default(),
            flash_writes: 0,
            writes_here: 0,
            power: Power::On,
            heard: 0,
            file: None,
            save_error: None,
        };
        modem.power_on();
        modem
    }

    /// Switches it off and on, also after a power cut: error reporting, functional mode, subscriptions and the time are
    /// gone, credentials stay.
    pub fn power_on(&mut self) {
        self.power = Power::On;
        self.reporting = Reporting::default();
        self.functional = Functional::POWERED_OFF;
        self.network.restart();
        if let Some(change) = self.functional.set(self.options.boot_mode) {
            self.network.link(change, &self.options);
        }
    }

    /// Whether an injected power cut has silenced it.
    pub fn power_is_cut(&self) -> bool {
        self.power == Power::Cut
    }

    /// When it will have something to say by itself; `None`: not before the next command.
    pub fn next_wake(&self) -> Option<Uptime> {
        self.network.next_wake()
    }

    /// The modem that is asked for, in memory only.
    ///
    /// # Errors
    /// [`OpenError::Identity`], [`OpenError::Randomness`].
    pub fn in_memory(
        options: Options,
        mut entropy: Entropy,
        whose: Whose<'_>,
    ) -> Result<Self, OpenError> {
        let identity = whose
            .identity(None, &mut *entropy)?
            .ok_or(OpenError::Randomness)?;
        Ok(Self::new(identity, options, entropy))
    }

    /// The same modem for the same seed, with default options and in memory: for tests and simulations only.
    pub fn from_seed(seed: u64) -> Self {
        Self::new(Identity::from_seed(seed), Options::default(), seeded(!seed))
    }

    /// The modem whose state is kept in `dir`; the first use draws a new identity. The state is written after every
    /// change, before the answer is printed; one process at a time holds the directory.
    ///
    /// # Errors
    /// [`OpenError`]: not readable, not private, held by another process, or not a modem state.
    pub fn open(dir: &Path, options: Options, entropy: Entropy) -> Result<Self, OpenError> {
        Self::open_as(dir, options, entropy, Whose::Anybodys)
    }

    /// As [`VirtualModem::open`]; the first use makes the device that is asked for, and later ones insist on it.
    ///
    /// # Errors
    /// [`OpenError`], also [`OpenError::OtherDevice`] and [`OpenError::Identity`].
    pub fn open_as(
        dir: &Path,
        options: Options,
        mut entropy: Entropy,
        whose: Whose<'_>,
    ) -> Result<Self, OpenError> {
        let (file, saved) = StateFile::open(dir)?;
        let found = saved.as_ref().map(|saved| &saved.identity);
        let identity = whose
            .identity(found, &mut *entropy)?
            .ok_or(OpenError::Randomness)?;
        let mut modem = match saved {
            Some(saved) => {
                if let Some((what, found, wanted)) = saved.identity.difference(&identity) {
                    return Err(OpenError::OtherDevice {
                        path: dir.to_owned(),
                        what,
                        found,
                        wanted,
                    });
                }
                let mut modem = Self::new(saved.identity, options, entropy);
                modem.storage = saved.storage;
                modem.flash_writes = saved.flash_writes;
                modem
            }
            None => {
                let modem = Self::new(identity, options, entropy);
                file.save(&modem.identity, &modem.storage, 0)?;
                modem
            }
        };
        modem.file = Some(file);
        Ok(modem)
    }

    /// Who it is.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Tells the network's time; it goes on with [`VirtualModem::advance`] and survives going offline.
    pub fn set_time(&mut self, now: Timestamp) {
        self.network.set_time(now);
    }

    /// Moves the clock; an uptime before the last one is ignored.
    pub fn advance(&mut self, now: Uptime) {
        self.network.advance(now);
    }

    /// Whether LTE is attached at the current uptime.
    pub fn is_attached(&mut self) -> bool {
        self.network.settle(&self.options);
        self.network.attached()
    }

    /// Changes of the credential storage over the modem's whole life: each one is wear on the flash.
    pub const fn flash_writes(&self) -> u64 {
        self.flash_writes
    }

    /// Why the state could not be saved, if that is why the last change answered 60; asking clears it.
    pub fn take_save_error(&mut self) -> Option<KeepError> {
        self.save_error.take()
    }

    /// What was said since the place `heard`, which moves to the end.
    pub(crate) fn hear(&mut self, heard: &mut u64) -> Vec<String> {
        self.network.settle(&self.options);
        self.network.hear(heard)
    }

    /// Changes the storage and saves it; on failure neither has happened. An injected power cut strikes right before or
    /// right after the write; whatever the command would go on to do, nobody hears of it.
    pub(crate) fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Storage) -> Result<T, Cme>,
    ) -> Result<T, Cme> {
        let mut storage = self.storage.clone();
        let done = change(&mut storage)?;
        self.writes_here += 1;
        let cut = self
            .options
            .power_cut
            .filter(|cut| cut.write == self.writes_here);
        if cut.is_some() {
            self.power = Power::Cut;
        }
        if cut.is_some_and(|cut| cut.when == Moment::Before) {
            return Err(Cme::SYSTEM_FAILURE);
        }
        if let Some(file) = &self.file
            && let Err(error) = file.save(&self.identity, &storage, self.flash_writes + 1)
        {
            self.save_error = Some(error);
            return Err(Cme::SYSTEM_FAILURE);
        }
        self.storage = storage;
        self.flash_writes += 1;
        match self.power {
            Power::On => Ok(done),
            Power::Cut => Err(Cme::SYSTEM_FAILURE),
        }
    }

    /// Fills an array with randomness.
    pub(crate) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.entropy)(&mut bytes);
        bytes
    }

    /// The client key under a tag, for whoever may borrow a signature.
    pub(crate) fn client_key(&self, tag: SecTag) -> Result<PrivateKey, SignerError> {
        let credential = CredentialType::CLIENT_PRIVATE_KEY;
        let pem = self
            .storage
            .content((tag.get(), credential))
            .ok_or(SignerError::Missing { tag, credential })?;
        PrivateKey::from_pem(pem).ok_or(SignerError::UnusableKey { tag })
    }

    /// A readable credential under a tag.
    pub(crate) fn pem(
        &self,
        tag: SecTag,
        credential: CredentialType,
    ) -> Result<String, SignerError> {
        self.storage
            .content((tag.get(), credential))
            .map(str::to_owned)
            .ok_or(SignerError::Missing { tag, credential })
    }

    fn run(&mut self, at: &str) -> Result<Vec<String>, Failure> {
        let line = at.trim_end_matches(['\r', '\n', '\0']);
        if line.len() > LINE_BYTES_MAX {
            return Err(Failure::Plain);
        }
        if let Some(failure) = self.fault(line) {
            return Err(failure);
        }
        let command = Command::parse(line).map_err(|_| Failure::Plain)?;
        commands::run(self, &command)
    }

    /// Counts the line for every fault; the first one whose turn it is decides.
    fn fault(&mut self, line: &str) -> Option<Failure> {
        let mut found = None;
        for (fault, hits) in self.options.faults.iter().zip(&mut self.fault_hits) {
            let matches = line
                .trim_start()
                .get(..fault.prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(&fault.prefix));
            if !matches {
                continue;
            }
            *hits = hits.saturating_add(1);
            if *hits == fault.nth && found.is_none() {
                found = Some(match fault.answer {
                    FaultAnswer::Error => Failure::Plain,
                    FaultAnswer::Cme(cme) => Failure::Cme(cme),
                });
            }
        }
        found
    }
}

impl VirtualModem {
    /// Runs one command line and returns everything printed for it; see [`Modem::line`]. Empty when the power is cut.
    pub fn line(&mut self, at: &str) -> String {
        let mut text = String::new();
        if self.power_is_cut() {
            return text;
        }
        let answer = self.run(at);
        if self.power_is_cut() {
            return text;
        }
        match answer {
            Ok(lines) => {
                for line in lines {
                    text.push_str(&line);
                    text.push_str("\r\n");
                }
                text.push_str("OK\r\n");
            }
            Err(failure) => {
                text.push_str(&failure.print(self.reporting));
                text.push_str("\r\n");
            }
        }
        text
    }
}

impl Modem for VirtualModem {
    fn line(&mut self, at: &str) -> Result<String, LineError> {
        let answer = self.line(at);
        if self.power_is_cut() {
            return Err(LineError::PowerCut);
        }
        Ok(answer)
    }

    fn notifications(&mut self) -> Vec<String> {
        let mut heard = self.heard;
        let said = self.hear(&mut heard);
        self.heard = heard;
        said
    }

    fn reboot(&mut self) {
        self.power_on();
    }
}

/// Which modem, in which mode, with which entries; nothing secret.
impl fmt::Debug for VirtualModem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualModem")
            .field("device", &self.identity.device)
            .field("functional_mode", &self.functional.number())
            .field("entries", &self.storage)
            .field("flash_writes", &self.flash_writes)
            .finish_non_exhaustive()
    }
}
