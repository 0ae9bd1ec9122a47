//! Certificates from issue to end, and the renewals in between.
#![allow(clippy::unwrap_used)]

mod fixtures;

use fixtures::*;
use sectag_proto::{SecTag, Timestamp};
use sectag_store::{
    CommitError, DeviceChange, EndingQuery, Foreign, Life, LifeChange, LifeNotes, LifeState, Lives,
    RenewalQuery, RenewalRun, RenewalStep, Spki, Store, View,
};

fn tag(n: u64) -> SecTag {
    SecTag::new(n).unwrap()
}

fn life(device: u32, n: u8, under: u64, ends: u64) -> Life {
    Life {
        spki_sha256: [n; 32],
        device: device_id(device),
        team: "ada".into(),
        serial: format!("{n:02x}"),
        csr: command_id(u32::from(n)),
        certificate: Some(command_id(100 + u32::from(n))),
        sec_tag: Some(tag(under)),
        rule_id: Some("r".into()),
        not_before: at(0),
        not_after: at(ends),
        issued_at: at(u64::from(n)),
        written_at: None,
        used_at: None,
        last_used_at: None,
        state: LifeState::Issued,
        ended_at: None,
        alarm_days: None,
    }
}

fn run(device: u32, old: u8, new: Option<u8>) -> RenewalRun {
    RenewalRun {
        old: [old; 32],
        device: device_id(device),
        team: "ada".into(),
        rule_id: "r".into(),
        sec_tag: tag(2),
        in_place: false,
        started_at: at(10),
        step: RenewalStep::Connect,
        step_at: at(11),
        command: None,
        new: new.map(|n| [n; 32]),
        attempts: 1,
        retry_at: at(10),
        failing_since: None,
        reason: None,
        alarmed_at: None,
        ended_at: None,
    }
}

async fn commit(store: &dyn Store, device: u32, lives: Vec<LifeChange>) {
    let version = store.device(device_id(device)).await.unwrap().unwrap();
    let change = DeviceChange {
        lives,
        ..DeviceChange::default()
    };
    let id = device_id(device);
    store.commit(id, version.version, change).await.unwrap();
}

fn born(life: Life) -> LifeChange {
    LifeChange::Born(Box::new(life))
}

fn renewal(run: RenewalRun) -> LifeChange {
    LifeChange::Renewal(Box::new(run))
}

fn written(n: u8) -> LifeChange {
    LifeChange::Written {
        spki_sha256: [n; 32],
        at: at(20),
    }
}

async fn state(store: &dyn Store, n: u8) -> LifeState {
    store.life([n; 32]).await.unwrap().unwrap().state
}

async fn actions(store: &dyn Store, device: u32) -> Vec<String> {
    let page = store
        .audit(Some(device_id(device)), None, 100)
        .await
        .unwrap();
    let mut actions: Vec<String> = page.items.into_iter().map(|r| r.event.action).collect();
    actions.reverse();
    actions
}

fn ending(until: Timestamp) -> EndingQuery {
    EndingQuery {
        view: None,
        until,
        after: None,
        limit: 100,
    }
}

async fn serials(store: &dyn Store, query: EndingQuery) -> Vec<String> {
    let page = store.endings(query).await.unwrap();
    page.items.into_iter().map(|e| e.life.serial).collect()
}

#[tokio::test]
async fn a_renewal_is_done_when_the_device_connects_with_the_new_certificate() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    claimed(&store, 1).await;
    commit(
        &store,
        1,
        vec![
            born(life(1, 1, 1, 1_000)),
            written(1),
            born(life(1, 1, 1, 9)),
        ],
    )
    .await;
    assert_eq!(state(&store, 1).await, LifeState::Written);
    let first = store
        .certificates_used(vec![([1; 32], at(30)), ([9; 32], at(30))])
        .await
        .unwrap();
    assert_eq!(first.len(), 1, "what is not ours is left out");
    assert!(first[0].renewal.is_none());
    commit(
        &store,
        1,
        vec![
            born(life(1, 2, 2, 2_000)),
            written(2),
            renewal(run(1, 1, Some(2))),
        ],
    )
    .await;
    let uses = || store.certificates_used(vec![([1; 32], at(40)), ([2; 32], at(41))]);
    let first = uses().await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].renewal.as_ref().unwrap().old, [1; 32]);
    assert_eq!(state(&store, 1).await, LifeState::Superseded);
    assert_eq!(state(&store, 2).await, LifeState::Used);
    assert!(
        uses().await.unwrap().is_empty(),
        "said again it says nothing"
    );
    assert_eq!(actions(&store, 1).await, ["claim", "renewal-done"]);
    let known = store.lives(device_id(1)).await.unwrap();
    assert_eq!((known.lives.len(), known.renewals.len()), (1, 0));
    let history = store.life_history(device_id(1)).await.unwrap();
    assert_eq!(history.lives.len(), 2);
    assert_eq!(history.renewals[0].step, RenewalStep::Done);
    assert_eq!(history.lives[0].last_used_at, Some(at(40)));
}

