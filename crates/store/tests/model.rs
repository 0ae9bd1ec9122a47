//! Random operations on the store and on a small honest model beside it: same answers, same state, also after
//! closing and opening the database in between.
#![allow(clippy::unwrap_used)]

mod fixtures;

use fixtures::*;
use proptest::prelude::*;
use sectag_proto::DeviceId;
use sectag_proto::service::Command;
use sectag_store::{
    ClaimOutcome, CommitError, DeviceChange, DeviceQuery, NewClaim, Store, StoreError,
};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
enum Step {
    Claim {
        device: u32,
        keys: Vec<usize>,
        owner: bool,
        accept: bool,
    },
    Unclaim(u32),
    Block(u32, bool),
    Tags(u32, Vec<u8>),
    Commit {
        device: u32,
        stale: bool,
        pin: Option<usize>,
        put: Vec<(u32, bool)>,
        removed: Option<u32>,
        issued: Option<(u8, u32)>,
    },
    Allow(u32, Option<usize>),
    AddKey(u8),
    RevokeKey(u8),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let device = || 0_u32..3;
    let keys = prop::collection::btree_set(0_usize..4, 1..3);
    let claim =
        (device(), keys, any::<bool>(), any::<bool>()).prop_map(|(device, keys, owner, accept)| {
            Step::Claim {
                device,
                keys: keys.into_iter().collect(),
                owner,
                accept,
            }
        });
    let commit = (
        device(),
        prop::bool::weighted(0.2),
        prop::option::weighted(0.3, 0_usize..4),
        prop::collection::vec((1_u32..6, any::<bool>()), 0..3),
        prop::option::weighted(0.2, 1_u32..6),
        prop::option::weighted(0.3, (0_u8..4, 1_u32..4)),
    )
        .prop_map(|(device, stale, pin, put, removed, issued)| Step::Commit {
            device,
            stale,
            pin,
            put,
            removed,
            issued,
        });
    let step = prop_oneof![
        4 => claim,
        2 => device().prop_map(Step::Unclaim),
        1 => (device(), any::<bool>()).prop_map(|(device, blocked)| Step::Block(device, blocked)),
        1 => (device(), prop::collection::vec(0_u8..3, 0..3)).prop_map(|(d, tags)| Step::Tags(d, tags)),
        8 => commit,
        1 => (device(), prop::option::of(0_usize..4)).prop_map(|(d, key)| Step::Allow(d, key)),
        1 => (0_u8..3).prop_map(Step::AddKey),
        1 => (0_u8..3).prop_map(Step::RevokeKey),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..60)
}

/// What is known of a device: keys by number.
#[derive(Debug, Clone, Default)]
struct Known {
    keys: BTreeSet<usize>,
    pin: Option<usize>,
    version: u64,
}

impl Known {
    fn meets(&self, shown: &BTreeSet<usize>) -> BTreeSet<usize> {
        let known = |key: &&usize| self.pin.map_or(self.keys.contains(key), |pin| pin == **key);
        shown.iter().filter(known).copied().collect()
    }
}

#[derive(Debug, Default)]
struct Claimed {
    known: Known,
    owner: bool,
    blocked: bool,
    tags: Vec<String>,
    next_sequence: u32,
    commands: BTreeMap<u32, Command>,
}

#[derive(Debug, Default)]
struct Model {
    claimed: BTreeMap<u32, Claimed>,
    tombstones: BTreeMap<u32, Known>,
    issued: BTreeMap<u8, (u32, u32)>,
    allowed: BTreeMap<u32, usize>,
    keys: BTreeMap<u8, bool>,
    audited: u64,
}

fn tag_names(tags: &[u8]) -> Vec<String> {
    tags.iter().map(|tag| format!("t{tag}")).collect()
}

