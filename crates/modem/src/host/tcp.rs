//! A TCP port in front of the modem: each client gets a line of its own.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::HostError;
use super::carry::{Bell, Left, Session, Taken, Wiring};

/// Clients at a time; further ones are closed at once. A modem has one serial line, or two.
const CLIENTS_MAX: usize = 8;

/// A bound port that nobody serves yet.
pub(super) struct TcpHost {
    listener: TcpListener,
}

impl TcpHost {
    /// Binds. Other addresses than loopback need `beyond_loopback`: whoever reaches the port owns the modem.
    pub(super) fn open(address: SocketAddr, beyond_loopback: bool) -> Result<Self, HostError> {
        if !address.ip().is_loopback() && !beyond_loopback {
            return Err(HostError::BeyondLoopback { address });
        }
        let listener = TcpListener::bind(address)
            .and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(listener)
            })
            .map_err(|source| HostError::Bind { address, source })?;
        Ok(Self { listener })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until told to end, the power is cut, or the listener fails.
    pub(super) fn serve(self, wiring: &Wiring) -> Left {
        let mut clients = Clients::default();
        let left = loop {
            let mut fds = [
                PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(wiring.bell.as_fd(), PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => break Left::Failed(error.into()),
            }
            if wiring.bell.has_ended() {
                break Left::Ended;
            }
            wiring.bell.hush();
            if clients.reap() {
                break Left::PowerCut;
            }
            match self.listener.accept() {
                // What fails here is this client's trouble, not the port's.
                Ok((stream, _)) => drop(clients.start(stream, wiring)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The client was gone before we looked.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Left::Failed(error),
            }
        };
        clients.close();
        left
    }
}

/// Which client left, and why.
type Leaving = (u64, Left);

/// The clients that are connected.
struct Clients {
    connected: HashMap<u64, (Arc<Bell>, JoinHandle<()>)>,
    next: u64,
    left: (Sender<Leaving>, Receiver<Leaving>),
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            connected: HashMap::new(),
            next: 0,
            left: channel(),
        }
    }
}

impl Clients {
    /// Gives the client a thread; one too many is closed by dropping its stream.
    fn start(&mut self, stream: TcpStream, port: &Wiring) -> io::Result<()> {
        if self.connected.len() >= CLIENTS_MAX {
            return Ok(());
        }
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let bell = Bell::new()?;
        let wiring = Wiring {
            bell: Arc::clone(&bell),
            ..port.clone()
        };
        wiring.modem.tell_changes(&bell);
        let id = self.next;
        self.next += 1;
        let (left, port) = (self.left.0.clone(), Arc::clone(&port.bell));
        let thread = std::thread::Builder::new()
            .name("modem-tcp".to_owned())
            .spawn(move || {
                let why = catch_unwind(AssertUnwindSafe(|| carry(&stream, wiring)));
                let _ = left.send((id, why.unwrap_or(Left::Client)));
                port.ring();
            })?;
        self.connected.insert(id, (bell, thread));
        Ok(())
    }

    /// Forgets clients that have left; `true` when one of them met a power cut.
    fn reap(&mut self) -> bool {
        let mut cut = false;
        while let Ok((id, why)) = self.left.1.try_recv() {
            cut |= matches!(why, Left::PowerCut);
            if let Some((_, thread)) = self.connected.remove(&id) {
                let _ = thread.join();
            }
        }
        cut
    }

    fn close(self) {
        for (bell, thread) in self.connected.into_values() {
            bell.end();
            let _ = thread.join();
        }
    }
}

fn carry(stream: &TcpStream, wiring: Wiring) -> Left {
    let fd = stream.as_fd();
    let mut session = Session::new(wiring);
    session.greet();
    let mut run = || {
        loop {
            if session.wait(Some(fd), None, None)? && session.take_input(fd)? == Taken::Closed {
                return Err(Left::Client);
            }
            session.listen()?;
            if !session.flush(fd)? {
                return Err(Left::Client);
            }
        }
    };
    match run() {
        Ok(()) => Left::Client,
        Err(left) => left,
    }
}
