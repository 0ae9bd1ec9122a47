//! Who may read which file: the broker's user, our services' user, and nobody else for keys (E21).

use std::path::PathBuf;

use sectag_keep::Node;

use super::words::shell;
use super::{Eyes, Finding, FindingId, Found, Severity};
use crate::facts::{Access, Facts, PathFacts, User, Want, What};
use crate::settings::{Client, External};

pub(super) fn listener(external: &External, facts: &Facts, found: &mut Found) {
    let user = facts.machine.broker_user.as_ref();
    let reader = Reader {
        user,
        whose: "the broker's user",
        facts,
    };
    reader.secret("mqtt.external.key_file", external.key_file.as_ref(), found);
    for (key, path) in [
        ("mqtt.external.cert_file", &external.cert_file),
        ("mqtt.external.ca_path", &external.ca_path),
        ("mqtt.external.crl_file", &external.crl_file),
    ] {
        reader.reads(key, path.as_ref(), Want::Enter, found);
    }
}

pub(super) fn client(client: &Client, facts: &Facts, eyes: Eyes, found: &mut Found) {
    let user = facts.machine.service_user.as_ref();
    let reader = Reader {
        // Who connects has tried to read, and knows better than modes.
        user: user.filter(|_| eyes == Eyes::Checking),
        whose: "the services' user",
        facts,
    };
    reader.secret("mqtt.client.auth.key_file", client.key_file.as_ref(), found);
    reader.secret(
        "mqtt.client.auth.password_file",
        client.password_file.as_ref(),
        found,
    );
    for (key, path) in [
        ("mqtt.client.auth.cert_file", &client.cert_file),
        ("mqtt.client.auth.ca_file", &client.ca_file),
        ("mqtt.client.auth.ca_dir", &client.ca_dir),
    ] {
        reader.reads(key, path.as_ref(), Want::Read, found);
    }
}

struct Reader<'a> {
    user: Option<&'a User>,
    whose: &'static str,
    facts: &'a Facts,
}

impl Reader<'_> {
    /// A file that the user must be able to read, and strangers must not.
    fn secret(&self, key: &str, path: Option<&PathBuf>, found: &mut Found) {
        self.reads(key, path, Want::Read, found);
        let Some((path, at)) = path.and_then(|path| Some((path, self.facts.at(path)?))) else {
            return;
        };
        // A directory or a certificate under this key is another finding.
        let secret = match &at.what {
            What::File(file) => !file.material.keys.is_empty() || key.ends_with("password_file"),
            What::Unreadable(_) => true,
            What::Missing | What::Directory(_) => false,
        };
        if !secret || !at.is_readable_by_others() {
            return;
        }
        let sentence = format!(
            "{} ({key}) can be read by everyone on this machine",
            path.display()
        );
        found.add(
            Finding::new(FindingId::E21, Severity::Warn, sentence)
                .value(key, path.display())
                .value("mode", mode(at))
                .fix(&[format!("chmod o= {}", shell(path))]),
        );
    }

    fn reads(&self, key: &str, path: Option<&PathBuf>, want: Want, found: &mut Found) {
        let Some((path, at)) = path.and_then(|path| Some((path, self.facts.at(path)?))) else {
            return;
        };
        let Some(user) = self.user else { return };
        // What is not there is another finding.
        if at.what == What::Missing {
            return;
        }
        let Access::Refused(node) = at.access(user, want) else {
            return;
        };
        let on_the_way = at.node() != Some(&node);
        let (name, whose) = (&user.name, self.whose);
        let shown = path.display();
        let sentence = if on_the_way {
            format!(
                "{shown} ({key}) cannot be reached by {name}, {whose}: {} is closed to it",
                node.path.display()
            )
        } else {
            format!("{shown} ({key}) cannot be read by {name}, {whose}")
        };
        let fix = if on_the_way {
            format!("chmod o+x {}", shell(&node.path))
        } else if matches!(at.what, What::Directory(_)) {
            format!("chmod o+rx {}", shell(&node.path))
        } else if key.ends_with("key_file") || key.ends_with("password_file") {
            format!("chown {name} {0} && chmod 400 {0}", shell(&node.path))
        } else {
            format!("chmod o+r {}", shell(&node.path))
        };
        found.add(
            Finding::new(FindingId::E21, Severity::Error, sentence)
                .value(key, shown)
                .value(
                    "user",
                    format!("{name} (uid {}, gid {})", user.uid, user.gid),
                )
                .value(node.path.display().to_string(), rights(&node))
                .fix(&[fix]),
        );
    }
}

fn mode(at: &PathFacts) -> String {
    at.node().map_or_else(String::new, rights)
}

fn rights(node: &Node) -> String {
    format!("mode {:03o}, uid {}, gid {}", node.mode, node.uid, node.gid)
}
