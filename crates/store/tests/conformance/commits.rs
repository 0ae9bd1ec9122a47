//! Queues and commits.

use super::Database;
use crate::fixtures::*;
use sectag_proto::command::{CommandRequest, ConfigPairs};
use sectag_proto::service::Status;
use sectag_proto::{CommandId, Timestamp};
use sectag_store::{CommitError, DeviceChange, StoreError, View};
use std::sync::Arc;

pub(crate) async fn a_commit_is_all_or_nothing(database: &impl Database) {
    let store = database.open();
    let (one, two) = (claimed(&*store, 1).await, claimed(&*store, 2).await);
    store
        .commit(one.id, 1, issuing(issued(1, 1, 9)))
        .await
        .unwrap();
    let events = store.audit(None, None, 1).await.unwrap().total;
    let change = DeviceChange {
        pin: Some(key(0)),
        commands: vec![command(1, csr()), command(2, psk())],
        next_sequence: 3,
        issued: vec![issued(2, 1, 8), issued(2, 1, 9)],
        audit: vec![event(1, Some(2))],
        last_seen_at: Some(at(3)),
        ..DeviceChange::default()
    };
    let refused = store.commit(two.id, 1, change).await;
    assert_eq!(
        refused,
        Err(CommitError::KeyAlreadyIssued { device: one.id })
    );
    assert_eq!(store.device(two.id).await.unwrap(), Some(two.clone()));
    assert_eq!(store.commands(two.id).await.unwrap(), []);
    assert_eq!(store.certificates(two.id).await.unwrap(), []);
    assert_eq!(store.audit(None, None, 1).await.unwrap().total, events);
}

pub(crate) async fn of_two_commits_on_one_version_one_wins(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    for round in 0..20_u32 {
        let version = store.device(device.id).await.unwrap().unwrap().version;
        let commit = |n| {
            let store = Arc::clone(&store);
            let change = adding(vec![command(n, csr())]);
            tokio::spawn(async move { store.commit(device_id(1), version, change).await })
        };
        let (a, b) = (commit(round * 2 + 1), commit(round * 2 + 2));
        let (a, b) = (a.await.unwrap(), b.await.unwrap());
        let lost = Err(CommitError::Conflict {
            current: version + 1,
        });
        assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
        assert!(a == lost || b == lost);
        let stored = store.commands(device.id).await.unwrap();
        assert_eq!(stored.len(), round as usize + 1);
    }
}

pub(crate) async fn a_block_in_between_is_a_conflict(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    let blocked = block(&*store, device.id, true, at(1)).await.unwrap();
    assert!(blocked.blocked);
    assert_eq!(
        store.commit(device.id, 1, DeviceChange::default()).await,
        Err(CommitError::Conflict { current: 2 })
    );
    let tagged = tag(&*store, device.id, &["x"], at(2)).await.unwrap();
    assert_eq!((tagged.version, tagged.blocked), (3, true));
    assert_eq!(store.device(device.id).await.unwrap(), Some(tagged));
}

pub(crate) async fn the_queue_is_open_commands_and_named_ones(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    claimed(&*store, 2).await;
    let mut follower = command(4, csr());
    follower.position = (1, 4);
    let mut running = command(3, csr());
    running.status = Status::InProgress;
    let commands = vec![
        terminal(command(1, csr())),
        terminal(command(2, csr())),
        running,
        follower,
        command(5, csr()),
    ];
    store.commit(device.id, 1, adding(commands)).await.unwrap();
    let foreign = adding(vec![command(1, csr())]);
    store.commit(device_id(2), 1, foreign).await.unwrap();
    let ids = |commands: &[sectag_proto::service::Command]| -> Vec<CommandId> {
        commands.iter().map(|command| command.id).collect()
    };
    let loaded = store.queue(device.id, &[]).await.unwrap().unwrap();
    assert_eq!(ids(loaded.queue.commands()), [4, 3, 5].map(command_id));
    assert_eq!(
        (loaded.queue.next_sequence(), loaded.queue.device()),
        (6, device.id)
    );
    assert_eq!(loaded.device.version, 2);
    // Named twice, open anyway, or unknown: all the same.
    let named = [2, 2, 3, 77].map(command_id);
    let loaded = store.queue(device.id, &named).await.unwrap().unwrap();
    assert_eq!(ids(loaded.queue.commands()), [4, 2, 3, 5].map(command_id));
    let all = store.commands(device.id).await.unwrap();
    assert_eq!(ids(&all), [1, 4, 2, 3, 5].map(command_id));
}

