//! What is told: in the transaction of what it tells, numbered for ever, bounded; alarms and webhooks with it.
#![allow(clippy::unwrap_used)]

mod fixtures;

use fixtures::*;
use sectag_proto::secret::SecretText;
use sectag_store::{
    AuditScope, CommitError, DeviceChange, EVENT_KINDS, Event, NewEvent, Options, Outbox, SealKey,
    SqliteStore, Store, Team, Teams, Webhook, WebhookHealth, kind_of,
};
use serde_json::json;
use std::path::Path;

fn told(n: u64) -> NewEvent {
    NewEvent {
        at: at(n),
        kind: "fetch",
        team: Some("red".into()),
        device: Some(device_id(1)),
        command: None,
        data: json!({ "n": n }),
    }
}

fn telling(events: impl IntoIterator<Item = NewEvent>) -> DeviceChange {
    DeviceChange {
        events: events.into_iter().collect(),
        ..DeviceChange::default()
    }
}

async fn all(store: &dyn Store) -> Vec<Event> {
    store.events(0, 1000).await.unwrap()
}

fn small(home: &Path, events_max: u64) -> SqliteStore {
    let options = Options {
        events_max,
        ..Options::default()
    };
    SqliteStore::open_with(&home.join("sectag.db"), SealKey::new(&SEAL), options).unwrap()
}

#[tokio::test]
async fn an_event_comes_with_its_transaction_or_not_at_all() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let mut newest = store.newest_event();
    claimed(&store, 1).await;
    assert!(newest.has_changed().unwrap(), "told before the answer");
    let before = *newest.borrow_and_update();
    let device = store.device(device_id(1)).await.unwrap().unwrap();
    let conflict = store.commit(device.id, 99, telling([told(1)])).await;
    assert!(matches!(conflict, Err(CommitError::Conflict { .. })));
    assert!(!newest.has_changed().unwrap());
    store
        .commit(device.id, device.version, telling([told(1), told(2)]))
        .await
        .unwrap();
    assert_eq!(*newest.borrow_and_update(), before + 2);
    let events = all(&store).await;
    let last = events.last().unwrap();
    assert_eq!(
        (last.number, last.at, last.kind.as_str()),
        (before + 2, at(2), "fetch")
    );
    assert_eq!(
        (last.team.as_deref(), last.device),
        (Some("red"), Some(device.id))
    );
    assert_eq!(last.data, json!({ "n": 2 }));
    // The entry of the audit trail is told by reference, and looks the same.
    let claim = events.iter().find(|event| event.kind == "claim").unwrap();
    assert_eq!(claim.data["action"], "claim");
    assert_eq!(claim.team.as_deref(), Some(device.owner.as_str()));
    assert_eq!(claim.data["after"]["blocked"], false);
    let entry = claim.data["audit"].as_u64().unwrap();
    let kept = store.audit_entries(entry - 1, entry, 1).await.unwrap();
    assert_eq!(kept[0].action, "claim");
}

#[tokio::test]
async fn a_request_that_changes_nothing_tells_nothing() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let device = claimed(&store, 1).await;
    let newest = *store.newest_event().borrow();
    let seen = DeviceChange {
        last_seen_at: Some(at(5)),
        ..DeviceChange::default()
    };
    store.commit(device.id, device.version, seen).await.unwrap();
    assert_eq!(*store.newest_event().borrow(), newest);
}

#[tokio::test]
async fn old_events_go_and_numbers_stay() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path();
    let mut store = small(path, 100);
    let mut version = claimed(&store, 1).await.version;
    for round in 0..30_u64 {
        let events = (0..20).map(|n| told(20 * round + n));
        let commit = store.commit(device_id(1), version, telling(events)).await;
        version = commit.unwrap().version;
        if round == 15 {
            drop(store);
            store = small(path, 100);
        }
    }
    let (oldest, newest) = store.events_kept().await.unwrap().unwrap();
    let kept = newest + 1 - oldest;
    // A few more than asked for: they are dropped in steps.
    assert!((100..=200).contains(&kept), "{kept}");
    assert!(newest >= 600, "{newest}");
    let page = store.events(0, 1000).await.unwrap();
    assert_eq!(
        page[0].number, oldest,
        "who asks from the start sees what is missing"
    );
    // Even if all but the newest go, its number is not given again.
    drop(store);
    let store = small(path, 0);
    for _ in 0..3 {
        let commit = store
            .commit(device_id(1), version, telling([told(9)]))
            .await;
        version = commit.unwrap().version;
    }
    let (_, last) = store.events_kept().await.unwrap().unwrap();
    assert_eq!(last, newest + 3);
}

