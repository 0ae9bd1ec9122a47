//! Files for mosquitto that people wrote: the two blocks of the source page, and other ways to go wrong.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sectag_gateway::Level;
use sectag_gateway::mosquitto::{BrokerVersion, Judged, Role, judge, parse};
use sectag_pki::{Authority, PrivateKey, Purpose, ServerName};

const NOW_S: u64 = 1_800_000_000;
const VERSIONS: [BrokerVersion; 2] = [BrokerVersion::V2_0_11, BrokerVersion::V2_1_2];

/// The block for server authentication, as the source page prints it.
const SERVER_BLOCK: &str = "\
listener 8883
certfile PATH_TO_SERVER_CERTIFICATE
keyfile  PATH_TO_SERVER_PRIVATE_KEY
";

/// The block for both sides, as the source page prints it.
const MUTUAL_BLOCK: &str = "\
listener 8883
allow_anonymous false
require_certificate true
cafile   PATH_TO_SERVER_CERTIFICATE
certfile PATH_TO_SERVER_PRIVATE_KEY
keyfile  PATH_TO_CLIENT_CA_CERTIFICATE
";

fn judged(text: &str, files: &BTreeMap<PathBuf, String>, version: BrokerVersion) -> Judged {
    let path = Path::new("/etc/mosquitto/conf.d/tls.conf");
    judge(path, text.as_bytes(), files, version)
}

