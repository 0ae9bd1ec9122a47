//! One connection: bytes from a file descriptor through the framing to the modem and back, without ever blocking on
//! a client that does not read.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::clock::Clock;
use super::{Framing, LineHandler, Mode};
use crate::{LineError, Modem, SharedModem};

/// Bytes that wait for a client. With more, commands are not read any more, as behind RTS/CTS, and notifications are lost.
const WAITING_BYTES_MAX: usize = 64 * 1024;

/// Bytes read at once.
const READ_BYTES: usize = 4096;

/// The handler that all shells of one modem share.
pub(super) type Handler = Arc<Mutex<Box<dyn LineHandler>>>;

/// The handler, locked for each line and not in between.
#[derive(Clone)]
struct SharedHandler(Handler);

impl SharedHandler {
    fn lock(&self) -> MutexGuard<'_, Box<dyn LineHandler>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LineHandler for SharedHandler {
    fn line(&mut self, line: &str) -> Option<String> {
        self.lock().line(line)
    }

    fn at(&mut self, command: &str) -> Option<String> {
        self.lock().at(command)
    }

    fn rebooted(&mut self) {
        self.lock().rebooted();
    }
}

/// The modem with the application's own commands in front of it.
struct Fronted<'a> {
    modem: &'a mut SharedModem,
    handler: SharedHandler,
}

impl Modem for Fronted<'_> {
    fn line(&mut self, at: &str) -> Result<String, LineError> {
        match self.handler.at(at.trim()) {
            Some(answer) => Ok(answer),
            None => Modem::line(self.modem, at),
        }
    }

    fn notifications(&mut self) -> Vec<String> {
        self.modem.notifications()
    }

    fn reboot(&mut self) {
        self.modem.reboot();
    }
}

/// What every connection needs.
#[derive(Clone)]
pub(super) struct Wiring {
    pub(super) modem: SharedModem,
    pub(super) mode: Mode,
    pub(super) handler: Handler,
    pub(super) clock: Clock,
    pub(super) bell: Arc<Bell>,
}

/// Wakes a connection's thread: something happened at the modem, or it is time to end.
#[derive(Debug)]
pub(crate) struct Bell {
    event: OwnedFd,
    ended: AtomicBool,
}

impl Bell {
    pub(super) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            ended: AtomicBool::new(false),
        }))
    }

    pub(crate) fn ring(&self) {
        // Full means that it is ringing.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.ring();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    pub(super) fn hush(&self) {
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// Why a connection does not go on.
#[derive(Debug)]
pub(super) enum Left {
    /// The client closed it.
    Client,
    /// It was told to end.
    Ended,
    /// The modem does not answer any more.
    PowerCut,
    /// The descriptor failed.
    Failed(io::Error),
}

/// What [`Session::take_input`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Something was there.
    Some,
    /// Not now.
    Nothing,
    /// The other side is gone, and so is all it has sent.
    Closed,
}

/// The framing of one connection and what waits to be sent.
pub(super) struct Session {
    wiring: Wiring,
    framing: Framing,
    waiting: VecDeque<u8>,
}

impl Session {
    pub(super) fn new(wiring: Wiring) -> Self {
        let framing = Framing::new(&wiring.mode);
        let mut session = Self {
            wiring,
            framing,
            waiting: VecDeque::new(),
        };
        session.begin_anew();
        session
    }

    /// Another client: nothing of the last one is left.
    pub(super) fn begin_anew(&mut self) {
        self.framing = Framing::new(&self.wiring.mode);
        self.waiting.clear();
        // What was said before somebody listened is not for them.
        self.wiring.modem.notifications();
    }

    /// What a client sees first.
    pub(super) fn greet(&mut self) {
        let mut out = Vec::new();
        self.framing.greet(&mut out);
        self.waiting.extend(out);
    }

