//! Renewed pairs that no key of the gateway names: `gateway apply` has nobody to prove them to, and puts them in place.

use super::issue::Paths;
use super::renew::{in_use, promote, waits};
use crate::ca::Folder;
use crate::fault::Outcome;
use crate::home::Place;

/// Puts every renewed pair of this home in place that waits still. One that fits is whole and valid; `dry_run` only names it.
pub(crate) fn promote_waiting(place: &Place, dry_run: bool) -> Outcome {
    let folder = Folder::of(place)?;
    if !folder.certificate("root").exists() {
        return Ok(());
    }
    let now_s = super::now_s();
    let revoked = folder.register()?.revoked();
    for (entry, _) in in_use(&folder, None)? {
        if !waits(&entry, &revoked, now_s) {
            continue;
        }
        let (Some(certificate), Some(key)) = (entry.certificate, entry.key) else {
            continue;
        };
        let name = entry.name;
        if dry_run {
            eprintln!("note: a renewed pair of `{name}` waits; `apply` puts it in place");
            continue;
        }
        let paths = Paths { certificate, key };
        if promote(&paths, now_s)?.is_some() {
            let at = paths.certificate.display();
            eprintln!("`{name}` has its renewed pair: {at}");
        }
    }
    Ok(())
}
