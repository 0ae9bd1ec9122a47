//! The serial client: drives a real module, or a virtual one on a pty or TCP, as the usual host tools do
//! (spec/modem-at §9).
//!
//! ```text
//!  SerialModem::open ─► lock the port ─► `at AT+CGSN` ×3 (shell?) ─► `AT+CGSN` ×3 (AT host?) ─► PortError::Silent
//!
//!  line ─► read away what lies there (notifications kept) ─► write ─► collect until OK, ERROR, +CME ERROR ─► text
//! ```
//!
//! It neither retries nor guesses: a line without an answer is [`LineError::Timeout`], and whether the command was
//! executed is then unknown. [`Transcript`] writes down what is said, without secrets; [`DryRun`] asks and never changes.

mod dry_run;
mod mask;
mod port;
mod reader;
mod shell;
mod transcript;

pub use crate::host::Terminator;
pub use dry_run::DryRun;
pub use mask::masked;
pub use port::{Port, PortError};
pub use reader::{LineReader, Said, Sent};
pub use transcript::Transcript;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::virtual_modem::LINE_BYTES_MAX;
use crate::{LineError, Modem};

/// How the port is opened and spoken to. The defaults are those of the host tools (spec/modem-at §9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialOptions {
    /// Bits per second. Default: 115200. TCP has none.
    pub baud: u32,
    /// RTS/CTS flow control. Default: on.
    pub rtscts: bool,
    /// What answers at the other end. Default: found out.
    pub mode: Mode,
    /// What ends a command line. Default: CR LF.
    pub terminator: Terminator,
    /// How long a final result may take. Default: 15 s; slow commands have more, see [`SLOW`].
    pub line_timeout: Duration,
    /// How long one look at the port may take. Default: 1 s.
    pub read_timeout: Duration,
    /// After the port was opened and a line end sent: what the other end needs to finish a half-typed line, as the host tools
    /// wait. Default: 200 ms.
    pub settle: Duration,
}

impl Default for SerialOptions {
    fn default() -> Self {
        Self {
            baud: 115_200,
            rtscts: true,
            mode: Mode::Auto,
            terminator: Terminator::CrLf,
            line_timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(1),
            settle: Duration::from_millis(200),
        }
    }
}

/// What answers at the other end of the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Found out by asking for the IMEI.
    #[default]
    Auto,
    /// Lines go to the modem as they are.
    At,
    /// A firmware shell with a command `at`.
    Shell,
}

/// Commands that may take longer than [`SerialOptions::line_timeout`], and how long: a key takes seconds to make and
/// to store, leaving the network waits for the base station, and a scan for networks visits every band.
pub const SLOW: [(&str, Duration); 4] = [
    ("AT%KEYGEN", Duration::from_secs(60)),
    ("AT%KEYINJECT", Duration::from_secs(60)),
    ("AT+CFUN=", Duration::from_secs(60)),
    ("AT+COPS=", Duration::from_secs(180)),
];

/// Questions per mode before detection gives up, and how long each may take.
const DETECTION_TRIES: u32 = 3;
const DETECTION_WAIT: Duration = Duration::from_secs(2);

/// Bytes of one answer; a complete list of a full modem is far below.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// How long a line that never falls quiet is waited for: a log that floods the wire must not stop the work.
const NOISE_MAX: Duration = Duration::from_millis(500);

/// Notifications kept for a reader; the oldest go first.
const NOTIFICATIONS_MAX: usize = 256;

/// A modem at the other end of a wire.
pub struct SerialModem {
    name: String,
    port: Box<dyn Port>,
    options: SerialOptions,
    shell: bool,
    reader: LineReader,
    /// Arrived and not looked at: what came behind a final result.
    pending: VecDeque<u8>,
    notifications: VecDeque<String>,
}

impl SerialModem {
    /// Opens `port`: a device file such as `/dev/ttyACM0`, a pty, or `tcp:HOST:PORT`; and finds out how to speak to it.
    ///
    /// # Errors
    /// [`PortError`]: cannot be opened, is in use, or no modem answers.
    pub fn open(port: &str, options: SerialOptions) -> Result<Self, PortError> {
        Self::over(port, port::open(port, &options)?, options)
    }

    /// Speaks over a port that is open already; `name` is what errors call it.
    ///
    /// # Errors
    /// [`PortError::Silent`], [`PortError::Open`].
    pub fn over(
        name: &str,
        port: Box<dyn Port>,
        options: SerialOptions,
    ) -> Result<Self, PortError> {
        let mut modem = Self {
            name: name.to_owned(),
            port,
            shell: options.mode == Mode::Shell,
            options,
            reader: LineReader::default(),
            pending: VecDeque::new(),
            notifications: VecDeque::new(),
        };
        let failed = |source| PortError::Open {
            port: name.to_owned(),
            source,
        };
        modem
            .port
            .write(modem.options.terminator.bytes())
            .map_err(failed)?;
        modem.read_away(modem.options.settle).map_err(failed)?;
        if modem.options.mode == Mode::Auto {
            modem.detect()?;
        }
        Ok(modem)
    }

    /// Whether a shell answers; what was found, or what the options say.
    pub const fn is_shell(&self) -> bool {
        self.shell
    }

