//! Which keys each finding reads, so that whoever changes a key asks only for what the change can touch.
//!
//! ```text
//!   settings before ─┐
//!   settings after ──┼──► Asked ─┬─► Facts::gather_asked    the files of these findings
//!   keys as typed ───┘           └─► find_asked             these findings
//! ```
//!
//! A port cannot alter whether a certificate chains, so who sets one reads no certificate.

use std::collections::BTreeSet;

use super::FindingId::*;
use super::{Finding, FindingId, between};
use crate::settings::{Host, Settings};

/// The findings that somebody asks for.
#[derive(Debug, Clone)]
pub struct Asked(Vec<&'static Reads>);

/// What a finding reads.
#[derive(Debug)]
struct Reads {
    id: FindingId,
    /// The keys whose values it reads. The first is the one that it is about: the first of [`Finding::values`].
    keys: &'static [&'static str],
    /// Those of them whose files it looks into.
    files: &'static [&'static str],
    /// It also asks whether our clients go to the external listener; which port that is does not matter to it.
    meeting: bool,
}

impl Asked {
    /// All of them.
    pub fn everything() -> Self {
        Self(TABLE.iter().collect())
    }

    /// Those that a change can make, end or alter, and those about keys that were `typed`, be it with the same value.
    pub fn after(before: &Settings, after: &Settings, typed: &[&str]) -> Self {
        let mut changed = changed(before, after);
        changed.extend(typed);
        let meeting = between::meet(before) != between::meet(after);
        let touched = |row: &&Reads| {
            row.meeting && meeting || row.keys.iter().any(|key| changed.contains(key))
        };
        Self(TABLE.iter().filter(touched).collect())
    }

    /// There is nothing to look for.
    pub fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }

    /// Will somebody look into the file or directory of this key?
    pub(crate) fn opens(&self, key: &str) -> bool {
        self.0.iter().any(|row| row.files.contains(&key))
    }

    /// Are the system's stores of CAs to be known?
    pub(crate) fn system_stores(&self) -> bool {
        let authorities = [CA_PATH, CA_FILE, CA_DIR];
        let mut rows = self.0.iter();
        rows.any(|row| row.id == E19 || row.id == E20 && authorities.contains(&row.keys[0]))
    }

    /// Is the services' user to be known? Our clients' files are read as that user, the listener's as another.
    pub fn users(&self) -> bool {
        let mut rows = self.0.iter();
        rows.any(|row| matches!(row.id, E13 | E17 | E21) && row.keys[0].starts_with("mqtt.client."))
    }

    /// Are the machine's interfaces and names to be known, so that something is found? Loopback is known without; what a fix
    /// wants to know is another question: [`fixes_name_machine`].
    pub fn addresses(&self, settings: &Settings) -> bool {
        let loopback = |host: &Host| match host {
            Host::Ip(address) => address.is_loopback(),
            Host::Name(name) => name == "localhost",
        };
        let external = settings.external.as_ref();
        let elsewhere = external.is_some_and(|external| {
            external.interface.is_some() || external.address.iter().any(|host| !loopback(host))
        });
        !loopback(&settings.client.host) && self.any(&[E9, E10, E11, E14])
            || elsewhere && self.any(&[E4, E5, E6, E14, E16])
    }

    /// Is one of these asked for, about whatever key?
    pub(super) fn any(&self, ids: &[FindingId]) -> bool {
        self.0.iter().any(|row| ids.contains(&row.id))
    }

    pub(super) fn wants(&self, finding: &Finding) -> bool {
        let about = finding.values.first();
        let about = about.map(|(key, _)| key.as_str()).unwrap_or_default();
        let mut rows = self.0.iter();
        rows.any(|row| row.id == finding.id && row.keys[0] == about)
    }
}

/// Does a fix among these name the machine? Then its interfaces and names are to be known, and [`find_asked`](super::find_asked)
/// asked again: the findings stay the same, and their fixes become better.
pub fn fixes_name_machine(findings: &[Finding]) -> bool {
    findings
        .iter()
        .any(|finding| matches!(finding.id, E9 | E12))
}

