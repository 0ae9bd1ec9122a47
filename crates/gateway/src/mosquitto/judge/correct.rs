//! The file as it should be, in the order of RULE 14, with everything else that its author wanted.

use std::fmt::Write as _;

use super::super::effective::{Effective, Listener, Origin};
use super::Names;

/// Directives of a listener that are written by us, in their order, or not at all.
const OURS: &[&str] = &[
    "bind_interface",
    "allow_anonymous",
    "listener_allow_anonymous",
    "certfile",
    "keyfile",
    "cafile",
    "capath",
    "crlfile",
    "require_certificate",
    "use_identity_as_username",
    "use_subject_as_username",
    "tls_version",
];

pub(super) fn corrected(effective: &Effective, names: &[Names]) -> String {
    let mut text = String::new();
    let newer = effective.version.is_2_1();
    if !newer {
        text.push_str("per_listener_settings true\n");
    }
    for line in &effective.globals {
        let ours = matches!(
            line.name.as_str(),
            "per_listener_settings" | "allow_anonymous"
        );
        let moves = matches!(
            line.name.as_str(),
            "password_file"
                | "acl_file"
                | "psk_file"
                | "allow_zero_length_clientid"
                | "auto_id_prefix"
        ) && !newer;
        if !ours && !moves {
            push(&mut text, &line.name, &line.value);
        }
    }
    for (listener, names) in effective.listeners.iter().zip(names) {
        if listener.origin != Origin::LocalOnly {
            block(&mut text, effective, listener, names);
        }
    }
    for line in effective.bridges.iter().chain(&effective.include_dirs) {
        push(&mut text, &line.name, &line.value);
    }
    text
}

fn block(text: &mut String, effective: &Effective, listener: &Listener, names: &Names) {
    let newer = effective.version.is_2_1();
    let wildcard = listener.ip().is_some_and(|ip| ip.is_unspecified());
    let interface = listener.text("bind_interface");
    let address = listener
        .address
        .as_deref()
        .filter(|_| !(wildcard && interface.is_some()));
    let place = address.map_or_else(String::new, |address| format!(" {address}"));
    push(text, "listener", &format!("{}{place}", listener.port));
    if let Some(interface) = interface {
        push(text, "bind_interface", interface);
    }
    let mutual = names.cafile.is_some() || listener.flag("require_certificate");
    let tls = mutual || names.certfile.is_some() || names.keyfile.is_some();
    let users = effective.knows_users(listener);
    let said = ["listener_allow_anonymous", "allow_anonymous"]
        .iter()
        .find_map(|name| listener.text(name).or_else(|| effective.global(name)))
        .map(|value| matches!(value, "true" | "1"));
    // Without passwords a switched-off listener of level 0 or 1 would serve nobody.
    let anonymous = !mutual && (!users || said == Some(true));
    let word = if newer {
        "listener_allow_anonymous"
    } else {
        "allow_anonymous"
    };
    push(text, word, if anonymous { "true" } else { "false" });
    if tls {
        let missing = |name: &str| format!("<{name}>");
        let certificate = names.certfile.clone();
        let key = names.keyfile.clone();
        push(
            text,
            "certfile",
            &certificate.unwrap_or_else(|| missing("server certificate")),
        );
        push(
            text,
            "keyfile",
            &key.unwrap_or_else(|| missing("server private key")),
        );
    }
    if mutual {
        let word = if names.ca_is_directory {
            "capath"
        } else {
            "cafile"
        };
        let ca = names.cafile.clone();
        let ca = ca.unwrap_or_else(|| "<CA that issued the client certificates>".to_owned());
        push(text, word, &ca);
        if let Some(list) = listener.text("crlfile") {
            push(text, "crlfile", list);
        }
        push(text, "require_certificate", "true");
        let subject =
            listener.flag("use_subject_as_username") && !listener.flag("use_identity_as_username");
        let word = if subject {
            "use_subject_as_username"
        } else {
            "use_identity_as_username"
        };
        push(text, word, "true");
    }
    if tls {
        let said = listener.text("tls_version");
        let said = said.filter(|version| matches!(*version, "tlsv1.2" | "tlsv1.3"));
        push(text, "tls_version", said.unwrap_or("tlsv1.2"));
    }
    let mut written: Vec<&str> = Vec::new();
    for line in &listener.directives {
        let name = line.name.as_str();
        let repeats = written.contains(&name) && !name.starts_with("plugin");
        if !OURS.contains(&name) && !repeats {
            // The last one counts.
            push(text, name, listener.text(name).unwrap_or(&line.value));
            written.push(name);
        }
    }
    if !effective.per_listener && !newer {
        for name in ["password_file", "acl_file", "psk_file"] {
            if let Some(value) = effective.global(name) {
                push(text, name, value);
            }
        }
    }
}

fn push(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name} {value}"); // writing to a String cannot fail
}
