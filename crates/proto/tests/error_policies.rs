//! Error policies beside a small model: whatever fails, each command ends as its set's policy says, in order, and the device
//! runs no command more often than it may.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sectag_proto::rules::ErrorPolicy;
use sectag_proto::service::{FetchLimits, Fetched, NewCommand, OPEN_COMMANDS_MAX, Queue, Status};
use sectag_proto::wire::{
    Action, DecodeLimits, WireResponse, WireResult, decode_commands, encode_commands,
};
use sectag_proto::{CommandId, CommandRequest, DeviceId, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// What an operator does with each parked command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Resume,
    Skip,
    Discard,
}

/// How often each command fails before it works; `None`: always.
type Faults = Vec<Option<u8>>;

struct World {
    queue: Queue,
    now: Timestamp,
    after: String,
    limit: usize,
    faults: Faults,
    runs: BTreeMap<usize, u32>,
    /// Reports that are lost, counted down.
    lost: u8,
}

fn id(n: usize) -> CommandId {
    let mut bytes = [0; 16];
    bytes[15] = n as u8;
    CommandId::from_bytes(bytes)
}

impl World {
    fn new(policy: ErrorPolicy, faults: Faults, limit: usize, lost: u8) -> Self {
        let new = |n: usize| NewCommand {
            on_error: policy,
            ..NewCommand::by_hand(
                id(n),
                CommandRequest::AtCommand {
                    command: "%X".into(),
                    parameters: n.to_string(),
                    ignore_cme_errors: Vec::new(),
                },
            )
        };
        let now = Timestamp::from_secs(1_000_000);
        let mut queue = Queue::new(DeviceId::from_bytes([1; 16]), Vec::new(), 1);
        let added = queue.add((0..faults.len()).map(new).collect(), OPEN_COMMANDS_MAX, now);
        queue.apply(&added.unwrap());
        Self {
            queue,
            now,
            after: String::new(),
            limit,
            faults,
            runs: BTreeMap::new(),
            lost,
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    /// One session: fetch, run, report, until there is nothing.
    fn session(&mut self) {
        for _ in 0..200 {
            self.pass(1);
            let limits = FetchLimits {
                records_max: self.limit,
                cbor_bytes_max: 1024,
                report_bytes_max: 2048,
                at_chars_max: 2047,
            };
            let (bytes, changes) = match self.queue.next_batch(&self.after, limits, self.now) {
                Fetched::Batch { bytes, changes, .. } => (bytes, changes),
                Fetched::Nothing { changes } => {
                    self.queue.apply(&changes);
                    return;
                }
            };
            self.queue.apply(&changes);
            let report = self.run(&bytes);
            if self.lost > 0 {
                self.lost -= 1;
                continue;
            }
            let changes = self.queue.settle(&report, self.now);
            assert_eq!(changes.alarms, [], "an honest device raises no alarm");
            self.queue.apply(&changes);
            let again = self.queue.settle(&report, self.now);
            assert!(
                again.is_empty() && again.alarms.is_empty(),
                "settled twice is settled once"
            );
        }
        panic!("the device is kept looping");
    }

    fn run(&mut self, bytes: &[u8]) -> Vec<WireResponse> {
        let limits = DecodeLimits {
            records_max: self.limit,
            config_pairs_max: 10,
            bytes_max: 1024,
        };
        let batch = decode_commands(bytes, limits).unwrap();
        assert_eq!(encode_commands(&batch), bytes);
        let mut report = Vec::new();
        for wire in batch {
            self.after = wire.correlation.as_str().into();
            let Action::At { parameters, .. } = &wire.action else {
                panic!("{wire:?}");
            };
            let n: usize = parameters.parse().unwrap();
            self.check_order(n);
            let runs = self.runs.entry(n).or_insert(0);
            *runs += 1;
            let fails = self.faults[n].is_none_or(|faults| *runs <= u32::from(faults));
            let result = match fails {
                true => WireResult::Failed {
                    cme_error: 514,
                    message: "+CME ERROR: 514\r\n".into(),
                },
                false => WireResult::AtDone {
                    message: "OK\r\n".into(),
                },
            };
            report.push(WireResponse {
                correlation: wire.correlation.clone(),
                result,
            });
            if fails {
                break;
            }
        }
        report
    }

    /// Nothing runs behind a command that is parked.
    fn check_order(&self, n: usize) {
        let before = self.queue.commands().iter().take_while(|c| c.id != id(n));
        for command in before {
            assert!(!command.parked, "{} is parked before {n}", command.id);
        }
    }

    fn parked(&self) -> Option<CommandId> {
        let mut commands = self.queue.commands().iter();
        commands.find(|c| c.parked).map(|c| c.id)
    }

    /// Sessions until nothing is open; the operator does as he wishes with what is parked.
    fn live(&mut self, wish: Wish) {
        for _ in 0..100 {
            self.session();
            if let Some(parked) = self.parked() {
                self.pass(3600);
                let changes = match wish {
                    Wish::Resume => self.queue.resume(parked, self.now),
                    Wish::Skip => self.queue.skip(parked, self.now),
                    Wish::Discard => self.queue.discard(parked, self.now),
                };
                self.queue.apply(&changes.unwrap());
            } else if self.queue.commands().iter().all(|c| c.status.is_terminal()) {
                return;
            }
            // Lost reports end as unknown.
            self.pass(700);
        }
        panic!("{:#?}", self.queue.commands());
    }

    fn succeeded(&self) -> Vec<bool> {
        let commands = self.queue.commands().iter();
        commands.map(|c| c.status == Status::Succeeded).collect()
    }
}

/// What each command ends as, and how often it runs, when no report is lost.
fn expected(policy: ErrorPolicy, wish: Wish, faults: &Faults) -> (Vec<bool>, Vec<u32>) {
    let mut ends = Vec::new();
    let mut runs = Vec::new();
    let mut dropped = false;
    for faults in faults {
        if dropped {
            ends.push(false);
            runs.push(0);
            continue;
        }
        let tries = match (policy, wish) {
            (ErrorPolicy::Retry { times }, _) => Some(u32::from(times)),
            (ErrorPolicy::Park, Wish::Resume) => None,
            _ => Some(0),
        };
        let fails = match (faults, tries) {
            (None, _) => true,
            (Some(faults), Some(tries)) => u32::from(*faults) > tries,
            (Some(_), None) => false,
        };
        ends.push(!fails);
        runs.push(match (faults, tries) {
            (Some(faults), _) if !fails => u32::from(*faults) + 1,
            (_, tries) => tries.unwrap_or(0) + 1,
        });
        dropped = fails
            && match policy {
                ErrorPolicy::VendorDefault | ErrorPolicy::Retry { .. } => true,
                ErrorPolicy::KeepRest => false,
                ErrorPolicy::Park => wish == Wish::Discard,
            };
    }
    (ends, runs)
}

fn policy() -> impl Strategy<Value = ErrorPolicy> {
    prop_oneof![
        Just(ErrorPolicy::VendorDefault),
        Just(ErrorPolicy::KeepRest),
        (1..5_u8).prop_map(|times| ErrorPolicy::Retry { times }),
        Just(ErrorPolicy::Park),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![Just(Wish::Resume), Just(Wish::Skip), Just(Wish::Discard)]
}

fn faults() -> impl Strategy<Value = Faults> {
    prop::collection::vec(
        prop_oneof![4 => Just(Some(0)), 2 => (1..4_u8).prop_map(Some), 1 => Just(None)],
        1..9,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn each_command_ends_as_the_policy_of_its_set_says(
        policy in policy(), wish in wish(), faults in faults(), limit in 1..6_usize,
    ) {
        // Resuming what always fails would never end.
        let faults: Faults = match (policy, wish) {
            (ErrorPolicy::Park, Wish::Resume) => faults.into_iter().map(|f| f.or(Some(2))).collect(),
            _ => faults,
        };
        let mut world = World::new(policy, faults.clone(), limit, 0);
        world.live(wish);
        let (ends, runs) = expected(policy, wish, &faults);
        prop_assert_eq!(world.succeeded(), ends);
        let ran: Vec<u32> = (0..faults.len())
            .map(|n| world.runs.get(&n).copied().unwrap_or(0))
            .collect();
        prop_assert_eq!(ran, runs);
    }

    #[test]
    fn lost_reports_keep_nothing_open(
        policy in policy(), wish in prop_oneof![Just(Wish::Skip), Just(Wish::Discard)],
        faults in faults(), limit in 1..6_usize, lost in 1..6_u8,
    ) {
        let mut world = World::new(policy, faults, limit, lost);
        world.live(wish);
    }
}
