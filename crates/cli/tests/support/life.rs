//! The life of a service that is killed once, with its owner and two devices: steps, the cut, the restart, the comparison.

use crate::device::{Device, Exchanged, is_content};
use crate::state::{State, difference, look};
use crate::support::owner::call;
use crate::support::{Home, Listeners, Up};
use sectag_device::https::Https;
use sectag_device::link::{LinkOptions, MqttLink, Security, TlsOptions};
use sectag_modem::TagSigner as _;
use sectag_proto::SecTag;
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const SIGKILL: i32 = 9;
/// The service that kills itself is gone within this.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// A service that is killed beside us, after the answer we wait for (or after writing run.json, by which a start is
/// recognised), is gone this much later.
const GONE_BESIDE: Duration = Duration::from_millis(400);
const CLAIMS: &str = "/v1/claimed-devices";

/// Who loses what it had in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mortals {
    Service,
    /// The device whose request was cut as well.
    ServiceAndDevice,
}

/// A service and its two devices, from an empty home on.
pub(crate) struct Life<'a> {
    pub(crate) a: Device,
    pub(crate) b: Device,
    /// `point:pass`
    armed: String,
    mortals: Mortals,
    home: Home,
    up: Option<Up>,
    owner_key: String,
    root: String,
    /// `None` writes one.
    reference: Option<&'a Reference>,
    states: Vec<Value>,
    /// Steps that were acknowledged.
    done: usize,
    was_killed: bool,
    /// Compare the state after the next step with the reference's.
    look_closely: bool,
    /// This step commits nothing before it commits something.
    has_idle_commit: bool,
    /// Certificates seen so far; the record only grows.
    certificates: Vec<String>,
    /// Device and id of commands whose creation was acknowledged and which nobody took back.
    commands: Vec<(String, String)>,
    /// Text of the second API key, once acknowledged, and whether it must work.
    second_key: Option<(String, bool)>,
}

/// What a life without a kill looks like.
pub(crate) struct Reference {
    pub(crate) batches: [Vec<Vec<String>>; 2],
    states: Vec<Value>,
}

/// The service did not answer.
pub(crate) struct Gone;

/// Where a cut step was found after the restart.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Before,
    After,
}

impl<'a> Life<'a> {
    /// A first start, armed with `point:pass` unless there is no reference yet, and a second one if that killed it.
    pub(crate) fn begin(armed: &str, reference: Option<&'a Reference>, mortals: Mortals) -> Self {
        let home = Home::new();
        let envs = [("SECTAG_CRASH_AT", armed)];
        let envs = if reference.is_some() { &envs[..] } else { &[] };
        let mut first = home.try_up(envs, &[]);
        if armed.starts_with("keep.")
            && let Ok(up) = &mut first
            && let Some(end) = up.wait(GONE_BESIDE)
        {
            first = Err((end, up.log()));
        }
        let was_killed = first.is_err();
        let up = match first {
            Ok(up) => up,
            Err((end, log)) => {
                assert_eq!(end.signal(), Some(SIGKILL), "{armed}: {log}");
                let files = files_in_place(&home.path());
                let up = home.up(&[]);
                for (path, content) in files {
                    let there = std::fs::read(&path).unwrap();
                    assert!(there == content, "{armed}: `{}` changed", path.display());
                }
                up
            }
        };
        let mut life = Self {
            a: Device::new(1),
            b: Device::new(2),
            armed: armed.to_owned(),
            mortals,
            owner_key: home.read("owner.key"),
            root: home.read("ca/root.crt"),
            home,
            up: Some(up),
            reference,
            states: Vec::new(),
            done: 0,
            was_killed,
            look_closely: false,
            has_idle_commit: false,
            certificates: Vec::new(),
            commands: Vec::new(),
            second_key: None,
        };
        life.check();
        life
    }

    pub(crate) const fn was_killed(&self) -> bool {
        self.was_killed
    }

    pub(crate) const fn mortals(&self) -> Mortals {
        self.mortals
    }

    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    pub(crate) fn listeners(&self) -> Listeners {
        self.up().listeners
    }

    /// For other lives to be compared with.
    pub(crate) fn reference(mut self) -> Reference {
        Reference {
            batches: [self.a.batches(), self.b.batches()],
            states: std::mem::take(&mut self.states),
        }
    }

    /// A claim, which may be repeated without looking: the second one finds the first.
    pub(crate) fn claim(&mut self, body: &Value) {
        self.repeatable_step(|life| life.ask("POST", CLAIMS, body, &[200, 201]).map(drop));
    }

    /// A claim that meets another key: the claim commits nothing, then the alarm is written.
    pub(crate) fn refused_claim(&mut self, body: &Value) {
        self.has_idle_commit = true;
        self.call("POST", CLAIMS, body, 409);
        self.has_idle_commit = false;
    }

    pub(crate) fn unclaim(&mut self, device: &str) {
        self.commands.retain(|(known, _)| known != device);
        self.verb(&["devices", "unclaim", device]);
    }