fn all(judged: &Judged) -> String {
    let lines: Vec<String> = judged.judgements.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// The corrected file must have nothing wrong, and this level.
fn corrected(judged: &Judged, files: &BTreeMap<PathBuf, String>, level: Level) -> String {
    let text = judged.corrected.clone().unwrap();
    let version = judged.effective.version;
    let again = judge(Path::new("/c.conf"), text.as_bytes(), files, version);
    assert_eq!(all(&again), "", "{text}");
    let effective = parse(Path::new("/c.conf"), text.as_bytes(), files, version);
    assert_eq!(effective.level(&effective.listeners[0]), level, "{text}");
    text
}

#[test]
fn the_server_block_lacks_the_anonymous_switch() {
    let none = BTreeMap::new();
    for version in VERSIONS {
        let judged = judged(SERVER_BLOCK, &none, version);
        assert_eq!(judged.judgements.len(), 1, "{}", all(&judged));
        assert!(all(&judged).contains("tls.conf:1: "), "{}", all(&judged));
        assert!(
            all(&judged).contains("every client is refused, code 5"),
            "{}",
            all(&judged)
        );
        let text = corrected(&judged, &none, Level::Server);
        let expected = if version.is_2_1() {
            "listener 8883\nlistener_allow_anonymous true\n"
        } else {
            "per_listener_settings true\nlistener 8883\nallow_anonymous true\n"
        };
        assert_eq!(
            text,
            format!(
                "{expected}certfile PATH_TO_SERVER_CERTIFICATE\nkeyfile PATH_TO_SERVER_PRIVATE_KEY\ntls_version tlsv1.2\n"
            )
        );
    }
}

#[test]
fn the_mutual_block_is_rotated_and_maps_no_user() {
    let none = BTreeMap::new();
    for version in VERSIONS {
        let judged = judged(MUTUAL_BLOCK, &none, version);
        let said = all(&judged);
        assert!(
            said.contains("the three file names are rotated by one"),
            "{said}"
        );
        assert!(
            said.contains("tls.conf:4: `cafile` names the certificate of a server"),
            "{said}"
        );
        assert!(
            said.contains("tls.conf:5: `certfile` names a private key"),
            "{said}"
        );
        assert!(said.contains("tls.conf:6: `keyfile` names a CA"), "{said}");
        assert!(said.contains("use_identity_as_username"), "{said}");
        let text = corrected(&judged, &none, Level::Mutual);
        for line in [
            "certfile PATH_TO_SERVER_CERTIFICATE",
            "keyfile PATH_TO_SERVER_PRIVATE_KEY",
            "cafile PATH_TO_CLIENT_CA_CERTIFICATE",
            "require_certificate true",
            "use_identity_as_username true",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }
}

/// What is in the files counts more than what they are called.
#[test]
fn rotated_files_are_recognised_by_what_is_in_them() {
    let root = Authority::root("Servers", NOW_S).unwrap();
    let servers = root.issuing(Purpose::Servers, NOW_S).unwrap();
    let key = PrivateKey::generate().unwrap();
    let names = [ServerName::Dns("localhost".to_owned())];
    let server = servers
        .issue_server(&key.spki_der(), &names, NOW_S)
        .unwrap();
    let files = BTreeMap::from([
        (PathBuf::from("/m/one.pem"), server.pem()),
        (PathBuf::from("/m/two.pem"), key.to_pem().to_string()),
        (PathBuf::from("/m/three.pem"), root.certificate_pem()),
    ]);
    let text = "listener 8883\nrequire_certificate true\ncafile /m/one.pem\ncertfile /m/two.pem\nkeyfile /m/three.pem\n";
    let judged = judged(text, &files, BrokerVersion::V2_0_11);
    assert!(
        all(&judged).contains("by what is in the file"),
        "{}",
        all(&judged)
    );
    let text = corrected(&judged, &files, Level::Mutual);
    for line in [
        "certfile /m/one.pem",
        "keyfile /m/two.pem",
        "cafile /m/three.pem",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn the_working_recipe_is_left_alone() {
    let none = BTreeMap::new();
    let recipe = "\
per_listener_settings true
listener 8883
allow_anonymous false
certfile /s/server.crt
keyfile /s/server.key
cafile /s/clients-ca.crt
require_certificate true
use_identity_as_username true
tls_version tlsv1.2
";
    let judged = judged(recipe, &none, BrokerVersion::V2_0_11);
    assert_eq!(all(&judged), "");
    assert_eq!(judged.corrected, None);
}

#[test]
fn other_mistakes_are_named_with_their_line_and_corrected() {
    let none = BTreeMap::new();
    let tls = "certfile /s/server.crt\nkeyfile /s/server.key\n";
    let cases = [
        (
            "listener 8883\ncertfile /s/server.crt\nallow_anonymous true\n".to_owned(),
            "tls.conf:2: `certfile` without `keyfile`",
        ),
        (
            "listener 8883\nrequire_certificate true\nallow_anonymous true\n".to_owned(),
            "tls.conf:2: `require_certificate true` is ignored",
        ),
        (
            format!("listener 8883\n{tls}use_identity_as_username true\nallow_anonymous true\n"),
            "tls.conf:4: an identity as user name without",
        ),
        (
            format!("listener 8883\n{tls}require_certificate true\n"),
            "tls.conf:4: `require_certificate true` without `cafile`",
        ),
        (
            format!("require_certificate true\nlistener 8883\n{tls}"),
            "tls.conf:1: `require_certificate` before any `listener`",
        ),
        (
            format!("listener 8883 0.0.0.0\nbind_interface eth0\nallow_anonymous true\n{tls}"),
            "tls.conf:2: `bind_interface` with a wildcard address",
        ),
        (
            format!("listener 8883\n{tls}allow_anonymous true\n"),
            "tls.conf:4: `allow_anonymous` applies to every listener",
        ),
        (
            format!("listener 8883\nalow_anonymous true\n{tls}"),
            "tls.conf:2: mosquitto 2.0.11 does not know `alow_anonymous`",
        ),
    ];
    for (text, expected) in cases {
        let judged = judged(&text, &none, BrokerVersion::V2_0_11);
        assert!(all(&judged).contains(expected), "{text}{}", all(&judged));
        let again = judged.corrected.unwrap();
        let effective = parse(
            Path::new("/c"),
            again.as_bytes(),
            &none,
            BrokerVersion::V2_0_11,
        );
        assert!(
            effective.problems.is_empty(),
            "{text}\n{again}\n{:?}",
            effective.problems
        );
    }
}

#[test]
fn a_file_as_capath_and_a_directory_as_cafile_change_their_word() {
    let root = Authority::root("Clients", NOW_S).unwrap();
    let files = BTreeMap::from([
        (PathBuf::from("/m/ca.crt"), root.certificate_pem()),
        (PathBuf::from("/m/cas/0123abcd.0"), root.certificate_pem()),
    ]);
    let text = |ca: &str| {
        format!(
            "per_listener_settings true\nlistener 8883\nallow_anonymous false\ncertfile /s/server.crt\nkeyfile /s/server.key\n{ca}\nrequire_certificate true\nuse_identity_as_username true\n"
        )
    };
    for (wrong, right) in [
        ("capath /m/ca.crt", "cafile /m/ca.crt"),
        ("cafile /m/cas", "capath /m/cas"),
    ] {
        let judged = judged(&text(wrong), &files, BrokerVersion::V2_0_11);
        assert!(all(&judged).contains("tls.conf:6: "), "{}", all(&judged));
        let text = corrected(&judged, &files, Level::Mutual);
        assert!(text.contains(right), "{text}");
    }
}

/// What may be meant is not called wrong.
#[test]
fn unusual_and_right_names_are_left_alone() {
    let root = Authority::root("Own", NOW_S).unwrap();
    let key = PrivateKey::generate().unwrap();
    let servers = root.issuing(Purpose::Servers, NOW_S).unwrap();
    let names = [ServerName::Dns("localhost".to_owned())];
    let server = servers
        .issue_server(&key.spki_der(), &names, NOW_S)
        .unwrap();
    let combined = format!("{}{}", server.pem(), key.to_pem().as_str());
    let files = BTreeMap::from([
        (PathBuf::from("/m/both.pem"), combined),
        (PathBuf::from("/m/self.pem"), root.certificate_pem()),
        (
            PathBuf::from("/m/self.key"),
            root.key().to_pem().to_string(),
        ),
    ]);
    let block = |certificate: &str, key: &str, ca: &str| {
        format!(
            "per_listener_settings true\nlistener 8883\nallow_anonymous false\ncertfile {certificate}\nkeyfile {key}\ncafile {ca}\nrequire_certificate true\nuse_identity_as_username true\n"
        )
    };
    for text in [
        block("/m/both.pem", "/m/both.pem", "/m/self.pem"),
        block("/m/self.pem", "/m/self.key", "/m/self.pem"),
        block("/n/server.crt", "/n/server.key", "/n/client-cert.pem"),
        block("/n/ca.crt", "/n/thing", "/n/ca.crt"),
    ] {
        let judged = judged(&text, &files, BrokerVersion::V2_0_11);
        assert_eq!(all(&judged), "", "{text}");
    }
}

#[test]
fn names_say_what_a_file_is_for() {
    for (name, role) in [
        ("PATH_TO_SERVER_CERTIFICATE", Some(Role::Certificate)),
        ("PATH_TO_SERVER_PRIVATE_KEY", Some(Role::PrivateKey)),
        ("PATH_TO_CLIENT_CA_CERTIFICATE", Some(Role::Authority)),
        ("/etc/mosquitto/certs/server.crt", Some(Role::Certificate)),
        ("/etc/mosquitto/certs/server.key", Some(Role::PrivateKey)),
        (
            "/etc/mosquitto/ca_certificates/ca.crt",
            Some(Role::Authority),
        ),
        (
            "/etc/letsencrypt/live/x/fullchain.pem",
            Some(Role::Certificate),
        ),
        ("/a/privkey.pem", Some(Role::PrivateKey)),
        ("/a/thing", None),
    ] {
        assert_eq!(Role::of_name(Path::new(name)), role, "{name}");
    }
}
