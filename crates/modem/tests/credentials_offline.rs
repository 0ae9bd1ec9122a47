//! Offline only for a change, back in every case, and nothing written that is there already.

#![allow(clippy::unwrap_used)]

mod serial_bench;

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use sectag_modem::credentials::{
    Action, AtStore, CredentialStore, FileStore, KeyRequest, Plan, PlanError, StoreError, Wanted,
    Written, attest, firmware, imei, model,
};
use sectag_modem::{Fault, Identity, LineError, Modem, Options, VirtualModem, seeded};
use sectag_proto::secret::SecretText;
use sectag_proto::{CredentialType, SecTag};
use serial_bench::{CERTIFICATE, CERTIFICATE_2};

const CA: CredentialType = CredentialType::ROOT_CA;
const CERT: CredentialType = CredentialType::CLIENT_CERTIFICATE;
const KEY: CredentialType = CredentialType::CLIENT_PRIVATE_KEY;

fn tag(n: u64) -> SecTag {
    SecTag::new(n).unwrap()
}

fn text(content: &str) -> SecretText {
    SecretText::new(content.to_owned())
}

/// Notes the lines; from the n-th on nobody answers any more, radio and error switch excepted.
struct Watched {
    modem: VirtualModem,
    lines: Vec<String>,
    silent_from: usize,
}

impl Watched {
    fn new(modem: VirtualModem) -> Self {
        Self {
            modem,
            lines: Vec::new(),
            silent_from: usize::MAX,
        }
    }

    fn online(seed: u64) -> Self {
        let mut modem = VirtualModem::from_seed(seed);
        modem.line("AT+CFUN=1");
        Self::new(modem)
    }

    fn heads(&self) -> Vec<String> {
        self.lines
            .iter()
            .map(|line| line.split('"').next().unwrap().to_owned())
            .collect()
    }

    fn mode(&mut self) -> String {
        self.modem.line("AT+CFUN?")
    }
}

impl Modem for Watched {
    fn line(&mut self, at: &str) -> Result<String, LineError> {
        self.lines.push(at.to_owned());
        if self.lines.len() > self.silent_from && !at.starts_with("AT+C") {
            return Err(LineError::Timeout {
                after: std::time::Duration::from_secs(15),
                said: String::new(),
            });
        }
        Ok(self.modem.line(at))
    }

    fn notifications(&mut self) -> Vec<String> {
        self.modem.notifications()
    }
}

#[test]
fn the_traffic_is_list_read_write_and_only_the_write_goes_offline() {
    let mut modem = Watched::online(1);
    let write = |modem: &mut Watched, content: &str| {
        modem.lines.clear();
        AtStore::new(modem)
            .offline(|store| store.write_if_different(tag(24), CA, &text(content)))
            .unwrap()
    };
    assert_eq!(write(&mut modem, CERTIFICATE), Written::New);
    assert_eq!(
        modem.heads(),
        [
            "AT+CMEE?",
            "AT+CMEE=1",
            "AT%CMNG=1,24,0",
            "AT+CMEE=0",
            "AT+CFUN?",
            "AT+CFUN=4",
            "AT+CMEE?",
            "AT+CMEE=1",
            "AT%CMNG=0,24,0,",
            "AT+CMEE=0",
            "AT+CFUN=1",
        ]
    );
    assert_eq!(write(&mut modem, CERTIFICATE), Written::Unchanged);
    assert_eq!(
        modem.heads(),
        [
            "AT+CMEE?",
            "AT+CMEE=1",
            "AT%CMNG=1,24,0",
            "AT+CMEE=0",
            "AT+CMEE?",
            "AT+CMEE=1",
            "AT%CMNG=2,24,0",
            "AT+CMEE=0",
        ],
        "a match switches nothing and writes nothing"
    );
    assert_eq!(modem.mode(), "+CFUN: 1\r\nOK\r\n");
}

#[test]
fn every_mode_comes_back_and_a_mode_without_lte_is_left_alone() {
    for (set, back) in [(1, 1), (2, 2), (21, 21), (0, 0), (4, 4), (44, 44), (31, 31)] {
        let mut modem = Watched::new(VirtualModem::from_seed(1));
        modem.modem.line(&format!("AT+CFUN={set}"));
        AtStore::new(&mut modem)
            .offline(|store| store.write(tag(1), CA, &text(CERTIFICATE)))
            .unwrap();
        assert_eq!(modem.mode(), format!("+CFUN: {back}\r\nOK\r\n"));
        let switched = modem.heads().iter().any(|line| line == "AT+CFUN=4");
        assert_eq!(switched, matches!(set, 1 | 2 | 21), "{set}");
    }
}

#[test]
fn without_the_guard_an_active_modem_refuses() {
    let mut modem = Watched::online(1);
    let mut store = AtStore::new(&mut modem);
    assert!(matches!(
        store.write(tag(1), CA, &text(CERTIFICATE)),
        Err(StoreError::Active)
    ));
    assert!(matches!(
        store.keygen(&KeyRequest::client(tag(1))),
        Err(StoreError::Active)
    ));
    drop(store);
    assert_eq!(modem.mode(), "+CFUN: 1\r\nOK\r\n");
}

