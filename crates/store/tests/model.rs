//! Random operations on the store and on a small honest model beside it: same answers, same state, also after
//! closing and opening the database in between.
#![allow(clippy::unwrap_used)]

mod fixtures;

use fixtures::*;
use proptest::prelude::*;
use sectag_proto::DeviceId;
use sectag_proto::service::Command;
use sectag_store::{
    ApiKey, ClaimOutcome, CommitError, DeviceChange, DeviceQuery, NewClaim, RevokeKeyError, Role,
    Store, StoreError, Teams, View,
};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
enum Step {
    Claim {
        device: u32,
        keys: Vec<usize>,
        who: Who,
        tags: Vec<u8>,
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
    Allow(bool, u32, Option<usize>),
    AddKey(bool, u8, bool),
    RevokeKey(bool, u8),
    Reopen,
}

/// Who claims: of one of two teams, as an admin, seeing what admins claimed, limited to a tag.
#[derive(Debug, Clone, Copy, Default)]
struct Who {
    team: bool,
    reserves: bool,
    sees: bool,
    scope: Option<u8>,
}

impl Who {
    fn view(self) -> View {
        View {
            team: self.team.to_string(),
            tags: tag_names(self.scope.as_slice()),
            reserved: self.sees,
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let device = || 0_u32..3;
    let keys = prop::collection::btree_set(0_usize..4, 1..3);
    let who = (
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.7),
        prop::option::weighted(0.3, 0_u8..3),
    )
        .prop_map(|(team, reserves, sees, scope)| Who {
            team,
            reserves,
            sees,
            scope,
        });
    let tags = || prop::collection::vec(0_u8..3, 0..3);
    let claim = (device(), keys, who, tags(), any::<bool>()).prop_map(
        |(device, keys, who, tags, accept)| Step::Claim {
            device,
            keys: keys.into_iter().collect(),
            who,
            tags,
            accept,
        },
    );
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
        1 => (device(), tags()).prop_map(|(d, tags)| Step::Tags(d, tags)),
        8 => commit,
        1 => (any::<bool>(), device(), prop::option::of(0_usize..4)).prop_map(|(t, d, key)| Step::Allow(t, d, key)),
        1 => (any::<bool>(), 0_u8..3, any::<bool>()).prop_map(|(t, n, owner)| Step::AddKey(t, n, owner)),
        1 => (any::<bool>(), 0_u8..3).prop_map(|(t, n)| Step::RevokeKey(t, n)),
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
    team: bool,
    reserved: bool,
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
    allowed: BTreeMap<(bool, u32), usize>,
    /// Whether it manages keys, and whether it is alive.
    keys: BTreeMap<(bool, u8), (bool, bool)>,
    audited: u64,
}

fn tag_names(tags: &[u8]) -> Vec<String> {
    tags.iter().map(|tag| format!("t{tag}")).collect()
}

impl Claimed {
    fn shown_to(&self, view: &View) -> bool {
        let tagged = view.tags.is_empty() || view.tags.iter().any(|tag| self.tags.contains(tag));
        self.team.to_string() == view.team && (view.reserved || !self.reserved) && tagged
    }

