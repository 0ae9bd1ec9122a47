//! The words between the session and its driver: inputs, outputs, events, and why a session ended.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::config::Transport;
use crate::query::FetchQuery;
use crate::secret::{Secret, SecretText};
use crate::wire::CborRefusal;
use crate::{CorrelationId, Uptime};

/// What the driver tells the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Somebody, or a schedule, wants a session. Ignored while one runs.
    Triggered,
    /// Answer to [`Output::Sign`]: the JWT.
    Signed(SecretText),
    /// The modem would not sign; its words.
    SignFailed(String),
    /// Answer to [`Output::Fetch`].
    Fetched {
        /// HTTP status, or its equivalent.
        status: u16,
        /// The body; looked at for 200 only.
        body: Vec<u8>,
    },
    /// Answer to [`Output::Report`].
    Reported {
        /// HTTP status, or its equivalent.
        status: u16,
    },
    /// Answer to [`Output::Fetch`] or [`Output::Report`]: the authentication before it was refused, so the request itself
    /// was not judged. Over CoAP only.
    NotAdmitted {
        /// HTTP status, or its equivalent.
        status: u16,
    },
    /// Answer to [`Output::Fetch`] or [`Output::Report`]: there was no answer.
    Failed(TransportError),
    /// Answer to [`Output::Line`]: everything the modem printed, with its final line.
    ModemSaid(String),
    /// Answer to [`Output::Line`] or [`Output::Radio`]: the line to the modem failed; what arrived until then.
    ModemFailed(String),
    /// Answer to [`Output::Radio`].
    RadioIs(RadioState),
    /// The service's hint when to come back (HTTP `Retry-After`, CoAP Max-Age of a refusal), before the answer it came with.
    /// The Max-Age of a granted authorisation is not one.
    Hint(Duration),
    /// The packet data network came up or went down (`+CGEV`), at any time.
    Network(bool),
    /// Answer to [`Output::Load`].
    Loaded(Option<String>),
    /// The driver knows that the clock is valid; as good as the modem's word. Only while time is awaited.
    TimeKnown,
    /// Answer to [`Output::Save`].
    Stored,
    /// Answer to [`Output::Save`], or to [`Output::Load`] when the store cannot be read.
    StoreFailed(StoreFailure),
    /// The time given by [`Output::Wait`] has come.
    Tick,
}

/// What the session wants from its driver. All but `Event` and `Wait` ask for exactly one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Make a JWT: `AT%JWT=0,<validity>,"",""`, with `,<tag>,2` when the tag is not 0.
    Sign {
        /// 0 is the identity key.
        sec_tag: u32,
        /// Whole seconds.
        validity: Duration,
    },
    /// Fetch commands.
    Fetch {
        /// To authenticate with.
        jwt: SecretText,
        /// `after` and limits.
        query: FetchQuery,
    },
    /// Report results.
    Report {
        /// To authenticate with.
        jwt: SecretText,
        /// CBOR responses.
        body: Vec<u8>,
    },
    /// Ask or change the functional mode; answer with the state that was reached, without waiting for it.
    Radio(RadioWish),
    /// Give this line to the modem.
    Line(AtLine),
    /// Read a setting. Asked by [`Client`](super::Client) only.
    Load {
        /// Settings key.
        key: String,
    },
    /// Store a setting.
    Save {
        /// Settings key.
        key: String,
        /// Value, without a terminating NUL.
        value: String,
    },
    /// Tell whoever listens; nothing is answered.
    Event(Event),
    /// Nothing more to do until an input comes, or until this time: then [`Input::Tick`]. Always last.
    Wait(Option<Uptime>),
}

/// An AT line. It may hold a private key, so `Debug` and `Display` stop at the first quote.
#[derive(Clone, PartialEq, Eq)]
pub struct AtLine(SecretText);

impl AtLine {
    /// Wraps a complete line, without terminator.
    pub const fn new(line: String) -> Self {
        Self(Secret::new(line))
    }

    /// The line as the modem wants it. May hold secrets.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Command and unquoted parameters, e.g. `AT%CMNG=0,42,2,…`: all that a log may show.
    pub fn head(&self) -> String {
        const CHARS_MAX: usize = 64;
        let line = self.expose();
        let end = line.find('"').unwrap_or(line.len());
        let mut head: String = line[..end].chars().take(CHARS_MAX).collect();
        if head.len() < line.len() {
            head.push('…');
        }
        head
    }
}

impl fmt::Display for AtLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head())
    }
}

impl fmt::Debug for AtLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.head())
    }
}

/// What the session wants of the radio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RadioWish {
    /// Only say how it is (`AT+CFUN?`).
    Query,
    /// Flight mode (`AT+CFUN=4`).
    Offline,
    /// Full function (`AT+CFUN=1`).
    Online,
}