/// The keys whose values differ, whether somebody set them or they are inferred.
fn changed<'a>(before: &Settings, after: &Settings) -> BTreeSet<&'a str> {
    let mut keys = BTreeSet::new();
    let mut compare = |key, same: bool| {
        if !same {
            keys.insert(key);
        }
    };
    let (one, two) = (&before.internal, &after.internal);
    compare(BIND_ENABLED, one.enabled == two.enabled);
    compare(BIND_ADDRESS, one.address == two.address);
    compare(BIND_PORT, one.port == two.port);
    let (one, two) = (before.external.as_ref(), after.external.as_ref());
    macro_rules! of_listener {
        ($field:ident) => {
            one.map(|external| &external.$field) == two.map(|external| &external.$field)
        };
    }
    compare(PORT, of_listener!(port));
    compare(ADDRESS, of_listener!(address));
    compare(INTERFACE, of_listener!(interface));
    compare(CA_PATH, of_listener!(ca_path));
    compare(CERT, of_listener!(cert_file));
    compare(KEY, of_listener!(key_file));
    compare(CRL, of_listener!(crl_file));
    let (one, two) = (&before.client, &after.client);
    compare(HOST, one.host == two.host);
    compare(CLIENT_PORT, one.port == two.port);
    compare(SERVER_NAME, one.server_name == two.server_name);
    compare(CA_FILE, one.ca_file == two.ca_file);
    compare(CA_DIR, one.ca_dir == two.ca_dir);
    compare(CLIENT_CERT, one.cert_file == two.cert_file);
    compare(CLIENT_KEY, one.key_file == two.key_file);
    compare(USERNAME, one.username == two.username);
    compare(PASSWORD, one.password_file == two.password_file);
    let (one, two) = (before.minimum_validity_s, after.minimum_validity_s);
    compare(MINIMUM, one == two);
    keys
}

/// One that reads values only.
const fn values(id: FindingId, keys: &'static [&'static str]) -> Reads {
    Reads {
        id,
        keys,
        files: &[],
        meeting: false,
    }
}

/// One that looks into every file that its keys name.
const fn files(id: FindingId, keys: &'static [&'static str]) -> Reads {
    Reads {
        files: keys,
        ..values(id, keys)
    }
}

/// One about our clients at the external listener, with the files that it looks into.
const fn meeting(
    id: FindingId,
    keys: &'static [&'static str],
    files: &'static [&'static str],
) -> Reads {
    Reads {
        id,
        keys,
        files,
        meeting: true,
    }
}

const BIND_ENABLED: &str = "mqtt.bind.enabled";
const BIND_ADDRESS: &str = "mqtt.bind.address";
const BIND_PORT: &str = "mqtt.bind.port";
const PORT: &str = "mqtt.external.bind.port";
const ADDRESS: &str = "mqtt.external.bind.address";
const INTERFACE: &str = "mqtt.external.bind.interface";
const CA_PATH: &str = "mqtt.external.ca_path";
const CERT: &str = "mqtt.external.cert_file";
const KEY: &str = "mqtt.external.key_file";
const CRL: &str = "mqtt.external.crl_file";
const HOST: &str = "mqtt.client.host";
const CLIENT_PORT: &str = "mqtt.client.port";
const SERVER_NAME: &str = "mqtt.client.server_name";
const CA_FILE: &str = "mqtt.client.auth.ca_file";
const CA_DIR: &str = "mqtt.client.auth.ca_dir";
const CLIENT_CERT: &str = "mqtt.client.auth.cert_file";
const CLIENT_KEY: &str = "mqtt.client.auth.key_file";
const USERNAME: &str = "mqtt.client.auth.username";
const PASSWORD: &str = "mqtt.client.auth.password_file";
const MINIMUM: &str = "certificate.validity.minimum_duration";

