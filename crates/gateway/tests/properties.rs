//! Whatever the settings, the file says the same level; whatever the bytes, the parser answers.
#![allow(clippy::unwrap_used)]

mod cases;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sectag_gateway::mosquitto::{
    Authorities, BrokerVersion, Extras, Origin, ProblemKind, Resolved, Scope, judge, parse,
    remove_include, render, with_include, word,
};
use sectag_gateway::{External, Host, Internal, Level, Settings, Source, Sourced};

fn versions() -> impl Strategy<Value = BrokerVersion> {
    prop_oneof![
        Just(BrokerVersion::V2_0_11),
        Just(BrokerVersion::new(2, 0, 22)),
        Just(BrokerVersion::V2_1_2),
    ]
}

/// Paths, nearly all of them good.
fn paths() -> impl Strategy<Value = Option<PathBuf>> {
    prop_oneof![
        2 => Just(None),
        4 => "/[a-z]{1,8}(/[a-zA-Z0-9 #._ä-]{1,12}){1,3}".prop_map(|text| Some(PathBuf::from(text))),
        1 => "[a-z/\n\r\0 ]{1,12}".prop_map(|text| Some(PathBuf::from(text))),
    ]
}

fn addresses() -> impl Strategy<Value = Option<Host>> {
    prop_oneof![
        Just(None),
        proptest::sample::select(vec![
            "127.0.0.1",
            "0.0.0.0",
            "::",
            "192.0.2.7",
            "gateway.local"
        ])
        .prop_map(|text| Some(text.parse().unwrap())),
    ]
}

fn interfaces() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        3 => Just(None),
        2 => Just(Some("eth0".to_owned())),
        1 => "[a-z\n ]{1,6}".prop_map(Some),
    ]
}

prop_compose! {
    fn externals()(
        port in 1_u16..=4,
        address in addresses(),
        interface in interfaces(),
        ca_path in paths(),
        cert_file in paths(),
        key_file in paths(),
        crl_file in paths(),
    ) -> External {
        External {
            port: Sourced { value: cases::port(port), source: Source::File },
            address,
            interface,
            ca_path,
            cert_file,
            key_file,
            crl_file,
        }
    }
}

prop_compose! {
    fn settings()(
        external in proptest::option::of(externals()),
        enabled in any::<bool>(),
        port in 1_u16..=4,
        address in proptest::sample::select(vec!["127.0.0.1", "0.0.0.0", "::1"]),
    ) -> Settings {
        Settings {
            internal: Internal { enabled, address: address.parse().unwrap(), port: cases::port(port) },
            external,
            ..cases::settings()
        }
    }
}

prop_compose! {
    fn resolved()(
        known in any::<bool>(),
        authorities in proptest::sample::select(vec![
            None,
            Some(Authorities::File),
            Some(Authorities::HashedDirectory),
            Some(Authorities::Directory),
            Some(Authorities::Missing),
        ]),
    ) -> Resolved {
        Resolved {
            address: known.then(|| "192.0.2.9".parse().unwrap()),
            authorities,
            ..Resolved::default()
        }
    }
}

