//! Whatever is set: no panic, and no silent plaintext (RULE 16, acceptance 9).

use std::path::PathBuf;
use std::sync::LazyLock;

use proptest::prelude::*;
use sectag_gateway::facts::{Facts, Machine, User};
use sectag_gateway::findings::{
    Asked, Finding, Severity, find, find_asked, fixes_name_machine, for_client, for_listener,
    has_error,
};
use sectag_gateway::{External, Level, Settings, Source};

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
        let facts = Facts::gather(&settings, &SCENE.0.machine);
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

/// Names, addresses and an interface as well, which are right only in part.
fn placed() -> impl Strategy<Value = Settings> {
    let hosts = proptest::sample::select(vec!["127.0.0.1", "localhost", "192.0.2.7", "gw", "far"]);
    let addresses = proptest::sample::select(vec![
        None,
        Some("0.0.0.0"),
        Some("127.0.0.1"),
        Some("192.0.2.7"),
    ]);
    let interfaces = proptest::sample::select(vec![None, None, Some("eth0"), Some("eth9")]);
    let internal = (
        any::<bool>(),
        proptest::sample::select(vec!["127.0.0.1", "0.0.0.0"]),
    );
    let more = (hosts, addresses, interfaces, internal, 0..2_u64);
    (settings(), more).prop_map(|(mut settings, more)| {
        settings.client.host = more.0.parse().unwrap();
        if let Some(external) = &mut settings.external {
            external.address = more.1.map(|address| address.parse().unwrap());
            external.interface = more.2.map(str::to_owned);
        }
        settings.internal.enabled = more.3.0;
        settings.internal.address = more.3.1.parse().unwrap();
        settings.minimum_validity_s *= more.4 * 1000;
        settings
    })
}

/// The complete configuration, spoiled in up to three places.
fn spoiled() -> impl Strategy<Value = Settings> {
    proptest::collection::vec((placed(), 0..KEYS), 0..=3).prop_map(|changes| {
        let mut settings = SCENE.0.settings.clone();
        for (other, key) in changes {
            change(&mut settings, &other, key);
        }
        settings
    })
}

/// Takes one key from other settings, and says which.
fn change(settings: &mut Settings, other: &Settings, key: usize) -> &'static str {
    let none = External {
        port: port(1883, Source::Inferred),
        address: None,
        interface: None,
        ca_path: None,
        cert_file: None,
        key_file: None,
        crl_file: None,
    };
    let external = settings.external.get_or_insert(none);
    let Some(others) = &other.external else {
        // Its last key goes.
        settings.external = None;
        return "mqtt.external.bind.port";
    };
    let (client, theirs) = (&mut settings.client, &other.client);
    macro_rules! take {
        ($($number:literal $key:literal $one:expr => $two:expr;)*) => {
            match key {
                $($number => { $two = $one.clone(); $key })*
                _ => unreachable!("there are {KEYS} keys"),
            }
        };
    }
    take! {
        0 "mqtt.external.bind.port" others.port => external.port;
        1 "mqtt.external.bind.address" others.address => external.address;
        2 "mqtt.external.bind.interface" others.interface => external.interface;
        3 "mqtt.external.ca_path" others.ca_path => external.ca_path;
        4 "mqtt.external.cert_file" others.cert_file => external.cert_file;
        5 "mqtt.external.key_file" others.key_file => external.key_file;
        6 "mqtt.external.crl_file" others.crl_file => external.crl_file;
        7 "mqtt.client.host" theirs.host => client.host;
        8 "mqtt.client.port" theirs.port => client.port;
        9 "mqtt.client.server_name" theirs.server_name => client.server_name;
        10 "mqtt.client.auth.ca_file" theirs.ca_file => client.ca_file;
        11 "mqtt.client.auth.ca_dir" theirs.ca_dir => client.ca_dir;
        12 "mqtt.client.auth.cert_file" theirs.cert_file => client.cert_file;
        13 "mqtt.client.auth.key_file" theirs.key_file => client.key_file;
        14 "mqtt.client.auth.username" theirs.username => client.username;
        15 "mqtt.client.auth.password_file" theirs.password_file => client.password_file;
        16 "mqtt.bind.enabled" other.internal.enabled => settings.internal.enabled;
        17 "mqtt.bind.address" other.internal.address => settings.internal.address;
        18 "certificate.validity.minimum_duration" other.minimum_validity_s => settings.minimum_validity_s;
    }
}