#[test]
fn the_mode_comes_back_after_a_refusal_an_error_and_a_panic() {
    let mut modem = Watched::online(1);
    let refused: Result<(), StoreError> = AtStore::new(&mut modem)
        .offline(|store| store.write(tag(1), CERT, &text("no certificate")));
    assert!(matches!(refused, Err(StoreError::Content)));
    assert_eq!(modem.mode(), "+CFUN: 1\r\nOK\r\n");

    // The line with the content is never answered.
    modem.lines.clear();
    modem.silent_from = 4;
    let lost: Result<(), StoreError> =
        AtStore::new(&mut modem).offline(|store| store.write(tag(1), CERT, &text(CERTIFICATE)));
    assert!(matches!(lost, Err(StoreError::Line(_))));
    assert_eq!(modem.heads().last().unwrap(), "AT+CFUN=1");
    modem.silent_from = usize::MAX;
    assert_eq!(modem.mode(), "+CFUN: 1\r\nOK\r\n");

    modem.lines.clear();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        AtStore::new(&mut modem).offline(|store| -> Result<(), StoreError> {
            store.delete(tag(9), CA).unwrap_err();
            panic!("in the middle")
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(modem.heads().last().unwrap(), "AT+CFUN=1");
    assert_eq!(modem.mode(), "+CFUN: 1\r\nOK\r\n");
}

#[test]
fn a_mode_that_does_not_come_back_is_an_error_of_its_own() {
    let options = Options {
        faults: vec![Fault::cme("AT+CFUN=1", 2, 60)],
        ..Options::default()
    };
    let mut modem = VirtualModem::new(Identity::from_seed(1), options, seeded(1));
    modem.line("AT+CFUN=1");
    let error = AtStore::new(&mut modem)
        .offline(|store| store.write(tag(1), CA, &text(CERTIFICATE)))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the modem did not go back to functional mode 1"
    );
    assert_eq!(
        error.hint().unwrap(),
        "the modem is offline; run `AT+CFUN=1`"
    );
}

#[test]
fn the_error_switch_is_as_it_was() {
    for before in 0..=2 {
        let mut modem = VirtualModem::from_seed(1);
        modem.line(&format!("AT+CMEE={before}"));
        let mut store = AtStore::new(&mut modem);
        assert!(matches!(
            store.delete(tag(1), CA),
            Err(StoreError::NotFound)
        ));
        store.write(tag(1), CA, &text(CERTIFICATE)).unwrap();
        drop(store);
        assert_eq!(modem.line("AT+CMEE?"), format!("+CMEE: {before}\r\nOK\r\n"));
    }
}

#[test]
fn every_number_of_the_modem_becomes_its_result() {
    for (number, errno) in [
        (513, "-ENOENT"),
        (514, "-EACCES"),
        (515, "-ENOMEM"),
        (518, "-EPERM"),
        (519, "-EALREADY"),
        (528, "-ECANCELED"),
        (60, "0xBAADBAAD"),
        (4711, "0xBAADBAAD"),
    ] {
        let options = Options {
            faults: vec![Fault::cme("AT%CMNG=0", 1, number)],
            ..Options::default()
        };
        let mut modem = VirtualModem::new(Identity::from_seed(1), options, seeded(1));
        let error = AtStore::new(&mut modem)
            .write(tag(1), CA, &text(CERTIFICATE))
            .unwrap_err();
        assert_eq!(error.errno(), errno, "{number}: {error}");
        if errno == "0xBAADBAAD" {
            assert_eq!(
                error.to_string(),
                format!("the modem answered `+CME ERROR: {number}`")
            );
        }
    }
}

#[test]
fn a_hundred_boots_with_equal_content_write_nothing() {
    let mut modem = VirtualModem::from_seed(1);
    let all = [
        (CA, CERTIFICATE),
        (CERT, CERTIFICATE_2),
        (
            KEY,
            "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----",
        ),
        (CredentialType::PSK, "c0ffee"),
        (CredentialType::PSK_IDENTITY, "dev-1"),
    ];
    let boot = |modem: &mut VirtualModem| {
        modem.line("AT+CFUN=1");
        let mut changed = 0;
        for (kind, content) in all {
            // As the compiled-in text of a sample: with a line feed at its end.
            let content = text(&format!("{content}\n"));
            let written = AtStore::new(modem)
                .offline(|store| match kind {
                    CredentialType::PSK => {
                        store.write_if_different(tag(24), kind, &text(content.expose().trim_end()))
                    }
                    _ => store.write_if_different(tag(24), kind, &content),
                })
                .unwrap();
            changed += u32::from(written != Written::Unchanged);
        }
        changed
    };
    assert_eq!(boot(&mut modem), 5);
    let writes = modem.flash_writes();
    for _ in 0..100 {
        assert_eq!(boot(&mut modem), 0);
    }
    assert_eq!(modem.flash_writes(), writes);
    assert_eq!(modem.line("AT+CFUN?"), "+CFUN: 1\r\nOK\r\n");
}

#[test]
fn who_the_modem_is() {
    let mut modem = VirtualModem::from_seed(1);
    assert_eq!(imei(&mut modem).unwrap(), modem.identity().imei);
    assert_eq!(model(&mut modem).unwrap(), "nRF9151-LACA");
    assert_eq!(firmware(&mut modem).unwrap(), "mfw_nrf91x1_2.0.2");
    let token = attest(&mut modem, None).unwrap();
    assert_eq!(token.split('.').count(), 2);
    let challenge = "00112233445566778899aabbccddeeff";
    let parsed =
        sectag_proto::token::AttestationToken::parse(&attest(&mut modem, Some(challenge)).unwrap());
    assert!(parsed.is_ok());
    assert!(matches!(
        attest(&mut modem, Some("short")),
        Err(StoreError::Invalid(_))
    ));
}

fn wanted(tag_number: u64, kind: CredentialType, content: &str) -> Wanted {
    Wanted {
        tag: tag(tag_number),
        kind,
        content: text(content),
    }
}

#[test]
fn a_plan_changes_what_differs_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut modem = VirtualModem::from_seed(1);
    let mut at = AtStore::new(&mut modem);
    let mut files = FileStore::open(dir.path().join("c").as_path()).unwrap();
    let stores: [&mut dyn CredentialStore; 2] = [&mut at, &mut files];
    for store in stores {
        store.write(tag(24), CA, &text(CERTIFICATE)).unwrap();
        store.write(tag(42), CA, &text(CERTIFICATE)).unwrap();
        store
            .write(tag(42), CredentialType::PSK, &text("c0ffee"))
            .unwrap();
        let make = |store: &mut dyn CredentialStore| {
            Plan::make(
                store,
                vec![
                    wanted(42, CERT, CERTIFICATE_2),
                    wanted(42, KEY, "a key"),
                    wanted(42, CA, CERTIFICATE_2),
                    wanted(24, CA, CERTIFICATE),
                ],
                &[tag(42)],
            )
            .unwrap()
        };
        let plan = make(store);
        let steps: Vec<(u32, u8, Action)> = plan
            .steps()
            .iter()
            .map(|step| (step.tag.get(), step.kind.0, step.action))
            .collect();
        assert_eq!(
            steps,
            [
                (24, 0, Action::Keep),
                (42, 3, Action::Delete),
                (42, 0, Action::Replace),
                (42, 2, Action::Create),
                (42, 1, Action::Create),
            ]
        );
        assert_eq!(plan.changes(), 4);
        assert!(matches!(plan.verify(store), Err(PlanError::Verify { .. })));
        plan.carry_out(store).unwrap();
        plan.verify(store).unwrap();
        assert_eq!(make(store).changes(), 0);
    }
}

