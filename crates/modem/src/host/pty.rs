//! A pty in front of the modem: to host tools it looks like a serial port.
//!
//! One slave descriptor stays open here, or the master would fail with EIO whenever a client leaves; who else has the
//! slave open is counted by watching its opens and closes. While nobody has, output is lost, as on a real line, and a
//! new client finds neither the last one's half command nor its unread answers.

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
use super::carry::{Left, Session, Wiring};
use super::link::Link;

/// An open pty that nobody serves yet.
pub(super) struct PtyHost {
    master: OwnedFd,
    slave: OwnedFd,
    path: PathBuf,
    link: Option<Link>,
    watch: OwnedFd,
}

impl PtyHost {
    /// Opens a pty in raw mode, and makes `link` point to it.
    pub(super) fn open(link: Option<&Path>) -> Result<Self, HostError> {
        let (master, slave, path, watch) = open().map_err(|error| HostError::Pty(error.into()))?;
        let link = link.map(|link| Link::make(link, &path)).transpose()?;
        Ok(Self {
            master,
            slave,
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
        let ready = session.wait(master, Some(self.watch.as_fd()))?;
        if ready.extra && clients.changed(&self.watch).map_err(Left::Failed)? {
            session.begin_anew();
            let _ = tcflush(&self.slave, QueueSelector::IFlush);
            let _ = raw(&self.slave);
        }
        if ready.input && !session.take_input(master)? {
            return Err(Left::Failed(io::Error::other("the pty was hung up")));
        }
        session.listen();
        // A client's open is seen before its first byte: bytes without a client were written and closed at once.
        if clients.open == 0 {
            session.discard();
        }
        session.flush(master)?;
        Ok(())
    }
}

/// Who has the slave open, apart from us.
#[derive(Debug, Default)]
struct Clients {
    open: usize,
}

impl Clients {
    /// Counts opens and closes; `true` when the last client left meanwhile.
    fn changed(&mut self, watch: &OwnedFd) -> io::Result<bool> {
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
                Err(Errno::AGAIN) => return Ok(left),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn open() -> rustix::io::Result<(OwnedFd, OwnedFd, PathBuf, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()));
    let slave = rustix::fs::open(
        &path,
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    raw(&slave)?;
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let events = WatchFlags::OPEN | WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE;
    inotify::add_watch(&watch, &path, events)?;
    Ok((master, slave, path, watch))
}

/// No echo, no line editing, no translation of line ends.
fn raw(slave: &OwnedFd) -> rustix::io::Result<()> {
    let mut modes = tcgetattr(slave)?;
    modes.make_raw();
    tcsetattr(slave, OptionalActions::Now, &modes)
}