impl Model {
    /// `created`, `existing`, `other`, `conflict`.
    fn claim(&mut self, device: u32, keys: &[usize], owner: bool, accept: bool) -> &'static str {
        let shown: BTreeSet<usize> = keys.iter().copied().collect();
        if let Some(claimed) = self.claimed.get_mut(&device) {
            if claimed.owner != owner {
                return "other";
            }
            if claimed.known.meets(&shown).is_empty() {
                if !accept {
                    return "conflict";
                }
                claimed.known.keys = shown;
                claimed.known.pin = None;
                claimed.known.version += 1;
                self.audited += 1;
            }
            return "existing";
        }
        let mut known = self.tombstones.get(&device).cloned().unwrap_or_default();
        if known.version > 0 {
            let met = known.meets(&shown);
            if !met.is_empty() {
                known.keys = met;
            } else if accept {
                known.keys = shown;
                known.pin = None;
                self.audited += 1;
            } else {
                return "conflict";
            }
        } else {
            known.keys = shown;
        }
        known.version += 1;
        self.audited += 1;
        self.tombstones.remove(&device);
        let claimed = Claimed {
            known,
            owner,
            next_sequence: 1,
            ..Claimed::default()
        };
        self.claimed.insert(device, claimed);
        "created"
    }

    fn commit(&mut self, version: u64, step: &Step) -> Result<u64, &'static str> {
        let Step::Commit {
            device,
            pin,
            put,
            removed,
            issued,
            ..
        } = step
        else {
            unreachable!()
        };
        let Some(claimed) = self.claimed.get_mut(device) else {
            return Err("gone");
        };
        if claimed.known.version != version {
            return Err("conflict");
        }
        let known = |pin| !claimed.known.meets(&BTreeSet::from([pin])).is_empty();
        if pin.is_some_and(|pin| !known(pin)) {
            return Err("misuse");
        }
        if let Some((spki, command)) = issued {
            if self
                .issued
                .get(spki)
                .is_some_and(|known| *known != (*device, *command))
            {
                return Err("issued");
            }
            self.issued.insert(*spki, (*device, *command));
        }
        if let Some(pin) = pin {
            claimed.known.pin = Some(*pin);
            claimed.known.keys = BTreeSet::from([*pin]);
        }
        for command in commands(put) {
            claimed.next_sequence = claimed.next_sequence.max(command.sequence + 1);
            claimed.commands.insert(command.sequence, command);
        }
        if let Some(removed) = removed {
            claimed.commands.remove(removed);
        }
        claimed.known.version += 1;
        Ok(claimed.known.version)
    }
}

fn commands(put: &[(u32, bool)]) -> Vec<Command> {
    let one = |&(n, done): &(u32, bool)| {
        let fresh = command(n, if n % 2 == 0 { psk() } else { csr() });
        if done { terminal(fresh) } else { fresh }
    };
    put.iter().map(one).collect()
}

fn change(step: &Step) -> DeviceChange {
    let Step::Commit {
        device,
        pin,
        put,
        removed,
        issued: certificate,
        ..
    } = step
    else {
        unreachable!()
    };
    DeviceChange {
        pin: pin.map(key),
        removed: removed.map(command_id).into_iter().collect(),
        issued: certificate
            .iter()
            .map(|&(spki, command)| issued(*device, command, spki))
            .collect(),
        ..adding(commands(put))
    }
}

/// One step on both; the answers agree.
async fn step(store: &dyn Store, model: &mut Model, step: &Step) {
    match step {
        Step::Claim {
            device,
            keys,
            owner,
            accept,
        } => {
            let claim = NewClaim {
                owner: owner.to_string(),
                accept_new_key: *accept,
                ..claim_of(*device, keys)
            };
            let said = match store.claim(claim).await.unwrap() {
                ClaimOutcome::Created(_) => "created",
                ClaimOutcome::Existing(_) => "existing",
                ClaimOutcome::OwnedByOther(_) => "other",
                ClaimOutcome::KeyConflict(_) => "conflict",
            };
            assert_eq!(said, model.claim(*device, keys, *owner, *accept));
        }
        Step::Unclaim(n) => {
            let expected = model.claimed.remove(n);
            let done = store.unclaim(device_id(*n), "x", at(1)).await.unwrap();
            assert_eq!(done, expected.is_some());
            model.audited += u64::from(done);
            model
                .tombstones
                .extend(expected.map(|claimed| (*n, claimed.known)));
        }
        Step::Block(n, blocked) => {
            let done = store
                .set_blocked(device_id(*n), *blocked, "x", at(1))
                .await
                .unwrap();
            if let Some(claimed) = expect_same(model, *n, done.is_some()) {
                claimed.blocked = *blocked;
            }
        }
        Step::Tags(n, tags) => {
            let done = store
                .set_tags(device_id(*n), tag_names(tags), "x", at(1))
                .await
                .unwrap();
            if let Some(claimed) = expect_same(model, *n, done.is_some()) {
                claimed.tags = Vec::new();
                for tag in tag_names(tags) {
                    if !claimed.tags.contains(&tag) {
                        claimed.tags.push(tag);
                    }
                }
            }
        }
        Step::Commit { device, stale, .. } => {
            let current = model
                .claimed
                .get(device)
                .map_or(1, |claimed| claimed.known.version);
            let version = current - u64::from(*stale);
            let said = store
                .commit(device_id(*device), version, change(step))
                .await;
            let said = said
                .map(|committed| committed.version)
                .map_err(|e| match e {
                    CommitError::Conflict { .. } => "conflict",
                    CommitError::Gone => "gone",
                    CommitError::KeyAlreadyIssued { .. } => "issued",
                    CommitError::Store(StoreError::Misuse { .. }) => "misuse",
                    CommitError::Store(other) => panic!("{other}"),
                });
            assert_eq!(said, model.commit(version, step));
        }
        Step::Allow(n, Some(number)) => {
            let kid = key(*number).kid();
            store.allow(device_id(*n), kid, "x", at(1)).await.unwrap();
            model.allowed.insert(*n, *number);
            model.audited += 1;
        }
        Step::Allow(n, None) => {
            let done = store.disallow(device_id(*n), "x", at(1)).await.unwrap();
            assert_eq!(done, model.allowed.remove(n).is_some());
            model.audited += u64::from(done);
        }
        Step::AddKey(n) => {
            let done = store
                .add_key(api_key(&n.to_string(), *n), "x")
                .await
                .is_ok();
            assert_eq!(done, !model.keys.contains_key(n));
            model.keys.entry(*n).or_insert(true);
            model.audited += u64::from(done);
        }
        Step::RevokeKey(n) => {
            let done = store.revoke_key(&n.to_string(), "x", at(1)).await.unwrap();
            let live = model.keys.get_mut(n).is_some_and(std::mem::take);
            assert_eq!(done, live);
            model.audited += u64::from(done);
        }
        Step::Reopen => {}
    }
}