    pub(crate) fn create(&mut self, device: &str, request: Value) {
        let path = format!("{CLAIMS}/{device}/provisioning");
        self.step(|life| {
            let made = life.ask("POST", &path, &json!({ "request": request }), &[201])?;
            let id = made["id"].as_str().unwrap();
            life.commands.push((device.to_owned(), id.to_owned()));
            Ok(())
        });
    }

    /// Takes back the command with that text in its request.
    pub(crate) fn take_back(&mut self, device: &str, text: &str) {
        let path = format!("{CLAIMS}/{device}/provisioning");
        self.step(|life| {
            let list = life.ask("GET", &path, &Value::Null, &[200])?;
            let items = list["items"].as_array().unwrap();
            let found = items
                .iter()
                .find(|item| item["request"].to_string().contains(text));
            let id = found.unwrap()["id"].as_str().unwrap();
            life.commands.retain(|(_, known)| known != id);
            life.run(&["commands", "delete", device, id])
        });
    }

    pub(crate) fn create_second_key(&mut self) {
        let body = json!({ "name": "second", "role": "viewer" });
        self.step(|life| {
            let key = life.ask("POST", "/v1/keys", &body, &[201])?;
            life.second_key = Some((key["key"].as_str().unwrap().to_owned(), true));
            Ok(())
        });
    }

    pub(crate) fn revoke_second_key(&mut self) {
        // Between asking and acknowledgement it may work or not.
        let key = self.second_key.take();
        self.verb(&["keys", "revoke", "second"]);
        self.second_key = key.map(|(text, _)| (text, false));
    }

    /// A verb of the command line; exit code 0 acknowledges it.
    pub(crate) fn verb(&mut self, args: &[&str]) {
        self.step(|life| life.run(args));
    }

    /// As [`Life::verb`], for one that may be repeated without looking.
    pub(crate) fn repeatable_verb(&mut self, args: &[&str]) {
        self.repeatable_step(|life| life.run(args));
    }

