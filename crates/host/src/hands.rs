//! The [`Actions`] that are real: files through `keep`, the broker through its commands, listeners through sockets.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sectag_gateway::mosquitto::{self, Listener};
use sectag_gateway::plan::{FileChange, NewContent, beside_main};
use sectag_keep::{End, KeepError};
use serde_json::Value;
use tokio::runtime::Handle;

use crate::apply::{Actions, Deed, Orders, Tell, Trouble};
use crate::broker::{self, Broker, Way};
use crate::ground::Disk;
use crate::journal::{Entry, Journal, Previous};
use crate::log::tail;
use crate::look::{Greeting, LookError, greet, look};
use crate::machine;
use crate::probe::{self, Questions, Report, reachable, said};
use crate::survey::{Place, log_files};

/// mosquitto looks at signals between two rounds of its loop, which end after 100 ms at the latest.
const RELOAD_TAKES: Duration = Duration::from_millis(300);
/// Between two looks at a listener that does not serve yet.
const PAUSE: Duration = Duration::from_millis(50);
/// One look. On this machine an answer comes within milliseconds.
const LOOK: Duration = Duration::from_secs(2);
/// A broker that complained, or could be seen before, and is not seen for so long does not come any more.
const GONE: Duration = Duration::from_secs(3);

/// Does what is asked on this machine.
pub struct Hands<'a> {
    /// The home.
    pub place: Place,
    /// The broker.
    pub broker: Broker,
    /// Asks what the probe asks; `None` when nothing is to be proved.
    pub questions: Option<Questions<'a>>,
    /// For the whole of one wait, and for each command.
    pub patience: Duration,
    /// Where sockets run.
    pub runtime: Handle,
    /// Tells somebody what is done.
    pub teller: &'a mut dyn FnMut(&str),
    /// What the probe met.
    pub report: Option<Report>,
    /// The broker's process could be seen before; so it must be seen afterwards.
    pub was_seen: bool,
    /// Where the broker's log files ended when it was told last, and when that was.
    pub told: Told,
}

/// The last word to the broker.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Unix seconds of the last restart: a process that is older is not the one that was asked for.
    restarted_s: Option<u64>,
    /// Files were put back: a broker that never took the others has the right ones.
    back: bool,
    /// Lengths of its log files.
    logs: BTreeMap<PathBuf, u64>,
}

