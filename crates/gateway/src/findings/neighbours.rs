//! Pairs of services beside the broker: file transfer and the clouds' HTTP proxies (E1, E3).

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Finding, FindingId, Severity, half_pair};
use crate::config::Config;
use crate::keys::{KeyName, Profile, Slot};

/// Certificate, key, and the CA of clients where there is one.
const PAIRS: [(&str, &str, Option<&str>); 3] = [
    ("http.cert_path", "http.key_path", Some("http.ca_path")),
    (
        "http.client.auth.cert_file",
        "http.client.auth.key_file",
        None,
    ),
    (
        "c8y.proxy.cert_path",
        "c8y.proxy.key_path",
        Some("c8y.proxy.ca_path"),
    ),
];

/// What is wrong with the pairs of services beside the broker, whose TLS is theirs to speak (RULE 11).
pub fn of_neighbours(config: &Config) -> Vec<Finding> {
    let profiles: BTreeSet<&Profile> = config
        .profiled()
        .filter_map(|slot| slot.profile.as_ref())
        .collect();
    let mut found = Vec::new();
    for (cert, key, ca) in PAIRS {
        let of_profile = |profile| look(config, profile, cert, key, ca);
        found.extend(of_profile(None));
        if KeyName::exact(cert).is_some_and(|cert| cert.key().profiled) {
            let profiles = profiles.iter().copied();
            found.extend(profiles.filter_map(|profile| of_profile(Some(profile))));
        }
    }
    found
}

fn look(
    config: &Config,
    profile: Option<&Profile>,
    cert: &str,
    key: &str,
    ca: Option<&str>,
) -> Option<Finding> {
    let value = |name: &str| -> Option<(String, Option<PathBuf>)> {
        let slot = Slot {
            key: KeyName::exact(name)?,
            profile: profile.cloned(),
        };
        // A value that is none is told already.
        if config.problem(&slot).is_some() {
            return None;
        }
        let value = config.value(&slot);
        let path = value.and_then(|(value, _)| Some(value.as_path()?.to_owned()));
        Some((slot.name(), path))
    };
    let ((cert, cert_path), (key, key_path)) = (value(cert)?, value(key)?);
    if cert_path.is_some() || key_path.is_some() {
        return half_pair(&cert, cert_path.as_ref(), &key, key_path.as_ref());
    }
    let (ca, Some(path)) = value(ca?)? else {
        return None;
    };
    let sentence =
        format!("{ca} is set, but neither {cert} nor {key} is, and client certificates need TLS");
    let fix = [
        format!("sectag config set {cert} <path> {key} <path>"),
        format!("sectag config unset {ca}"),
    ];
    Some(
        Finding::new(FindingId::E3, Severity::Error, sentence)
            .value(ca, path.display())
            .fix(&fix),
    )
}
