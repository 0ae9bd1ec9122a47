//! E21.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sectag_gateway::facts::User;
use sectag_gateway::findings::FindingId::E21;
use sectag_gateway::findings::{Finding, Severity};

use crate::scene::{Scene, mode, says};

/// Nobody who owns anything here.
fn stranger(name: &str) -> User {
    User {
        name: name.to_owned(),
        uid: 64_123,
        gid: 64_123,
        groups: vec![],
    }
}

fn owner(path: &Path) -> User {
    let found = std::fs::metadata(path).unwrap();
    User {
        name: "owner".to_owned(),
        uid: found.uid(),
        gid: found.gid(),
        groups: vec![],
    }
}

fn about<'a>(found: &'a [Finding], key: &str) -> Vec<&'a Finding> {
    found.iter().filter(|one| one.values[0].0 == key).collect()
}

#[test]
fn e21_the_brokers_user_must_read_its_key() {
    let mut scene = Scene::mutual();
    scene.open_the_way();
    for name in ["server.crt", "clients-ca.crt"] {
        mode(&scene.path(name), 0o644);
    }
    scene.machine.broker_user = Some(owner(&scene.path("server.key")));
    scene.is_clean();
    scene.machine.broker_user = Some(stranger("mosquitto"));
    let found = scene.only(E21);
    says(
        &found,
        Severity::Error,
        "cannot be read by mosquitto, the broker's user",
    );
    let key = scene.path("server.key").canonicalize().unwrap();
    assert_eq!(
        found.fix,
        format!("chown mosquitto {0} && chmod 400 {0}", key.display())
    );
    mode(&key, 0o640);
    let gid = std::fs::metadata(&key).unwrap().gid();
    scene.machine.broker_user = Some(User {
        groups: vec![gid],
        ..stranger("mosquitto")
    });
    scene.is_clean();
}

#[test]
fn e21_a_closed_directory_on_the_way() {
    let mut scene = Scene::mutual();
    scene.machine.broker_user = Some(stranger("mosquitto"));
    let found = scene.found();
    assert_eq!(found.len(), 3, "key, certificate, CA: {found:#?}");
    for one in &found {
        says(one, Severity::Error, "cannot be reached by mosquitto");
        assert!(one.fix.starts_with("chmod o+x /"), "{one}");
    }
    let missing = scene.path("missing");
    scene.external().key_file = Some(missing);
    assert!(
        about(&scene.found(), "mqtt.external.key_file")
            .iter()
            .all(|one| one.id != E21)
    );
}

#[test]
fn e21_a_ca_directory_must_be_open_to_the_broker() {
    let mut scene = Scene::mutual();
    scene.open_the_way();
    let directory = scene.directory("clients");
    scene.write("clients/1f2e3d4c.0", &scene.root.certificate_pem());
    scene.external().ca_path = Some(directory.clone());
    for name in ["server.crt", "server.key", "clients/1f2e3d4c.0"] {
        mode(&scene.path(name), 0o640);
    }
    let gid = std::fs::metadata(scene.path("server.key")).unwrap().gid();
    scene.machine.broker_user = Some(User {
        groups: vec![gid],
        ..stranger("mosquitto")
    });
    mode(&directory, 0o711);
    scene.is_clean();
    mode(&directory, 0o700);
    says(
        &scene.only(E21),
        Severity::Error,
        "(mqtt.external.ca_path) cannot be read by mosquitto",
    );
    mode(&directory, 0o755);
    scene.is_clean();
}

#[test]
fn e21_a_key_that_everyone_reads() {
    let mut scene = Scene::mutual();
    for name in ["server.key", "client.key"] {
        mode(&scene.path(name), 0o644);
    }
    // Nobody gets through the private directory.
    scene.is_clean();
    scene.open_the_way();
    let found = scene.found();
    assert_eq!(found.len(), 2, "{found:#?}");
    let key = about(&found, "mqtt.client.auth.key_file")[0];
    says(
        key,
        Severity::Warn,
        "can be read by everyone on this machine",
    );
    assert_eq!(
        key.fix,
        format!("chmod o= {}", scene.path("client.key").display())
    );
    for name in ["server.key", "client.key"] {
        mode(&scene.path(name), 0o640);
    }
    scene.is_clean();
    let password = scene.write("password", "x\n");
    mode(&password, 0o604);
    scene.client_side().username = Some("u".to_owned());
    scene.client_side().password_file = Some(password);
    says(
        &scene.only(E21),
        Severity::Warn,
        "(mqtt.client.auth.password_file)",
    );
}

#[test]
fn e21_our_services_read_their_own_files() {
    let mut scene = Scene::mutual();
    scene.open_the_way();
    scene.machine.service_user = Some(owner(&scene.path("client.key")));
    scene.is_clean();
    scene.machine.service_user = Some(stranger("tedge"));
    let found = scene.found();
    assert_eq!(found.len(), 3, "{found:#?}");
    says(
        about(&found, "mqtt.client.auth.key_file")[0],
        Severity::Error,
        "by tedge, the services' user",
    );
    assert!(
        about(&found, "mqtt.client.auth.cert_file")[0]
            .fix
            .starts_with("chmod o+r ")
    );
    scene.machine.service_user = Some(User {
        uid: 0,
        ..stranger("root")
    });
    scene.is_clean();
}
