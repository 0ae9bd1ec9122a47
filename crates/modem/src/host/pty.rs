//! A pty in front of the modem: to host tools it looks like a serial port.
//!
//! One slave descriptor stays open here, or the master would hang up whenever the last client leaves. A client's coming
//! and going is told by watching the slave's file; since equal events in a row arrive as one, they cannot be counted,
//! and after each close our own descriptor is closed as well for a moment: a master that has then hung up is certain.
//! While nobody is there output is lost, as on a real line, and a new client finds neither the last one's half command
//! nor its unread answers, its modes or its claim to be the only one.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{
    OptionalActions, QueueSelector, ioctl_tiocnxcl, tcflush, tcgetattr, tcsetattr,
};

use super::HostError;
use super::carry::{Left, Session, Taken, Wiring};
use super::link::Link;

/// Reads in a row after a close: a client that stays and writes without end must not keep us from the rest.
const READS_MAX: usize = 16;

/// A close is told before it is done: how long to wait until looking again whether somebody is left.
const LOOK_AGAIN: [Duration; 3] = [
    Duration::from_millis(2),
    Duration::from_millis(20),
    Duration::from_millis(100),
];

/// Looks after one close; each further one needs a client that comes and goes in microseconds.
const LOOKS_MAX: usize = 8;

/// An open pty that nobody serves yet.
pub(super) struct PtyHost {
    master: OwnedFd,
    /// Ours; `None` when it could not be opened again.
    slave: Option<OwnedFd>,
    path: PathBuf,
    link: Option<Link>,
    watch: OwnedFd,
    clients: Clients,
    /// How often was looked in vain since the last close; beyond [`LOOK_AGAIN`] somebody really is left.
    looked: usize,
}

impl PtyHost {
    /// Opens a pty in raw mode, and makes `link` point to it.
    pub(super) fn open(link: Option<&Path>) -> Result<Self, HostError> {
        let (master, slave, path) = open().map_err(|error| HostError::Pty(error.into()))?;
        let watch = watch(&path).map_err(|error| HostError::Watch(error.into()))?;
        let link = link.map(|link| Link::make(link, &path)).transpose()?;
        Ok(Self {
            master,
            slave: Some(slave),
            path,
            link,
            watch,
            clients: Clients::default(),
            looked: LOOK_AGAIN.len(),
        })
    }

    /// The slave, e.g. `/dev/pts/3`.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Serves until told to end, the power is cut, or the pty fails.
    pub(super) fn serve(mut self, wiring: Wiring) -> Left {
        let mut session = Session::new(wiring);
        let left = loop {
            if let Err(left) = self.turn(&mut session) {
                break left;
            }
        };
        drop(self.link);
        left
    }

    fn turn(&mut self, session: &mut Session) -> Result<(), Left> {
        // Without any slave descriptor the master is always ready, to say that it has hung up.
        let quiet = self.slave.is_none() && self.clients.open == 0;
        let master = (!quiet).then_some(self.master.as_fd());
        let again = LOOK_AGAIN.get(self.looked).copied();
        let began = Instant::now();
        let ready = session.wait(master, Some(self.watch.as_fd()), again)?;
        let seen = self.clients.look(&self.watch).map_err(Left::Failed)?;
        if seen.changed_hands {
            session.begin_anew();
        }
        if seen.closes > 0 {
            self.looked = 0;
            self.after_a_close(session)?;
        } else if again.is_some_and(|again| began.elapsed() >= again) {
            self.looked += 1;
            self.after_a_close(session)?;
        } else if ready {
            match session.take_input(self.master.as_fd())? {
                Taken::Closed => {
                    self.all_have_left(session)?;
                }
                Taken::Some => self.clients.open = self.clients.open.max(1),
                Taken::Nothing => {}
            }
        }
        session.listen()?;
        if self.clients.open == 0 {
            session.discard();
        }
        session.flush(self.master.as_fd())?;
        Ok(())
    }

    /// Somebody has closed the slave: is anybody left?
    fn after_a_close(&mut self, session: &mut Session) -> Result<(), Left> {
        for _ in 0..LOOKS_MAX {
            let ours = usize::from(self.slave.is_some());
            if let Some(slave) = self.slave.take() {
                // Or nobody but root could open it after a client that wanted to be the only one.
                let _ = ioctl_tiocnxcl(&slave);
            }
            let seen = if self.read_to_the_end(session)? {
                self.all_have_left(session)?
            } else {
                self.clients.open = self.clients.open.max(1);
                self.slave = open_slave(&self.path).ok();
                self.clients.look(&self.watch).map_err(Left::Failed)?
            };
            // Another client's close among our own asks for another look.
            if seen.closes <= ours {
                break;
            }
        }
        Ok(())
    }

    /// Takes what was written right before a close; behind it a master that has hung up says so: `true`.
    fn read_to_the_end(&self, session: &mut Session) -> Result<bool, Left> {
        for _ in 0..READS_MAX {
            match session.take_input(self.master.as_fd())? {
                Taken::Some => {}
                Taken::Nothing => return Ok(false),
                Taken::Closed => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Throws away what nobody has read, and the modes that somebody has set.
    fn all_have_left(&mut self, session: &mut Session) -> Result<Seen, Left> {
        session.begin_anew();
        self.looked = LOOK_AGAIN.len();
        // Two buffers: what is on its way to the slave, then what has arrived there.
        let _ = tcflush(&self.master, QueueSelector::OFlush);
        self.slave = open_slave(&self.path).ok();
        if let Some(slave) = &self.slave {
            let _ = tcflush(slave, QueueSelector::IFlush);
            let _ = make_raw(slave);
        }
        // Our own close and open are not to be taken for a client's.
        let seen = self.clients.look(&self.watch).map_err(Left::Failed)?;
        let ours = usize::from(self.slave.is_some());
        self.clients.open = seen.opens.saturating_sub(ours);
        Ok(seen)
    }
}

/// How many have the slave open, as far as events tell: never fewer than one when somebody has.
#[derive(Debug, Default)]
struct Clients {
    open: usize,
}

/// What a look at the events has shown.
#[derive(Debug, Default)]
struct Seen {
    opens: usize,
    closes: usize,
    /// The last client left and another one came meanwhile.
    changed_hands: bool,
}

impl Clients {
    fn look(&mut self, watch: &OwnedFd) -> io::Result<Seen> {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut reader = Reader::new(watch, &mut buffer);
        let mut seen = Seen::default();
        let mut was_empty = false;
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::OPEN) => {
                    seen.opens += 1;
                    seen.changed_hands |= was_empty;
                    self.open += 1;
                }
                Ok(event)
                    if event
                        .events()
                        .intersects(ReadFlags::CLOSE_WRITE | ReadFlags::CLOSE_NOWRITE) =>
                {
                    seen.closes += 1;
                    was_empty |= self.open == 1;
                    self.open = self.open.saturating_sub(1);
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(seen),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn open() -> rustix::io::Result<(OwnedFd, OwnedFd, PathBuf)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()));
    let slave = open_slave(&path)?;
    make_raw(&slave)?;
    Ok((master, slave, path))
}

fn watch(path: &Path) -> rustix::io::Result<OwnedFd> {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let events = WatchFlags::OPEN | WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE;
    inotify::add_watch(&watch, path, events)?;
    Ok(watch)
}

fn open_slave(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// No echo, no line editing, no translation of line ends. The modes outlive the descriptor.
fn make_raw(slave: &OwnedFd) -> rustix::io::Result<()> {
    let mut modes = tcgetattr(slave)?;
    modes.make_raw();
    tcsetattr(slave, OptionalActions::Now, &modes)
}
