//! Debian's mosquitto 2.0 judges what we write and what we read.
//!
//! 1. Each golden file for 2.0 starts it, and the listeners let in whom they should.
//! 2. Small configurations, right and wrong: our parser and the broker agree on whether it starts and what it opens.
//!
//! Without mosquitto these tests say so in one line and pass; with `SECTAG_PEERS=require` they fail.
#![allow(clippy::unwrap_used)]

mod cases;
mod debian;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cases::{Case, DIRECTORY, cases};
use debian::{Answer, Broker, Town, free_ports, have, run_briefly};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use sectag_gateway::Level;
use sectag_gateway::mosquitto::{BrokerVersion, Placed, judge, parse, with_include, within, words};

/// The golden file as it can be started here: other paths, ports and addresses, the same lines.
fn here(case: &Case, town: &Town, internal: u16, external: u16) -> String {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("{}.2.0.conf", case.name));
    std::fs::read_to_string(golden)
        .unwrap()
        .replace(
            DIRECTORY,
            town.path("").to_str().unwrap().trim_end_matches('/'),
        )
        .replace("listener 1883 ", &format!("listener {internal} "))
        .replace("listener 8883", &format!("listener {external}"))
        .replace("listener 1884", &format!("listener {external}"))
        .replace("192.0.2.7", "127.0.0.1")
        .replace("bind_interface wlan0", "bind_interface lo")
}

fn started(name: &str, town: &Town) -> (Case, Broker, u16) {
    let case = cases().into_iter().find(|case| case.name == name).unwrap();
    let [internal, external] = free_ports();
    let text = here(&case, town, internal, external);
    let opened = if case.settings.external.is_some() {
        vec![internal, external]
    } else {
        vec![internal]
    };
    let broker = Broker::start(town, &text, &opened);
    // The internal listener serves without anything.
    assert_eq!(town.publish(internal, None, None, "te/x"), Answer::Done);
    (case, broker, external)
}

#[test]
fn every_golden_file_starts_the_broker_and_serves_this_machine() {
    if !have("mosquitto") || !have("mosquitto_pub") || !have("openssl") {
        return;
    }
    let town = Town::new();
    for case in cases() {
        if case.name == "address" && std::net::TcpListener::bind("[::1]:0").is_err() {
            continue; // a machine without IPv6
        }
        let (case, broker, port) = started(case.name, &town);
        if let Some(level) = case.level {
            probe(&town, port, level, case.name);
        }
        broker.stop();
    }
}

/// Whom a listener lets in at each level.
fn probe(town: &Town, port: u16, level: Level, name: &str) {
    let plaintext = town.publish(port, None, None, "good/x");
    match level {
        Level::None => assert_eq!(plaintext, Answer::Done, "{name}"),
        _ => assert_eq!(plaintext, Answer::Refused, "{name}: plaintext"),
    }
    if level == Level::None {
        return;
    }
    let tls = |papers| town.publish(port, Some("server-ca.crt"), papers, "good/x");
    assert_eq!(
        town.publish(port, Some("other-ca.crt"), None, "good/x"),
        Answer::Refused,
        "{name}: a CA that did not sign the server"
    );
    match (level, name) {
        (_, "password") => {
            assert_eq!(tls(None), Answer::Refused, "{name}: no password");
            assert_eq!(
                town.publish_as(port, "amy", "right"),
                Answer::Done,
                "{name}"
            );
            assert_eq!(
                town.publish_as(port, "amy", "wrong"),
                Answer::Refused,
                "{name}"
            );
        }
        (Level::Server, _) => assert_eq!(tls(None), Answer::Done, "{name}"),
        _ => {
            assert_eq!(tls(None), Answer::Refused, "{name}: no certificate");
            assert_eq!(tls(Some("good")), Answer::Done, "{name}");
            assert_eq!(tls(Some("stranger")), Answer::Refused, "{name}: wrong CA");
            assert_eq!(tls(Some("late")), Answer::Refused, "{name}: expired");
            let second = if name == "mutual_two_cas" {
                Answer::Done
            } else {
                Answer::Refused
            };
            assert_eq!(tls(Some("second")), second, "{name}: the second CA");
            let revoked = if name == "mutual_crl" {
                Answer::Refused
            } else {
                Answer::Done
            };
            assert_eq!(tls(Some("revoked")), revoked, "{name}: revoked");
        }
    }
}

