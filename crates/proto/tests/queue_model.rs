//! A queue beside a small honest device and a network that loses things: whatever is lost, each command reaches a
//! terminal state, nothing comes again after its acknowledged report, and each batch keeps to the device's limits.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sectag_proto::command::ConfigPairs;
use sectag_proto::cose::Convention;
use sectag_proto::es256::{PublicKey, SignEs256, Signature};
use sectag_proto::service::{
    Changes, Failure, FetchLimits, Fetched, NewCommand, OPEN_COMMANDS_MAX, Queue, Status,
};
use sectag_proto::token::{KeygenBody, KeygenOutput};
use sectag_proto::wire::{
    Action, DecodeLimits, WireCommand, WireResponse, WireResult, decode_commands, decode_responses,
    encode_commands, encode_responses,
};
use sectag_proto::{CommandId, CommandRequest, DeviceId, SecTag, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;

const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

/// What happens on the way, one per arrow; the last two happen to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    FetchLost,
    BatchLost,
    ReportLost,
    AcknowledgementLost,
    RebootBeforeReport,
    CommandFails,
}

struct World {
    queue: Queue,
    now: Timestamp,
    limits: FetchLimits,
    certificates: u32,
    /// The device's RAM.
    after: String,
    /// A report that nobody acknowledged, if this device keeps it.
    kept: Option<Vec<WireResponse>>,
    keeps_reports: bool,
    keygens: u8,
    acknowledged: BTreeSet<CommandId>,
    executed: BTreeSet<CommandId>,
}

impl World {
    fn commit(&mut self, changes: &Changes) {
        let before: Vec<_> = self.queue.commands().to_vec();
        self.queue.apply(changes);
        for command in before.iter().filter(|c| c.status.is_terminal()) {
            let same = self.queue.commands().iter().find(|c| c.id == command.id);
            assert_eq!(same, Some(command), "terminal states do not change");
        }
        for command in self.queue.commands() {
            assert!(!command.status.is_terminal() || command.request.secrets().is_empty());
        }
    }

    /// The service's answer to a fetch.
    fn serve_fetch(&mut self) -> Vec<WireCommand> {
        let (bytes, changes) = match self.queue.next_batch(&self.after, self.limits, self.now) {
            Fetched::Nothing { changes } => (None, changes),
            Fetched::Batch { bytes, changes, .. } => (Some(bytes), changes),
        };
        self.commit(&changes);
        let Some(bytes) = bytes else {
            return Vec::new();
        };
        let limits = DecodeLimits {
            records_max: self.limits.records_max,
            config_pairs_max: 10,
            bytes_max: self.limits.cbor_bytes_max,
        };
        let batch = decode_commands(&bytes, limits).unwrap();
        assert_eq!(encode_commands(&batch), bytes);
        self.check_batch(&batch);
        batch
    }

    fn check_batch(&self, batch: &[WireCommand]) {
        let split = |wire: &WireCommand| {
            let (uuid, rest) = wire.correlation.as_str().split_once('.').unwrap();
            let id: CommandId = uuid.parse().unwrap();
            (id, rest.contains('.'))
        };
        for (index, wire) in batch.iter().enumerate() {
            assert!(wire.correlation.as_str().len() <= 45);
            let (id, is_step) = split(wire);
            assert!(!self.acknowledged.contains(&id), "{id} comes again");
            if is_step {
                let next = batch.get(index + 1).map(split);
                assert_eq!(next.map(|(next, _)| next), Some(id), "split before the end");
            }
            if wire.action == Action::Finished {
                assert_eq!(index + 1, batch.len(), "a session ends with it");
                let in_batch = |id: CommandId| batch.iter().any(|wire| split(wire).0 == id);
                let left = |c: &&sectag_proto::service::Command| {
                    let is_due = !c.status.is_terminal() && c.covered_at.is_none();
                    is_due && !matches!(c.request, CommandRequest::Finished {}) && !in_batch(c.id)
                };
                let left = self.queue.commands().iter().find(left);
                assert!(left.is_none(), "told done with {left:?} left");
                let waiting = |c: &&sectag_proto::service::Command| {
                    matches!(
                        c.request,
                        CommandRequest::CertificateSigningRequest { issue: Some(_), .. }
                    ) && !c.status.is_terminal()
                };
                assert!(!self.queue.commands().iter().any(|c| waiting(&c)));
            }
        }
    }

