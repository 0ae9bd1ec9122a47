//! What `gateway plan` shows: files, places, steps. The machine is a directory and a list of what the broker may read.
#![allow(clippy::unwrap_used)]

mod cases;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sectag_gateway::facts::{Facts, Machine};
use sectag_gateway::findings::{Finding, FindingId};
use sectag_gateway::mosquitto::{BrokerVersion, Extras, Files, Unread};
use sectag_gateway::plan::{Ground, Inputs, NewContent, Plan, make};
use sectag_gateway::restart::Action;
use sectag_gateway::{External, Level, Settings};
use sectag_pki::{Authority, PrivateKey, Purpose, ServerName};

const NOW_S: u64 = 1_800_000_000;
const MAIN: &str = "/etc/mosquitto/mosquitto.conf";
const DEBIAN: &str = "persistence true\n\ninclude_dir /etc/mosquitto/conf.d\n";

/// A gateway: papers in a real home, the broker's files in memory.
struct Town {
    home: tempfile::TempDir,
    broker: RefCell<BTreeMap<PathBuf, String>>,
    /// What the broker's user cannot read or pass.
    closed: RefCell<BTreeSet<PathBuf>>,
    kept: RefCell<BTreeMap<PathBuf, (u32, Option<String>)>>,
}

impl Town {
    fn new() -> Self {
        let town = Self {
            home: tempfile::tempdir().unwrap(),
            broker: RefCell::new(BTreeMap::from([
                (PathBuf::from(MAIN), DEBIAN.to_owned()),
                ("/etc/mosquitto/conf.d/README".into(), String::new()),
            ])),
            closed: RefCell::default(),
            kept: RefCell::default(),
        };
        let clients = Authority::root("Clients", NOW_S).unwrap();
        std::fs::write(town.path("clients-ca.crt"), clients.certificate_pem()).unwrap();
        town.renew();
        town
    }

    /// A new certificate for the listener.
    fn renew(&self) {
        let root = Authority::root("Servers", NOW_S).unwrap();
        let servers = root.issuing(Purpose::Servers, NOW_S).unwrap();
        let key = PrivateKey::generate().unwrap();
        let names = [ServerName::Dns("localhost".to_owned())];
        let server = servers
            .issue_server(&key.spki_der(), &names, NOW_S)
            .unwrap();
        std::fs::write(self.path("server.crt"), server.pem()).unwrap();
        std::fs::write(self.path("server.key"), key.to_pem().as_str()).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(
            self.path("server.key"),
            std::fs::Permissions::from_mode(0o600),
        )
        .unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn mutual(&self) -> Settings {
        Settings {
            external: Some(External {
                cert_file: Some(self.path("server.crt")),
                key_file: Some(self.path("server.key")),
                ca_path: Some(self.path("clients-ca.crt")),
                ..cases::external(8883)
            }),
            ..cases::settings()
        }
    }

    fn plan(&self, settings: &Settings, running: Option<&Settings>) -> Result<Plan, Vec<Finding>> {
        let machine = Machine {
            now_s: NOW_S,
            resolved: BTreeMap::from([(
                "gateway.local".to_owned(),
                vec!["192.0.2.7".parse().unwrap()],
            )]),
            ..Machine::default()
        };
        let facts = Facts::gather(settings, &machine);
        make(&Inputs {
            settings,
            running,
            contents: &[],
            extras: &Extras::default(),
            facts: &facts,
            version: BrokerVersion::V2_0_11,
            main: Path::new(MAIN),
            broker_user: "mosquitto",
            home: self.home.path(),
            ground: self,
        })
    }

    /// Does what the plan says about files.
    fn apply(&self, plan: &Plan) {
        for file in &plan.files {
            let text = match &file.new {
                NewContent::Text(text) => text.clone(),
                NewContent::CopyOf(source) => std::fs::read_to_string(source).unwrap(),
            };
            self.broker.borrow_mut().insert(file.path.clone(), text);
            if let Some(mode) = file.mode {
                self.kept
                    .borrow_mut()
                    .insert(file.path.clone(), (mode, file.owner.clone()));
            }
        }
    }
}

impl Files for Town {
    fn read(&self, file: &Path) -> Result<Vec<u8>, Unread> {
        self.broker.borrow().read(file)
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>, Unread> {
        self.broker.borrow().list(directory)
    }
}

impl Ground for Town {
    fn broker_reads(&self, path: &Path) -> bool {
        !self
            .closed
            .borrow()
            .iter()
            .any(|closed| path.starts_with(closed))
    }

