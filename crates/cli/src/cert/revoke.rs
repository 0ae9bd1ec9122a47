//! `sectag cert revoke`: into the register first, then onto the list that brokers read.

use crate::args::Revoke;
use crate::ca::{Entry, Folder, Kind, Passphrase};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use sectag_pki::Certificate;
use serde_json::json;
use std::path::Path;

pub(super) fn revoke(place: &Place, arguments: &Revoke, as_json: bool) -> Outcome {
    let folder = Folder::existing(place)?;
    let now_s = super::now_s();
    let passphrase = Passphrase::new(&arguments.passphrase);
    let (kind, serials, unlisted) = chosen(&folder, &arguments.what, now_s)?;
    // First of all, so that nothing is half done when the key cannot be used.
    let authority = folder.authority(kind.stem(), &passphrase)?;
    let issuer = crate::ca::fingerprint(authority.certificate());
    let revoked = folder.change(|register| {
        register.certificates.extend(unlisted);
        let of_others = |entry: &&Entry| serials.contains(&entry.serial) && entry.issuer != issuer;
        if let Some(entry) = register.certificates.iter().find(of_others) {
            return Err(Fault::no(format!(
                "serial {} was issued by a CA that is no longer in this home",
                entry.serial
            ))
            .hint("only its own issuer can revoke a certificate"));
        }
        let mut revoked = Vec::new();
        for entry in &mut register.certificates {
            if serials.contains(&entry.serial) {
                let is_new = entry.revoked_s.is_none();
                entry.revoked_s.get_or_insert(now_s);
                revoked.push((entry.serial.clone(), entry.name.clone(), is_new));
            }
        }
        Ok(revoked)
    })?;
    sectag_keep::crash::point("pki.revoke.recorded");
    for other in Kind::ALL {
        // An imported CA may issue both.
        if other == kind || folder.certificates(other.stem())?[0] == *authority.certificate() {
            folder.write_crl(other, &authority, now_s)?;
        }
    }
    let list = folder.crl(kind);
    if as_json {
        let items: Vec<_> = revoked
            .iter()
            .map(|(serial, name, new)| json!({ "serial": serial, "name": name, "new": new }))
            .collect();
        output::json(&json!({ "items": items, "crl": list }));
    } else {
        for (serial, name, new) in &revoked {
            let was = if *new {
                "revoked"
            } else {
                "was revoked already"
            };
            output::print(&format!("{was}: {name}, serial {serial}\n"));
        }
    }
    eprintln!("the list is {}", list.display());
    if kind == Kind::Client {
        eprintln!(
            "Sectag's own broker takes it at once and ends the client's session; mosquitto takes it with `crlfile` and a reload, and a session that is open there goes on until it ends by itself"
        );
    } else {
        eprintln!("clients learn of it only when they are given this list");
    }
    Ok(())
}

/// Which certificates are meant, and what must be added to the register for that.
fn chosen(folder: &Folder, what: &str, now_s: u64) -> Outcome<(Kind, Vec<String>, Vec<Entry>)> {
    let register = folder.register()?;
    let serial = what.to_ascii_lowercase().replace(':', "");
    let by_serial = |entry: &&Entry| entry.serial == serial;
    if let Some(entry) = register.certificates.iter().find(by_serial) {
        return Ok((entry.kind, vec![entry.serial.clone()], Vec::new()));
    }
    let named: Vec<&Entry> = register
        .certificates
        .iter()
        .filter(|entry| entry.name == what)
        .collect();
    if let Some(first) = named.first() {
        if named.iter().any(|entry| entry.kind != first.kind) {
            return Err(Fault::no(format!("`{what}` is a server and a client"))
                .hint("give the serial number of the one you mean: `sectag cert list`"));
        }
        // All that still open a door; when there are none, the last one, which says that it was revoked already.
        let mut serials: Vec<String> = named
            .iter()
            .filter(|entry| entry.status(now_s) == "valid")
            .map(|entry| entry.serial.clone())
            .collect();
        if serials.is_empty() {
            serials.extend(named.last().map(|entry| entry.serial.clone()));
        }
        return Ok((first.kind, serials, Vec::new()));
    }
    if Path::new(what).is_file() {
        return from_file(folder, Path::new(what));
    }
    Err(Fault::no(format!(
        "`{what}` is neither a name nor a serial number in the register, nor a file"
    ))
    .hint("`sectag cert list --all` shows the register"))
}

fn from_file(folder: &Folder, path: &Path) -> Outcome<(Kind, Vec<String>, Vec<Entry>)> {
    let found = crate::ca::certificates_in(path, &super::bytes_of(path)?)?;
    let certificate = &found[0]; // `certificates_in` gives at least one
    for kind in [Kind::Client, Kind::Server] {
        let issuer: &Certificate = &folder.certificates(kind.stem())?[0];
        let Ok(asked) = sectag_pki::own::read_issued(certificate.der(), issuer.der()) else {
            continue;
        };
        let name = asked.common_name().unwrap_or("unnamed");
        let entry = Entry::new(kind, name, certificate, issuer, None);
        let known = folder
            .register()?
            .certificates
            .iter()
            .any(|known| known.sha256 == entry.sha256);
        let serials = vec![entry.serial.clone()];
        let unlisted = if known { Vec::new() } else { vec![entry] };
        return Ok((kind, serials, unlisted));
    }
    Err(Fault::no(format!(
        "`{}` was not issued by this home's CAs",
        path.display()
    ))
    .hint("only its own issuer can revoke a certificate"))
}
