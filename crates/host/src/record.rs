//! What the last `apply` applied: the settings, and digests of what was in the files. It answers "what changed since?".

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sectag_gateway::Settings;
use sectag_gateway::config::{Config, Locations};
use sectag_gateway::document::Document;
use sectag_gateway::restart::Content;
use sectag_keep::KeepError;
use serde_json::{Map, Value, json};

use crate::waiting::Waiting;

const FORMAT: u64 = 1;

/// What runs since the last `apply`, as far as it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The keys in effect.
    pub settings: Settings,
    /// Digest of each kind of content.
    pub contents: BTreeMap<&'static str, String>,
    /// Files of ours on this machine: the listener's file, and copies for the broker.
    pub files: Vec<PathBuf>,
    /// Unix seconds.
    pub at_s: u64,
}

/// Every content that can change while its path stays.
const CONTENTS: [(Content, &str); 5] = [
    (Content::ServerPair, "server-pair"),
    (Content::ClientsAuthority, "clients-authority"),
    (Content::RevocationList, "revocation-list"),
    (Content::ClientFiles, "client-files"),
    (Content::Access, "access"),
];

impl Record {
    /// What these settings and files are once those that wait are in place.
    pub fn of(settings: &Settings, waiting: &Waiting, files: Vec<PathBuf>, at_s: u64) -> Self {
        let contents = CONTENTS
            .iter()
            .filter_map(|(content, name)| Some((*name, digest(settings, *content, waiting)?)))
            .collect();
        Self {
            settings: settings.clone(),
            contents,
            files,
            at_s,
        }
    }

    /// Contents that differ from `self`, of files that both name.
    pub fn changed(&self, settings: &Settings) -> Vec<Content> {
        let is_other = |(content, name): &&(Content, &'static str)| {
            matches!(
                (self.contents.get(name), digest(settings, *content, &Waiting::default())),
                (Some(old), Some(new)) if *old != new
            ) && paths(&self.settings, *content) == paths(settings, *content)
        };
        let changed = CONTENTS.iter().filter(is_other);
        changed.map(|(content, _)| *content).collect()
    }

    /// Reads the record of a home; `None` before the first `apply`, or when it is not of this version.
    ///
    /// # Errors
    /// [`KeepError`].
    pub fn read(path: &Path) -> Result<Option<Self>, KeepError> {
        let Some(bytes) = sectag_keep::read_public(path)? else {
            return Ok(None);
        };
        let value = serde_json::from_slice(&bytes).ok();
        Ok(value.as_ref().and_then(Self::of_value))
    }

    /// As it is kept.
    pub fn value(&self) -> Value {
        json!({
            "format": FORMAT,
            "at": self.at_s,
            "settings": keys(&self.settings),
            "contents": self.contents,
            "files": self.files,
        })
    }

    fn of_value(value: &Value) -> Option<Self> {
        (value["format"].as_u64()? == FORMAT).then_some(())?;
        let mut text = String::new();
        for (key, value) in value["settings"].as_object()? {
            // JSON's strings, numbers and booleans are TOML's.
            text.push_str(&format!("{key} = {value}\n"));
        }
        let document = Document::parse(&text).ok()?;
        let locations = Locations {
            dir: "/".into(),
            cwd: "/".into(),
        };
        let config = Config::of_document(&locations, &document).ok()?;
        let digest_of = |name: &'static str| {
            let digest = value["contents"][name].as_str()?;
            Some((name, digest.to_owned()))
        };
        Some(Self {
            settings: config.settings().ok()?,
            contents: CONTENTS
                .iter()
                .filter_map(|(_, name)| digest_of(name))
                .collect(),
            files: value["files"]
                .as_array()?
                .iter()
                .filter_map(|path| Some(PathBuf::from(path.as_str()?)))
                .collect(),
            at_s: value["at"].as_u64()?,
        })
    }
}

