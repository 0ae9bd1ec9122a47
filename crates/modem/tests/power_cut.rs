//! Random batches of credential operations, random faults, and the power goes at every flash write: what is left is what
//! a small model says, whole, and equal content is not written again.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use sectag_modem::credentials::{AtStore, CredentialStore, Written};
use sectag_modem::{
    Fault, Identity, Modem, Moment, Options, PowerCut, SharedModem, TagSigner, VirtualModem, seeded,
};
use sectag_proto::secret::SecretText;
use sectag_proto::{CredentialType, SecTag};
use sha2::{Digest, Sha256};

const PEM: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n";
const ENTRIES_MAX: usize = 4;
const TAGS: u32 = 3;

#[derive(Debug, Clone)]
enum Operation {
    Write(u32, u8, String),
    Delete(u32, u8),
    Keygen(u32),
    Online(bool),
}

impl Operation {
    fn line(&self) -> String {
        match self {
            Self::Write(tag, kind, content) => format!("AT%CMNG=0,{tag},{kind},\"{content}\""),
            Self::Delete(tag, kind) => format!("AT%CMNG=3,{tag},{kind}"),
            Self::Keygen(tag) => format!("AT%KEYGEN={tag},2,1"),
            Self::Online(on) => format!("AT+CFUN={}", if *on { 1 } else { 4 }),
        }
    }
}

/// What should be under the tags: the text, or that there is a key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Text(String),
    Key,
}

/// A modem in forty lines: the rules of spec/modem-at §4 and §5, nothing of the implementation.
#[derive(Debug, Clone, Default)]
struct Model {
    entries: BTreeMap<(u32, u8), Entry>,
    online: bool,
    faults: Vec<Fault>,
    /// How often each fault's prefix was met.
    met: Vec<u32>,
}

impl Model {
    fn new(faults: &[Fault]) -> Self {
        Self {
            met: vec![0; faults.len()],
            faults: faults.to_vec(),
            ..Self::default()
        }
    }

    /// The CME error of an operation, or whether it wrote.
    fn run(&mut self, operation: &Operation) -> Result<bool, u32> {
        let line = operation.line();
        let mut failure = None;
        for (fault, met) in self.faults.iter().zip(&mut self.met) {
            if line.starts_with(&fault.prefix) {
                *met += 1;
                if *met == fault.nth && failure.is_none() {
                    let sectag_modem::FaultAnswer::Cme(cme) = fault.answer else {
                        panic!("only numbers here");
                    };
                    failure = Some(cme.0);
                }
            }
        }
        if let Some(number) = failure {
            return Err(number);
        }
        if let Operation::Online(on) = operation {
            self.online = *on;
            return Ok(false);
        }
        if self.online {
            return Err(518);
        }
        match operation {
            Operation::Write(_, 0 | 1, content) if !content.starts_with("-----BEGIN") => Err(527),
            Operation::Write(tag, kind, content) => {
                self.store((*tag, *kind), Entry::Text(content.clone()))
            }
            Operation::Keygen(tag) if self.entries.contains_key(&(*tag, 2)) => Err(519),
            Operation::Keygen(tag) => self.store((*tag, 2), Entry::Key),
            Operation::Delete(tag, kind) => match self.entries.remove(&(*tag, *kind)) {
                Some(_) => Ok(true),
                None => Err(513),
            },
            Operation::Online(_) => unreachable!(),
        }
    }

    fn store(&mut self, slot: (u32, u8), entry: Entry) -> Result<bool, u32> {
        if !self.entries.contains_key(&slot) && self.entries.len() == ENTRIES_MAX {
            return Err(515);
        }
        self.entries.insert(slot, entry);
        Ok(true)
    }
}

