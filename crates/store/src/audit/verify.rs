//! The judge: reads entries in the order of an export and says what does not hold, and how far everything does.
//!
//! An entry that does not fit is looked at together with the next [`WINDOW`] ones, to tell apart what was done to it.

use super::{AuditEntry, AuditHead, Checkpoint, NO_HASH};
use sectag_proto::es256::PublicKey;
use std::collections::{BTreeMap, VecDeque};

/// Entries looked at beyond one that does not fit: enough for what hands do, and little memory.
const WINDOW: usize = 256;
/// Findings that are told; a file of something else has one per line.
const FINDINGS_MAX: usize = 1000;

/// Something that does not hold. The numbers are those of entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// Content and hash disagree, or the hash does not continue the one before.
    #[error("entry {number} was altered (or entry {} and its hash were)", number - 1)]
    Altered {
        /// Which.
        number: u64,
    },
    /// Numbers that are missing.
    #[error("entries {first} to {last} were dropped")]
    Dropped {
        /// From.
        first: u64,
        /// To, included.
        last: u64,
    },
    /// An entry that no number or hash leads to.
    #[error("an entry was inserted as number {number}")]
    Inserted {
        /// The number it claims.
        number: u64,
    },
    /// Two entries that stand in each other's place.
    #[error("entries {first} and {second} were reordered")]
    Reordered {
        /// The place where it was noticed.
        first: u64,
        /// Where the entry stands that belongs there.
        second: u64,
    },
    /// The trail ends before what was signed.
    #[error("the trail was cut after entry {last}: a checkpoint of {at} ms signed entry {signed}")]
    Truncated {
        /// The last one there.
        last: u64,
        /// The newest that was signed.
        signed: u64,
        /// When, milliseconds since 1970.
        at: u64,
    },
    /// The export says where it ends, and does not go that far.
    #[error("the export breaks off after entry {last}; it was made up to entry {announced}")]
    BreaksOff {
        /// The last one there.
        last: u64,
        /// Up to where it was made.
        announced: u64,
    },
    /// A checkpoint that the key did not sign.
    #[error("the signature of the checkpoint at entry {number} is not of this key")]
    BadSignature {
        /// Of the entry.
        number: u64,
    },
    /// Everything was hashed anew after a change.
    #[error(
        "entry {number} is not the one that was signed: an entry after {good} was altered and the chain made anew"
    )]
    Rewritten {
        /// Of the checkpoint.
        number: u64,
        /// The last entry that agrees with a checkpoint.
        good: u64,
    },
}

/// The judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Entries read.
    pub entries: u64,
    /// Everything up to this entry holds; 0 for nothing.
    pub holds_to: u64,
    /// Everything up to this entry holds and is covered by a signature; 0 for nothing.
    pub signed_to: u64,
    /// What does not hold, in the order of the trail.
    pub findings: Vec<Finding>,
}

/// Judges `entries`, which begin with number 1, against `checkpoints` signed by `key`. `end`: what the export says about its end;
/// `None` when it does not say, which means that it breaks off.
pub fn verify(
    mut entries: impl Iterator<Item = AuditEntry>,
    checkpoints: impl IntoIterator<Item = Checkpoint>,
    key: &PublicKey,
    end: Option<AuditHead>,
) -> Report {
    let mut judge = Judge {
        previous: Some(NO_HASH),
        next: 1,
        report: Report {
            entries: 0,
            holds_to: 0,
            signed_to: 0,
            findings: Vec::new(),
        },
        first_bad: None,
        shift: 0,
        signed: BTreeMap::new(),
    };
    for checkpoint in checkpoints {
        if checkpoint.is_signed_by(key) {
            judge
                .signed
                .entry(checkpoint.number)
                .or_default()
                .push(checkpoint);
        } else {
            judge.found(
                Finding::BadSignature {
                    number: checkpoint.number,
                },
                u64::MAX,
            );
        }
    }
    let mut ahead = VecDeque::new();
    loop {
        while ahead.len() < WINDOW {
            match entries.next() {
                Some(mut entry) => {
                    entry.number = entry.number.saturating_add_signed(judge.shift);
                    ahead.push_back(entry);
                }
                None => break,
            }
        }
        let Some(entry) = ahead.pop_front() else {
            break;
        };
        judge.report.entries += 1;
        judge.take(entry, &mut ahead);
    }
    judge.finish(end)
}

/// Whether `tail`, which begins with the entry that `signed` is about (with entry 1 where nothing is signed), continues it.
pub fn verify_tail(tail: &[AuditEntry], signed: Option<&Checkpoint>) -> bool {
    let (mut previous, tail) = match (signed, tail) {
        (None, tail) => (
            AuditHead {
                number: 0,
                hash: NO_HASH,
            },
            tail,
        ),
        (Some(signed), [first, tail @ ..])
            if first.number == signed.number && first.hash == signed.hash =>
        {
            (
                AuditHead {
                    number: first.number,
                    hash: first.hash,
                },
                tail,
            )
        }
        (Some(_), _) => return false,
    };
    tail.iter().all(|entry| {
        let fits =
            entry.number == previous.number + 1 && entry.chained(&previous.hash) == entry.hash;
        previous = AuditHead {
            number: entry.number,
            hash: entry.hash,
        };
        fits
    })
}

