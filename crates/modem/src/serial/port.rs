//! What carries the bytes: a serial device or pty, TCP, or whatever a test puts there.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serial2::{FlowControl, SerialPort, Settings};

use super::SerialOptions;

/// How long a connection over TCP may take.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// How long the other end may refuse to take bytes. 8 kB at 9600 bits per second take nine seconds.
const WRITE_WAIT: Duration = Duration::from_secs(15);

/// ENOTTY, for which the standard library has no kind.
const NOT_A_TTY: i32 = 25;

/// A wire.
pub trait Port: Send {
    /// Reads what is there, waiting at most `wait` for the first byte; 0 when nothing came.
    ///
    /// # Errors
    /// The wire is gone.
    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize>;

    /// Writes everything.
    ///
    /// # Errors
    /// The wire is gone, or nobody takes the bytes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Why a port is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// `tcp:` without host and port.
    #[error("`{0}` is not tcp:HOST:PORT")]
    Address(String),
    /// The operating system said no.
    #[error("cannot use the port `{port}`")]
    Open {
        /// The port as it was given.
        port: String,
        /// Why.
        source: io::Error,
    },
    /// Another program holds it.
    #[error("the port `{port}` is in use by another program")]
    Busy {
        /// The port as it was given.
        port: String,
    },
    /// Nobody who knows AT commands.
    #[error(
        "no modem answers on `{port}`: neither `at AT+CGSN` nor `AT+CGSN` brought an IMEI{}",
        heard(said)
    )]
    Silent {
        /// The port as it was given.
        port: String,
        /// The last words that came, one line, cut.
        said: String,
    },
}

impl PortError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::Address(_) => "for example tcp:127.0.0.1:9151",
                Self::Open { source, .. } => match source.kind() {
                    ErrorKind::NotFound => {
                        "`ls /dev/serial/by-id/` shows what is plugged in; a board has several ports, the modem is mostly on the first"
                    }
                    ErrorKind::PermissionDenied => {
                        "add this user to the group of the device, mostly `sudo usermod -aG dialout $USER`, and log in again"
                    }
                    ErrorKind::ConnectionRefused => {
                        "nothing listens there: start it with `sectag modem serve --tcp ADDR:PORT`"
                    }
                    ErrorKind::TimedOut => {
                        "nobody takes the bytes: try --no-rtscts, or another port of the board"
                    }
                    _ if source.raw_os_error() == Some(NOT_A_TTY) => {
                        "it is no serial port; `ls /dev/serial/by-id/` shows what is plugged in"
                    }
                    _ => return None,
                },
                Self::Busy { .. } => "close the terminal program or the agent that uses it",
                Self::Silent { .. } => {
                    "check the port, --baud and --no-rtscts; the firmware needs the AT host (CONFIG_AT_HOST_LIBRARY) or the AT shell (CONFIG_AT_SHELL); --mode at|shell skips the question"
                }
            }
            .to_owned(),
        )
    }
}

fn heard(said: &str) -> String {
    if said.is_empty() {
        ", nothing came at all".to_owned()
    } else {
        format!(", the last words were `{said}`")
    }
}

pub(super) fn open(name: &str, options: &SerialOptions) -> Result<Box<dyn Port>, PortError> {
    let failed = |source| PortError::Open {
        port: name.to_owned(),
        source,
    };
    if let Some(address) = name.strip_prefix("tcp:") {
        let well_formed = address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if !well_formed {
            return Err(PortError::Address(name.to_owned()));
        }
        return Ok(Box::new(connect(address).map_err(failed)?));
    }
    let port = SerialPort::open(name, |mut settings: Settings| {
        settings.set_raw();
        settings.set_baud_rate(options.baud)?;
        settings.set_flow_control(if options.rtscts {
            FlowControl::RtsCts
        } else {
            FlowControl::None
        });
        Ok(settings)
    });
    let mut port = port.map_err(failed)?;
    // Two programs on one port steal each other's answers.
    match flock(&port, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            return Err(PortError::Busy {
                port: name.to_owned(),
            });
        }
        Err(error) => return Err(failed(error.into())),
    }
    port.set_write_timeout(WRITE_WAIT).map_err(failed)?;
    Ok(Box::new(port))
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_WAIT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(WRITE_WAIT))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Port for SerialPort {
    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        self.set_read_timeout(wait)?;
        match Self::read(self, buffer) {
            Ok(0) => Err(gone()),
            Err(error) if is_nothing(&error) => Ok(0),
            other => other,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }
}

impl Port for TcpStream {
    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        // A timeout of zero would mean to wait without end.
        let result = if wait.is_zero() {
            self.set_nonblocking(true)?;
            let result = Read::read(self, buffer);
            self.set_nonblocking(false)?;
            result
        } else {
            self.set_read_timeout(Some(wait))?;
            Read::read(self, buffer)
        };
        match result {
            Ok(0) => Err(gone()),
            Err(error) if is_nothing(&error) => Ok(0),
            other => other,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted
    )
}

fn gone() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the other end closed it")
}
