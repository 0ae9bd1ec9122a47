//! Random work on a store beside a map: after each step, fault and power cut the store holds what the map holds, or what
//! it held one change earlier; never half of anything.

#![allow(clippy::unwrap_used)]

mod serial_bench;

use std::collections::BTreeMap;

use proptest::prelude::*;
use sectag_modem::credentials::{AtStore, CredentialStore, FileStore, StoreError, Written};
use sectag_modem::{
    Cme, Fault, FaultAnswer, Identity, LineError, Moment, Options, PowerCut, VirtualModem, seeded,
};
use sectag_proto::secret::SecretText;
use sectag_proto::{CredentialType, SecTag};
use serial_bench::{CERTIFICATE, CERTIFICATE_2};

type Slot = (u32, u8);
type Model = BTreeMap<Slot, &'static str>;

#[derive(Debug, Clone)]
enum Step {
    Write(Slot, &'static str),
    WriteIfDifferent(Slot, &'static str),
    Delete(Slot),
    Clear(u32),
}

/// Contents that a type takes.
fn contents(kind: u8) -> Vec<&'static str> {
    match kind {
        0 | 1 => vec![CERTIFICATE, CERTIFICATE_2],
        2 => vec!["key one\nof lines", "key two"],
        3 => vec!["00", "c0ffee"],
        _ => vec!["dev-1", "dev-2"],
    }
}

fn step() -> impl Strategy<Value = Step> {
    let slot = (1_u32..4, 0_u8..5);
    let filled = slot
        .clone()
        .prop_flat_map(|slot| (Just(slot), prop::sample::select(contents(slot.1))));
    prop_oneof![
        3 => filled.clone().prop_map(|(slot, content)| Step::Write(slot, content)),
        5 => filled.prop_map(|(slot, content)| Step::WriteIfDifferent(slot, content)),
        2 => slot.prop_map(Step::Delete),
        1 => (1_u32..4).prop_map(Step::Clear),
    ]
}

fn tag(n: u32) -> SecTag {
    SecTag::new(u64::from(n)).unwrap()
}

fn text(content: &str) -> SecretText {
    SecretText::new(content.to_owned())
}

/// Does a step, and says how the map changes when it succeeds.
fn play(
    store: &mut dyn CredentialStore,
    model: &Model,
    step: &Step,
) -> (Result<(), StoreError>, Model) {
    let mut after = model.clone();
    let result = match step {
        Step::Write((t, k), content) => {
            after.insert((*t, *k), content);
            store.write(tag(*t), CredentialType(*k), &text(content))
        }
        Step::WriteIfDifferent((t, k), content) => {
            let before = after.insert((*t, *k), content);
            store
                .write_if_different(tag(*t), CredentialType(*k), &text(content))
                .map(|written| {
                    let wanted = match before {
                        None => Written::New,
                        Some(before) if before == *content => Written::Unchanged,
                        Some(_) => Written::Replaced,
                    };
                    assert_eq!(written, wanted, "{step:?}");
                })
        }
        Step::Delete((t, k)) => {
            let there = after.remove(&(*t, *k)).is_some();
            match store.delete(tag(*t), CredentialType(*k)) {
                Err(StoreError::NotFound) if !there => Ok(()),
                Ok(()) => {
                    assert!(there);
                    Ok(())
                }
                other => other,
            }
        }
        Step::Clear(t) => {
            after.retain(|(of, _), _| of != t);
            store.clear(tag(*t)).map(|count| {
                assert_eq!(count, model.len() - after.len());
            })
        }
    };
    (result, after)
}

/// What is in a store, by digest.
fn seen(store: &mut dyn CredentialStore) -> BTreeMap<Slot, [u8; 32]> {
    store
        .list(None, None)
        .unwrap()
        .into_iter()
        .filter(|entry| entry.tag <= SecTag::MAX)
        .map(|entry| ((entry.tag, entry.kind.0), entry.digest.unwrap()))
        .collect()
}

fn digests(model: &Model) -> BTreeMap<Slot, [u8; 32]> {
    model
        .iter()
        .map(|(slot, content)| (*slot, sectag_pki::sha256(content.as_bytes())))
        .collect()
}

/// Every map on the way from `before` to `after`: clearing deletes one by one.
fn on_the_way(before: &Model, after: &Model) -> Vec<BTreeMap<Slot, [u8; 32]>> {
    let mut at = before.clone();
    let mut all = vec![digests(&at)];
    for slot in before.keys() {
        if !after.contains_key(slot) {
            at.remove(slot);
            all.push(digests(&at));
        }
    }
    all.push(digests(after));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn files_hold_what_the_map_holds(steps in prop::collection::vec(step(), 1..20)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let mut model = Model::new();
        for step in &steps {
            // Opened anew, as another process would.
            let mut store = FileStore::open(&path).unwrap();
            let (result, after) = play(&mut store, &model, step);
            prop_assert!(result.is_ok(), "{:?}: {:?}", step, result);
            model = after;
            prop_assert_eq!(seen(&mut store), digests(&model));
        }
    }

    #[test]
    fn a_modem_that_refuses_now_and_then_holds_what_the_map_holds(
        steps in prop::collection::vec(step(), 1..30),
        faults in prop::collection::vec((0_usize..3, 1_u32..12, prop::sample::select(vec![0_u32, 60, 515, 528])), 0..5),
    ) {
        let options = Options {
            faults: faults
                .into_iter()
                .map(|(operation, nth, number)| Fault {
                    prefix: ["AT%CMNG=0", "AT%CMNG=2", "AT%CMNG=3"][operation].to_owned(),
                    nth,
                    answer: if number == 0 { FaultAnswer::Error } else { FaultAnswer::Cme(Cme(number)) },
                })
                .collect(),
            ..Options::default()
        };
        let mut modem = VirtualModem::new(Identity::from_seed(1), options, seeded(1));
        let mut model = Model::new();
        for step in &steps {
            modem.line("AT+CFUN=1");
            let (result, after) = AtStore::new(&mut modem)
                .offline(|store| Ok::<_, StoreError>(play(store, &model, step)))
                .unwrap();
            let there = seen(&mut AtStore::new(&mut modem));
            match result {
                Ok(()) => {
                    prop_assert_eq!(&there, &digests(&after), "{:?}", step);
                    model = after;
                }
                Err(_) => {
                    prop_assert!(on_the_way(&model, &after).contains(&there), "{:?}", step);
                    model.retain(|slot, _| there.contains_key(slot));
                }
            }
            prop_assert_eq!(modem.line("AT+CFUN?"), "+CFUN: 1\r\nOK\r\n");
            prop_assert_eq!(modem.line("AT+CMEE?"), "+CMEE: 0\r\nOK\r\n");
        }
    }

    #[test]
    fn a_power_cut_at_any_write_leaves_one_of_the_two_states_and_the_work_goes_on(
        steps in prop::collection::vec(step(), 1..12),
        write in 1_u64..10,
        after_it in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let cut = PowerCut { write, when: if after_it { Moment::After } else { Moment::Before } };
        let open = |power_cut| {
            VirtualModem::open(
                &dir.path().join("modem"),
                Options { power_cut, ..Options::default() },
                seeded(1),
            )
            .unwrap()
        };
        let mut modem = open(Some(cut));
        let mut model = Model::new();
        for step in &steps {
            let (result, after) = play(&mut AtStore::new(&mut modem), &model, step);
            match result {
                Ok(()) => {
                    model = after;
                    continue;
                }
                Err(StoreError::Line(LineError::PowerCut)) => {}
                Err(other) => prop_assert!(false, "{other}"),
            }
            drop(modem);
            modem = open(None);
            let there = seen(&mut AtStore::new(&mut modem));
            prop_assert!(on_the_way(&model, &after).contains(&there), "{:?}", step);
            // The same step again ends where it should, whatever was done of it.
            model.retain(|slot, _| there.contains_key(slot));
            for (slot, content) in &after {
                if there.get(slot) == Some(&sectag_pki::sha256(content.as_bytes())) {
                    model.insert(*slot, content);
                }
            }
            let (again, after) = play(&mut AtStore::new(&mut modem), &model, step);
            prop_assert!(again.is_ok());
            model = after;
        }
        prop_assert_eq!(seen(&mut AtStore::new(&mut modem)), digests(&model));
    }
}