#[test]
fn half_a_pair_is_refused_unless_the_other_half_is_there() {
    let mut modem = VirtualModem::from_seed(1);
    let mut store = AtStore::new(&mut modem);
    let error = Plan::make(&mut store, vec![wanted(7, CERT, CERTIFICATE)], &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "sec tag 7 gets a client certificate and has no client private key: mutual TLS needs both"
    );
    let error = Plan::make(&mut store, vec![wanted(7, KEY, "k")], &[]).unwrap_err();
    assert!(error.to_string().contains("has no client certificate"));
    store.keygen(&KeyRequest::client(tag(7))).unwrap();
    let plan = Plan::make(&mut store, vec![wanted(7, CERT, CERTIFICATE)], &[]).unwrap();
    assert_eq!(plan.changes(), 1);
    let error = Plan::make(&mut store, vec![wanted(7, CERT, CERTIFICATE)], &[tag(7)]).unwrap_err();
    assert!(
        matches!(error, PlanError::HalfPair { .. }),
        "the key would be deleted"
    );
    assert!(matches!(
        Plan::make(
            &mut store,
            vec![wanted(1, CA, CERTIFICATE), wanted(1, CA, CERTIFICATE_2)],
            &[]
        ),
        Err(PlanError::Twice { .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any text goes through a store and comes back, or is refused and changes nothing.
    #[test]
    fn any_identity_is_read_back_or_refused(content in "\\PC{0,40}", other in "[ -~\r\n]{1,40}") {
        let dir = tempfile::tempdir().unwrap();
        let mut modem = VirtualModem::from_seed(1);
        let mut at = AtStore::new(&mut modem);
        let mut files = FileStore::open(dir.path().join("c").as_path()).unwrap();
        let stores: [&mut dyn CredentialStore; 2] = [&mut at, &mut files];
        for store in stores {
            for content in [&content, &other] {
                let kind = CredentialType::PSK_IDENTITY;
                match store.write_if_different(tag(1), kind, &text(content)) {
                    Ok(_) => {
                        let read = store.read(tag(1), kind).unwrap();
                        prop_assert_eq!(read.strip_suffix('\n').unwrap_or(&read), content.strip_suffix('\n').unwrap_or(content));
                        prop_assert_eq!(
                            store.write_if_different(tag(1), kind, &text(content)).unwrap(),
                            Written::Unchanged
                        );
                    }
                    Err(StoreError::Invalid(_)) => {}
                    Err(error) => prop_assert!(false, "{error}"),
                }
            }
        }
    }
}
