//! Certificate and key: both or neither, and made for each other (E1, E3, E7, E12, E13).

use std::path::{Path, PathBuf};

use super::words::{shell, subject};
use super::{Eyes, Finding, FindingId, Found, Severity};
use crate::facts::{Facts, What};
use crate::settings::{Client, External};

/// Certificate and key of one side.
struct Pair<'a> {
    cert_key: &'static str,
    key_key: &'static str,
    cert: Option<&'a PathBuf>,
    key: Option<&'a PathBuf>,
    /// The command that makes a new one.
    issue: &'a dyn Fn() -> String,
    /// Options of the command that makes a new certificate for the same key.
    reissue: &'a dyn Fn() -> String,
    /// What mosquitto does with one of version 1.
    mosquitto: &'static str,
    eyes: Eyes,
}

/// E1 for two keys of which exactly one is set (RULE 11): that of client, listener or HTTP.
pub fn half_pair(
    cert_key: &str,
    cert: Option<&PathBuf>,
    key_key: &str,
    key: Option<&PathBuf>,
) -> Option<Finding> {
    let (missing, present, path) = match (cert, key) {
        (Some(path), None) => (key_key, cert_key, path),
        (None, Some(path)) => (cert_key, key_key, path),
        _ => return None,
    };
    Some(
        Finding::new(
            FindingId::E1,
            Severity::Error,
            format!("{missing} is not set, but {present} is"),
        )
        .value(present, path.display())
        .fix(&[
            format!("sectag config set {missing} <path>"),
            format!("sectag config unset {present}"),
        ]),
    )
}

pub(super) fn listener(external: &External, facts: &Facts, found: &mut Found) {
    let names = || {
        let own = facts.machine.host_names.iter().map(String::as_str);
        let names: Vec<&str> = ["localhost", "127.0.0.1"].into_iter().chain(own).collect();
        names.join(",")
    };
    let pair = Pair {
        cert_key: "mqtt.external.cert_file",
        key_key: "mqtt.external.key_file",
        cert: external.cert_file.as_ref(),
        key: external.key_file.as_ref(),
        issue: &|| issue_server(external, ""),
        reissue: &|| format!("--server --san {}", names()),
        mosquitto: "serve",
        eyes: Eyes::Checking,
    };
    found
        .0
        .extend(half_pair(pair.cert_key, pair.cert, pair.key_key, pair.key));
    without_tls(external, found);
    usable(&pair, facts, found);
}

pub(super) fn client(client: &Client, facts: &Facts, eyes: Eyes, found: &mut Found) {
    let issue = || {
        let name = facts.chain(client.cert_file.as_ref()).first();
        let name = name.and_then(|held| common_name(&held.facts.subject));
        issue_client(client, name.unwrap_or("<name>"))
    };
    let pair = Pair {
        cert_key: "mqtt.client.auth.cert_file",
        key_key: "mqtt.client.auth.key_file",
        cert: client.cert_file.as_ref(),
        key: client.key_file.as_ref(),
        issue: &issue,
        reissue: &|| "--client".to_owned(),
        mosquitto: "admit",
        eyes,
    };
    found
        .0
        .extend(half_pair(pair.cert_key, pair.cert, pair.key_key, pair.key));
    without_ca(client, found);
    usable(&pair, facts, found);
}

/// E3: what is about client certificates needs TLS, and a CA.
fn without_tls(external: &External, found: &mut Found) {
    let names = [
        ("mqtt.external.ca_path", &external.ca_path),
        ("mqtt.external.crl_file", &external.crl_file),
    ];
    let set = names
        .iter()
        .find_map(|(key, path)| Some((*key, path.as_ref()?)));
    let Some((key, path)) = set else { return };
    if external.cert_file.is_none() && external.key_file.is_none() {
        let sentence = format!(
            "{key} is set, but the listener has neither certificate nor key, and client certificates need TLS"
        );
        found.add(
            Finding::new(FindingId::E3, Severity::Error, sentence)
                .value(key, path.display())
                .fix(&[
                    "sectag config set mqtt.external.cert_file <path> mqtt.external.key_file <path>"
                        .to_owned(),
                    format!("sectag config unset {key}"),
                ]),
        );
    }
    if let (None, Some(crl)) = (&external.ca_path, &external.crl_file) {
        let sentence = "mqtt.external.crl_file is set, but mqtt.external.ca_path is not: no client shows a certificate that it could revoke";
        found.add(
            Finding::new(FindingId::E3, Severity::Error, sentence)
                .value("mqtt.external.crl_file", crl.display())
                .fix(&[
                    "sectag config set mqtt.external.ca_path <path>".to_owned(),
                    "sectag config unset mqtt.external.crl_file".to_owned(),
                ]),
        );
    }
}