const KEYS: usize = 19;

/// What it says beside the fix, which may name other keys, and beside where a value came from: who writes down what was
/// inferred makes nothing new.
fn said(finding: &Finding) -> (String, Severity, &str, Vec<(&str, &str)>) {
    let Finding {
        id,
        severity,
        sentence,
        values,
        ..
    } = finding;
    let without_source = |text| match str::rsplit_once(text, " (") {
        Some((value, _)) => value,
        None => text,
    };
    let values = values
        .iter()
        .map(|(key, value)| (key.as_str(), without_source(value.as_str())));
    (id.to_string(), *severity, sentence, values.collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_changes_a_key_is_told_everything_that_it_makes(
        before in spoiled(),
        other in placed(),
        key in 0..KEYS,
        user in any::<bool>(),
    ) {
        let mut after = before.clone();
        let typed = change(&mut after, &other, key);
        let machine = Machine {
            host_names: vec!["gw".to_owned()],
            service_user: user.then(|| User { name: "tedge".to_owned(), uid: 7, gid: 7, groups: Vec::new() }),
            ..SCENE.0.machine.clone()
        };
        let all = find(&after, &Facts::gather(&after, &machine));
        let all_before = find(&before, &Facts::gather(&before, &machine));

        let asked = Asked::after(&before, &after, &[typed]);
        let mut known = machine.clone();
        if !asked.addresses(&after) {
            (known.interfaces, known.host_names) = (None, Vec::new());
        }
        if !asked.users() {
            known.service_user = None;
        }
        let mut facts = Facts::gather_asked(&after, &known, &asked);
        let mut told = find_asked(&after, &facts, &asked);
        if fixes_name_machine(&told) {
            facts.machine = machine;
            told = find_asked(&after, &facts, &asked);
        }

        for one in &told {
            prop_assert!(all.contains(one), "{typed}: not so: {one}\n{all:#?}");
        }
        for one in &all {
            let is_new = !all_before.iter().any(|old| said(old) == said(one));
            let is_about_it = one.values.first().is_some_and(|(key, _)| key == typed);
            prop_assert!(!is_new && !is_about_it || told.contains(one), "{typed}: not told: {one}\n{told:#?}");
        }
    }
}

#[test]
fn a_port_asks_for_no_file_and_a_certificate_for_its_own() {
    let (scene, _) = &*SCENE;
    let mut moved = scene.settings.clone();
    moved.external.as_mut().unwrap().port = port(8884, Source::File);
    moved.client.port = port(8884, Source::Inferred);
    let files = |after: &Settings, typed: &str| {
        let asked = Asked::after(&scene.settings, after, &[typed]);
        let facts = Facts::gather_asked(after, &scene.machine, &asked);
        facts.files.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(
        files(&moved, "mqtt.external.bind.port"),
        Vec::<PathBuf>::new()
    );
    assert_eq!(
        files(&scene.settings, "mqtt.topic_root"),
        Vec::<PathBuf>::new()
    );
    assert_eq!(
        files(&scene.settings, "mqtt.external.cert_file"),
        ["ca.crt", "server.crt", "server.key"].map(|name| scene.path(name))
    );
    // Our clients go to the listener from here on, or go elsewhere.
    moved.client.port = port(8883, Source::File);
    assert!(files(&moved, "mqtt.client.port").contains(&scene.path("server.crt")));
}

#[test]
fn the_complete_configuration_is_among_the_random_ones_and_passes() {
    let (scene, _) = &*SCENE;
    let facts = Facts::gather(&scene.settings, &scene.machine);
    assert_eq!(find(&scene.settings, &facts), []);
}