/// The user name is the certificate's, whatever the client says: the pattern `%u` of the rules proves it.
#[test]
fn the_identity_of_the_certificate_is_the_user_name() {
    if !have("mosquitto") || !have("mosquitto_pub") || !have("mosquitto_sub") {
        return;
    }
    let town = Town::new();
    let (_, broker, port) = started("mutual_acl", &town);
    let heard = town.hear(port, "boss", &["good/state", "boss/state"], || {
        for (topic, said) in [
            ("boss/state", "forged"),
            ("good/state", "mine"),
            ("good/state", "end"),
        ] {
            let answer = town.publish_text(port, Some("server-ca.crt"), Some("good"), topic, said);
            assert_eq!(answer, Answer::Done);
        }
    });
    assert_eq!(heard, ["mine", "end"]);
    broker.stop();
}

/// The source page's blocks refuse everybody, or do not start; what the judge makes of them works.
#[test]
fn the_corrected_blocks_of_the_source_page_work() {
    if !have("mosquitto") || !have("mosquitto_pub") {
        return;
    }
    let town = Town::new();
    let file = |name: &str| town.path(name).display().to_string();
    let (certificate, key, ca) = (
        file("server.crt"),
        file("server.key"),
        file("clients-ca.crt"),
    );
    let server = |port| format!("listener {port}\ncertfile {certificate}\nkeyfile  {key}\n");
    let mutual = |port| {
        format!(
            "listener {port}\nallow_anonymous false\nrequire_certificate true\ncafile   {certificate}\ncertfile {key}\nkeyfile  {ca}\n"
        )
    };
    let [port, _] = free_ports();
    let broker = Broker::start(&town, &server(port), &[port]);
    let as_printed = town.publish(port, Some("server-ca.crt"), None, "good/x");
    assert_eq!(as_printed, Answer::Refused, "as the page prints it");
    broker.stop();
    let (starts, said) = run_briefly(town.path("").as_path(), &mutual(port));
    assert!(!starts && said.contains("Check certfile"), "{said}");

    for (block, level) in [(server(port), Level::Server), (mutual(port), Level::Mutual)] {
        let judged = judge(
            Path::new("/tls.conf"),
            block.as_bytes(),
            &town,
            BrokerVersion::V2_0_11,
        );
        let corrected = judged.corrected.unwrap();
        let broker = Broker::start(&town, &corrected, &[port]);
        probe(&town, port, level, "corrected");
        broker.stop();
    }
}

/// The findings about other files are what the broker does: Debian's main file, a file of others, and ours.
#[test]
fn what_our_file_does_to_others_is_what_the_broker_does() {
    if !have("mosquitto") || !have("mosquitto_pub") {
        return;
    }
    let town = Town::new();
    let [internal, external] = free_ports();
    let [other, _] = free_ports();
    let case = cases()
        .into_iter()
        .find(|case| case.name == "mutual")
        .unwrap();
    let text = here(&case, &town, internal, external);
    let (ours, conf_d) = (town.path("mosquitto"), town.path("conf.d"));
    let main_path = town.path("mosquitto.conf");
    let debian = format!("persistence false\ninclude_dir {}\n", conf_d.display());
    // Files of others, and whether the listener of others lets anonymous clients in beside ours.
    let cases = [
        (
            vec![(
                "b.conf",
                format!("listener {other} 127.0.0.1\nallow_anonymous true\n"),
            )],
            true,
        ),
        (
            vec![
                ("a.conf", "allow_anonymous true\n".to_owned()),
                ("b.conf", format!("listener {other} 127.0.0.1\n")),
            ],
            false,
        ),
    ];
    for (others, lets_in) in cases {
        let mut files: BTreeMap<PathBuf, String> =
            BTreeMap::from([(main_path.clone(), debian.clone())]);
        for directory in [&ours, &conf_d] {
            let _ = std::fs::remove_dir_all(directory);
            std::fs::create_dir(directory).unwrap();
        }
        for (name, text) in &others {
            std::fs::write(conf_d.join(name), text).unwrap();
            files.insert(conf_d.join(name), text.clone());
        }
        let fragment = ours.join("sectag-listener.conf");
        std::fs::write(&fragment, &text).unwrap();
        let (main, _) = with_include(&debian, &ours);
        let broker = Broker::start(&town, &main, &[internal, external, other]);
        let expected = if lets_in {
            Answer::Done
        } else {
            Answer::Refused
        };
        assert_eq!(town.publish(other, None, None, "x"), expected);
        assert_eq!(town.publish(internal, None, None, "x"), Answer::Done);
        probe(&town, external, Level::Mutual, "mutual");
        broker.stop();
        let placed = Placed {
            main: &main_path,
            fragment: &fragment,
            text: &text,
        };
        let findings = within(placed, &files, BrokerVersion::V2_0_11);
        assert_eq!(findings.is_empty(), lets_in, "{findings:#?}");
    }
}

