//! Who is trusted: files and directories of CAs that give what they should (E8, E18, E19).

use std::path::{Path, PathBuf};

use sectag_pki::material::Held;

use super::words::{count, list, shell};
use super::{Finding, FindingId, Found, Severity};
use crate::facts::{DirectoryFacts, Facts, FileFacts, Inside, What};
use crate::settings::{Client, External};

const CA_FILE: &str = "mqtt.client.auth.ca_file";
const CA_DIR: &str = "mqtt.client.auth.ca_dir";
const CA_PATH: &str = "mqtt.external.ca_path";
const CRL_FILE: &str = "mqtt.external.crl_file";

pub(super) fn client(client: &Client, facts: &Facts, found: &mut Found) {
    let trusts_somebody = !facts.trusted_by_client(client).is_empty();
    if let Some((path, what)) = known(client.ca_file.as_ref(), facts) {
        let reason = match what {
            What::File(file) => no_certificate(file),
            What::Directory(_) => Some(format!("is a directory: that is for {CA_DIR}")),
            other => closed(other),
        };
        let fix = match what {
            What::Directory(_) => format!(
                "sectag config unset {CA_FILE}; sectag config set {CA_DIR} {}",
                shell(path)
            ),
            other => set(CA_FILE, path, other),
        };
        if let Some(reason) = reason {
            found.add(nothing(CA_FILE, path, &reason, Severity::Error, fix));
        }
    }
    if let Some((path, what)) = known(client.ca_dir.as_ref(), facts) {
        let reason = match what {
            What::Directory(directory) => client_directory(directory, trusts_somebody),
            What::File(_) => Some((Severity::Error, format!("is a file: that is for {CA_FILE}"))),
            other => closed(other).map(|reason| (Severity::Error, reason)),
        };
        let fix = match what {
            What::File(_) => format!(
                "sectag config unset {CA_DIR}; sectag config set {CA_FILE} {}",
                shell(path)
            ),
            What::Directory(_) => format!("cp <CA> {}/ca.crt", shell(path)),
            _ => format!("sectag config set {CA_DIR} <path>"),
        };
        if let Some((severity, reason)) = reason {
            found.add(nothing(CA_DIR, path, &reason, severity, fix));
        }
    }
}

pub(super) fn listener(external: &External, facts: &Facts, found: &mut Found) {
    if let Some((path, what)) = known(external.ca_path.as_ref(), facts) {
        let reason = match what {
            What::File(file) => no_certificate(file),
            What::Directory(directory) => listener_directory(path, directory, found),
            other => closed_for_checker(CA_PATH, path, other, found),
        };
        if let Some(reason) = reason {
            let fix = set(CA_PATH, path, what);
            found.add(nothing(CA_PATH, path, &reason, Severity::Error, fix));
        }
        if facts.at(path).is_some_and(|at| at.is_system_store) {
            let sentence = format!(
                "{} ({CA_PATH}) holds the system's public CAs, and each of them could issue a client certificate for this broker",
                path.display()
            );
            let fix = format!("sectag config set {CA_PATH} <CA of your clients>");
            found.add(
                Finding::new(FindingId::E19, Severity::Warn, sentence)
                    .value(CA_PATH, path.display())
                    .fix(&[fix]),
            );
        }
    }
    if let Some((path, what)) = known(external.crl_file.as_ref(), facts) {
        let reason = match what {
            What::File(file) if file.material.revocations.is_empty() => {
                Some(format!("holds no revocation list{}", cause(file)))
            }
            What::File(_) => None,
            What::Directory(_) => Some("is a directory".to_owned()),
            other => closed_for_checker(CRL_FILE, path, other, found),
        };
        if let Some(reason) = reason {
            let fix = set(CRL_FILE, path, what);
            found.add(nothing(CRL_FILE, path, &reason, Severity::Error, fix));
        }
    }
}

fn known<'a>(path: Option<&'a PathBuf>, facts: &'a Facts) -> Option<(&'a Path, &'a What)> {
    let path = path?;
    Some((path, &facts.at(path)?.what))
}

fn nothing(key: &str, path: &Path, reason: &str, severity: Severity, fix: String) -> Finding {
    let sentence = format!("{} ({key}) {reason}", path.display());
    let unset = format!("sectag config unset {key}");
    Finding::new(FindingId::E8, severity, sentence)
        .value(key, path.display())
        .fix(&[fix, unset])
}

/// The command that gives the key another file: what is in this one as PEM, when it is DER.
fn set(key: &str, path: &Path, what: &What) -> String {
    match what {
        What::File(file) if file.material.is_der => {
            let object = if key == CRL_FILE { "crl" } else { "x509" };
            let mut pem = path.as_os_str().to_owned();
            pem.push(".pem");
            format!(
                "openssl {object} -inform DER -in {} -out {pem} && sectag config set {key} {pem}",
                shell(path),
                pem = shell(Path::new(&pem)),
            )
        }
        _ => format!("sectag config set {key} <path>"),
    }
}

fn closed(what: &What) -> Option<String> {
    match what {
        What::Missing => Some("does not exist".to_owned()),
        What::Unreadable(why) => Some(format!("cannot be read: {why}")),
        What::Directory(_) | What::File(_) => None,
    }
}