    /// Waits until the descriptor, the bell, the extra descriptor or the modem's next wake-up has something to do, at most
    /// for `at_most`. `true`:
    /// the descriptor has something to read, or the other side is gone.
    pub(super) fn wait(
        &mut self,
        fd: Option<BorrowedFd<'_>>,
        extra: Option<BorrowedFd<'_>>,
        at_most: Option<Duration>,
    ) -> Result<bool, Left> {
        let mut wanted = PollFlags::empty();
        if self.waiting.len() < WAITING_BYTES_MAX {
            wanted |= PollFlags::IN;
        }
        if !self.waiting.is_empty() {
            wanted |= PollFlags::OUT;
        }
        let bell = Arc::clone(&self.wiring.bell);
        let mut fds = vec![PollFd::from_borrowed_fd(bell.as_fd(), PollFlags::IN)];
        fds.extend(fd.map(|fd| PollFd::from_borrowed_fd(fd, wanted)));
        fds.extend(extra.map(|extra| PollFd::from_borrowed_fd(extra, PollFlags::IN)));
        let due = self.wiring.modem.lock().next_wake();
        // A millisecond more than rounding cuts off, so that what is due is due.
        let due = due.map(|due| self.wiring.clock.until(due) + Duration::from_millis(1));
        let timeout = match (due, at_most) {
            (Some(due), Some(at_most)) => Some(due.min(at_most)),
            (due, at_most) => due.or(at_most),
        };
        let timeout = timeout.map(timespec);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Left::Failed(error.into())),
        }
        let ready = fd.is_some()
            && fds[1]
                .revents()
                .intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        if !fds[0].revents().is_empty() {
            bell.hush();
        }
        if bell.has_ended() {
            return Err(Left::Ended);
        }
        Ok(ready)
    }

    /// Reads what is there and runs it.
    pub(super) fn take_input(&mut self, fd: BorrowedFd<'_>) -> Result<Taken, Left> {
        let mut buffer = zeroize::Zeroizing::new([0; READ_BYTES]);
        let read = match rustix::io::read(fd, &mut *buffer) {
            Ok(0) | Err(Errno::IO | Errno::CONNRESET) => return Ok(Taken::Closed),
            Ok(read) => read,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Taken::Nothing),
            Err(error) => return Err(Left::Failed(error.into())),
        };
        self.wiring.clock.tell(&self.wiring.modem);
        let mut out = Vec::new();
        let mut handler = SharedHandler(Arc::clone(&self.wiring.handler));
        let mut modem = Fronted {
            modem: &mut self.wiring.modem,
            handler: handler.clone(),
        };
        let bytes = &buffer[..read];
        let done = self
            .framing
            .receive(bytes, &mut modem, &mut handler, &mut out);
        match done {
            Ok(()) => {
                self.waiting.extend(out);
                Ok(Taken::Some)
            }
            Err(LineError::PowerCut) => {
                // What was answered before the cut has left already.
                self.waiting.extend(out);
                let _ = self.flush(fd);
                Err(Left::PowerCut)
            }
            Err(error) => Err(Left::Failed(io::Error::other(error))),
        }
    }

    /// Collects what the modem has said on its own.
    pub(super) fn listen(&mut self) -> Result<(), Left> {
        // Another holder of the modem may have met the cut.
        if self.wiring.modem.lock().power_is_cut() {
            return Err(Left::PowerCut);
        }
        self.wiring.clock.tell(&self.wiring.modem);
        let mut out = Vec::new();
        self.framing.poll(&mut self.wiring.modem, &mut out);
        if self.waiting.len() < WAITING_BYTES_MAX {
            self.waiting.extend(out);
        }
        Ok(())
    }

    /// Sends what the descriptor takes. `Ok(false)`: the other side has closed.
    pub(super) fn flush(&mut self, fd: BorrowedFd<'_>) -> Result<bool, Left> {
        while !self.waiting.is_empty() {
            let (front, _) = self.waiting.as_slices();
            match rustix::io::write(fd, front) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(Errno::PIPE | Errno::IO | Errno::CONNRESET) => return Ok(false),
                Err(error) => return Err(Left::Failed(error.into())),
            }
        }
        Ok(true)
    }

    /// Nobody is there to read it.
    pub(super) fn discard(&mut self) {
        self.waiting.clear();
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
