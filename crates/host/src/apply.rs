//! Applying a plan, as a machine: one deed at a time, each with its way back.
//!
//! ```text
//!   remember ─► place … remove … ─► test ─► mark ─► reload | restart ─► await ─► probe ─► decide ─► record ─► forget
//!   a failure anywhere before `decide`:  files back (last first) ─► told again, if it was told ─► await ─► forget
//!   a −9 anywhere: the journal says how far; the next run goes the same way back, or only forgets
//! ```
//!
//! The world is behind [`Actions`]; [`Apply::step`] does one deed, so that a test may stop between any two. What a file was
//! is on disk before the first is changed, so the way back needs nothing that died with the process.

use std::path::PathBuf;

use sectag_gateway::plan::FileChange;
use sectag_keep::crash;
use serde_json::Value;

use crate::journal::{Entry, Journal, Phase, Previous};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    /// Files to write, in this order.
    pub place: Vec<FileChange>,
    /// Files to take away, after the others are written.
    pub remove: Vec<PathBuf>,
    /// What the broker must do.
    pub broker: Tell,
    /// Prove the listeners afterwards.
    pub probe: bool,
    /// What is on record when it is done; `None` takes the record away.
    pub record: Option<Value>,
}

/// What the broker must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// Nothing.
    Nothing,
    /// Read its files again (SIGHUP).
    Reload,
    /// Stop and start.
    Restart,
}

/// One thing that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// What is there is copied, and the journal written.
    Remember,
    /// A file gets its content, mode and owner.
    Place(usize),
    /// A file is taken away.
    Remove(usize),
    /// The broker tests its configuration, if it can.
    Test,
    /// The journal says that the broker is told.
    Mark,
    /// The broker reads its files again.
    Reload,
    /// The broker stops and starts.
    Restart,
    /// Until every listener serves.
    Await,
    /// The level is proved.
    Probe,
    /// The journal says that it stays.
    Decide,
    /// What runs is on record.
    Record,
    /// Journal and copies go.
    Forget,
}

/// Why a deed failed: one sentence, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Trouble {
    /// With the facts.
    pub sentence: String,
    /// If it is known.
    pub hint: Option<String>,
}

/// The world, one thing at a time.
pub trait Actions {
    /// Says what is done.
    fn say(&mut self, deed: &Deed, orders: &Orders);
    /// Copies what is at `path` for the way back, as number `number`; `None`: nothing is there.
    ///
    /// # Errors
    /// [`Trouble`].
    fn keep(&mut self, path: &std::path::Path, number: usize) -> Result<Option<Previous>, Trouble>;
    /// Writes the journal durably.
    ///
    /// # Errors
    /// [`Trouble`].
    fn note(&mut self, journal: &Journal) -> Result<(), Trouble>;
    /// Writes one file of the plan.
    ///
    /// # Errors
    /// [`Trouble`].
    fn place(&mut self, file: &FileChange) -> Result<(), Trouble>;
    /// Takes a file away; one that is not there is gone.
    ///
    /// # Errors
    /// [`Trouble`].
    fn remove(&mut self, path: &std::path::Path) -> Result<(), Trouble>;
    /// Puts back what was there.
    ///
    /// # Errors
    /// [`Trouble`].
    fn restore(&mut self, entry: &Entry) -> Result<(), Trouble>;
    /// Lets the broker test its configuration.
    ///
    /// # Errors
    /// [`Trouble`] with its words.
    fn test(&mut self) -> Result<(), Trouble>;
    /// SIGHUP.
    ///
    /// # Errors
    /// [`Trouble`].
    fn reload(&mut self) -> Result<(), Trouble>;
    /// Stop and start.
    ///
    /// # Errors
    /// [`Trouble`].
    fn restart(&mut self) -> Result<(), Trouble>;
    /// Waits until what the files on disk ask for is served.
    ///
    /// # Errors
    /// [`Trouble`] when it is not served in time.
    fn listening(&mut self) -> Result<(), Trouble>;
    /// Proves the level of the listeners.
    ///
    /// # Errors
    /// [`Trouble`] with what was proved wrong.
    fn probe(&mut self) -> Result<(), Trouble>;
    /// Writes what runs; `None` removes it.
    ///
    /// # Errors
    /// [`Trouble`].
    fn record(&mut self, record: Option<&Value>) -> Result<(), Trouble>;
    /// Removes journal and copies.
    ///
    /// # Errors
    /// [`Trouble`].
    fn forget(&mut self) -> Result<(), Trouble>;
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// All deeds are done.
    Done,
    /// A deed failed, and everything was undone, or not.
    Undone {
        /// Which.
        deed: Deed,
        /// Why.
        because: Trouble,
        /// Whether files and broker are as they were.
        back: Result<Back, Trouble>,
    },
    /// The listeners are proved and stay; a deed after that failed, and the next run does the rest.
    Unfinished {
        /// Which.
        deed: Deed,
        /// Why.
        because: Trouble,
    },
}

