//! Claims, tombstones, pins.

use super::Database;
use crate::fixtures::*;
use sectag_store::{ClaimOutcome, CommitError, DeviceChange, KnownKey, NewClaim, StoreError, View};

fn created(outcome: ClaimOutcome) -> sectag_store::Device {
    match outcome {
        ClaimOutcome::Created(device) => device,
        other => panic!("expected a new claim, got {other:?}"),
    }
}

pub(crate) async fn a_claim_is_remembered_as_it_was_made(database: &impl Database) {
    let store = database.open();
    let claim = NewClaim {
        tags: ["b", "", "a", "b", "location=Å\"s"]
            .map(String::from)
            .into(),
        ..claim_of(1, &[0, 1, 2, 3])
    };
    let device = created(store.claim(claim.clone()).await.unwrap());
    assert_eq!(device.id, claim.device);
    assert_eq!(device.candidates, claim.candidates);
    assert_eq!(device.tags, ["b", "a", "location=Å\"s"]);
    assert_eq!(device.pin, None);
    assert_eq!(
        (device.device_type, device.firmware),
        (claim.device_type, claim.firmware)
    );
    assert_eq!((device.version, device.next_sequence), (1, 1));
    assert_eq!((device.claimed_at, device.last_seen_at), (at(0), None));
    assert!(!device.blocked);
    assert_eq!(store.device(device.id).await.unwrap(), Some(device.clone()));
    assert_eq!(
        store.queue(device.id, &[]).await.unwrap().unwrap().device,
        device
    );
}

pub(crate) async fn claiming_again_changes_nothing(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    let again = NewClaim {
        tags: vec!["new".into()],
        accept_new_key: true,
        ..claim_of(1, &[1, 2])
    };
    assert_eq!(
        store.claim(again).await.unwrap(),
        ClaimOutcome::Existing(device.clone())
    );
    assert_eq!(store.device(device.id).await.unwrap(), Some(device));
    assert_eq!(store.audit(None, None, 10).await.unwrap().total, 1);
}

pub(crate) async fn a_claim_of_another_owner_is_told_apart(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    for keys in [[0, 1], [4, 5]] {
        let claim = NewClaim {
            view: View::of("bob"),
            accept_new_key: true,
            ..claim_of(1, &keys)
        };
        let outcome = store.claim(claim).await.unwrap();
        assert_eq!(outcome, ClaimOutcome::OwnedByOther(device.clone()));
    }
    assert_eq!(store.device(device.id).await.unwrap(), Some(device));
}

pub(crate) async fn a_known_device_under_another_key_is_a_conflict(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    let conflict = store.claim(claim_of(1, &[2, 3])).await.unwrap();
    let kids = vec![key(0).kid(), key(1).kid()];
    let known = KnownKey {
        claimed: true,
        kids,
    };
    assert_eq!(conflict, ClaimOutcome::KeyConflict(known));
    let pinning = DeviceChange {
        pin: Some(key(1)),
        ..DeviceChange::default()
    };
    store.commit(device.id, 1, pinning).await.unwrap();
    // A candidate that the pin has ruled out is another key by now.
    let conflict = store.claim(claim_of(1, &[0, 3])).await.unwrap();
    let kids = vec![key(1).kid()];
    let known = KnownKey {
        claimed: true,
        kids,
    };
    assert_eq!(conflict, ClaimOutcome::KeyConflict(known));
    assert_eq!(
        store.device(device.id).await.unwrap().unwrap().pin,
        Some(key(1))
    );
}

pub(crate) async fn the_owner_may_accept_a_new_key(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    store
        .commit(device.id, 1, adding(vec![command(1, csr())]))
        .await
        .unwrap();
    let claim = NewClaim {
        accept_new_key: true,
        ..claim_of(1, &[2, 3])
    };
    let ClaimOutcome::Existing(rekeyed) = store.claim(claim.clone()).await.unwrap() else {
        panic!("still the same claim");
    };
    assert_eq!(
        (rekeyed.candidates, rekeyed.pin),
        (claim.candidates.clone(), None)
    );
    assert_eq!((rekeyed.version, rekeyed.next_sequence), (3, 2));
    assert_eq!(store.commands(device.id).await.unwrap().len(), 1);

    unclaim(&*store, device.id, "ada", at(5)).await;
    let claim = NewClaim {
        accept_new_key: true,
        ..claim_of(1, &[4, 5])
    };
    let device = created(store.claim(claim.clone()).await.unwrap());
    assert_eq!((device.candidates, device.version), (claim.candidates, 4));
    let trail = store.audit(Some(device.id), None, 100).await.unwrap();
    let accepted = trail
        .items
        .iter()
        .filter(|r| r.event.action == "accept-new-key");
    let details: Vec<_> = accepted.map(|r| r.event.detail.clone()).collect();
    assert_eq!(details.len(), 2);
    assert!(details[0].contains(&key(4).kid().to_string()));
}

