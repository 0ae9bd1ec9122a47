//! `sectag cert reissue`: a version 3 certificate for a key that somebody else keeps, from a request or an old certificate.
//!
//! The case it was made for: `openssl x509 -req` without extensions writes version 1, which rustls refuses and OpenSSL takes; the
//! request and the CA are still there.

use super::issue::{check_identity, configured, lifetime_s};
use crate::args::{Global, Reissue};
use crate::ca::{
    Entry, Folder, Kind, Passphrase, broken, certificates_in, kept, open_key, text_of,
};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use sectag_pki::own::{Requested, read_issued, read_request};
use sectag_pki::{Authority, Certificate, ServerName, Terms};
use serde_json::json;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

pub(super) fn reissue(global: &Global, place: &Place, arguments: &Reissue) -> Outcome {
    let kind = if arguments.client {
        Kind::Client
    } else {
        Kind::Server
    };
    let now_s = super::now_s();
    let passphrase = Passphrase::new(&arguments.passphrase);
    let output = output_path(arguments)?;
    let (authority, chain, folder) = match (&arguments.ca, &arguments.ca_key) {
        (Some(certificate), Some(key)) => {
            let (authority, chain) = foreign(certificate, key, &passphrase)?;
            (authority, chain, None)
        }
        _ => {
            let folder = Folder::existing(place).map_err(|fault| {
                fault.hint("give the CA that shall sign with --ca and --ca-key, or make one: `sectag ca init`")
            })?;
            let authority = folder.authority(kind.stem(), &passphrase)?;
            (authority, folder.chain(kind)?, Some(folder))
        }
    };
    let (asked, was) = read(&arguments.file, authority.certificate())?;
    if let (Some(folder), Some(_)) = (&folder, was) {
        is_not_revoked(folder, &arguments.file)?;
    }
    if let Some(version) = was.filter(|version| *version < 3) {
        eprintln!(
            "`{}` is X.509 version {version}, which rustls, and so thin-edge.io and Sectag, refuse to load, and mosquitto admits; it also says nothing about what it is for",
            arguments.file.display()
        );
    }
    let config = configured(global, place);
    let terms = Terms {
        now_s,
        lifetime_s: lifetime_s(config.as_ref().map(|(config, _)| config), arguments.days),
        crl_url: arguments.crl_url.as_deref(),
    };
    let (name, made) = match kind {
        Kind::Client => {
            let name = identity(arguments, &asked)?;
            let made = authority.issue_local_client(&asked.spki, &name, &terms);
            (name, made)
        }
        Kind::Server => {
            let names = server_names(arguments, &asked)?;
            let name = asked.common_name().unwrap_or("server").to_owned();
            (
                name,
                authority.issue_local_server(&asked.spki, &names, &terms),
            )
        }
    };
    let made = made.map_err(Fault::no_because)?;
    if let Some(folder) = &folder {
        let mut entry = Entry::new(
            kind,
            &name,
            &made,
            authority.certificate(),
            arguments.crl_url.as_deref(),
        );
        entry.certificate = Some(output.clone());
        folder.record(entry)?;
    }
    let text = made.pem() + &chain;
    sectag_keep::write_public(&output, text.as_bytes()).map_err(kept)?;
    said(global, &name, kind, &made, &output)
}

/// Whoever has the key of a revoked certificate must not come back in with another one for it.
fn is_not_revoked(folder: &Folder, file: &Path) -> Outcome {
    let facts = super::first_of(file)?;
    if !folder
        .register()?
        .revoked()
        .contains(&facts.fingerprint_sha256)
    {
        return Ok(());
    }
    Err(Fault::no(format!(
        "`{}` is revoked (serial {}), and so is its key",
        file.display(),
        facts.serial_hex
    ))
    .hint("`sectag cert issue` makes a certificate with another key"))
}

/// Beside the file: `client.csr` and `client.crt` become `client-v3.crt`.
fn output_path(arguments: &Reissue) -> Outcome<PathBuf> {
    let path = match &arguments.output {
        Some(path) => path.clone(),
        None => {
            let stem = arguments.file.file_stem().unwrap_or_default();
            let mut name = stem.to_owned();
            name.push("-v3.crt");
            arguments.file.with_file_name(name)
        }
    };
    if path.symlink_metadata().is_ok() && !arguments.force {
        return Err(Fault::no(format!("`{}` is there already", path.display()))
            .hint("--force replaces it, --output writes elsewhere"));
    }
    let path = std::path::absolute(path)?;
    if path.to_str().is_none() {
        let sentence = format!("the name `{}` is not written in UTF-8", path.display());
        return Err(Fault::untried(sentence)
            .hint("the register remembers it as text; write elsewhere with --output"));
    }
    Ok(path)
}

