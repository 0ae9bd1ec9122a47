//! Trust that chains do not say: what ends with a claim, what is registered, and uploads that are worked off.
#![allow(clippy::unwrap_used)]

mod fixtures;

use fixtures::*;
use sectag_store::{
    AddTeamError, BULK_OPEN_MAX, Bulk, BulkKind, BulkStatus, ClaimOutcome, DeleteTeamError, Life,
    LifeChange, LifeState, NewRegistration, REGISTERED_CERTIFICATES_MAX, RegisteredCertificate,
    Role, Store, Subject, Team,
};

const TEAM: &str = "ada";

fn life(device: u32, spki: u8, state: LifeState) -> Life {
    Life {
        spki_sha256: [spki; 32],
        device: device_id(device),
        team: TEAM.into(),
        serial: format!("{spki:02x}{spki:02x}"),
        csr: command_id(1),
        certificate: None,
        sec_tag: None,
        rule_id: None,
        not_before: at(0),
        not_after: at(1_000_000),
        issued_at: at(500),
        written_at: None,
        used_at: None,
        last_used_at: None,
        state,
        ended_at: None,
        alarm_days: None,
    }
}

/// A claimed device with one certificate of ours per key.
async fn with_certificates(store: &dyn Store, n: u32, keys: &[u8]) {
    let mut version = claimed(store, n).await.version;
    for (at, spki) in keys.iter().enumerate() {
        let mut change = issuing(issued(n, u32::try_from(at).unwrap(), *spki));
        let state = match at {
            0 => LifeState::Superseded,
            _ => LifeState::Used,
        };
        change
            .lives
            .push(LifeChange::Born(Box::new(life(n, *spki, state))));
        let committed = store.commit(device_id(n), version, change).await.unwrap();
        version = committed.version;
    }
}

fn registration(subject: Subject, n: u8) -> NewRegistration {
    NewRegistration {
        subject,
        sub_type: "tracker".into(),
        tags: vec!["a".into()],
        firmware_types: Vec::new(),
        spki_sha256: [n; 32],
        der_sha256: [n + 100; 32],
        certificate: RegisteredCertificate {
            serial: format!("0a{n:02x}"),
            issuer: "CN=Theirs".into(),
            der: vec![0x30, n],
            registered_at: at(0),
            ends_at: at(1_000_000),
        },
    }
}

fn upload(id: &str, total: u64) -> Bulk {
    Bulk {
        id: id.into(),
        kind: BulkKind::Register,
        team: TEAM.into(),
        by: "ada's key".into(),
        role: Role::Editor,
        scope: vec!["a".into()],
        status: BulkStatus::Pending,
        total,
        done: 0,
        failed: 0,
        created_at: at(1),
        finished_at: None,
        body: b"rows".to_vec(),
        errors: Vec::new(),
        secret: "s".into(),
    }
}

/// Registers these in one upload; its errors.
async fn register(store: &dyn Store, id: &str, rows: Vec<NewRegistration>) -> Vec<String> {
    let total = rows.len() as u64;
    assert!(store.add_bulk(upload(id, total)).await.unwrap());
    let rows = rows.into_iter().map(|row| Ok(Some(row))).collect();
    store.step_bulk(id, 0, rows, at(2)).await.unwrap();
    store.bulk(id).await.unwrap().unwrap().errors
}

fn team(id: &str, prefix: Option<&str>) -> Team {
    Team {
        id: id.into(),
        name: id.into(),
        topic_prefix: prefix.map(Into::into),
        created_at: at(0),
    }
}

#[tokio::test]
async fn a_team_that_is_gone_gets_nothing_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    let store = store.as_ref();
    store.add_team(team(TEAM, None), "ada").await.unwrap();
    store.add_team(team("home", None), "ada").await.unwrap();
    let gateway = Subject::Named("gateway".into());
    let errors = register(store, "01A", vec![registration(gateway.clone(), 1)]).await;
    assert_eq!(errors, Vec::<String>::new());
    let kept = store.delete_team(TEAM, "ada", at(3)).await.unwrap_err();
    assert_eq!(
        kept,
        DeleteTeamError::InUse {
            devices: 0,
            registered: 1
        }
    );
    let gone = store.unregister(gateway, TEAM, "ada", at(3)).await;
    assert!(gone.unwrap());
    store.delete_team(TEAM, "ada", at(4)).await.unwrap();
    // Who asked a moment before.
    let claimed = store.claim(claim_of(1, &[0])).await.unwrap();
    assert!(
        matches!(claimed, ClaimOutcome::OwnedByOther(_)),
        "{claimed:?}"
    );
    assert_eq!(store.device(device_id(1)).await.unwrap(), None);
    let late = registration(Subject::Named("late".into()), 2);
    let errors = register(store, "01B", vec![late]).await;
    assert!(errors[0].contains("cannot be registered"), "{errors:?}");
}

