//! The PKI of a gateway from an empty home: what is issued, listed, renewed and revoked, and the mistakes on the way.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use support::Home;

fn gateway() -> Home {
    let home = Home::new();
    home.sectag(&["ca", "init", "--name", "Plant"])
        .expect_code(0);
    home
}

#[test]
fn the_home_of_ca_init_is_the_home_of_the_service() {
    let home = gateway();
    let root = home.read("ca/root.crt");
    home.sectag(&["cert", "issue", "client", "one"])
        .expect_code(0);
    let up = home.up(&[]);
    assert_eq!(home.read("ca/root.crt"), root);
    // The other way round, and while it runs.
    home.sectag(&["cert", "issue", "client", "two"])
        .expect_code(0);
    home.sectag(&["cert", "revoke", "one"]).expect_code(0);
    drop(up);
    let other = Home::new();
    drop(other.up(&[]));
    let again = other.sectag(&["ca", "init"]).expect_code(0);
    assert!(
        again.stdout.contains("CN=Sectag root"),
        "only the lists were missing: {again:#?}"
    );
    other.sectag(&["ca", "init"]).expect_code(1);
    other.sectag(&["cert", "issue", "server"]).expect_code(0);
}

#[test]
fn a_server_has_the_names_of_machine_loopback_and_configuration() {
    let home = gateway();
    home.sectag(&[
        "config",
        "set",
        "mqtt.external.bind.address",
        "192.0.2.7",
        "mqtt.client.host",
        "gw.plant.example",
    ])
    .expect_code(0);
    let made = home.json(&[
        "cert",
        "issue",
        "server",
        "--san",
        "a.example,b.example",
        "--san",
        "::2",
    ]);
    let names: Vec<&str> = made["names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_str().unwrap())
        .collect();
    for name in [
        "DNS:localhost",
        "IP:127.0.0.1",
        "IP:::1",
        "IP:192.0.2.7",
        "DNS:gw.plant.example",
        "DNS:a.example",
        "DNS:b.example",
        "IP:::2",
    ] {
        assert_eq!(
            names.iter().filter(|n| **n == name).count(),
            1,
            "{name} in {names:?}"
        );
    }
    let node = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let node = node.trim().split('.').next().unwrap().to_ascii_lowercase();
    if node != "localhost" && !node.contains('_') {
        assert!(
            names.contains(&format!("DNS:{node}").as_str()),
            "{node} in {names:?}"
        );
    }
    assert_eq!(made["extendedKeyUsages"][0], "serverAuth");
    assert_eq!(made["isCa"], false);
    assert_eq!(made["serial"].as_str().unwrap().len(), 32);
    let only = home.json(&[
        "cert",
        "issue",
        "server",
        "--name",
        "only",
        "--san",
        "x.example",
        "--only-given",
    ]);
    assert_eq!(only["names"].as_array().unwrap().len(), 1);
    let key = Path::new(made["key"].as_str().unwrap());
    assert_eq!(
        fs::metadata(key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::read_dir(home.path().join("pki")).unwrap().count(),
        4,
        "nothing is left over"
    );
}

#[test]
fn an_identity_that_means_something_else_is_refused_before_anything_is_written() {
    let home = gateway();
    let device = "50363154-3931-44f0-8022-121b6401627d";
    for (name, word) in [
        ("a/b", "mean something in MQTT topics"),
        ("a+", "mean something in MQTT topics"),
        ("#", "mean something in MQTT topics"),
        ("a\tb", "control characters"),
        ("", "1 to 64 characters"),
        (" a", "blank"),
        ("$SYS", "belong to the broker"),
        (device, "the shape of a device id"),
        (
            "50363154-3931-44F0-8022-121B6401627D",
            "looks like a device id and is none",
        ),
        (
            "50363154393144f08022121b6401627d",
            "looks like a device id and is none",
        ),
    ] {
        let refused = home
            .sectag(&["cert", "issue", "client", name])
            .expect_code(1);
        assert!(refused.stderr.contains(word), "{name:?}: {refused:#?}");
        assert!(refused.stderr.contains("hint: "), "{name:?}: {refused:#?}");
    }
    home.sectag(&["cert", "issue", "client", device, "--device"])
        .expect_code(0);
    assert_eq!(
        home.json(&["cert", "list"])["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn mistakes_are_told_with_what_helps() {
    let home = Home::new();
    for args in [
        &["cert", "issue", "server"][..],
        &["cert", "list"],
        &["cert", "renew", "--all"],
        &["cert", "revoke", "x"],
        &["ca", "export"],
        &["ca"],
    ] {
        let said = home.sectag(args).expect_code(1);
        assert!(
            said.stderr.contains("`sectag ca init` makes one"),
            "{said:#?}"
        );
        assert_eq!(said.stdout, "");
    }
    home.sectag(&["ca", "init"]).expect_code(0);
    let twice = home.sectag(&["ca", "init"]).expect_code(1);
    assert!(twice.stderr.contains("holds a CA already"), "{twice:#?}");
    home.sectag(&["cert", "issue", "client", "one"])
        .expect_code(0);
    for (args, code, word) in [
        (
            &["cert", "issue", "client", "one"][..],
            1,
            "is there already",
        ),
        (
            &["cert", "issue", "client", "two", "--dir", "/nonexistent/x"],
            2,
            "no folder",
        ),
        (
            &["cert", "issue", "client", "two", "--crl-url", "gw"],
            2,
            "http://",
        ),
        (
            &["cert", "issue", "client", "two", "--days", "0"],
            2,
            "0 is not in",
        ),
        (
            &["cert", "issue", "server", "--san", "https://gw/"],
            2,
            "without port",
        ),
        (&["cert", "renew", "two"], 1, "nothing called `two`"),
        (
            &["cert", "revoke", "two"],
            1,
            "neither a name nor a serial number",
        ),
        (
            &["cert", "needs-renewal", "two"],
            2,
            "neither a file nor a name",
        ),
        (&["cert", "check", "two"], 2, "neither a file nor a name"),
        (
            &["cert", "reissue", "nothing.csr", "--client"],
            2,
            "nothing.csr",
        ),
        (&["cert", "renew", "--ca", "c8y"], 1, "cannot be asked"),
        (&["cert", "renew", "--due"], 2, "<NAME|--all>"),
        (
            &["cert", "reissue", "nothing.csr"],
            2,
            "<--client|--server>",
        ),
    ] {
        let said = home.sectag(args);
        assert_eq!(said.code, Some(code), "{args:?}: {said:#?}");
        assert!(said.stderr.contains(word), "{args:?}: {said:#?}");
    }
    let key = home.path().join("pki/one.key");
    let wrong = home
        .sectag(&["cert", "reissue", key.to_str().unwrap(), "--client"])
        .expect_code(1);
    assert!(wrong.stderr.contains("certificate request"), "{wrong:#?}");
}

#[test]
fn a_home_that_cannot_be_written_down_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let home = Home::new();
    let odd = home.path().join(std::ffi::OsStr::from_bytes(b"h\xff"));
    for args in [
        &["ca", "init"][..],
        &["ca"],
        &["gateway", "status", "--json"],
    ] {
        let mut command = support::sectag(&odd);
        command.args(args);
        let said = support::run(command).expect_code(2);
        assert!(said.stderr.contains("is not written in UTF-8"), "{said:#?}");
    }
    assert!(!odd.exists());
}

#[test]
fn a_renewed_pair_that_was_revoked_while_it_waited_is_not_put_in_place() {
    let home = gateway();
    home.sectag(&["cert", "issue", "client", "one"])
        .expect_code(0);
    home.sectag(&["cert", "renew", "one"]).expect_code(0);
    let waiting = facts(&home.read("pki/one.crt.new"));
    home.sectag(&["cert", "revoke", &waiting.serial_hex])
        .expect_code(0);
    home.sectag(&["cert", "renew", "one", "--now"])
        .expect_code(0);
    let now = facts(&home.read("pki/one.crt"));
    assert_ne!(now.serial_hex, waiting.serial_hex);
    home.sectag(&["cert", "check", "one"]).expect_code(0);
}

#[test]
fn half_a_pair_is_told_from_a_whole_one() {
    let home = gateway();
    home.sectag(&["cert", "issue", "client", "one"])
        .expect_code(0);
    let key = home.path().join("pki/one.key");
    fs::remove_file(&key).unwrap();
    let said = home
        .sectag(&["cert", "issue", "client", "one"])
        .expect_code(1);
    assert!(said.stderr.contains("which belongs to it, is missing"));
    assert!(
        said.stderr
            .contains("`sectag cert issue client one --force`"),
        "{said:#?}"
    );
    home.sectag(&["cert", "issue", "client", "one", "--force"])
        .expect_code(0);
    assert!(key.exists());
}

#[test]
fn a_key_that_replaces_another_is_for_its_reader_and_not_for_everybody() {
    let home = gateway();
    let mode = |wanted: u32| {
        let key = home.path().join("pki/one.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(wanted)).unwrap();
        let said = home
            .sectag(&["cert", "issue", "client", "one", "--force"])
            .expect_code(0);
        let alone = said.stderr.contains("can be read by its owner alone");
        let mode = fs::metadata(&key).unwrap().permissions().mode() & 0o777;
        (mode, alone)
    };
    home.sectag(&["cert", "issue", "client", "one"])
        .expect_code(0);
    assert_eq!(mode(0o644), (0o640, false));
    assert_eq!(mode(0o640), (0o640, false));
    assert_eq!(mode(0o600), (0o600, true));
}

#[test]
fn what_could_not_be_renewed_is_not_called_renewed() {
    let home = gateway();
    for name in ["one", "two", "three"] {
        home.sectag(&["cert", "issue", "client", name])
            .expect_code(0);
    }
    // One cannot be read, and may be in use; the key of another is not there to be kept.
    fs::write(home.path().join("pki/two.crt"), "cut short").unwrap();
    fs::remove_file(home.path().join("pki/three.key")).unwrap();
    let said = home
        .sectag(&["cert", "renew", "--all", "--reuse-key"])
        .expect_code(1);
    assert!(said.stderr.contains("`two` is left out"), "{said:#?}");
    assert!(said.stderr.contains("`three` could not be renewed"));
    let row = |name: &str| {
        let line = said.stdout.lines().find(|line| line.starts_with(name));
        line.unwrap_or_default().to_owned()
    };
    assert!(row("one").contains(" renewed "), "{said:#?}");
    assert!(row("three").contains(" failed "), "{said:#?}");
}

#[test]
fn a_renewal_waits_and_is_promoted_with_the_key_s_mode_kept() {
    let home = gateway();
    home.sectag(&["cert", "issue", "server", "--days", "9"])
        .expect_code(0);
    let first = home.read("pki/server.crt");
    let key = home.path().join("pki/server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
    let fine = home.json(&["cert", "renew", "--all", "--due"]);
    assert_eq!(fine["items"][0]["step"], "fine");
    let plan = home.json(&["cert", "renew", "--all", "--dry-run"]);
    assert_eq!(plan["items"][0]["step"], "renew");
    assert!(!home.path().join("pki/server.crt.new").exists());
    home.sectag(&["cert", "renew", "server"]).expect_code(0);
    assert_eq!(home.read("pki/server.crt"), first);
    let waiting = home.read("pki/server.crt.new");
    home.sectag(&["cert", "renew", "server"]).expect_code(0);
    assert_eq!(home.read("pki/server.crt.new"), waiting, "one is enough");
    home.sectag(&["cert", "renew", "server", "--now"])
        .expect_code(0);
    assert_eq!(home.read("pki/server.crt"), waiting);
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o400
    );
    let (old, new) = (facts(&first), facts(&waiting));
    assert_eq!(old.names, new.names);
    assert_ne!(old.serial_hex, new.serial_hex);
    assert_ne!(old.spki_sha256, new.spki_sha256);
    assert!(
        (old.not_after_s..=old.not_after_s + 600).contains(&new.not_after_s),
        "nine days again"
    );
    // The key can be kept, too.
    home.sectag(&["cert", "renew", "server", "--now", "--reuse-key"])
        .expect_code(0);
    assert_eq!(
        facts(&home.read("pki/server.crt")).spki_sha256,
        new.spki_sha256
    );
    assert_eq!(fs::read_dir(home.path().join("pki")).unwrap().count(), 2);
}

#[test]
fn a_pair_that_does_not_fit_is_not_promoted() {
    let home = gateway();
    home.sectag(&["cert", "issue", "server"]).expect_code(0);
    home.sectag(&["cert", "issue", "client", "other"])
        .expect_code(0);
    home.sectag(&["cert", "renew", "server"]).expect_code(0);
    let before = home.read("pki/server.crt");
    let pki = home.path().join("pki");
    fs::copy(pki.join("other.key"), pki.join("server.key.new")).unwrap();
    // It is recognised, thrown away, and made again.
    home.sectag(&["cert", "renew", "server", "--now"])
        .expect_code(0);
    assert_ne!(home.read("pki/server.crt"), before);
    let (certificate, key) = (home.read("pki/server.crt"), home.read("pki/server.key"));
    let key = sectag_pki::KeyPair::from_pem(&key).unwrap();
    let leaf = sectag_pki::Certificate::from_pem(&certificate).unwrap();
    assert_eq!(sectag_pki::sha256(&key.spki_der()), leaf.spki_sha256);
}

#[test]
fn a_revoked_name_stays_revoked_through_renewal_and_list() {
    let home = gateway();
    home.sectag(&["cert", "issue", "client", "one"])
        .expect_code(0);
    home.sectag(&["cert", "renew", "one"]).expect_code(0);
    let said = home.json(&["cert", "revoke", "one"]);
    assert_eq!(
        said["items"].as_array().unwrap().len(),
        2,
        "in use, and waiting"
    );
    let again = home.sectag(&["cert", "revoke", "one"]).expect_code(0);
    assert!(again.stdout.contains("was revoked already"), "{again:#?}");
    let renew = home.sectag(&["cert", "renew", "one"]).expect_code(1);
    assert!(renew.stderr.contains("it is revoked"), "{renew:#?}");
    let check = home.sectag(&["cert", "check", "one"]).expect_code(1);
    assert!(check.stdout.contains("REVOKED"), "{check:#?}");
    assert!(
        check.stderr.contains("another with another key"),
        "{check:#?}"
    );
    let all = home.sectag(&["cert", "check", "--all"]).expect_code(0);
    assert!(
        all.stderr
            .contains("nothing that was issued here is in use")
    );
    // Its key does not come back in under another certificate.
    let file = home.path().join("pki/one.crt");
    let again = home
        .sectag(&["cert", "reissue", "--client", file.to_str().unwrap()])
        .expect_code(1);
    assert!(again.stderr.contains("is revoked (serial "), "{again:#?}");
    assert!(!home.path().join("pki/one-v3.crt").exists());
    assert_eq!(
        home.json(&["cert", "list"])["items"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    let printed = home.sectag(&["cert", "crl"]).expect_code(0).stdout;
    assert_eq!(printed, home.read("ca/devices.crl"));
    let fresh = home
        .sectag(&["cert", "crl", "--refresh"])
        .expect_code(0)
        .stdout;
    let revoked =
        |text: &str| sectag_pki::material::material(text.as_bytes()).revocations[0].revoked;
    assert_eq!((revoked(&printed), revoked(&fresh)), (2, 2));
}

#[test]
fn what_many_issue_and_revoke_at_once_is_all_in_register_and_list() {
    let home = gateway();
    let names: Vec<String> = (0..6).map(|n| format!("c{n}")).collect();
    let each = |verb: &'static [&'static str]| {
        std::thread::scope(|scope| {
            for name in &names {
                let home = &home;
                scope.spawn(move || home.sectag(&[verb, &[name]].concat()).expect_code(0));
            }
        });
    };
    each(&["cert", "issue", "client"]);
    assert_eq!(
        home.json(&["cert", "list"])["items"]
            .as_array()
            .unwrap()
            .len(),
        6
    );
    each(&["cert", "revoke"]);
    let list = home.read("ca/devices.crl");
    assert_eq!(
        sectag_pki::material::material(list.as_bytes()).revocations[0].revoked,
        6
    );
}

#[test]
fn rustls_takes_both_sides_and_refuses_the_revoked() {
    for key in ["p256", "rsa2048"] {
        let home = gateway();
        home.sectag(&["cert", "issue", "server", "--key", key])
            .expect_code(0);
        for name in ["one", "two"] {
            home.sectag(&["cert", "issue", "client", name, "--key", key])
                .expect_code(0);
        }
        home.sectag(&["cert", "revoke", "two"]).expect_code(0);
        assert_eq!(handshake(&home, "one"), Ok(()), "{key}");
        let refused = handshake(&home, "two").unwrap_err();
        assert!(refused.contains("Revoked"), "{key}: {refused}");
        // The server's pair is no client's.
        let refused = handshake(&home, "server").unwrap_err();
        assert!(!refused.is_empty());
    }
}

/// One handshake of rustls with itself, over memory: the broker's side has `ca export --clients` and the list, the client's
/// `ca export`.
fn handshake(home: &Home, client: &str) -> Result<(), String> {
    let export = |what: &str| home.sectag(&["ca", "export", what]).expect_code(0).stdout;
    let store = |text: &str| {
        let mut store = RootCertStore::empty();
        for der in chain(text) {
            store.add(der).unwrap();
        }
        Arc::new(store)
    };
    let list = home.read("ca/devices.crl");
    let list = CertificateRevocationListDer::from_pem_slice(list.as_bytes()).unwrap();
    let verifier = WebPkiClientVerifier::builder(store(&export("--clients")))
        .with_crls([list])
        .only_check_end_entity_revocation()
        .build()
        .unwrap();
    let server = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(&home.read("pki/server.crt")), key(home, "server"))
        .unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(store(&export("--servers")))
        .with_client_auth_cert(
            chain(&home.read(&format!("pki/{client}.crt"))),
            key(home, client),
        )
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets().map_err(|e| format!("{e:?}"))?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut &wire[..]).unwrap();
        client.process_new_packets().map_err(|e| format!("{e:?}"))?;
    }
    Ok(())
}

fn chain(text: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(text.as_bytes())
        .map(|der| der.unwrap())
        .collect()
}

fn key(home: &Home, name: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(home.read(&format!("pki/{name}.key")).as_bytes()).unwrap()
}

fn facts(text: &str) -> sectag_pki::CertificateFacts {
    sectag_pki::show(&chain(text)[0]).unwrap()
}
