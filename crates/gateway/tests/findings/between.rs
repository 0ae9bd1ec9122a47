//! E9, E10, E11, E14.

use sectag_gateway::Source;
use sectag_gateway::facts::Listening;
use sectag_gateway::findings::FindingId::{E9, E10, E11, E14};
use sectag_gateway::findings::Severity;
use sectag_gateway::mosquitto::BrokerVersion;
use sectag_pki::{Authority, PrivateKey, pem};

use crate::scene::{DAY_S, NOW_S, Scene, port, says};

#[test]
fn e9_the_host_is_not_in_the_brokers_certificate() {
    let mut scene = Scene::mutual();
    let (cert, key) = scene.server("names", &["localhost", "gw.example", "*.wild.example"]);
    scene.external().cert_file = Some(cert);
    scene.external().key_file = Some(key);
    let found = scene.only(E9);
    says(
        &found,
        Severity::Error,
        "the broker's certificate is for localhost, gw.example, *.wild.example; mqtt.client.host is 127.0.0.1",
    );
    assert_eq!(
        found.fix,
        format!(
            "sectag config set mqtt.client.host localhost    or    sectag cert issue server --name names --san 127.0.0.1 --force --dir {}",
            scene.path("").display().to_string().trim_end_matches('/')
        )
    );
    scene.machine.host_names = ["gw.example", "a.wild.example", "a.b.wild.example"]
        .map(str::to_owned)
        .to_vec();
    for host in ["localhost", "gw.example", "a.wild.example"] {
        scene.client_side().host = host.parse().unwrap();
        scene.is_clean();
    }
    scene.client_side().host = "a.b.wild.example".parse().unwrap();
    says(
        &scene.only(E9),
        Severity::Error,
        "mqtt.client.host is a.b.wild.example",
    );
    scene.client_side().host = "127.0.0.1".parse().unwrap();
    scene.client_side().server_name = Some("gw.example".parse().unwrap());
    scene.is_clean();
    scene.client_side().server_name = Some("other".parse().unwrap());
    says(
        &scene.only(E9),
        Severity::Error,
        "mqtt.client.server_name is other",
    );
}

#[test]
fn e14_proposes_to_unset_what_is_set() {
    // The port is a default: unsetting it would change nothing.
    let mut scene = Scene::mutual();
    scene.settings.external = None;
    scene.client_side().port = port(1883, Source::Default);
    let fix = scene.one(E14).fix;
    assert!(
        fix.starts_with("sectag gateway init --level mutual    or    sectag config unset mqtt.client.auth.ca_file "),
        "{fix}"
    );
    // A listener with TLS waits on its own port.
    let mut scene = Scene::mutual();
    scene.client_side().port = port(1883, Source::File);
    assert_eq!(scene.one(E14).fix, "sectag config unset mqtt.client.port");
    // Nothing listens, because the only listener is switched off.
    let mut scene = Scene::plain(1884);
    scene.settings.external = None;
    scene.settings.internal.enabled = false;
    scene.client_side().port = port(1883, Source::Default);
    assert_eq!(scene.one(E14).fix, "sectag config unset mqtt.bind.enabled");
}

#[test]
fn e9_is_about_this_machine_only() {
    let mut scene = Scene::mutual();
    let (cert, key) = scene.server("names", &["gw.example"]);
    scene.external().cert_file = Some(cert);
    scene.external().key_file = Some(key);
    scene.client_side().host = "192.0.2.99".parse().unwrap();
    scene.is_clean();
    scene.client_side().host = "192.0.2.7".parse().unwrap();
    let found = scene.only(E9);
    assert!(
        found
            .fix
            .starts_with("sectag config set mqtt.client.server_name gw.example"),
        "{found}"
    );
}

#[test]
fn e10_another_ca_than_the_brokers() {
    let mut scene = Scene::mutual();
    let other = Authority::root("Other", NOW_S).unwrap();
    let path = scene.write("other.crt", &other.certificate_pem());
    scene.client_side().ca_file = Some(path.clone());
    says(
        &scene.only(E10),
        Severity::Error,
        &format!(
            "the broker's certificate was issued by CN=Gateway CA servers; the trusted CAs are CN=Other (1 certificate from {})",
            path.display()
        ),
    );
    let both = scene.write(
        "both.crt",
        &format!(
            "{}{}",
            other.certificate_pem(),
            scene.root.certificate_pem()
        ),
    );
    scene.client_side().ca_file = Some(both);
    scene.is_clean();
}

#[test]
fn e10_a_certificate_that_is_not_a_servers() {
    let mut scene = Scene::mutual();
    let key = PrivateKey::generate().unwrap();
    let leaf = scene
        .devices
        .issue_device(&key.spki_der(), "localhost", NOW_S)
        .unwrap();
    let (cert, key) = scene.pair("wrong", &leaf, &scene.devices, &key);
    scene.external().cert_file = Some(cert);
    scene.external().key_file = Some(key);
    scene.client_side().server_name = None;
    says(
        &scene.one(E10),
        Severity::Error,
        "our clients would refuse the broker's certificate",
    );
}