pub(crate) async fn a_tombstone_keeps_the_key(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    let pinning = DeviceChange {
        pin: Some(key(1)),
        ..DeviceChange::default()
    };
    store.commit(device.id, 1, pinning).await.unwrap();
    assert_eq!(store.tombstone(device.id).await.unwrap(), None);
    assert!(unclaim(&*store, device.id, "ada", at(7)).await);
    assert!(!unclaim(&*store, device.id, "ada", at(8)).await);
    assert_eq!(store.device(device.id).await.unwrap(), None);
    let tombstone = store.tombstone(device.id).await.unwrap().unwrap();
    assert_eq!((tombstone.pin, tombstone.version), (Some(key(1)), 2));
    assert_eq!(tombstone.candidates, [candidate(1)]);
    assert_eq!(tombstone.unclaimed_at, at(7));

    // Other owners are bound by it as well.
    let stranger = NewClaim {
        view: View::of("bob"),
        ..claim_of(1, &[0, 2])
    };
    let kids = vec![key(1).kid()];
    let known = KnownKey {
        claimed: false,
        kids,
    };
    assert_eq!(
        store.claim(stranger).await.unwrap(),
        ClaimOutcome::KeyConflict(known)
    );
    let again = created(store.claim(claim_of(1, &[1, 2])).await.unwrap());
    assert_eq!(
        (again.pin, again.candidates),
        (Some(key(1)), vec![candidate(1)])
    );
    assert_eq!(store.tombstone(device.id).await.unwrap(), None);
}

pub(crate) async fn a_tombstone_narrows_the_candidates(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    unclaim(&*store, device.id, "ada", at(7)).await;
    let again = created(store.claim(claim_of(1, &[1, 2])).await.unwrap());
    assert_eq!((again.pin, again.candidates), (None, vec![candidate(1)]));
}

pub(crate) async fn a_dry_run_changes_nothing(database: &impl Database) {
    let store = database.open();
    let would = created(store.would_claim(claim_of(1, &[0, 1])).await.unwrap());
    assert_eq!(store.device(would.id).await.unwrap(), None);
    assert_eq!(would, claimed(&*store, 1).await);
    let would = store.would_claim(claim_of(1, &[2, 3])).await.unwrap();
    assert!(matches!(would, ClaimOutcome::KeyConflict(_)));
    assert_eq!(store.audit(None, None, 10).await.unwrap().total, 1);
}

pub(crate) async fn a_claim_needs_a_key(database: &impl Database) {
    let store = database.open();
    let refused = store.claim(claim_of(1, &[])).await;
    assert!(matches!(refused, Err(StoreError::Misuse { .. })));
    assert_eq!(store.device(device_id(1)).await.unwrap(), None);
}

pub(crate) async fn versions_never_repeat(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    let committed = store
        .commit(device.id, 1, DeviceChange::default())
        .await
        .unwrap();
    assert_eq!(committed.version, 2);
    unclaim(&*store, device.id, "ada", at(1)).await;
    assert_eq!(
        store.commit(device.id, 2, DeviceChange::default()).await,
        Err(CommitError::Gone)
    );
    let again = claimed(&*store, 1).await;
    assert_eq!(again.version, 3);
    // A decision from before the unclaim does not hit the new claim.
    assert_eq!(
        store.commit(device.id, 2, DeviceChange::default()).await,
        Err(CommitError::Conflict { current: 3 })
    );
}

pub(crate) async fn a_pin_is_final(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    let pinning = |n| DeviceChange {
        pin: Some(key(n)),
        commands: vec![command(1, csr())],
        ..DeviceChange::default()
    };
    let misuse = |r| matches!(r, Err(CommitError::Store(StoreError::Misuse { .. })));
    assert!(
        misuse(store.commit(device.id, 1, pinning(2)).await),
        "no candidate"
    );
    assert_eq!(store.commands(device.id).await.unwrap(), []);
    store.commit(device.id, 1, pinning(1)).await.unwrap();
    let pinned = store.device(device.id).await.unwrap().unwrap();
    assert_eq!(
        (pinned.pin, pinned.candidates),
        (Some(key(1)), vec![candidate(1)])
    );
    store.commit(device.id, 2, pinning(1)).await.unwrap();
    assert!(
        misuse(store.commit(device.id, 3, pinning(0)).await),
        "another one"
    );
    assert_eq!(store.device(device.id).await.unwrap().unwrap().version, 3);
}