#[test]
fn the_table_of_words_is_what_the_broker_knows() {
    if !have("mosquitto") {
        return;
    }
    let [port, _] = free_ports();
    let directory = tempfile::tempdir().unwrap();
    for word in words() {
        if matches!(
            word.name,
            "listener" | "include_dir" | "auth_opt_" | "plugin_opt_"
        ) {
            continue;
        }
        // Without a value each word it knows is an error, or nothing.
        let text = format!("listener {port} 127.0.0.1\n{}\nno_such_word\n", word.name);
        let (_, said) = run_briefly(directory.path(), &text);
        let unknown = said.contains(&format!("Unknown configuration variable \"{}\"", word.name));
        assert_eq!(unknown, !word.in_2_0, "{}: {said}", word.name);
    }
}

/// Files and what becomes of them, after experiments with the broker.
#[test]
fn the_parser_and_the_broker_agree() {
    if !have("mosquitto") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let included = directory.path().join("conf.d");
    let [a, b] = free_ports();
    let l = format!("listener {a} 127.0.0.1\n");
    let m = format!("listener {b} 127.0.0.1\n");
    let include = format!("include_dir {}\n", included.display());
    // The main file, then files of `conf.d`.
    let texts: Vec<(String, Vec<(&str, String)>)> = vec![
        (format!("{l}allow_anonymous true # x\n"), vec![]),
        (format!(" {l}   \n"), vec![]),
        (format!("{l}allow_anonymous\ttrue\n"), vec![]),
        (format!("{l} # indented\n"), vec![]),
        (
            format!("{l}allow_anonymous true\nallow_anonymous false\n"),
            vec![],
        ),
        (format!("{l}{l}"), vec![]),
        (format!("{l}{m}"), vec![]),
        (format!("listener {a}\n{l}"), vec![]),
        (
            format!("allow_anonymous true\nper_listener_settings true\n{l}"),
            vec![],
        ),
        (
            format!("per_listener_settings true\nallow_anonymous true\n{l}"),
            vec![],
        ),
        (format!("{l}per_listener_settings true\n"), vec![]),
        (format!("{l}foo bar\n"), vec![]),
        (format!("{l}cafile /a\ncafile /b\n"), vec![]),
        (format!("{l}allow_anonymous True\n"), vec![]),
        (format!("{l}allow_anonymous\n"), vec![]),
        (format!("{l}max_qos 7\n"), vec![]),
        (format!("{l}max_connections 10x\n"), vec![]),
        (format!("{l}protocol xx\n"), vec![]),
        (format!("{l}log_type xx\n"), vec![]),
        (format!("{l}max_packet_size 10\n"), vec![]),
        (format!("{l}bridge_cafile /x\n"), vec![]),
        (format!("{l}plugin_opt_x y\n"), vec![]),
        (format!("{l}persistence_file\n"), vec![]),
        (format!("{l}listener_allow_anonymous true\n"), vec![]),
        (
            format!("{l}tls_version tlsv1.2\ntls_version tlsv1.2\n"),
            vec![],
        ),
        (format!("\u{feff}{l}"), vec![]),
        (format!("mount_point x/\n{l}"), vec![]),
        (format!("tls_version tlsv1.2\n{l}"), vec![]),
        (format!("require_certificate false\n{l}"), vec![]),
        ("listener\n".to_owned(), vec![]),
        ("listener abc\n".to_owned(), vec![]),
        ("listener 0\n".to_owned(), vec![]),
        ("listener 70000\n".to_owned(), vec![]),
        (format!("listener {a}x 127.0.0.1\n"), vec![]),
        (format!("{l}bind_interface lo\n"), vec![]),
        (format!("listener {a} 0.0.0.0\nbind_interface lo\n"), vec![]),
        (format!("port {a}\nbind_address 127.0.0.1\n{m}"), vec![]),
        (format!("{l}require_certificate true\n"), vec![]),
        (format!("{l}certfile /nope\n"), vec![]),
        (format!("{l}cafile /nope\n"), vec![]),
        (format!("{l}{include}"), vec![("a.conf", m.clone())]),
        (format!("{l}{include}"), vec![("a.conf", include.clone())]),
        (
            format!("{l}{include}certfile /nope\nkeyfile /nope\n"),
            vec![("a.conf", m.clone())],
        ),
        (
            format!("{include}{l}"),
            vec![("a.txt", "junk".to_owned()), (".conf", "junk".to_owned())],
        ),
        (
            include.clone(),
            vec![
                ("a.conf", l.clone()),
                ("B.conf", "junk\n".to_owned()),
                ("A.conf", m.clone()),
            ],
        ),
        (
            include.clone(),
            vec![
                ("a.conf", "allow_anonymous true\n".to_owned()),
                ("B.conf", "per_listener_settings true\n".to_owned()),
                ("c.conf", l.clone()),
            ],
        ),
        (
            include.clone(),
            vec![
                ("B.conf", "allow_anonymous true\n".to_owned()),
                ("a.conf", "per_listener_settings true\n".to_owned()),
                ("c.conf", l.clone()),
            ],
        ),
        (format!("{l}include_dir /no/such/directory\n"), vec![]),
        (
            format!("{l}include_dir {} \n", included.display()),
            vec![("a.conf", m.clone())],
        ),
    ];
    for (main, others) in texts {
        agree(directory.path(), &main, &others);
    }
}