/// How the radio is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RadioState {
    /// Functional mode (`+CFUN`).
    pub mode: FunctionalMode,
    /// A packet data network is active (`+CGEV: ME PDN ACT 0`).
    pub pdn_active: bool,
}

/// Number of `+CFUN` (spec/modem-at §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionalMode(pub u8);

impl FunctionalMode {
    /// Off.
    pub const POWER_OFF: Self = Self(0);
    /// Full function.
    pub const FULL: Self = Self(1);
    /// Flight mode; credentials can be written.
    pub const OFFLINE: Self = Self(4);
}

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The host name could not be resolved.
    #[error("the host name was not resolved")]
    Name,
    /// Nobody listens, or no route.
    #[error("the connection was refused")]
    Refused,
    /// The server's certificate was not accepted, or the handshake failed otherwise.
    #[error("the TLS handshake failed")]
    Tls,
    /// No complete answer in time (30 s).
    #[error("no answer in time")]
    Timeout,
    /// Closed before a status came.
    #[error("closed before an answer came")]
    Closed,
    /// The answer is larger than the receive buffer, status line and headers included.
    #[error("the answer is larger than the receive buffer")]
    TooLarge,
    /// What came is no answer of this protocol.
    #[error("the answer makes no sense")]
    Garbage,
}

/// Why a setting was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFailure {
    /// The key does not fit the settings store.
    KeyTooBig,
    /// No memory or no room (12).
    NoMemory,
    /// Refused as invalid (22).
    Invalid,
    /// Any other failure of the store (5).
    Io,
}

impl StoreFailure {
    /// In the firmware's terms.
    pub const fn errno(self) -> Errno {
        match self {
            Self::KeyTooBig | Self::NoMemory => Errno::NoMemory,
            Self::Invalid => Errno::Invalid,
            Self::Io => Errno::Io,
        }
    }

    /// The negative errno as it travels in a response: reinterpreted as unsigned 32-bit (spec/device-protocol §8.2).
    pub const fn as_cme_error(self) -> u32 {
        let errno: i32 = match self {
            Self::KeyTooBig | Self::NoMemory => -12,
            Self::Invalid => -22,
            Self::Io => -5,
        };
        errno.cast_unsigned()
    }
}

/// How a session ended, in the firmware's terms (spec/device-protocol §5, §11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// `finished` was executed and acknowledged.
    Done,
    /// By this result.
    Failed(Errno),
}

/// Result of a session that did not end with `finished`. Named, since the numbers differ between C libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are the documentation")]
#[non_exhaustive]
pub enum Errno {
    NoData,
    Access,
    Permission,
    NoMemory,
    ConnectionRefused,
    Busy,
    TimedOut,
    Invalid,
    NotSupported,
    NoMessage,
    Shutdown,
    HostUnreachable,
    NoTime,
    NoExec,
    BadMessage,
    Io,
    NoEntry,
}

