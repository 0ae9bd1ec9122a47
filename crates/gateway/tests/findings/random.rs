//! Whatever is set: no panic, and no silent plaintext (RULE 16, acceptance 9).

use std::path::PathBuf;
use std::sync::LazyLock;

use proptest::prelude::*;
use sectag_gateway::findings::{Severity, find, for_client, for_listener, has_error};
use sectag_gateway::{Level, Settings, Source};

use crate::scene::{Scene, port};

/// Files of all kinds, made once.
static SCENE: LazyLock<(Scene, Vec<PathBuf>)> = LazyLock::new(|| {
    let scene = Scene::mutual();
    let mut paths: Vec<PathBuf> = [
        "ca.crt",
        "clients-ca.crt",
        "server.crt",
        "server.key",
        "client.crt",
        "client.key",
    ]
    .iter()
    .map(|name| scene.path(name))
    .collect();
    paths.push(scene.write("empty", ""));
    paths.push(scene.write("password", "secret\n"));
    paths.push(scene.write("encrypted.key", &crate::scene::material("encrypted.key")));
    paths.push(scene.directory("empty-dir"));
    paths.push(scene.directory("cas"));
    scene.write("cas/ca.pem", &scene.root.certificate_pem());
    paths.push(scene.path("missing"));
    (scene, paths)
});

fn path() -> impl Strategy<Value = Option<PathBuf>> {
    prop_oneof![
        1 => Just(None),
        2 => (0..SCENE.1.len()).prop_map(|at| Some(SCENE.1[at].clone())),
    ]
}

/// The right file, another one, or none: so that complete configurations are among them.
fn mostly(right: Option<PathBuf>) -> impl Strategy<Value = Option<PathBuf>> {
    prop_oneof![2 => Just(right), 1 => path(), 1 => Just(None)]
}

fn settings() -> impl Strategy<Value = Settings> {
    let good = SCENE.0.settings.clone();
    let external = good.external.clone().unwrap();
    let client = good.client.clone();
    let ports = proptest::sample::select(vec![1883_u16, 8883, 8884]);
    let names = proptest::sample::select(vec![
        None,
        Some("localhost"),
        Some("gateway.example"),
        Some("other"),
    ]);
    let listener = (
        mostly(external.cert_file),
        mostly(external.key_file),
        mostly(external.ca_path),
        prop_oneof![3 => Just(None), 1 => path()],
        any::<bool>(),
        ports.clone(),
    );
    let ours = (
        mostly(client.ca_file),
        prop_oneof![2 => Just(None), 1 => path()],
        mostly(client.cert_file),
        mostly(client.key_file),
        prop_oneof![2 => Just(None), 1 => path()],
        names,
        ports,
    );
    (listener, ours, any::<bool>()).prop_map(move |(listener, ours, named)| {
        let mut settings = good.clone();
        let external = settings.external.as_mut().unwrap();
        external.cert_file = listener.0;
        external.key_file = listener.1;
        external.ca_path = listener.2;
        external.crl_file = listener.3;
        external.port = port(listener.5, Source::File);
        if listener.4 {
            settings.external = None;
        }
        let client = &mut settings.client;
        client.ca_file = ours.0;
        client.ca_dir = ours.1;
        client.cert_file = ours.2;
        client.key_file = ours.3;
        client.password_file = ours.4;
        client.server_name = ours.5.map(|name| name.parse().unwrap());
        client.port = port(ours.6, Source::File);
        client.username = named.then(|| "tedge".to_owned());
        settings
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn without_an_error_every_tls_key_means_tls(settings in settings()) {
        let facts = sectag_gateway::facts::Facts::gather(&settings, &SCENE.0.machine);
        let found = find(&settings, &facts);
        for one in &found {
            prop_assert!(!one.fix.is_empty() && !one.sentence.is_empty(), "{one}");
            prop_assert!(!one.to_string().contains("secret"), "{one}");
        }
        if let Some(external) = &settings.external {
            let listener = for_listener(&settings, &facts);
            prop_assert!(listener.iter().all(|one| found.contains(one)));
            let tls = [&external.cert_file, &external.key_file, &external.ca_path, &external.crl_file];
            if tls.iter().any(|path| path.is_some()) && !has_error(&listener) {
                prop_assert!(external.level() != Level::None);
                prop_assert!(external.cert_file.is_some() && external.key_file.is_some());
                prop_assert!(facts.key(external.key_file.as_ref()).is_some_and(|key| !key.is_encrypted));
                if external.ca_path.is_some() || external.crl_file.is_some() {
                    prop_assert!(!facts.trusted_by_broker(external).is_empty(), "nobody could come in");
                }
            }
        }
        let client = &settings.client;
        let ours = for_client(client, settings.minimum_validity_s, &facts);
        prop_assert!(ours.iter().all(|one| one.severity != Severity::Error || found.contains(one)));
        let tls = [&client.ca_file, &client.ca_dir, &client.cert_file, &client.key_file];
        if (tls.iter().any(|path| path.is_some()) || client.server_name.is_some()) && !has_error(&ours) {
            prop_assert!(client.level() != Level::None);
            prop_assert!(!facts.trusted_by_client(client).is_empty(), "the store would be empty: plaintext");
            prop_assert_eq!(client.cert_file.is_some(), client.key_file.is_some());
            prop_assert_eq!(client.level() == Level::Mutual, client.cert_file.is_some());
        }
    }
}

#[test]
fn the_complete_configuration_is_among_the_random_ones_and_passes() {
    let (scene, _) = &*SCENE;
    let facts = sectag_gateway::facts::Facts::gather(&scene.settings, &scene.machine);
    assert_eq!(find(&scene.settings, &facts), []);
}
