//! A modem is switched off, copied about, damaged, and switched on again.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sectag_modem::{OpenError, Options, SharedModem, TagSigner, VirtualModem, seeded};
use sectag_proto::SecTag;

fn open(dir: &Path) -> Result<VirtualModem, OpenError> {
    VirtualModem::open(dir, Options::default(), seeded(7))
}

#[test]
fn identity_and_credentials_survive_and_modes_begin_anew() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("devices/one");
    let mut modem = open(&dir).unwrap();
    modem.line("AT+CMEE=1");
    assert_eq!(modem.line("AT%CMNG=0,42,4,\"me\""), "OK\r\n");
    assert!(modem.line("AT%KEYGEN=42,2,0").ends_with("OK\r\n"));
    modem.line("AT+CFUN=1");
    let (device, imei) = (modem.identity().device, modem.line("AT+CGSN"));
    let (list, writes) = (modem.line("AT%CMNG=1"), modem.flash_writes());
    let key = modem.identity().public_key();
    drop(modem);

    let mut modem = open(&dir).unwrap();
    assert_eq!(modem.identity().device, device);
    assert_eq!(modem.identity().public_key(), key);
    assert_eq!(modem.line("AT+CGSN"), imei);
    assert_eq!(modem.line("AT%CMNG=1"), list);
    assert_eq!(modem.flash_writes(), writes);
    assert_eq!(modem.line("AT+CMEE?"), "+CMEE: 0\r\nOK\r\n");
    assert_eq!(modem.line("AT+CFUN?"), "+CFUN: 0\r\nOK\r\n");
    let tag = SecTag::new(42).unwrap();
    assert!(SharedModem::new(modem).sign(tag, b"still there").is_ok());
}

#[test]
fn two_directories_are_two_modems() {
    let home = tempfile::tempdir().unwrap();
    let a = open(&home.path().join("a")).unwrap();
    let b = VirtualModem::open(&home.path().join("b"), Options::default(), seeded(8)).unwrap();
    assert_ne!(a.identity().device, b.identity().device);
}

#[test]
fn the_state_is_for_our_eyes_only() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("one");
    let mut modem = open(&dir).unwrap();
    modem.line("AT%CMNG=0,42,4,\"me\"");
    drop(modem);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let file = dir.join("modem.json");
    assert_eq!(mode(&file), 0o600);

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let error = open(&dir).unwrap_err();
    assert!(error.hint().unwrap().contains("chmod 600"), "{error}");
}

#[test]
fn one_holder_at_a_time() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("one");
    let first = open(&dir).unwrap();
    let error = open(&dir).unwrap_err();
    assert!(error.to_string().contains("locked by process"), "{error}");
    drop(first);
    assert!(open(&dir).is_ok());
}

#[test]
fn a_damaged_state_is_one_sentence_and_nothing_is_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("one");
    drop(open(&dir).unwrap());
    let file = dir.join("modem.json");
    let good = fs::read_to_string(&file).unwrap();
    let key_line = "MIG";
    assert!(good.contains(key_line));
    for (bad, reason) in [
        (String::new(), "cut short"),
        (good[..good.len() / 2].to_owned(), "cut short"),
        (format!("{good}x"), "not JSON"),
        ("{\"version\":1}".to_owned(), "a field is missing"),
        (good.replace("MIG", "xxx"), "identity key"),
    ] {
        fs::write(&file, &bad).unwrap();
        let error = open(&dir).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert!(error.contains("modem.json"), "{error}");
        assert!(
            error.contains("remove it to begin with a new device"),
            "{error}"
        );
        assert!(
            !error.contains("BEGIN") && !error.contains(key_line),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), bad);
    }
    fs::write(&file, good.replacen("\"version\":1", "\"version\":2", 1)).unwrap();
    let error = open(&dir).unwrap_err().to_string();
    assert!(error.contains("version 2"), "{error}");
    fs::write(&file, &good).unwrap();
    assert!(open(&dir).is_ok());
}

#[test]
fn what_cannot_be_saved_has_not_happened() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("one");
    let mut modem = open(&dir).unwrap();
    modem.line("AT+CMEE=1");
    modem.line("AT%CMNG=0,1,4,\"kept\"");
    // A directory where the file belongs fails for every user, root included.
    let file = dir.join("modem.json");
    let saved = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    for line in ["AT%CMNG=0,2,4,\"lost\"", "AT%CMNG=3,1,4", "AT%KEYGEN=3,2,0"] {
        assert_eq!(modem.line(line), "+CME ERROR: 60\r\n", "{line}");
        assert!(modem.take_save_error().is_some());
    }
    assert!(modem.line("AT%CMNG=2,1,4").contains("kept"));
    assert_eq!(modem.line("AT%CMNG=1,2"), "OK\r\n");
    assert_eq!(modem.line("AT%CMNG=1,3"), "OK\r\n");
    assert_eq!(modem.flash_writes(), 1);
    fs::remove_dir(&file).unwrap();
    fs::write(&file, saved).unwrap();
}
