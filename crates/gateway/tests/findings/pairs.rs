//! E1, E3, E7, E12, E13.

use sectag_gateway::findings::FindingId::{E1, E3, E7, E12, E13};
use sectag_gateway::findings::{Severity, for_client, half_pair};

use crate::scene::{Scene, material, says};

#[test]
fn a_new_pair_replaces_the_configured_files_and_no_others() {
    let mut scene = Scene::mutual();
    let dir = scene.path("pki");
    let mut fix = |cert: &str, key: &str| {
        scene.external().cert_file = Some(dir.join(cert));
        scene.external().key_file = Some(dir.join(key));
        let fix = scene.one(E13).fix;
        fix.split_once("    or    ")
            .unwrap()
            .1
            .replace(&dir.display().to_string(), "D")
    };
    assert_eq!(
        fix("server.crt", "server.key"),
        "sectag cert issue server --force --dir D"
    );
    assert_eq!(
        fix("gw.crt", "gw.key"),
        "sectag cert issue server --name gw --force --dir D"
    );
    assert_eq!(
        fix("server.crt", "other.key"),
        "mkdir -p D/new && sectag cert issue server --dir D/new && sectag config set mqtt.external.cert_file D/new/server.crt mqtt.external.key_file D/new/server.key"
    );
    assert_eq!(
        fix("tls.pem", "-rf x.key"),
        "sectag cert issue server --name tls --dir D && sectag config set mqtt.external.cert_file D/tls.crt mqtt.external.key_file D/tls.key"
    );
    assert_eq!(
        fix("-rf $(x).crt", "a.key"),
        "sectag cert issue server --dir D && sectag config set mqtt.external.cert_file D/server.crt mqtt.external.key_file D/server.key"
    );
}

#[test]
fn e1_half_of_the_clients_pair_names_the_other_half() {
    let mut scene = Scene::mutual();
    scene.client_side().key_file = None;
    let found = scene.only(E1);
    let cert = scene.path("client.crt");
    assert_eq!(
        found.to_string(),
        format!(
            "error: mqtt.client.auth.key_file is not set, but mqtt.client.auth.cert_file is\n\
             \x20 both are needed for a client certificate; neither for none\n\
             \x20 mqtt.client.auth.cert_file = {}\n\
             \x20 fix: sectag config set mqtt.client.auth.key_file <path>    or    sectag config unset mqtt.client.auth.cert_file",
            cert.display()
        )
    );
    let mut scene = Scene::mutual();
    scene.client_side().cert_file = None;
    says(
        &scene.only(E1),
        Severity::Error,
        "mqtt.client.auth.cert_file is not set, but mqtt.client.auth.key_file is",
    );

    scene.client_side().key_file = None;
    assert!(scene.found().iter().all(|one| one.id != E1));
}

#[test]
fn e1_half_of_the_listeners_pair_is_an_error_and_not_plaintext() {
    let mut scene = Scene::mutual();
    scene.external().key_file = None;
    says(
        &scene.one(E1),
        Severity::Error,
        "mqtt.external.key_file is not set, but mqtt.external.cert_file is",
    );
    assert!(
        scene.found()[0]
            .to_string()
            .contains("both are needed for a server certificate")
    );
    Scene::mutual().is_clean();
}

#[test]
fn e1_serves_other_pairs() {
    let path = "/x".into();
    let found = half_pair("http.cert_path", None, "http.key_path", Some(&path)).unwrap();
    says(
        &found,
        Severity::Error,
        "http.cert_path is not set, but http.key_path is",
    );
    assert_eq!(half_pair("a", None, "b", None), None);
    assert_eq!(half_pair("a", Some(&path), "b", Some(&path)), None);
}

#[test]
fn e3_a_ca_for_clients_needs_tls() {
    let mut scene = Scene::mutual();
    scene.external().cert_file = None;
    scene.external().key_file = None;
    says(
        &scene.one(E3),
        Severity::Error,
        "mqtt.external.ca_path is set, but the listener has neither",
    );
    scene.external().ca_path = None;
    assert!(scene.found().iter().all(|one| one.id != E3));
}

#[test]
fn e3_a_list_of_revocations_needs_a_ca() {
    let mut scene = Scene::mutual();
    let list = scene
        .devices
        .crl(&[], crate::scene::NOW_S, crate::scene::NOW_S + 10 * 86_400);
    let list = scene.write(
        "crl.pem",
        &sectag_pki::pem::encode("X509 CRL", &list.unwrap()),
    );
    scene.external().crl_file = Some(list);
    scene.is_clean();
    scene.external().ca_path = None;
    says(
        &scene.only(E3),
        Severity::Error,
        "mqtt.external.ca_path is not",
    );
}

#[test]
fn e7_a_client_certificate_needs_a_ca() {
    let mut scene = Scene::mutual();
    scene.client_side().ca_file = None;
    says(
        &scene.only(E7),
        Severity::Error,
        "cert_file and mqtt.client.auth.key_file are set, but no CA is",
    );
    scene.client_side().cert_file = None;
    says(
        &scene.one(E7),
        Severity::Error,
        "mqtt.client.auth.key_file is set, but no CA is",
    );
    scene.client_side().key_file = None;
    scene.client_side().server_name = Some("localhost".parse().unwrap());
    says(
        &scene.one(E7),
        Severity::Error,
        "mqtt.client.server_name is set, but no CA is",
    );
    scene.client_side().server_name = None;
    assert!(scene.found().iter().all(|one| one.id != E7));
}

