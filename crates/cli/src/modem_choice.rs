//! Which modem: the home's virtual one, one on a serial port or pty, one on TCP, or files instead of a modem.

use crate::args::Which;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use sectag_device::hosted::HostedModem;
use sectag_device::state::DeviceState;
use sectag_modem::credentials::{FileStore, StoreError};
use sectag_modem::host::RemoteSigner;
use sectag_modem::serial::{PortError, SerialModem, SerialOptions};
use sectag_modem::{LineError, Modem, SignerError, TagSigner};
use sectag_proto::SecTag;
use sectag_proto::es256::PublicKey;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What `--modem` takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Choice {
    /// The virtual modem of the device named by `--name`.
    #[default]
    Virtual,
    /// A serial port or pty.
    Port(String),
    /// `tcp:HOST:PORT`, kept whole.
    Tcp(String),
    /// No modem: credentials in files. `None`: HOME/credentials.
    Files(Option<PathBuf>),
}

/// The words for `--modem` in help texts.
pub(crate) const HELP: &str =
    "virtual (the device --name of this home), a serial port or pty, tcp:HOST:PORT, or files[:DIR]";

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "virtual" => Ok(Self::Virtual),
            "files" => Ok(Self::Files(None)),
            "" => Err(format!("give {HELP}")),
            _ => match text.split_once(':') {
                Some(("files", "")) => {
                    Err("give a directory after `files:`, or only `files`".to_owned())
                }
                Some(("files", dir)) => Ok(Self::Files(Some(dir.into()))),
                Some(("tcp", address)) => {
                    let well_formed = address.rsplit_once(':').is_some_and(|(host, port)| {
                        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
                    });
                    if well_formed {
                        Ok(Self::Tcp(text.to_owned()))
                    } else {
                        Err("give host and port, for example tcp:127.0.0.1:9151".to_owned())
                    }
                }
                _ if text.contains('/') => Ok(Self::Port(text.to_owned())),
                _ => Err(format!(
                    "no kind of modem; give {HELP}; a port has a path, for example /dev/{}",
                    if text.starts_with("tty") {
                        text
                    } else {
                        "ttyACM0"
                    }
                )),
            },
        }
    }
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Virtual => f.write_str("virtual"),
            Self::Port(text) | Self::Tcp(text) => f.write_str(text),
            Self::Files(None) => f.write_str("files"),
            Self::Files(Some(dir)) => write!(f, "files:{}", dir.display()),
        }
    }
}

/// A modem that takes lines. What holds it open lives as long as it does.
pub(crate) struct Opened {
    /// The modem itself.
    pub(crate) modem: Box<dyn Modem + Send>,
    /// The same virtual modem, where it is one.
    pub(crate) virtual_modem: Option<HostedModem>,
    /// The state folder of the device, where it is of this home; it is locked while this lives.
    pub(crate) state: Option<DeviceState>,
}

/// Opens a modem with the default serial options.
pub(crate) fn open(place: &Place, choice: &Choice, which: &Which) -> Outcome<Opened> {
    open_with(place, choice, which, &SerialOptions::default())
}

/// Opens a modem.
pub(crate) fn open_with(
    place: &Place,
    choice: &Choice,
    which: &Which,
    options: &SerialOptions,
) -> Outcome<Opened> {
    match choice {
        Choice::Virtual => {
            let (state, modem) = crate::device::open(place, which)?;
            Ok(Opened {
                modem: Box::new(modem.clone()),
                virtual_modem: Some(modem),
                state: Some(state),
            })
        }
        Choice::Port(port) | Choice::Tcp(port) => Ok(Opened {
            modem: Box::new(SharedPort::open(port, options)?),
            virtual_modem: None,
            state: None,
        }),
        Choice::Files(_) => Err(
            Fault::untried("files hold credentials; they take no AT lines")
                .hint("give --modem virtual, a port, or tcp:HOST:PORT"),
        ),
    }
}

/// Opens the credentials in files; `None` for what is no file store.
pub(crate) fn files(place: &Place, choice: &Choice) -> Outcome<Option<FileStore>> {
    let Choice::Files(dir) = choice else {
        return Ok(None);
    };
    let dir = dir
        .clone()
        .unwrap_or_else(|| place.home.join("credentials"));
    FileStore::open(&dir).map(Some).map_err(store_fault)
}