#[tokio::test]
async fn a_run_that_is_over_stays_so_unless_it_begins_anew() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    claimed(&store, 1).await;
    commit(
        &store,
        1,
        vec![born(life(1, 1, 1, 1_000)), renewal(run(1, 1, None))],
    )
    .await;
    let abandoned = LifeNotes {
        abandoned: vec![([1; 32], at(50))],
        ..LifeNotes::default()
    };
    store.note_lives(abandoned.clone()).await.unwrap();
    let open_runs = async |store: &dyn Store| store.lives(device_id(1)).await.unwrap().renewals;
    commit(&store, 1, vec![renewal(run(1, 1, None))]).await;
    assert!(open_runs(&store).await.is_empty());
    // Later, and by a clock that went back.
    for started_at in [at(60), at(0)] {
        let anew = RenewalRun {
            started_at,
            ..run(1, 1, None)
        };
        commit(&store, 1, vec![renewal(anew.clone())]).await;
        assert_eq!(open_runs(&store).await, [anew]);
        store.note_lives(abandoned.clone()).await.unwrap();
    }
}

#[tokio::test]
async fn a_revoked_certificate_ends_its_renewal_from_either_side() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    for (device, serial) in [(1, "01"), (2, "04")] {
        claimed(&store, device).await;
        let (old, new) = (device as u8 * 2 - 1, device as u8 * 2);
        let lives = [life(device, old, 1, 500), life(device, new, 2, 900)];
        let mut changes: Vec<LifeChange> = lives.map(born).into();
        changes.extend([written(new), renewal(run(device, old, Some(new)))]);
        commit(&store, device, changes).await;
        let id = device_id(device);
        let owner = store.device(id).await.unwrap().unwrap().owner;
        let revoked = store.revoke_certificate(id, &owner, serial, "ada", at(9));
        assert_eq!(revoked.await.unwrap(), Some(true));
        let known = store.lives(id).await.unwrap();
        assert_eq!((known.lives.len(), known.renewals.len()), (1, 0));
        let history = store.life_history(id).await.unwrap();
        assert_eq!(history.renewals[0].step, RenewalStep::Abandoned);
    }
}

#[tokio::test]
async fn what_is_being_decided_when_a_certificate_is_revoked_is_decided_again() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    claimed(&store, 1).await;
    commit(&store, 1, vec![born(life(1, 1, 1, 500))]).await;
    let known = store.device(device_id(1)).await.unwrap().unwrap();
    for (expected, is_late) in [(Some(true), true), (Some(false), false)] {
        let version = store.device(known.id).await.unwrap().unwrap().version;
        let revoked = store.revoke_certificate(known.id, &known.owner, "01", "ada", at(9));
        assert_eq!(revoked.await.unwrap(), expected);
        let decided = store.commit(known.id, version, DeviceChange::default());
        assert_eq!(
            matches!(decided.await, Err(CommitError::Conflict { .. })),
            is_late
        );
    }
}

