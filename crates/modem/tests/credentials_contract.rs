//! One contract, wherever credentials live: a virtual modem in process, files, and the serial client over an AT host,
//! a shell and a pty. The results are those of modem_key_mgmt (spec/modem-at §10).

#![allow(clippy::unwrap_used)]

mod serial_bench;

use sectag_modem::credentials::{
    AtStore, Comparison, CredentialStore, FileStore, KeyRequest, StoreError, Written,
};
use sectag_modem::host::{Hosts, Mode as HostMode, Terminator};
use sectag_modem::serial::{SerialModem, SerialOptions};
use sectag_modem::{SharedModem, VirtualModem};
use sectag_proto::secret::SecretText;
use sectag_proto::token::KeygenBody;
use sectag_proto::{CredentialType, SecTag};
use serial_bench::{CERTIFICATE, CERTIFICATE_2, Wire, quick};

const CA: CredentialType = CredentialType::ROOT_CA;
const CERT: CredentialType = CredentialType::CLIENT_CERTIFICATE;
const KEY: CredentialType = CredentialType::CLIENT_PRIVATE_KEY;
const PSK: CredentialType = CredentialType::PSK;
const PSK_ID: CredentialType = CredentialType::PSK_IDENTITY;

fn tag(n: u64) -> SecTag {
    SecTag::new(n).unwrap()
}

fn text(content: &str) -> SecretText {
    SecretText::new(content.to_owned())
}

/// The user's entries as (tag, type); the modem's own are left out.
fn users(store: &mut dyn CredentialStore) -> Vec<(u32, u8)> {
    store
        .list(None, None)
        .unwrap()
        .iter()
        .filter(|entry| entry.tag <= SecTag::MAX)
        .map(|entry| (entry.tag, entry.kind.0))
        .collect()
}

/// What every store promises.
fn contract(store: &mut dyn CredentialStore) {
    let altered = store.alters_line_ends();
    let t = tag(24);
    // Nothing there.
    assert_eq!(users(store), []);
    assert!(!store.exists(t, CA).unwrap());
    assert!(matches!(store.read(t, CA), Err(StoreError::NotFound)));
    assert!(matches!(store.digest(t, CA), Err(StoreError::NotFound)));
    assert!(matches!(store.delete(t, CA), Err(StoreError::NotFound)));
    assert!(matches!(
        store.cmp(t, CA, &text(CERTIFICATE)),
        Err(StoreError::NotFound)
    ));
    assert_eq!(store.clear(t).unwrap(), 0);
    assert!(matches!(
        store.list(None, Some(CA)),
        Err(StoreError::Invalid(_))
    ));

    // Write, compare, write again.
    let wif = |store: &mut dyn CredentialStore, kind, content: &str| {
        store.write_if_different(t, kind, &text(content)).unwrap()
    };
    assert_eq!(wif(store, CA, CERTIFICATE), Written::New);
    assert_eq!(wif(store, CA, CERTIFICATE), Written::Unchanged);
    assert_eq!(
        wif(store, CA, &format!("{CERTIFICATE}\n")),
        Written::Unchanged
    );
    assert_eq!(wif(store, CA, CERTIFICATE_2), Written::Replaced);
    assert!(store.exists(t, CA).unwrap());
    let stored = store.read(t, CA).unwrap();
    if altered {
        assert_eq!(stored, CERTIFICATE_2.replace('\n', "\r\n"));
    } else {
        assert_eq!(stored, CERTIFICATE_2);
    }
    assert_eq!(
        store.digest(t, CA).unwrap(),
        sectag_pki::sha256(stored.as_bytes())
    );
    assert_eq!(
        store.cmp(t, CA, &text(CERTIFICATE_2)).unwrap(),
        Comparison::Match
    );
    assert_eq!(
        store.cmp(t, CA, &text(CERTIFICATE)).unwrap(),
        Comparison::Mismatch
    );

    // What cannot be read is compared by digest.
    for (kind, content, other) in [
        (PSK, "c0ffee", "c0ffee00"),
        (KEY, "a key\nof lines", "another"),
    ] {
        assert_eq!(wif(store, kind, content), Written::New);
        assert_eq!(wif(store, kind, content), Written::Unchanged);
        assert!(matches!(store.read(t, kind), Err(StoreError::NoAccess)));
        assert!(matches!(
            store.cmp(t, kind, &text(content)),
            Err(StoreError::NoAccess)
        ));
        assert_eq!(
            store.cmp_digest(t, kind, &text(content)).unwrap(),
            Comparison::Match
        );
        assert_eq!(
            store.cmp_digest(t, kind, &text(other)).unwrap(),
            Comparison::Mismatch
        );
        assert_eq!(wif(store, kind, other), Written::Replaced);
    }
    assert_eq!(wif(store, PSK_ID, "dev-1"), Written::New);
    assert_eq!(store.read(t, PSK_ID).unwrap(), "dev-1");

    // What no modem takes.
    assert!(matches!(
        store.write(t, CA, &text("")),
        Err(StoreError::Invalid(_))
    ));
    assert!(matches!(
        store.write_if_different(t, CERT, &text("")),
        Err(StoreError::Invalid(_))
    ));
    assert!(matches!(
        store.write(t, CERT, &text("no certificate")),
        Err(StoreError::Content)
    ));
    assert!(store.write(t, PSK, &text("xyz")).is_err());
    assert!(matches!(
        store.write(t, CredentialType::ENDORSEMENT_PRIVATE_KEY, &text("x")),
        Err(StoreError::NoAccess)
    ));
    assert!(!store.exists(t, CERT).unwrap());

    // Lists are ordered by tag, then type.
    let low = tag(7);
    store.write(low, CERT, &text(CERTIFICATE)).unwrap();
    assert_eq!(users(store), [(7, 1), (24, 0), (24, 2), (24, 3), (24, 4)]);
    let kinds: Vec<u8> = store
        .list(Some(t), None)
        .unwrap()
        .iter()
        .map(|entry| entry.kind.0)
        .collect();
    assert_eq!(kinds, [0, 2, 3, 4]);
    assert_eq!(store.list(Some(t), Some(PSK)).unwrap().len(), 1);
    assert_eq!(store.list(Some(t), Some(CERT)).unwrap(), []);

    // Delete and clear.
    store.delete(t, PSK).unwrap();
    assert!(matches!(store.delete(t, PSK), Err(StoreError::NotFound)));
    assert_eq!(store.clear(t).unwrap(), 3);
    assert_eq!(users(store), [(7, 1)]);

    // Keys that are made where they stay.
    let mut request = KeyRequest::client(t);
    request.attributes = Some("O=Example,CN=dev-1");
    request.key_usage = Some("101010000");
    let made = store.keygen(&request).unwrap();
    let csr = sectag_pki::csr::parse(&made.der).unwrap();
    assert_eq!(csr.subject(), "O=Example,CN=dev-1");
    assert_eq!(csr.key_usage_bits.as_deref(), Some("101010000"));
    assert!(
        made.pem()
            .starts_with("-----BEGIN CERTIFICATE REQUEST-----\n")
    );
    assert!(matches!(store.keygen(&request), Err(StoreError::Exists)));
    assert_eq!(store.list(Some(t), None).unwrap()[0].kind, KEY);
    request.kind = CredentialType::ENDORSEMENT_PRIVATE_KEY;
    request.body = KeygenBody::PublicKey;
    let first = store.keygen(&request).unwrap();
    assert_eq!(first.der.len(), 91);
    assert!(first.pem().starts_with("-----BEGIN PUBLIC KEY-----\n"));
    assert_eq!(
        store.keygen(&request).unwrap().der,
        first.der,
        "an endorsement key answers again"
    );
    request.kind = PSK;
    assert!(matches!(
        store.keygen(&request),
        Err(StoreError::Invalid(_))
    ));
    store.delete(t, KEY).unwrap();
    store
        .delete(t, CredentialType::ENDORSEMENT_PRIVATE_KEY)
        .unwrap();
    store.clear(low).unwrap();
    assert_eq!(users(store), []);
}

