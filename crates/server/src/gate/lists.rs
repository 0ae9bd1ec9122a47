//! Revocation lists as files, for brokers that are not ours: `ca/devices.crl`, and `ca/teams/<id>.crl` for each team's CA.
//!
//! ```text
//!   store: taken back, issued by this CA ─┐
//!   the file as it is (`sectag cert       ├─► one list with a higher number ─► the file, atomically
//!   revoke` writes there as well)        ─┘
//! ```
//!
//! A list is made when something was taken back, when the file lacks what the store has, and well before the next one is
//! due. What a list said before it goes on saying, whoever wrote it. Our own broker does not wait for the file.

use super::Doorkeeper;
use crate::app::Clock;
use crate::issuers::Issuers;
use sectag_keep::{self as keep, KeepError};
use sectag_pki::{Authority, PkiError, RevocationList, pem, show};
use sectag_store::{Revoked, Store};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

const DAY_S: u64 = 86_400;
/// How long a list is valid, as those of `sectag cert revoke`: strict verifiers refuse every client once it has ended.
const LIST_S: u64 = 365 * DAY_S;
/// A list older than this is made anew.
const FRESH_S: u64 = 30 * DAY_S;
/// How often the files are looked at: another program may have written one, and time goes by.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// After a change: when a fleet is unclaimed device by device, one list holds many of them.
const PAUSE: Duration = Duration::from_millis(500);

/// Keeps the files up to date.
pub(crate) struct Lists {
    store: Arc<dyn Store>,
    issuers: Arc<Issuers>,
    clock: Clock,
    /// What each file looked like when it was right.
    known: HashMap<PathBuf, Stamp>,
}

/// Enough to see that a file was written by somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    /// By our clock: when the list has to be made anew.
    due_s: u64,
}

/// Why a list was not written.
#[derive(Debug, thiserror::Error)]
enum ListError {
    #[error(transparent)]
    Keep(#[from] KeepError),
    #[error("the revocation list cannot be made")]
    Pki(#[from] PkiError),
}

impl std::fmt::Debug for Lists {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lists").finish_non_exhaustive()
    }
}

impl Lists {
    pub(crate) fn new(store: Arc<dyn Store>, issuers: Arc<Issuers>, clock: Clock) -> Self {
        Self {
            store,
            issuers,
            clock,
            known: HashMap::new(),
        }
    }

    /// Makes what is missing or due: before anybody reads the files.
    pub(crate) async fn make(&mut self) {
        self.look(true).await;
    }

