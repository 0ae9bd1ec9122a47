//! The passphrase of an encrypted CA key: from a file, the environment, or the terminal. It is kept for one invocation.

use crate::args::PassphraseArgs;
use crate::fault::{Fault, Outcome};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use tokio::runtime::Handle;
use zeroize::Zeroizing;

/// Holds it, for services that have neither file nor terminal.
const VARIABLE: &str = "SECTAG_CA_PASSPHRASE";
/// A line longer than this is a wrong file.
const BYTES_MAX: usize = 1024;
/// Fewer characters are tried out in an afternoon by whoever gets the file.
const CHARS_MIN: usize = 8;

/// Exit code after Ctrl-C, as shells give it: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// Where the passphrase comes from, and what it was.
#[derive(Default)]
pub(crate) struct Passphrase {
    file: Option<PathBuf>,
    known: RefCell<Option<Zeroizing<String>>>,
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passphrase")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Passphrase {
    pub(crate) fn new(arguments: &PassphraseArgs) -> Self {
        Self {
            file: arguments.passphrase_file.clone(),
            known: RefCell::default(),
        }
    }

    /// The passphrase that opens `what`. The terminal is asked once.
    pub(crate) fn get(&self, what: &str) -> Outcome<Zeroizing<String>> {
        if let Some(known) = self.known.borrow().as_ref() {
            return Ok(known.clone());
        }
        let found = match self.given()? {
            Some(given) => given,
            None => ask(&format!("Passphrase of {what}: "))?,
        };
        *self.known.borrow_mut() = Some(found.clone());
        Ok(found)
    }

    /// A passphrase for new keys: of some length, and typed twice.
    pub(crate) fn choose(&self) -> Outcome<Zeroizing<String>> {
        let chosen = match self.given()? {
            Some(given) => given,
            None => {
                let first = ask("New passphrase of the CA keys: ")?;
                if *ask("The same again: ")? != *first {
                    return Err(Fault::no("the two passphrases differ"));
                }
                first
            }
        };
        if chosen.chars().count() < CHARS_MIN {
            return Err(Fault::no(format!(
                "a passphrase of a CA key has {CHARS_MIN} characters at least"
            ))
            .hint("a few random words are easy to keep: `openssl rand -base64 18` makes others"));
        }
        *self.known.borrow_mut() = Some(chosen.clone());
        Ok(chosen)
    }

    fn given(&self) -> Outcome<Option<Zeroizing<String>>> {
        if let Some(path) = &self.file {
            // Others who could read it could read the key: 0600 is asked of both.
            let content = sectag_keep::read_private(path)
                .map_err(super::folder::kept)?
                .ok_or_else(|| {
                    Fault::untried(format!("passphrase file `{}` is missing", path.display()))
                })?;
            let line = content.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            return match std::str::from_utf8(line) {
                Ok(text) if !text.is_empty() && text.len() <= BYTES_MAX => {
                    Ok(Some(Zeroizing::new(text.to_owned())))
                }
                _ => Err(Fault::untried(format!(
                    "the first line of `{}` is no passphrase (1 to {BYTES_MAX} bytes of UTF-8)",
                    path.display()
                ))),
            };
        }
        match std::env::var(VARIABLE) {
            Ok(text) if !text.is_empty() => Ok(Some(Zeroizing::new(text))),
            _ => Ok(None),
        }
    }
}

/// Asks on the terminal itself, whatever stdin is, without showing what is typed.
fn ask(prompt: &str) -> Outcome<Zeroizing<String>> {
    let missing = || {
        Fault::untried("a passphrase is needed, and there is no terminal to ask on")
            .hint(format!("give --passphrase-file FILE, or set {VARIABLE}"))
    };
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|_| missing())?;
    let before = tcgetattr(&terminal).map_err(|_| missing())?;
    let mut silent = before.clone();
    silent.local_modes &= !LocalModes::ECHO;
    silent.local_modes |= LocalModes::ECHONL;
    if let (Ok(runtime), Ok(terminal)) = (Handle::try_current(), terminal.try_clone()) {
        let before = before.clone();
        // Ctrl-C must not leave the terminal silent. Nothing that is worth an orderly end runs beside a question.
        runtime.spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
                std::process::exit(INTERRUPTED);
            }
        });
    }
    write!(&terminal, "{prompt}")?;
    tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
    let mut line = Zeroizing::new(String::with_capacity(BYTES_MAX));
    let read = BufReader::new(&terminal).read_line(&mut line);
    tcsetattr(&terminal, OptionalActions::Now, &before)?;
    read?;
    Ok(Zeroizing::new(
        line.trim_end_matches(['\n', '\r']).to_owned(),
    ))
}