/// The settings as keys and values; what is inferred is said.
pub fn keys(settings: &Settings) -> Map<String, Value> {
    let mut keys = Map::new();
    let mut add = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            keys.insert(key.to_owned(), value);
        }
    };
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| json!(path));
    let internal = &settings.internal;
    add("mqtt.bind.enabled", Some(json!(internal.enabled)));
    add("mqtt.bind.address", Some(json!(internal.address)));
    add("mqtt.bind.port", Some(json!(internal.port)));
    if let Some(external) = &settings.external {
        let address = external.address.as_ref();
        add("mqtt.external.bind.port", Some(json!(external.port.value)));
        add(
            "mqtt.external.bind.address",
            address.map(|address| json!(address.to_string())),
        );
        add(
            "mqtt.external.bind.interface",
            external.interface.as_ref().map(|name| json!(name)),
        );
        add("mqtt.external.ca_path", path(&external.ca_path));
        add("mqtt.external.cert_file", path(&external.cert_file));
        add("mqtt.external.key_file", path(&external.key_file));
        add("mqtt.external.crl_file", path(&external.crl_file));
    }
    let client = &settings.client;
    add("mqtt.client.host", Some(json!(client.host.to_string())));
    add("mqtt.client.port", Some(json!(client.port.value)));
    add(
        "mqtt.client.server_name",
        client
            .server_name
            .as_ref()
            .map(|name| json!(name.to_string())),
    );
    add("mqtt.client.auth.ca_file", path(&client.ca_file));
    add("mqtt.client.auth.ca_dir", path(&client.ca_dir));
    add("mqtt.client.auth.cert_file", path(&client.cert_file));
    add("mqtt.client.auth.key_file", path(&client.key_file));
    add(
        "mqtt.client.auth.username",
        client.username.as_ref().map(|name| json!(name)),
    );
    add(
        "mqtt.client.auth.password_file",
        path(&client.password_file),
    );
    add("mqtt.topic_root", Some(json!(settings.topic_root)));
    keys
}

/// Files of one kind of content.
fn paths(settings: &Settings, content: Content) -> Vec<PathBuf> {
    let external = settings.external.as_ref();
    let client = &settings.client;
    let paths = match content {
        Content::ServerPair => vec![
            external.and_then(|e| e.cert_file.clone()),
            external.and_then(|e| e.key_file.clone()),
        ],
        Content::ClientsAuthority => vec![external.and_then(|e| e.ca_path.clone())],
        Content::RevocationList => vec![external.and_then(|e| e.crl_file.clone())],
        Content::ClientFiles => vec![
            client.ca_file.clone(),
            client.ca_dir.clone(),
            client.cert_file.clone(),
            client.key_file.clone(),
            client.password_file.clone(),
        ],
        Content::Access => Vec::new(),
    };
    paths.into_iter().flatten().collect()
}

/// Digest of what is in these files; of a directory, of the files in it. `None` when there are none, or one cannot be read.
fn digest(settings: &Settings, content: Content, waiting: &Waiting) -> Option<String> {
    const ENTRIES_MAX: usize = 4096;
    let paths = paths(settings, content);
    if paths.is_empty() {
        return None;
    }
    let mut all = Vec::new();
    let mut add = |path: &Path| {
        let content = sectag_keep::content(waiting.in_place(path))
            .ok()
            .flatten()?;
        all.extend(sectag_pki::sha256(&content));
        Some(())
    };
    for path in &paths {
        if sectag_keep::is_dir(path)? {
            for name in sectag_keep::names(path, ENTRIES_MAX).ok()? {
                // A directory in it, or a link to nowhere, is nobody's certificate.
                let _ = add(&path.join(name));
            }
        } else {
            add(path)?;
        }
    }
    let hex = |text: String, byte: &u8| format!("{text}{byte:02x}");
    Some(sectag_pki::sha256(&all).iter().fold(String::new(), hex))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        let locations = Locations {
            dir: "/".into(),
            cwd: "/".into(),
        };
        let document = Document::parse(text).unwrap();
        let config = Config::of_document(&locations, &document).unwrap();
        config.settings().unwrap()
    }

    #[test]
    fn a_record_says_what_ran_and_what_changed_since() {
        let home = tempfile::tempdir().unwrap();
        let (cert, key) = (home.path().join("a.crt"), home.path().join("a.key"));
        std::fs::write(&cert, "1").unwrap();
        std::fs::write(&key, "1").unwrap();
        let text = format!(
            "mqtt.external.cert_file = {cert:?}\nmqtt.external.key_file = {key:?}\nmqtt.external.bind.address = \"gw.local\"\n"
        );
        let settings = settings(&text);
        let record = Record::of(&settings, &Waiting::default(), vec!["/f".into()], 7);
        let path = home.path().join("applied.json");
        std::fs::write(&path, record.value().to_string()).unwrap();
        let read = Record::read(&path).unwrap().unwrap();
        assert_eq!((read.at_s, &read.contents), (7, &record.contents));
        let steps = sectag_gateway::restart::consequences(&read.settings, &settings, &[]);
        assert_eq!(steps, []);
        assert_eq!(read.changed(&settings), []);
        std::fs::write(&cert, "2").unwrap();
        assert_eq!(read.changed(&settings), [Content::ServerPair]);
    }
}
