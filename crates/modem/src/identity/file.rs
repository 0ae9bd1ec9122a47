//! An identity from a file, for a modem that has to be a certain one.

use std::path::{Path, PathBuf};

use sectag_keep::KeepError;
use sectag_proto::token::DeviceType;
use sectag_proto::{DeviceId, FirmwareId};
use serde::Deserialize;
use zeroize::Zeroize;

use super::Identity;
use crate::key::PrivateKey;

/// Longest firmware name; the client's buffer for it is 64.
const FIRMWARE_NAME_CHARS_MAX: usize = 63;

/// Why a file holds no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Missing, unreadable, or open to others.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// No such file.
    #[error("there is no file `{}`", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
    },
    /// It is there and does not make sense.
    #[error("`{}` is no identity of a modem: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, without its content.
        reason: String,
    },
}

impl IdentityError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Keep(error) => error.hint(),
            Self::NoFile { .. } => None,
            Self::Content { .. } => Some(
                "it is JSON with any of device, device_type, firmware, firmware_name, imei and identity_key (PEM); what is missing is drawn"
                    .to_owned(),
            ),
        }
    }
}

impl Identity {
    /// Reads an identity:
    ///
    /// ```json
    /// {
    ///   "device": "50363154-3931-44f0-8022-121b6401627d",
    ///   "device_type": 6,
    ///   "firmware": "6f1c2d3e-4a5b-4c6d-8e7f-90a1b2c3d4e5",
    ///   "firmware_name": "mfw_nrf91x1_2.0.2",
    ///   "imei": "350000000000006",
    ///   "identity_key": "-----BEGIN PRIVATE KEY-----\\n…"
    /// }
    /// ```
    ///
    /// Each field may be missing: it is then that of `base`. The file must be private (0600), since whoever has the key is
    /// the device.
    ///
    /// # Errors
    /// [`IdentityError`]
    pub fn from_file(path: &Path, base: Self) -> Result<Self, IdentityError> {
        let bytes = sectag_keep::read_private(path)?.ok_or_else(|| IdentityError::NoFile {
            path: path.to_owned(),
        })?;
        let wrong = |reason: &str| IdentityError::Content {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        // Never the text of the parser: it can quote the key.
        let layout: Layout = serde_json::from_slice(&bytes).map_err(|error| {
            wrong(&format!(
                "line {} column {}: {}",
                error.line(),
                error.column(),
                match error.classify() {
                    serde_json::error::Category::Data =>
                        "an unknown field, or one of the wrong form",
                    _ => "not JSON",
                }
            ))
        })?;
        let mut identity = base;
        if let Some(pem) = &layout.identity_key {
            identity.key = PrivateKey::from_pem(&pem.0)
                .ok_or_else(|| wrong("identity_key is not a P-256 private key in PEM"))?;
        }
        if let Some(imei) = layout.imei {
            if imei.len() != 15 || !imei.bytes().all(|b| b.is_ascii_digit()) {
                return Err(wrong("imei does not have 15 digits"));
            }
            identity.imei = imei;
        }
        if let Some(name) = layout.firmware_name {
            let printable = name.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
            if name.is_empty() || name.len() > FIRMWARE_NAME_CHARS_MAX || !printable {
                return Err(wrong(
                    "firmware_name is not 1 to 63 letters, digits and signs",
                ));
            }
            identity.firmware_name = name;
        }
        identity.device = layout.device.unwrap_or(identity.device);
        identity.firmware = layout.firmware.unwrap_or(identity.firmware);
        identity.device_type = layout.device_type.map_or(identity.device_type, DeviceType);
        Ok(identity)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Layout {
    device: Option<DeviceId>,
    device_type: Option<u32>,
    firmware: Option<FirmwareId>,
    firmware_name: Option<String>,
    imei: Option<String>,
    identity_key: Option<Pem>,
}

/// Forgotten on drop.
#[derive(Deserialize)]
#[serde(transparent)]
struct Pem(String);

impl Drop for Pem {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sectag_proto::es256::SignEs256;

    fn read(text: &str) -> Result<Identity, IdentityError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity.json");
        sectag_keep::write_private(&path, text.as_bytes()).unwrap();
        Identity::from_file(&path, Identity::from_seed(1))
    }

    #[test]
    fn what_is_given_is_taken_and_the_rest_is_the_bases() {
        let key = PrivateKey::generate(&mut *crate::seeded(9)).unwrap();
        let pem = key.to_pem().unwrap().replace('\n', "\\n");
        let identity = read(&format!(
            r#"{{"device":"50363154-3931-44f0-8022-121b6401627d","imei":"350000000000006","identity_key":"{pem}"}}"#
        ))
        .unwrap();
        assert_eq!(
            identity.device.to_string(),
            "50363154-3931-44f0-8022-121b6401627d"
        );
        assert_eq!(identity.imei, "350000000000006");
        assert_eq!(identity.public_key(), key.public_key());
        assert_eq!(identity.firmware_name, Identity::FIRMWARE_NAME);
        assert_eq!(read("{}").unwrap().device, Identity::from_seed(1).device);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_content() {
        for (text, reason) in [
            ("", "not JSON"),
            (r#"{"imei":"12"}"#, "15 digits"),
            (r#"{"firmware_name":"a b"}"#, "firmware_name"),
            (r#"{"device":"hello"}"#, "wrong form"),
            (r#"{"identity_key":"c0ffee"}"#, "identity_key"),
            (r#"{"key":"c0ffee"}"#, "unknown field"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
            assert!(!error.to_string().contains("c0ffee"), "{error}");
            assert!(error.hint().is_some());
        }
        let nowhere = Identity::from_file(Path::new("/nowhere/at/all"), Identity::from_seed(1));
        assert!(nowhere.is_err());
    }
}
