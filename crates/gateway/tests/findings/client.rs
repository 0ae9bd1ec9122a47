//! E15, E17.

use sectag_gateway::Source;
use sectag_gateway::facts::{Facts, User};
use sectag_gateway::findings::FindingId::{E15, E17};
use sectag_gateway::findings::{Severity, find, for_client};

use crate::scene::{Scene, port, says};

#[test]
fn e15_ports_have_customs() {
    let mut scene = Scene::mutual();
    scene.client_side().port = port(1883, Source::File);
    scene.external().port = port(1883, Source::File);
    scene.settings.internal.enabled = false;
    says(
        &scene.only(E15),
        Severity::Warn,
        "mqtt.client.port is 1883, by custom a plaintext port",
    );
    let mut scene = Scene::plain(8883);
    scene.client_side().port = port(8883, Source::File);
    says(
        &scene.only(E15),
        Severity::Warn,
        "mqtt.client.port is 8883, by custom a TLS port",
    );
    scene.client_side().port = port(8884, Source::File);
    scene.external().port = port(8884, Source::File);
    scene.is_clean();
}

#[test]
fn the_command_against_tls_names_every_key_that_asks_for_it() {
    let mut scene = Scene::mutual();
    scene.client_side().port = port(1883, Source::File);
    scene.client_side().server_name = Some("gw".parse().unwrap());
    let keys = "mqtt.client.auth.ca_file mqtt.client.auth.cert_file mqtt.client.auth.key_file mqtt.client.server_name";
    let fix = scene.one(E15).fix;
    assert!(
        fix.ends_with(&format!("sectag config unset {keys}")),
        "{fix}"
    );
}

#[test]
fn e17_a_password_needs_a_user_and_a_file_with_a_first_line() {
    let mut scene = Scene::mutual();
    let file = scene.write("password", "secret\n");
    scene.client_side().username = Some("tedge".to_owned());
    scene.is_clean();
    scene.client_side().password_file = Some(file);
    scene.is_clean();
    scene.client_side().username = None;
    says(
        &scene.only(E17),
        Severity::Error,
        "mqtt.client.auth.username is not",
    );

    scene.client_side().username = Some("tedge".to_owned());
    for (content, words) in [("", "empty first line"), ("\nx", "empty first line")] {
        scene.write("password", content);
        says(&scene.only(E17), Severity::Error, words);
    }
    std::fs::write(scene.path("password"), [0xff, b'\n']).unwrap();
    says(&scene.only(E17), Severity::Error, "not text in UTF-8");
    let missing = scene.path("missing");
    scene.client_side().password_file = Some(missing);
    says(&scene.only(E17), Severity::Error, "does not exist");
    let directory = scene.directory("d");
    scene.client_side().password_file = Some(directory);
    says(&scene.only(E17), Severity::Error, "is a directory");
}

#[test]
fn e17_a_file_that_only_the_service_reads_is_its_affair() {
    let mut scene = Scene::mutual();
    scene.open_the_way();
    let file = scene.write("password", "secret\n");
    scene.client_side().username = Some("tedge".to_owned());
    scene.client_side().password_file = Some(file.clone());
    let mut facts = scene.facts();
    closed(&mut facts, &file);
    let found = find(&scene.settings, &facts);
    says(
        &found[0],
        Severity::Error,
        "cannot be read: Permission denied",
    );

    let uid = facts.files[&file].node().unwrap().uid;
    facts.machine.service_user = Some(User {
        name: "tedge".to_owned(),
        uid,
        gid: 9999,
        groups: vec![],
    });
    assert_eq!(find(&scene.settings, &facts), []);
    let found = for_client(&scene.settings.client, 0, &facts);
    says(&found[0], Severity::Error, "cannot be read");
}

fn closed(facts: &mut Facts, file: &std::path::Path) {
    let at = facts.files.get_mut(file).unwrap();
    at.what = sectag_gateway::facts::What::Unreadable("Permission denied".to_owned());
}
