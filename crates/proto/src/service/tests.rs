//! The rules of spec/device-protocol §10 and spec/owner-api §9, one sentence each. (Expansion and checks have theirs
//! beside them; sequences of random losses are in `tests/queue_model.rs`.)
#![allow(clippy::unwrap_used)]

use super::*;
use crate::cose::Convention;
use crate::es256::{PublicKey, SignEs256, Signature};
use crate::token::{KeygenBody, KeygenOutput};
use crate::wire::{Action, DecodeLimits, WireCommand, WireResult, decode_commands};
use crate::{CorrelationId, SecTag};
use std::format;
use std::string::ToString;
use std::vec;

mod fetching;
mod loops;
mod policies;
mod reports;

const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const DEFAULTS: FetchLimits = FetchLimits {
    records_max: 10,
    cbor_bytes_max: 700,
    report_bytes_max: 2048,
    at_chars_max: 2047,
};
const TAG: u32 = 42;

/// A queue beside a clock that the test moves, with commands named by number: 1 is the first one added.
struct Desk {
    queue: Queue,
    now: Timestamp,
    limits: FetchLimits,
}

impl Desk {
    fn with(requests: impl IntoIterator<Item = CommandRequest>) -> Self {
        let mut desk = Self {
            queue: Queue::new(DeviceId::from_bytes([7; 16]), Vec::new(), 1),
            now: Timestamp::from_secs(1_000_000),
            limits: DEFAULTS,
        };
        desk.add(requests).unwrap();
        desk
    }

    fn add(
        &mut self,
        requests: impl IntoIterator<Item = CommandRequest>,
    ) -> Result<(), (usize, AddError)> {
        let first = self.queue.next_sequence();
        let new = requests
            .into_iter()
            .zip(first..)
            .map(|(request, number)| NewCommand::by_hand(id(number), request));
        let changes = self.queue.add(new.collect(), OPEN_COMMANDS_MAX, self.now)?;
        self.queue.apply(&changes);
        Ok(())
    }

    fn pass(&mut self, secs: u64) {
        self.now = self.now.plus(Duration::from_secs(secs));
    }

    /// Correlation ids of the batch, the uuid replaced by the command's number; empty for nothing.
    fn fetch(&mut self, after: &str) -> Vec<String> {
        self.wire(after)
            .iter()
            .map(|wire| {
                let named = Named::parse(wire.correlation.as_str()).unwrap();
                let number = u32::from_be_bytes(named.id.as_bytes()[12..].try_into().unwrap());
                let step = named.step.map(|s| format!(".{s}")).unwrap_or_default();
                format!("{number}{step}")
            })
            .collect()
    }

    fn wire(&mut self, after: &str) -> Vec<WireCommand> {
        match self.queue.next_batch(after, self.limits, self.now) {
            Fetched::Nothing { changes } => {
                self.queue.apply(&changes);
                Vec::new()
            }
            Fetched::Batch {
                bytes,
                count,
                changes,
            } => {
                self.queue.apply(&changes);
                let limits = DecodeLimits {
                    records_max: self.limits.records_max,
                    config_pairs_max: 10,
                    bytes_max: self.limits.cbor_bytes_max,
                };
                let batch = decode_commands(&bytes, limits).unwrap();
                assert_eq!(batch.len(), count);
                batch
            }
        }
    }

    fn settle(&mut self, report: &[WireResponse]) -> Changes {
        let changes = self.queue.settle(report, self.now);
        self.queue.apply(&changes);
        changes
    }

    fn command(&self, number: u32) -> &Command {
        self.queue.find(id(number)).unwrap()
    }

    fn status(&self, number: u32) -> Status {
        self.command(number).status
    }

    fn statuses(&self) -> Vec<Status> {
        self.queue.commands().iter().map(|c| c.status).collect()
    }

    fn response(&self, number: u32) -> &Response {
        self.command(number).response.as_ref().unwrap()
    }

    fn failure(&self, number: u32) -> Failure {
        self.response(number).failure.unwrap()
    }

    /// The id under which a command travels at present, e.g. for `after`.
    fn at(&self, number: u32) -> String {
        format!("{}.{:x}", id(number), self.command(number).sequence)
    }

    fn done(&self, name: &str) -> WireResponse {
        self.answer(
            name,
            WireResult::AtDone {
                message: "OK\r\n".into(),
            },
        )
    }

    fn failed(&self, name: &str, cme_error: u32) -> WireResponse {
        let message = format!("+CME ERROR: {cme_error}\r\n");
        self.answer(name, WireResult::Failed { cme_error, message })
    }

    fn text(&self, name: &str, message: &str) -> WireResponse {
        let message = message.into();
        self.answer(name, WireResult::AtDone { message })
    }

    /// An answer to `3` or `3.s`.
    fn answer(&self, name: &str, result: WireResult) -> WireResponse {
        let (number, step) = name
            .split_once('.')
            .map_or((name, None), |(n, s)| (n, Some(s)));
        let mut text = self.at(number.parse().unwrap());
        if let Some(step) = step {
            text += &format!(".{step}");
        }
        WireResponse {
            correlation: CorrelationId::new(&text).unwrap(),
            result,
        }
    }
}

fn id(number: u32) -> CommandId {
    let mut bytes = [9; 16];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    CommandId::from_bytes(bytes)
}