/// What the way back did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Back {
    /// Files that were put back, or taken away again.
    pub files: usize,
    /// The broker was told again.
    pub told: bool,
}

/// What a journal asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovered {
    /// It had been decided: the rest was done.
    Finished,
    /// It had not: everything is as it was.
    Undone(Back),
}

/// The machine.
#[derive(Debug)]
pub struct Apply {
    orders: Orders,
    deeds: Vec<Deed>,
    next: usize,
    journal: Journal,
}

/// Whether there is more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// More.
    More,
    /// No.
    End(Ending),
}

impl Apply {
    /// Nothing is done yet.
    pub fn new(orders: Orders) -> Self {
        let mut deeds = vec![Deed::Remember];
        deeds.extend((0..orders.place.len()).map(Deed::Place));
        deeds.extend((0..orders.remove.len()).map(Deed::Remove));
        match orders.broker {
            Tell::Nothing => {}
            Tell::Reload => deeds.extend([Deed::Test, Deed::Mark, Deed::Reload, Deed::Await]),
            Tell::Restart => deeds.extend([Deed::Test, Deed::Mark, Deed::Restart, Deed::Await]),
        }
        if orders.probe {
            deeds.push(Deed::Probe);
        }
        deeds.extend([Deed::Decide, Deed::Record, Deed::Forget]);
        let journal = Journal {
            phase: Phase::Files,
            entries: Vec::new(),
            reload: orders.broker == Tell::Reload,
            record: orders.record.clone(),
        };
        Self {
            orders,
            deeds,
            next: 0,
            journal,
        }
    }

    /// What is done, in order.
    pub fn deeds(&self) -> &[Deed] {
        &self.deeds
    }

    /// Does one deed, or, when it fails, goes all the way back.
    pub fn step(&mut self, actions: &mut dyn Actions) -> Progress {
        let Some(deed) = self.deeds.get(self.next).cloned() else {
            return Progress::End(Ending::Done);
        };
        actions.say(&deed, &self.orders);
        match self.act(&deed, actions) {
            Ok(()) => {
                crash::point(deed.point());
                self.next += 1;
                if self.next == self.deeds.len() {
                    Progress::End(Ending::Done)
                } else {
                    Progress::More
                }
            }
            Err(because) if self.journal.phase == Phase::Decided => {
                Progress::End(Ending::Unfinished { deed, because })
            }
            Err(because) => Progress::End(Ending::Undone {
                deed,
                because,
                back: undo(&self.journal, actions),
            }),
        }
    }

    /// All steps.
    pub fn run(mut self, actions: &mut dyn Actions) -> Ending {
        loop {
            if let Progress::End(ending) = self.step(actions) {
                return ending;
            }
        }
    }