#[test]
fn e12_version_1_is_refused_on_both_sides() {
    let mut scene = Scene::mutual();
    let cert = scene.write("v1.crt", &material("v1.crt"));
    let key = scene.write("v1.key", &material("v1.key"));
    let ca = scene.write("v1-ca.crt", &material("v1-ca.crt"));
    scene.client_side().cert_file = Some(cert.clone());
    scene.client_side().key_file = Some(key.clone());
    scene.external().ca_path = Some(ca.clone());
    let found = scene.only(E12);
    says(
        &found,
        Severity::Error,
        "X.509 version 1, which our clients and our broker refuse; mosquitto would admit it",
    );
    let (old, new) = (cert.display(), scene.path("v1-v3.crt"));
    let new = new.display();
    assert_eq!(
        found.fix,
        format!(
            "sectag cert reissue --client -o {new} {old} && sectag config set mqtt.client.auth.cert_file {new}"
        )
    );

    let mut scene = Scene::mutual();
    scene.external().cert_file = Some(cert);
    scene.external().key_file = Some(key);
    scene.client_side().ca_file = Some(ca);
    scene.machine.host_names = vec!["gw".to_owned()];
    let found = scene.one(E12);
    assert_eq!(found.values[0].0, "mqtt.external.cert_file");
    assert!(found.sentence.ends_with("mosquitto would serve it"));
    assert!(
        found
            .fix
            .starts_with("sectag cert reissue --server --san localhost,127.0.0.1,gw "),
        "{found}"
    );
    Scene::mutual().is_clean();
}

#[test]
fn e13_the_key_is_another_certificates() {
    let mut scene = Scene::mutual();
    let (_, other) = scene.client("other", "other");
    scene.client_side().key_file = Some(other.clone());
    says(
        &scene.only(E13),
        Severity::Error,
        "is not that of the certificate of CN=tedge-agent",
    );
    let mut scene = Scene::mutual();
    scene.external().key_file = Some(other);
    says(
        &scene.only(E13),
        Severity::Error,
        "is not that of the certificate of CN=localhost",
    );
}

#[test]
fn e13_the_leaf_is_not_first() {
    let mut scene = Scene::mutual();
    let chain = std::fs::read_to_string(scene.path("server.crt")).unwrap();
    let second = chain.rfind("-----BEGIN").unwrap();
    let turned = format!("{}{}", &chain[second..], &chain[..second]);
    let path = scene.write("turned.crt", &turned);
    scene.external().cert_file = Some(path);
    says(&scene.one(E13), Severity::Error, "is number 2 in");
}

#[test]
fn e13_an_encrypted_key_is_of_no_use_to_a_service() {
    for name in ["encrypted.key", "encrypted-sec1.key"] {
        let mut scene = Scene::mutual();
        let key = scene.write("k.key", &material(name));
        scene.client_side().key_file = Some(key);
        let found = scene.only(E13);
        says(&found, Severity::Error, "is encrypted");
        assert!(found.fix.contains("openssl pkey -in"), "{found}");
    }
}

#[test]
fn e13_files_that_are_missing_swapped_or_something_else() {
    let mut scene = Scene::mutual();
    let missing = scene.path("missing.key");
    scene.client_side().key_file = Some(missing);
    says(&scene.only(E13), Severity::Error, "does not exist");

    let directory = scene.directory("d");
    scene.client_side().key_file = Some(directory);
    says(&scene.only(E13), Severity::Error, "is a directory");

    let empty = scene.write("empty", "");
    scene.client_side().key_file = Some(empty);
    says(&scene.only(E13), Severity::Error, "holds no private key");

    let (cert, key) = (scene.path("client.crt"), scene.path("client.key"));
    scene.client_side().key_file = Some(cert);
    scene.client_side().cert_file = Some(key);
    let found = scene.found();
    assert_eq!(found.len(), 2, "{found:#?}");
    says(
        &found[0],
        Severity::Error,
        "holds a private key, and no certificate",
    );
    says(
        &found[1],
        Severity::Error,
        "holds a certificate, and no private key",
    );

    let mut scene = Scene::mutual();
    let damaged = scene.write(
        "damaged.crt",
        "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
    );
    scene.external().cert_file = Some(damaged);
    says(
        &scene.only(E13),
        Severity::Error,
        "holds no certificate: certificate 1:",
    );
}

#[test]
fn e13_a_key_that_we_cannot_use_is_mosquittos_affair_only_on_its_side() {
    let mut scene = Scene::mutual();
    let cert = scene.write("short.crt", &material("rsa-1024.crt"));
    let key = scene.write("short.key", &material("rsa-1024.key"));
    scene.client_side().cert_file = Some(cert.clone());
    scene.client_side().key_file = Some(key.clone());
    says(&scene.one(E13), Severity::Error, "RSA below 2048 bits");
    let mut scene = Scene::mutual();
    scene.external().cert_file = Some(cert);
    scene.external().key_file = Some(key);
    says(&scene.one(E13), Severity::Warn, "RSA below 2048 bits");
}

#[test]
fn the_client_sees_its_own_side_only() {
    let mut scene = Scene::mutual();
    scene.external().key_file = None;
    scene.client_side().key_file = None;
    let found = for_client(&scene.settings.client, 0, &scene.facts());
    assert_eq!(found.len(), 1, "{found:#?}");
    says(
        &found[0],
        Severity::Error,
        "mqtt.client.auth.key_file is not set",
    );
}