    /// The service's answer to a report.
    fn serve_report(&mut self, report: &[WireResponse]) {
        let bytes = encode_responses(report);
        assert!(
            bytes.len() <= self.limits.report_bytes_max,
            "{} bytes",
            bytes.len()
        );
        let limits = DecodeLimits {
            records_max: 100,
            config_pairs_max: 10,
            bytes_max: bytes.len(),
        };
        assert_eq!(decode_responses(&bytes, limits).unwrap(), report);
        let mut changes = self.queue.settle(report, self.now);
        for asked in changes.needs_certificate.clone() {
            self.certificates += 1;
            self.queue
                .follow_with_certificate(
                    &mut changes,
                    asked.command,
                    id(1000 + self.certificates),
                    PEM.into(),
                    self.now,
                )
                .unwrap();
        }
        assert_eq!(changes.alarms, [], "an honest device raises no alarm");
        self.commit(&changes);
        let again = self.queue.settle(report, self.now);
        assert!(again.is_empty() && again.needs_certificate.is_empty() && again.alarms.is_empty());
    }

    /// Executes a batch until the first failure; answers as the library does.
    fn execute(&mut self, batch: &[WireCommand], fails: bool) -> Vec<WireResponse> {
        let mut report = Vec::new();
        let mut finished = None;
        for (index, wire) in batch.iter().enumerate() {
            self.after = wire.correlation.as_str().into();
            self.executed.insert(self.after[..36].parse().unwrap());
            let result = match &wire.action {
                Action::Finished => {
                    finished = Some(wire.correlation.clone());
                    continue;
                }
                _ if fails && index == batch.len() / 2 => WireResult::Failed {
                    cme_error: 515,
                    message: "+CME ERROR: 515\r\n".into(),
                },
                Action::Config(_) => WireResult::ConfigStored,
                Action::At {
                    set_command,
                    parameters,
                    ignore,
                } => WireResult::AtDone {
                    message: match set_command.as_str() {
                        "%KEYGEN" => self.keygen(parameters),
                        _ if ignore.contains(&513) => "+CME ERROR: 513\r\n".into(),
                        _ => "OK\r\n".into(),
                    },
                },
            };
            let failed = matches!(result, WireResult::Failed { .. });
            report.push(WireResponse {
                correlation: wire.correlation.clone(),
                result,
            });
            if failed {
                return report;
            }
        }
        report.extend(finished.map(|correlation| WireResponse {
            correlation,
            result: WireResult::Finished,
        }));
        report
    }

    fn keygen(&mut self, parameters: &str) -> String {
        self.keygens = self.keygens.wrapping_add(1);
        let csr = parameters.contains(",2,0");
        let (kind, length) = if csr {
            (KeygenBody::Csr, 270)
        } else {
            (KeygenBody::PublicKey, 91)
        };
        let mut body = vec![0x30; length];
        body[5] = self.keygens;
        let tag = parameters.split(',').next().unwrap().parse().unwrap();
        let convention = Convention::EmptyAad;
        let output = KeygenOutput::sign(
            kind,
            device(),
            tag,
            [self.keygens; 16],
            body,
            convention,
            &NoKey,
        );
        format!("%KEYGEN: \"{}\"\r\nOK\r\n", output.text())
    }

    /// One request pair of a session; `false` when the session ends.
    fn round(&mut self, fate: Fate) -> bool {
        if let Some(report) = self.kept.take() {
            match fate {
                Fate::ReportLost => {
                    self.kept = Some(report);
                    return false;
                }
                Fate::AcknowledgementLost => {
                    self.serve_report(&report);
                    self.kept = Some(report);
                    return false;
                }
                _ => self.acknowledge(&report),
            }
            return true;
        }
        if fate == Fate::FetchLost {
            return false;
        }
        let batch = self.serve_fetch();
        if fate == Fate::BatchLost || batch.is_empty() {
            return false;
        }
        let report = self.execute(&batch, fate == Fate::CommandFails);
        match fate {
            Fate::RebootBeforeReport => {
                self.after.clear();
                false
            }
            Fate::ReportLost | Fate::AcknowledgementLost => {
                if fate == Fate::AcknowledgementLost {
                    self.serve_report(&report);
                }
                self.kept = self.keeps_reports.then_some(report);
                true
            }
            _ => {
                let done = report.iter().any(|r| r.result == WireResult::Finished);
                self.acknowledge(&report);
                !done
            }
        }
    }