/// Runs the batch on both; returns how often the model wrote. Ends early when the power goes, with the model in the
/// state that must be left.
fn run(
    modem: &mut SharedModem,
    model: &mut Model,
    batch: &[Operation],
    cut: Option<PowerCut>,
) -> (u64, usize) {
    let mut writes = 0;
    for (at, operation) in batch.iter().enumerate() {
        let before = model.clone();
        let expected = model.run(operation);
        let answer = modem.line(&operation.line());
        writes += u64::from(expected == Ok(true));
        if expected == Ok(true) && cut.is_some_and(|cut| cut.write == writes) {
            assert_eq!(answer, "", "{operation:?} was answered after the power cut");
            assert_eq!(modem.line("AT"), "");
            if cut.is_some_and(|cut| cut.when == Moment::Before) {
                model.entries = before.entries;
            }
            return (writes, at + 1);
        }
        match expected {
            Ok(_) => assert!(answer.ends_with("OK\r\n"), "{operation:?}: {answer}"),
            Err(number) => {
                assert_eq!(answer, format!("+CME ERROR: {number}\r\n"), "{operation:?}");
            }
        }
    }
    (writes, batch.len())
}

/// Everything is there, whole, and nothing else is.
fn compare(modem: &mut SharedModem, model: &Model) {
    let listed = modem.line("AT%CMNG=1");
    let mut lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.pop(), Some("OK"));
    assert_eq!(lines.len(), model.entries.len(), "{listed}");
    for (line, ((tag, kind), entry)) in lines.iter().zip(&model.entries) {
        match entry {
            Entry::Text(content) => {
                let digest: String = Sha256::digest(content)
                    .iter()
                    .map(|byte| format!("{byte:02X}"))
                    .collect();
                assert_eq!(*line, format!("%CMNG: {tag},{kind},\"{digest}\""));
                assert_eq!(
                    modem.line(&format!("AT%CMNG=2,{tag},{kind}")),
                    format!("%CMNG: {tag},{kind},\"{digest}\",\"{content}\"\r\nOK\r\n")
                );
            }
            // A key that signs is a whole key.
            Entry::Key => {
                assert!(line.starts_with(&format!("%CMNG: {tag},2,\"")), "{line}");
                let tag = SecTag::new(u64::from(*tag)).unwrap();
                assert!(modem.sign(tag, b"whole").is_ok());
            }
        }
    }
}

fn options(faults: &[Fault], power_cut: Option<PowerCut>) -> Options {
    Options {
        lists_own_tags: false,
        storage_entries_max: ENTRIES_MAX,
        faults: faults.to_vec(),
        power_cut,
        ..Options::default()
    }
}

fn boot(modem: &mut SharedModem) {
    modem.reboot();
    assert_eq!(modem.line("AT+CMEE=1"), "OK\r\n");
}