/// E7: a certificate, or the name of the broker, is for TLS, and TLS needs somebody to trust.
fn without_ca(client: &Client, found: &mut Found) {
    if client.ca_file.is_some() || client.ca_dir.is_some() {
        return;
    }
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let keys = [
        ("mqtt.client.auth.cert_file", path(&client.cert_file)),
        ("mqtt.client.auth.key_file", path(&client.key_file)),
        (
            "mqtt.client.server_name",
            client.server_name.as_ref().map(ToString::to_string),
        ),
    ];
    let set: Vec<(&str, String)> = keys
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
    if set.is_empty() {
        return;
    }
    let names: Vec<&str> = set.iter().map(|(key, _)| *key).collect();
    let is = if set.len() == 1 { "is" } else { "are" };
    let sentence = format!(
        "{} {is} set, but no CA is: neither mqtt.client.auth.ca_file nor mqtt.client.auth.ca_dir",
        names.join(" and ")
    );
    let mut finding = Finding::new(FindingId::E7, Severity::Error, sentence).fix(&[
        "sectag config set mqtt.client.auth.ca_file <path>".to_owned(),
        format!("sectag config unset {}", names.join(" ")),
    ]);
    for (key, value) in set {
        finding = finding.value(key, value);
    }
    found.add(finding);
}

/// E12, E13: the files hold what they should, and belong together.
fn usable(pair: &Pair<'_>, facts: &Facts, found: &mut Found) {
    let certificate_read = holds(pair, true, facts, found);
    let key_read = holds(pair, false, facts, found);
    let chain = facts.chain(pair.cert);
    let old = chain
        .iter()
        .enumerate()
        .find(|(_, held)| held.facts.version < 3);
    if let (Some((at, held)), Some(path)) = (old, pair.cert) {
        let sentence = format!(
            "the certificate of {} in {} is X.509 version {}, which our clients and our broker refuse; mosquitto would {} it",
            subject(held),
            path.display(),
            held.facts.version,
            pair.mosquitto
        );
        let fix = match at {
            0 => format!(
                "sectag cert reissue {} -o {new} {} && sectag config set {} {new}",
                (pair.reissue)(),
                shell(path),
                pair.cert_key,
                new = shell(&beside(path)),
            ),
            _ => (pair.issue)(),
        };
        found.add(
            Finding::new(FindingId::E12, Severity::Error, sentence)
                .value(pair.cert_key, path.display())
                .fix(&[fix]),
        );
    }
    if certificate_read && key_read {
        belong_together(pair, facts, found);
    }
}

/// True if the file was read and holds what it should.
fn holds(pair: &Pair<'_>, certificate: bool, facts: &Facts, found: &mut Found) -> bool {
    let (path, name, other, what) = if certificate {
        (pair.cert, pair.cert_key, pair.key_key, "certificate")
    } else {
        (pair.key, pair.key_key, pair.cert_key, "private key")
    };
    let Some((path, at)) = path.and_then(|path| Some((path, facts.at(path)?))) else {
        return false;
    };
    let shown = path.display();
    let mut severity = Severity::Error;
    let mut fix = None;
    let sentence = match &at.what {
        What::Missing => format!("{shown} ({name}) does not exist"),
        What::Directory(_) => format!("{shown} ({name}) is a directory, and a file is needed"),
        What::Unreadable(why) => {
            if pair.eyes == Eyes::Checking {
                severity = Severity::Note;
                fix = Some("sudo sectag config check".to_owned());
            } else {
                fix = Some(format!("sudo chown \"$(id -un)\" {}", shell(path)));
            }
            format!("{shown} ({name}) cannot be read here, so it was not checked: {why}")
        }
        What::File(file) => {
            let material = &file.material;
            let (here, there) = (!material.certificates.is_empty(), !material.keys.is_empty());
            let problem = material.problems.first();
            match (certificate, here, there) {
                (true, true, _) => match problem {
                    None => return true,
                    Some(problem) => format!("{shown} ({name}) is damaged: {problem}"),
                },
                (false, _, true) => return true,
                (true, false, true) => {
                    fix = Some(format!(
                        "sectag config set {name} <path> {other} {}",
                        shell(path)
                    ));
                    format!("{shown} ({name}) holds a private key, and no certificate")
                }
                (false, true, false) => {
                    fix = Some(format!(
                        "sectag config set {name} <path> {other} {}",
                        shell(path)
                    ));
                    format!("{shown} ({name}) holds a certificate, and no private key")
                }
                (_, false, false) => match problem {
                    None => format!("{shown} ({name}) holds no {what}"),
                    Some(problem) => format!("{shown} ({name}) holds no {what}: {problem}"),
                },
            }
        }
    };
    let set = || format!("sectag config set {name} <path>");
    let fix = fix.map_or_else(|| vec![set(), (pair.issue)()], |fix| vec![fix]);
    found.add(
        Finding::new(FindingId::E13, severity, sentence)
            .value(name, shown)
            .fix(&fix),
    );
    false
}