struct Judge {
    /// Hash of the entry before; unknown behind a gap.
    previous: Option<[u8; 32]>,
    /// The number that comes next.
    next: u64,
    report: Report,
    /// The first entry that does not hold.
    first_bad: Option<u64>,
    /// What to add to the numbers that are there, where entries before were dropped or put in and the rest numbered anew.
    shift: i64,
    signed: BTreeMap<u64, Vec<Checkpoint>>,
}

impl Judge {
    fn found(&mut self, finding: Finding, at: u64) {
        self.first_bad = Some(self.first_bad.map_or(at, |bad| bad.min(at)));
        if self.report.findings.len() < FINDINGS_MAX && !self.report.findings.contains(&finding) {
            self.report.findings.push(finding);
        }
    }

    fn fits(&self, entry: &AuditEntry) -> bool {
        self.previous
            .is_none_or(|previous| entry.chained_as(self.next, &previous) == entry.hash)
    }

    fn take(&mut self, mut entry: AuditEntry, ahead: &mut VecDeque<AuditEntry>) {
        let next = self.next;
        if entry.number == next && self.fits(&entry) {
            // An entry put in and hashed well is betrayed by the one behind it, which continues the one before.
            let betrayed = self
                .previous
                .zip(ahead.front())
                .is_some_and(|(previous, behind)| {
                    behind.chained_as(next, &previous) == behind.hash && behind.hash != entry.hash
                });
            if betrayed {
                self.inserted(next, ahead);
                return;
            }
            return self.accept(&entry);
        }
        if self.report.findings.len() >= FINDINGS_MAX {
            self.found(Finding::Altered { number: next }, next);
            return self.accept(&entry);
        }
        if entry.number < next {
            return self.found(
                Finding::Inserted {
                    number: entry.number,
                },
                entry.number,
            );
        }
        if let Some(place) = ahead
            .iter()
            .position(|other| self.fits(other) && self.previous.is_some())
        {
            if place == 0
                && entry.number == next
                && ahead[0].number == next + 1
                && !self.swapped(&entry, &ahead[0])
            {
                // The entry behind it is the one that belongs here: this one was put in, the others numbered anew.
                return self.inserted(next, ahead);
            }
            let (first, second) = (next, ahead[place].number.max(entry.number));
            self.found(Finding::Reordered { first, second }, next);
            std::mem::swap(&mut entry, &mut ahead[place]);
            (entry.number, ahead[place].number) = (next, second);
            return self.accept(&entry);
        }
        if entry.number > next {
            self.found(
                Finding::Dropped {
                    first: next,
                    last: entry.number - 1,
                },
                next,
            );
            self.next = entry.number;
            return self.accept(&entry);
        }
        // Dropped, and what follows numbered anew: the one behind it continues it under a later number.
        let later = |by: &u64| {
            ahead.front().is_some_and(|behind| {
                behind.chained_as(behind.number + by, &entry.hash) == behind.hash
            })
        };
        if let Some(by) = (1..=WINDOW as u64).find(later) {
            self.found(
                Finding::Dropped {
                    first: next,
                    last: next + by - 1,
                },
                next,
            );
            ahead.iter_mut().for_each(|other| other.number += by);
            self.next += by;
            self.shift = self.shift.saturating_add_unsigned(by);
        } else {
            self.found(Finding::Altered { number: next }, next);
        }
        self.accept(&entry);
    }

    /// Whether these two stand in each other's place (and not the first one in front of all others).
    fn swapped(&self, here: &AuditEntry, behind: &AuditEntry) -> bool {
        here.chained_as(self.next + 1, &behind.hash) == here.hash
    }

    fn inserted(&mut self, number: u64, ahead: &mut VecDeque<AuditEntry>) {
        self.found(Finding::Inserted { number }, number);
        self.shift -= 1;
        for other in ahead.iter_mut() {
            other.number = other.number.saturating_sub(1);
        }
    }

    fn accept(&mut self, entry: &AuditEntry) {
        self.previous = Some(entry.hash);
        let number = self.next;
        self.next += 1;
        let Some(signed) = self.signed.remove(&number) else {
            return;
        };
        if signed
            .iter()
            .any(|checkpoint| checkpoint.hash != entry.hash)
        {
            let good = self.report.signed_to;
            self.found(Finding::Rewritten { number, good }, good + 1);
        } else if self.first_bad.is_none_or(|bad| bad > number) {
            self.report.signed_to = number;
        }
    }

    fn finish(mut self, end: Option<AuditHead>) -> Report {
        let last = self.next - 1;
        let breaks_off = match end {
            None => Some(last + 1),
            Some(end) if self.report.findings.is_empty() && Some(end.hash) != self.previous => {
                Some(end.number)
            }
            Some(_) => None,
        };
        if let Some(announced) = breaks_off {
            self.found(Finding::BreaksOff { last, announced }, last + 1);
        }
        if let Some((&signed, checkpoints)) = self.signed.last_key_value()
            && signed > last
        {
            let at = checkpoints[0].at; // each number came with one
            self.found(Finding::Truncated { last, signed, at }, last + 1);
        }
        self.report.holds_to = self
            .first_bad
            .map_or(last, |bad| last.min(bad.saturating_sub(1)));
        self.report
    }
}