fn operation() -> impl Strategy<Value = Operation> {
    let tag = 1..=TAGS;
    let kind = prop_oneof![Just(0_u8), Just(1), Just(4)];
    let content = prop_oneof![
        3 => Just(PEM.to_owned()),
        2 => Just(PEM.repeat(3)),
        1 => Just(PEM.replace('\n', "\r\n")),
        1 => "[a-z]{1,20}",
    ];
    prop_oneof![
        6 => (tag.clone(), kind.clone(), content).prop_map(|(t, k, c)| Operation::Write(t, k, c)),
        3 => (tag.clone(), prop_oneof![kind, Just(2)]).prop_map(|(t, k)| Operation::Delete(t, k)),
        3 => tag.prop_map(Operation::Keygen),
        1 => any::<bool>().prop_map(Operation::Online),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let prefix = prop_oneof![
        Just("AT%CMNG=0"),
        Just("AT%CMNG=0,1"),
        Just("AT%CMNG=3"),
        Just("AT%KEYGEN"),
        Just("AT+CFUN"),
    ];
    (
        prefix,
        1..4_u32,
        prop_oneof![Just(60), Just(515), Just(528)],
    )
        .prop_map(|(prefix, nth, number)| Fault::cme(prefix, nth, number))
}

fn cuts(writes: u64) -> impl Iterator<Item = PowerCut> {
    (1..=writes)
        .flat_map(|write| [Moment::Before, Moment::After].map(|when| PowerCut { write, when }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn after_a_power_cut_at_any_write_the_state_is_the_old_or_the_new_one(
        batch in prop::collection::vec(operation(), 1..14),
        faults in prop::collection::vec(fault(), 0..3),
    ) {
        let make = |cut| {
            let modem = VirtualModem::new(Identity::from_seed(1), options(&faults, cut), seeded(2));
            let mut modem = SharedModem::new(modem);
            boot(&mut modem);
            modem
        };
        let mut modem = make(None);
        let mut model = Model::new(&faults);
        let (writes, _) = run(&mut modem, &mut model, &batch, None);
        prop_assert_eq!(modem.lock().flash_writes(), writes);
        compare(&mut modem, &model);

        for cut in cuts(writes) {
            let mut modem = make(Some(cut));
            let mut model = Model::new(&faults);
            let (_, done) = run(&mut modem, &mut model, &batch, Some(cut));
            prop_assert!(modem.lock().power_is_cut());
            boot(&mut modem);
            model.online = false;
            compare(&mut modem, &model);
            // And it goes on as if nothing had been.
            run(&mut modem, &mut model, &batch[done..], None);
            compare(&mut modem, &model);
        }
    }
}

proptest! {
    // Each write here waits for the disk.
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn the_same_holds_when_the_state_is_read_back_from_its_file(
        batch in prop::collection::vec(operation(), 1..8),
    ) {
        let home = tempfile::tempdir().unwrap();
        let open = |dir: &Path, cut| {
            let modem = VirtualModem::open(dir, options(&[], cut), seeded(2)).unwrap();
            let mut modem = SharedModem::new(modem);
            boot(&mut modem);
            modem
        };
        let modem = VirtualModem::new(Identity::from_seed(1), options(&[], None), seeded(2));
        let mut modem = SharedModem::new(modem);
        boot(&mut modem);
        let (writes, _) = run(&mut modem, &mut Model::default(), &batch, None);
        for (at, cut) in cuts(writes).enumerate() {
            let dir = home.path().join(at.to_string());
            let mut modem = open(&dir, Some(cut));
            let mut model = Model::default();
            run(&mut modem, &mut model, &batch, Some(cut));
            drop(modem);
            let mut modem = open(&dir, None);
            compare(&mut modem, &model);
            let written = cut.write - u64::from(cut.when == Moment::Before);
            prop_assert_eq!(modem.lock().flash_writes(), written);
        }
    }
}

#[test]
fn equal_content_is_not_written_again_in_a_hundred_boots() {
    let home = tempfile::tempdir().unwrap();
    let wanted = [
        (CredentialType::ROOT_CA, PEM.to_owned()),
        (
            CredentialType::CLIENT_CERTIFICATE,
            PEM.replace('\n', "\r\n"),
        ),
        (CredentialType::CLIENT_PRIVATE_KEY, "any text\n".to_owned()),
        (CredentialType::PSK, "c0ffee".to_owned()),
        (CredentialType::PSK_IDENTITY, "me".to_owned()),
    ];
    let tag = SecTag::new(42).unwrap();
    let place = |boot: u64| {
        let mut modem =
            VirtualModem::open(&home.path().join("one"), Options::default(), seeded(boot)).unwrap();
        let mut store = AtStore::new(&mut modem);
        let written: Vec<Written> = wanted
            .iter()
            .map(|(kind, content)| {
                store
                    .write_if_different(tag, *kind, &SecretText::new(content.clone()))
                    .unwrap()
            })
            .collect();
        drop(store);
        (written, modem.flash_writes())
    };
    assert_eq!(place(0), (vec![Written::New; 5], 5));
    for boot in 1..=100 {
        assert_eq!(place(boot), (vec![Written::Unchanged; 5], 5), "boot {boot}");
    }
}