pub(crate) async fn commands_are_seen_by_whoever_sees_their_device(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await.id;
    let two = adding(vec![command(1, csr()), command(2, psk())]);
    store.commit(device, 1, two).await.unwrap();
    let tagged = View {
        tags: vec!["a".to_owned()],
        ..View::of("ada")
    };
    let seen = async |view: &View, only: Option<u32>| {
        let found = store.commands_seen(view.clone(), device, only.map(command_id));
        let found = found.await.unwrap()?;
        Some(found.iter().map(|c| c.id).collect::<Vec<_>>())
    };
    let ada = View::of("ada");
    assert_eq!(
        seen(&ada, None).await,
        Some(vec![command_id(1), command_id(2)])
    );
    assert_eq!(seen(&ada, Some(2)).await, Some(vec![command_id(2)]));
    assert_eq!(seen(&ada, Some(7)).await, Some(vec![]));
    for stranger in [View::of("bob"), tagged] {
        assert_eq!(seen(&stranger, None).await, None);
        assert_eq!(seen(&stranger, Some(2)).await, None);
    }
    unclaim(&*store, device, "ada", at(1)).await;
    assert_eq!(seen(&ada, None).await, None);
}

pub(crate) async fn commands_come_back_as_they_were(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    let pairs = vec![
        ("z".into(), "1".into()),
        ("a".into(), "\u{1F4E1}\0\n".into()),
    ];
    let requests = [
        csr(),
        CommandRequest::Config(ConfigPairs(pairs)),
        CommandRequest::AtCommand {
            command: "%CMNG".into(),
            parameters: "0,1,\"\r\n\"".into(),
            ignore_cme_errors: vec![513, 514],
        },
        CommandRequest::Finished {},
    ];
    let mut commands: Vec<_> = (1..).zip(requests).map(|(n, r)| command(n, r)).collect();
    commands[0] = terminal(commands[0].clone());
    commands[1].requested_at = Some(at(4));
    commands[1].covered_at = Some(Timestamp(0));
    commands[1].status = Status::InProgress;
    commands[2].description = None;
    commands[3].rule_id = Some("a rule".into());
    store
        .commit(device.id, 1, adding(commands.clone()))
        .await
        .unwrap();
    assert_eq!(store.commands(device.id).await.unwrap(), commands);
    for command in commands {
        assert_eq!(
            store.command(device.id, command.id).await.unwrap(),
            Some(command)
        );
    }
    assert_eq!(
        store.command(device_id(2), command_id(1)).await.unwrap(),
        None
    );
}

pub(crate) async fn removed_commands_are_gone(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    let commands = vec![command(1, csr()), command(2, psk())];
    store
        .commit(device.id, 1, adding(commands.clone()))
        .await
        .unwrap();
    let removing = DeviceChange {
        removed: vec![command_id(2), command_id(99)],
        ..DeviceChange::default()
    };
    store.commit(device.id, 2, removing).await.unwrap();
    assert_eq!(store.commands(device.id).await.unwrap(), &commands[..1]);
    assert_eq!(
        store
            .queue(device.id, &[])
            .await
            .unwrap()
            .unwrap()
            .queue
            .next_sequence(),
        3
    );
}

