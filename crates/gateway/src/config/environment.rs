//! Where configuration comes from, as values.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The variables of an environment.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Names of variables of ours whose value is not UTF-8.
    not_text: Vec<String>,
}

/// Prefix of all variables.
pub(super) const PREFIX: &str = "TEDGE_";
/// Where the file is.
const CONFIG_DIR: &str = "TEDGE_CONFIG_DIR";
/// The cloud profile of a command.
const CLOUD_PROFILE: &str = "TEDGE_CLOUD_PROFILE";

impl Environment {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self::new(std::env::vars_os())
    }

    /// Those of `variables` that are ours.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            let Ok(name) = name.into_string() else {
                continue;
            };
            if !name.starts_with(PREFIX) {
                continue;
            }
            match value.into_string() {
                Ok(value) => {
                    environment.variables.insert(name, value);
                }
                Err(_) => environment.not_text.push(name),
            }
        }
        environment
    }

    /// The cloud profile that is chosen by `TEDGE_CLOUD_PROFILE`.
    pub fn profile(&self) -> Option<&str> {
        self.variables
            .get(CLOUD_PROFILE)
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }

    /// Names behind the prefix and values, without those that are no keys by design.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .filter(|(name, _)| ![CONFIG_DIR, CLOUD_PROFILE].contains(&name.as_str()))
            .map(|(name, value)| (&name[PREFIX.len()..], value.as_str()))
    }

    pub(super) fn not_text(&self) -> &[String] {
        &self.not_text
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A password may be among the values.
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// Which file is meant, and against what relative paths count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locations {
    /// The configuration directory, absolute.
    pub dir: PathBuf,
    /// The caller's working directory.
    pub cwd: PathBuf,
}

impl Locations {
    /// The given directory, else `TEDGE_CONFIG_DIR` if it is not empty, else the home; never `/etc/tedge` unasked.
    pub fn choose(
        given: Option<&Path>,
        environment: &Environment,
        home: &Path,
        cwd: &Path,
    ) -> Self {
        let from_environment = environment.variables.get(CONFIG_DIR);
        let from_environment = from_environment.map(Path::new);
        let dir = given
            .or(from_environment)
            .filter(|dir| !dir.as_os_str().is_empty())
            .unwrap_or(home);
        Self {
            // Not cleaned: `..` behind a link means what the system says it means.
            dir: cwd.join(dir),
            cwd: cwd.to_owned(),
        }
    }

    /// The file that commands edit.
    pub fn file(&self) -> PathBuf {
        self.dir.join("tedge.toml")
    }
}
