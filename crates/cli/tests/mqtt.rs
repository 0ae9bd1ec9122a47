//! `sectag mqtt pub|sub`: what can be asked for, what a session costs, and what a wrong one is told.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

use support::Home;

#[test]
fn a_session_says_what_it_cost() {
    let home = Home::new();
    let _up = home.up(&[]);
    let said = home
        .sectag(&[
            "mqtt",
            "pub",
            "--operator",
            "-t",
            "~/x",
            "-m",
            "hello",
            "--traffic",
        ])
        .expect_code(0);
    for words in [
        "TLS 1.3, TLS_AES_256_GCM_SHA384, full handshake\n",
        "    payload in those             5         0\n",
        "(an nRF91 takes 2048)\n",
        "published to operator/x ",
    ] {
        assert!(said.stderr.contains(words), "{words}: {said:?}");
    }
    let suite = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    let said = home
        .sectag(&[
            "mqtt",
            "pub",
            "--operator",
            "-t",
            "~/x",
            "-m",
            "x",
            "--traffic",
            "--cipher",
            "0xc02b",
        ])
        .expect_code(0);
    let words = format!("TLS 1.2, {suite}, full handshake\n");
    assert!(said.stderr.contains(&words), "{said:?}");
}

#[test]
fn the_wrong_port_and_the_wrong_name_are_told_with_the_fix() {
    let home = Home::new();
    let up = home.up(&[]);
    let (mqtt, web) = (
        up.listeners.mqtt.port().to_string(),
        up.listeners.loopback.port().to_string(),
    );
    let publish = |more: &[&str]| {
        let line = [&["mqtt", "pub", "-t", "a", "-m", "x"], more].concat();
        home.sectag(&line).expect_code(1).stderr
    };
    let cases: [(&[&str], [&str; 2]); 4] = [
        (
            &["--plain", "--port", &mqtt],
            ["` speaks TLS (", "hint: ask for TLS"],
        ),
        (
            &["--plain", "--port", &web],
            [
                "` speaks no MQTT: `HTTP/1.1 400",
                "hint: correct host and port",
            ],
        ),
        (
            &["--operator", "--port", &web],
            ["` speaks no TLS: ", "hint: use the broker's TLS port"],
        ),
        (
            &["--operator", "--server-name", "broker.example"],
            [
                "asked for as `broker.example`, and its certificate is for DNS:localhost",
                "hint: connect with `--server-name localhost`",
            ],
        ),
    ];
    for (line, words) in cases {
        let stderr = publish(line);
        for word in words {
            assert!(stderr.contains(word), "{line:?}: {stderr}");
        }
    }
}

#[test]
fn no_tls_setting_is_taken_for_plain_tcp() {
    let home = Home::new();
    for setting in [
        &["--sec-tag", "42"][..],
        &["--operator"],
        &["--cert", "a", "--key", "b"],
        &["--ca", "a"],
        &["--server-name", "a"],
        &["--cipher", "0x1301"],
        &["--dangerously-peer-verify", "none"],
    ] {
        let line = [&["mqtt", "pub", "-t", "a", "-m", "x", "--plain"], setting].concat();
        let said = home.sectag(&line).expect_code(2);
        assert!(said.stderr.contains("cannot be used with"), "{said:?}");
    }
    let said = home
        .sectag(&["mqtt", "sub", "-t", "a", "--operator", "--cipher", "RC4"])
        .expect_code(2);
    assert!(
        said.stderr.contains(
            "`RC4` is no cipher suite that can be used; these can: TLS_AES_256_GCM_SHA384 (0x1302)"
        ),
        "{said:?}"
    );
}
