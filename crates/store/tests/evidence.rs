//! The audit trail as evidence: chained over commits and restarts, and whatever is done to it is found and named.
#![allow(clippy::unwrap_used)]

mod fixtures;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use fixtures::*;
use proptest::prelude::*;
use sectag_proto::es256::PublicKey;
use sectag_store::audit::{AuditEntry, AuditHead, Checkpoint, Finding, Header, Line, verify};
use sectag_store::{SealKey, SqliteStore, Store};

struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    fn key(&self) -> PublicKey {
        let mut spki = key(0).as_spki_der().to_vec();
        spki[26..].copy_from_slice(self.0.public_key().as_ref());
        PublicKey::from_spki_der(&spki).unwrap()
    }

    fn sign(&self, entry: &AuditEntry) -> Checkpoint {
        let message = Checkpoint::message(entry.number, &entry.hash, 7);
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes());
        Checkpoint {
            number: entry.number,
            hash: entry.hash,
            at: 7,
            signature: signature.unwrap().as_ref().to_vec(),
        }
    }
}

/// A trail of this many entries.
async fn trail(entries: u64) -> Vec<AuditEntry> {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    for n in 1..=entries {
        store.record(vec![event(n, Some(1))]).await.unwrap();
    }
    store.audit_entries(0, u64::MAX, 1000).await.unwrap()
}

fn end(entries: &[AuditEntry]) -> Option<AuditHead> {
    let last = entries.last().unwrap();
    Some(AuditHead {
        number: last.number,
        hash: last.hash,
    })
}

/// What is found when `change` was done to ten entries, of which the last is signed.
async fn found(change: impl FnOnce(&mut Vec<AuditEntry>)) -> (Vec<Finding>, u64) {
    let (mut entries, signer) = (trail(10).await, Signer::new());
    let signed = [signer.sign(&entries[4]), signer.sign(&entries[9])];
    change(&mut entries);
    let end = end(&entries);
    let report = verify(entries.into_iter(), signed, &signer.key(), end);
    (report.findings, report.holds_to)
}

/// Hashes everything anew, as somebody who knows the encoding would.
fn rewrite(entries: &mut [AuditEntry]) {
    let mut previous = sectag_store::audit::NO_HASH;
    for (entry, number) in entries.iter_mut().zip(1..) {
        entry.number = number;
        entry.hash = entry.chained(&previous);
        previous = entry.hash;
    }
}

#[tokio::test]
async fn what_nobody_touched_holds() {
    assert_eq!(found(|_| ()).await, (vec![], 10));
}

#[tokio::test]
async fn an_altered_entry_is_named() {
    let altered = vec![Finding::Altered { number: 4 }];
    assert_eq!(
        found(|e| e[3].by = "bob".into()).await,
        (altered.clone(), 3)
    );
    assert_eq!(
        found(|e| e[3].after = Some("{}".into())).await,
        (altered.clone(), 3)
    );
    assert_eq!(found(|e| e[3].device = None).await, (altered, 3));
}

#[tokio::test]
async fn a_dropped_entry_is_named_also_when_the_rest_moves_up() {
    let dropped = vec![Finding::Dropped { first: 4, last: 5 }];
    let drop = |e: &mut Vec<AuditEntry>| drop(e.drain(3..5));
    assert_eq!(found(drop).await, (dropped.clone(), 3));
    let moved = |e: &mut Vec<AuditEntry>| {
        e.drain(3..5);
        e.iter_mut()
            .zip(1..)
            .for_each(|(entry, n)| entry.number = n);
    };
    let (findings, holds_to) = found(moved).await;
    // Its end is announced by a head of eight entries.
    assert_eq!((findings, holds_to), (dropped, 3));
}

#[tokio::test]
async fn an_inserted_entry_is_named_however_well_it_is_hashed() {
    let twice = |e: &mut Vec<AuditEntry>| e.insert(4, e[3].clone());
    assert_eq!(
        found(twice).await,
        (vec![Finding::Inserted { number: 4 }], 3)
    );
    for hashed in [false, true] {
        let put_in = |e: &mut Vec<AuditEntry>| {
            let mut new = e[3].clone();
            new.by = "mallory".into();
            new.hash = if hashed {
                new.chained(&e[2].hash)
            } else {
                [7; 32]
            };
            e.insert(3, new);
            e.iter_mut()
                .zip(1..)
                .for_each(|(entry, n)| entry.number = n);
        };
        assert_eq!(
            found(put_in).await,
            (vec![Finding::Inserted { number: 4 }], 3),
            "{hashed}"
        );
    }
}

