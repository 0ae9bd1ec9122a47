//! `sectag cert list` and `cert crl`: what was issued here, and what was revoked.

use crate::args::{Crl, ListIssued};
use crate::ca::{Folder, Kind, Passphrase, day, kept, moment};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use serde_json::json;
use std::path::Path;

pub(super) fn list(place: &Place, arguments: &ListIssued, as_json: bool) -> Outcome {
    let folder = Folder::existing(place)?;
    let now_s = super::now_s();
    let register = folder.register()?;
    let mut rows = Vec::new();
    let mut items = Vec::new();
    for entry in &register.certificates {
        let mut status = entry.status(now_s).to_owned();
        if !arguments.all && status != "valid" {
            continue;
        }
        match entry.certificate.as_deref() {
            Some(path) if status == "valid" && !holds(path, &entry.sha256) => {
                let waiting = holds(&sectag_keep::new_beside(path), &entry.sha256);
                if !waiting && !arguments.all {
                    continue;
                }
                status = if waiting { "waiting" } else { "replaced" }.to_owned();
            }
            _ => {}
        }
        let file = entry
            .certificate
            .as_ref()
            .map(|path| path.display().to_string());
        rows.push(vec![
            entry.name.clone(),
            entry.kind.word().to_owned(),
            status.clone(),
            day(entry.not_after_s),
            entry.serial.clone(),
            super::or_dash(file.unwrap_or_default()),
        ]);
        items.push(json!({
            "name": entry.name,
            "kind": entry.kind.word(),
            "status": status,
            "serial": entry.serial,
            "notBefore": moment(entry.not_before_s),
            "notAfter": moment(entry.not_after_s),
            "sha256": entry.sha256,
            "revoked": entry.revoked_s.map(moment),
            "certificate": entry.certificate,
            "key": entry.key,
        }));
    }
    if as_json {
        output::json(&json!({ "items": items }));
    } else if rows.is_empty() {
        eprintln!(
            "nothing {}was issued here; `sectag cert issue server` and `sectag cert issue client NAME` do",
            if register.certificates.is_empty() {
                ""
            } else {
                "that is valid "
            }
        );
    } else {
        output::table(
            &["NAME", "KIND", "STATUS", "UNTIL", "SERIAL", "FILE"],
            &rows,
        );
    }
    Ok(())
}

/// Does the file begin with this certificate? What cannot be read does not.
pub(super) fn holds(path: &Path, sha256: &str) -> bool {
    super::first_of(path).is_ok_and(|facts| facts.fingerprint_sha256 == sha256)
}

pub(super) fn crl(place: &Place, arguments: &Crl) -> Outcome {
    let folder = Folder::existing(place)?;
    let kind = if arguments.servers {
        Kind::Server
    } else {
        Kind::Client
    };
    let path = folder.crl(kind);
    let passphrase = Passphrase::new(&arguments.passphrase);
    if arguments.refresh || !path.exists() {
        let authority = folder.authority(kind.stem(), &passphrase)?;
        folder.write_crl(kind, &authority, super::now_s())?;
    }
    let list = sectag_keep::read_public(&path)
        .map_err(kept)?
        .ok_or_else(|| Fault::no(format!("`{}` is missing", path.display())))?;
    match &arguments.output {
        Some(output) => super::write(output, &list),
        None => {
            output::print(&String::from_utf8_lossy(&list));
            Ok(())
        }
    }
}
