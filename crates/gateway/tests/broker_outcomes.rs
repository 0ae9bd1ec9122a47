//! What each version makes of a listener, as it was observed (spec/gateway-config, Annex B, "Broker outcomes").
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sectag_gateway::Level;
use sectag_gateway::mosquitto::{BrokerVersion, Effective, ProblemKind, parse};

const PAIR: &str = "certfile /s/server.crt\nkeyfile /s/server.key\n";

fn both(text: &str) -> [Effective; 2] {
    let none: BTreeMap<PathBuf, String> = BTreeMap::new();
    [BrokerVersion::V2_0_11, BrokerVersion::V2_1_2]
        .map(|version| parse(Path::new("/m.conf"), text.as_bytes(), &none, version))
}

fn starts(text: &str) -> [bool; 2] {
    both(text).map(|effective| effective.starts())
}

fn has(text: &str, kind: ProblemKind) -> [bool; 2] {
    both(text).map(|effective| {
        effective
            .problems
            .iter()
            .any(|problem| problem.kind == kind)
    })
}

#[test]
fn half_of_a_listener_is_plaintext_in_2_0_and_refused_since() {
    for half in [
        "certfile /s/server.crt\n",
        "keyfile /s/server.key\n",
        "cafile /s/ca.crt\n",
    ] {
        let text = format!("listener 8883\nallow_anonymous true\n{half}");
        assert_eq!(starts(&text), [true, false], "{half}");
        let [old, _] = both(&text);
        assert_eq!(old.level(&old.listeners[0]), Level::None);
        assert!(old.allows_anonymous(&old.listeners[0]));
    }
    // The fix came with 2.0.21.
    let none: BTreeMap<PathBuf, String> = BTreeMap::new();
    let text = "listener 8883\ncertfile /s/server.crt\n";
    for (patch, starts) in [(20, true), (21, false)] {
        let version = BrokerVersion::new(2, 0, patch);
        let effective = parse(Path::new("/m"), text.as_bytes(), &none, version);
        assert_eq!(effective.starts(), starts, "2.0.{patch}");
    }
}

#[test]
fn a_required_certificate_without_tls_is_a_plaintext_port() {
    let text = "listener 8883\nallow_anonymous true\nrequire_certificate true\n";
    assert_eq!(starts(text), [true, true]);
    assert_eq!(has(text, ProblemKind::RequireWithoutTls), [true, true]);
    for effective in both(text) {
        assert_eq!(effective.level(&effective.listeners[0]), Level::None);
    }
}

#[test]
fn listeners_that_refuse_everybody_start_all_the_same() {
    let cases = [
        (format!("listener 8883\n{PAIR}"), ProblemKind::NobodyNamed),
        (
            format!("listener 8883\n{PAIR}cafile /s/ca.crt\nrequire_certificate true\n"),
            ProblemKind::NobodyNamed,
        ),
        (
            format!(
                "listener 8883\n{PAIR}require_certificate true\nuse_identity_as_username true\n"
            ),
            ProblemKind::NobodyTrusted,
        ),
        (
            format!("listener 8883\n{PAIR}use_identity_as_username true\n"),
            ProblemKind::IdentityWithoutRequire,
        ),
    ];
    for (text, kind) in cases {
        assert_eq!(starts(&text), [true, true], "{text}");
        assert_eq!(has(&text, kind), [true, true], "{text}");
    }
}

#[test]
fn what_stops_both_versions() {
    for text in [
        "listener 8883 0.0.0.0\nbind_interface lo\n".to_owned(),
        "listener 8883\nlistener 8883 127.0.0.1\n".to_owned(),
        "allow_anonymous true\nper_listener_settings true\nlistener 8883\n".to_owned(),
        format!("listener 8883\n{PAIR}tls_version tlsv1.4\n"),
        "listener 99999\n".to_owned(),
        "no_such_word true\n".to_owned(),
    ] {
        assert_eq!(starts(&text), [false, false], "{text}");
    }
}

#[test]
fn what_the_versions_do_not_agree_on() {
    assert_eq!(
        starts("listener 8883\nlistener_allow_anonymous true\n"),
        [false, true]
    );
    assert_eq!(
        starts(&format!("listener 8883\n{PAIR}certfile /s/other.crt\n")),
        [false, true]
    );
    let [_, new] = both(&format!("listener 8883\n{PAIR}certfile /s/other.crt\n"));
    assert_eq!(
        new.listeners[0].text("certfile"),
        Some("/s/other.crt"),
        "the last one is taken"
    );
    assert_eq!(starts("listener 0x22b3\n"), [false, true]);
    assert_eq!(starts("listener 8883x\n"), [true, false]);
}

/// The order trap: what stands before the first `listener` opens port 1883 on all interfaces.
#[test]
fn a_directive_before_any_listener_opens_the_default_one_or_is_refused() {
    for word in ["max_qos 1", "require_certificate true"] {
        for effective in both(&format!("{word}\nlistener 8883 127.0.0.1\n")) {
            assert!(effective.starts());
            let opened = effective.listener(1883).unwrap();
            assert!(opened.is_wide(), "{word}");
        }
    }
    let text = "cafile /s/ca.crt\nlistener 8883 127.0.0.1\n";
    assert_eq!(starts(text), [true, false]);
    assert!(both(text)[0].listener(1883).is_some());
    let text = "tls_version tlsv1.2\nlistener 8883 127.0.0.1\n";
    assert_eq!(starts(text), [true, false]);
    assert!(both(text)[0].listener(1883).is_none());
    for word in ["allow_anonymous true", "password_file /s/passwords"] {
        let text = format!("per_listener_settings true\n{word}\nlistener 8883 127.0.0.1\n");
        assert_eq!(starts(&text), [true, false], "{word}");
    }
}

#[test]
fn a_broker_without_listeners_serves_its_own_machine() {
    for effective in both("persistence true\n") {
        let only = &effective.listeners[0];
        assert!(only.is_loopback() && effective.allows_anonymous(only));
        assert_eq!(effective.problems, []);
    }
}