    /// A call of the owner API; its whole answer acknowledges it.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: &Value, status: u16) {
        self.step(|life| life.ask(method, path, body, &[status]).map(drop));
    }

    /// Sessions of a device until it has nothing left to do.
    pub(crate) fn converse(&mut self, device: impl Fn(&mut Self) -> &mut Device) {
        loop {
            let exchanged = self.exchange(&device);
            if exchanged == Exchanged::NothingToDo || is_content(device(self).ending()) {
                return;
            }
        }
    }

    /// One request of a device, which repeats it because it cannot look.
    pub(crate) fn exchange(&mut self, device: impl Fn(&mut Self) -> &mut Device) -> Exchanged {
        let https = self.https();
        let exchanged = match device(self).exchange(&https) {
            Ok(exchanged) => exchanged,
            Err(_) => {
                self.restart();
                if self.mortals == Mortals::ServiceAndDevice {
                    device(self).dies();
                }
                let https = self.https();
                device(self).exchange(&https).expect("killed twice")
            }
        };
        self.acknowledged();
        exchanged
    }

    /// After the last step: the kill may follow its answer.
    pub(crate) fn rest(&mut self) {
        let beside = self.armed.contains(".after-response") && !self.was_killed;
        if beside && self.up.as_mut().unwrap().wait(GONE_BESIDE).is_some() {
            self.restart();
        }
    }

    /// What an owner sees, as it must be at this step. The reference is written here.
    pub(crate) fn check(&mut self) -> State {
        let state = self.look();
        match self.reference {
            None => self.states.push(state.seen.clone()),
            Some(reference) if self.mortals == Mortals::Service => {
                if let Some(found) = difference(&state.seen, &reference.states[self.done]) {
                    panic!(
                        "after {} steps the state differs from that of a life without a kill at {found}",
                        self.done
                    );
                }
            }
            // A device that forgot its report takes other steps.
            Some(_) => {}
        }
        state
    }

    /// A step of an owner, who looks before doing it again.
    fn step(&mut self, attempt: impl Fn(&mut Self) -> Result<(), Gone>) {
        if attempt(self).is_err() && self.restart() == Found::Before && attempt(self).is_err() {
            panic!("killed twice");
        }
        self.acknowledged();
    }

    /// A step of an owner, who does it again without looking.
    fn repeatable_step(&mut self, attempt: impl Fn(&mut Self) -> Result<(), Gone>) {
        if attempt(self).is_err() {
            self.restart();
            assert!(attempt(self).is_ok(), "killed twice");
        }
        self.acknowledged();
    }

    fn acknowledged(&mut self) {
        self.done += 1;
        if self.reference.is_none() || std::mem::take(&mut self.look_closely) {
            self.check();
        }
    }

    fn run(&self, args: &[&str]) -> Result<(), Gone> {
        let output = self.home.sectag(args);
        match output.code {
            Some(0) => Ok(()),
            Some(2) => Err(Gone),
            _ => panic!("{args:?}: {output:#?}"),
        }
    }

    fn ask(&self, method: &str, path: &str, body: &Value, good: &[u16]) -> Result<Value, Gone> {
        let at = self.listeners().loopback;
        let body = (!body.is_null()).then_some(body);
        match call(at, &self.owner_key, method, path, body) {
            Ok(answer) if good.contains(&answer.status) => Ok(answer.body),
            Ok(answer) => panic!("{method} {path}: {answer:?}"),
            Err(_) => Err(Gone),
        }
    }

    fn https(&self) -> Https {
        let at = self.listeners().device;
        let https = Https::new("localhost", at.port(), &self.root).unwrap();
        https.at(at)
    }

    fn up(&self) -> &Up {
        self.up.as_ref().unwrap()
    }

    /// The service is gone, by its own hand, for the first time; start it and see where it stands.
    fn restart(&mut self) -> Found {
        let end = self.up.as_mut().unwrap().wait(GONE_WITHIN);
        let end = end.expect("the service did not answer, but it is alive");
        assert_eq!(end.signal(), Some(SIGKILL), "{}", self.up().log());
        assert!(!self.was_killed, "killed twice");
        self.was_killed = true;
        self.look_closely = true;
        self.up = Some(self.home.up(&[]));
        assert_eq!(self.owner_key, self.home.read("owner.key"));
        assert_eq!(self.root, self.home.read("ca/root.crt"));
        let state = self.look();
        let reference = self.reference.expect("only an armed service dies");
        let before = difference(&state.seen, &reference.states[self.done]);
        let after = reference.states.get(self.done + 1);
        let after = after.map(|after| difference(&state.seen, after));
        let found = match (before, after) {
            (_, Some(None)) => Found::After,
            (None, _) => Found::Before,
            (Some(before), after) => panic!(
                "after the kill the state is neither that before the step (differs at {before}) nor that after it ({after:?})"
            ),
        };
        // `after-response` dies beside whatever comes next.
        let durable = [".after-commit", ".before-response"];
        if self.armed.contains(".before-commit") {
            assert_eq!(found, Found::Before, "durable before the commit");
        } else if !self.has_idle_commit && durable.iter().any(|end| self.armed.contains(end)) {
            assert_eq!(found, Found::After, "not durable after the commit");
        }
        found
    }

    /// What an owner sees, which must hold everything that was acknowledged.
    fn look(&mut self) -> State {
        let ids = [self.a.id.to_string(), self.b.id.to_string()];
        let at = self.listeners().loopback;
        let state = look(at, &self.owner_key, &ids);
        for command in &self.commands {
            assert!(state.commands.contains(command), "{command:?} is lost");
        }
        assert!(
            state.certificates.starts_with(&self.certificates),
            "a certificate on record has changed"
        );
        self.certificates.clone_from(&state.certificates);
        if let Some((text, works)) = &self.second_key {
            let answer = call(at, text, "GET", CLAIMS, None).unwrap();
            assert_eq!(answer.status, if *works { 200 } else { 401 }, "second key");
        }
        state
    }
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        const LAST_WORDS: usize = 12;
        if std::thread::panicking() {
            let log = self.up.as_ref().map(Up::log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let words = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n");
            eprintln!(
                "— crash point {}, {} steps acknowledged, killed: {}; the service's last words:\n{words}\n—",
                self.armed, self.done, self.was_killed
            );
        }
    }
}

/// The certificate under the tag is the one on record, it belongs to the key there, and the broker takes both.
pub(crate) fn connect(device: &Device, tag: u32, on_record: &str, port: u16) {
    let tag = SecTag::new(u64::from(tag)).unwrap();
    let modem = device.modem.shared().clone();
    let held = modem.certificate_chain(tag).unwrap();
    assert_eq!(held.trim(), on_record.trim(), "certificate under {tag}");
    let mut tls = TlsOptions::new([tag]);
    tls.server_name = Some("localhost".to_owned());
    let mut options = LinkOptions::new("127.0.0.1");
    options.port = port;
    device.wait_for(async {
        let link = MqttLink::open(Arc::new(modem), &Security::Tls(tls), &options)
            .await
            .unwrap();
        assert!(link.common_name().is_some(), "client authentication");
        link.disconnect().await.unwrap();
    });
}

/// Which signal ended a process.
pub(crate) fn signal(end: ExitStatus) -> Option<i32> {
    end.signal()
}

/// Every file of the home under its final name that no later start may change.
fn files_in_place(home: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for folder in ["", "ca", "tls", "operator"] {
        for entry in std::fs::read_dir(home.join(folder)).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let kept = [".key", ".crt", ".toml"]
                .iter()
                .any(|end| name.ends_with(end));
            if kept && !name.starts_with('.') {
                let content = std::fs::read(&path).unwrap();
                files.push((path, content));
            }
        }
    }
    files
}