    fn tag(&mut self, tags: &[u8]) {
        self.tags = Vec::new();
        for tag in tag_names(tags) {
            if !self.tags.contains(&tag) {
                self.tags.push(tag);
            }
        }
    }
}

impl Model {
    /// `created`, `existing`, `other`, `conflict`.
    fn claim(
        &mut self,
        device: u32,
        keys: &[usize],
        who: Who,
        tags: &[u8],
        accept: bool,
    ) -> &'static str {
        let shown: BTreeSet<usize> = keys.iter().copied().collect();
        if let Some(claimed) = self.claimed.get_mut(&device) {
            if !claimed.shown_to(&who.view()) {
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
        let mut claimed = Claimed {
            known,
            team: who.team,
            reserved: who.reserves,
            next_sequence: 1,
            ..Claimed::default()
        };
        claimed.tag(tags);
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
            who,
            tags,
            accept,
        } => {
            let claim = NewClaim {
                view: who.view(),
                reserved: who.reserves,
                tags: tag_names(tags),
                accept_new_key: *accept,
                ..claim_of(*device, keys)
            };
            let said = match store.claim(claim).await.unwrap() {
                ClaimOutcome::Created(_) => "created",
                ClaimOutcome::Existing(_) => "existing",
                ClaimOutcome::OwnedByOther(_) => "other",
                ClaimOutcome::KeyConflict(_) => "conflict",
            };
            assert_eq!(said, model.claim(*device, keys, *who, tags, *accept));
        }
        Step::Unclaim(n) => {
            let expected = model.claimed.remove(n);
            let done = unclaim(store, device_id(*n), "x", at(1)).await;
            assert_eq!(done, expected.is_some());
            model.audited += u64::from(done);
            model
                .tombstones
                .extend(expected.map(|claimed| (*n, claimed.known)));
        }
        Step::Block(n, blocked) => {
            let done = block(store, device_id(*n), *blocked, at(1)).await;
            if let Some(claimed) = expect_same(model, *n, done.is_some()) {
                claimed.blocked = *blocked;
            }
        }
        Step::Tags(n, tags) => {
            let names = tag_names(tags);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let done = tag(store, device_id(*n), &names, at(1)).await;
            if let Some(claimed) = expect_same(model, *n, done.is_some()) {
                claimed.tag(tags);
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
        Step::Allow(team, n, Some(number)) => {
            let (kid, name) = (key(*number).kid(), team.to_string());
            let done = store.allow(&name, device_id(*n), kid, "x", at(1)).await;
            done.unwrap();
            model.allowed.insert((*team, *n), *number);
            model.audited += 1;
        }
        Step::Allow(team, n, None) => {
            let name = team.to_string();
            let done = store.disallow(&name, device_id(*n), "x", at(1)).await;
            let done = done.unwrap();
            assert_eq!(done, model.allowed.remove(&(*team, *n)).is_some());
            model.audited += u64::from(done);
        }
        Step::AddKey(team, n, owner) => {
            let new = ApiKey {
                team: team.to_string(),
                role: if *owner { Role::Owner } else { Role::Editor },
                ..api_key(&n.to_string(), 2 * n + u8::from(*team))
            };
            let done = store.add_key(new, "x").await.is_ok();
            assert_eq!(done, !model.keys.contains_key(&(*team, *n)));
            model.keys.entry((*team, *n)).or_insert((*owner, true));
            model.audited += u64::from(done);
        }
        Step::RevokeKey(team, n) => {
            let others = |(other, known): (&(bool, u8), &(bool, bool))| {
                other.0 == *team && other.1 != *n && *known == (true, true)
            };
            let another = model.keys.iter().any(others);
            let name = team.to_string();
            let done = store.revoke_key(&name, &n.to_string(), "x", at(1)).await;
            match model.keys.get_mut(&(*team, *n)) {
                Some((true, true)) if !another => assert_eq!(done, Err(RevokeKeyError::LastOwner)),
                Some((_, live)) => assert_eq!(done, Ok(std::mem::take(live))),
                None => assert_eq!(done, Ok(false)),
            }
            model.audited += u64::from(done == Ok(true));
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
    for tag in [None, Some("t0"), Some("t1")] {
        for blocked in [None, Some(true), Some(false)] {
            for scope in [&[][..], &[0], &[0, 1], &[1, 2]] {
                for (team, reserved) in [(false, false), (false, true), (true, true)] {
                    let view = View {
                        team: team.to_string(),
                        tags: tag_names(scope),
                        reserved,
                    };
                    let query = DeviceQuery {
                        tag: tag.map(String::from),
                        blocked,
                        ..DeviceQuery::first(view, 2)
                    };
                    compare_list(store, model, query).await;
                }
            }
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
    for team in [false, true] {
        let name = team.to_string();
        let allowed = store.allow_list(&name, None, 9).await.unwrap();
        let expected = (0..3).filter(|&n| model.allowed.contains_key(&(team, n)));
        assert_eq!(allowed.total, expected.count() as u64);
        for n in 0..3 {
            let kid = model.allowed.get(&(team, n)).map(|&n| key(n).kid());
            assert_eq!(store.allowed(&name, device_id(n)).await.unwrap(), kid);
            let hash = [2 * n as u8 + u8::from(team); 32];
            let found = store.key_by_hash(hash).await.unwrap();
            let known = model.keys.get(&(team, n as u8));
            assert_eq!(found.is_some(), known.is_some_and(|(_, live)| *live));
        }
        let keys = store.keys(&name, None, 9).await.unwrap();
        let expected = model.keys.keys().filter(|(of, _)| *of == team).count();
        assert_eq!((keys.items.len(), keys.total), (expected, expected as u64));
    }
    assert_eq!(
        store.audit(None, None, 1).await.unwrap().total,
        model.audited
    );
}

/// All pages of a list, and its total where there is one.
async fn compare_list(store: &dyn Store, model: &Model, mut query: DeviceQuery) {
    let mut listed = Vec::new();
    let mut totals = Vec::new();
    loop {
        let page = store.devices(query.clone()).await.unwrap();
        listed.extend(page.items.iter().map(|device| device.id));
        totals.extend(page.total);
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    let matches = |claimed: &Claimed| {
        let tagged = query
            .tag
            .as_ref()
            .is_none_or(|tag| claimed.tags.contains(tag));
        claimed.shown_to(&query.view)
            && tagged
            && query
                .blocked
                .is_none_or(|blocked| blocked == claimed.blocked)
    };
    let expected: Vec<DeviceId> = model
        .claimed
        .iter()
        .filter(|(_, claimed)| matches(claimed))
        .map(|(&n, _)| device_id(n))
        .collect();
    assert_eq!(listed, expected, "{query:?}");
    let counted = expected.len() as u64;
    assert!(totals.iter().all(|&total| total == counted), "{query:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let home = tempfile::tempdir().unwrap();
            let (mut store, mut model) = (open(home.path()), Model::default());
            for name in ["false", "true"] {
                store.add_team(team(name), "x").await.unwrap();
                model.audited += 1;
            }
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
