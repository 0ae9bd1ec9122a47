//! The part with the modem, or with files in its place: who it is, credentials, the radio.

use std::time::Instant;

use sectag_modem::LineError;
use sectag_modem::credentials::{self, AtStore};
use sectag_proto::at::{Answer, Verdict};

use super::{ASK_EVERY, Run};
use crate::link::Security;
use crate::sample::board::{Happening, Parts};
use crate::sample::config::Program;
use crate::sample::credentials::{Credentials, File, ProvisionError};
use crate::sample::errno;
use crate::sample::events::{Input, Step};
use crate::verbs::{self, AskError};

impl Run<'_, '_> {
    pub(super) fn hardware_id(&mut self) -> Result<String, i32> {
        match &mut self.board.parts {
            Parts::Modem(modem) => {
                credentials::imei(&mut **modem).map_err(|error| errno::of_store(&error))
            }
            Parts::Files(_) => {
                let mut number = [0; 4];
                getrandom::fill(&mut number).map_err(|_| -errno::EIO)?;
                Ok(u32::from_ne_bytes(number).to_string())
            }
        }
    }

    /// The CN of the certificate that the next connection will present.
    pub(super) fn look_at_name(&mut self) {
        let tls = match &self.options.security {
            Security::Tls(tls) => tls,
            Security::Gateway(client) => {
                let name = client.common_name();
                return self.tell(Input::CommonName(name));
            }
            Security::Plain => return,
        };
        let name = tls.tags.iter().find_map(|tag| {
            let pem = self.board.signer.certificate_chain(*tag).ok()?;
            let chain = sectag_pki::pem::certificates(&pem).ok()?;
            Some(sectag_pki::identity(chain.first()?).ok()?.cn)
        });
        self.tell(Input::CommonName(name));
    }

    pub(super) fn provision(&mut self) -> Result<(), i32> {
        let Some(folder) = &self.options.folder else {
            return Ok(());
        };
        let outcome = match folder.read() {
            Ok(credentials) => self.write(&credentials),
            Err(error) => Err(error.into()),
        };
        outcome.map_err(|error| {
            (self.observe)(Happening::NotProvisioned(&error));
            match error {
                ProvisionError::Store { source, .. } => errno::of_store(&source),
                ProvisionError::Folder(_) => -errno::ENOENT,
            }
        })
    }

    pub(super) fn write(&mut self, credentials: &Credentials) -> Result<(), ProvisionError> {
        let config = &self.options.config;
        let always = config.faithful && config.program == Program::Sample;
        let mut steps = Vec::new();
        let observe = &mut *self.observe;
        let mut step = |step: Step| steps.push(step);
        let mut done = |file: &File, written| observe(Happening::Provisioned(file, written));
        let outcome = match &mut self.board.parts {
            Parts::Modem(modem) => {
                let mut store = AtStore::new(&mut **modem);
                credentials.provision(&mut store, always, &mut step, &mut done)
            }
            Parts::Files(store) => credentials.provision(store, always, &mut step, &mut done),
        };
        for step in steps {
            self.tell(Input::Provisioning(step));
        }
        outcome
    }

    pub(super) fn online(&mut self) {
        let Parts::Modem(modem) = &mut self.board.parts else {
            return self.tell(Input::Network(true));
        };
        let mode = verbs::functional_mode(&mut **modem).ok();
        self.line("AT+CGEREP=1");
        self.ask_at = Some(Instant::now());
        if !matches!(mode, Some(1 | 21)) {
            self.mode_before = self.mode_before.or(mode);
            if !self.line("AT+CFUN=1") {
                self.tell(Input::Fatal);
            }
        }
        self.listen();
    }

    pub(super) fn offline(&mut self) {
        self.ask_at = None;
        if let Parts::Modem(modem) = &mut self.board.parts {
            let mode = verbs::functional_mode(&mut **modem).ok();
            self.mode_before = self.mode_before.or(mode);
            self.line("AT+CFUN=4");
            self.listen();
        }
        // A modem that was never attached says nothing when it goes.
        self.tell(Input::Network(false));
    }

    pub(super) fn listen(&mut self) {
        let Parts::Modem(modem) = &mut self.board.parts else {
            return;
        };
        let mut heard: Vec<bool> = modem
            .notifications()
            .iter()
            .filter_map(|notification| network(notification))
            .collect();
        // Behind the firmware's shell a modem says nothing on its own, and one that is attached already has said it.
        if heard.is_empty() && self.ask_at.is_some_and(|at| at <= Instant::now()) {
            self.ask_at = Some(Instant::now() + ASK_EVERY);
            match verbs::registration(&mut **modem) {
                Ok(there) => heard.extend(there.filter(|there| *there)),
                // A port that is gone stays gone; nothing would ever be heard.
                Err(AskError::Line {
                    line,
                    source: source @ (LineError::Port(_) | LineError::PowerCut),
                }) => {
                    self.ask_at = None;
                    (self.observe)(Happening::Modem(&format!("{line}: {source}")));
                    return self.tell(Input::Fatal);
                }
                Err(_) => {}
            }
        }
        for up in heard {
            if up {
                self.ask_at = None;
                self.look_at_name();
            }
            self.tell(Input::Network(up));
        }
    }

    /// Whether the modem said OK; what else it said goes to the observer.
    pub(super) fn line(&mut self, line: &str) -> bool {
        let Parts::Modem(modem) = &mut self.board.parts else {
            return true;
        };
        let said = match modem.line(line) {
            Ok(said) => said,
            Err(error) => {
                (self.observe)(Happening::Modem(&format!("{line}: {error}")));
                return false;
            }
        };
        let ok = Answer::parse(&said).is_ok_and(|answer| answer.verdict == Verdict::Ok);
        if !ok {
            (self.observe)(Happening::Modem(&format!("{line}: {}", said.trim())));
        }
        ok
    }

    pub(super) const fn has_modem(&self) -> bool {
        matches!(self.board.parts, Parts::Modem(_))
    }
}

/// What a notification says about the network.
fn network(notification: &str) -> Option<bool> {
    let event = notification.strip_prefix("+CGEV: ")?;
    let gone = ["ME DETACH", "NW DETACH", "ME PDN DEACT 0", "NW PDN DEACT 0"];
    if event.starts_with("ME PDN ACT 0") {
        Some(true)
    } else {
        gone.iter()
            .any(|word| event.starts_with(word))
            .then_some(false)
    }
}