/// As [`closed`]; what only the checker cannot read is a note, because the broker may.
fn closed_for_checker(key: &str, path: &Path, what: &What, found: &mut Found) -> Option<String> {
    let What::Unreadable(why) = what else {
        return closed(what);
    };
    let reason = format!("cannot be read here, so it was not checked: {why}");
    let fix = "sudo sectag config check".to_owned();
    let mut finding = nothing(key, path, &reason, Severity::Note, fix.clone());
    finding.fix = fix;
    found.add(finding);
    None
}

fn no_certificate(file: &FileFacts) -> Option<String> {
    let material = &file.material;
    match (material.certificates.is_empty(), material.problems.first()) {
        (false, None) => None,
        (false, Some(problem)) => Some(format!("is damaged: {problem}")),
        (true, _) if !material.keys.is_empty() => {
            Some("holds a private key, and no certificate".to_owned())
        }
        (true, _) => Some(format!("holds no certificate{}", cause(file))),
    }
}

fn cause(file: &FileFacts) -> String {
    match file.material.problems.first() {
        Some(problem) => format!(": {problem}"),
        None => String::new(),
    }
}

/// What our clients make of it: files by extension, and one that is damaged spoils all.
fn client_directory(
    directory: &DirectoryFacts,
    trusts_somebody: bool,
) -> Option<(Severity, String)> {
    let files = &directory.by_extension;
    let damaged = files.iter().find_map(|inside| match &inside.found {
        Err(why) => Some((inside, why)),
        Ok(material) => Some((inside, material.problems.first()?)),
    });
    if let Some((inside, why)) = damaged {
        let name = name(inside);
        return Some((
            Severity::Error,
            format!("holds a damaged file, {name}: {why}"),
        ));
    }
    if files.iter().any(|inside| certificates(inside) > 0) {
        return None;
    }
    let severity = match trusts_somebody {
        true => Severity::Warn,
        false => Severity::Error,
    };
    let reason = match directory.entries {
        0 => "is empty".to_owned(),
        entries => format!(
            "holds no certificate in a file named *.pem, *.crt or *.cer (it has {})",
            if entries == 1 {
                "1 other entry".to_owned()
            } else {
                format!("{entries} entries")
            }
        ),
    };
    Some((severity, reason))
}

/// What mosquitto makes of it: hash links only (E18).
fn listener_directory(
    path: &Path,
    directory: &DirectoryFacts,
    found: &mut Found,
) -> Option<String> {
    let all: Vec<&Inside> = directory
        .by_extension
        .iter()
        .filter(|inside| certificates(inside) > 0)
        .collect();
    if directory.hashed.is_empty() && all.is_empty() {
        return Some(match directory.entries {
            0 => "is empty".to_owned(),
            entries => format!(
                "holds no certificate in {}",
                if entries == 1 {
                    "its entry".to_owned()
                } else {
                    format!("{entries} entries")
                }
            ),
        });
    }
    // A bundle counts as seen when each certificate in it can be found by its own link.
    let is_linked = |inside: &&Inside| {
        let links = &directory.hashed;
        links.iter().any(|link| link.node.path == inside.node.path)
            || held(inside).all(|one| links.iter().flat_map(held).any(|seen| seen == one))
    };
    let without: Vec<&Inside> = all.into_iter().filter(|file| !is_linked(file)).collect();
    let (severity, mut sentence) = if directory.hashed.is_empty() {
        let sentence = format!(
            "{} ({CA_PATH}) has {} and no hash links, so the broker would start and refuse every client",
            path.display(),
            count(without.len(), "certificate file")
        );
        (Severity::Error, sentence)
    } else if without.is_empty() {
        return None;
    } else {
        let names: Vec<String> = without.iter().map(|inside| name(inside)).collect();
        let sentence = format!(
            "{} ({CA_PATH}) has no hash link for {}, so the broker does not see it",
            path.display(),
            list(&names)
        );
        (Severity::Warn, sentence)
    };
    let bundles: Vec<&Inside> = without
        .into_iter()
        .filter(|inside| certificates(inside) > 1)
        .collect();
    let mut fix = String::new();
    for bundle in &bundles {
        let stem = format!("{}-", name(bundle));
        fix.push_str(&format!(
            "csplit -sz -f {} -b %02d.crt {} '/-----BEGIN CERTIFICATE/' '{{*}}' && ",
            shell(&path.join(stem)),
            shell(&bundle.path)
        ));
    }
    fix.push_str(&format!("openssl rehash {}", shell(path)));
    if !bundles.is_empty() {
        let names: Vec<String> = bundles.iter().map(|bundle| name(bundle)).collect();
        sentence.push_str(&format!(
            "; openssl makes no link for a file with several certificates, so {} must be split",
            list(&names)
        ));
    }
    found.add(
        Finding::new(FindingId::E18, severity, sentence)
            .value(CA_PATH, path.display())
            .fix(&[fix]),
    );
    None
}

fn name(inside: &Inside) -> String {
    let name = inside.path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn held(inside: &Inside) -> impl Iterator<Item = &Held> {
    let found = inside.found.as_ref().ok();
    found.into_iter().flat_map(|found| &found.certificates)
}

fn certificates(inside: &Inside) -> usize {
    held(inside).count()
}
