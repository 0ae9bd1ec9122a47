//! A gate has the last word: it keeps out what chains allow, lets in what is pinned, and is asked again while sessions live.
#![allow(clippy::unwrap_used)]

mod town;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use sectag_mqtt::{
    Admission, Broker, Client, ClientCertificate, ClientError, Gate, Qos, Trust, TrustMaterial,
    Verdict, Version,
};
use sectag_pki::{Authority, PrivateKey, pem, sha256};
use town::foreign::{Files, have, run};
use town::{PATIENCE, Papers, Town, next, now_s, options, text, until};

/// A gate that does what it is told.
#[derive(Debug, Default)]
struct Keeper {
    pins: Mutex<HashSet<[u8; 32]>>,
    /// What it says of a CN; others are admitted as without a gate.
    words: Mutex<HashMap<String, Verdict>>,
    heard: Mutex<Vec<(&'static str, String)>>,
}

impl Gate for Keeper {
    fn pins(&self, der_sha256: &[u8; 32]) -> bool {
        self.pins.lock().unwrap().contains(der_sha256)
    }

    fn admit(&self, certificate: &ClientCertificate) -> Verdict {
        let words = self.words.lock().unwrap();
        let said = words.get(&certificate.cn).cloned();
        said.unwrap_or_else(|| Verdict::Admit(Admission::default()))
    }

    fn connected(&self, certificate: &ClientCertificate) {
        let mut heard = self.heard.lock().unwrap();
        heard.push(("connected", certificate.cn.clone()));
    }

    fn displaced(&self, certificate: &ClientCertificate) {
        let mut heard = self.heard.lock().unwrap();
        heard.push(("displaced", certificate.cn.clone()));
    }
}

impl Keeper {
    fn says(&self, cn: &str, verdict: Verdict) {
        self.words.lock().unwrap().insert(cn.to_owned(), verdict);
    }

    fn pin(&self, papers: &Papers) {
        let der = pem::certificates(&papers.chain).unwrap().remove(0);
        self.pins.lock().unwrap().insert(sha256(&der));
    }

    fn count(&self, what: &str, cn: &str) -> usize {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|(w, c)| *w == what && c == cn).count()
    }
}

const BLOCKED: Verdict = Verdict::Refuse {
    reason: "its device is blocked",
};

fn below(prefix: &str) -> Verdict {
    Verdict::Admit(Admission {
        prefix: Some(prefix.into()),
        ..Admission::default()
    })
}

async fn broker(town: &Town, keeper: &Arc<Keeper>, crls: &[Vec<u8>]) -> Broker {
    let server = town.server();
    let roots = town.devices.certificate_pem();
    let material = TrustMaterial::from_pem(&server.chain, &server.key, &roots, crls).unwrap();
    let trust = Trust::gated(material, keeper.clone()).unwrap();
    town::start(Arc::new(trust)).await
}

fn reason(answer: Result<impl Sized, ClientError>) -> String {
    match answer {
        Err(ClientError::CertificateRefused { reason, .. }) => reason,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("let in"),
    }
}

async fn may(client: &Client, topic: &str) -> bool {
    let subscribed = client.subscribe(topic, Qos::AtLeastOnce).await.is_ok();
    let published = client.publish(topic, "x", Qos::AtLeastOnce, false).await;
    assert_eq!(subscribed, published.is_ok(), "{topic}");
    subscribed
}

#[tokio::test]
async fn what_the_gate_refuses_ends_and_stays_out_in_both_tls_versions() {
    let town = Town::new("Town");
    let keeper = Arc::new(Keeper::default());
    let broker = broker(&town, &keeper, &[]).await;
    let (good, bad) = (town.device("dev-1"), town.device("dev-2"));
    let (stays, mut messages) = town
        .connect(&broker, &good, options(Version::V5, "a"))
        .await;
    let (goes, _none) = town.connect(&broker, &bad, options(Version::V5, "a")).await;
    assert_eq!(keeper.count("connected", "dev-2"), 1);
    keeper.says("dev-2", BLOCKED);
    broker.judge_again_named(["dev-1", "dev-2", "nobody"]);
    let ended = goes.closed().await.to_string();
    assert!(ended.contains("not authorized"), "{ended}");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let tls = Arc::new(town.tls_version(&bad, version));
        let transport = sectag_mqtt::Transport::tls("localhost", tls);
        let port = broker.local_addr().port();
        let options = options(Version::V5, "a");
        let said = reason(Client::connect("127.0.0.1", port, transport, options).await);
        assert!(said.contains("denied"), "{said}");
    }
    keeper.says("dev-2", Verdict::Revoked);
    let again = town.try_connect(&broker, Some(&bad), options(Version::V311, "a"));
    assert!(reason(again.await).contains("revoked"));
    stays.subscribe("dev-1/#", Qos::AtLeastOnce).await.unwrap();
    stays
        .publish("dev-1/x", "here", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(text(&next(&mut messages).await), "here");
    keeper.says("dev-2", Verdict::Admit(Admission::default()));
    town.connect(&broker, &bad, options(Version::V5, "a")).await;
}