#[tokio::test]
async fn the_prefix_of_a_team_and_the_topics_of_a_registered_device_stay_apart() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    let store = store.as_ref();
    store.add_team(team(TEAM, None), "ada").await.unwrap();
    let north = store.add_team(team("north", Some("north")), "ada").await;
    north.unwrap();
    let rows = vec![
        registration(Subject::Named("north".into()), 1),
        registration(Subject::Named("south".into()), 2),
    ];
    let errors = register(store, "01A", rows).await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("[0]: this id"), "{errors:?}");
    let south = store.add_team(team("s", Some("south")), "ada").await;
    assert!(matches!(south, Err(AddTeamError::PrefixTaken { .. })));
}

#[tokio::test]
async fn the_end_of_a_claim_takes_back_all_that_was_under_it_for_good() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    with_certificates(store.as_ref(), 1, &[1, 2]).await;
    with_certificates(store.as_ref(), 2, &[3]).await;
    let subject = Subject::from(device_id(1));
    let errors = register(
        store.as_ref(),
        "01A",
        vec![registration(subject.clone(), 7)],
    )
    .await;
    assert_eq!(errors, Vec::<String>::new());
    let before = store.trust_of(subject.clone()).await.unwrap();
    assert_eq!((before.revoked.len(), before.pins.len()), (0, 1));

    assert!(unclaim(store.as_ref(), device_id(1), "ada", at(10)).await);
    claimed(store.as_ref(), 1).await;
    drop(store);
    // What a start reads is the same.
    let store = shared(home.path());
    let trust = store.trust_of(subject.clone()).await.unwrap();
    let mut marks = trust.revoked.clone();
    marks.sort_unstable();
    assert_eq!(marks, [[1; 32], [2; 32], [107; 32]]);
    assert!(trust.pins.is_empty() && !trust.blocked);
    let all = store.revoked(0, at(20), 10).await.unwrap();
    assert_eq!(all.len(), 3, "the other device keeps its certificate");
    assert_eq!(
        store.revoked(all[0].number, at(20), 1).await.unwrap(),
        all[1..2]
    );
    assert!(
        store
            .revoked(0, at(1_000_001), 10)
            .await
            .unwrap()
            .is_empty(),
        "what has ended by its dates opens nothing anyway"
    );
    let listed = store.revoked_of_team(TEAM).await.unwrap();
    let serials: Vec<_> = listed.iter().map(|revoked| &revoked.serial[..]).collect();
    assert_eq!(
        serials,
        ["0101", "0202"],
        "lists hold what this home's CAs signed"
    );
    assert!(
        store
            .registered(subject.clone(), TEAM)
            .await
            .unwrap()
            .is_none()
    );
    let again = register(store.as_ref(), "01B", vec![registration(subject, 7)]).await;
    assert!(again[0].contains("was revoked"), "{again:?}");
}

