//! Everything that plan, apply, probe and status look at, looked at once.

use std::path::{Path, PathBuf};

use sectag_gateway::Settings;
use sectag_gateway::facts::{Facts, Listening, PathFacts};
use sectag_gateway::findings::Finding;
use sectag_gateway::mosquitto::{self, Effective, Extras};
use sectag_gateway::plan::{self, Inputs, Plan};
use sectag_gateway::restart::Content;
use sectag_keep::KeepError;

use crate::broker::{Broker, BrokerError, BrokerOptions};
use crate::ground::Disk;
use crate::machine;
use crate::record::Record;
use crate::waiting::Waiting;

/// Where things of one home are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The home.
    pub home: PathBuf,
}

impl Place {
    /// Our files for the broker, and what `apply` remembers.
    pub fn state(&self) -> PathBuf {
        self.home.join("mosquitto")
    }

    /// What an interrupted `apply` left.
    pub fn journal(&self) -> PathBuf {
        self.state().join("journal.json")
    }

    /// Copies of what was there before.
    pub fn previous(&self) -> PathBuf {
        self.state().join("previous")
    }

    /// What the last `apply` applied.
    pub fn record(&self) -> PathBuf {
        self.state().join("applied.json")
    }

    /// One `apply` at a time.
    pub fn lock(&self) -> PathBuf {
        self.state().join("apply.lock")
    }

    /// What the last command for the broker said.
    pub fn log(&self) -> PathBuf {
        self.state().join("broker-command.log")
    }
}

/// What was found.
#[derive(Debug)]
pub struct Survey {
    /// The keys.
    pub settings: Settings,
    /// The home.
    pub place: Place,
    /// The broker.
    pub broker: Broker,
    /// The machine and the files that the keys name.
    pub facts: Facts,
    /// The broker's whole configuration as it is on disk.
    pub effective: Effective,
    /// Renewed pairs beside those in use.
    pub waiting: Waiting,
    /// What the last `apply` applied.
    pub record: Option<Record>,
    /// Files whose content changed since.
    pub contents: Vec<Content>,
    /// What would be done, or all findings when one of them is an error.
    pub plan: Result<Plan, Vec<Finding>>,
}

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// No broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The record of the last `apply`.
    #[error(transparent)]
    Keep(#[from] KeepError),
}

impl Survey {
    /// Looks at everything, renewed pairs that wait taken for those they replace. Nothing is changed.
    ///
    /// # Errors
    /// [`SurveyError`].
    pub fn make(
        settings: Settings,
        home: &Path,
        options: &BrokerOptions,
        service_user: Option<&str>,
    ) -> Result<Self, SurveyError> {
        let waiting = Waiting::find(&settings, machine::now_s());
        Self::with(settings, home, options, service_user, waiting)
    }

    /// As [`Survey::make`], of what is in use: what waits is nobody's yet.
    ///
    /// # Errors
    /// [`SurveyError`].
    pub fn in_use(
        settings: Settings,
        home: &Path,
        options: &BrokerOptions,
        service_user: Option<&str>,
    ) -> Result<Self, SurveyError> {
        Self::with(settings, home, options, service_user, Waiting::default())
    }

    fn with(
        settings: Settings,
        home: &Path,
        options: &BrokerOptions,
        service_user: Option<&str>,
        waiting: Waiting,
    ) -> Result<Self, SurveyError> {
        let place = Place {
            home: std::path::absolute(home).unwrap_or_else(|_| home.to_owned()),
        };
        let broker = Broker::find(options)?;
        let disk = Disk {
            user: broker.user.clone(),
            waiting: waiting.map(),
        };
        let effective = mosquitto::read(&broker.main, &disk, broker.version);
        let mut machine = machine::machine_with(&settings, broker.version, broker.user.clone());
        if let Some(name) = service_user {
            machine.service_user = machine::user(name);
        }
        machine.listeners = Some(others(&effective, &place));
        let mut facts = Facts::gather(&settings, &machine);
        // What waits is judged as what it will be: with the way, mode and owner of the file that it replaces.
        for (used, new) in &waiting.files {
            let mut there = PathFacts::read(new, &machine);
            if let Some(old) = facts.files.get(used) {
                there.look = old.look.clone();
            }
            facts.files.insert(used.clone(), there);
        }
        let record = Record::read(&place.record())?;
        let mut contents = record
            .as_ref()
            .map(|record| record.changed(&settings))
            .unwrap_or_default();
        contents.extend(&waiting.contents);
        let mut plan = plan::make(&Inputs {
            settings: &settings,
            running: record.as_ref().map(|record| &record.settings),
            contents: &contents,
            extras: &Extras::default(),
            facts: &facts,
            version: broker.version,
            main: &broker.main,
            broker_user: &broker.user_name,
            home: &place.home,
            ground: &disk,
        });
        if let Ok(plan) = &mut plan {
            // Before the copies that the broker gets of them.
            plan.files.splice(0..0, waiting.changes());
        }
        Ok(Self {
            waiting,
            settings,
            place,
            broker,
            facts,
            effective,
            record,
            contents,
            plan,
        })
    }

    /// Everything that is wrong or worth knowing, worst first.
    pub fn findings(&self) -> &[Finding] {
        match &self.plan {
            Ok(plan) => &plan.findings,
            Err(findings) => findings,
        }
    }

    /// Files that the broker writes its log to.
    pub fn logs(&self) -> Vec<PathBuf> {
        log_files(&self.effective)
    }
}

/// The files among a configuration's `log_dest`.
pub(crate) fn log_files(effective: &Effective) -> Vec<PathBuf> {
    let dests = effective.globals.iter();
    dests
        .filter(|directive| directive.name == "log_dest")
        .filter_map(|directive| directive.value.strip_prefix("file "))
        .map(|path| PathBuf::from(path.trim()))
        .collect()
}

/// Listeners of the broker's other files.
fn others(effective: &Effective, place: &Place) -> Vec<Listening> {
    let is_ours = |listener: &&mosquitto::Listener| {
        listener.at.as_ref().is_some_and(|at| {
            at.file
                .file_name()
                .is_some_and(|name| name == plan::FRAGMENT)
                && (at.file.starts_with(place.state())
                    || at.file.parent().is_some_and(|dir| dir.ends_with("sectag")))
        })
    };
    let others = effective
        .listeners
        .iter()
        .filter(|listener| listener.port != 0 && !is_ours(listener))
        // There only because there is nothing else.
        .filter(|listener| listener.origin != mosquitto::Origin::LocalOnly);
    others
        .map(|listener| Listening {
            port: listener.port,
            address: listener.ip(),
            is_tls: listener.is_tls(),
        })
        .collect()
}