#[tokio::test]
async fn two_entries_in_each_others_place_are_named() {
    let order = vec![Finding::Reordered {
        first: 4,
        second: 5,
    }];
    assert_eq!(found(|e| e.swap(3, 4)).await, (order.clone(), 3));
    let contents = |e: &mut Vec<AuditEntry>| {
        e.swap(3, 4);
        (e[3].number, e[4].number) = (4, 5);
    };
    assert_eq!(found(contents).await, (order, 3));
    let far = |e: &mut Vec<AuditEntry>| {
        e.swap(1, 7);
        (e[1].number, e[7].number) = (2, 8);
    };
    let order = Finding::Reordered {
        first: 2,
        second: 8,
    };
    assert_eq!(found(far).await, (vec![order], 1));
}

#[tokio::test]
async fn a_tail_that_was_cut_is_noticed_by_what_was_signed() {
    let cut = Finding::Truncated {
        last: 7,
        signed: 10,
        at: 7,
    };
    assert_eq!(found(|e| e.truncate(7)).await, (vec![cut], 7));
}

#[tokio::test]
async fn a_chain_made_anew_is_not_the_one_that_was_signed() {
    let anew = |e: &mut Vec<AuditEntry>| {
        e[6].detail = "nothing happened".into();
        rewrite(e);
    };
    let rewritten = Finding::Rewritten {
        number: 10,
        good: 5,
    };
    assert_eq!(found(anew).await, (vec![rewritten], 5));
}

#[tokio::test]
async fn a_checkpoint_of_another_key_and_an_export_that_breaks_off_are_named() {
    let (entries, signer) = (trail(3).await, Signer::new());
    let signed = [Signer::new().sign(&entries[2])];
    let all = end(&entries);
    let report = verify(entries.clone().into_iter(), signed, &signer.key(), all);
    assert_eq!(report.findings, [Finding::BadSignature { number: 3 }]);
    assert_eq!((report.holds_to, report.signed_to), (3, 0));
    let broken = |end| verify(entries[..2].iter().cloned(), [], &signer.key(), end).findings;
    let off = Finding::BreaksOff {
        last: 2,
        announced: 3,
    };
    assert_eq!(broken(all), std::slice::from_ref(&off));
    assert_eq!(broken(None), [off]);
}

#[tokio::test]
async fn entries_of_before_the_chain_are_chained_when_the_database_is_opened() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("sectag.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch(include_str!("../sql/sqlite/migrations/0001_first.sql"))
        .unwrap();
    db.pragma_update(None, "application_id", 0x5365_6374)
        .unwrap();
    db.pragma_update(None, "user_version", 1).unwrap();
    for n in [1, 2, 5] {
        db.execute(
            "INSERT INTO audit (number, at, by, action, detail) VALUES (?1, 9, 'ada', 'allow', 'x')",
            [n],
        )
        .unwrap();
    }
    drop(db);
    for round in 0..2 {
        let store = SqliteStore::open(&path, SealKey::new(&SEAL)).unwrap();
        store.record(vec![event(1, None)]).await.unwrap();
        let entries = store.audit_entries(0, u64::MAX, 99).await.unwrap();
        assert_eq!(entries.len(), 4 + round, "numbers without gaps");
        let head = store.audit_head().await.unwrap();
        let report = verify(entries.into_iter(), [], &key(0), Some(head));
        assert_eq!(
            (report.findings, report.entries),
            (vec![], 4 + round as u64)
        );
    }
}

#[tokio::test]
async fn an_entrys_team_is_part_of_its_hash() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    claimed(&store, 1).await;
    let of_device = event(1, Some(1));
    let of_nobody = event(2, None);
    let of_team = event(3, None).team("red");
    let events = vec![of_device, of_nobody, of_team];
    store.record(events).await.unwrap();
    let entries = store.audit_entries(0, u64::MAX, 99).await.unwrap();
    let owner = store.device(device_id(1)).await.unwrap().unwrap().owner;
    let teams: Vec<_> = entries
        .iter()
        .rev()
        .take(3)
        .map(|e| e.team.clone())
        .collect();
    assert_eq!(teams, [Some("red".to_owned()), None, Some(owner)]);
    let judged = |entries: Vec<AuditEntry>| {
        let end = end(&entries);
        verify(entries.into_iter(), [], &key(0), end).findings
    };
    assert_eq!(judged(entries.clone()), []);
    for team in [None, Some("blue".to_owned()), Some(String::new())] {
        let mut altered = entries.clone();
        let last = altered.len() - 1;
        altered[last].team = team;
        assert!(!judged(altered).is_empty());
        // One of before there were teams cannot be given one.
        let mut altered = entries.clone();
        altered[last - 1].team = Some("red".to_owned());
        assert!(!judged(altered).is_empty());
    }
}

