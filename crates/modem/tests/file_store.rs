//! Credentials in files: who may see them, what a modem would refuse, and signatures for TLS.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sectag_keep::KeepError;
use sectag_modem::credentials::{CredentialStore, FileStore, KeyRequest, StoreError};
use sectag_modem::{SignerError, TagSigner};
use sectag_pki::PrivateKey;
use sectag_proto::secret::SecretText;
use sectag_proto::token::KeygenBody;
use sectag_proto::{CredentialType, SecTag};

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n";
const CA: CredentialType = CredentialType::ROOT_CA;
const CERT: CredentialType = CredentialType::CLIENT_CERTIFICATE;
const KEY: CredentialType = CredentialType::CLIENT_PRIVATE_KEY;

struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("credentials")
    }

    fn open(&self) -> FileStore {
        FileStore::open(&self.path()).unwrap()
    }
}

fn tag(n: u64) -> SecTag {
    SecTag::new(n).unwrap()
}

fn text(content: &str) -> SecretText {
    SecretText::new(content.to_owned())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_tag_is_a_folder_and_keys_are_for_our_eyes_only() {
    let home = Home::new();
    let mut store = home.open();
    let all = [
        (CA, CERTIFICATE, "root-ca.pem", 0o644),
        (CERT, CERTIFICATE, "client-cert.pem", 0o644),
        (KEY, "a key", "client.key", 0o600),
        (CredentialType::PSK, "c0ffee", "psk", 0o600),
        (CredentialType::PSK_IDENTITY, "dev-1", "psk-id", 0o600),
    ];
    for (kind, content, name, wanted) in all {
        store.write(tag(42), kind, &text(content)).unwrap();
        let path = home.path().join("42").join(name);
        assert_eq!(mode(&path), wanted, "{name}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content, "byte for byte");
    }
    assert_eq!(mode(&home.path()), 0o700);
    assert_eq!(mode(&home.path().join("42")), 0o700);
    assert_eq!(store.clear(tag(42)).unwrap(), 5);
    assert!(
        !home.path().join("42").exists(),
        "an empty tag has no folder"
    );
}

#[test]
fn what_others_may_read_is_refused_with_the_command_that_repairs_it() {
    let home = Home::new();
    let mut store = home.open();
    store.write(tag(42), KEY, &text("a key")).unwrap();
    let key = home.path().join("42/client.key");
    for (path, open_to, right) in [
        (key.clone(), 0o640, 0o600),
        (home.path().join("42"), 0o755, 0o700),
        (home.path(), 0o750, 0o700),
    ] {
        chmod(&path, open_to);
        let error = FileStore::open(&home.path()).unwrap_err();
        assert!(matches!(
            error,
            StoreError::Keep(KeepError::NotPrivate { .. })
        ));
        assert_eq!(
            error.hint().unwrap(),
            format!("run `chmod {right:o} '{}'`", path.display())
        );
        chmod(&path, right);
    }
    // A store that is open already looks again each time.
    chmod(&key, 0o604);
    assert!(store.list(Some(tag(42)), None).is_err());
    let error = TagSigner::sign(&store, tag(42), b"x").unwrap_err();
    assert!(matches!(error, SignerError::Unreadable { .. }));
    assert!(error.to_string().contains("chmod 600"), "{error}");
    // Writing it anew narrows it.
    store.write(tag(42), KEY, &text("another")).unwrap();
    assert_eq!(mode(&key), 0o600);
}

#[test]
fn a_file_of_somebody_else_is_refused() {
    let home = Home::new();
    let mut store = home.open();
    store.write(tag(1), CA, &text(CERTIFICATE)).unwrap();
    let path = home.path().join("1/root-ca.pem");
    // Only root can give files away.
    if std::os::unix::fs::chown(&path, Some(12345), None).is_err() {
        return;
    }
    let error = store.read(tag(1), CA).unwrap_err();
    assert!(
        error.to_string().contains("belongs to user 12345"),
        "{error}"
    );
    assert!(error.to_string().contains("run `chown "), "{error}");
}

#[test]
fn what_is_no_tag_is_left_alone() {
    let home = Home::new();
    let mut store = home.open();
    store.write(tag(7), CA, &text(CERTIFICATE)).unwrap();
    for name in ["007", "notes", "2147483648", "-1"] {
        fs::create_dir(home.path().join(name)).unwrap();
        fs::write(home.path().join(name).join("root-ca.pem"), CERTIFICATE).unwrap();
    }
    fs::write(home.path().join("7/README"), "mine").unwrap();
    fs::write(home.path().join("9"), "a file").unwrap();
    let tags: Vec<u32> = store
        .list(None, None)
        .unwrap()
        .iter()
        .map(|entry| entry.tag)
        .collect();
    assert_eq!(tags, [7]);
    store.delete(tag(7), CA).unwrap();
    assert!(home.path().join("7/README").exists());
}

#[test]
fn what_a_modem_refuses_is_refused() {
    let home = Home::new();
    let mut store = home.open();
    for kind in [CA, CERT] {
        assert!(matches!(
            store.write(tag(1), kind, &text("garbage")),
            Err(StoreError::Content)
        ));
    }
    let long = format!("{CERTIFICATE}{}", " ".repeat(4096));
    assert!(matches!(
        store.write(tag(1), CA, &text(&long)),
        Err(StoreError::Invalid(_))
    ));
    for odd in ["abc", "xy", "c0 ff"] {
        assert!(
            store
                .write(tag(1), CredentialType::PSK, &text(odd))
                .is_err()
        );
    }
    for number in [5, 6, 8, 9, 10, 11, 200] {
        assert!(matches!(
            store.write(tag(1), CredentialType(number), &text("x")),
            Err(StoreError::NoAccess)
        ));
    }
    assert_eq!(store.list(None, None).unwrap(), []);
    assert!(!home.path().join("1").exists());
}

#[test]
fn a_key_made_here_signs_and_its_public_half_fits() {
    let home = Home::new();
    let mut store = home.open();
    let mut request = KeyRequest::client(tag(42));
    assert!(matches!(
        store.keygen(&request),
        Err(StoreError::Invalid(_))
    ));
    assert!(!home.path().join("42").exists());
    request.attributes = Some("CN=gateway-1");
    let made = store.keygen(&request).unwrap();
    assert_eq!(made.cose, None);
    let csr = sectag_pki::csr::parse(&made.der).unwrap();
    assert!(!csr.had_null_parameters);
    assert_eq!(csr.key_usage_bits.as_deref(), Some("111010000"));
    let public = TagSigner::public_key(&store, tag(42)).unwrap();
    assert_eq!(*public.as_spki_der(), csr.spki_der);
    assert_eq!(mode(&home.path().join("42/client.key")), 0o600);

    let signature = store.sign(tag(42), b"handshake").unwrap();
    let key = PrivateKey::from_pem(&fs::read_to_string(home.path().join("42/client.key")).unwrap())
        .unwrap();
    assert_eq!(key.spki_der(), csr.spki_der);
    assert_ne!(signature, [0; 64]);

    request.body = KeygenBody::PublicKey;
    request.kind = CredentialType::ENDORSEMENT_PRIVATE_KEY;
    assert_eq!(store.keygen(&request).unwrap().der.len(), 91);
    assert_eq!(mode(&home.path().join("42/endorsement.key")), 0o600);
    assert!(format!("{store:?}").starts_with("FileStore("));
}

#[test]
fn a_signer_says_what_is_missing_and_uses_what_is_new_at_once() {
    let home = Home::new();
    let mut store = home.open();
    let signer: std::sync::Arc<dyn TagSigner> = std::sync::Arc::new(store.clone());
    assert_eq!(
        signer.root_ca(tag(42)),
        Err(SignerError::Missing {
            tag: tag(42),
            credential: CA
        })
    );
    store.write(tag(42), CA, &text(CERTIFICATE)).unwrap();
    assert_eq!(signer.root_ca(tag(42)).unwrap(), CERTIFICATE);
    store.write(tag(42), CERT, &text(CERTIFICATE)).unwrap();
    assert_eq!(signer.certificate_chain(tag(42)).unwrap(), CERTIFICATE);
    store.write(tag(42), KEY, &text("no key")).unwrap();
    assert_eq!(
        signer.sign(tag(42), b"x"),
        Err(SignerError::UnusableKey { tag: tag(42) })
    );
    let key = PrivateKey::generate().unwrap();
    store.write(tag(42), KEY, &text(&key.to_pem())).unwrap();
    assert!(signer.sign(tag(42), b"x").is_ok());
}

#[test]
fn a_second_writer_waits_and_a_link_is_replaced() {
    let home = Home::new();
    let mut store = home.open();
    let mut second = home.open();
    let lock = sectag_keep::lock(&home.path().join(".lock")).unwrap();
    let writer = std::thread::spawn(move || second.write(tag(1), CA, &text(CERTIFICATE)));
    // Reading does not wait.
    assert!(!store.exists(tag(9), CA).unwrap());
    drop(lock);
    writer.join().unwrap().unwrap();

    let elsewhere = home.dir.path().join("elsewhere");
    fs::write(&elsewhere, "not ours").unwrap();
    let key = home.path().join("1/client.key");
    symlink(&elsewhere, &key).unwrap();
    chmod(&elsewhere, 0o600);
    store.write(tag(1), KEY, &text("a key")).unwrap();
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "not ours");
    assert!(!fs::symlink_metadata(&key).unwrap().is_symlink());
}
