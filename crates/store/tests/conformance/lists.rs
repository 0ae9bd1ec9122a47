//! Lists, and what is kept beside the devices.

use super::Database;
use super::secrets::secrets;
use crate::fixtures::*;
use sectag_store::{AddKeyError, CommitError, DeviceChange, DeviceQuery, NewClaim, Role, Store};
use std::sync::Arc;

pub(crate) async fn devices_are_listed_by_pages_and_filters(database: &impl Database) {
    let store = database.open();
    for n in [3, 1, 2, 5, 4] {
        let claim = NewClaim {
            tags: if n % 2 == 0 {
                vec!["even".into()]
            } else {
                vec![]
            },
            ..claim_of(n, &[0])
        };
        store.claim(claim).await.unwrap();
    }
    block(&*store, device_id(2), true, at(1)).await;
    block(&*store, device_id(3), true, at(1)).await;
    tag(&*store, device_id(3), &["odd"], at(1)).await;
    unclaim(&*store, device_id(5), "ada", at(1)).await;
    let list = |after: Option<u32>, limit, tag: Option<&str>, blocked| {
        let query = DeviceQuery {
            after: after.map(device_id),
            tag: tag.map(String::from),
            blocked,
            ..first("ada", limit)
        };
        let store = &store;
        async move {
            let page = store.devices(query).await.unwrap();
            let ids: Vec<_> = page.items.iter().map(|device| device.id).collect();
            for device in &page.items {
                assert_eq!(
                    store.device(device.id).await.unwrap().as_ref(),
                    Some(device)
                );
            }
            (ids, page.next, page.total.unwrap())
        }
    };
    let ids = |ns: &[u32]| ns.iter().copied().map(device_id).collect::<Vec<_>>();
    assert_eq!(
        list(None, 2, None, None).await,
        (ids(&[1, 2]), Some(device_id(2)), 4)
    );
    assert_eq!(list(Some(2), 2, None, None).await, (ids(&[3, 4]), None, 4));
    assert_eq!(list(Some(4), 2, None, None).await, (ids(&[]), None, 4));
    assert_eq!(
        list(None, 9, Some("even"), None).await,
        (ids(&[2, 4]), None, 2)
    );
    assert_eq!(
        list(None, 9, Some("even"), Some(false)).await,
        (ids(&[4]), None, 1)
    );
    assert_eq!(
        list(None, 1, None, Some(true)).await,
        (ids(&[2]), Some(device_id(2)), 2)
    );
    assert_eq!(
        list(Some(2), 1, None, Some(true)).await,
        (ids(&[3]), None, 2)
    );
    assert_eq!(
        list(None, 9, Some("nobody"), None).await,
        (ids(&[]), None, 0)
    );
    assert_eq!(
        list(None, 0, None, None).await.0,
        ids(&[1]),
        "at least one row"
    );
}