#[test]
fn e11_the_listener_does_not_know_our_issuer() {
    let mut scene = Scene::mutual();
    let other = Authority::root("Other", NOW_S).unwrap();
    let path = scene.write("other.crt", &other.certificate_pem());
    scene.external().ca_path = Some(path);
    says(
        &scene.only(E11),
        Severity::Error,
        "does not trust the issuer of our client certificate, CN=Gateway CA devices; it trusts CN=Other",
    );
    let mut scene = Scene::mutual();
    let (cert, key) = scene.server("as-client", &["localhost"]);
    scene.client_side().cert_file = Some(cert);
    scene.client_side().key_file = Some(key);
    says(
        &scene.only(E11),
        Severity::Error,
        "the listener would refuse our client certificate",
    );
}

#[test]
fn e11_mosquitto_wants_the_root_too() {
    let mut scene = Scene::mutual();
    let issuing = scene.write("issuing.crt", &scene.devices.certificate_pem());
    scene.external().ca_path = Some(issuing);
    scene.is_clean();
    scene.machine.broker = Some(BrokerVersion::V2_0_11);
    says(&scene.only(E11), Severity::Error, "but not its root");
    let whole = scene.path("clients-ca.crt");
    scene.external().ca_path = Some(whole);
    scene.is_clean();
    let root = scene.path("ca.crt");
    scene.external().ca_path = Some(root);
    scene.is_clean();
}

#[test]
fn e11_revoked_or_without_a_list() {
    let mut scene = Scene::mutual();
    let serial = scene.facts().chain(Some(&scene.path("client.crt")))[0]
        .facts
        .serial_hex
        .clone();
    let crl = |authority: &Authority, revoked: &[(&str, u64)]| {
        pem::encode(
            "X509 CRL",
            &authority.crl(revoked, NOW_S, NOW_S + 7 * DAY_S).unwrap(),
        )
    };
    let revoked = scene.write("revoked.crl", &crl(&scene.devices, &[(&serial, NOW_S)]));
    scene.external().crl_file = Some(revoked);
    let found = scene.only(E11);
    says(&found, Severity::Error, "it is revoked");
    assert!(
        found
            .fix
            .starts_with("sectag cert issue client tedge-agent --dir /")
            && found
                .fix
                .contains(" && sectag config set mqtt.client.auth.cert_file /"),
        "{}",
        found.fix
    );
    let clean = scene.write("clean.crl", &crl(&scene.devices, &[("0a", NOW_S)]));
    scene.external().crl_file = Some(clean);
    scene.is_clean();
    let foreign = scene.write("foreign.crl", &crl(&scene.root, &[]));
    scene.external().crl_file = Some(foreign);
    says(
        &scene.only(E11),
        Severity::Error,
        "has no list of CN=Gateway CA devices",
    );
}

#[test]
fn e14_nothing_listens_where_the_client_goes() {
    let mut scene = Scene::mutual();
    scene.client_side().port = port(8884, Source::File);
    let found = scene.only(E14);
    says(
        &found,
        Severity::Warn,
        "nothing listens on port 8884 of this machine",
    );
    assert_eq!(found.fix, "sectag config set mqtt.client.port 8883");
    scene.machine.listeners = Some(vec![Listening {
        port: 8884,
        address: None,
        is_tls: true,
    }]);
    scene.is_clean();
    scene.machine.listeners = Some(vec![Listening {
        port: 8884,
        address: None,
        is_tls: false,
    }]);
    says(
        &scene.only(E14),
        Severity::Warn,
        "the listener on port 8884 speaks plaintext",
    );
    scene.machine.listeners = None;
    scene.client_side().host = "192.0.2.99".parse().unwrap();
    scene.is_clean();
}

#[test]
fn e14_the_two_sides_must_have_one_level() {
    let mut scene = Scene::mutual();
    scene.client_side().port = port(1883, Source::File);
    says(
        &scene.one(E14),
        Severity::Warn,
        "the listener on port 1883 speaks plaintext",
    );

    let mut scene = Scene::mutual();
    scene.client_side().cert_file = None;
    scene.client_side().key_file = None;
    says(
        &scene.only(E14),
        Severity::Warn,
        "requires a client certificate, and our clients have none",
    );
    scene.client_side().ca_file = None;
    says(
        &scene.one(E14),
        Severity::Warn,
        "speaks TLS, and our clients are configured for plaintext",
    );

    let mut scene = Scene::mutual();
    scene.external().ca_path = None;
    scene.is_clean();
}

#[test]
fn e14_the_listener_is_on_another_address_of_this_machine() {
    let mut scene = Scene::mutual();
    scene.external().address = Some("192.0.2.7".parse().unwrap());
    let found = scene.only(E14);
    says(
        &found,
        Severity::Warn,
        "the listener on port 8883 is on 192.0.2.7, and our clients connect to 127.0.0.1",
    );
    assert_eq!(found.fix, "sectag config set mqtt.client.host 192.0.2.7");
    scene.client_side().host = "192.0.2.7".parse().unwrap();
    scene.is_clean();
    scene.external().address = None;
    scene.external().interface = Some("lo".to_owned());
    says(
        &scene.only(E14),
        Severity::Warn,
        "is on 127.0.0.1, and our clients connect to 192.0.2.7",
    );
    scene.client_side().host = "localhost".parse().unwrap();
    scene.is_clean();

    let mut scene = Scene::empty();
    scene.client_side().host = "192.0.2.7".parse().unwrap();
    says(
        &scene.only(E14),
        Severity::Warn,
        "the listener on port 1883 is on 127.0.0.1",
    );
    scene.machine.interfaces = None;
    scene.is_clean();
}