    fn acknowledge(&mut self, report: &[WireResponse]) {
        if report.iter().any(|r| r.result == WireResult::Finished) {
            let refused = |c: &sectag_proto::service::Command| {
                let response = c.response.as_ref();
                response.is_some_and(|r| r.failure == Some(Failure::RefusedByDevice))
            };
            assert!(
                !self.queue.commands().iter().any(refused),
                "told done after a failure"
            );
        }
        self.serve_report(report);
        for response in report {
            let text = response.correlation.as_str();
            if text.matches('.').count() == 1 {
                self.acknowledged.insert(text[..36].parse().unwrap());
            }
        }
    }

    fn all_terminal(&self) -> bool {
        self.queue.commands().iter().all(|c| c.status.is_terminal())
    }
}

struct NoKey;

impl SignEs256 for NoKey {
    fn sign(&self, _: &[u8]) -> Signature {
        Signature([5; 64])
    }
    fn public_key(&self) -> PublicKey {
        unreachable!("signing needs no public key")
    }
}

fn id(number: u32) -> CommandId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    CommandId::from_bytes(bytes)
}

fn device() -> DeviceId {
    DeviceId::from_bytes([7; 16])
}

fn request(kind: u8) -> CommandRequest {
    use CommandRequest as R;
    let sec_tag = SecTag::new(u64::from(kind) + 16_842_753).unwrap();
    match kind % 12 {
        0 => R::ClientPrivateKeyGeneration { sec_tag },
        1 => R::CloudAccessKeyGeneration { sec_tag },
        k @ (2 | 3) => R::CertificateSigningRequest {
            sec_tag,
            attributes: "CN=a,O=b".into(),
            key_usage: None,
            issue: (k == 2).then(sectag_proto::rules::ClosedLoop::default),
        },
        4 => R::ClientCertificate {
            sec_tag,
            content: PEM.into(),
        },
        5 => R::ServerCertificate {
            sec_tag,
            content: PEM.repeat(4),
        },
        6 => R::ClientPrivateKey {
            sec_tag,
            content: "-----BEGIN PRIVATE KEY-----\n".into(),
            password: Some("pw".into()),
        },
        7 => R::PreSharedKey {
            sec_tag,
            identity: "me".into(),
            secret: "00ff".into(),
        },
        8 => R::EndorsementKeyGeneration { sec_tag },
        9 => R::Config(ConfigPairs(vec![("a".into(), "1".into())])),
        10 => R::AtCommand {
            command: "%X".into(),
            parameters: "1".into(),
            ignore_cme_errors: vec![50],
        },
        _ => R::Finished {},
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Fine),
        1 => Just(Fate::FetchLost),
        2 => Just(Fate::BatchLost),
        2 => Just(Fate::ReportLost),
        2 => Just(Fate::AcknowledgementLost),
        2 => Just(Fate::RebootBeforeReport),
        1 => Just(Fate::CommandFails),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_command_ends_whatever_is_lost(
        kinds in prop::collection::vec(0u8..11, 0..8),
        finished in prop::collection::vec(any::<prop::sample::Index>(), 1..3),
        fates in prop::collection::vec((fate(), 0u64..400), 0..20),
        records_max in 4usize..12,
        cbor_bytes_max in 500usize..2000,
        report_bytes_max in 900usize..4000,
        keeps_reports in any::<bool>(),
    ) {
        let mut requests: Vec<CommandRequest> = kinds.iter().map(|kind| request(*kind)).collect();
        for place in finished {
            requests.insert(place.index(requests.len() + 1), request(11));
        }
        let new: Vec<NewCommand> = requests
            .into_iter()
            .zip(1..)
            .map(|(request, number)| NewCommand::by_hand(id(number), request))
            .collect();
        let now = Timestamp::from_secs(1_000_000);
        let mut queue = Queue::new(device(), Vec::new(), 1);
        let changes = queue.add(new, OPEN_COMMANDS_MAX, now).unwrap();
        queue.apply(&changes);
        let limits = FetchLimits { records_max, cbor_bytes_max, report_bytes_max, at_chars_max: 2047 };
        let mut world = World {
            queue,
            now,
            limits,
            certificates: 0,
            after: String::new(),
            kept: None,
            keeps_reports,
            keygens: 0,
            acknowledged: BTreeSet::new(),
            executed: BTreeSet::new(),
        };
        let lossless = fates.iter().all(|(fate, _)| *fate == Fate::Fine);
        for (fate, secs) in fates {
            world.now = world.now.plus(Duration::from_secs(secs));
            world.round(fate);
        }
        // From here nothing is lost: a bounded number of sessions ends everything.
        let mut sessions = 0;
        while !world.all_terminal() {
            sessions += 1;
            prop_assert!(sessions < 6, "open: {:#?}", world.queue.commands());
            let mut rounds = 0;
            while world.round(Fate::Fine) {
                rounds += 1;
                prop_assert!(rounds < 60, "a session without end");
            }
            world.now = world.now.plus(Duration::from_secs(600));
        }
        for command in world.queue.commands() {
            if command.status == Status::Succeeded {
                prop_assert!(world.executed.contains(&command.id));
            }
            if lossless {
                prop_assert_eq!(command.status, Status::Succeeded);
            }
        }
    }
}