#[tokio::test]
async fn blocked_devices_are_found_without_reading_the_others() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    for n in 1..=4 {
        claimed(store.as_ref(), n).await;
    }
    for n in [2, 4] {
        block(store.as_ref(), device_id(n), true, at(5)).await;
    }
    let page = store.blocked_devices(None, 1).await.unwrap();
    assert_eq!(page, [device_id(2)]);
    let page = store.blocked_devices(Some(device_id(2)), 9).await.unwrap();
    assert_eq!(page, [device_id(4)]);
    block(store.as_ref(), device_id(4), false, at(6)).await;
    assert!(!store.trust_of(device_id(4).into()).await.unwrap().blocked);
    assert_eq!(store.blocked_devices(None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn one_certificate_is_taken_back_and_the_others_stay() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    with_certificates(store.as_ref(), 1, &[1, 2]).await;
    let device = device_id(1);
    register(
        store.as_ref(),
        "01A",
        vec![
            registration(device.into(), 7),
            registration(device.into(), 8),
        ],
    )
    .await;
    let revoke = async |serial: &str, team: &str| {
        let at = at(9);
        let done = store.revoke_certificate(device, team, serial, "ada", at);
        done.await.unwrap()
    };
    assert_eq!(revoke("ffff", TEAM).await, None);
    assert_eq!(revoke("0101", "bob").await, None, "another team's");
    // The superseded one is valid by its dates.
    assert_eq!(revoke("0101", TEAM).await, Some(true));
    assert_eq!(revoke("0101", TEAM).await, Some(false));
    assert_eq!(revoke("0a07", TEAM).await, Some(true));
    let trust = store.trust_of(device.into()).await.unwrap();
    let mut marks = trust.revoked.clone();
    marks.sort_unstable();
    assert_eq!(marks, [[1; 32], [107; 32]]);
    assert_eq!(trust.pins.len(), 1);
    assert_eq!(store.pins(None, at(9), 9).await.unwrap(), trust.pins);
    assert!(store.pins(None, at(2_000_000), 9).await.unwrap().is_empty());
    let told = store.audit(Some(device), None, 50).await.unwrap().items;
    let revoked = told
        .iter()
        .filter(|record| record.event.action == "certificate-revoked");
    assert_eq!(revoked.count(), 2);
}

#[tokio::test]
async fn an_id_and_a_key_belong_to_one_team() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    let named = |id: &str| Subject::Named(id.to_owned());
    let errors = register(
        store.as_ref(),
        "01A",
        vec![
            registration(named("nrf-1"), 1),
            registration(device_id(9).into(), 2),
            registration(named("nrf-2"), 1),
        ],
    )
    .await;
    assert!(errors[0].starts_with("[1]: this id cannot"), "{errors:?}");
    assert!(errors[1].starts_with("[2]: this certificate"), "{errors:?}");
    // Another team neither sees it nor takes it.
    assert!(
        store
            .registered(named("nrf-1"), "bob")
            .await
            .unwrap()
            .is_none()
    );
    let mut theirs = upload("01B", 1);
    theirs.team = "bob".into();
    assert!(store.add_bulk(theirs).await.unwrap());
    let rows = vec![Ok(Some(registration(named("nrf-1"), 5)))];
    store.step_bulk("01B", 0, rows, at(3)).await.unwrap();
    let refused = store.bulk("01B").await.unwrap().unwrap();
    assert_eq!(refused.status, BulkStatus::Failed);
    assert!(
        refused.errors[0].starts_with("[0]: this id cannot"),
        "{refused:?}"
    );
    // The same again changes what it says beside the certificate; another certificate comes beside it.
    let mut again = registration(named("nrf-1"), 1);
    again.tags = vec!["b".into()];
    let more = (11..11 + u8::try_from(REGISTERED_CERTIFICATES_MAX).unwrap())
        .map(|n| registration(named("nrf-1"), n));
    let errors = register(
        store.as_ref(),
        "01C",
        [again].into_iter().chain(more).collect(),
    )
    .await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("8 registered certificates"),
        "{errors:?}"
    );
    let found = store.registered(named("nrf-1"), TEAM).await.unwrap();
    let found = found.unwrap();
    assert_eq!(found.certificates.len(), REGISTERED_CERTIFICATES_MAX);
    assert_eq!(found.sub_type, "tracker");
    assert!(
        store
            .name_registered(named("nrf-1"), TEAM, "Tor", "ada", at(4))
            .await
            .unwrap()
    );
    assert!(
        store
            .unregister(named("nrf-1"), TEAM, "ada", at(5))
            .await
            .unwrap()
    );
    let trust = store.trust_of(named("nrf-1")).await.unwrap();
    assert_eq!((trust.revoked.len(), trust.pins.len()), (8, 0));
}

#[tokio::test]
async fn an_upload_goes_on_where_it_was_and_no_row_is_done_twice() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    assert!(store.add_bulk(upload("01A", 3)).await.unwrap());
    assert!(store.add_bulk(upload("01B", 1)).await.unwrap());
    let open = store.open_bulk().await.unwrap().unwrap();
    assert_eq!(
        (open.id.as_str(), open.body.as_slice()),
        ("01A", &b"rows"[..])
    );
    let row = |n| Ok(Some(registration(Subject::Named(format!("d{n}")), n)));
    let stepped = store
        .step_bulk("01A", 0, vec![row(1), Err("nonsense".into())], at(2))
        .await
        .unwrap();
    assert_eq!(stepped.status, BulkStatus::InProgress);
    assert_eq!(stepped.changed, [Subject::Named("d1".into())]);
    // Somebody who did not hear of it asks again.
    let again = store
        .step_bulk("01A", 0, vec![row(2)], at(2))
        .await
        .unwrap();
    assert!(again.changed.is_empty());
    drop(store);
    let store = shared(home.path());
    let open = store.open_bulk().await.unwrap().unwrap();
    assert_eq!((open.done, open.failed), (2, 1));
    let stepped = store
        .step_bulk("01A", 2, vec![row(3)], at(3))
        .await
        .unwrap();
    assert_eq!(stepped.status, BulkStatus::Failed);
    let done = store.bulk("01A").await.unwrap().unwrap();
    assert_eq!(done.errors, ["[1]: nonsense"]);
    assert_eq!(done.finished_at, Some(at(3)));
    assert_eq!((done.role, done.scope.len()), (Role::Editor, 1));
    assert_eq!(store.open_bulk().await.unwrap().unwrap().id, "01B");
    assert!(!format!("{done:?}").contains("secret"));
    assert_eq!(store.bulk("01Z").await.unwrap(), None);
}

#[tokio::test]
async fn uploads_that_wait_are_bounded_per_team() {
    let home = tempfile::tempdir().unwrap();
    let store = shared(home.path());
    for n in 0..BULK_OPEN_MAX {
        assert!(store.add_bulk(upload(&format!("{n:04}"), 1)).await.unwrap());
    }
    assert!(!store.add_bulk(upload("9999", 1)).await.unwrap());
    let mut other = upload("9999", 1);
    other.team = "bob".into();
    assert!(store.add_bulk(other).await.unwrap());
}