fn foreign(
    certificate: &Path,
    key: &Path,
    passphrase: &Passphrase,
) -> Outcome<(Authority, String)> {
    let all = certificates_in(certificate, &super::bytes_of(certificate)?)?;
    let text = text_of(key, &Zeroizing::new(super::bytes_of(key)?))?;
    let pair = open_key(key, &text, passphrase)?;
    let chain: String = all
        .iter()
        .filter(|certificate| {
            sectag_pki::show(certificate.der()).is_ok_and(|facts| facts.subject != facts.issuer)
        })
        .map(Certificate::pem)
        .collect();
    let authority =
        Authority::from_parts(all[0].clone(), pair).map_err(|e| broken(certificate, &e))?;
    Ok((authority, chain))
}

/// What is asked for, and the version of the certificate if it is one.
fn read(path: &Path, issuer: &Certificate) -> Outcome<(Requested, Option<u32>)> {
    let bytes = super::bytes_of(path)?;
    if !String::from_utf8_lossy(&bytes).contains("-----BEGIN CERTIFICATE-----")
        && sectag_pki::show(&bytes).is_err()
    {
        let asked = read_request(&bytes).map_err(|e| {
            broken(path, &e).hint("a request is made by `openssl req -new -key KEY -out FILE.csr`, or `sectag cert create-csr`")
        })?;
        return Ok((asked, None));
    }
    let found = certificates_in(path, &bytes)?;
    let leaf = &found[0]; // `certificates_in` gives at least one
    let facts = sectag_pki::show(leaf.der()).map_err(|e| broken(path, &e))?;
    let asked = read_issued(leaf.der(), issuer.der()).map_err(|_| {
        Fault::no(format!(
            "`{}` was issued by `{}`, and another CA is asked to sign it again",
            path.display(),
            facts.issuer
        ))
        .hint("give that CA with --ca and --ca-key, or a request by the holder of the key: it proves that the key is theirs")
    })?;
    Ok((asked, Some(facts.version)))
}

fn identity(arguments: &Reissue, asked: &Requested) -> Outcome<String> {
    let name = match (&arguments.name, asked.common_name()) {
        (Some(name), _) => name.clone(),
        (None, Some(name)) => name.to_owned(),
        (None, None) => {
            return Err(Fault::no(format!(
                "`{}` does not have exactly one common name (CN)",
                arguments.file.display()
            ))
            .hint("say who it is for: --name NAME"));
        }
    };
    check_identity(&name, false)?;
    Ok(name)
}

fn server_names(arguments: &Reissue, asked: &Requested) -> Outcome<Vec<ServerName>> {
    let mut names = asked.names.clone();
    for name in &arguments.sans {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    if names.is_empty() {
        return Err(Fault::no(format!(
            "`{}` asks for no name that clients could check",
            arguments.file.display()
        ))
        .hint("give the names of the server: --san NAME,ADDRESS"));
    }
    Ok(names)
}

fn said(
    global: &Global,
    name: &str,
    kind: Kind,
    certificate: &Certificate,
    path: &Path,
) -> Outcome {
    let facts = sectag_pki::show(certificate.der()).map_err(|e| broken(path, &e))?;
    if global.json {
        let mut value = super::value_of(&facts);
        value["name"] = json!(name);
        value["kind"] = json!(kind.word());
        value["certificate"] = json!(path);
        output::json(&value);
        return Ok(());
    }
    for (label, text) in [
        ("certificate", path.display().to_string()),
        ("issuer", facts.issuer.clone()),
        ("identity", name.to_owned()),
        ("until", crate::ca::moment(facts.not_after_s)),
        ("serial", facts.serial_hex.clone()),
    ] {
        output::print(&format!("{label:12} {text}\n"));
    }
    eprintln!("the key stays as it is; only the certificate's file changes in the configuration");
    Ok(())
}
