//! One visit to a modem or a file store: opened, wrapped, interruptible, and the radio put back at the end.

use super::{slot_name, stored};
use crate::args::{ModemArgs, Slot};
use crate::ca::moment;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::modem_choice::{self, Choice, Opened, store_fault};
use crate::up::StopSignal;
use sectag_modem::credentials::{
    AtStore, CredentialStore, Entry, FileStore, KeyMaterial, KeyRequest, StoreError, type_name,
};
use sectag_modem::serial::{DryRun, Transcript};
use sectag_modem::{LineError, Modem};
use sectag_proto::secret::SecretText;
use sectag_proto::{CredentialType, SecTag};
use std::fs::OpenOptions;
use std::io::{self, BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What the verbs work on.
pub(crate) struct Session {
    to: To,
    dry: bool,
    stop: Arc<AtomicBool>,
    /// Where the transcript goes, and why it is not whole.
    transcript: Option<(PathBuf, Failure)>,
}

/// The first failure to write, in the operating system's words.
type Failure = Arc<OnceLock<String>>;

enum To {
    Modem {
        modem: Box<dyn Modem + Send>,
        /// Keeps the device of the home locked.
        _opened: Kept,
    },
    Files(FileStore),
}

/// What must outlive the modem that came from it.
type Kept = Option<sectag_device::state::DeviceState>;

/// Signals within this time are one wish: `timeout` tells a process and its group, so each process hears it twice.
const ONE_WISH: Duration = Duration::from_millis(500);

/// Runs blocking work on a modem. Ctrl-C or SIGTERM: the line under way ends, the mode is put back, nothing more is done;
/// a second one ends the process at once.
pub(crate) async fn with_session<T: Send + 'static>(
    place: &Place,
    args: ModemArgs,
    work: impl FnOnce(&mut Session) -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    let mut signal = StopSignal::listen()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (place, stopped) = (place.clone(), Arc::clone(&stop));
    let mut task = tokio::task::spawn_blocking(move || {
        let mut session = Session::open(&place, &args, stopped)?;
        let done = work(&mut session);
        match (done, session.transcript_fault()) {
            (Ok(_), Some(fault)) => Err(fault),
            (done, Some(fault)) => {
                eprintln!("{}", fault.warning());
                done
            }
            (done, None) => done,
        }
    });
    tokio::select! {
        done = &mut task => return done?,
        () = signal.came() => {}
    }
    stop.store(true, Ordering::Relaxed);
    eprintln!("stopping after the line that is under way; once more ends at once");
    let counts_from = Instant::now() + ONE_WISH;
    let again = async {
        loop {
            signal.came().await;
            if Instant::now() >= counts_from {
                break;
            }
        }
    };
    tokio::select! {
        done = &mut task => done?,
        () = again => {
            eprintln!("ended at once: the modem may be offline, `AT+CFUN?` tells");
            std::process::exit(130);
        }
    }
}

impl Session {
    fn open(place: &Place, args: &ModemArgs, stop: Arc<AtomicBool>) -> Outcome<Self> {
        let dry = args.dry_run;
        if let Some(files) = modem_choice::files(place, &args.modem)? {
            if args.transcript.is_some() {
                return Err(Fault::untried(
                    "--transcript writes AT lines down, and files take none",
                ));
            }
            return Ok(Self {
                to: To::Files(files),
                dry,
                stop,
                transcript: None,
            });
        }
        let Opened { modem, state, .. } =
            modem_choice::open_with(place, &args.modem, &args.which(), &args.serial())?;
        let mut modem = modem;
        let mut kept = None;
        if let Some(path) = &args.transcript {
            let file = transcript(path, &args.modem)?;
            kept = Some((path.clone(), Arc::clone(&file.failure)));
            modem = Box::new(Transcript::new(modem, file));
        }
        if dry {
            modem = Box::new(DryRun::new(modem, |line: &str| {
                eprintln!("dry run: not sent: {line}");
            }));
        }
        Ok(Self {
            to: To::Modem {
                modem: Box::new(Interruptible {
                    modem,
                    stop: Arc::clone(&stop),
                }),
                _opened: state,
            },
            dry,
            stop,
            transcript: kept,
        })
    }

    /// What was said and not written down.
    fn transcript_fault(&self) -> Option<Fault> {
        let (path, failure) = self.transcript.as_ref()?;
        let why = failure.get()?;
        let text = format!("the transcript `{}` is not whole: {why}", path.display());
        Some(Fault::untried(text).hint("the modem was asked all the same"))
    }

    /// Whether somebody wants it to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether nothing may change.
    pub(crate) const fn is_dry(&self) -> bool {
        self.dry
    }

    /// Works on the credentials; a modem is taken offline when a change needs it, and back in every case.
    pub(crate) fn store<T>(
        &mut self,
        work: impl FnOnce(&mut dyn CredentialStore) -> Result<T, StoreError>,
    ) -> Outcome<T> {
        stored(self.try_store(work))
    }

    /// As [`Session::store`]; what is refused names the slot.
    pub(crate) fn slot<T>(
        &mut self,
        slot: &Slot,
        work: impl FnOnce(&mut dyn CredentialStore) -> Result<T, StoreError>,
    ) -> Outcome<T> {
        self.try_store(work).map_err(|error| match error {
            // These are about the way, and carry causes of their own.
            StoreError::Line(_) | StoreError::Keep(_) | StoreError::NotRestored { .. } => {
                store_fault(error)
            }
            refused => {
                let hint = refused.hint();
                let text = format!("{}: {refused}", slot_name(slot));
                let fault = match refused {
                    StoreError::Invalid(_) => Fault::untried(text),
                    _ => Fault::no(text),
                };
                match hint {
                    Some(hint) => fault.hint(hint),
                    None => fault,
                }
            }
        })
    }