pub(crate) async fn many_pages_meet_each_device_once(database: &impl Database) {
    let store = database.open();
    let claims = (0..100).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.claim(claim_of(n, &[0])).await.unwrap() })
    });
    for claim in claims.collect::<Vec<_>>() {
        claim.await.unwrap();
    }
    let (mut met, mut after) = (Vec::new(), None);
    loop {
        let query = DeviceQuery {
            after,
            ..first("ada", 7)
        };
        let page = store.devices(query).await.unwrap();
        assert_eq!(page.total, Some(100));
        met.extend(page.items.into_iter().map(|device| device.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(met, (0..100).map(device_id).collect::<Vec<_>>());
}

pub(crate) async fn the_allow_list_holds_one_key_per_device(database: &impl Database) {
    let store = database.open();
    for n in [2, 1, 3] {
        store
            .allow("ada", device_id(n), key(0).kid(), "ada", at(1))
            .await
            .unwrap();
    }
    store
        .allow("ada", device_id(2), key(1).kid(), "ada", at(2))
        .await
        .unwrap();
    assert_eq!(
        store.allowed("ada", device_id(2)).await.unwrap(),
        Some(key(1).kid())
    );
    assert_eq!(store.allowed("ada", device_id(9)).await.unwrap(), None);
    let page = store.allow_list("ada", None, 2).await.unwrap();
    assert_eq!((page.next, page.total), (Some(device_id(2)), 3));
    assert_eq!(
        (page.items[1].kid, page.items[1].added_at),
        (key(1).kid(), at(2))
    );
    let page = store.allow_list("ada", page.next, 2).await.unwrap();
    assert_eq!((page.items[0].device, page.next), (device_id(3), None));
    assert!(
        store
            .disallow("ada", device_id(2), "ada", at(3))
            .await
            .unwrap()
    );
    assert!(
        !store
            .disallow("ada", device_id(2), "ada", at(3))
            .await
            .unwrap()
    );
    assert_eq!(store.allowed("ada", device_id(2)).await.unwrap(), None);
    assert_eq!(store.allow_list("ada", None, 9).await.unwrap().total, 2);
}

pub(crate) async fn api_keys_are_found_by_hash_until_revoked(database: &impl Database) {
    let store = database.open();
    store.adopt(team("ada")).await.unwrap();
    store.add_key(api_key("first", 1), "setup").await.unwrap();
    let strong = sectag_store::ApiKey {
        role: Role::Owner,
        ..api_key("another", 2)
    };
    store.add_key(strong.clone(), "setup").await.unwrap();
    let taken = Err(AddKeyError::NameTaken {
        name: "first".into(),
    });
    assert_eq!(store.add_key(api_key("first", 3), "setup").await, taken);
    assert_eq!(
        store.key_by_hash([2; 32]).await.unwrap(),
        Some(strong.clone())
    );
    assert_eq!(store.key_by_hash([3; 32]).await.unwrap(), None);
    assert!(
        store
            .revoke_key("ada", "first", "ada", at(5))
            .await
            .unwrap()
    );
    assert!(
        !store
            .revoke_key("ada", "first", "ada", at(6))
            .await
            .unwrap()
    );
    assert!(
        !store
            .revoke_key("ada", "nobody", "ada", at(6))
            .await
            .unwrap()
    );
    assert_eq!(store.key_by_hash([1; 32]).await.unwrap(), None);
    let revoked = sectag_store::ApiKey {
        revoked_at: Some(at(5)),
        ..api_key("first", 1)
    };
    let page = store.keys("ada", None, 9).await.unwrap();
    assert_eq!((page.items, page.total), (vec![strong, revoked], 2));
    assert_eq!(store.add_key(api_key("first", 4), "setup").await, taken);
}

pub(crate) async fn the_audit_trail_tells_all_changes(database: &impl Database) {
    let store = database.open();
    store.adopt(team("ada")).await.unwrap();
    let device = claimed(&*store, 1).await;
    block(&*store, device.id, true, at(1)).await;
    block(&*store, device.id, false, at(1)).await;
    tag(&*store, device.id, &["x"], at(2)).await;
    let noted = DeviceChange {
        audit: vec![event(3, Some(1))],
        ..DeviceChange::default()
    };
    store.commit(device.id, 4, noted).await.unwrap();
    store
        .record(vec![event(4, None), event(5, Some(2))])
        .await
        .unwrap();
    store
        .allow("ada", device.id, key(0).kid(), "ada", at(6))
        .await
        .unwrap();
    store
        .disallow("ada", device.id, "ada", at(6))
        .await
        .unwrap();
    store.add_key(api_key("k", 1), "ada").await.unwrap();
    store.revoke_key("ada", "k", "ada", at(7)).await.unwrap();
    unclaim(&*store, device.id, "ada", at(8)).await;
    let all = store.audit(None, None, 100).await.unwrap();
    let actions: Vec<_> = all
        .items
        .iter()
        .rev()
        .map(|r| r.event.action.as_str())
        .collect();
    let expected = [
        "claim",
        "block",
        "unblock",
        "tags",
        "alarm",
        "alarm",
        "alarm",
        "allow",
        "disallow",
        "key-add",
        "key-revoke",
        "unclaim",
    ];
    assert_eq!(actions, expected);
    assert_eq!((all.total, all.next), (12, None));
    assert_eq!(all.items[7].event, event(3, Some(1)).team("ada"));
    assert!(
        all.items
            .windows(2)
            .all(|pair| pair[0].number == pair[1].number + 1)
    );

    let mine = store.audit(Some(device.id), None, 3).await.unwrap();
    assert_eq!((mine.items.len(), mine.total), (3, 8));
    let rest = store.audit(Some(device.id), mine.next, 100).await.unwrap();
    assert_eq!((rest.items.len(), rest.next), (5, None));
    let first = store.audit(None, Some(2), 5).await.unwrap();
    assert_eq!((first.items.len(), first.items[0].number), (1, 1));
}

pub(crate) async fn everything_is_there_after_reopening(database: &impl Database) {
    let before = {
        let store = database.open();
        store.adopt(team("ada")).await.unwrap();
        let device = claimed(&*store, 1).await;
        claimed(&*store, 2).await;
        let change = DeviceChange {
            pin: Some(key(0)),
            issued: vec![issued(1, 1, 9)],
            audit: vec![event(1, Some(1))],
            last_seen_at: Some(at(1)),
            ..adding(vec![command(1, psk()), terminal(command(2, csr()))])
        };
        store.commit(device.id, 1, change).await.unwrap();
        unclaim(&*store, device_id(2), "ada", at(2)).await;
        store
            .allow("ada", device_id(3), key(3).kid(), "ada", at(3))
            .await
            .unwrap();
        store.add_key(api_key("k", 1), "ada").await.unwrap();
        everything(&*store).await
    };
    let store = database.open();
    assert_eq!(everything(&*store).await, before);
    assert_eq!(secrets(&*store, 1).await, [SECRET]);
    let next = adding(vec![command(3, csr())]);
    assert_eq!(
        store.commit(device_id(1), 2, next).await.unwrap().version,
        3
    );
}

async fn everything(store: &dyn Store) -> String {
    format!(
        "{:?}",
        (
            store.devices(first("ada", 9)).await.unwrap(),
            store.tombstone(device_id(2)).await.unwrap(),
            store.commands(device_id(1)).await.unwrap(),
            store.certificates(device_id(1)).await.unwrap(),
            store.allow_list("ada", None, 9).await.unwrap(),
            store.keys("ada", None, 9).await.unwrap(),
            store.audit(None, None, 99).await.unwrap(),
        )
    )
}

pub(crate) async fn what_does_not_exist_is_none(database: &impl Database) {
    let store = database.open();
    let id = device_id(1);
    assert_eq!(store.device(id).await.unwrap(), None);
    assert!(store.queue(id, &[command_id(1)]).await.unwrap().is_none());
    assert_eq!(store.commands(id).await.unwrap(), []);
    assert_eq!(block(&*store, id, true, at(1)).await, None);
    assert_eq!(tag(&*store, id, &[], at(1)).await, None);
    assert!(!unclaim(&*store, id, "ada", at(1)).await);
    let commit = store.commit(id, 1, adding(vec![command(1, csr())])).await;
    assert_eq!(commit, Err(CommitError::Gone));
    assert_eq!(store.audit(None, None, 9).await.unwrap().total, 0);
    assert_eq!(store.devices(first("ada", 9)).await.unwrap().total, Some(0));
}
