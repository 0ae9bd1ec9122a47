//! One modem, several lines to it.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::carry::{Bell, Handler, Left, Wiring};
use super::clock::Clock;
use super::pty::PtyHost;
use super::tcp::TcpHost;
use super::{LineHandler, Mode, NoHandler};
use crate::SharedModem;

/// Ptys and ports that serve one modem. They work from the moment they are added; dropping this ends them all.
pub struct Hosts {
    modem: SharedModem,
    mode: Mode,
    handler: Handler,
    clock: Clock,
    lines: Vec<(Arc<Bell>, JoinHandle<()>)>,
    /// The first one decides.
    reasons: (Sender<Left>, Receiver<Left>),
}

/// Why the hosts do not serve any more.
#[derive(Debug)]
pub enum Ended {
    /// [`Shutdown::now`] was called.
    Shutdown,
    /// An injected power cut: the modem answers nothing until it is switched on again.
    PowerCut,
    /// A pty or a listener failed.
    Failed(io::Error),
}

/// Why a host could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// No pty.
    #[error("no pty could be opened")]
    Pty(#[source] io::Error),
    /// Clients of the pty could not be watched.
    #[error("the pty cannot be watched for clients that come and go (inotify)")]
    Watch(#[source] io::Error),
    /// The link could not be made.
    #[error("the link `{}` could not be made", path.display())]
    Link {
        /// The link.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else is there.
    #[error("`{}` exists and is not a stale link to a pty, so it stays", path.display())]
    LinkTaken {
        /// The link.
        path: PathBuf,
    },
    /// An address that others can reach.
    #[error(
        "{address} can be reached from other machines, and whoever reaches it owns the modem and its keys"
    )]
    BeyondLoopback {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The port could not be had.
    #[error("{address} could not be listened on")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A thread or an event descriptor could not be had.
    #[error("the host could not be started")]
    Start(#[source] io::Error),
}

/// Ends the hosts from another thread.
#[derive(Debug, Clone)]
pub struct Shutdown(Sender<Left>);

impl Shutdown {
    /// [`Hosts::wait`] returns as soon as each line is closed.
    pub fn now(&self) {
        // Nobody waits any more: then they have ended.
        let _ = self.0.send(Left::Ended);
    }
}

impl Hosts {
    /// No line yet. Each line begins in `mode`.
    pub fn new(modem: SharedModem, mode: Mode) -> Self {
        Self {
            modem,
            mode,
            handler: Arc::new(Mutex::new(Box::new(NoHandler))),
            clock: Clock::start(true),
            lines: Vec::new(),
            reasons: channel(),
        }
    }

    /// Shell lines that are not the shell's own, and AT commands before the modem sees them, go to `handler`; it counts for lines added afterwards. Default: none.
    #[must_use]
    pub fn with_handler(mut self, handler: Box<dyn LineHandler>) -> Self {
        self.handler = Arc::new(Mutex::new(handler));
        self
    }

    /// The modem is never told the time of day, as one that has not met a network; it counts for lines added
    /// afterwards. Default: it is told the host's.
    #[must_use]
    pub fn without_time(mut self) -> Self {
        self.clock = Clock::start(false);
        self
    }

    /// Adds a pty in raw mode, with `link` pointing to it; returns the slave's path.
    ///
    /// # Errors
    /// [`HostError`]
    pub fn pty(&mut self, link: Option<&Path>) -> Result<PathBuf, HostError> {
        let host = PtyHost::open(link)?;
        let path = host.path().to_owned();
        self.start("modem-pty", |wiring| host.serve(wiring))?;
        Ok(path)
    }

    /// Adds a TCP port; port 0 is any free one. Returns where it listens. Addresses other than loopback are refused unless
    /// `dangerously_beyond_loopback`, since whoever reaches the port may read, replace and use what is in the modem.
    ///
    /// # Errors
    /// [`HostError`]
    pub fn tcp(
        &mut self,
        address: SocketAddr,
        dangerously_beyond_loopback: bool,
    ) -> Result<SocketAddr, HostError> {
        let host = TcpHost::open(address, dangerously_beyond_loopback)?;
        let address = host.address().map_err(HostError::Start)?;
        self.start("modem-tcp", move |wiring| host.serve(&wiring))?;
        Ok(address)
    }

    /// The handle that ends them.
    pub fn shutdown(&self) -> Shutdown {
        Shutdown(self.reasons.0.clone())
    }

    /// Waits until they are told to end, the power is cut, or one fails; then closes them all.
    pub fn wait(mut self) -> Ended {
        let reason = self.reasons.1.recv();
        self.close();
        match reason {
            Ok(Left::PowerCut) => Ended::PowerCut,
            Ok(Left::Failed(error)) => Ended::Failed(error),
            // A sender lives in `self`, so receiving itself does not fail.
            Ok(Left::Client | Left::Ended) | Err(_) => Ended::Shutdown,
        }
    }

    fn close(&mut self) {
        for (bell, line) in self.lines.drain(..) {
            bell.end();
            let _ = line.join();
        }
    }

    fn start(
        &mut self,
        name: &str,
        serve: impl FnOnce(Wiring) -> Left + Send + 'static,
    ) -> Result<(), HostError> {
        let bell = Bell::new().map_err(HostError::Start)?;
        let wiring = Wiring {
            modem: self.modem.clone(),
            mode: self.mode.clone(),
            handler: Arc::clone(&self.handler),
            clock: self.clock,
            bell: Arc::clone(&bell),
        };
        wiring.modem.tell_changes(&bell);
        let reasons = self.reasons.0.clone();
        let line = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let left = catch_unwind(AssertUnwindSafe(|| serve(wiring)));
                let left =
                    left.unwrap_or_else(|_| Left::Failed(io::Error::other("a host panicked")));
                let _ = reasons.send(left);
            })
            .map_err(HostError::Start)?;
        self.lines.push((bell, line));
        Ok(())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.close();
    }
}

impl HostError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::LinkTaken { path } => format!(
                "remove it (`rm {}`) if nobody needs it, or choose another path",
                path.display()
            ),
            Self::Watch(_) => {
                "other programs may hold all of them: see `sysctl fs.inotify.max_user_instances`, or use --tcp"
                    .to_owned()
            }
            Self::BeyondLoopback { address } => format!(
                "listen on 127.0.0.1:{} and forward the port over ssh, or say --dangerously-listen-beyond-loopback",
                address.port()
            ),
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "another process listens there; port 0 takes any free one".to_owned()
            }
            _ => return None,
        })
    }
}
