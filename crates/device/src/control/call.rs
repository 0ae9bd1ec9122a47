//! The caller's side of the socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::{ANSWER_BYTES_MAX, Request, SOCKET, address};

/// A modem may take long for a line that comes before ours; then nobody answers.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// A connection to a running device.
#[derive(Debug)]
pub struct Connection {
    path: PathBuf,
    reading: BufReader<OwnedReadHalf>,
    writing: OwnedWriteHalf,
}

/// Why a running device could not be asked, or what it answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No socket, or one that nobody listens on.
    #[error("no device runs here: `{}` {}", path.display(), if *.stale { "was left behind" } else { "is not there" })]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// It is there, and nobody listens.
        stale: bool,
    },
    /// The socket could not be used.
    #[error("the control socket `{}` failed", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No answer in time.
    #[error("the device did not answer within {} s", after.as_secs())]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The device ended before it answered.
    #[error("the device stopped before it answered")]
    Closed,
    /// What came is no answer.
    #[error("the device's answer makes no sense; is it of another version?")]
    Garbage,
    /// It was asked, and refused.
    #[error("{message}")]
    Refused {
        /// As the firmware names it, e.g. `-EINVAL`.
        errno: String,
        /// In words, with the errno where it has one.
        message: String,
    },
}

impl Connection {
    /// Connects to the device in the folder `dir`.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn open(dir: &Path) -> Result<Self, ControlError> {
        let path = dir.join(SOCKET);
        let not_running = |stale| ControlError::NotRunning {
            path: path.clone(),
            stale,
        };
        let connected = match address(dir) {
            Ok((address, _open)) => UnixStream::connect(address).await,
            Err(error) => Err(error),
        };
        let stream = connected.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => not_running(false),
            io::ErrorKind::ConnectionRefused => not_running(true),
            _ => ControlError::Io {
                path: path.clone(),
                source,
            },
        })?;
        let (reading, writing) = stream.into_split();
        Ok(Self {
            path,
            reading: BufReader::new(reading),
            writing,
        })
    }

    /// Asks, and returns the answer's object.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn ask(&mut self, request: Request) -> Result<Value, ControlError> {
        self.send(request).await?;
        let answer = tokio::time::timeout(ANSWER_WAIT, self.line())
            .await
            .map_err(|_| ControlError::Timeout { after: ANSWER_WAIT })??;
        answer.ok_or(ControlError::Closed)
    }

    /// Asks for events; [`Connection::next_event`] returns them.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn follow(&mut self, after: u64, follow: bool) -> Result<(), ControlError> {
        self.send(Request::Events { after, follow }).await
    }

    /// The next event; `None` when there are no more. Waits as long as it takes.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn next_event(&mut self) -> Result<Option<Value>, ControlError> {
        self.line().await
    }

    async fn send(&mut self, request: Request) -> Result<(), ControlError> {
        let sent = self.writing.write_all(request.print().as_bytes()).await;
        match sent {
            // It turned us away, and said why before it hung up.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(self.failed(error)),
            Ok(()) => Ok(()),
        }
    }

    async fn line(&mut self) -> Result<Option<Value>, ControlError> {
        let mut line = Vec::new();
        let mut limited = (&mut self.reading).take(ANSWER_BYTES_MAX as u64);
        match limited.read_until(b'\n', &mut line).await {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        }
        let value: Value = serde_json::from_slice(&line).map_err(|_| ControlError::Garbage)?;
        if value["ok"] != Value::Bool(false) {
            return Ok(Some(value));
        }
        let text = |member: &str| value[member].as_str().unwrap_or_default().to_owned();
        Err(ControlError::Refused {
            errno: text("errno"),
            message: text("message"),
        })
    }

    fn failed(&self, source: io::Error) -> ControlError {
        ControlError::Io {
            path: self.path.clone(),
            source,
        }
    }
}
