//! What is written for mosquitto, byte for byte, and read back by the rules of each version.
//!
//! The files for 2.0 are started with Debian's broker in `mosquitto_20.rs`. Those for 2.1 are checked against the
//! documented rules of 2.1 by our parser only.
#![allow(clippy::unwrap_used)]

mod cases;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cases::{Case, cases};
use sectag_gateway::Level;
use sectag_gateway::mosquitto::{BrokerVersion, Effective, Origin, Scope, parse, word};

const VERSIONS: [(&str, BrokerVersion); 2] = [
    ("2.0", BrokerVersion::V2_0_11),
    ("2.1", BrokerVersion::V2_1_2),
];

fn golden(case: &Case, series: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("{}.{series}.conf", case.name))
}

fn read_back(case: &Case, version: BrokerVersion) -> Effective {
    let none: BTreeMap<PathBuf, String> = BTreeMap::new();
    let text = case.render(version).text;
    parse(Path::new("/f.conf"), text.as_bytes(), &none, version)
}

#[test]
fn the_generator_writes_the_golden_files() {
    for case in cases() {
        for (series, version) in VERSIONS {
            let path = golden(&case, series);
            let text = case.render(version).text;
            if std::env::var_os("SECTAG_WRITE_GOLDEN").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            let kept = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                kept == text,
                "{} differs; SECTAG_WRITE_GOLDEN=1 cargo test -p sectag-gateway --test golden writes it.\n{text}",
                path.display()
            );
        }
    }
}

#[test]
fn no_golden_file_is_left_over() {
    let mut wanted: Vec<PathBuf> = Vec::new();
    for case in cases() {
        wanted.extend(VERSIONS.map(|(series, _)| golden(&case, series)));
    }
    for entry in std::fs::read_dir(golden(&cases()[0], "2.0").parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        assert!(wanted.contains(&path), "{}", path.display());
    }
}

/// RULE 12: the hash in the header is that of what follows it.
#[test]
fn the_header_holds_the_hash_of_the_rest() {
    for case in cases() {
        let rendered = case.render(BrokerVersion::V2_0_11);
        let (header, body) = rendered.text.split_once("\n\n").unwrap();
        let hash: String = sectag_pki::sha256(body.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(rendered.hash, hash);
        assert!(
            header.contains(&format!("content {}", &hash[..16])),
            "{header}"
        );
        assert!(header.lines().all(|line| line.starts_with('#')));
    }
}

#[test]
fn by_the_documented_rules_of_2_0_each_file_starts_with_its_level() {
    check(BrokerVersion::V2_0_11);
}

#[test]
fn by_the_documented_rules_of_2_1_each_file_starts_with_its_level() {
    check(BrokerVersion::V2_1_2);
}

fn check(version: BrokerVersion) {
    for case in cases() {
        let effective = read_back(&case, version);
        let name = case.name;
        assert!(effective.starts(), "{name}: {:?}", effective.problems);
        // Only global lines precede the first `listener` (spec/gateway-config §14, the order trap).
        let first = effective.listeners[0].at.clone().unwrap().line;
        for line in effective.globals.iter().filter(|line| line.at.line < first) {
            let scope = word(&line.name).unwrap().scope;
            assert!(
                matches!(scope, Scope::Global | Scope::Plugin),
                "{name}: {}",
                line.name
            );
        }
        assert!(
            effective
                .listeners
                .iter()
                .all(|listener| listener.origin == Origin::Line)
        );
        let internal = effective.listener(1883).unwrap();
        assert_eq!(effective.level(internal), Level::None, "{name}");
        assert!(
            internal.is_loopback() && effective.allows_anonymous(internal),
            "{name}"
        );
        let Some(level) = case.level else {
            assert_eq!(effective.listeners.len(), 1);
            continue;
        };
        let external = &effective.listeners[1];
        assert_eq!(effective.level(external), level, "{name}");
        let mutual = level == Level::Mutual;
        let passwords = case.extras.password_file.is_some();
        assert_eq!(
            effective.allows_anonymous(external),
            !mutual && !passwords,
            "{name}"
        );
        assert_eq!(external.flag("require_certificate"), mutual, "{name}");
        assert_eq!(external.flag("use_identity_as_username"), mutual, "{name}");
        assert_eq!(
            external.text("require_certificate").is_some(),
            mutual,
            "{name}"
        );
        assert_eq!(
            external.text("tls_version"),
            (level != Level::None).then_some("tlsv1.2"),
            "{name}"
        );
        let expected = if version.is_2_1() {
            "listener_allow_anonymous"
        } else {
            "allow_anonymous"
        };
        assert!(external.text(expected).is_some(), "{name}");
        assert_eq!(effective.per_listener, !version.is_2_1(), "{name}");
        let order = [
            "certfile",
            "keyfile",
            "cafile",
            "crlfile",
            "require_certificate",
        ];
        let lines: Vec<usize> = order
            .iter()
            .filter_map(|name| external.directives.iter().find(|line| line.name == *name))
            .map(|line| line.at.line)
            .collect();
        assert!(lines.is_sorted(), "{name}");
    }
}
