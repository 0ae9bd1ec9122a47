//! `sectag cert renew`: a new pair beside the old one, for whoever proves it; or in its place at once.
//!
//! ```text
//!  server.crt, server.key         in use
//!  server.crt.new, server.key.new written by `cert renew`
//!                                 │ `gateway apply` (or `cert renew --now`): the pair fits, key first, then certificate
//!  server.crt, server.key ◄───────┘ served serial checked by a handshake, else the old pair comes back (RULE 21)
//! ```

use super::issue::{Paths, configured, duration_s};
use crate::args::{Global, Renew};
use crate::ca::{Entry, Folder, Kind, Passphrase, broken, day, kept};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use sectag_keep::{Previous, new_beside};
use sectag_pki::{CertificateFacts, KeyPair, KeyType, Terms};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use zeroize::Zeroizing;

const DAY_S: u64 = 86_400;
/// Certificates begin an hour before they are issued.
const BACKDATED_S: u64 = 3_600;
/// `certificate.validity.minimum_duration` by default.
const MINIMUM_S: u64 = 30 * DAY_S;

/// What becomes of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A new pair is written beside it.
    Renew,
    /// One waits already.
    Waits,
    /// It has time.
    Fine,
    /// It should have been renewed, and could not be.
    Failed,
}

impl Step {
    const fn word(self) -> &'static str {
        match self {
            Self::Renew => "renew",
            Self::Waits => "waiting",
            Self::Fine => "fine",
            Self::Failed => "failed",
        }
    }
}

pub(super) fn renew(global: &Global, place: &Place, arguments: &Renew) -> Outcome {
    let folder = Folder::existing(place)?;
    let now_s = super::now_s();
    let passphrase = Passphrase::new(&arguments.passphrase);
    let minimum_s = minimum_s(global, place);
    let entries = in_use(&folder, arguments.name.as_deref())?;
    let revoked = folder.register()?.revoked();
    let mut plan: Vec<(Entry, Step)> = Vec::new();
    for (entry, facts) in entries {
        let step = if waits(&entry, &revoked, now_s) {
            Step::Waits
        } else if arguments.due && !is_due(&facts, minimum_s, now_s) {
            Step::Fine
        } else {
            Step::Renew
        };
        plan.push((entry, step));
    }
    if arguments.dry_run {
        say(global.json, &plan, "would be");
        return Ok(());
    }
    let mut failed = Vec::new();
    for (entry, step) in &mut plan {
        let Some(paths) = paths(entry).filter(|_| *step != Step::Fine) else {
            continue;
        };
        let done = match step {
            Step::Renew => beside(&folder, entry, &paths, arguments, &passphrase, now_s),
            _ => Ok(()),
        };
        let done = done.and_then(|()| match arguments.now {
            true => promote(&paths, now_s).map(drop),
            false => Ok(()),
        });
        if let Err(fault) = done {
            // The others must not wait for this one.
            eprintln!("{}", fault.text());
            failed.push(format!("`{}`", entry.name));
            *step = Step::Failed;
        }
    }
    refresh_lists(&folder, &passphrase, now_s);
    say(global.json, &plan, "");
    if !failed.is_empty() {
        let names = failed.join(", ");
        return Err(Fault::no(format!("{names} could not be renewed")));
    }
    let waiting = plan.iter().any(|(_, step)| *step != Step::Fine);
    if waiting && !arguments.now {
        eprintln!(
            "the new pairs wait beside the old ones as .new; `sectag gateway apply` proves them by a connection and puts them in place, --now does it unproved"
        );
    }
    Ok(())
}

/// Due by the minimum that is configured, but never before a third of the life is left: what is issued for less than the
/// minimum would be due at once, and for ever.
pub(super) fn is_due(facts: &CertificateFacts, minimum_s: u64, now_s: u64) -> bool {
    let third = facts.not_after_s.saturating_sub(facts.not_before_s) / 3;
    super::validity::Validity::of(facts, minimum_s.min(third), now_s).is_due()
}

/// `certificate.validity.minimum_duration` in seconds.
pub(super) fn minimum_s(global: &Global, place: &Place) -> u64 {
    configured(global, place)
        .and_then(|(config, _)| duration_s(&config, "certificate.validity.minimum_duration"))
        .unwrap_or(MINIMUM_S)
}

