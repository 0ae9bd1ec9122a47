//! What certificate the closed loop makes: `"issue": true`, or an object that says more.

use core::fmt;
use serde::de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Days that a certificate of the closed loop is valid, by default: two years.
pub const VALIDITY_DAYS_DEFAULT: u32 = 730;
/// Days at most: the issuing CA itself has ten years.
pub const VALIDITY_DAYS_MAX: u32 = 3650;

/// Which certificate the service makes from a CSR. Written as `true` when it is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedLoop {
    /// What is in it.
    pub profile: DeviceProfile,
    /// How long it is valid, 1 to [`VALIDITY_DAYS_MAX`]; never longer than the CA that signs it.
    pub validity_days: u32,
}

/// What is in a device's certificate. The subject is `CN=<device id>` and the purpose `clientAuth` in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeviceProfile {
    /// Key usage digitalSignature: what TLS with ephemeral keys needs, and nothing more.
    #[default]
    Client,
    /// Key usage digitalSignature and keyAgreement: for servers that look for the latter with ECDSA keys.
    ClientWithKeyAgreement,
}

impl DeviceProfile {
    /// As it is written in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::ClientWithKeyAgreement => "clientWithKeyAgreement",
        }
    }
}

impl Default for ClosedLoop {
    fn default() -> Self {
        Self {
            profile: DeviceProfile::default(),
            validity_days: VALIDITY_DAYS_DEFAULT,
        }
    }
}

impl ClosedLoop {
    /// Seconds of validity.
    pub const fn validity_s(&self) -> u64 {
        self.validity_days as u64 * 86_400
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Said {
    #[serde(default)]
    profile: DeviceProfile,
    #[serde(default = "default_days")]
    validity_days: u32,
}

const fn default_days() -> u32 {
    VALIDITY_DAYS_DEFAULT
}

/// Serde of `Option<ClosedLoop>` as a member that is absent, `false`, `true`, or an object.
pub(crate) mod member {
    use super::{ClosedLoop, Deserializer, Issue, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        issue: &Option<ClosedLoop>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        match issue {
            None => s.serialize_bool(false),
            Some(closed_loop) => closed_loop.serialize(s),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<ClosedLoop>, D::Error> {
        d.deserialize_any(Issue)
    }
}

impl Serialize for ClosedLoop {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if *self == Self::default() {
            return s.serialize_bool(true);
        }
        Said {
            profile: self.profile,
            validity_days: self.validity_days,
        }
        .serialize(s)
    }
}

struct Issue;

impl<'de> Visitor<'de> for Issue {
    type Value = Option<ClosedLoop>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "true, false, or an object such as {\"profile\": \"client\", \"validityDays\": 90}",
        )
    }

    fn visit_bool<E: serde::de::Error>(self, issue: bool) -> Result<Self::Value, E> {
        Ok(issue.then(ClosedLoop::default))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let said = Said::deserialize(MapAccessDeserializer::new(map))?;
        if said.validity_days == 0 || said.validity_days > VALIDITY_DAYS_MAX {
            return Err(A::Error::custom(format_args!(
                "validityDays {} is out of range: 1 to {VALIDITY_DAYS_MAX}",
                said.validity_days
            )));
        }
        Ok(Some(ClosedLoop {
            profile: said.profile,
            validity_days: said.validity_days,
        }))
    }
}