#[tokio::test]
async fn a_pinned_certificate_needs_no_issuer_but_a_date_and_a_form() {
    let town = Town::new("Town");
    let elsewhere = Town::new("Elsewhere");
    let keeper = Arc::new(Keeper::default());
    let broker = broker(&town, &keeper, &[]).await;
    let pinned = elsewhere.device("dev-1");
    let said = reason(
        town.try_connect(&broker, Some(&pinned), options(Version::V5, "a"))
            .await,
    );
    assert!(said.contains("does not trust the issuer"), "{said}");
    keeper.pin(&pinned);
    let realm: Arc<str> = "registered".into();
    let terms = Admission {
        realm: Some(realm),
        may_operate: false,
        prefix: None,
    };
    keeper.says("dev-1", Verdict::Admit(terms));
    let (client, _messages) = town
        .connect(&broker, &pinned, options(Version::V5, "a"))
        .await;
    assert!(may(&client, "dev-1/x").await);
    // Another one of the same issuer is another one.
    let other = elsewhere.device("dev-1");
    let answer = town.try_connect(&broker, Some(&other), options(Version::V5, "b"));
    reason(answer.await);
    // One that has ended, or not begun.
    let day_s = 86_400;
    let old = Authority::root("Old", now_s() - day_s).unwrap();
    for (from, which) in [
        (now_s() - day_s, "expired"),
        (now_s() + 7200, "not valid yet"),
    ] {
        let key = PrivateKey::generate().unwrap();
        let spki = key.spki_der();
        let made = old.issue_device_for(&spki, "dev-2", from, 60).unwrap();
        let papers = Papers {
            chain: made.pem(),
            key: key.to_pem().to_string(),
            serial: made.serial_hex.clone(),
        };
        keeper.pin(&papers);
        let before = broker.counters().refused_tls;
        let answer = town.try_connect(&broker, Some(&papers), options(Version::V5, "c"));
        let said = reason(answer.await);
        assert!(said.contains("expired"), "{which}: {said}");
        until(&broker, |counters| counters.refused_tls == before + 1).await;
    }
    // A session under a pin is not one of the issuer that the certificate names.
    let impostor = Town::new("Town").device("dev-9");
    keeper.pin(&impostor);
    let (_theirs, _none) = town
        .connect(&broker, &town.device("dev-9"), options(Version::V5, "a"))
        .await;
    let terms = Admission {
        realm: Some("registered".into()),
        may_operate: false,
        prefix: None,
    };
    keeper.says("dev-9", Verdict::Admit(terms));
    town.connect(&broker, &impostor, options(Version::V5, "a"))
        .await;
    assert_eq!(broker.counters().connected, 3, "nobody was displaced");
}

#[tokio::test]
async fn a_list_revokes_what_is_pinned() {
    let town = Town::new("Town");
    let keeper = Arc::new(Keeper::default());
    let papers = town.device("dev-1");
    keeper.pin(&papers);
    let broker = broker(&town, &keeper, &[town.crl(&[&papers.serial])]).await;
    let answer = town.try_connect(&broker, Some(&papers), options(Version::V5, "a"));
    assert!(reason(answer.await).contains("revoked"));
}