fn expect_same(model: &mut Model, n: u32, done: bool) -> Option<&mut Claimed> {
    let mut claimed = model.claimed.get_mut(&n);
    assert_eq!(done, claimed.is_some());
    model.audited += u64::from(done);
    if let Some(claimed) = &mut claimed {
        claimed.known.version += 1;
    }
    claimed
}

/// All that can be read agrees.
async fn compare(store: &dyn Store, model: &Model) {
    for n in 0..3 {
        let id = device_id(n);
        let device = store.device(id).await.unwrap();
        let tombstone = store.tombstone(id).await.unwrap();
        assert_eq!(
            tombstone.map(|t| t.version),
            model.tombstones.get(&n).map(|k| k.version)
        );
        let stored = store.commands(id).await.unwrap();
        let Some(expected) = model.claimed.get(&n) else {
            assert_eq!((device, stored), (None, vec![]));
            continue;
        };
        let device = device.unwrap();
        assert_eq!(device.version, expected.known.version);
        assert_eq!(device.pin, expected.known.pin.map(key));
        let keys: Vec<_> = expected.known.keys.iter().map(|&n| candidate(n)).collect();
        assert_eq!(device.candidates, keys);
        assert_eq!(
            (device.blocked, &device.tags),
            (expected.blocked, &expected.tags)
        );
        let erased = |command: &Command| {
            let mut command = command.clone();
            command.request.erase_secrets();
            command
        };
        let all: Vec<_> = expected.commands.values().map(erased).collect();
        assert_eq!(stored, all);
        let loaded = store.queue(id, &[]).await.unwrap().unwrap();
        let open = expected
            .commands
            .values()
            .filter(|c| !c.status.is_terminal());
        assert_eq!(loaded.queue.commands(), open.cloned().collect::<Vec<_>>());
        assert_eq!(loaded.queue.next_sequence(), expected.next_sequence);
        assert_eq!(loaded.device, device);
    }
    for tag in ["t0", "t1", "t2"] {
        for blocked in [None, Some(true), Some(false)] {
            let query = DeviceQuery {
                tag: Some(tag.into()),
                blocked,
                ..DeviceQuery::first(9)
            };
            let listed = store.devices(query).await.unwrap();
            let matching = |(_, claimed): &(&u32, &Claimed)| {
                claimed.tags.iter().any(|t| t == tag)
                    && blocked.is_none_or(|b| b == claimed.blocked)
            };
            let expected = model
                .claimed
                .iter()
                .filter(matching)
                .map(|(&n, _)| device_id(n));
            let expected: Vec<DeviceId> = expected.collect();
            assert_eq!(listed.total, expected.len() as u64);
            assert_eq!(
                listed.items.iter().map(|d| d.id).collect::<Vec<_>>(),
                expected
            );
        }
    }
    for spki in 0..4 {
        let found = store.issued_by_spki([spki; 32]).await.unwrap();
        let expected = model
            .issued
            .get(&spki)
            .map(|&(device, command)| issued(device, command, spki));
        assert_eq!(found, expected);
    }
    let allowed = store.allow_list(None, 9).await.unwrap();
    assert_eq!(allowed.total, model.allowed.len() as u64);
    for n in 0..3 {
        let kid = model.allowed.get(&n).map(|&n| key(n).kid());
        assert_eq!(store.allowed(device_id(n)).await.unwrap(), kid);
    }
    for n in 0..3 {
        let found = store.key_by_hash([n; 32]).await.unwrap().is_some();
        assert_eq!(found, model.keys.get(&n) == Some(&true));
    }
    assert_eq!(
        store.audit(None, None, 1).await.unwrap().total,
        model.audited
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let home = tempfile::tempdir().unwrap();
            let (mut store, mut model) = (open(home.path()), Model::default());
            for one in &steps {
                if matches!(one, Step::Reopen) {
                    drop(store);
                    store = open(home.path());
                }
                step(&store, &mut model, one).await;
            }
            compare(&store, &model).await;
        });
    }
}
