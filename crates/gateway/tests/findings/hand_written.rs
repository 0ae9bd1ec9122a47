//! A hand-written file: the parser's judgements and the findings about what it names are one report.

use std::collections::BTreeMap;
use std::path::Path;

use sectag_gateway::check::{Report, check};
use sectag_gateway::findings::FindingId::{E8, E13, E18, E20};
use sectag_gateway::findings::Severity;
use sectag_gateway::mosquitto::BrokerVersion;

use crate::scene::{DAY_S, Scene, says};

fn report(scene: &Scene, text: &str) -> Report {
    let none = BTreeMap::new();
    let path = Path::new("/etc/mosquitto/conf.d/tls.conf");
    check(
        path,
        text.as_bytes(),
        &none,
        BrokerVersion::V2_0_11,
        &scene.machine,
    )
}

fn mutual(scene: &Scene) -> String {
    let path = |name: &str| scene.path(name).display().to_string();
    format!(
        "per_listener_settings true\nlistener 8883\nallow_anonymous false\ncertfile {}\nkeyfile {}\ncafile {}\nrequire_certificate true\nuse_identity_as_username true\ntls_version tlsv1.2\n",
        path("server.crt"),
        path("server.key"),
        path("clients-ca.crt"),
    )
}

#[test]
fn a_file_that_works_is_fine() {
    let scene = Scene::mutual();
    let report = report(&scene, &mutual(&scene));
    assert!(report.is_fine(), "{}", report.text());
    assert_eq!(
        report.text(),
        "listener 8883: level mutual\nnothing is wrong for mosquitto 2.0.11\n"
    );
    assert_eq!(report.json()["fine"], true);
    assert_eq!(report.json()["listeners"][0]["level"], "mutual");
}

#[test]
fn what_its_lines_name_is_looked_at_in_its_own_words() {
    let mut scene = Scene::mutual();
    let text = mutual(&scene).replace("server.key", "client.key");
    let found = report(&scene, &text);
    assert!(!found.is_fine());
    assert_eq!(found.findings.len(), 1, "{}", found.text());
    says(
        &found.findings[0],
        Severity::Error,
        "is not that of the certificate of CN=localhost",
    );
    assert_eq!(found.findings[0].id, E13);
    assert_eq!(found.findings[0].values[1].0, "keyfile");
    assert!(
        found.findings[0]
            .fix
            .starts_with("write `keyfile <path>` below the line /etc/mosquitto/conf.d/tls.conf:2"),
        "{}",
        found.text()
    );
    assert!(!found.text().contains("mqtt.external"), "{}", found.text());

    scene.machine.now_s += 400 * DAY_S;
    let found = report(&scene, &mutual(&scene));
    assert_eq!(found.findings[0].id, E20, "{}", found.text());
    assert_eq!(found.json()["findings"][0]["id"], "E20");
}

#[test]
fn a_directory_of_cas_is_looked_at_too() {
    let scene = Scene::mutual();
    scene.directory("cas");
    scene.write("cas/root.pem", &scene.root.certificate_pem());
    let text = mutual(&scene)
        .replace("cafile ", "capath ")
        .replace("clients-ca.crt", "cas");
    let found = report(&scene, &text);
    assert_eq!(found.findings[0].id, E18, "{}", found.text());
    says(
        &found.findings[0],
        Severity::Error,
        "(capath) has 1 certificate file and no hash links",
    );
    let text = text.replace("/cas\n", "/nowhere\n");
    let found = report(&scene, &text);
    assert_eq!(found.findings[0].id, E8, "{}", found.text());
    assert!(
        found.findings[0]
            .fix
            .contains("remove `capath` below the line"),
        "{}",
        found.text()
    );
}

#[test]
fn the_rotated_block_of_the_source_page_is_explained_and_corrected() {
    let scene = Scene::mutual();
    let path = |name: &str| scene.path(name).display().to_string();
    let text = format!(
        "listener 8883\nallow_anonymous false\nrequire_certificate true\ncafile {}\ncertfile {}\nkeyfile {}\n",
        path("server.crt"),
        path("server.key"),
        path("clients-ca.crt"),
    );
    let found = report(&scene, &text);
    assert!(!found.is_fine());
    assert_eq!(found.findings, [], "the files themselves are good");
    let said = found.text();
    assert!(
        said.contains("the three file names are rotated by one"),
        "{said}"
    );
    assert!(
        said.contains(&format!("    certfile {}\n", path("server.crt"))),
        "{said}"
    );
    assert!(
        said.contains("    use_identity_as_username true\n"),
        "{said}"
    );
}

#[test]
fn placeholders_and_the_file_of_the_distribution_are_not_looked_for() {
    let scene = Scene::mutual();
    let found = report(
        &scene,
        "listener 8883\ncertfile PATH_TO_CERTIFICATE\nkeyfile PATH_TO_KEY\n",
    );
    assert!(!found.is_fine());
    assert_eq!(found.findings, []);
    let found = report(
        &scene,
        "persistence true\ninclude_dir /nonexistent/conf.d\n",
    );
    let said = found.text();
    assert!(
        !said.contains("the file as it works") || said.contains("error"),
        "{said}"
    );
    let found = report(&scene, "persistence true\n");
    assert!(found.is_fine(), "{}", found.text());
    assert!(
        found.text().contains("note: there is no `listener`"),
        "{}",
        found.text()
    );
    assert!(
        !found.text().contains("the file as it works"),
        "{}",
        found.text()
    );
}
