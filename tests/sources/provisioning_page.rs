//! The provisioning page of Nordic's MQTT sample, row by row (tests/sources/README.md, P).
#![allow(clippy::unwrap_used, unreachable_pub)]

mod desk;
#[path = "../gateway_desk/mod.rs"]
mod gateway_desk;
#[path = "../peers/stranger/mod.rs"]
mod stranger;
#[path = "../../crates/cli/tests/support/mod.rs"]
mod support;

use desk::Desk;
use gateway_desk::{Broker, Gateway};
use stranger::mosquitto::{Clients, Mosquitto};
use stranger::{ask, have, text};
use support::Output;

/// The sample ends after one message, at once.
const ONCE: [&str; 6] = ["--count", "1", "--connect-delay", "0", "--interval", "1"];
const TAG: &str = "955";

#[test]
fn p1_tls_is_a_choice() {
    if !have(&["mosquitto"]) {
        return;
    }
    let desk = Desk::new();
    let plain = Mosquitto::start(&Clients::Plain);
    let said = once(&desk, &plain, &["--plain"]).expect_code(0).stdout;
    assert!(said.contains("TLS: No\n"), "{said}");

    let tls = Mosquitto::start(&Clients::Anybody);
    let said = once_trusting(&desk, &tls, &tls, &[]).expect_code(0).stdout;
    assert!(said.contains("TLS: Yes\n"), "{said}");

    // TLS was asked for, so a broker that speaks none is no broker.
    let refused = once(&desk, &plain, &["--for", "4"]);
    assert_ne!(refused.code, Some(0), "{refused:#?}");
}

#[test]
fn p2_the_server_ca_is_under_the_tag_before_the_connection() {
    if !have(&["mosquitto"]) {
        return;
    }
    let desk = Desk::new();
    let broker = Mosquitto::start(&Clients::Anybody);
    assert_eq!(desk.listed(TAG), Vec::<String>::new());
    // Nobody listens there: what was provisioned was provisioned before the connection.
    let certs = desk.certs(&[("ca-cert.pem", &broker.ca_pem())]);
    desk.sample(1, &["--certs", &certs, "--for", "1"]);
    assert_eq!(desk.listed(TAG), ["ROOT_CA_CERT"]);
    once(&desk, &broker, &[]).expect_code(0);
}

#[test]
fn p3_a_folder_holds_the_ca_and_a_public_broker_is_used_by_name_only() {
    if !have(&["mosquitto"]) {
        return;
    }
    let desk = Desk::new();
    // The default broker is the home's own.
    let up = desk.home.up(&[]);
    let root = desk.home.read("ca/root.crt");
    let certs = desk.certs(&[("ca-cert.pem", &root)]);
    let said = desk.home.sectag(&[
        "mqtt",
        "sample",
        "--connect-delay",
        "0",
        "--certs",
        &certs,
        "--for",
        "4",
    ]);
    assert!(
        said.stdout
            .contains(&format!("port {}", up.listeners.mqtt.port()))
            || said.stderr.contains("client certificate"),
        "our broker asks for a client certificate, and the sample says so: {said:#?}"
    );
    assert!(
        !format!("{said:?}").contains("test.mosquitto.org"),
        "{said:#?}"
    );
    // By name it is: another server that answers in its place is refused by that name.
    let other = Mosquitto::start(&Clients::Anybody);
    let certs = desk.certs(&[("ca-cert.pem", &other.ca_pem())]);
    let port = other.port().to_string();
    let public = desk.home.sectag(&[
        "mqtt",
        "sample",
        "--connect-delay",
        "0",
        "--host",
        "test.mosquitto.org",
        "--address",
        "127.0.0.1",
        "--port",
        &port,
        "--certs",
        &certs,
        "--for",
        "4",
    ]);
    assert_eq!(public.code, Some(1), "{public:#?}");
    assert!(
        public.stderr.contains("test.mosquitto.org") && public.stderr.contains("localhost"),
        "both names: {public:#?}"
    );
}