#[tokio::test]
async fn endings_come_soonest_first_page_by_page_for_those_who_may_see_them() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    for (device, tags) in [(1, vec!["a".to_owned()]), (2, vec![]), (3, vec![])] {
        let mut claim = claim_of(device, &[0, 1]);
        claim.tags = tags;
        claim.reserved = device == 3;
        store.claim(claim).await.unwrap();
    }
    commit(
        &store,
        1,
        vec![born(life(1, 1, 1, 300)), born(life(1, 4, 2, 300))],
    )
    .await;
    commit(
        &store,
        2,
        vec![born(life(2, 2, 1, 100)), born(life(2, 5, 2, 900))],
    )
    .await;
    commit(
        &store,
        3,
        vec![born(life(3, 3, 1, 200)), renewal(run(3, 3, None))],
    )
    .await;
    assert_eq!(
        serials(&store, ending(at(500))).await,
        ["02", "03", "01", "04"]
    );
    let of = |view: View| EndingQuery {
        view: Some(view),
        ..ending(at(500))
    };
    let mut view = View::of("ada");
    assert_eq!(
        serials(&store, of(view.clone())).await,
        ["02", "03", "01", "04"]
    );
    view.reserved = false;
    assert_eq!(serials(&store, of(view.clone())).await, ["02", "01", "04"]);
    view.tags = vec!["a".into()];
    assert_eq!(serials(&store, of(view)).await, ["01", "04"]);
    assert!(serials(&store, of(View::of("bob"))).await.is_empty());
    let mut paged = Vec::new();
    let mut query = EndingQuery {
        limit: 1,
        ..ending(at(500))
    };
    loop {
        let page = store.endings(query.clone()).await.unwrap();
        paged.extend(
            page.items
                .into_iter()
                .map(|e| (e.life.serial, e.renewal.is_some())),
        );
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    let serials: Vec<&str> = paged.iter().map(|(serial, _)| serial.as_str()).collect();
    assert_eq!(
        serials,
        ["02", "03", "01", "04"],
        "two that end together are two"
    );
    assert!(paged[1].1 && !paged[0].1);
    let runs = store
        .renewals(RenewalQuery {
            view: Some(View::of("ada")),
            after: None,
            limit: 10,
        })
        .await
        .unwrap();
    assert_eq!(runs.items[0].old.as_ref().unwrap().serial, "03");
}

#[tokio::test]
async fn what_a_look_finds_is_written_once_and_for_all() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    claimed(&store, 1).await;
    commit(
        &store,
        1,
        vec![born(life(1, 1, 1, 100)), renewal(run(1, 1, None))],
    )
    .await;
    let sha: Spki = [7; 32];
    let notes = LifeNotes {
        expired: vec![[1; 32]],
        alarmed: vec![([1; 32], 7)],
        others_alarmed: vec![(sha, 30)],
        renewals_alarmed: vec![([1; 32], at(70))],
        ..LifeNotes::default()
    };
    store.note_lives(notes.clone()).await.unwrap();
    store.note_lives(notes).await.unwrap();
    let known = store.lives(device_id(1)).await.unwrap();
    assert_eq!(known.lives[0].state, LifeState::Expired);
    assert_eq!(known.lives[0].alarm_days, Some(7));
    assert_eq!(known.renewals[0].alarmed_at, Some(at(70)));
    assert_eq!(store.certificate_alarm(sha).await.unwrap(), Some(30));
    assert_eq!(store.certificate_alarm([8; 32]).await.unwrap(), None);
    assert!(
        serials(&store, ending(at(500))).await.is_empty(),
        "a look finds an end once"
    );
    let of_team = EndingQuery {
        view: Some(View::of("ada")),
        ..ending(at(500))
    };
    assert_eq!(
        serials(&store, of_team).await,
        ["01"],
        "an owner sees it all the same"
    );
}

#[tokio::test]
async fn certificates_end_with_the_claim_and_a_later_use_gives_none_back() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let device = claimed(&store, 1).await;
    commit(
        &store,
        1,
        vec![
            born(life(1, 1, 1, 1_000)),
            written(1),
            renewal(run(1, 1, None)),
        ],
    )
    .await;
    store
        .unclaim(device.id, device.version + 1, "ada", at(80))
        .await
        .unwrap();
    assert_eq!(state(&store, 1).await, LifeState::Revoked);
    assert!(
        store
            .certificates_used(vec![([1; 32], at(90))])
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(state(&store, 1).await, LifeState::Revoked);
    assert!(store.lives(device.id).await.unwrap().renewals.is_empty());
}