impl Errno {
    /// e.g. `-EACCES`
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoData => "-ENODATA",
            Self::Access => "-EACCES",
            Self::Permission => "-EPERM",
            Self::NoMemory => "-ENOMEM",
            Self::ConnectionRefused => "-ECONNREFUSED",
            Self::Busy => "-EBUSY",
            Self::TimedOut => "-ETIMEDOUT",
            Self::Invalid => "-EINVAL",
            Self::NotSupported => "-ENOTSUP",
            Self::NoMessage => "-ENOMSG",
            Self::Shutdown => "-ESHUTDOWN",
            Self::HostUnreachable => "-EHOSTUNREACH",
            Self::NoTime => "-ETIME",
            Self::NoExec => "-ENOEXEC",
            Self::BadMessage => "-EBADMSG",
            Self::Io => "-EIO",
            Self::NoEntry => "-ENOENT",
        }
    }

    /// What a status means for fetch and report, newest generation; `None` for 200.
    pub const fn of_status(status: u16) -> Option<Self> {
        Some(match status {
            200 => return None,
            204 => Self::NoData,
            400 => Self::Invalid,
            401 => Self::Access,
            403 => Self::Permission,
            415 => Self::NoMessage,
            500 => Self::Busy,
            _ => Self::NotSupported,
        })
    }

    /// What a response code means for fetch and report, given as its equivalent (4.04 as 404), newest generation
    /// (spec/device-protocol §6.2); `None` for 200.
    pub const fn of_coap(status: u16) -> Option<Self> {
        Some(match status {
            404 => Self::NoEntry,
            406 => Self::Invalid,
            415 => Self::NotSupported,
            503 => Self::Busy,
            same => return Self::of_status(same),
        })
    }

    /// [`Errno::of_status`] or [`Errno::of_coap`].
    pub(super) const fn of_answer(transport: Transport, status: u16) -> Option<Self> {
        match transport {
            Transport::Https => Self::of_status(status),
            Transport::Coap => Self::of_coap(status),
        }
    }

    /// What a missing answer means.
    pub const fn of_transport(error: TransportError) -> Self {
        match error {
            TransportError::Name => Self::HostUnreachable,
            TransportError::Refused | TransportError::Tls => Self::ConnectionRefused,
            TransportError::Timeout => Self::TimedOut,
            TransportError::Closed => Self::Shutdown,
            TransportError::TooLarge => Self::NoMemory,
            TransportError::Garbage => Self::BadMessage,
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What happened. The first group is the firmware's (spec/device-protocol §11, names as there); the second is for logs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// START: a session begins.
    Start,
    /// STOP: it ended; always the last one.
    Stop,
    /// DONE: `finished` was executed and acknowledged.
    Done,
    /// FAILED: for another reason than those below.
    Failed(Errno),
    /// NO_COMMANDS: nothing (more) is queued, or the results did not fit the report buffer.
    NoCommands,
    /// FAILED_TOO_MANY_COMMANDS: the batch, or the answer, is larger than this device can take.
    FailedTooManyCommands,
    /// FAILED_DEVICE_NOT_CLAIMED.
    FailedDeviceNotClaimed {
        /// The claim token to give to the owner, when the modem made one.
        token: Option<String>,
    },
    /// FAILED_WRONG_ROOT_CA: the TCP or TLS connection was refused.
    FailedWrongRootCa,
    /// FAILED_NO_VALID_DATETIME.
    FailedNoValidDatetime,
    /// SCHEDULED_PROVISIONING: the next session begins after this time.
    ScheduledProvisioning(Duration),
    /// FATAL_ERROR: the client cannot go on by itself. The firmware's schedule meets it when its settings cannot be read;
    /// drivers use it for what they cannot do.
    FatalError(Errno),
    /// NEED_LTE_DEACTIVATED: [`Output::Radio`] with [`RadioWish::Offline`] follows.
    NeedLteDeactivated,
    /// NEED_LTE_ACTIVATED: [`Output::Radio`] with [`RadioWish::Online`] follows.
    NeedLteActivated,

    /// A batch was decoded.
    BatchReceived {
        /// Commands in it.
        commands: usize,
    },
    /// A batch was refused whole.
    BatchRefused(CborRefusal),
    /// A command was executed.
    CommandDone {
        /// From 0, in its batch.
        index: usize,
        /// Its id.
        correlation: CorrelationId,
        /// AT line without its quoted parameters, `config` or `finished`.
        command: String,
        /// The modem's words; empty for config and finished.
        answer: String,
    },
    /// A command failed; those behind it in the batch are not executed.
    CommandFailed {
        /// From 0, in its batch.
        index: usize,
        /// Its id.
        correlation: CorrelationId,
        /// AT line without its quoted parameters, or `config`.
        command: String,
        /// CME number; 0 when there is none.
        number: u32,
        /// The modem's words.
        answer: String,
    },
    /// A modem answer did not fit the answer buffer; the command is run again with a larger one.
    AnswerTooLarge {
        /// Bytes of the answer.
        bytes: usize,
        /// Bytes of the next buffer.
        next_bytes: usize,
    },
    /// The results do not fit the report buffer and are lost.
    ReportTooLarge {
        /// Bytes of the results.
        bytes: usize,
        /// Bytes that fit (`txMaxSize`).
        max: usize,
    },
    /// The service acknowledged the results.
    Reported {
        /// Bytes sent.
        bytes: usize,
    },
    /// The report was not acknowledged; it is sent again.
    ReportAgain {
        /// Why.
        result: Errno,
        /// After this time.
        pause: Duration,
    },
    /// The report was not acknowledged; it waits for the next session.
    ReportKept(Errno),
    /// The report was not acknowledged and is forgotten: refused for good, or [`Conduct::Firmware`](super::Conduct).
    ReportLost(Errno),
    /// The interval that was set is stored, unless it was already, and in effect.
    IntervalChanged(Duration),
    /// The interval could not be stored (`-ENOSTR`); the old one stays.
    IntervalNotStored(StoreFailure),
    /// The stored interval is none (`-EINVAL`), or too long a text (`-ENOMEM`); the default counts.
    IntervalRefused {
        /// What the settings store holds.
        text: String,
        /// Why it does not count.
        result: Errno,
    },
    /// The settings store could not be read; the client goes on as if nothing were stored.
    SettingUnreadable {
        /// Settings key.
        key: String,
        /// Why.
        failure: StoreFailure,
    },
    /// The last correlation id could not be saved.
    SaveFailed(StoreFailure),
}