#[tokio::test]
async fn alarms_wait_until_somebody_looked() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let alarm = |n: u64, team: Option<&str>| {
        let event = sectag_store::AuditEvent::new(at(n), "device", "clone-alarm");
        match team {
            Some(team) => event.team(team),
            None => event,
        }
    };
    let events = vec![
        alarm(1, Some("red")),
        alarm(2, None),
        alarm(3, Some("blue")),
        alarm(4, Some("red")),
    ];
    store.record(events).await.unwrap();
    let scope = |team: &str, service| AuditScope {
        team: team.into(),
        service,
    };
    let open = async |team: &str, service| {
        let page = store
            .alarms(scope(team, service), true, None, 10)
            .await
            .unwrap();
        assert_eq!(page.items.len() as u64, page.total);
        let numbers = page.items.iter().map(|alarm| alarm.record.number);
        numbers.collect::<Vec<_>>()
    };
    assert_eq!(open("red", false).await, [4, 1]);
    assert_eq!(open("red", true).await, [4, 2, 1]);
    assert_eq!(open("blue", false).await, [3]);
    let page = store
        .alarms(scope("red", true), true, None, 2)
        .await
        .unwrap();
    assert_eq!((page.next, page.total), (Some(2), 3));
    let rest = store
        .alarms(scope("red", true), true, page.next, 2)
        .await
        .unwrap();
    assert_eq!(rest.items[0].record.number, 1);
    assert!(store.acknowledge_alarm(4, "ada", at(9)).await.unwrap());
    assert!(!store.acknowledge_alarm(4, "bob", at(9)).await.unwrap());
    assert!(!store.acknowledge_alarm(99, "bob", at(9)).await.unwrap());
    assert_eq!(open("red", false).await, [1]);
    let all = store
        .alarms(scope("red", false), false, None, 9)
        .await
        .unwrap();
    assert_eq!(all.total, 2);
    assert_eq!(all.items[0].acknowledged, Some((at(9), "ada".into())));
    let last = store.audit_entries(4, 5, 1).await.unwrap();
    assert_eq!(
        (last[0].action.as_str(), last[0].team.as_deref()),
        ("alarm-acknowledged", Some("red"))
    );
}

#[tokio::test]
async fn a_webhooks_cursor_never_goes_back_and_its_secret_is_sealed() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let webhook = Webhook {
        id: "w".into(),
        team: "red".into(),
        url: "https://hooks.example/services/T0/secret-path".into(),
        kinds: vec!["alarm".into()],
        created_at: at(1),
        created_by: "ada".into(),
        paused: false,
        cursor: 3,
        health: WebhookHealth::default(),
        last_delivered_at: None,
    };
    let secret = SecretText::new(SECRET.into());
    assert!(store.add_webhook(webhook.clone(), secret).await.unwrap());
    assert_eq!(store.webhook("w").await.unwrap(), Some(webhook.clone()));
    let failing = WebhookHealth {
        attempts: 2,
        failing_since: Some(at(5)),
        parked_at: None,
        last_error: Some("no".into()),
    };
    store
        .webhook_progress("w", 7, failing.clone(), Some(at(4)))
        .await
        .unwrap();
    store
        .webhook_progress("w", 2, failing.clone(), None)
        .await
        .unwrap();
    let known = store.webhook("w").await.unwrap().unwrap();
    assert_eq!(
        (known.cursor, &known.health, known.last_delivered_at),
        (7, &failing, Some(at(4)))
    );
    // Changed, it is healthy, and sends where it was.
    let new = Webhook {
        paused: true,
        ..known
    };
    assert!(store.change_webhook(new, None, "ada", at(6)).await.unwrap());
    let known = store.webhook("w").await.unwrap().unwrap();
    assert_eq!(
        (known.cursor, known.paused, known.health.attempts),
        (7, true, 0)
    );
    let kept = store.webhook_secret("w").await.unwrap().unwrap();
    assert_eq!(kept.expose(), SECRET);
    let entries = format!("{:?}", store.audit_entries(0, 99, 99).await.unwrap());
    assert!(
        entries.contains("https://hooks.example") && !entries.contains("secret-path"),
        "{entries}"
    );
    assert!(store.remove_webhook("w", "ada", at(7)).await.unwrap());
    assert!(!store.remove_webhook("w", "ada", at(7)).await.unwrap());
    drop(store);
    for file in std::fs::read_dir(home.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(SECRET.len()).any(|w| w == SECRET.as_bytes()));
    }
}

#[tokio::test]
async fn the_webhooks_of_a_team_go_with_it() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    for team in ["green", "blue"] {
        let made = Team {
            id: team.into(),
            name: team.into(),
            topic_prefix: None,
            created_at: at(1),
        };
        store.add_team(made, "ada").await.unwrap();
        let webhook = Webhook {
            id: format!("of-{team}"),
            team: team.into(),
            url: "https://hooks.example/".into(),
            kinds: Vec::new(),
            created_at: at(2),
            created_by: "ada".into(),
            paused: false,
            cursor: 0,
            health: WebhookHealth::default(),
            last_delivered_at: None,
        };
        let secret = SecretText::new(SECRET.into());
        assert!(store.add_webhook(webhook, secret).await.unwrap());
    }
    store.delete_team("green", "ada", at(3)).await.unwrap();
    let left = store.webhooks().await.unwrap();
    let ids: Vec<&str> = left.iter().map(|webhook| webhook.id.as_str()).collect();
    assert_eq!(ids, ["of-blue"]);
}

#[test]
fn every_action_has_a_kind() {
    for (action, kind) in [
        ("unclaim", "claim"),
        ("block", "device"),
        ("pin", "device"),
        ("command-deleted", "command"),
        ("certificate-revoked", "certificate"),
        ("renewal-started", "certificate"),
        ("renewal-alarm", "alarm"),
        ("alarm-acknowledged", "alarm"),
        ("rule-activated", "rule"),
        ("tag-created", "rule"),
        ("key-add", "access"),
        ("team-created", "access"),
        ("webhook-added", "access"),
        ("anything", "access"),
    ] {
        assert_eq!(kind_of(action), kind, "{action}");
        assert!(EVENT_KINDS.contains(&kind));
    }
}
