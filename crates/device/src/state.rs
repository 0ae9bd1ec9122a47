//! Where a device on this machine keeps itself: `<home>/devices/<name>`, private, one process at a time.

use std::path::{Path, PathBuf};

use sectag_keep::{KeepError, Lock};
use sectag_modem::{OpenError, Options};
use sectag_proto::DeviceId;

use crate::hosted::HostedModem;
use crate::settings::{FileSettings, SettingsError};

/// Characters of a device name.
const NAME_CHARS_MAX: usize = 64;

/// An opened state directory. Whoever holds it is the device.
#[derive(Debug)]
pub struct DeviceState {
    dir: PathBuf,
    _lock: Lock,
}

/// Why a state directory could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Not usable as the name of a folder.
    #[error(
        "`{0}` is not a device name: 1 to 64 letters, digits, `-`, `_` and `.`, not beginning with `.`"
    )]
    Name(String),
    /// The folder could not be made private, or another process holds it.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The modem's part.
    #[error(transparent)]
    Modem(#[from] OpenError),
    /// The settings' part.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

impl DeviceState {
    /// The device `name` of a home.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open_named(home: &Path, name: &str) -> Result<Self, StateError> {
        let dir = Self::folder(home, name)?;
        sectag_keep::private_dir(&home.join("devices"))?;
        Self::open(&dir)
    }

    /// Where the device `name` of a home lives; nothing is made or opened.
    ///
    /// # Errors
    /// [`StateError::Name`].
    pub fn folder(home: &Path, name: &str) -> Result<PathBuf, StateError> {
        let travels = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty()
            || name.len() > NAME_CHARS_MAX
            || name.starts_with('.')
            || !name.chars().all(travels)
        {
            return Err(StateError::Name(
                name.chars().take(NAME_CHARS_MAX).collect(),
            ));
        }
        Ok(home.join("devices").join(name))
    }

    /// The device in `dir`, which is made when it is missing.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        sectag_keep::private_dir(dir)?;
        let lock = sectag_keep::lock(&dir.join("device.lock"))?;
        Ok(Self {
            dir: dir.to_path_buf(),
            _lock: lock,
        })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The virtual modem that lives here; a new one on first use.
    ///
    /// # Errors
    /// [`StateError::Modem`].
    pub fn modem(&self, options: Options) -> Result<HostedModem, StateError> {
        Ok(HostedModem::open(&self.dir, options)?)
    }

    /// The settings stored here.
    ///
    /// # Errors
    /// [`StateError::Settings`].
    pub fn settings(&self) -> Result<FileSettings, StateError> {
        Ok(FileSettings::open(&self.dir.join("settings.json"))?)
    }

    /// The settings of a modem that does not live here: those of one module do not reach another.
    ///
    /// # Errors
    /// [`StateError::Settings`].
    pub fn settings_of(&self, id: &DeviceId) -> Result<FileSettings, StateError> {
        let file = format!("settings-{id}.json");
        Ok(FileSettings::open(&self.dir.join(file))?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::verbs;

    #[test]
    fn a_device_is_the_same_one_when_it_comes_back() {
        let home = tempfile::tempdir().unwrap();
        let uuid = || {
            let state = DeviceState::open_named(home.path(), "a").unwrap();
            verbs::uuid(&mut state.modem(Options::default()).unwrap()).unwrap()
        };
        assert_eq!(uuid(), uuid());
    }

    #[test]
    fn a_device_can_be_held_once() {
        let home = tempfile::tempdir().unwrap();
        let _held = DeviceState::open_named(home.path(), "a").unwrap();
        assert!(matches!(
            DeviceState::open_named(home.path(), "a"),
            Err(StateError::Keep(_))
        ));
    }

    #[test]
    fn a_name_cannot_leave_the_home() {
        let home = tempfile::tempdir().unwrap();
        for name in ["", "..", ".a", "a/b", "a b", &"x".repeat(65)] {
            assert!(matches!(
                DeviceState::open_named(home.path(), name),
                Err(StateError::Name(_))
            ));
        }
    }
}
