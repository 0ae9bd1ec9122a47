//! A pty in front of the modem: to host tools it looks like a serial port.
//!
//! While nobody has the slave open, the master hangs up: reading it fails with EIO, and polling it returns at once.
//! That is how a client's leaving is told; its coming is told by watching the slave's file. In between output is lost,
//! as on a real line, and a new client finds neither the last one's half command nor its unread answers.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, QueueSelector, tcflush, tcgetattr, tcsetattr};

use super::HostError;
use super::carry::{Left, Session, Taken, Wiring};
use super::link::Link;

/// An open pty that nobody serves yet.
pub(super) struct PtyHost {
    master: OwnedFd,
    path: PathBuf,
    link: Option<Link>,
    watch: OwnedFd,
}

impl PtyHost {
    /// Opens a pty in raw mode, and makes `link` point to it.
    pub(super) fn open(link: Option<&Path>) -> Result<Self, HostError> {
        let (master, path, watch) = open().map_err(|error| HostError::Pty(error.into()))?;
        let link = link.map(|link| Link::make(link, &path)).transpose()?;
        Ok(Self {
            master,
            path,
            link,
            watch,
        })
    }

    /// The slave, e.g. `/dev/pts/3`.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Serves until told to end, the power is cut, or the pty fails.
    pub(super) fn serve(self, wiring: Wiring) -> Left {
        let mut session = Session::new(wiring);
        let mut clients = Clients::default();
        let left = loop {
            if let Err(left) = self.turn(&mut session, &mut clients) {
                break left;
            }
        };
        drop(self.link);
        left
    }

    fn turn(&self, session: &mut Session, clients: &mut Clients) -> Result<(), Left> {
        let master = self.master.as_fd();
        let present = clients.open > 0;
        let ready = session.wait(present.then_some(master), Some(self.watch.as_fd()))?;
        if ready.extra && clients.count(&self.watch).map_err(Left::Failed)? {
            session.begin_anew();
        }
        // Only when nobody is there and everything was read does the master say so.
        let gone = session.take_input(master)? == Taken::Closed;
        if gone && present {
            session.begin_anew();
            self.tidy();
        }
        clients.open = match gone {
            true => 0,
            // Somebody is there, whatever the count says: like events in a row arrive as one.
            false => clients.open.max(1),
        };
        session.listen()?;
        if gone {
            session.discard();
        }
        session.flush(master)?;
        Ok(())
    }

    /// Throws away what the last client did not read, and takes back the modes it may have set.
    fn tidy(&self) {
        // Two buffers: what is on its way to the slave, then what has arrived there.
        let _ = tcflush(&self.master, QueueSelector::OFlush);
        if let Ok(slave) = open_slave(&self.path) {
            let _ = tcflush(&slave, QueueSelector::IFlush);
        }
    }
}

/// How many have the slave open, as far as events tell.
#[derive(Debug, Default)]
struct Clients {
    open: usize,
}

impl Clients {
    /// Counts opens and closes; `true` when the last client left and another one came meanwhile.
    fn count(&mut self, watch: &OwnedFd) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut reader = Reader::new(watch, &mut buffer);
        let mut left = false;
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::OPEN) => self.open += 1,
                Ok(event)
                    if event
                        .events()
                        .intersects(ReadFlags::CLOSE_WRITE | ReadFlags::CLOSE_NOWRITE) =>
                {
                    self.open = self.open.saturating_sub(1);
                    left |= self.open == 0;
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(left && self.open > 0),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn open() -> rustix::io::Result<(OwnedFd, PathBuf, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()));
    // Opened and closed once, so that the master knows that nobody is there.
    drop(open_slave(&path)?);
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let events = WatchFlags::OPEN | WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE;
    inotify::add_watch(&watch, &path, events)?;
    Ok((master, path, watch))
}

/// Opens the slave in raw mode: no echo, no line editing, no translation of line ends. The modes outlive the descriptor.
fn open_slave(path: &Path) -> rustix::io::Result<OwnedFd> {
    let slave = rustix::fs::open(
        path,
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut modes = tcgetattr(&slave)?;
    modes.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &modes)?;
    Ok(slave)
}
