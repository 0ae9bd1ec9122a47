//! The device's settings store: what config commands write, and the saved `after`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sectag_keep::KeepError;
use sectag_proto::device::StoreFailure;

/// Bytes of a key, the limit of the firmware's settings store.
pub const KEY_BYTES_MAX: usize = 64;
/// Bytes of a value.
pub const VALUE_BYTES_MAX: usize = 4096;
/// Keys. A service that writes more than this has lost its way.
pub const KEYS_MAX: usize = 256;

/// Where settings go.
pub trait Settings {
    /// Stores a value; it is durable when this returns.
    ///
    /// # Errors
    /// [`StoreFailure`], as it is reported to the service.
    fn save(&mut self, key: &str, value: &str) -> Result<(), StoreFailure>;

    /// A stored value.
    fn load(&self, key: &str) -> Option<String>;
}

/// Settings in memory, for devices that are thrown away.
#[derive(Debug, Default, Clone)]
pub struct VolatileSettings(BTreeMap<String, String>);

impl Settings for VolatileSettings {
    fn save(&mut self, key: &str, value: &str) -> Result<(), StoreFailure> {
        admit(&self.0, key, value)?;
        self.0.insert(key.to_string(), value.to_string());
        Ok(())
    }

    fn load(&self, key: &str) -> Option<String> {
        self.0.get(key).cloned()
    }
}

/// Settings in one private JSON file.
#[derive(Debug)]
pub struct FileSettings {
    path: PathBuf,
    values: BTreeMap<String, String>,
}

/// Why settings could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file could not be read.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The file is not what was written.
    #[error("`{}` is not a JSON object of texts; move it away to start with empty settings", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl FileSettings {
    /// Opens the file; one that is missing is empty.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn open(path: &Path) -> Result<Self, SettingsError> {
        let values = match sectag_keep::read_private(path)? {
            None => BTreeMap::new(),
            Some(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| SettingsError::Damaged {
                    path: path.to_path_buf(),
                    source,
                })?
            }
        };
        Ok(Self {
            path: path.to_path_buf(),
            values,
        })
    }
}

impl Settings for FileSettings {
    fn save(&mut self, key: &str, value: &str) -> Result<(), StoreFailure> {
        admit(&self.values, key, value)?;
        if self.values.get(key).is_some_and(|there| there == value) {
            return Ok(());
        }
        let mut values = self.values.clone();
        values.insert(key.to_string(), value.to_string());
        let bytes = serde_json::to_vec_pretty(&values).map_err(|_| StoreFailure::Invalid)?;
        sectag_keep::write_private(&self.path, &bytes).map_err(|error| {
            tracing::warn!(
                key,
                error = &error as &dyn std::error::Error,
                "setting not stored"
            );
            StoreFailure::Io
        })?;
        self.values = values;
        Ok(())
    }

    fn load(&self, key: &str) -> Option<String> {
        self.values.get(key).cloned()
    }
}

fn admit(values: &BTreeMap<String, String>, key: &str, value: &str) -> Result<(), StoreFailure> {
    if key.is_empty() || value.len() > VALUE_BYTES_MAX {
        return Err(StoreFailure::Invalid);
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(StoreFailure::KeyTooBig);
    }
    if values.len() >= KEYS_MAX && !values.contains_key(key) {
        return Err(StoreFailure::NoMemory);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_value_is_there_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.json");
        let mut settings = FileSettings::open(&path).unwrap();
        settings.save("provisioning/interval-sec", "60").unwrap();
        let settings = FileSettings::open(&path).unwrap();
        assert_eq!(
            settings.load("provisioning/interval-sec").as_deref(),
            Some("60")
        );
    }

    #[test]
    fn keys_and_values_have_limits() {
        let mut settings = VolatileSettings::default();
        assert_eq!(
            settings.save(&"k".repeat(65), "1"),
            Err(StoreFailure::KeyTooBig)
        );
        assert_eq!(
            settings.save("k", &"v".repeat(4097)),
            Err(StoreFailure::Invalid)
        );
        for index in 0..KEYS_MAX {
            settings.save(&index.to_string(), "1").unwrap();
        }
        assert_eq!(settings.save("one more", "1"), Err(StoreFailure::NoMemory));
        assert_eq!(settings.save("0", "2"), Ok(()));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.json");
        sectag_keep::write_private(&path, b"[1]").unwrap();
        let error = FileSettings::open(&path).unwrap_err();
        assert!(error.to_string().contains("settings.json"));
    }
}