#[test]
fn p4_a_changed_server_needs_another_ca_and_one_command_brings_it() {
    if !have(&["mosquitto"]) {
        return;
    }
    let desk = Desk::new();
    let (before, after) = (
        Mosquitto::start(&Clients::Anybody),
        Mosquitto::with_root(&Clients::Anybody),
    );
    once_trusting(&desk, &before, &before, &[]).expect_code(0);
    let refused = once(&desk, &after, &["--for", "4"]);
    let said = format!("{}{}", refused.stdout, refused.stderr);
    let command = format!(
        "sectag cert chain localhost:{} --to-tag {TAG}",
        after.port()
    );
    assert!(said.contains(&command), "{said}");
    assert!(
        said.contains("mosquitto's root"),
        "the CA that is wrong has a name: {said}"
    );

    // The command as printed, and the word that its question asks for.
    let mut words: Vec<&str> = command.split(' ').skip(1).collect();
    words.push("--yes");
    let fetched = desk.home.sectag(&words).expect_code(0);
    assert!(
        format!("{}{}", fetched.stdout, fetched.stderr).contains("sha-256"),
        "{fetched:#?}"
    );
    once(&desk, &after, &[]).expect_code(0);
}

#[test]
fn p5_the_chain_is_shown_as_openssl_shows_it() {
    if !have(&["mosquitto", "openssl"]) {
        return;
    }
    let desk = Desk::new();
    let broker = Mosquitto::start(&Clients::Anybody);
    let peer = format!("localhost:{}", broker.port());
    let theirs = ask(
        "openssl",
        &[
            "s_client",
            "-connect",
            &peer,
            "-showcerts",
            "-servername",
            "localhost",
        ],
    )
    .stdout;
    let ours = desk
        .home
        .sectag(&[
            "cert",
            "chain",
            &peer,
            "--server-name",
            "localhost",
            "--json",
        ])
        .json();
    let links: Vec<&str> = ours["chain"]
        .as_array()
        .unwrap()
        .iter()
        .map(|link| link["pem"].as_str().unwrap().trim())
        .collect();
    assert_eq!(links, certificates(&theirs));
}

#[test]
fn p6_the_root_is_recommended_and_a_missing_one_is_never_replaced() {
    if !have(&["mosquitto"]) {
        return;
    }
    let desk = Desk::new();
    // The whole chain: the root is the one to take.
    let whole = Mosquitto::with_root(&Clients::Anybody);
    let file = text(desk.home.beside("root.pem"));
    desk.home
        .sectag(&["cert", "chain", &whole.peer(), "--output", &file])
        .expect_code(0);
    assert_eq!(
        std::fs::read_to_string(&file).unwrap().trim(),
        whole.ca_pem().trim()
    );

    // Without its root: it is private and nowhere, so nothing is written, neither to a file nor to a tag.
    let half = Mosquitto::start(&Clients::Anybody);
    let missing = desk
        .home
        .sectag(&["cert", "chain", &half.peer(), "--to-tag", TAG, "--yes"]);
    assert_eq!(missing.code, Some(1), "{missing:#?}");
    assert!(missing.stderr.contains("root"), "{missing:#?}");
    assert_eq!(desk.listed(TAG), Vec::<String>::new());

    // A tag wants the fingerprint, or a yes.
    let unasked = desk
        .home
        .sectag(&["cert", "chain", &whole.peer(), "--to-tag", TAG]);
    assert_ne!(unasked.code, Some(0), "{unasked:#?}");
    assert!(
        unasked.stderr.contains("--fingerprint") && unasked.stderr.contains("--yes"),
        "{unasked:#?}"
    );
    assert_eq!(desk.listed(TAG), Vec::<String>::new());
    let fingerprint =
        desk.home.sectag(&["cert", "show", &file, "--json"]).json()["items"][0]["sha256"]
            .as_str()
            .unwrap()
            .to_owned();
    desk.home
        .sectag(&[
            "cert",
            "chain",
            &whole.peer(),
            "--to-tag",
            TAG,
            "--fingerprint",
            &fingerprint,
        ])
        .expect_code(0);
    assert_eq!(desk.listed(TAG), ["ROOT_CA_CERT"]);
}