prop_compose! {
    fn extras()(
        passwords in any::<bool>(),
        rules in any::<bool>(),
        plugins in any::<bool>(),
        tls_1_3_only in any::<bool>(),
    ) -> Extras {
        Extras {
            password_file: passwords.then(|| "/p/passwords".into()),
            acl_file: rules.then(|| "/p/acl".into()),
            plugin_dir: plugins.then(|| "/p".into()),
            tls_1_3_only,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// What is written has the level that the keys ask for, or nothing is written.
    #[test]
    fn a_written_file_has_the_level_of_its_settings(
        settings in settings(),
        resolved in resolved(),
        extras in extras(),
        version in versions(),
    ) {
        let Ok(rendered) = render(&settings, &resolved, &extras, version) else {
            return Ok(());
        };
        prop_assert_eq!(&rendered, &render(&settings, &resolved, &extras, version).unwrap());
        let none: BTreeMap<PathBuf, String> = BTreeMap::new();
        let effective = parse(Path::new("/f"), rendered.text.as_bytes(), &none, version);
        prop_assert!(effective.starts(), "{}\n{:?}", rendered.text, effective.problems);
        let lines: Vec<_> = effective.listeners.iter().filter(|l| l.origin == Origin::Line).collect();
        let wanted = usize::from(settings.internal.enabled) + usize::from(settings.external.is_some());
        prop_assert_eq!(lines.len(), wanted);
        // The order trap: nothing that belongs to a listener stands before the first one.
        if let Some(first) = lines.first().and_then(|listener| listener.at.clone()) {
            for text in rendered.text.lines().take(first.line - 1).filter(|line| !line.starts_with('#') && !line.is_empty()) {
                let name = text.split(' ').next().unwrap();
                let scope = word(name).unwrap().scope;
                prop_assert!(matches!(scope, Scope::Global | Scope::Plugin), "{}", text);
            }
        }
        if let Some(external) = &settings.external {
            let listener = lines[wanted - 1];
            prop_assert_eq!(effective.level(listener), external.level());
            prop_assert_eq!(listener.port, external.port.value.get());
            let mutual = external.level() == Level::Mutual;
            prop_assert_eq!(listener.text("require_certificate").is_some(), mutual);
            prop_assert_eq!(listener.text("use_identity_as_username").is_some(), mutual);
            if let Some(path) = &external.cert_file {
                prop_assert_eq!(listener.text("certfile"), path.to_str());
            }
            if let Some(interface) = &external.interface {
                prop_assert_eq!(listener.text("bind_interface"), Some(interface.as_str()));
                prop_assert_eq!(&listener.address, &None);
            }
        }
    }

    /// Any TLS key means TLS, in every version: a half pair or a CA alone is never a file.
    #[test]
    fn a_tls_key_never_ends_in_a_plaintext_listener(
        settings in settings(),
        resolved in resolved(),
        version in versions(),
    ) {
        let external = settings.external.clone();
        if let (Some(external), Ok(rendered)) = (external, render(&settings, &resolved, &Extras::default(), version)) {
            let any = external.ca_path.is_some() || external.crl_file.is_some()
                || external.cert_file.is_some() || external.key_file.is_some();
            prop_assert_eq!(any, rendered.level != Some(Level::None));
            prop_assert_eq!(any, rendered.text.contains("\ncertfile /") && rendered.text.contains("\nkeyfile /"));
        }
    }

    #[test]
    fn the_parser_answers_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400), version in versions()) {
        let files = BTreeMap::from([(PathBuf::from("/d/a.conf"), String::from_utf8_lossy(&bytes).into_owned())]);
        let _ = judge(Path::new("/f"), &bytes, &files, version);
    }

    #[test]
    fn the_parser_answers_on_any_words(
        lines in proptest::collection::vec((0..200_usize, "( ?[a-z0-9#/.:]{0,8}){0,3}"), 0..20),
        version in versions(),
    ) {
        let words = sectag_gateway::mosquitto::words();
        let text: String = lines
            .iter()
            .map(|(index, rest)| format!("{} {rest}\n", words[index % words.len()].name))
            .chain(["include_dir /d\n".to_owned()])
            .collect();
        let files = BTreeMap::from([(PathBuf::from("/d/a.conf"), text.clone())]);
        let judged = judge(Path::new("/f"), text.as_bytes(), &files, version);
        for listener in &judged.effective.listeners {
            let _ = judged.effective.level(listener);
        }
        if let Some(corrected) = judged.corrected {
            let none: BTreeMap<PathBuf, String> = BTreeMap::new();
            let again = parse(Path::new("/f"), corrected.as_bytes(), &none, version);
            let unknown = again.problems.iter().find(|problem| problem.kind == ProblemKind::Unknown);
            prop_assert!(unknown.is_none(), "{:?}", unknown);
        }
    }

    /// What is put into the broker's main file comes out again.
    #[test]
    fn the_include_line_comes_and_goes(lines in proptest::collection::vec("(include_dir /x|# y|listener 1|)", 0..8)) {
        let main: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let directory = Path::new("/home/sectag/mosquitto");
        let (with, number) = with_include(&main, directory);
        prop_assert_eq!(with.lines().nth(number - 1), Some("include_dir /home/sectag/mosquitto"));
        prop_assert_eq!(&with_include(&with, directory), &(with.clone(), number));
        prop_assert_eq!(remove_include(&with, directory), main.clone());
        let others = |text: &str| text.lines().position(|line| line == "include_dir /x");
        prop_assert!(others(&with).is_none_or(|other| other + 1 > number));
    }
}
