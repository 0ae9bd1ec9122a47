//! An apply that is cut after any deed, or in which any deed fails: the world ends old or new as a whole, never between.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sectag_gateway::plan::{FileChange, NewContent};
use sectag_host::apply::{
    Actions, Apply, Deed, Ending, Orders, Progress, Recovered, Tell, Trouble, recover,
};
use sectag_host::journal::{Entry, Journal, Phase, Previous};
use serde_json::{Value, json};

type Files = BTreeMap<PathBuf, String>;

/// Files, a broker that has read them at some time, and what survives a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
struct World {
    files: Files,
    /// What the broker runs with.
    loaded: Files,
    copies: Files,
    journal: Option<Journal>,
    record: Option<Value>,
    /// Actions until one fails; then all succeed.
    fails_in: Option<usize>,
    /// The broker does not serve with these.
    refuses: Option<String>,
}

impl World {
    fn new() -> Self {
        let files = Files::from([
            ("/main".into(), "old main".into()),
            ("/key".into(), "old key".into()),
            ("/stale".into(), "old stale".into()),
        ]);
        Self {
            loaded: files.clone(),
            files,
            copies: Files::new(),
            journal: None,
            record: Some(json!("old")),
            fails_in: None,
            refuses: None,
        }
    }

    fn orders(broker: Tell) -> Orders {
        let place = |path: &str, text: &str| FileChange {
            path: path.into(),
            old: None,
            new: NewContent::Text(text.into()),
            diff: String::new(),
            mode: None,
            owner: None,
            why: String::new(),
        };
        Orders {
            place: vec![
                place("/key", "new key"),
                place("/fragment", "new fragment"),
                place("/main", "new main"),
            ],
            remove: vec!["/stale".into()],
            broker,
            probe: true,
            record: Some(json!("new")),
        }
    }