    /// Makes whatever changes from then on, until the service ends.
    pub(crate) async fn run(mut self, keeper: Arc<Doorkeeper>, mut stopped: watch::Receiver<bool>) {
        loop {
            let changed = tokio::select! {
                () = keeper.lists_changed() => true,
                () = tokio::time::sleep(LOOK_INTERVAL) => false,
                _ = stopped.wait_for(|asked| *asked) => return,
            };
            if self.look(changed).await || changed {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Looks after every list; whether one was made.
    async fn look(&mut self, changed: bool) -> bool {
        let mut made = false;
        for team in self.issuers.teams() {
            let path = self.issuers.revocations(&team);
            let now_s = (self.clock)().as_secs();
            let known = self.known.get(&path);
            let same = |known: &Stamp| {
                stamp(&path, known.due_s).is_some_and(|found| found == *known)
                    && now_s < known.due_s
            };
            if !changed && known.is_some_and(same) {
                continue;
            }
            let Some(authority) = self.issuers.for_team(&team) else {
                continue;
            };
            let revoked = match self.revoked_of(&team).await {
                Ok(revoked) => revoked,
                Err(reason) => {
                    tracing::warn!(%reason, "a revocation list cannot be made");
                    // None of them says all that it should, for all we know.
                    self.known.clear();
                    return made;
                }
            };
            let at = path.clone();
            // Signatures and files, so not on a thread that carries connections.
            let work = move || write(&at, &authority, &revoked, now_s);
            match tokio::task::spawn_blocking(work).await {
                Ok(Ok((wrote, due_s))) => {
                    made |= wrote;
                    if let Some(stamp) = stamp(&path, due_s) {
                        self.known.insert(path, stamp);
                    }
                }
                // The file is as it was, and lacks something: the next look tries again.
                Ok(Err(reason)) => {
                    tracing::warn!(path = %path.display(), %reason, "a revocation list cannot be written");
                    self.known.remove(&path);
                }
                Err(reason) => {
                    tracing::error!(%reason, "a revocation list was not made");
                    self.known.remove(&path);
                }
            }
        }
        made
    }

    async fn revoked_of(&self, team: &str) -> Result<Vec<Revoked>, sectag_store::StoreError> {
        let mut revoked = self.store.revoked_of_team(team).await?;
        if team == self.issuers.home_team() {
            // From before certificates had a team.
            revoked.extend(self.store.revoked_of_team("").await?);
        }
        Ok(revoked)
    }
}

fn stamp(path: &std::path::Path, due_s: u64) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some(Stamp {
        modified: found.modified().ok(),
        bytes: found.len(),
        due_s,
    })
}

/// Brings one file up to date; whether it was written, and when it is due again.
fn write(
    path: &std::path::Path,
    authority: &Authority,
    revoked: &[Revoked],
    now_s: u64,
) -> Result<(bool, u64), ListError> {
    let issuer = show(authority.certificate_der())?.subject;
    keep::edit(path, |found| {
        let known = found
            .as_deref()
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .and_then(|text| pem::decode("X509 CRL", text))
            .and_then(|der| RevocationList::from_der(&der).ok())
            .filter(|list| list.issuer == issuer);
        let mut all: BTreeMap<&str, u64> = BTreeMap::new();
        if let Some(list) = &known {
            let entries = list.revoked.iter();
            all.extend(entries.map(|(serial, at)| (serial.as_str(), *at)));
        }
        let mut is_missing = false;
        for one in revoked {
            // RFC 5280 §3.3: listed once more after its end.
            if one.ends_at.as_secs().saturating_add(FRESH_S) < now_s {
                all.remove(one.serial.as_str());
            } else if !all.contains_key(one.serial.as_str()) {
                all.insert(&one.serial, one.revoked_at.as_secs());
                is_missing = true;
            }
        }
        let due = |list: &RevocationList| list.this_update_s.saturating_add(FRESH_S);
        if let Some(list) = &known
            && !is_missing
            // What has ended does no harm until the next list.
            && now_s < due(list)
        {
            return Ok((None, (false, due(list))));
        }
        let number = known.as_ref().map_or(0, |list| list.number);
        let number = now_s.max(number.saturating_add(1));
        let entries: Vec<(&str, u64)> = all.into_iter().collect();
        let end_s = now_s.saturating_add(LIST_S);
        let der = authority.crl_numbered(&entries, number, now_s, end_s)?;
        let text = pem::encode("X509 CRL", &der).into_bytes();
        Ok((Some(text), (true, now_s.saturating_add(FRESH_S))))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sectag_pki::Purpose;
    use sectag_proto::Timestamp;

    const NOW_S: u64 = 1_800_000_000;

    fn revoked(serial: &str) -> Revoked {
        Revoked {
            number: 1,
            mark: [0; 32],
            serial: serial.to_owned(),
            revoked_at: Timestamp::from_secs(NOW_S),
            ends_at: Timestamp::from_secs(NOW_S + DAY_S),
        }
    }

    fn read(path: &std::path::Path) -> RevocationList {
        let text = std::fs::read_to_string(path).unwrap();
        RevocationList::from_der(&pem::decode("X509 CRL", &text).unwrap()).unwrap()
    }

    #[test]
    fn a_list_keeps_what_others_wrote_and_is_made_anew_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("devices.crl");
        let root = Authority::root("Root", NOW_S).unwrap();
        let devices = root.issuing(Purpose::Devices, NOW_S).unwrap();
        assert!(write(&path, &devices, &[], NOW_S).unwrap().0);
        let first = read(&path);
        assert_eq!((first.revoked.len(), first.number), (0, NOW_S));
        // Somebody else writes.
        let theirs = devices
            .crl_numbered(&[("0a", NOW_S)], NOW_S + 9, NOW_S, NOW_S + 60)
            .unwrap();
        keep::write_public(&path, pem::encode("X509 CRL", &theirs).as_bytes()).unwrap();
        assert!(!write(&path, &devices, &[], NOW_S).unwrap().0);
        assert!(write(&path, &devices, &[revoked("0b")], NOW_S).unwrap().0);
        let both = read(&path);
        assert_eq!(both.revoked.len(), 2);
        assert_eq!(both.number, NOW_S + 10);
        assert_eq!(both.next_update_s, Some(NOW_S + LIST_S));
        assert!(!write(&path, &devices, &[revoked("0b")], NOW_S).unwrap().0);
        // Time goes by.
        let later = NOW_S + FRESH_S;
        assert!(write(&path, &devices, &[], later).unwrap().0);
        assert_eq!(read(&path).revoked, both.revoked);
        // What has ended long ago is left out; what others wrote stays.
        let much_later = later + FRESH_S + DAY_S;
        assert!(
            write(&path, &devices, &[revoked("0b")], much_later)
                .unwrap()
                .0
        );
        let left: Vec<String> = read(&path).revoked.into_iter().map(|(s, _)| s).collect();
        assert_eq!(left, ["0a"]);
        // What is no list of this CA says nothing here.
        keep::write_public(&path, b"garbage").unwrap();
        assert!(write(&path, &devices, &[], later).unwrap().0);
        assert_eq!(read(&path).revoked, []);
    }
}