/// Texts that come close to what we write, and some that do not.
fn any_after() -> impl Strategy<Value = String> {
    let near = (
        1u32..6,
        0u32..8,
        prop_oneof![Just(""), Just(".s"), Just(".x")],
    )
        .prop_map(|(command, sequence, step)| format!("{}.{sequence:x}{step}", id(command)));
    prop_oneof![4 => near, 1 => ".{0,50}"]
}

fn any_response() -> impl Strategy<Value = WireResponse> {
    let result = prop_oneof![
        (any::<u32>(), ".{0,20}")
            .prop_map(|(cme_error, message)| WireResult::Failed { cme_error, message }),
        ".{0,20}".prop_map(|message| WireResult::AtDone { message }),
        Just(WireResult::AtDone {
            message: "OK\r\n".into()
        }),
        Just(WireResult::ConfigStored),
        Just(WireResult::Finished),
    ];
    (any_after(), result).prop_filter_map("an id that can travel", |(after, result)| {
        let correlation = after.parse().ok()?;
        Some(WireResponse {
            correlation,
            result,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_liar_ends_commands_at_most_and_never_wakes_a_settled_one(
        kinds in prop::collection::vec(0u8..12, 1..5),
        talk in prop::collection::vec(
            (any_after(), prop::collection::vec(any_response(), 0..5), 0u64..700),
            1..10,
        ),
    ) {
        let new = kinds.iter().zip(1..).map(|(kind, number)| NewCommand::by_hand(id(number), request(*kind)));
        let mut now = Timestamp::from_secs(1_000_000);
        let mut queue = Queue::new(device(), Vec::new(), 1);
        let changes = queue.add(new.collect(), OPEN_COMMANDS_MAX, now).unwrap();
        queue.apply(&changes);
        let limits = FetchLimits {
            records_max: 10,
            cbor_bytes_max: 700,
            report_bytes_max: 2048,
            at_chars_max: 2047,
        };
        for (after, report, secs) in talk {
            now = now.plus(Duration::from_secs(secs));
            let before: Vec<_> = queue.commands().to_vec();
            let changes = match queue.next_batch(&after, limits, now) {
                Fetched::Batch { changes, .. } | Fetched::Nothing { changes } => changes,
            };
            queue.apply(&changes);
            let changes = queue.settle(&report, now);
            queue.apply(&changes);
            for was in before.iter().filter(|c| c.status.is_terminal()) {
                let is = queue.commands().iter().find(|c| c.id == was.id).unwrap();
                prop_assert_eq!(is, was);
            }
            let again = queue.settle(&report, now);
            prop_assert!(again.is_empty() && !again.finished);
        }
    }
}