/// Who signs for TLS with the keys under this modem's tags: the virtual modem of this home, files, or a virtual modem
/// elsewhere that was told to lend signatures. A port that is open in this process already is shared.
///
/// # Errors
/// A real modem: its key cannot sign for this machine's TLS.
pub(crate) fn signer(place: &Place, choice: &Choice, which: &Which) -> Outcome<Arc<dyn TagSigner>> {
    match choice {
        Choice::Virtual => {
            let (state, modem) = crate::device::open(place, which)?;
            Ok(Arc::new(HeldModem {
                modem,
                _state: state,
            }))
        }
        Choice::Files(_) => Ok(Arc::new(
            files(place, choice)?.expect("the choice is files"),
        )),
        Choice::Port(port) | Choice::Tcp(port) => {
            let modem = SharedPort::open(port, &SerialOptions::default())?;
            let signer = RemoteSigner::new(Box::new(modem));
            let any = SecTag::new(0).expect("0 is a sec tag");
            // Whether there is a key is asked later, with the tag that is wanted.
            match signer.public_key(any) {
                Err(SignerError::NoRemoteSigning { .. }) => Err(no_raw_signature(choice)),
                _ => Ok(Arc::new(signer)),
            }
        }
    }
}

/// Why a real modem's key is of no use to TLS here, and what is (design: `TagSigner`).
fn no_raw_signature(choice: &Choice) -> Fault {
    Fault::no(format!(
        "the key under a tag of `{choice}` cannot sign for TLS on this machine: a modem has no AT command for a raw signature"
    ))
    .hint(
        "let the modem speak MQTT itself, in its firmware, with this sec tag; or use a tag in files: `sectag creds keygen TAG --modem files`, then --modem files; or the virtual modem of this home: --modem virtual; a virtual modem elsewhere lends signatures when it is served with --allow-remote-signing",
    )
}

/// A port is opened once in a process; whoever opens it again shares it: the one that sends AT lines, and the one that
/// borrows signatures.
struct SharedPort(Arc<Mutex<SerialModem>>);

/// The ports that are open, by name.
static OPEN_PORTS: Mutex<Vec<(String, Weak<Mutex<SerialModem>>)>> = Mutex::new(Vec::new());

impl SharedPort {
    fn open(port: &str, options: &SerialOptions) -> Outcome<Self> {
        let mut open = OPEN_PORTS.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, modem)| modem.strong_count() > 0);
        let there = open
            .iter()
            .find(|(name, _)| name == port)
            .and_then(|(_, modem)| modem.upgrade());
        if let Some(modem) = there {
            return Ok(Self(modem));
        }
        let modem = SerialModem::open(port, options.clone()).map_err(port_fault)?;
        let modem = Arc::new(Mutex::new(modem));
        open.push((port.to_owned(), Arc::downgrade(&modem)));
        Ok(Self(modem))
    }

    fn lock(&self) -> MutexGuard<'_, SerialModem> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Modem for SharedPort {
    fn line(&mut self, at: &str) -> Result<String, LineError> {
        self.lock().line(at)
    }

    fn notifications(&mut self) -> Vec<String> {
        self.lock().notifications()
    }

    fn alters_line_ends(&self) -> bool {
        self.lock().alters_line_ends()
    }
}

/// The home's virtual modem, locked for as long as its keys are lent.
#[derive(Debug)]
struct HeldModem {
    modem: HostedModem,
    _state: DeviceState,
}

impl TagSigner for HeldModem {
    fn sign(&self, tag: SecTag, message: &[u8]) -> Result<[u8; 64], SignerError> {
        self.modem.shared().sign(tag, message)
    }

    fn public_key(&self, tag: SecTag) -> Result<PublicKey, SignerError> {
        self.modem.shared().public_key(tag)
    }

    fn certificate_chain(&self, tag: SecTag) -> Result<String, SignerError> {
        self.modem.shared().certificate_chain(tag)
    }

    fn root_ca(&self, tag: SecTag) -> Result<String, SignerError> {
        self.modem.shared().root_ca(tag)
    }
}