impl Actions for Hands<'_> {
    fn say(&mut self, deed: &Deed, orders: &Orders) {
        let text = match deed {
            Deed::Place(index) => format!("write {}", orders.place[*index].path.display()),
            Deed::Remove(index) => format!("remove {}", orders.remove[*index].display()),
            Deed::Test => "test the configuration".to_owned(),
            Deed::Reload => format!(
                "reload the broker: {}",
                self.words(&self.broker.reload, "reload")
            ),
            Deed::Restart => format!(
                "restart the broker: {}",
                self.words(&self.broker.restart, "restart")
            ),
            Deed::Await => "wait until every listener serves".to_owned(),
            Deed::Probe => "probe the listeners".to_owned(),
            Deed::Remember | Deed::Mark | Deed::Decide | Deed::Record | Deed::Forget => return,
        };
        (self.teller)(&text);
    }

    fn keep(&mut self, path: &Path, number: usize) -> Result<Option<Previous>, Trouble> {
        let node = match sectag_keep::look(path).end {
            End::File(node) => node,
            End::Missing => return Ok(None),
            // What cannot be copied cannot be put back.
            End::Blocked(why) => {
                return Err(Trouble::new(format!(
                    "`{}` cannot be looked at: {why}",
                    path.display()
                )));
            }
            End::Directory(_) | End::Other(_) => {
                let sentence = format!("`{}` is in the way, and is no file", path.display());
                return Err(Trouble::new(sentence).hint("move it away"));
            }
        };
        let Some(content) = sectag_keep::content(path)? else {
            return Ok(None);
        };
        sectag_keep::private_dir(&self.place.previous())?;
        let copy = self.place.previous().join(number.to_string());
        sectag_keep::write_private(&copy, &content)?;
        Ok(Some(Previous {
            copy,
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
        }))
    }

    fn note(&mut self, journal: &Journal) -> Result<(), Trouble> {
        Ok(journal.write(&self.place.journal())?)
    }

    fn place(&mut self, file: &FileChange) -> Result<(), Trouble> {
        let content = match &file.new {
            NewContent::Text(text) => text.clone().into_bytes().into(),
            NewContent::CopyOf(source) => sectag_keep::content(source)?.ok_or_else(|| {
                Trouble::new(format!("`{}` does not exist any more", source.display()))
            })?,
        };
        if let Some(directory) = file.path.parent() {
            public_dir(directory)?;
        }
        match file.mode {
            None => sectag_keep::edit(&file.path, |_| {
                Ok::<_, KeepError>((Some(content.to_vec()), ()))
            })?,
            Some(mode) => {
                let owner = match &file.owner {
                    None => None,
                    Some(name) => Some(owner(name)?),
                };
                sectag_keep::place(&file.path, &content, mode, owner.flatten())?;
            }
        }
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> Result<(), Trouble> {
        sectag_keep::remove(path)?;
        Ok(())
    }

    fn restore(&mut self, entry: &Entry) -> Result<(), Trouble> {
        self.told.back = true;
        let Some(previous) = &entry.previous else {
            sectag_keep::remove(&entry.path)?;
            return Ok(());
        };
        let content = sectag_keep::content(&previous.copy)?.ok_or_else(|| {
            Trouble::new(format!(
                "`{}`, the copy of `{}`, is gone",
                previous.copy.display(),
                entry.path.display()
            ))
        })?;
        let kept = match sectag_keep::look(&entry.path).end {
            End::File(node) => (node.mode, node.uid, node.gid) == previous.triple(),
            _ => false,
        };
        if kept {
            // A link stays a link, and what is the same already is not written: the disk may be full.
            sectag_keep::edit(&entry.path, |now| {
                let same = now.as_deref() == Some(content.as_slice());
                Ok::<_, KeepError>(((!same).then(|| content.to_vec()), ()))
            })?;
        } else {
            let owner = (previous.uid, previous.gid);
            sectag_keep::place(&entry.path, &content, previous.mode, Some(owner))?;
        }
        Ok(())
    }

    fn test(&mut self) -> Result<(), Trouble> {
        let disk = Disk::new(self.broker.user.clone());
        let effective = mosquitto::read(&self.broker.main, &disk, self.broker.version);
        if let Some(problem) = effective.problems.iter().find(|problem| problem.stops) {
            return Err(Trouble::new(format!(
                "the broker would not start: {problem}"
            )));
        }
        let Some(program) = self
            .broker
            .program
            .as_ref()
            .filter(|_| self.broker.version.is_2_1())
        else {
            return Ok(()); // 2.0 cannot
        };
        let (program, main) = (
            program.display().to_string(),
            self.broker.main.display().to_string(),
        );
        let arguments = ["--test-config", "-c", main.as_str()];
        let shown = format!("{program} --test-config -c {main}");
        broker::run(
            &program,
            &arguments,
            &shown,
            &self.place.log(),
            self.patience,
        )
        .map_err(Trouble::new)
    }

    fn reload(&mut self) -> Result<(), Trouble> {
        let way = self
            .broker
            .reload
            .clone()
            .or_else(|| self.broker.restart.clone());
        self.tell(way, "reload")?;
        std::thread::sleep(RELOAD_TAKES);
        Ok(())
    }

    fn restart(&mut self) -> Result<(), Trouble> {
        self.told.restarted_s = Some(machine::now_s());
        self.tell(self.broker.restart.clone(), "restart")
    }

    fn listening(&mut self) -> Result<(), Trouble> {
        let disk = Disk::new(self.broker.user.clone());
        let effective = mosquitto::read(&self.broker.main, &disk, self.broker.version);
        let begin = Instant::now();
        let mut seen_at = begin;
        loop {
            let Some(sentence) = self.runtime.block_on(self.missing(&effective.listeners)) else {
                return Ok(());
            };
            let complaint = self.complaint();
            if self.broker.process().is_some() {
                seen_at = Instant::now();
            }
            let gone = (self.was_seen || !complaint.is_empty()) && seen_at.elapsed() > GONE;
            if begin.elapsed() > self.patience || gone {
                let said = if complaint.is_empty() {
                    broker::last_lines(&self.place.log())
                } else {
                    complaint
                };
                return Err(Trouble::new(format!("{sentence}{said}")));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn probe(&mut self) -> Result<(), Trouble> {
        let Some(questions) = &self.questions else {
            return Ok(());
        };
        let report = self.runtime.block_on(probe::probe(questions));
        let broken: Vec<String> = report.broken().map(ToString::to_string).collect();
        self.report = Some(report);
        if broken.is_empty() {
            Ok(())
        } else {
            Err(Trouble::new(broken.join("; ")))
        }
    }

    fn record(&mut self, record: Option<&Value>) -> Result<(), Trouble> {
        match record {
            Some(record) => {
                let text = format!("{record:#}\n");
                sectag_keep::write_public(&self.place.record(), text.as_bytes())?;
            }
            None => {
                sectag_keep::remove(&self.place.record())?;
            }
        }
        Ok(())
    }

    fn forget(&mut self) -> Result<(), Trouble> {
        sectag_keep::remove(&self.place.journal())?;
        // Ours, and perhaps empty by now; with something in it, it stays.
        let _ = fs::remove_dir(beside_main(&self.broker.main));
        match fs::remove_dir_all(self.place.previous()) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Trouble::new(format!(
                "cannot remove `{}`: {e}",
                self.place.previous().display()
            ))),
        }
    }
}

impl Hands<'_> {
    fn words(&self, way: &Option<Way>, verb: &str) -> String {
        let way = way.as_ref().or(self.broker.restart.as_ref());
        way.map_or_else(String::new, |way| {
            way.text(verb, self.broker.running.as_ref())
        })
    }

    fn tell(&mut self, way: Option<Way>, verb: &str) -> Result<(), Trouble> {
        let way = way.ok_or_else(|| {
            Trouble::new(format!("nobody said how the broker is made to {verb}"))
                .hint("give --restart-command and --reload-command")
        })?;
        let disk = Disk::new(None);
        let effective = mosquitto::read(&self.broker.main, &disk, self.broker.version);
        self.told.logs = log_files(&effective)
            .into_iter()
            .map(|path| {
                let length = fs::metadata(&path).map_or(0, |found| found.len());
                (path, length)
            })
            .collect();
        self.broker
            .tell(&way, verb, &self.place.log(), self.patience)
            .map_err(Trouble::new)
    }

    /// The first listener that does not serve, as a sentence.
    async fn missing(&self, listeners: &[Listener]) -> Option<String> {
        for listener in listeners {
            let websockets = listener.text("protocol").is_some_and(|word| word != "mqtt");
            // What a broker without a listener opens may be anybody's, unless its process is seen.
            let by_itself = listener.origin == mosquitto::Origin::LocalOnly && !self.was_seen;
            if listener.port == 0 || websockets || by_itself {
                continue;
            }
            let at = SocketAddr::new(address_of(listener), listener.port);
            let sentence = if listener.is_tls() && listener.text("certfile").is_some() {
                serves_tls(listener, at).await
            } else if listener.is_tls() {
                None // pre-shared keys are not ours
            } else {
                serves_plain(at).await
            };
            if sentence.is_some() {
                return sentence;
            }
        }
        if self.was_seen {
            let Some(process) = self.broker.process() else {
                return Some("the broker does not run".to_owned());
            };
            let Told {
                restarted_s, back, ..
            } = self.told;
            let as_before = self.broker.running.as_ref().map(|before| before.pid);
            let never_left = back && as_before == Some(process.pid);
            // The kernel counts a start in hundredths since boot, the clock may have been set since: 2 s of grace.
            if restarted_s.is_some_and(|told| process.started_s + 2 < told) && !never_left {
                return Some("the broker that runs is still the old one".to_owned());
            }
        }
        None
    }

    /// The broker's own words since it was told, when its log is a file: lines with an error, the last of them.
    fn complaint(&self) -> String {
        const LINES: usize = 3;
        for (path, from) in &self.told.logs {
            let Some(text) = tail(path, *from) else {
                continue;
            };
            // Behind the time. `OpenSSL Error…` is about a client that was refused.
            let errors: Vec<&str> = text
                .lines()
                .map(|line| line.split_once(": ").map_or(line, |(_, words)| words))
                .filter(|words| words.starts_with("Error"))
                .collect();
            let last = &errors[errors.len().saturating_sub(LINES)..];
            if !last.is_empty() {
                return format!("; {} says: {}", path.display(), last.join(" / "));
            }
        }
        String::new()
    }
}

