//! Where the home is, and what runs there.

use crate::fault::{Fault, Outcome};
use serde_json::Value;
use std::path::PathBuf;

/// The home directory that all commands of one invocation use.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) home: PathBuf,
}

impl Place {
    /// `--home`, `SECTAG_HOME`, or `sectag` in the XDG data directory.
    pub(crate) fn new(given: Option<PathBuf>) -> Outcome<Self> {
        let set = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let home = given
            .or_else(|| {
                set("XDG_DATA_HOME")
                    .filter(|path| path.is_absolute())
                    .map(|path| path.join("sectag"))
            })
            .or_else(|| set("HOME").map(|path| path.join(".local/share/sectag")))
            .ok_or_else(|| {
                Fault::untried("no home directory: neither HOME nor XDG_DATA_HOME is set")
                    .hint("give --home DIR")
            })?;
        Ok(Self { home })
    }

    /// What `sectag up` wrote about itself: addresses and process id; `None` when nothing was written.
    pub(crate) fn running(&self) -> Option<Value> {
        serde_json::from_slice(&std::fs::read(self.home.join("run.json")).ok()?).ok()
    }
}