    fn broker_reaches(&self, directory: &Path) -> bool {
        self.broker_reads(directory)
    }

    fn same_bytes(&self, a: &Path, b: &Path) -> bool {
        let source = std::fs::read(a).unwrap();
        self.read(b).is_ok_and(|copy| copy == source)
    }

    fn is_kept_as(&self, path: &Path, mode: u32, owner: Option<&str>) -> bool {
        self.kept.borrow().get(path) == Some(&(mode, owner.map(str::to_owned)))
    }
}

fn actions(plan: &Plan) -> Vec<Action> {
    plan.steps.iter().map(|step| step.action).collect()
}

fn paths(plan: &Plan) -> Vec<&Path> {
    plan.files.iter().map(|file| file.path.as_path()).collect()
}

#[test]
fn the_first_plan_writes_our_file_and_then_the_line_that_includes_it() {
    let town = Town::new();
    let settings = town.mutual();
    let plan = town.plan(&settings, None).unwrap();
    let fragment = town.path("mosquitto/sectag-listener.conf");
    assert_eq!(paths(&plan), [fragment.as_path(), Path::new(MAIN)]);
    assert_eq!(
        (plan.level, plan.outside_home),
        (Some(Level::Mutual), false)
    );
    assert!(
        plan.files[0].diff.starts_with("--- /dev/null\n"),
        "{}",
        plan.files[0].diff
    );
    assert_eq!(plan.files[0].mode, Some(0o644));
    let line = format!("+include_dir {}\n", town.path("mosquitto").display());
    assert!(plan.files[1].diff.contains(&line), "{}", plan.files[1].diff);
    assert_eq!(
        plan.files[1].mode, None,
        "the broker's own file keeps its mode"
    );
    assert_eq!((plan.include.number, plan.include.present), (4, false));
    assert_eq!(
        plan.steps
            .iter()
            .filter(|step| step.action.is_ours())
            .map(|step| step.action)
            .collect::<Vec<_>>(),
        [
            Action::WriteFiles,
            Action::TestConfiguration,
            Action::RestartBroker,
            Action::AwaitListeners,
            Action::Probe
        ]
    );
    assert!(plan.for_people().count() > 0);

    town.apply(&plan);
    let again = town.plan(&settings, Some(&settings)).unwrap();
    assert!(again.is_empty(), "{:?} {:?}", again.files, again.steps);
    assert!(again.include.present);
}

#[test]
fn a_home_that_the_broker_cannot_reach_puts_everything_under_etc() {
    let town = Town::new();
    town.closed.borrow_mut().insert(town.home.path().to_owned());
    let plan = town.plan(&town.mutual(), None).unwrap();
    assert!(plan.outside_home);
    let etc = Path::new("/etc/mosquitto/sectag");
    let names = [
        "server.key",
        "server.crt",
        "clients-ca.crt",
        "sectag-listener.conf",
    ]
    .map(|name| etc.join(name));
    let expected: Vec<&Path> = names
        .iter()
        .map(PathBuf::as_path)
        .chain([Path::new(MAIN)])
        .collect();
    assert_eq!(paths(&plan), expected);
    let key = &plan.files[0];
    assert_eq!(key.new, NewContent::CopyOf(town.path("server.key")));
    assert_eq!(
        (key.mode, key.owner.as_deref()),
        (Some(0o400), Some("mosquitto"))
    );
    assert!(
        plan.fragment_text
            .contains("keyfile /etc/mosquitto/sectag/server.key\n"),
        "{}",
        plan.fragment_text
    );
    assert!(
        plan.fragment_text
            .contains("cafile /etc/mosquitto/sectag/clients-ca.crt\n")
    );
    town.apply(&plan);
    assert!(
        town.plan(&town.mutual(), Some(&town.mutual()))
            .unwrap()
            .is_empty()
    );
}

/// Both places at once would be every listener twice.
#[test]
fn a_home_that_opens_up_takes_the_files_back() {
    let town = Town::new();
    town.closed.borrow_mut().insert(town.home.path().to_owned());
    let settings = town.mutual();
    town.apply(&town.plan(&settings, None).unwrap());
    town.closed.borrow_mut().clear();
    let plan = town.plan(&settings, Some(&settings)).unwrap();
    assert!(!plan.outside_home);
    let main = plan.files.last().unwrap();
    assert!(
        main.diff.contains("\n-include_dir /etc/mosquitto/sectag\n"),
        "{}",
        main.diff
    );
    assert!(actions(&plan).contains(&Action::RestartBroker));
    town.apply(&plan);
    assert!(town.plan(&settings, Some(&settings)).unwrap().is_empty());
}

#[test]
fn a_main_file_that_cannot_be_read_is_not_an_empty_one() {
    let town = Town::new();
    town.broker.borrow_mut().remove(Path::new(MAIN));
    let findings = town.plan(&town.mutual(), None).unwrap_err();
    assert_eq!(findings[0].id, FindingId::B3);
    assert!(findings[0].fix.contains("include_dir"), "{}", findings[0]);
}

#[test]
fn a_renewed_pair_is_copied_and_reloaded() {
    let town = Town::new();
    town.closed.borrow_mut().insert(town.path("server.key"));
    let settings = town.mutual();
    let plan = town.plan(&settings, None).unwrap();
    assert!(!plan.outside_home);
    assert_eq!(plan.files[0].path, town.path("mosquitto/server.key"));
    town.apply(&plan);
    town.renew();
    let plan = town.plan(&settings, Some(&settings)).unwrap();
    assert_eq!(plan.files.len(), 1, "the certificate is read where it is");
    assert_eq!(
        actions(&plan),
        [
            Action::WriteFiles,
            Action::TestConfiguration,
            Action::ReloadBroker,
            Action::AwaitListeners,
            Action::Probe
        ]
    );
}

#[test]
fn a_file_that_somebody_changed_is_written_anew() {
    let town = Town::new();
    let settings = town.mutual();
    let plan = town.plan(&settings, None).unwrap();
    town.apply(&plan);
    town.broker
        .borrow_mut()
        .insert(plan.fragment.clone(), "listener 8883\n".to_owned());
    let plan = town.plan(&settings, Some(&settings)).unwrap();
    assert_eq!(paths(&plan), [plan.fragment.as_path()]);
    assert!(
        plan.files[0].diff.contains("-listener 8883\n")
            || plan.files[0].diff.contains(" listener 8883\n")
    );
    assert!(actions(&plan).contains(&Action::RestartBroker));
}

#[test]
fn an_error_refuses_the_plan_and_says_all_findings() {
    let town = Town::new();
    let mut settings = town.mutual();
    settings.external.as_mut().unwrap().key_file = None;
    let findings = town.plan(&settings, None).unwrap_err();
    assert_eq!(findings[0].id, FindingId::E1);
    assert_eq!(
        findings
            .iter()
            .filter(|finding| finding.id == FindingId::E1)
            .count(),
        1,
        "{findings:#?}"
    );
    // Another listener of the broker has the port.
    let taken = PathBuf::from("/etc/mosquitto/conf.d/tls.conf");
    town.broker
        .borrow_mut()
        .insert(taken, "listener 8883\n".to_owned());
    let findings = town.plan(&town.mutual(), None).unwrap_err();
    assert_eq!(findings[0].id, FindingId::B2);
}

#[test]
fn a_host_name_is_shown_with_its_address() {
    let town = Town::new();
    let mut settings = town.mutual();
    settings.external.as_mut().unwrap().address = Some("gateway.local".parse().unwrap());
    let plan = town.plan(&settings, None).unwrap();
    assert_eq!(
        plan.resolved,
        Some(("gateway.local".to_owned(), "192.0.2.7".parse().unwrap()))
    );
    assert!(plan.fragment_text.contains("listener 8883 192.0.2.7\n"));
}

#[test]
fn our_services_restart_when_their_keys_differ_from_the_defaults() {
    let town = Town::new();
    let mut settings = town.mutual();
    settings.topic_root = "te".to_owned();
    settings.client.host = "localhost".parse().unwrap();
    let plan = town.plan(&settings, None).unwrap();
    assert!(
        actions(&plan).contains(&Action::RestartServices),
        "{:?}",
        plan.steps
    );
}
