//! What our clients are told besides certificates: password and port (E15, E17).

use std::path::Path;

use super::words::shell;
use super::{Eyes, Finding, FindingId, Found, Severity};
use crate::facts::{Access, Facts, Password, Want, What};
use crate::settings::{Client, Level};

const PASSWORD: &str = "mqtt.client.auth.password_file";
const PORT: &str = "mqtt.client.port";
const PLAIN_PORT: u16 = 1883;
const TLS_PORT: u16 = 8883;

pub(super) fn check(client: &Client, facts: &Facts, eyes: Eyes, found: &mut Found) {
    customs(client, found);
    password(client, facts, eyes, found);
}

/// E15.
fn customs(client: &Client, found: &mut Found) {
    let tls = client.level() != Level::None;
    let (sentence, fix) = match (client.port.value.get(), tls) {
        (TLS_PORT, false) => (
            "mqtt.client.port is 8883, by custom a TLS port, but no CA is set: the connection is in plaintext",
            [
                "sectag config set mqtt.client.auth.ca_file <path>".to_owned(),
                format!("sectag config set {PORT} {PLAIN_PORT}"),
            ],
        ),
        (PLAIN_PORT, true) => (
            "mqtt.client.port is 1883, by custom a plaintext port, but the keys ask for TLS",
            [
                format!("sectag config set {PORT} {TLS_PORT}"),
                without_tls(client),
            ],
        ),
        _ => return,
    };
    found.add(
        Finding::new(FindingId::E15, Severity::Warn, sentence)
            .value(
                PORT,
                format!("{} ({})", client.port.value, client.port.source),
            )
            .fix(&fix),
    );
}

/// The command that takes our clients' TLS away, with every key that asks for it.
pub(super) fn without_tls(client: &Client) -> String {
    let keys = [
        ("ca_file", client.ca_file.is_some()),
        ("ca_dir", client.ca_dir.is_some()),
        ("cert_file", client.cert_file.is_some()),
        ("key_file", client.key_file.is_some()),
    ];
    let mut command = "sectag config unset".to_owned();
    for (key, _) in keys.iter().filter(|(_, is_set)| *is_set) {
        command.push_str(" mqtt.client.auth.");
        command.push_str(key);
    }
    if client.server_name.is_some() {
        command.push_str(" mqtt.client.server_name");
    }
    command
}

/// E17.
fn password(client: &Client, facts: &Facts, eyes: Eyes, found: &mut Found) {
    let Some(path) = &client.password_file else {
        return;
    };
    let shown = path.display().to_string();
    let is_directory = matches!(facts.at(path).map(|at| &at.what), Some(What::Directory(_)));
    let write = match is_directory {
        true => format!("sectag config set {PASSWORD} <file>"),
        false => format!("install -D -m 600 /dev/stdin {}", shell(path)),
    };
    let unset = format!("sectag config unset {PASSWORD}");
    let mut add = |sentence: String, fix: &[String]| {
        found.add(
            Finding::new(FindingId::E17, Severity::Error, sentence)
                .value(PASSWORD, &shown)
                .fix(fix),
        );
    };
    if client.username.is_none() {
        let name = "sectag config set mqtt.client.auth.username <name>".to_owned();
        add(
            format!("{PASSWORD} is set, but mqtt.client.auth.username is not"),
            &[name, unset.clone()],
        );
    }
    let reason = match facts.at(path).map(|at| &at.what) {
        None => return,
        Some(What::Missing) => "does not exist".to_owned(),
        Some(What::Directory(_)) => "is a directory".to_owned(),
        Some(What::Unreadable(_)) if eyes == Eyes::Checking && is_for_service(path, facts) => {
            return;
        }
        Some(What::Unreadable(why)) => {
            let own = format!("sudo chown \"$(id -un)\" {}", shell(path));
            let sentence = format!("{shown} ({PASSWORD}) cannot be read: {why}");
            return add(sentence, &[own, unset]);
        }
        Some(What::File(file)) => match file.password {
            Password::Present => return,
            Password::Empty => "has an empty first line".to_owned(),
            Password::NoText => "has a first line that is not text in UTF-8".to_owned(),
        },
    };
    add(
        format!("{shown} ({PASSWORD}) {reason}, so there is no password"),
        &[write, unset],
    );
}

/// The service reads it, though we cannot.
fn is_for_service(path: &Path, facts: &Facts) -> bool {
    let user = facts.machine.service_user.as_ref();
    user.zip(facts.at(path))
        .is_some_and(|(user, at)| at.access(user, Want::Read) == Access::Granted)
}
