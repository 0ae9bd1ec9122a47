//! What is told: in the transaction of what it tells, numbered for ever, bounded; alarms and webhooks with it.
#![allow(clippy::unwrap_used)]

mod fixtures;

use fixtures::*;
use sectag_proto::secret::SecretText;
use sectag_store::{
    AddWebhookError, AuditScope, CommitError, DeviceChange, EVENT_KINDS, Event, NewEvent, Options,
    Outbox, SealKey, SqliteStore, Store, Team, Teams, WEBHOOKS_OF_TEAM_MAX, Webhook, WebhookChange,
    WebhookHealth, WebhookProgress, kind_of,
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

fn webhook(id: &str, team: &str) -> Webhook {
    Webhook {
        id: id.into(),
        team: team.into(),
        url: "https://hooks.example/services/T0/secret-path".into(),
        kinds: vec!["alarm".into()],
        created_at: at(1),
        created_by: "ada".into(),
        paused: false,
        cursor: 3,
        health: WebhookHealth::default(),
        last_delivered_at: None,
    }
}

fn secret() -> SecretText {
    SecretText::new(SECRET.into())
}

fn failing(attempts: u32) -> WebhookHealth {
    WebhookHealth {
        attempts,
        failing_since: Some(at(5)),
        parked_at: None,
        last_error: Some("no".into()),
    }
}

#[tokio::test]
async fn a_webhooks_cursor_never_goes_back_and_its_secret_is_sealed() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let made = webhook("w", "red");
    store.add_webhook(made.clone(), secret()).await.unwrap();
    assert_eq!(store.webhook("w").await.unwrap(), Some(made));
    let came = async |cursor, delivered_at| {
        let progress = WebhookProgress {
            cursor,
            delivered_at,
            ..WebhookProgress::default()
        };
        assert!(store.webhook_progress("w", progress).await.unwrap());
    };
    came(7, Some(at(4))).await;
    came(2, None).await;
    let known = store.webhook("w").await.unwrap().unwrap();
    assert_eq!((known.cursor, known.last_delivered_at), (7, Some(at(4))));
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
async fn changes_of_one_webhook_at_the_same_time_all_last() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    store
        .add_webhook(webhook("w", "red"), secret())
        .await
        .unwrap();
    let change = |change| store.change_webhook("w", change, "ada", at(6));
    let paused = WebhookChange {
        paused: Some(true),
        ..WebhookChange::default()
    };
    let led_elsewhere = WebhookChange {
        url: Some("https://other.example/".into()),
        ..WebhookChange::default()
    };
    let listens_to_more = WebhookChange {
        kinds: Some(Vec::new()),
        ..WebhookChange::default()
    };
    let done = tokio::join!(
        change(paused),
        change(led_elsewhere),
        change(listens_to_more)
    );
    assert!(done.0.unwrap().is_some() && done.1.unwrap().is_some() && done.2.unwrap().is_some());
    let known = store.webhook("w").await.unwrap().unwrap();
    assert_eq!(
        (known.paused, known.url.as_str(), known.kinds.len()),
        (true, "https://other.example/", 0)
    );
    assert_eq!(
        store.webhook_secret("w").await.unwrap().unwrap().expose(),
        SECRET
    );
    assert!(
        store
            .change_webhook("v", WebhookChange::default(), "ada", at(6))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_change_makes_a_webhook_healthy_and_none_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    store
        .add_webhook(webhook("w", "red"), secret())
        .await
        .unwrap();
    let failed = |was, health| WebhookProgress {
        was,
        health,
        ..WebhookProgress::default()
    };
    let first = failed(WebhookHealth::default(), failing(2));
    assert!(store.webhook_progress("w", first).await.unwrap());
    let entries = store.audit_head().await.unwrap().number;
    // As it is already.
    let same = WebhookChange {
        url: Some(webhook("w", "red").url),
        paused: Some(false),
        ..WebhookChange::default()
    };
    let known = store
        .change_webhook("w", same, "ada", at(6))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(known.health, failing(2));
    assert_eq!(
        store.audit_head().await.unwrap().number,
        entries,
        "no entry about nothing"
    );
    let another_secret = WebhookChange {
        secret: Some(SecretText::new("another-secret-of-theirs".into())),
        ..WebhookChange::default()
    };
    let known = store
        .change_webhook("w", another_secret, "ada", at(6))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(known.health, WebhookHealth::default());
    assert_eq!(store.webhook("w").await.unwrap(), Some(known));
    // A failure of before, told late, does not undo it.
    assert!(
        !store
            .webhook_progress("w", failed(failing(2), failing(3)))
            .await
            .unwrap()
    );
    let known = store.webhook("w").await.unwrap().unwrap();
    assert_eq!(known.health, WebhookHealth::default());
}

#[tokio::test]
async fn an_alarm_is_raised_with_the_state_that_it_tells_or_not_at_all() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    store
        .add_webhook(webhook("w", "red"), secret())
        .await
        .unwrap();
    let parked = WebhookHealth {
        parked_at: Some(at(9)),
        ..failing(1)
    };
    let progress = WebhookProgress {
        health: parked.clone(),
        alarm: Some(sectag_store::AuditEvent::new(at(9), "service", "webhook-alarm").team("red")),
        ..WebhookProgress::default()
    };
    assert!(store.webhook_progress("w", progress.clone()).await.unwrap());
    assert_eq!(store.webhook("w").await.unwrap().unwrap().health, parked);
    assert!(!store.webhook_progress("w", progress.clone()).await.unwrap());
    assert!(!store.webhook_progress("gone", progress).await.unwrap());
    let scope = AuditScope {
        team: "red".into(),
        service: false,
    };
    assert_eq!(store.alarms(scope, true, None, 9).await.unwrap().total, 1);
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
        let of_team = webhook(&format!("of-{team}"), team);
        store.add_webhook(of_team, secret()).await.unwrap();
    }
    store.delete_team("green", "ada", at(3)).await.unwrap();
    let left = store.webhooks().await.unwrap();
    let ids: Vec<&str> = left.iter().map(|webhook| webhook.id.as_str()).collect();
    assert_eq!(ids, ["of-blue"]);
    // Nor does one come after.
    let late = store.add_webhook(webhook("late", "green"), secret()).await;
    assert_eq!(late, Err(AddWebhookError::NoTeam));
    for n in 1..WEBHOOKS_OF_TEAM_MAX {
        let more = webhook(&format!("{n}"), "blue");
        store.add_webhook(more, secret()).await.unwrap();
    }
    let over = store.add_webhook(webhook("over", "blue"), secret()).await;
    assert_eq!(over, Err(AddWebhookError::TooMany));
    assert_eq!(
        store.webhooks().await.unwrap().len() as u64,
        WEBHOOKS_OF_TEAM_MAX
    );
}

#[test]
fn every_action_has_a_kind() {
    for (action, kind) in [
        ("unclaim", "claim"),
        ("block", "device"),
        ("pin", "device"),
        ("device-named", "device"),
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