    /// As [`Session::store`], with any error.
    pub(crate) fn try_store<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&mut dyn CredentialStore) -> Result<T, E>,
    ) -> Result<T, E> {
        match &mut self.to {
            To::Modem { modem, .. } => AtStore::new(modem.as_mut()).offline(|store| work(store)),
            To::Files(files) if self.dry => work(&mut DryFiles(files)),
            To::Files(files) => work(files),
        }
    }

    /// Asks the modem for something that files do not have.
    pub(crate) fn modem<T>(
        &mut self,
        what: &str,
        work: impl FnOnce(&mut dyn Modem) -> Result<T, StoreError>,
    ) -> Outcome<T> {
        match &mut self.to {
            To::Modem { modem, .. } => work(modem.as_mut()).map_err(store_fault),
            To::Files(_) => Err(Fault::no(format!(
                "files have no {}",
                what.trim_start_matches("an ")
            ))
            .hint("give --modem virtual, a port, or tcp:HOST:PORT")),
        }
    }

    /// The modem itself.
    pub(crate) fn lines(&mut self) -> Outcome<&mut (dyn Modem + Send)> {
        match &mut self.to {
            To::Modem { modem, .. } => Ok(modem.as_mut()),
            To::Files(_) => Err(
                Fault::untried("files hold credentials; they take no AT lines")
                    .hint("give --modem virtual, a port, or tcp:HOST:PORT"),
            ),
        }
    }
}

/// A file for a transcript: it shows no secrets, but what a modem says is nobody else's business.
fn transcript(path: &Path, modem: &Choice) -> Outcome<Recorder> {
    let unwritable = |error| {
        Fault::untried(format!(
            "cannot write the transcript `{}`: {error}",
            path.display()
        ))
    };
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(unwritable)?;
    let mut file = Recorder::new(file);
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = moment(since.map_or(0, |since| since.as_secs()));
    writeln!(file, "# {now}, {modem}")
        .and_then(|()| file.flush())
        .map_err(unwritable)?;
    Ok(file)
}

/// A file that remembers what did not fit.
struct Recorder {
    to: BufWriter<std::fs::File>,
    failure: Failure,
}

impl Recorder {
    fn new(file: std::fs::File) -> Self {
        Self {
            to: BufWriter::new(file),
            failure: Failure::default(),
        }
    }

    fn noted<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            // The first one counts.
            let _ = self.failure.set(error.to_string());
        })
    }
}

impl io::Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes);
        self.noted(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.to.flush();
        self.noted(flushed)
    }
}

/// Refuses lines after the stop, except those that put the modem back into the state it was found in.
struct Interruptible {
    modem: Box<dyn Modem + Send>,
    stop: Arc<AtomicBool>,
}

impl Modem for Interruptible {
    fn line(&mut self, at: &str) -> Result<String, LineError> {
        const PUT_BACK: [&str; 2] = ["AT+CFUN=", "AT+CMEE="];
        if self.stop.load(Ordering::Relaxed) && !PUT_BACK.iter().any(|line| at.starts_with(line)) {
            return Err(LineError::Port(io::Error::new(
                ErrorKind::Interrupted,
                "stopped by a signal",
            )));
        }
        self.modem.line(at)
    }

    fn notifications(&mut self) -> Vec<String> {
        self.modem.notifications()
    }

    fn reboot(&mut self) {
        self.modem.reboot();
    }

    fn alters_line_ends(&self) -> bool {
        self.modem.alters_line_ends()
    }
}

/// Files that are only read.
struct DryFiles<'a>(&'a mut FileStore);

impl DryFiles<'_> {
    fn tell(&self, what: &str, tag: SecTag, kind: CredentialType) {
        let _ = writeln!(
            io::stderr(),
            "dry run: not {what}: sec tag {tag}, {} ({}) in `{}`",
            type_name(kind),
            kind.0,
            self.0.dir().display()
        );
    }
}

impl CredentialStore for DryFiles<'_> {
    fn list(
        &mut self,
        tag: Option<SecTag>,
        kind: Option<CredentialType>,
    ) -> Result<Vec<Entry>, StoreError> {
        self.0.list(tag, kind)
    }

    fn write(
        &mut self,
        tag: SecTag,
        kind: CredentialType,
        _content: &SecretText,
    ) -> Result<(), StoreError> {
        self.tell("written", tag, kind);
        Ok(())
    }

    fn read(&mut self, tag: SecTag, kind: CredentialType) -> Result<String, StoreError> {
        self.0.read(tag, kind)
    }

    fn delete(&mut self, tag: SecTag, kind: CredentialType) -> Result<(), StoreError> {
        if !self.exists(tag, kind)? {
            return Err(StoreError::NotFound);
        }
        self.tell("deleted", tag, kind);
        Ok(())
    }

    fn keygen(&mut self, request: &KeyRequest<'_>) -> Result<KeyMaterial, StoreError> {
        self.tell("made", request.tag, request.kind);
        Err(StoreError::Invalid("a dry run makes no key".to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_fit_into_a_transcript_is_remembered() {
        let mut file = Recorder::new(OpenOptions::new().append(true).open("/dev/full").unwrap());
        let failure = Arc::clone(&file.failure);
        assert_eq!(failure.get(), None);
        assert!(writeln!(file, "line").and_then(|()| file.flush()).is_err());
        assert!(failure.get().unwrap().contains("No space left"));
    }
}