#[test]
fn p7_a_private_key_from_a_file_is_warned_about_or_refused() {
    if !have(&["mosquitto"]) {
        return;
    }
    let desk = Desk::new();
    let clients = client_papers(&desk);
    let broker = Mosquitto::start(&Clients::SignedBy(&desk.home.beside("clients.crt")));
    let certs = desk.certs(&[
        ("ca-cert.pem", &broker.ca_pem()),
        ("client-cert.pem", &clients.0),
        ("private-key.pem", &clients.1),
    ]);
    let warned = once(&desk, &broker, &["--certs", &certs]).expect_code(0);
    assert!(
        warned.stderr.contains("private key") && warned.stderr.contains("test"),
        "{warned:#?}"
    );

    let other = Desk::new();
    let refused = once(&other, &broker, &["--certs", &certs, "--no-test-keys"]);
    assert_ne!(refused.code, Some(0), "{refused:#?}");
    assert!(refused.stderr.contains("private-key.pem"), "{refused:#?}");
    assert!(!other.listed(TAG).contains(&"CLIENT_KEY".to_owned()));
    // The credential tool says the same.
    let key = format!("{certs}/private-key.pem");
    let warned = other
        .home
        .sectag(&["creds", "write", TAG, "CLIENT_KEY", &key])
        .expect_code(0);
    assert!(
        warned.stderr.contains("private key") && warned.stderr.contains("test"),
        "{warned:#?}"
    );
    let refused =
        Desk::new()
            .home
            .sectag(&["creds", "write", TAG, "CLIENT_KEY", &key, "--no-test-keys"]);
    assert_ne!(refused.code, Some(0), "{refused:#?}");
}

#[test]
fn p8_provisioning_is_switched_off_by_either_name() {
    if !have(&["mosquitto"]) {
        return;
    }
    let broker = Mosquitto::start(&Clients::Anybody);
    for line in [
        "CONFIG_MQTT_HELPER_PROVISION_CERTIFICATES=n",
        "# CONFIG_MODEM_KEY_MGMT is not set",
    ] {
        let desk = Desk::new();
        let certs = desk.certs(&[("ca-cert.pem", &broker.ca_pem())]);
        let kconfig = desk.file("prj.conf", &format!("CONFIG_MQTT_LIB_TLS=y\n{line}\n"));
        let empty = once(
            &desk,
            &broker,
            &["--certs", &certs, "--kconfig", &kconfig, "--for", "1"],
        );
        assert_ne!(empty.code, Some(0), "{line}: {empty:#?}");
        assert_eq!(desk.listed(TAG), Vec::<String>::new(), "{line}");
        // What is already under the tag is used.
        desk.home
            .sectag(&[
                "creds",
                "write",
                TAG,
                "ROOT_CA_CERT",
                &text(broker.ca_file()),
            ])
            .expect_code(0);
        once(&desk, &broker, &["--certs", &certs, "--kconfig", &kconfig]).expect_code(0);
    }
}

#[test]
fn p9_the_ca_goes_to_the_tag_that_the_project_names() {
    if !have(&["mosquitto"]) {
        return;
    }
    let desk = Desk::new();
    let broker = Mosquitto::start(&Clients::Anybody);
    let kconfig = desk.file(
        "prj.conf",
        "CONFIG_MQTT_LIB_TLS=y\nCONFIG_MODEM_KEY_MGMT=y\nCONFIG_MQTT_HELPER_SEC_TAG=1234\n",
    );
    once_trusting(&desk, &broker, &broker, &["--kconfig", &kconfig]).expect_code(0);
    assert_eq!(desk.listed("1234"), ["ROOT_CA_CERT"]);
    assert_eq!(desk.listed(TAG), Vec::<String>::new());
}