/// What is in use: the entries whose certificate stands in its file, with what it says.
pub(super) fn in_use(
    folder: &Folder,
    name: Option<&str>,
) -> Outcome<Vec<(Entry, CertificateFacts)>> {
    let register = folder.register()?;
    let mut found = Vec::new();
    let mut why = None;
    for entry in register.certificates {
        if name.is_some_and(|name| name != entry.name && name != entry.serial) {
            continue;
        }
        let (Some(path), Some(_)) = (&entry.certificate, &entry.key) else {
            why = Some("its key was made elsewhere; `sectag cert reissue` takes a request for it");
            continue;
        };
        if entry.revoked_s.is_some() {
            why = Some("it is revoked; `sectag cert issue` makes another");
            continue;
        }
        // A file that is gone is out of use; one that cannot be read may be in use, and would end without a word.
        let read = match path.symlink_metadata() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            _ => Some(super::first_of(path)),
        };
        match read {
            Some(Ok(facts)) if facts.fingerprint_sha256 == entry.sha256 => {
                found.push((entry, facts));
                continue;
            }
            Some(Err(fault)) if name.is_none() => {
                let name = &entry.name;
                eprintln!("{}; `{name}` is left out", fault.warning());
            }
            _ => {}
        }
        why = why.or(Some(
            "its file is gone, or holds another certificate; `sectag cert issue` makes another",
        ));
    }
    match (found.is_empty(), name) {
        (true, Some(name)) => Err(match why {
            Some(why) => Fault::no(format!("`{name}` cannot be renewed: {why}")),
            None => Fault::no(format!("nothing called `{name}` was issued here"))
                .hint("`sectag cert list --all` shows the register"),
        }),
        _ => Ok(found),
    }
}

fn paths(entry: &Entry) -> Option<Paths> {
    Some(Paths {
        certificate: entry.certificate.clone()?,
        key: entry.key.clone()?,
    })
}

/// Does a renewed pair wait that is still good, and not `revoked` (SHA-256)?
pub(super) fn waits(entry: &Entry, revoked: &BTreeSet<String>, now_s: u64) -> bool {
    let Some(paths) = paths(entry) else {
        return false;
    };
    // Loading finishes or discards what was cut off.
    let (certificate, key) = (new_beside(&paths.certificate), new_beside(&paths.key));
    match sectag_keep::load_pair(&certificate, &key) {
        Ok(Some((found, key))) => {
            let is_revoked = || {
                let facts = super::first_of(&certificate);
                facts.is_ok_and(|facts| revoked.contains(&facts.fingerprint_sha256))
            };
            fits(&paths.certificate, &found, &key, now_s).is_ok() && !is_revoked()
        }
        _ => false,
    }
}

/// Writes a new pair beside the old one.
fn beside(
    folder: &Folder,
    entry: &Entry,
    paths: &Paths,
    arguments: &Renew,
    passphrase: &Passphrase,
    now_s: u64,
) -> Outcome {
    let old = super::first_of(&paths.certificate)?;
    let authority = folder.authority(entry.kind.stem(), passphrase)?;
    let key = if arguments.reuse_key {
        let text = Zeroizing::new(super::bytes_of(&paths.key)?);
        KeyPair::from_pem(&crate::ca::text_of(&paths.key, &text)?)
    } else if old.key_usages.contains(&"keyEncipherment") || old_is_rsa(&paths.key) {
        KeyPair::generate(KeyType::Rsa2048)
    } else {
        KeyPair::generate(KeyType::P256)
    }
    .map_err(|e| broken(&paths.key, &e))?;
    let before_s = old
        .not_after_s
        .saturating_sub(old.not_before_s + BACKDATED_S);
    let terms = Terms {
        now_s,
        lifetime_s: arguments
            .days
            .map_or(before_s, |days| days.saturating_mul(DAY_S)),
        crl_url: entry.crl_url.as_deref(),
    };
    let made = match entry.kind {
        Kind::Server => {
            let names = super::names_in(&old);
            authority.issue_local_server(&key.spki_der(), &names, &terms)
        }
        Kind::Client => authority.issue_local_client(&key.spki_der(), &entry.name, &terms),
    }
    .map_err(Fault::no_because)?;
    let mut renewed = Entry::new(
        entry.kind,
        &entry.name,
        &made,
        authority.certificate(),
        entry.crl_url.as_deref(),
    );
    renewed.certificate = Some(paths.certificate.clone());
    renewed.key = Some(paths.key.clone());
    folder.record(renewed)?;
    let chain = made.pem() + &folder.chain(entry.kind)?;
    sectag_keep::write_pair(
        &new_beside(&paths.certificate),
        chain.as_bytes(),
        &new_beside(&paths.key),
        key.to_pem().as_bytes(),
    )
    .map_err(kept)
}