fn belong_together(pair: &Pair<'_>, facts: &Facts, found: &mut Found) {
    let (Some(cert), Some(key_path)) = (pair.cert, pair.key) else {
        return;
    };
    let (chain, Some(key)) = (facts.chain(pair.cert), facts.key(pair.key)) else {
        return;
    };
    let Some(leaf) = chain.first() else { return };
    let mut add = |severity, sentence: String, fix: &[String]| {
        found.add(
            Finding::new(FindingId::E13, severity, sentence)
                .value(pair.cert_key, cert.display())
                .value(pair.key_key, key_path.display())
                .fix(fix),
        );
    };
    if key.is_encrypted {
        let plain = key_path.with_extension("plain.key");
        let fix = format!(
            "(umask 077; openssl pkey -in {} -out {}) && sectag config set {} {}",
            shell(key_path),
            shell(&plain),
            pair.key_key,
            shell(&plain)
        );
        let sentence = format!(
            "the private key in {} is encrypted, and nobody is there to type its pass phrase",
            key_path.display()
        );
        return add(Severity::Error, sentence, &[fix]);
    }
    match key.is_of(leaf) {
        Some(true) => {}
        Some(false) => {
            let theirs = chain.iter().position(|held| key.is_of(held) == Some(true));
            let sentence = match theirs {
                Some(at) => format!(
                    "the certificate of the private key in {} is number {} in {}, and it must be the first",
                    key_path.display(),
                    at + 1,
                    cert.display()
                ),
                None => format!(
                    "the private key in {} is not that of the certificate of {} in {}",
                    key_path.display(),
                    subject(leaf),
                    cert.display()
                ),
            };
            let set = format!("sectag config set {} <path>", pair.key_key);
            add(Severity::Error, sentence, &[set, (pair.issue)()]);
        }
        None => {
            let sentence = format!(
                "the private key in {} is of a kind that is not read here (RSA below 2048 bits, or an unusual curve)",
                key_path.display()
            );
            let severity = match pair.eyes {
                // mosquitto may read it; our client does not.
                Eyes::Checking if pair.key_key.starts_with("mqtt.external") => Severity::Warn,
                _ => Severity::Error,
            };
            add(severity, sentence, &[(pair.issue)()]);
        }
    }
}

/// The command that makes a new pair for the listener, where the old one is, and has it used. `options` of it, each with
/// a blank before it.
pub(super) fn issue_server(external: &External, options: &str) -> String {
    let (cert, key) = (external.cert_file.as_ref(), external.key_file.as_ref());
    let stem = cert.or(key).and_then(|path| path.file_stem()?.to_str());
    let stem = stem.filter(|stem| is_plain(stem)).unwrap_or("server");
    let name = match stem {
        "server" => String::new(),
        stem => format!(" --name {stem}"),
    };
    let keys = ["mqtt.external.cert_file", "mqtt.external.key_file"];
    issue(&format!("server{name}{options}"), stem, keys, cert, key)
}

/// The same for our clients, with this identity.
pub(super) fn issue_client(client: &Client, name: &str) -> String {
    let (cert, key) = (client.cert_file.as_ref(), client.key_file.as_ref());
    let keys = ["mqtt.client.auth.cert_file", "mqtt.client.auth.key_file"];
    issue(&format!("client {name}"), name, keys, cert, key)
}

/// Files that are configured are replaced; others are not.
fn issue(
    what: &str,
    stem: &str,
    [cert_key, key_key]: [&str; 2],
    cert: Option<&PathBuf>,
    key: Option<&PathBuf>,
) -> String {
    let Some(dir) = cert.or(key).and_then(|path| path.parent()) else {
        return format!("sectag cert issue {what}");
    };
    let pair = |dir: &Path| {
        let file = |extension| dir.join(format!("{stem}.{extension}"));
        (file("crt"), file("key"))
    };
    let (mut new_cert, mut new_key) = pair(dir);
    let mut dir = dir.to_owned();
    let mut make = String::new();
    match (cert == Some(&new_cert), key == Some(&new_key)) {
        (true, true) => {
            return format!("sectag cert issue {what} --force --dir {}", shell(&dir));
        }
        (false, false) => {}
        // One of the names is taken, and the other may be somebody's.
        _ => {
            dir.push("new");
            (new_cert, new_key) = pair(&dir);
            make = format!("mkdir -p {} && ", shell(&dir));
        }
    }
    format!(
        "{make}sectag cert issue {what} --dir {} && sectag config set {cert_key} {} {key_key} {}",
        shell(&dir),
        shell(&new_cert),
        shell(&new_key)
    )
}

/// `client.crt` → `client-v3.crt`.
fn beside(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-v3.crt"))
}

/// The first CN of a subject in the order of RFC 4514, when it needs no quoting.
pub(super) fn common_name(subject: &str) -> Option<&str> {
    let name = subject
        .split(',')
        .find_map(|part| part.trim().strip_prefix("CN="))?;
    is_plain(name).then_some(name)
}

/// Fit for a command and a file name as it is.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && !name.starts_with(['-', '.']) && name.chars().all(plain)
}
