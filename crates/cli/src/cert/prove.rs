//! Renewed pairs that wait are put in place for a proof, and wait again when it fails (spec/gateway-config §15, RULE 21).

use super::issue::Paths;
use super::renew::{in_use, promote, waits};
use crate::ca::{Folder, kept};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use sectag_keep::{Previous, new_beside};
use std::future::Future;
use zeroize::Zeroizing;

/// A pair that was put in place, and the one before it.
struct Promoted {
    name: String,
    paths: Paths,
    previous: Previous,
}

/// Puts every renewed pair of this home in place, lets `apply` tell the broker and prove it by connections, and brings the
/// old pairs back when that fails; `apply` then runs once more, so that the broker has them, too.
///
/// A cut between the two leaves a whole new pair in place, which the next `apply` proves.
pub(crate) async fn proved<F, A>(place: &Place, dry_run: bool, apply: F) -> Outcome
where
    F: Fn() -> A,
    A: Future<Output = Outcome>,
{
    let waiting = waiting(place)?;
    if waiting.is_empty() || dry_run {
        for (name, _) in &waiting {
            eprintln!("note: a renewed pair of `{name}` waits; `apply` puts it in place first");
        }
        return apply().await;
    }
    let mut promoted = Vec::new();
    for (name, paths) in waiting {
        match promote(&paths, super::now_s()) {
            Ok(Some(previous)) => {
                eprintln!(
                    "`{name}` has its renewed pair: {}",
                    paths.certificate.display()
                );
                promoted.push(Promoted {
                    name,
                    paths,
                    previous,
                });
            }
            Ok(None) => {}
            Err(fault) => {
                take_back(&promoted)?;
                return Err(fault);
            }
        }
    }
    let Err(fault) = apply().await else {
        return Ok(());
    };
    take_back(&promoted)?;
    let names: Vec<&str> = promoted.iter().map(|one| one.name.as_str()).collect();
    eprintln!(
        "the pairs of {} are as before; the renewed ones wait beside them",
        names.join(", ")
    );
    if fault.code() == 1
        && let Err(again) = apply().await
    {
        eprintln!("{}", again.warning());
    }
    Err(fault)
}

/// Names and places of renewed pairs that wait.
fn waiting(place: &Place) -> Outcome<Vec<(String, Paths)>> {
    let folder = Folder::of(place)?;
    if !folder.certificate("root").exists() {
        return Ok(Vec::new());
    }
    let now_s = super::now_s();
    let found = in_use(&folder, None)?.into_iter();
    Ok(found
        .filter(|(entry, _)| waits(entry, now_s))
        .filter_map(|(entry, _)| {
            let paths = Paths {
                certificate: entry.certificate?,
                key: entry.key?,
            };
            Some((entry.name, paths))
        })
        .collect())
}

fn take_back(promoted: &[Promoted]) -> Outcome {
    for Promoted {
        name,
        paths,
        previous,
    } in promoted.iter().rev()
    {
        let read = |path| sectag_keep::read_public(path).map(Option::unwrap_or_default);
        let restored = (|| {
            // The renewed pair waits again: whoever mends what was wrong need not issue another.
            let certificate = read(&paths.certificate)?;
            let key = Zeroizing::new(read(&paths.key)?);
            let (beside, key_beside) = (new_beside(&paths.certificate), new_beside(&paths.key));
            sectag_keep::write_pair(&beside, &certificate, &key_beside, &key)?;
            previous.restore(&paths.certificate, &paths.key)
        })();
        restored.map_err(|e| {
            let fault: Fault = kept(e);
            fault.hint(format!(
                "`{name}` keeps its renewed pair, which is whole; `sectag gateway apply` tries it again"
            ))
        })?;
    }
    Ok(())
}