/// On mosquitto's listener, and on our own broker's.
#[test]
fn p10_without_client_authentication_no_client_certificate_is_needed() {
    let gateway = Gateway::new();
    gateway.level("server");
    let broker = Broker::start(&gateway);
    let listener = broker.listener("external").unwrap();
    assert_eq!(listener["certFile"], serde_json::Value::Null);
    let desk = Desk::new();
    let ca = listener["caFile"].as_str().unwrap();
    let certs = desk.certs(&[("ca-cert.pem", &std::fs::read_to_string(ca).unwrap())]);
    let said = desk.sample(
        gateway.external,
        &[&ONCE[..], &["--certs", &certs]].concat(),
    );
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert_eq!(desk.listed(TAG), ["ROOT_CA_CERT"], "nothing but the CA");

    if !have(&["mosquitto"]) {
        return;
    }
    let desk = Desk::new();
    let broker = Mosquitto::start(&Clients::Anybody);
    once_trusting(&desk, &broker, &broker, &[]).expect_code(0);
    assert_eq!(desk.listed(TAG), ["ROOT_CA_CERT"], "nothing but the CA");
}

#[test]
fn p11_certificate_and_key_are_provisioned_together_or_not_at_all() {
    if !have(&["mosquitto"]) {
        return;
    }
    let desk = Desk::new();
    let clients = client_papers(&desk);
    let broker = Mosquitto::start(&Clients::SignedBy(&desk.home.beside("clients.crt")));
    let ca = broker.ca_pem();
    for (file, content, other) in [
        ("client-cert.pem", &clients.0, "private-key.pem"),
        ("private-key.pem", &clients.1, "client-cert.pem"),
    ] {
        let certs = desk.certs(&[("ca-cert.pem", &ca), (file, content)]);
        let half = once(&desk, &broker, &["--certs", &certs]);
        assert_ne!(half.code, Some(0), "{half:#?}");
        assert!(
            half.stderr.contains(file) && half.stderr.contains(other),
            "{half:#?}"
        );
        assert_eq!(desk.listed(TAG), Vec::<String>::new(), "{file}");
    }
    let certs = desk.certs(&[
        ("ca-cert.pem", &ca),
        ("client-cert.pem", &clients.0),
        ("private-key.pem", &clients.1),
    ]);
    once(&desk, &broker, &["--certs", &certs]).expect_code(0);
    assert_eq!(
        desk.listed(TAG),
        ["ROOT_CA_CERT", "CLIENT_CERT", "CLIENT_KEY"]
    );
}

/// Runs the sample against `broker`, to the end of its first message.
fn once(desk: &Desk, broker: &Mosquitto, args: &[&str]) -> Output {
    desk.sample(broker.port(), &[&ONCE[..], args].concat())
}

/// As [`once`], with the CA of a broker in its `certs/` folder.
fn once_trusting(desk: &Desk, ca: &Mosquitto, broker: &Mosquitto, args: &[&str]) -> Output {
    let certs = desk.ca_of(ca);
    once(desk, broker, &[&["--certs", &certs], args].concat())
}

/// Certificate and key of a client, PEM; its CA is `clients.crt`.
fn client_papers(desk: &Desk) -> (String, String) {
    let now_s = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let root = sectag_pki::Authority::root("clients", now_s).unwrap();
    let issuing = root.issuing(sectag_pki::Purpose::Devices, now_s).unwrap();
    let key = sectag_pki::PrivateKey::generate().unwrap();
    let certificate = issuing
        .issue_device(&key.spki_der(), "sample-1", now_s)
        .unwrap();
    let chain = root.certificate_pem() + &issuing.certificate_pem();
    desk.file("clients.crt", &chain);
    (certificate.pem(), key.to_pem().to_string())
}

/// The certificates in a text.
fn certificates(text: &str) -> Vec<&str> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    text.match_indices(BEGIN)
        .map(|(from, _)| &text[from..from + text[from..].find(END).unwrap() + END.len()])
        .collect()
}
