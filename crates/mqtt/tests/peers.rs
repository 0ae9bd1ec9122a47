//! Strangers judge: Debian's mosquitto tools against our broker, our client against the mosquitto broker.
//!
//! Without mosquitto these tests say so in one line and pass; with `SECTAG_PEERS=require` they fail.
#![allow(clippy::unwrap_used)]

mod town;

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use sectag_mqtt::{Broker, Client, ClientError, Qos, Transport, Version, Will};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use town::foreign::{Files, have, run};
use town::{PATIENCE, Papers, Town, next, options, text, until};

/// A `mosquitto_sub` whose subscription is granted.
struct Listener {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Listener {
    async fn start(mut command: Command, broker: &Broker) -> Self {
        let before = broker.counters().accepted;
        let mut child = command.args(["-d", "-v"]).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let line = tokio::time::timeout(PATIENCE, lines.next_line())
                .await
                .unwrap()
                .unwrap()
                .expect("mosquitto_sub stays");
            if line.starts_with("Subscribed") {
                break;
            }
        }
        assert!(broker.counters().accepted > before);
        Self {
            _child: child,
            lines,
        }
    }

    /// The next message as `topic payload`.
    async fn next(&mut self) -> String {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.lines.next_line())
                .await
                .unwrap()
                .unwrap()
                .expect("mosquitto_sub stays");
            if !line.starts_with("Client ") && !line.starts_with("Subscribed") {
                return line;
            }
        }
    }
}

#[tokio::test]
async fn mosquitto_tools_talk_through_our_broker() {
    if !have("mosquitto_pub") || !have("mosquitto_sub") {
        return;
    }
    let town = Town::new("Town");
    let broker = town.broker().await;
    let files = Files::new(&town);
    files.papers("dev-1", &town.device("dev-1"));
    for version in ["mqttv311", "mqttv5"] {
        for tls in ["tlsv1.2", "tlsv1.3"] {
            let mut sub = files.tool("mosquitto_sub", &broker, Some("dev-1"));
            sub.args([
                "-V",
                version,
                "--tls-version",
                tls,
                "-t",
                "dev-1/#",
                "-q",
                "2",
            ]);
            let mut listener = Listener::start(sub, &broker).await;
            for qos in ["0", "1", "2"] {
                let said = format!("{version} {tls} {qos}");
                let mut publish = files.tool("mosquitto_pub", &broker, Some("dev-1"));
                publish.args(["-V", version, "-t", "dev-1/x", "-q", qos, "-m", &said]);
                assert_eq!(run(publish).await, (Some(0), String::new()));
                assert_eq!(listener.next().await, format!("dev-1/x {said}"));
            }
        }
    }
    // Retained, with a large payload in many records.
    let large = "x".repeat(20_000);
    let mut publish = files.tool("mosquitto_pub", &broker, Some("dev-1"));
    publish.args(["-t", "dev-1/state", "-q", "1", "-r", "-m", &large]);
    assert_eq!(run(publish).await.0, Some(0));
    let mut sub = files.tool("mosquitto_sub", &broker, Some("dev-1"));
    sub.args(["-t", "dev-1/state", "-C", "1", "-F", "%r %p"]);
    assert_eq!(run(sub).await, (Some(0), format!("1 {large}\n")));
}

#[tokio::test]
async fn mosquitto_tools_are_refused_what_is_not_theirs() {
    if !have("mosquitto_pub") || !have("mosquitto_sub") {
        return;
    }
    let town = Town::new("Town");
    let broker = town.broker().await;
    let files = Files::new(&town);
    files.papers("dev-1", &town.device("dev-1"));
    files.papers("stranger", &Town::new("Elsewhere").device("dev-1"));
    files.papers("operator", &town.operator());
    files.papers("server", &town.server());
    let mut witness = files.tool("mosquitto_sub", &broker, Some("operator"));
    witness.args(["-t", "#", "-q", "1"]);
    let mut witness = Listener::start(witness, &broker).await;

    // A foreign topic: the 3.1.1 tool cannot see the refusal and exits with 0.
    let mut publish = files.tool("mosquitto_pub", &broker, Some("dev-1"));
    publish.args(["-V", "mqttv311", "-t", "dev-2/x", "-q", "1", "-m", "evil"]);
    assert_eq!(run(publish).await, (Some(0), String::new()));
    until(&broker, |counters| counters.denied_publish == 1).await;
    let mut publish = files.tool("mosquitto_pub", &broker, Some("dev-1"));
    publish.args(["-V", "mqttv5", "-t", "dev-2/x", "-q", "1", "-m", "evil"]);
    let (_, said) = run(publish).await;
    assert!(said.to_lowercase().contains("not authorized"), "{said}");
    until(&broker, |counters| counters.denied_publish == 2).await;

    // A foreign subscription.
    for version in ["mqttv311", "mqttv5"] {
        let before = broker.counters().denied_subscribe;
        let mut sub = files.tool("mosquitto_sub", &broker, Some("dev-1"));
        sub.args(["-V", version, "-t", "dev-2/#", "-C", "1", "-W", "5"]);
        let (code, said) = run(sub).await;
        assert!(
            said.contains("subscription requests were denied"),
            "{code:?} {said}"
        );
        assert_eq!(broker.counters().denied_subscribe, before + 1);
    }

    // No certificate, another authority, a server's certificate; in both TLS versions.
    let mut refused = 0;
    for papers in [None, Some("stranger"), Some("server")] {
        for tls in ["tlsv1.2", "tlsv1.3"] {
            let mut publish = files.tool("mosquitto_pub", &broker, papers);
            publish.args([
                "--tls-version",
                tls,
                "-t",
                "dev-1/x",
                "-q",
                "1",
                "-m",
                "evil",
            ]);
            let (code, said) = run(publish).await;
            assert_ne!(code, Some(0), "{papers:?} {tls}: {said}");
            refused += 1;
            until(&broker, |counters| counters.refused_tls == refused).await;
        }
    }

    // The fence: the first thing the witness hears.
    let mut publish = files.tool("mosquitto_pub", &broker, Some("dev-1"));
    publish.args(["-t", "dev-1/fence", "-q", "1", "-m", "fence"]);
    assert_eq!(run(publish).await.0, Some(0));
    assert_eq!(witness.next().await, "dev-1/fence fence");
}