async fn serves_tls(listener: &Listener, at: SocketAddr) -> Option<String> {
    let served = match look(at, LOOK).await {
        Ok(served) => served,
        Err(error) => return Some(said(&error)),
    };
    let path = PathBuf::from(listener.text("certfile")?);
    let content = sectag_keep::content(&path).ok()??;
    let text = std::str::from_utf8(&content).ok()?;
    let in_file = sectag_pki::pem::certificates(text).ok()?;
    if served.chain.first() == in_file.first() {
        return None;
    }
    let serial = |der: Option<&Vec<u8>>| {
        let facts = der.and_then(|der| sectag_pki::show(der).ok());
        facts.map_or_else(|| "none".to_owned(), |facts| facts.serial_hex)
    };
    Some(format!(
        "{at} serves the certificate with serial {}, {} has {}",
        serial(served.chain.first()),
        path.display(),
        serial(in_file.first())
    ))
}

async fn serves_plain(at: SocketAddr) -> Option<String> {
    match greet(at, LOOK).await {
        Ok(Greeting::Connack(_)) => None,
        Ok(Greeting::Closed) => Some(format!(
            "{at} closes the connection without an answer to MQTT"
        )),
        Ok(Greeting::Silent) => Some(format!("{at} does not answer MQTT")),
        Err(error @ LookError::Connect(..)) => Some(format!("nothing listens: {}", said(&error))),
        Err(error) => Some(said(&error)),
    }
}