/// The kind of a key that a client certificate does not tell.
fn old_is_rsa(key: &Path) -> bool {
    std::fs::read_to_string(key)
        .map(Zeroizing::new)
        .ok()
        .and_then(|text| KeyPair::from_pem(&text).ok())
        .is_some_and(|key| key.is_rsa())
}

/// Puts a renewed pair that waits in place, and hands back the old one for whoever finds that it does not serve.
pub(super) fn promote(paths: &Paths, now_s: u64) -> Outcome<Option<Previous>> {
    enum Stop {
        Keep(sectag_keep::KeepError),
        Fault(Fault),
    }
    impl From<sectag_keep::KeepError> for Stop {
        fn from(error: sectag_keep::KeepError) -> Self {
            Self::Keep(error)
        }
    }
    sectag_keep::promote_pair(&paths.certificate, &paths.key, |certificate, key| {
        fits(&paths.certificate, certificate, key, now_s).map_err(Stop::Fault)
    })
    .map_err(|stop| match stop {
        Stop::Keep(error) => kept(error),
        Stop::Fault(fault) => fault,
    })
}

/// Is it a pair, and valid now?
fn fits(path: &Path, certificate: &[u8], key: &[u8], now_s: u64) -> Outcome {
    let waiting = new_beside(path);
    let found = crate::ca::certificates_in(&waiting, certificate)?;
    let text = crate::ca::text_of(&waiting, key)?;
    let key = KeyPair::from_pem(&text).map_err(|e| broken(&waiting, &e))?;
    let leaf = &found[0]; // `certificates_in` gives at least one
    if sectag_pki::sha256(&key.spki_der()) != leaf.spki_sha256 {
        return Err(Fault::no(format!(
            "the key that waits beside `{}` is not that of its certificate",
            path.display()
        ))
        .hint("remove both .new files and renew again"));
    }
    if now_s < leaf.not_before_s || now_s > leaf.not_after_s {
        return Err(Fault::no(format!(
            "the certificate in `{}` is not valid today",
            waiting.display()
        )));
    }
    Ok(())
}

/// Lists that are old, or lack something, are signed again when the keys are at hand.
fn refresh_lists(folder: &Folder, passphrase: &Passphrase, now_s: u64) {
    for kind in Kind::ALL {
        if !folder.key(kind.stem()).exists() {
            continue;
        }
        let done = folder.crl_is_due(kind, now_s).and_then(|due| {
            if due {
                let authority = folder.authority(kind.stem(), passphrase)?;
                folder.write_crl(kind, &authority, now_s)?;
            }
            Ok(())
        });
        if let Err(fault) = done {
            eprintln!("{}; the revocation list stays as it is", fault.warning());
        }
    }
}

fn say(as_json: bool, plan: &[(Entry, Step)], tense: &str) {
    if as_json {
        let items: Vec<_> = plan
            .iter()
            .map(|(entry, step)| {
                json!({
                    "name": entry.name,
                    "kind": entry.kind.word(),
                    "serial": entry.serial,
                    "step": step.word(),
                    "certificate": entry.certificate,
                })
            })
            .collect();
        output::json(&json!({ "items": items }));
        return;
    }
    if plan.is_empty() {
        eprintln!("nothing that was issued here is in use");
        return;
    }
    let rows: Vec<Vec<String>> = plan
        .iter()
        .map(|(entry, step)| {
            let word = match (step, tense) {
                (Step::Renew, "") => "renewed",
                (step, _) => step.word(),
            };
            let file = entry.certificate.as_ref().map(|p| p.display().to_string());
            vec![
                entry.name.clone(),
                entry.kind.word().to_owned(),
                day(entry.not_after_s),
                word.to_owned(),
                file.unwrap_or_default(),
            ]
        })
        .collect();
    output::table(&["NAME", "KIND", "UNTIL", "STEP", "FILE"], &rows);
}