#[tokio::test]
async fn a_killed_mosquitto_client_leaves_its_will_and_its_session() {
    if !have("mosquitto_pub") || !have("mosquitto_sub") {
        return;
    }
    let town = Town::new("Town");
    let broker = town.broker().await;
    let files = Files::new(&town);
    files.papers("dev-1", &town.device("dev-1"));
    let mut witness = town.witness(&broker).await;
    let mut sub = files.tool("mosquitto_sub", &broker, Some("dev-1"));
    sub.args(["-i", "lasting", "-c", "-q", "1", "-t", "dev-1/cmd"]);
    sub.args(["--will-topic", "dev-1/will", "--will-payload", "gone"]);
    let mut listener = Listener::start(sub, &broker).await;
    listener._child.kill().await.unwrap();
    assert_eq!(next(&mut witness.messages).await.topic, "dev-1/will");
    let mut publish = files.tool("mosquitto_pub", &broker, Some("dev-1"));
    publish.args(["-t", "dev-1/cmd", "-q", "1", "-m", "while you were away"]);
    assert_eq!(run(publish).await.0, Some(0));
    let mut sub = files.tool("mosquitto_sub", &broker, Some("dev-1"));
    sub.args([
        "-i",
        "lasting",
        "-c",
        "-q",
        "1",
        "-t",
        "dev-1/cmd",
        "-C",
        "1",
    ]);
    assert_eq!(run(sub).await, (Some(0), "while you were away\n".into()));
}

/// A mosquitto broker with mutual TLS and the default rule of a device as its access list.
struct Mosquitto {
    _child: Child,
    port: u16,
}

impl Mosquitto {
    async fn start(files: &Files) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let path = |name: &str| files.path(name).display().to_string();
        let acl = files.write("acl", "pattern readwrite %u/#\n");
        let config = format!(
            "listener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n\
             use_identity_as_username true\nallow_anonymous false\nacl_file {}\npersistence false\n{}",
            path("ca.crt"),
            path("server.crt"),
            path("server.key"),
            acl.display(),
            if nobody() { "" } else { "user root\n" },
        );
        let config = files.write("mosquitto.conf", &config);
        let program = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"]
            .into_iter()
            .find(|path| Path::new(path).is_file())
            .unwrap_or("mosquitto");
        let child = Command::new(program)
            .arg("-c")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let started = std::time::Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            assert!(started.elapsed() < PATIENCE, "mosquitto does not listen");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Self {
            _child: child,
            port,
        }
    }
}

/// Not root: mosquitto cannot and need not change its user to read our private files.
fn nobody() -> bool {
    std::env::var("USER").is_ok_and(|user| user != "root")
}

#[tokio::test]
async fn our_client_talks_through_mosquitto() {
    if !have("mosquitto") {
        return;
    }
    let town = Town::new("Town");
    let files = Files::new(&town);
    files.papers("server", &town.server());
    let mosquitto = Mosquitto::start(&files).await;
    let papers = town.device("dev-1");
    let connect = |papers: Option<Papers>, options| {
        let tls = town.tls(papers.as_ref());
        Client::connect(
            "127.0.0.1",
            mosquitto.port,
            Transport::tls("localhost", tls),
            options,
        )
    };
    for version in [Version::V311, Version::V5] {
        let mut with_will = options(version, "dev-1");
        with_will.will = Some(Will {
            topic: "dev-1/will".into(),
            payload: b"gone".to_vec(),
            qos: Qos::AtLeastOnce,
            retain: false,
        });
        let (client, mut messages) = connect(Some(papers.clone()), with_will).await.unwrap();
        client.subscribe("dev-1/#", Qos::ExactlyOnce).await.unwrap();
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let said = format!("{version:?} {qos:?}");
            client
                .publish("dev-1/x", said.as_str(), qos, false)
                .await
                .unwrap();
            let message = next(&mut messages).await;
            assert_eq!((text(&message), message.qos), (said, qos));
        }
        let large = vec![b'x'; 100_000];
        client
            .publish("dev-1/large", large.clone(), Qos::AtLeastOnce, false)
            .await
            .unwrap();
        assert_eq!(next(&mut messages).await.payload, large);
        client.unsubscribe("dev-1/#").await.unwrap();
        for _ in 0..3 {
            client
                .publish("dev-1/nobody", "x", Qos::ExactlyOnce, false)
                .await
                .unwrap();
        }
        let foreign = client
            .publish("dev-2/x", "evil", Qos::AtLeastOnce, false)
            .await;
        match version {
            Version::V311 => foreign.unwrap(),
            Version::V5 => assert!(
                matches!(foreign, Err(ClientError::PublishRefused { code: 0x87, .. })),
                "{foreign:?}"
            ),
        }
        client.disconnect().await.unwrap();
        assert!(matches!(client.closed().await, ClientError::Disconnected));
    }
    // Refused: the TLS 1.3 refusal comes after our side of the handshake.
    let stranger = Town::new("Elsewhere").device("dev-1");
    for papers in [None, Some(stranger)] {
        let refused = connect(papers, options(Version::V5, "x")).await;
        assert!(
            matches!(refused, Err(ClientError::CertificateRefused { .. })),
            "{refused:?}"
        );
    }
}