fn address_of(listener: &Listener) -> IpAddr {
    if let Some(name) = listener.text("bind_interface") {
        let all = crate::interfaces::interfaces().unwrap_or_default();
        let found = all.iter().find(|interface| interface.name == name);
        if let Some(address) = found.and_then(|found| found.addresses.first()) {
            return *address;
        }
    }
    let named = || {
        use std::net::ToSocketAddrs as _;
        let mut found = (listener.address.as_deref()?, 0).to_socket_addrs().ok()?;
        Some(found.next()?.ip())
    };
    let ip = listener.ip().or_else(named);
    reachable(ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)))
}

/// User and group, when files must be given away for it.
fn owner(name: &str) -> Result<Option<(u32, u32)>, Trouble> {
    let user = machine::user(name).ok_or_else(|| {
        Trouble::new(format!("this machine has no user `{name}`"))
            .hint("name the broker's user with --broker-user")
    })?;
    let we = rustix::process::geteuid().as_raw();
    Ok((user.uid != we).then_some((user.uid, user.gid)))
}

/// A directory that everybody may enter and list; one that is there stays as it is.
///
/// # Errors
/// [`Trouble`].
pub fn public_dir(path: &Path) -> Result<(), Trouble> {
    if path.is_dir() {
        return Ok(());
    }
    let trouble = |e: io::Error| Trouble::new(format!("cannot create `{}`: {e}", path.display()));
    fs::create_dir(path).map_err(trouble)?;
    // Whatever the umask says.
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(trouble)
}

impl Previous {
    fn triple(&self) -> (u32, u32, u32) {
        (self.mode, self.uid, self.gid)
    }
}

impl From<KeepError> for Trouble {
    fn from(error: KeepError) -> Self {
        let trouble = Self::new(said(&error));
        match error.hint() {
            Some(hint) => trouble.hint(hint),
            None => trouble,
        }
    }
}

/// What the broker must do for these steps.
pub fn tell_of(steps: &[sectag_gateway::restart::Step]) -> Tell {
    use sectag_gateway::restart::Action;
    let has = |action| steps.iter().any(|step| step.action == action);
    if has(Action::RestartBroker) {
        Tell::Restart
    } else if has(Action::ReloadBroker) {
        Tell::Reload
    } else {
        Tell::Nothing
    }
}
