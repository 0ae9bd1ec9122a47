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
        // Paths below it stand in TOML, JSON and the broker's files.
        if std::path::absolute(&home)?.to_str().is_none() {
            return Err(Fault::untried(format!(
                "the home `{}` is not written in UTF-8",
                home.display()
            ))
            .hint("rename it, or choose another with --home DIR"));
        }
        Ok(Self { home })
    }

    /// What `sectag up` wrote about itself: addresses and process id; `None` when nothing was written.
    pub(crate) fn running(&self) -> Option<Value> {
        serde_json::from_slice(&std::fs::read(self.home.join("run.json")).ok()?).ok()
    }
}