/// A port that cannot be used could not be tried.
pub(crate) fn port_fault(error: PortError) -> Fault {
    let hint = error.hint();
    let fault = Fault::from(error);
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

/// What the store refused is a no; what it could not be asked was not tried.
pub(crate) fn store_fault(error: StoreError) -> Fault {
    let hint = error.hint();
    let fault = match error {
        StoreError::Line(LineError::Unsendable { .. }) => Fault::no_because(error),
        StoreError::Line(_) | StoreError::Keep(_) | StoreError::Invalid(_) => Fault::from(error),
        // Nobody said no: the way to the modem is gone.
        StoreError::NotRestored { ref source, .. } if matches!(**source, StoreError::Line(_)) => {
            Fault::from(error)
        }
        refused => Fault::no_because(refused),
    };
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sectag_modem::host::{Hosts, Mode, Terminator};
    use sectag_modem::{Identity, Options, SharedModem, VirtualModem};

    #[test]
    fn a_modem_is_chosen_by_word_path_or_address() {
        let parse = |text: &str| text.parse::<Choice>();
        assert_eq!(parse("virtual").unwrap(), Choice::Virtual);
        assert_eq!(
            parse("/dev/ttyACM0").unwrap(),
            Choice::Port("/dev/ttyACM0".to_owned())
        );
        assert_eq!(
            parse("tcp:localhost:9151").unwrap(),
            Choice::Tcp("tcp:localhost:9151".to_owned())
        );
        assert_eq!(parse("files").unwrap(), Choice::Files(None));
        assert_eq!(
            parse("files:/tmp/x").unwrap(),
            Choice::Files(Some("/tmp/x".into()))
        );
        for bad in [
            "",
            "tcp:",
            "tcp:localhost",
            "tcp::1",
            "tcp:a:0",
            "files:",
            "vrtual",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("ttyUSB1").unwrap_err().contains("/dev/ttyUSB1"));
    }

    /// A virtual modem elsewhere; the host ends with the first value.
    fn elsewhere(remote_signing: bool) -> (Hosts, Choice) {
        let options = Options {
            remote_signing,
            ..Options::default()
        };
        let modem = VirtualModem::new(Identity::from_seed(1), options, sectag_modem::seeded(1));
        let mut hosts = Hosts::new(SharedModem::new(modem), Mode::At(Terminator::CrLf));
        let address = hosts.tcp("127.0.0.1:0".parse().unwrap(), false).unwrap();
        (hosts, format!("tcp:{address}").parse().unwrap())
    }

    fn nowhere() -> (Place, Which) {
        let place = Place {
            home: "/nonexistent".into(),
        };
        let which = Which {
            name: "device-1".to_owned(),
        };
        (place, which)
    }

    #[test]
    fn a_port_is_shared_between_lines_and_signatures() {
        let (_hosts, choice) = elsewhere(true);
        let (place, which) = nowhere();
        let mut opened = open(&place, &choice, &which).unwrap();
        assert!(
            opened
                .modem
                .line("AT%KEYGEN=7,2,1")
                .unwrap()
                .ends_with("OK\r\n")
        );
        let signer = signer(&place, &choice, &which).unwrap();
        let tag = SecTag::new(7).unwrap();
        assert!(signer.public_key(tag).is_ok());
        assert_ne!(signer.sign(tag, b"message").unwrap(), [0; 64]);
        assert!(opened.modem.line("AT+CFUN?").is_ok());
    }

    #[test]
    fn a_modem_that_lends_no_signatures_is_refused_with_the_ways_that_work() {
        let (_hosts, choice) = elsewhere(false);
        let (place, which) = nowhere();
        let text = signer(&place, &choice, &which).unwrap_err().text();
        assert!(
            text.contains("has no AT command for a raw signature"),
            "{text}"
        );
        assert!(text.contains("--modem files"), "{text}");
        assert!(text.contains("--allow-remote-signing"), "{text}");
    }

    #[test]
    fn a_choice_reads_back() {
        for text in ["virtual", "/dev/ttyACM0", "tcp:h:1", "files", "files:a/b"] {
            assert_eq!(text.parse::<Choice>().unwrap().to_string(), text);
        }
    }
}