pub(crate) async fn unclaiming_erases_commands(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    let mut change = adding(vec![command(1, psk()), terminal(command(2, csr()))]);
    change.issued = vec![issued(1, 2, 9)];
    store.commit(device.id, 1, change).await.unwrap();
    unclaim(&*store, device.id, "ada", at(1)).await;
    assert_eq!(store.commands(device.id).await.unwrap(), []);
    assert!(store.queue(device.id, &[]).await.unwrap().is_none());
    claimed(&*store, 1).await;
    let loaded = store
        .queue(device.id, &[1, 2].map(command_id))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(loaded.queue.commands(), []);
    assert_eq!(loaded.queue.next_sequence(), 1);
    // What was issued stays on record.
    assert_eq!(
        store.certificates(device.id).await.unwrap(),
        [issued(1, 2, 9)]
    );
}

pub(crate) async fn the_sequence_never_goes_back(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    for (version, next, expected) in [(1, 5, 5), (2, 0, 5), (3, 4, 5), (4, 6, 6)] {
        let change = DeviceChange {
            next_sequence: next,
            ..DeviceChange::default()
        };
        store.commit(device.id, version, change).await.unwrap();
        let device = store.device(device.id).await.unwrap().unwrap();
        assert_eq!(device.next_sequence, expected);
    }
}

pub(crate) async fn a_public_key_is_issued_once_ever(database: &impl Database) {
    let store = database.open();
    let (one, two) = (claimed(&*store, 1).await, claimed(&*store, 2).await);
    store
        .commit(one.id, 1, issuing(issued(1, 1, 9)))
        .await
        .unwrap();
    // The very same again is no second certificate.
    store
        .commit(one.id, 2, issuing(issued(1, 1, 9)))
        .await
        .unwrap();
    assert_eq!(store.certificates(one.id).await.unwrap(), [issued(1, 1, 9)]);
    let refused = Err(CommitError::KeyAlreadyIssued { device: one.id });
    let other_certificate = issuing(sectag_store::Issued {
        certificate_der: vec![0x31],
        ..issued(1, 1, 9)
    });
    for change in [issuing(issued(1, 2, 9)), other_certificate] {
        assert_eq!(store.commit(one.id, 3, change).await, refused);
    }
    unclaim(&*store, one.id, "ada", at(1)).await;
    assert_eq!(
        store.commit(two.id, 1, issuing(issued(2, 1, 9))).await,
        refused
    );
    let twice = DeviceChange {
        issued: vec![issued(2, 1, 7), issued(2, 2, 7)],
        ..DeviceChange::default()
    };
    let refused = Err(CommitError::KeyAlreadyIssued { device: two.id });
    assert_eq!(store.commit(two.id, 1, twice).await, refused);
    assert_eq!(
        store.issued_by_spki([9; 32]).await.unwrap(),
        Some(issued(1, 1, 9))
    );
    assert_eq!(store.issued_by_spki([7; 32]).await.unwrap(), None);
}

pub(crate) async fn a_certificate_belongs_to_the_device_of_its_change(database: &impl Database) {
    let store = database.open();
    claimed(&*store, 1).await;
    let refused = store
        .commit(device_id(1), 1, issuing(issued(2, 1, 9)))
        .await;
    assert!(matches!(
        refused,
        Err(CommitError::Store(StoreError::Misuse { .. }))
    ));
}

pub(crate) async fn times_never_go_back(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    let seen = |seen, finished| DeviceChange {
        last_seen_at: seen,
        finished_at: finished,
        ..DeviceChange::default()
    };
    store
        .commit(device.id, 1, seen(Some(at(9)), None))
        .await
        .unwrap();
    store
        .commit(device.id, 2, seen(Some(at(8)), Some(at(8))))
        .await
        .unwrap();
    store.commit(device.id, 3, seen(None, None)).await.unwrap();
    let device = store.device(device.id).await.unwrap().unwrap();
    assert_eq!(
        (device.last_seen_at, device.finished_at),
        (Some(at(9)), Some(at(8)))
    );
}