    /// The port as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Spec/modem-at §9, host side algorithm, step 1.
    fn detect(&mut self) -> Result<(), PortError> {
        let mut said = String::new();
        for (question, shell) in [("at AT+CGSN", true), ("AT+CGSN", false)] {
            for _ in 0..DETECTION_TRIES {
                match self.exchange(question, question, DETECTION_WAIT) {
                    Ok(answer) if answer.ends_with("OK\r\n") && has_imei(&answer) => {
                        self.shell = shell;
                        return Ok(());
                    }
                    Ok(answer) => said = answer,
                    Err(LineError::Port(source)) => {
                        return Err(PortError::Open {
                            port: self.name.clone(),
                            source,
                        });
                    }
                    Err(error) => {
                        if !error.said().is_empty() {
                            said = error.said().to_owned();
                        }
                    }
                }
            }
        }
        Err(PortError::Silent {
            port: self.name.clone(),
            said: printable(&said),
        })
    }

    /// Sends `text` and collects the answer to `command`.
    fn exchange(
        &mut self,
        text: &str,
        command: &str,
        timeout: Duration,
    ) -> Result<String, LineError> {
        self.read_away(Duration::ZERO)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() + 2));
        bytes.extend_from_slice(text.as_bytes());
        bytes.extend_from_slice(self.options.terminator.bytes());
        self.port.write(&bytes)?;
        let sent = Sent::new(text, command);
        let deadline = Instant::now() + timeout;
        let mut answer = String::new();
        loop {
            while let Some(byte) = self.pending.pop_front() {
                let Some(line) = self.reader.push(byte) else {
                    continue;
                };
                match sent.sort(&line) {
                    Said::Nothing => {}
                    Said::Notification(line) => self.keep(line),
                    Said::Information(line) if answer.len() + line.len() > ANSWER_BYTES_MAX => {
                        return Err(LineError::Port(io::Error::other("the answer has no end")));
                    }
                    Said::Information(line) => {
                        answer += &line;
                        answer += "\r\n";
                    }
                    Said::Final(line) => {
                        answer += &line;
                        answer += "\r\n";
                        return Ok(answer);
                    }
                    Said::Refused(code) => {
                        return Err(LineError::Port(shell::refused(code)));
                    }
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                answer += &self.reader.abandon();
                return Err(LineError::Timeout {
                    after: timeout,
                    said: answer,
                });
            }
            self.read(left.min(self.options.read_timeout))?;
        }
    }

    /// Takes what has arrived and is no answer to anything, for `wait` and until it is quiet; notifications are kept.
    fn read_away(&mut self, wait: Duration) -> io::Result<()> {
        let until = Instant::now() + wait;
        let nobody = Sent::nothing();
        loop {
            let now = Instant::now();
            let left = until.saturating_duration_since(now);
            let quiet = self.read(left)? == 0;
            while let Some(byte) = self.pending.pop_front() {
                if let Some(line) = self.reader.push(byte)
                    && let Said::Notification(line) = nobody.sort(&line)
                {
                    self.keep(line);
                }
            }
            if left.is_zero() && (quiet || now > until + NOISE_MAX) {
                break;
            }
        }
        self.reader.forget_answer();
        Ok(())
    }

    fn read(&mut self, wait: Duration) -> io::Result<usize> {
        let mut buffer = [0; 1024];
        let count = self.port.read(&mut buffer, wait)?;
        self.pending.extend(&buffer[..count]);
        Ok(count)
    }

    fn keep(&mut self, notification: String) {
        if self.notifications.len() == NOTIFICATIONS_MAX {
            self.notifications.pop_front();
        }
        self.notifications.push_back(notification);
    }

    fn timeout_of(&self, at: &str) -> Duration {
        let upper: String = at.trim_start().chars().take(16).collect::<String>();
        let upper = upper.to_ascii_uppercase();
        SLOW.iter()
            .find(|(command, _)| upper.starts_with(command))
            .map_or(self.options.line_timeout, |(_, slow)| {
                self.options.line_timeout.max(*slow)
            })
    }
}

impl Modem for SerialModem {
    fn line(&mut self, at: &str) -> Result<String, LineError> {
        let at = at.trim_matches(['\r', '\n', '\0']);
        travels(at)?;
        let timeout = self.timeout_of(at);
        if self.shell {
            let wrapped = shell::wrap(at)?;
            self.exchange(&wrapped, at, timeout)
        } else {
            self.exchange(at, at, timeout)
        }
    }

    fn notifications(&mut self) -> Vec<String> {
        // A port that is gone says so at the next line.
        let _ = self.read_away(Duration::ZERO);
        self.notifications.drain(..).collect()
    }

    fn alters_line_ends(&self) -> bool {
        self.shell
    }
}

impl fmt::Debug for SerialModem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SerialModem")
            .field("port", &self.name)
            .field("shell", &self.shell)
            .finish_non_exhaustive()
    }
}

/// What no serial line carries.
fn travels(at: &str) -> Result<(), LineError> {
    let refuse = |why| {
        Err(LineError::Unsendable {
            bytes: at.len(),
            why,
        })
    };
    if at.len() > LINE_BYTES_MAX {
        return refuse("a modem takes 8192 at most");
    }
    if !at.is_ascii() {
        return refuse("only ASCII travels over a serial line");
    }
    if at.contains('\0') {
        return refuse("it holds a NUL");
    }
    let mut quoted = false;
    for byte in at.bytes() {
        match byte {
            b'"' => quoted = !quoted,
            b'\r' | b'\n' if !quoted => return refuse("a line break outside of quotes ends it"),
            0x08 | 0x7f | 0x1b => {
                return refuse("it holds a control character that edits the line");
            }
            _ => {}
        }
    }
    Ok(())
}

fn has_imei(answer: &str) -> bool {
    const DIGITS: usize = 15;
    answer
        .as_bytes()
        .windows(DIGITS)
        .any(|window| window.iter().all(u8::is_ascii_digit))
}

/// The last words of whoever answered, for an error.
fn printable(said: &str) -> String {
    const CHARS_MAX: usize = 80;
    let text: String = said
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(CHARS_MAX)
        .collect()
}