/// An export as it was made before entries had a team.
#[test]
fn an_old_export_still_reads_and_holds() {
    let text = r#"{"action":"key-add","after":null,"at":1790000000000,"before":null,"by":"service","commandId":null,"detail":"owner owner","deviceId":null,"hash":"HASH","kind":"entry","number":1}"#;
    let mut entry = AuditEntry {
        number: 1,
        at: 1_790_000_000_000,
        by: "service".into(),
        action: "key-add".into(),
        team: None,
        device: None,
        command: None,
        detail: "owner owner".into(),
        before: None,
        after: None,
        hash: [0; 32],
    };
    entry.hash = entry.chained(&sectag_store::audit::NO_HASH);
    let hex: String = entry
        .hash
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // Computed by the script of docs/reference/audit.md as it was then.
    assert_eq!(
        hex,
        "31d4ad46f53ce4ac1846695871eaa9c80cc558800e74672e99a9eb229549eeff"
    );
    let text = text.replace("HASH", &hex);
    assert_eq!(Line::parse(&text), Ok(Line::Entry(Box::new(entry.clone()))));
    let end = end(&[entry.clone()]);
    assert_eq!(verify([entry].into_iter(), [], &key(0), end).findings, []);
}

#[tokio::test]
async fn checkpoints_are_kept_once_and_listed_in_order() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    store
        .record(vec![event(1, None), event(2, None)])
        .await
        .unwrap();
    let (entries, signer) = (store.audit_entries(0, 9, 9).await.unwrap(), Signer::new());
    let [first, second] = [signer.sign(&entries[0]), signer.sign(&entries[1])];
    for checkpoint in [&second, &first, &second] {
        store.add_checkpoint(checkpoint.clone()).await.unwrap();
    }
    let kept = store.checkpoints(0, 9).await.unwrap();
    assert_eq!(kept, [first, second.clone()]);
    assert_eq!(
        store.checkpoints(1, 9).await.unwrap(),
        std::slice::from_ref(&second)
    );
    assert_eq!(Checkpoint::parse(&second.line()), Some(second));
}

fn entry() -> impl Strategy<Value = AuditEntry> {
    let texts = (".*", ".*", any::<u64>(), any::<u64>());
    let rest = (
        prop::option::of(any::<u32>()),
        prop::option::of(".*"),
        any::<[u8; 32]>(),
    );
    (texts, rest).prop_map(
        |((by, detail, number, at), (device, before, hash))| AuditEntry {
            number,
            at,
            by,
            action: "tags".into(),
            team: before.clone(),
            device: device.map(device_id),
            command: device.map(command_id),
            detail,
            after: before.clone(),
            before,
            hash,
        },
    )
}

proptest! {
    #[test]
    fn a_line_reads_as_it_was_written(entry in entry(), after in any::<u64>(), key in ".*") {
        let lines = [
            Line::End(AuditHead { number: entry.number, hash: entry.hash }),
            Line::Entry(Box::new(entry)),
            Line::Header(Header { after, at: after, public_key: key }),
        ];
        for line in lines {
            let text = line.text();
            prop_assert!(!text.contains('\n'));
            prop_assert_eq!(Line::parse(&text), Ok(line));
        }
    }

    #[test]
    fn no_line_panics(text in ".*", json in r#"\{("(kind|number|hash|at)":("entry"|"end"|1|null),?){0,4}\}"#) {
        let _ = (Line::parse(&text), Line::parse(&json), Checkpoint::parse(&text));
    }

    #[test]
    fn any_mixture_of_entries_is_judged(picks in prop::collection::vec((0_usize..6, 0_u64..8), 0..12)) {
        let made = |n: u64| AuditEntry {
            number: n,
            at: n,
            by: "ada".into(),
            action: "tags".into(),
            team: n.is_multiple_of(2).then(|| "team".into()),
            device: None,
            command: None,
            detail: String::new(),
            before: None,
            after: None,
            hash: [0; 32],
        };
        let mut entries: Vec<AuditEntry> = (1..=6).map(made).collect();
        rewrite(&mut entries);
        let mixed: Vec<AuditEntry> = picks
            .iter()
            .map(|&(n, number)| AuditEntry { number, ..entries[n].clone() })
            .collect();
        let whole = mixed.iter().zip(&entries).all(|(a, b)| a == b);
        let head = mixed.last().map_or(AuditHead { number: 0, hash: [0; 32] }, |e| AuditHead { number: e.number, hash: e.hash });
        let report = verify(mixed.into_iter(), [], &key(0), Some(head));
        prop_assert_eq!(report.findings.is_empty(), whole, "{:?}", report);
    }
}

#[tokio::test]
async fn a_store_that_was_read_leaves_no_log_beside_the_database() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    store.record(vec![event(1, None)]).await.unwrap();
    assert_eq!(store.audit_head().await.unwrap().number, 1);
    drop(store);
    assert!(!home.path().join("sectag.db-wal").exists());
}
