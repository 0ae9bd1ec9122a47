//! Desktop clients and other people's programs connect to our broker with what it prints, in server and in mutual mode.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../gateway_desk/mod.rs"]
mod gateway_desk;
mod stranger;
#[path = "../../crates/cli/tests/support/mod.rs"]
mod support;

use gateway_desk::{Broker, Gateway};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use stranger::{ask, have, node_modules, python_with};
use support::{DEADLINE, Output, run};

/// Host, port, CA file, and in mutual mode certificate and key: everything comes from the broker's own words.
struct Printed(Value);

impl Printed {
    fn text(&self, field: &str) -> Option<&str> {
        self.0[field].as_str()
    }

    fn port(&self) -> String {
        let address = self.text("address").unwrap();
        address.rsplit(':').next().unwrap().to_owned()
    }

    /// The first name that is printed.
    fn host(&self) -> &str {
        self.0["hosts"][0].as_str().unwrap()
    }

    /// `HOST PORT TOPIC CA [CERT KEY]`, as both scripts take it.
    fn words<'a>(&'a self, port: &'a str, topic: &'a str) -> Vec<&'a str> {
        let ca = self.text("caFile").unwrap();
        let mut words = vec![self.host(), port, topic, ca];
        words.extend(
            self.text("certFile")
                .into_iter()
                .chain(self.text("keyFile")),
        );
        words
    }
}

/// Our broker at both levels, each with a topic that its clients may use.
fn at_both_levels(mut meet: impl FnMut(&Printed, &str)) {
    for (level, topic) in [("server", "te/desk"), ("mutual", "child-1/desk")] {
        let gateway = Gateway::new();
        gateway.level(level);
        let broker = Broker::start(&gateway);
        let printed = Printed(broker.listener("external").unwrap().clone());
        assert_eq!(printed.text("level"), Some(level));
        assert_eq!(printed.text("certFile").is_some(), level == "mutual");
        meet(&printed, topic);
    }
}

#[test]
fn mosquittos_clients_connect_with_what_is_printed() {
    if !have(&["mosquitto_pub", "mosquitto_sub"]) {
        return;
    }
    at_both_levels(|printed, topic| {
        let port = printed.port();
        let host = printed.host();
        let ca = printed.text("caFile").unwrap();
        let mut always = vec![
            "-h", host, "-p", &port, "--cafile", ca, "-t", topic, "-q", "1",
        ];
        if let (Some(cert), Some(key)) = (printed.text("certFile"), printed.text("keyFile")) {
            always.extend(["--cert", cert, "--key", key]);
        }
        // Retained, so that the order of the two does not matter.
        let said = ask(
            "mosquitto_pub",
            &[&always[..], &["-r", "-m", "hello"]].concat(),
        );
        assert_eq!(said.code, Some(0), "{said:#?}");
        let said = ask(
            "mosquitto_sub",
            &[&always[..], &["-C", "1", "-W", "10"]].concat(),
        );
        assert_eq!(
            (said.code, said.stdout.as_str()),
            (Some(0), "hello\n"),
            "{said:#?}"
        );
    });
}

#[test]
fn paho_connects_with_what_is_printed() {
    let Some(python) = python_with("paho") else {
        return;
    };
    at_both_levels(|printed, topic| {
        let port = printed.port();
        let said = script(&python, "paho_client.py", &printed.words(&port, topic));
        assert_eq!(
            said.stdout,
            format!("{topic}: hello from paho\n"),
            "{said:#?}"
        );
        // In mutual mode nobody comes in without a certificate.
        if printed.text("certFile").is_some() {
            let stranger = script(&python, "paho_client.py", &printed.words(&port, topic)[..4]);
            assert_eq!(stranger.code, Some(1), "{stranger:#?}");
        }
    });
}

#[test]
fn mqtt_js_connects_with_what_is_printed() {
    let Some(modules) = node_modules() else {
        return;
    };
    at_both_levels(|printed, topic| {
        let port = printed.port();
        let js = |words: &[&str]| {
            let mut command = Command::new("node");
            command
                .arg(path("mqtt_js.js"))
                .args(words)
                .env("NODE_PATH", &modules);
            run(command)
        };
        let words = printed.words(&port, topic);
        let said = js(&words);
        assert_eq!(
            said.stdout,
            format!("{topic}: hello from MQTT.js\n"),
            "{said:#?}"
        );
        if words.len() > 4 {
            let stranger = js(&words[..4]);
            assert_eq!(stranger.code, Some(1), "{stranger:#?}");
        }
    });
}

/// The service opens the same listeners beside its own when a key asks for them, and prints them in the same words.
#[test]
fn up_prints_the_same_for_the_listeners_of_the_keys() {
    let Some(python) = python_with("paho") else {
        return;
    };
    let gateway = Gateway::new();
    gateway.level("mutual");
    let up = gateway.home.up(&[]);
    let begun = Instant::now();
    while !up.log().contains("stop it with Ctrl-C") {
        assert!(begun.elapsed() < DEADLINE, "{}", up.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    let log = up.log();
    for file in ["ca.crt", "client.crt", "client.key"] {
        let path = gateway.papers.text(file);
        assert!(log.contains(&path), "{path} in\n{log}");
    }
    let port = gateway.external.to_string();
    assert!(log.contains(&format!("port {port}")), "{log}");
    let [ca, cert, key] = ["ca.crt", "client.crt", "client.key"].map(|it| gateway.papers.text(it));
    let words = ["localhost", &port, "child-1/desk", &ca, &cert, &key];
    let said = script(&python, "paho_client.py", &words);
    assert_eq!(said.stdout, "child-1/desk: hello from paho\n", "{said:#?}");
    drop(up);
}

fn path(script: &str) -> PathBuf {
    [
        env!("CARGO_MANIFEST_DIR"),
        "../../tests/peers/desktop",
        script,
    ]
    .iter()
    .collect()
}

fn script(python: &PathBuf, name: &str, words: &[&str]) -> Output {
    let mut command = Command::new(python);
    command.arg(path(name)).args(words);
    run(command)
}