#[test]
fn a_virtual_modem_keeps_the_contract() {
    let mut modem = VirtualModem::from_seed(1);
    contract(&mut AtStore::new(&mut modem));
}

#[test]
fn files_keep_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract(&mut FileStore::open(&dir.path().join("credentials")).unwrap());
}

#[test]
fn the_serial_client_keeps_it_over_an_at_host_with_every_terminator() {
    for terminator in [
        Terminator::Nul,
        Terminator::Cr,
        Terminator::Lf,
        Terminator::CrLf,
    ] {
        let wire = Wire::at(SharedModem::new(VirtualModem::from_seed(1)), terminator);
        let options = SerialOptions {
            terminator,
            ..quick()
        };
        let mut modem = SerialModem::over("wire", Box::new(wire), options).unwrap();
        assert!(!modem.is_shell());
        contract(&mut AtStore::new(&mut modem));
    }
}

#[test]
fn the_serial_client_keeps_it_over_a_shell() {
    let wire = Wire::shell(SharedModem::new(VirtualModem::from_seed(1)));
    let mut modem = SerialModem::over("wire", Box::new(wire), quick()).unwrap();
    assert!(modem.is_shell());
    contract(&mut AtStore::new(&mut modem));
}

#[test]
fn the_serial_client_keeps_it_over_a_pty_and_over_tcp() {
    for mode in [
        HostMode::At(Terminator::CrLf),
        HostMode::Shell(Default::default()),
    ] {
        let shell = matches!(mode, HostMode::Shell(_));
        let mut hosts = Hosts::new(SharedModem::new(VirtualModem::from_seed(1)), mode);
        let pty = hosts.pty(None).unwrap();
        let tcp = hosts.tcp("127.0.0.1:0".parse().unwrap(), false).unwrap();
        for port in [pty.display().to_string(), format!("tcp:{tcp}")] {
            let mut modem = SerialModem::open(&port, SerialOptions::default()).unwrap();
            assert_eq!(modem.is_shell(), shell, "{port}");
            contract(&mut AtStore::new(&mut modem));
        }
    }
}