#[tokio::test]
async fn a_prefix_stands_before_every_topic_of_devices_and_operators() {
    let town = Town::new("Town");
    let keeper = Arc::new(Keeper::default());
    let broker = broker(&town, &keeper, &[]).await;
    keeper.says("dev-1", below("acme"));
    let (device, mut messages) = town
        .connect(&broker, &town.device("dev-1"), options(Version::V5, "a"))
        .await;
    assert!(may(&device, "acme/dev-1/x").await);
    assert_eq!(next(&mut messages).await.topic, "acme/dev-1/x");
    for closed in [
        "dev-1/x",
        "acme/dev-2/x",
        "acme",
        "acmes/dev-1/x",
        "acme/$SYS/x",
    ] {
        assert!(!may(&device, closed).await, "{closed}");
    }
    keeper.says("operator", below("acme"));
    let operator = town.operator();
    let (reads, mut heard) = town
        .connect(&broker, &operator, options(Version::V5, "o"))
        .await;
    for closed in ["#", "+/dev-1/#", "dev-2/#", "$share/g/acme/#"] {
        assert!(
            reads.subscribe(closed, Qos::AtLeastOnce).await.is_err(),
            "{closed}"
        );
    }
    reads.subscribe("acme/#", Qos::AtLeastOnce).await.unwrap();
    device
        .publish("acme/dev-1/y", "y", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(next(&mut heard).await.topic, "acme/dev-1/y");
    // Other terms end the session; it comes back on them.
    keeper.says(
        "operator",
        Verdict::Admit(Admission {
            may_operate: false,
            ..Admission::default()
        }),
    );
    broker.judge_again();
    let ended = reads.closed().await.to_string();
    assert!(ended.to_lowercase().contains("administrative"), "{ended}");
    let (reads, _none) = town
        .connect(&broker, &operator, options(Version::V5, "o"))
        .await;
    assert!(reads.subscribe("#", Qos::AtLeastOnce).await.is_err());
    assert!(may(&device, "acme/dev-1/x").await, "the device stayed");
}

#[tokio::test]
async fn a_change_between_handshake_and_connect_is_seen() {
    let town = Town::new("Town");
    let keeper = Arc::new(Keeper::default());
    let broker = broker(&town, &keeper, &[]).await;
    let papers = town.device("dev-1");
    let tls = tokio_rustls::TlsConnector::from(town.tls(Some(&papers)));
    let tcp = tokio::net::TcpStream::connect(broker.local_addr())
        .await
        .unwrap();
    let name = "localhost".try_into().unwrap();
    let mut stream = tls.connect(name, tcp).await.unwrap();
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    // A PINGREQ first would be refused; the handshake is over when the session ticket comes, so wait for nothing and block.
    tokio::task::yield_now().await;
    keeper.says("dev-1", BLOCKED);
    broker.judge_again_named(["dev-1"]);
    // CONNECT, MQTT 3.1.1, clean session, client id `a`.
    let connect = [
        0x10, 0x0d, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 1, b'a',
    ];
    stream.write_all(&connect).await.unwrap();
    let mut said = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said));
    let _ = read.await.expect("the broker closes");
    until(&broker, |counters| counters.connected == 0).await;
}

#[tokio::test]
async fn a_closed_broker_lets_clients_wait() {
    let town = Town::new("Town");
    let mut config = town::mutual(town.trust());
    config.closed = true;
    let broker = Broker::start(config).await.unwrap();
    let papers = town.device("dev-1");
    let connect = town.connect(&broker, &papers, options(Version::V5, "a"));
    let open = async {
        tokio::task::yield_now().await;
        assert_eq!(broker.counters().connected, 0);
        broker.open();
    };
    let _both = tokio::join!(connect, open);
    assert_eq!(broker.counters().connected, 1);
}

#[tokio::test]
async fn only_a_client_that_was_there_is_displaced() {
    let town = Town::new("Town");
    let keeper = Arc::new(Keeper::default());
    let broker = broker(&town, &keeper, &[]).await;
    let papers = town.device("dev-1");
    let (first, _none) = town
        .connect(&broker, &papers, options(Version::V5, "a"))
        .await;
    let second = town
        .connect(&broker, &papers, options(Version::V5, "a"))
        .await;
    first.closed().await;
    let alive = async {
        while keeper.count("displaced", "dev-1") == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, alive).await.unwrap();
    // One that says goodbye, and one under another client id, displace nobody.
    second.0.disconnect().await.unwrap();
    let (_a, _n) = town
        .connect(&broker, &papers, options(Version::V5, "a"))
        .await;
    let (_b, _m) = town
        .connect(&broker, &papers, options(Version::V5, "b"))
        .await;
    assert_eq!(keeper.count("displaced", "dev-1"), 1);
    assert_eq!(keeper.count("connected", "dev-1"), 4);
}

#[tokio::test]
async fn mosquittos_tools_come_with_a_pinned_certificate() {
    if !have("mosquitto_pub") {
        return;
    }
    let town = Town::new("Town");
    let keeper = Arc::new(Keeper::default());
    let broker = broker(&town, &keeper, &[]).await;
    let files = Files::new(&town);
    let pinned = Town::new("Elsewhere").device("dev-1");
    files.papers("dev-1", &pinned);
    for (tls, let_in) in [
        ("tlsv1.2", false),
        ("tlsv1.3", false),
        ("tlsv1.2", true),
        ("tlsv1.3", true),
    ] {
        if let_in {
            keeper.pin(&pinned);
        }
        let mut publish = files.tool("mosquitto_pub", &broker, Some("dev-1"));
        publish.args([
            "--tls-version",
            tls,
            "-V",
            "mqttv5",
            "-t",
            "dev-1/x",
            "-q",
            "1",
            "-m",
            "x",
        ]);
        let (code, said) = run(publish).await;
        assert_eq!(code == Some(0), let_in, "{tls} {said}");
    }
}
