//! Long-running clients by keys: what was renewed is used at the next connection, and the sample goes by the same keys.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod gateway_bench;
mod support;

use gateway_bench::{Mosquitto, Papers, free_port, have};
use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{DEADLINE, Home};

/// Between two looks at a file or a child.
const LOOK_EVERY: Duration = Duration::from_millis(4);

fn mutual(papers: &Papers, server: &str, port: u16) -> Mosquitto {
    let dir = papers.dir().display();
    let config = format!(
        "per_listener_settings true\nuser root\npersistence false\nlistener {port} 127.0.0.1\nallow_anonymous false\n\
         certfile {dir}/{server}.crt\nkeyfile {dir}/server.key\ncafile {dir}/clients.crt\n\
         require_certificate true\nuse_identity_as_username true\n"
    );
    Mosquitto::start(papers.dir(), server, &config, &[port]).unwrap_or_else(|said| panic!("{said}"))
}

fn configure(home: &Home, papers: &Papers, port: u16) {
    let dir = papers.dir().display();
    sectag_keep::private_dir(&home.path()).unwrap();
    std::fs::write(
        home.path().join("tedge.toml"),
        format!(
            "mqtt.client.host = 'localhost'\nmqtt.client.port = {port}\nmqtt.client.auth.ca_file = '{dir}/trusted.crt'\n\
             mqtt.client.auth.cert_file = '{dir}/client.crt'\nmqtt.client.auth.key_file = '{dir}/client.key'\n"
        ),
    )
    .unwrap();
    std::fs::copy(papers.path("ca.crt"), papers.path("trusted.crt")).unwrap();
}

#[test]
fn a_subscription_outlives_its_broker_and_the_authority_of_it() {
    if !have(&["mosquitto", "openssl"]) {
        return;
    }
    let (home, papers, port) = (Home::new(), Papers::new(), free_port());
    configure(&home, &papers, port);
    let broker = mutual(&papers, "server", port);
    let (out, log) = (home.beside("out"), home.beside("log"));
    let mut child = support::sectag(&home.path())
        .args(["mqtt", "sub", "--gateway", "--connection-timeout", "0"])
        .args(["-t", "t/x", "-C", "1"])
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    let begun = Instant::now();
    while !said().contains("subscribed to t/x") {
        assert!(begun.elapsed() < DEADLINE, "{}", said());
        std::thread::sleep(LOOK_EVERY);
    }
    // The next broker's certificate is another authority's; the client is told before it comes.
    std::fs::copy(papers.path("other.crt"), papers.path("trusted.crt")).unwrap();
    drop(broker);
    let broker = mutual(&papers, "server-new", port);
    home.sectag(&[
        "mqtt",
        "pub",
        "--gateway",
        "-t",
        "t/x",
        "-m",
        "hello",
        "--retain",
    ])
    .expect_code(0);
    let end = loop {
        if let Some(end) = child.try_wait().unwrap() {
            break end;
        }
        assert!(begun.elapsed() < DEADLINE, "{}", said());
        std::thread::sleep(LOOK_EVERY);
    };
    assert!(end.success(), "{}", said());
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "t/x hello\n");
    assert!(said().contains("connecting again"), "{}", said());
    drop(broker);
}

#[test]
fn the_sample_goes_by_the_keys() {
    if !have(&["mosquitto", "openssl"]) {
        return;
    }
    let (home, papers, port) = (Home::new(), Papers::new(), free_port());
    configure(&home, &papers, port);
    let broker = mutual(&papers, "server", port);
    let line = [
        "mqtt",
        "sample",
        "--gateway",
        "--connect-delay",
        "0",
        "--interval",
        "1",
        "--count",
        "1",
    ];
    home.sectag(&line).expect_code(0);
    // Its certificate says who it is.
    broker.says("u'client'");

    // Half a pair ends it before anything is tried.
    home.sectag(&["config", "unset", "mqtt.client.auth.key_file"])
        .expect_code(0);
    let said = home.sectag(&line).expect_code(1);
    let words = "mqtt.client.auth.key_file is not set, but mqtt.client.auth.cert_file is";
    assert!(said.stderr.contains(words), "{said:?}");
    assert_eq!(said.stdout, "");
}

#[test]
fn keys_and_flags_do_not_mix() {
    let home = Home::new();
    for flag in [
        &["--host", "a"][..],
        &["--port", "1"],
        &["--plain"],
        &["--operator"],
        &["--ca", "a"],
        &["--cert", "a", "--key", "b"],
        &["--name", "device-1"],
        &["--sec-tag", "42"],
        &["--server-name", "a"],
        &["--cipher", "0x1301"],
        &["--dangerously-peer-verify", "none"],
        &["--user-name", "a"],
    ] {
        let line = [&["mqtt", "pub", "-t", "a", "-m", "x", "--gateway"], flag].concat();
        let said = home.sectag(&line).expect_code(2);
        assert!(said.stderr.contains("cannot be used with"), "{said:?}");
    }
}