    fn act(&mut self) -> Result<(), Trouble> {
        match &mut self.fails_in {
            Some(0) => {
                self.fails_in = None;
                Err(Trouble::new("it failed"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn serves(&self) -> Result<(), Trouble> {
        let bad = |text: &String| Some(text) == self.refuses.as_ref();
        if self.loaded.values().any(bad) {
            return Err(Trouble::new("nothing listens"));
        }
        Ok(())
    }

    #[track_caller]
    fn is(&self, which: &str) {
        let words: Vec<&str> = self
            .files
            .values()
            .map(|text| text.split(' ').next().unwrap())
            .collect();
        assert!(words.iter().all(|word| *word == which), "{self:#?}");
        assert_eq!(self.files.len(), 3, "{self:#?}");
        assert_eq!(self.record, Some(json!(which)), "{self:#?}");
        assert_eq!((&self.journal, self.copies.len()), (&None, 0), "{self:#?}");
    }
}

impl Actions for World {
    fn say(&mut self, _: &Deed, _: &Orders) {}

    fn keep(&mut self, path: &Path, number: usize) -> Result<Option<Previous>, Trouble> {
        self.act()?;
        let Some(text) = self.files.get(path) else {
            return Ok(None);
        };
        let copy = PathBuf::from(number.to_string());
        self.copies.insert(copy.clone(), text.clone());
        Ok(Some(Previous {
            copy,
            mode: 0o600,
            uid: 0,
            gid: 0,
        }))
    }

    fn note(&mut self, journal: &Journal) -> Result<(), Trouble> {
        self.act()?;
        self.journal = Some(journal.clone());
        Ok(())
    }

    fn place(&mut self, file: &FileChange) -> Result<(), Trouble> {
        self.act()?;
        let NewContent::Text(text) = &file.new else {
            unreachable!("there are no copies here")
        };
        self.files.insert(file.path.clone(), text.clone());
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> Result<(), Trouble> {
        self.act()?;
        self.files.remove(path);
        Ok(())
    }

    fn restore(&mut self, entry: &Entry) -> Result<(), Trouble> {
        self.act()?;
        match &entry.previous {
            Some(previous) => {
                let text = self.copies[&previous.copy].clone();
                self.files.insert(entry.path.clone(), text);
            }
            None => {
                self.files.remove(&entry.path);
            }
        }
        Ok(())
    }

    fn test(&mut self) -> Result<(), Trouble> {
        self.act()
    }

    fn reload(&mut self) -> Result<(), Trouble> {
        self.act()?;
        self.loaded = self.files.clone();
        Ok(())
    }

    fn restart(&mut self) -> Result<(), Trouble> {
        self.reload()
    }

    fn listening(&mut self) -> Result<(), Trouble> {
        self.act()?;
        self.serves()
    }

    fn probe(&mut self) -> Result<(), Trouble> {
        self.act()
    }

    fn record(&mut self, record: Option<&Value>) -> Result<(), Trouble> {
        self.act()?;
        self.record = record.cloned();
        Ok(())
    }

    fn forget(&mut self) -> Result<(), Trouble> {
        self.act()?;
        self.journal = None;
        self.copies.clear();
        Ok(())
    }
}

/// What the next run does first.
fn settle(world: &mut World) -> Option<Recovered> {
    let journal = world.journal.clone()?;
    Some(recover(&journal, world).unwrap())
}

#[test]
fn a_cut_after_any_deed_is_settled_by_the_next_run() {
    for broker in [Tell::Nothing, Tell::Reload, Tell::Restart] {
        let deeds = Apply::new(World::orders(broker)).deeds().to_vec();
        for cut in 0..=deeds.len() {
            let mut world = World::new();
            let mut apply = Apply::new(World::orders(broker));
            for _ in 0..cut {
                apply.step(&mut world);
            }
            let told = world.journal.as_ref().map(|journal| journal.phase);
            match settle(&mut world) {
                None if cut == 0 => world.is("old"),
                None | Some(Recovered::Finished) => world.is("new"),
                Some(Recovered::Undone(back)) => {
                    assert_eq!(back.told, told == Some(Phase::Told));
                    world.is("old");
                }
            }
            if broker != Tell::Nothing {
                assert_eq!(world.loaded, world.files, "cut after {cut} of {deeds:?}");
            }
        }
    }
}

#[test]
fn a_failure_of_any_action_goes_all_the_way_back() {
    for broker in [Tell::Nothing, Tell::Reload, Tell::Restart] {
        let mut failures = 0;
        for fails_in in 0.. {
            let mut world = World::new();
            world.fails_in = Some(fails_in);
            let ending = Apply::new(World::orders(broker)).run(&mut world);
            match ending {
                Ending::Done => {
                    world.fails_in = None;
                    world.is("new");
                    break;
                }
                Ending::Undone { deed, back, .. } => {
                    failures += 1;
                    assert!(back.is_ok(), "{deed:?}");
                    assert_eq!(settle(&mut world), None);
                    world.is("old");
                }
                Ending::Unfinished { deed, .. } => {
                    failures += 1;
                    assert!(matches!(deed, Deed::Record | Deed::Forget), "{deed:?}");
                    assert_eq!(settle(&mut world), Some(Recovered::Finished));
                    world.is("new");
                }
            }
        }
        assert!(failures > 10);
    }
}

#[test]
fn a_broker_that_does_not_take_the_new_files_has_the_old_ones() {
    for broker in [Tell::Reload, Tell::Restart] {
        let mut world = World::new();
        world.refuses = Some("new fragment".to_owned());
        let ending = Apply::new(World::orders(broker)).run(&mut world);
        let Ending::Undone {
            deed: Deed::Await,
            back: Ok(back),
            ..
        } = ending
        else {
            panic!("{ending:?}")
        };
        assert!(back.told && back.files == 4);
        world.is("old");
        assert_eq!(world.loaded, world.files);
    }
}

#[test]
fn a_way_back_that_is_cut_anywhere_can_be_gone_again() {
    for fails_in in 0..10 {
        let mut world = World::new();
        let mut apply = Apply::new(World::orders(Tell::Restart));
        while world.journal.as_ref().map(|journal| journal.phase) != Some(Phase::Told) {
            assert_eq!(apply.step(&mut world), Progress::More);
        }
        apply.step(&mut world);
        world.fails_in = Some(fails_in);
        let journal = world.journal.clone().unwrap();
        let first = recover(&journal, &mut world);
        if first.is_err() {
            assert!(
                world.journal.is_some(),
                "what cannot be undone is not forgotten"
            );
        }
        world.fails_in = None;
        settle(&mut world);
        world.is("old");
        assert_eq!(world.loaded, world.files);
    }
}