fn tag() -> SecTag {
    SecTag::new(TAG.into()).unwrap()
}

fn ca() -> CommandRequest {
    CommandRequest::ServerCertificate {
        sec_tag: tag(),
        content: PEM.into(),
    }
}

fn key() -> CommandRequest {
    CommandRequest::ClientPrivateKeyGeneration { sec_tag: tag() }
}

fn csr(issue: bool) -> CommandRequest {
    CommandRequest::CertificateSigningRequest {
        sec_tag: tag(),
        attributes: String::new(),
        key_usage: None,
        issue: issue.then(crate::rules::ClosedLoop::default),
    }
}

fn setting() -> CommandRequest {
    CommandRequest::Config(crate::command::ConfigPairs(vec![("a".into(), "1".into())]))
}

fn at(parameters: &str, ignore: &[u32]) -> CommandRequest {
    CommandRequest::AtCommand {
        command: "%X".into(),
        parameters: parameters.into(),
        ignore_cme_errors: ignore.into(),
    }
}

fn psk() -> CommandRequest {
    CommandRequest::PreSharedKey {
        sec_tag: tag(),
        identity: "me".into(),
        secret: "C0FFEE00".into(),
    }
}

fn finished() -> CommandRequest {
    CommandRequest::Finished {}
}

/// A KEYGEN answer as a modem prints it; `body` makes it differ. The signature holds under no key.
fn keygen_answer(kind: KeygenBody, body: u8) -> String {
    struct NoKey;
    impl SignEs256 for NoKey {
        fn sign(&self, _: &[u8]) -> Signature {
            Signature([5; 64])
        }
        fn public_key(&self) -> PublicKey {
            unreachable!("signing needs no public key")
        }
    }
    let device = DeviceId::from_bytes([7; 16]);
    let bytes = vec![0x30, 1, body];
    let convention = Convention::EmptyAad;
    let output = KeygenOutput::sign(kind, device, TAG, [3; 16], bytes, convention, &NoKey);
    format!("%KEYGEN: \"{}\"\r\nOK\r\n", output.text())
}

#[test]
fn commands_are_numbered_in_order_and_added_all_or_none() {
    let mut desk = Desk::with([ca(), key()]);
    assert_eq!(desk.queue.next_sequence(), 3);
    let bad = CommandRequest::ServerCertificate {
        sec_tag: tag(),
        content: String::new(),
    };
    let (index, error) = desk.add([finished(), bad]).unwrap_err();
    assert_eq!(
        (index, error.to_string().as_str()),
        (1, "content: is empty")
    );
    assert_eq!(desk.queue.commands().len(), 2);
    assert_eq!(desk.queue.next_sequence(), 3);
}

#[test]
fn one_command_more_than_the_limit_is_refused_and_terminal_ones_do_not_count() {
    let mut desk = Desk::with((0..OPEN_COMMANDS_MAX).map(|_| setting()));
    let full = AddError::QueueFull {
        open: 100,
        max: 100,
    };
    assert_eq!(desk.add([setting()]), Err((0, full)));
    desk.fetch("");
    desk.settle(&[desk.answer("1", WireResult::ConfigStored)]);
    assert_eq!(desk.add([setting()]), Ok(()));
}

#[test]
fn what_can_never_fit_a_device_is_refused_when_created() {
    let mut desk = Desk::with([]);
    let longest = AT_CHARS_MAX_DEFAULT - "AT%X=".len();
    assert_eq!(desk.add([at(&"1".repeat(longest), &[])]), Ok(()));
    let error = desk.add([at(&"1".repeat(longest + 1), &[])]).unwrap_err();
    assert_eq!(
        error,
        (
            0,
            AddError::AtTooLong {
                chars: 2048,
                max: 2047
            }
        )
    );
}

#[test]
fn a_device_that_used_up_its_numbers_gets_no_more_commands() {
    let queue = Queue::new(DeviceId::from_bytes([7; 16]), Vec::new(), SEQUENCE_END - 1);
    let new = |number| NewCommand::by_hand(id(number), finished());
    let error = queue
        .add(vec![new(1), new(2)], 100, Timestamp(0))
        .unwrap_err();
    assert_eq!(error, (1, AddError::SequenceExhausted));
}

#[test]
fn ids_named_by_a_fetch_and_a_report_are_found_once() {
    let desk = Desk::with([ca(), finished()]);
    let report = [
        desk.done("1.s"),
        desk.done("1"),
        desk.answer("2", WireResult::Finished),
    ];
    assert_eq!(Queue::ids_named("", &report), [id(1), id(2)]);
    assert_eq!(Queue::ids_named(&desk.at(2), &[]), [id(2)]);
    assert!(Queue::ids_named("nonsense", &[]).is_empty());
}

#[test]
fn a_row_reads_back_from_its_stored_form_without_its_secret() {
    let mut desk = Desk::with([psk()]);
    desk.fetch("");
    let stored = serde_json::to_string(desk.command(1)).unwrap();
    assert!(!stored.contains("C0FFEE00"), "{stored}");
    let mut back: Command = serde_json::from_str(&stored).unwrap();
    let secrets = desk
        .command(1)
        .request
        .secrets()
        .into_iter()
        .cloned()
        .collect();
    back.request.restore_secrets(secrets);
    assert_eq!(&back, desk.command(1));
}