    fn act(&mut self, deed: &Deed, actions: &mut dyn Actions) -> Result<(), Trouble> {
        match deed {
            Deed::Remember => {
                let placed = self.orders.place.iter().map(|file| &file.path);
                let paths: Vec<PathBuf> = placed.chain(&self.orders.remove).cloned().collect();
                let mut entries = Vec::new();
                for (number, path) in paths.into_iter().enumerate() {
                    let previous = actions.keep(&path, number)?;
                    entries.push(Entry { path, previous });
                }
                self.journal.entries = entries;
                actions.note(&self.journal)
            }
            Deed::Place(index) => actions.place(&self.orders.place[*index]),
            Deed::Remove(index) => actions.remove(&self.orders.remove[*index]),
            Deed::Test => actions.test(),
            Deed::Mark => self.phase(Phase::Told, actions),
            Deed::Reload => actions.reload(),
            Deed::Restart => actions.restart(),
            Deed::Await => actions.listening(),
            Deed::Probe => actions.probe(),
            Deed::Decide => self.phase(Phase::Decided, actions),
            Deed::Record => actions.record(self.orders.record.as_ref()),
            Deed::Forget => actions.forget(),
        }
    }

    fn phase(&mut self, phase: Phase, actions: &mut dyn Actions) -> Result<(), Trouble> {
        let noted = Journal {
            phase,
            ..self.journal.clone()
        };
        if let Err(trouble) = actions.note(&noted) {
            // It may be on disk all the same, and a way back that is cut must not be taken for a decision.
            let _ = actions.note(&self.journal);
            return Err(trouble);
        }
        self.journal = noted;
        Ok(())
    }
}

/// What an earlier run left unfinished is undone, or finished.
///
/// # Errors
/// [`Trouble`]: the journal stays, and can be tried again.
pub fn recover(journal: &Journal, actions: &mut dyn Actions) -> Result<Recovered, Trouble> {
    if journal.phase == Phase::Decided {
        actions.record(journal.record.as_ref())?;
        actions.forget()?;
        return Ok(Recovered::Finished);
    }
    undo(journal, actions).map(Recovered::Undone)
}

/// The way back. It may be cut and repeated: what is restored already is restored again.
fn undo(journal: &Journal, actions: &mut dyn Actions) -> Result<Back, Trouble> {
    for entry in journal.entries.iter().rev() {
        actions.restore(entry)?;
        crash::point("gateway.undo.restored");
    }
    let told = journal.phase == Phase::Told;
    if told {
        let reloaded = journal.reload
            && actions
                .reload()
                .and_then(|()| actions.listening())
                .inspect(|()| crash::point("gateway.undo.told"))
                .is_ok();
        if !reloaded {
            // A broker that did not survive the reload, or the restart, is started.
            let but = |what: &'static str| {
                move |trouble: Trouble| Trouble {
                    sentence: format!("the files are as before, but the broker {what}: {trouble}"),
                    ..trouble
                }
            };
            actions
                .restart()
                .map_err(but("was not restarted with them"))?;
            crash::point("gateway.undo.told");
            actions
                .listening()
                .map_err(but("does not serve with them"))?;
        }
        crash::point("gateway.undo.serving");
    }
    actions.forget()?;
    Ok(Back {
        files: journal.entries.len(),
        told,
    })
}

impl Deed {
    /// Its crash point.
    const fn point(&self) -> &'static str {
        match self {
            Self::Remember => "gateway.apply.remembered",
            Self::Place(_) => "gateway.apply.placed",
            Self::Remove(_) => "gateway.apply.removed",
            Self::Test => "gateway.apply.tested",
            Self::Mark => "gateway.apply.marked",
            Self::Reload | Self::Restart => "gateway.apply.told",
            Self::Await => "gateway.apply.listening",
            Self::Probe => "gateway.apply.probed",
            Self::Decide => "gateway.apply.decided",
            Self::Record => "gateway.apply.recorded",
            Self::Forget => "gateway.apply.finished",
        }
    }
}

impl std::fmt::Display for Deed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Remember => "remembering what is there",
            Self::Place(_) => "writing a file",
            Self::Remove(_) => "removing a file",
            Self::Test => "testing the configuration",
            Self::Mark | Self::Decide => "writing the journal",
            Self::Reload => "reloading the broker",
            Self::Restart => "restarting the broker",
            Self::Await => "waiting for the listeners",
            Self::Probe => "probing the listeners",
            Self::Record => "recording what runs",
            Self::Forget => "removing the journal",
        })
    }
}

impl Trouble {
    /// Without a hint.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            hint: None,
        }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