/// One row for each finding and key that it can be about.
#[rustfmt::skip]
static TABLE: &[Reads] = &[
    // the listeners
    values(E1, &[CERT, KEY]),
    values(E1, &[KEY, CERT]),
    values(E3, &[CA_PATH, CRL, CERT, KEY]),
    values(E3, &[CRL, CA_PATH, CERT, KEY]),
    values(E4, &[PORT, ADDRESS, INTERFACE, BIND_ENABLED, BIND_ADDRESS, BIND_PORT]),
    values(E5, &[ADDRESS, INTERFACE]),
    values(E6, &[INTERFACE, ADDRESS]),
    values(E6, &[ADDRESS, INTERFACE]),
    files(E8, &[CA_PATH]),
    files(E8, &[CRL]),
    files(E12, &[CERT]),
    files(E13, &[CERT, KEY]),
    files(E13, &[KEY, CERT]),
    values(E16, &[PORT, ADDRESS, INTERFACE, CERT, KEY, CA_PATH, CRL]),
    values(E16, &[BIND_ADDRESS, BIND_ENABLED, BIND_PORT]),
    files(E18, &[CA_PATH]),
    files(E19, &[CA_PATH]),
    files(E20, &[CERT, MINIMUM]),
    files(E20, &[CA_PATH, MINIMUM]),
    files(E20, &[CRL, MINIMUM]),
    files(E21, &[KEY]),
    files(E21, &[CERT]),
    files(E21, &[CA_PATH]),
    files(E21, &[CRL]),
    // our clients
    values(E1, &[CLIENT_CERT, CLIENT_KEY]),
    values(E1, &[CLIENT_KEY, CLIENT_CERT]),
    values(E7, &[CLIENT_CERT, CLIENT_KEY, SERVER_NAME, CA_FILE, CA_DIR]),
    values(E7, &[CLIENT_KEY, CLIENT_CERT, SERVER_NAME, CA_FILE, CA_DIR]),
    values(E7, &[SERVER_NAME, CLIENT_CERT, CLIENT_KEY, CA_FILE, CA_DIR]),
    files(E8, &[CA_FILE]),
    files(E8, &[CA_DIR, CA_FILE]),
    files(E12, &[CLIENT_CERT]),
    files(E13, &[CLIENT_CERT, CLIENT_KEY]),
    files(E13, &[CLIENT_KEY, CLIENT_CERT]),
    values(E15, &[CLIENT_PORT, CA_FILE, CA_DIR, CLIENT_CERT, CLIENT_KEY, SERVER_NAME]),
    files(E17, &[PASSWORD, USERNAME]),
    files(E20, &[CLIENT_CERT, MINIMUM]),
    files(E20, &[CA_FILE, CA_DIR, MINIMUM]),
    files(E20, &[CA_DIR, CA_FILE, MINIMUM]),
    files(E21, &[CLIENT_KEY]),
    files(E21, &[PASSWORD]),
    files(E21, &[CLIENT_CERT]),
    files(E21, &[CA_FILE]),
    files(E21, &[CA_DIR]),
    // both
    meeting(E9, &[HOST, SERVER_NAME, CERT, CA_FILE, CA_DIR, CLIENT_CERT, CLIENT_KEY], &[CERT]),
    meeting(E9, &[SERVER_NAME, HOST, CERT, CA_FILE, CA_DIR, CLIENT_CERT, CLIENT_KEY], &[CERT]),
    meeting(E10, &[HOST, CERT, CA_FILE, CA_DIR], &[CERT, CA_FILE, CA_DIR]),
    meeting(E11, &[CA_PATH, CRL, HOST, CLIENT_CERT], &[CA_PATH, CRL, CLIENT_CERT]),
    values(E14, &[
        HOST, CLIENT_PORT, SERVER_NAME, CA_FILE, CA_DIR, CLIENT_CERT, CLIENT_KEY,
        PORT, ADDRESS, INTERFACE, CERT, KEY, CA_PATH, CRL,
        BIND_ENABLED, BIND_ADDRESS, BIND_PORT,
    ]),
];