/// As above, with lines thrown together by chance.
#[test]
fn the_parser_and_the_broker_agree_on_any_mixture() {
    if !have("mosquitto") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let [a, b] = free_ports();
    let include = format!("include_dir {}", directory.path().join("conf.d").display());
    let listener = format!("listener {a} 127.0.0.1");
    let pool: Vec<String> = [
        listener.as_str(),
        &listener,
        &format!("listener {b} 127.0.0.1"),
        &format!("listener {b} ::1"),
        &format!("listener {b} 127.0.0.1 # x"),
        &format!("port {b}"),
        "bind_address 127.0.0.1",
        &include,
        &include,
        "per_listener_settings true",
        "per_listener_settings false",
        "allow_anonymous true",
        "allow_anonymous false",
        "allow_zero_length_clientid false",
        "auto_id_prefix x",
        "require_certificate true",
        "require_certificate false",
        "use_identity_as_username true",
        "use_subject_as_username true",
        "use_username_as_clientid true",
        "tls_version tlsv1.2",
        "ciphers ALL",
        "cafile /no/such/ca",
        "capath /no/such/directory",
        "certfile /no/such/certificate",
        "max_qos 1",
        "max_qos 2",
        "max_connections -1",
        "max_connections 10",
        "max_topic_alias 10",
        "mount_point x/",
        "protocol mqtt",
        "socket_domain ipv4",
        "bind_interface lo",
        "max_packet_size 100",
        "max_inflight_messages 5",
        "log_type error",
        "log_timestamp true",
        "connection_messages true",
        "persistence false",
        "clientid_prefixes x",
        "retain_available 1",
        "sys_interval 10",
        "# comment",
        "",
        "   ",
        "topic # out",
        "plugin_opt_x 1",
    ]
    .map(str::to_owned)
    .to_vec();
    let lines = |pool: &Vec<String>, most| {
        proptest::collection::vec(proptest::sample::select(pool.clone()), 0..most)
            .prop_map(|lines| lines.join("\n") + "\n")
    };
    let mixtures = (lines(&pool, 7), lines(&pool, 5), lines(&pool, 4));
    let mut runner = TestRunner::new_with_rng(
        ProptestConfig {
            cases: 120,
            max_shrink_iters: 60,
            failure_persistence: None,
            ..ProptestConfig::default()
        },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let outcome = runner.run(&mixtures, |(main, first, second)| {
        // Ports that others may have are not asked for.
        let others = [("a.conf", first), ("b.conf", second)];
        agree(directory.path(), &main, &others);
        Ok(())
    });
    outcome.unwrap();
}

/// Our parser and the broker say the same of `main` and the files of `conf.d` beside it.
fn agree(directory: &Path, main: &str, others: &[(&str, String)]) {
    let included = directory.join("conf.d");
    let _ = std::fs::remove_dir_all(&included);
    std::fs::create_dir(&included).unwrap();
    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
    for (name, text) in others {
        std::fs::write(included.join(name), text).unwrap();
        files.insert(included.join(name), text.clone());
    }
    let (starts, said) = run_briefly(directory, main);
    let main_path = Path::new("/main.conf");
    let ours = parse(main_path, main.as_bytes(), &files, BrokerVersion::V2_0_11);
    let shown = format!("{main}{others:?}\n{said}\n{:#?}", ours.problems);
    assert_eq!(ours.starts(), starts, "{shown}");
    if starts {
        let mut ports: Vec<u16> = ours
            .listeners
            .iter()
            .map(|listener| listener.port)
            .collect();
        let mut opened: Vec<u16> = said
            .lines()
            .filter_map(|line| {
                line.split("listen socket on port ")
                    .nth(1)?
                    .trim_end_matches('.')
                    .parse()
                    .ok()
            })
            .collect();
        for ports in [&mut ports, &mut opened] {
            ports.sort_unstable();
            ports.dedup();
        }
        assert_eq!(ports, opened, "{shown}");
    }
}
