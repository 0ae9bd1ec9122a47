//! `sectag cert needs-renewal`, in upstream's sense of exit codes, and `cert check`, in everybody's.

use super::device;
use super::renew::{in_use, is_due, minimum_s};
use super::validity::Validity;
use crate::args::{Global, Subject};
use crate::ca::{Folder, Kind};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use sectag_pki::CertificateFacts;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Exit 0: it must be renewed; 1: it is fine; 2: that cannot be told.
pub(super) fn needs_renewal(global: &Global, place: &Place, subject: &Subject) -> Outcome {
    let now_s = super::now_s();
    let minimum_s = minimum_s(global, place);
    let unknown = |fault: Fault| fault.or_code(2);
    if subject.all {
        let folder = Folder::existing(place).map_err(unknown)?;
        let mut due = false;
        let used = in_use(&folder, None).map_err(unknown)?;
        say_if_none(used.is_empty());
        for (entry, facts) in used {
            let validity = Validity::of(&facts, minimum_s, now_s);
            eprintln!("{:24} {}", entry.name, validity.words());
            due |= is_due(&facts, minimum_s, now_s);
        }
        for kind in Kind::ALL {
            // Brokers refuse every client once the list has ended.
            if folder.key(kind.stem()).exists()
                && folder.crl_is_due(kind, now_s).map_err(unknown)?
            {
                eprintln!("{} must be signed anew", folder.crl(kind).display());
                due = true;
            }
        }
        return if due { Ok(()) } else { Err(Fault::silent(1)) };
    }
    let path = path_of(global, place, subject).map_err(unknown)?;
    let facts = super::first_of(&path).map_err(|fault| cannot_tell(&path, fault))?;
    let validity = Validity::of(&facts, minimum_s, now_s);
    eprintln!("Status:        {}", validity.words());
    if validity.is_due() {
        Ok(())
    } else {
        Err(Fault::silent(1))
    }
}

fn cannot_tell(path: &Path, fault: Fault) -> Fault {
    Fault::untried(format!(
        "cannot check the certificate in `{}`: {}",
        path.display(),
        fault.sentence()
    ))
}

/// Exit 0: all is well; 1: it ends soon, has ended, is not valid yet or revoked; 2: that cannot be told.
pub(super) fn check(global: &Global, place: &Place, subject: &Subject) -> Outcome {
    let now_s = super::now_s();
    let minimum_s = minimum_s(global, place);
    let unknown = |fault: Fault| fault.or_code(2);
    let checked: Vec<(String, PathBuf, CertificateFacts)> = if subject.all {
        let folder = Folder::existing(place).map_err(unknown)?;
        let used = in_use(&folder, None).map_err(unknown)?;
        say_if_none(used.is_empty());
        used.into_iter()
            .map(|(entry, facts)| (entry.name, entry.certificate.unwrap_or_default(), facts))
            .collect()
    } else {
        let path = path_of(global, place, subject).map_err(unknown)?;
        let facts = super::first_of(&path).map_err(|fault| cannot_tell(&path, fault))?;
        vec![(path.display().to_string(), path, facts)]
    };
    let revoked = match Folder::existing(place) {
        Ok(folder) => folder.register().map_err(unknown)?.revoked(),
        Err(_) => BTreeSet::new(),
    };
    let mut bad = 0;
    let mut lost = 0;
    let mut items = Vec::new();
    for (name, path, facts) in &checked {
        let validity = Validity::of(facts, minimum_s, now_s);
        let is_revoked = revoked.contains(&facts.fingerprint_sha256);
        let words = if is_revoked {
            "REVOKED".to_owned()
        } else {
            validity.words()
        };
        let due = if subject.all {
            is_due(facts, minimum_s, now_s)
        } else {
            validity.is_due()
        };
        let fine = !is_revoked && !due && !matches!(validity, Validity::NotYet(_));
        bad += usize::from(!fine);
        lost += usize::from(is_revoked);
        if global.json {
            items.push(json!({ "name": name, "file": path, "status": words, "fine": fine }));
        } else {
            output::print(&format!("{name}: {words}\n"));
        }
    }
    if global.json {
        output::json(&json!({ "items": items }));
    }
    match bad {
        0 => Ok(()),
        _ => Err(Fault::no(format!(
            "{bad} of {} must be renewed or replaced",
            checked.len()
        ))
        .hint(match bad > lost {
            true => "`sectag cert renew --all --due` renews what was issued here",
            false => "`sectag cert issue` with --force makes another with another key",
        })),
    }
}

/// Silence would look like an answer.
fn say_if_none(none: bool) {
    if none {
        eprintln!("nothing that was issued here is in use");
    }
}

/// The file, or the one of a name in the register; the file again where there is neither, for the message.
pub(super) fn named(place: &Place, file: &Path) -> PathBuf {
    let known = || {
        let name = file.to_str().filter(|_| !file.exists())?;
        let entries = Folder::existing(place).ok()?.register().ok()?.certificates;
        let known = entries.into_iter().rev().find(|entry| entry.name == name)?;
        known.certificate
    };
    known().unwrap_or_else(|| file.to_owned())
}

/// The file that is meant.
pub(super) fn path_of(global: &Global, place: &Place, subject: &Subject) -> Outcome<PathBuf> {
    if let Some(path) = &subject.cert_path {
        return Ok(path.clone());
    }
    let Some(what) = &subject.what else {
        return Ok(device::Files::configured(global, place)?.certificate);
    };
    if Path::new(what).exists() || what.contains('/') {
        return Ok(PathBuf::from(what));
    }
    let entries = Folder::existing(place)?.register()?.certificates;
    let known = entries.iter().rev().find(|entry| entry.name == *what);
    match known.and_then(|entry| entry.certificate.clone()) {
        Some(path) => Ok(path),
        None => Err(Fault::untried(format!(
            "`{what}` is neither a file nor a name in the register"
        ))
        .hint("`sectag cert list` shows the register")),
    }
}
