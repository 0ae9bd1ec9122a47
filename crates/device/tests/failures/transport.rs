//! It fails before a certificate is seen: name, TCP, TLS itself.

use std::time::Duration;

use rustls::server::ResolvesServerCertUsingSni;
use rustls::version::{TLS12, TLS13};
use sectag_device::Cause;
use sectag_device::link::{LinkOptions, Security, TlsOptions};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};

use super::house::*;

#[tokio::test]
async fn a_host_name_that_nobody_knows() {
    let root = authority("Root");
    let options = LinkOptions {
        host: "broker.invalid".into(),
        ..options(8883)
    };
    let outcome = Device::trusting(&root)
        .open(&Security::tags([tag(42)]), &options)
        .await;
    says(
        &explanation(outcome),
        Cause::NameNotResolved,
        &["`broker.invalid`", "the resolver says"],
    );
}

#[tokio::test]
async fn nothing_listens() {
    let root = authority("Root");
    // Bound and not listening: nobody else can take the port meanwhile.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let explained = Device::trusting(&root).explain(address.port()).await;
    says(
        &explained,
        Cause::ConnectionRefused,
        &[&format!("nothing listens at {address}"), "usual is 8883"],
    );
    let outcome = Device::blank()
        .open(&Security::Plain, &options(address.port()))
        .await;
    says(
        &explanation(outcome),
        Cause::ConnectionRefused,
        &[&format!("nothing listens at {address}"), "usual is 1883"],
    );
}

#[tokio::test]
async fn a_machine_that_does_not_answer() {
    let root = authority("Root");
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    // With its queue full the kernel drops further SYNs, as a firewall does.
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(connected) = tokio::time::timeout(HASTE, TcpStream::connect(address)).await {
        queued.push(connected.unwrap());
        assert!(queued.len() < 16, "the queue has no end");
    }
    let options = LinkOptions {
        timeout: HASTE,
        ..options(address.port())
    };
    let outcome = Device::trusting(&root)
        .open(&Security::Tls(tls()), &options)
        .await;
    says(
        &explanation(outcome),
        Cause::HostUnreachable,
        &[&format!("no answer from {address}"), "within 400ms"],
    );
}

#[tokio::test]
async fn a_port_that_speaks_something_else() {
    let root = authority("Root");
    let device = Device::trusting(&root);
    let http = Server::plain(Act::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n")).await;
    says(
        &device.explain(http.port).await,
        Cause::NoTlsOnPort,
        &[
            &format!("port {}", http.port),
            "answered TLS with `HTTP/1.1 400 Bad Request`",
        ],
    );
    let mute = Server::plain(Act::Close).await;
    says(
        &device.explain(mute.port).await,
        Cause::NoTlsOnPort,
        &[&format!("port {}", mute.port), "without one byte of TLS"],
    );
    if !have("mosquitto") {
        return;
    }
    let plain = Peer::mosquitto("listener {port} 127.0.0.1\nallow_anonymous true\n", &[]).await;
    says(
        &device.explain(plain.port).await,
        Cause::NoTlsOnPort,
        &[&format!("port {}", plain.port), "without one byte of TLS"],
    );
}

#[tokio::test]
async fn plain_mqtt_to_a_tls_port() {
    let root = authority("Root");
    let ours = Server::tls(server_config(&server(&root)), Act::Listen).await;
    let mut ports = vec![ours.port];
    let papers = server(&root);
    let peer = match have("openssl") {
        true => Some(Peer::s_server(&papers, &[]).await),
        false => None,
    };
    ports.extend(peer.as_ref().map(|peer| peer.port));
    for port in ports {
        let outcome = Device::blank().open(&Security::Plain, &options(port)).await;
        says(
            &explanation(outcome),
            Cause::TlsExpected,
            &[
                &format!("port {port} of `127.0.0.1` speaks TLS"),
                "03 03",
                "plain MQTT was asked for",
            ],
        );
    }
}

#[tokio::test]
async fn plain_mqtt_to_a_web_server() {
    let http = Server::plain(Act::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n")).await;
    let outcome = Device::blank()
        .open(&Security::Plain, &options(http.port))
        .await;
    says(
        &explanation(outcome),
        Cause::NotMqtt,
        &["`HTTP/1.1 400 Bad Request`", "CONNACK (20 02)"],
    );
}

#[tokio::test]
async fn a_server_that_never_says_hello() {
    let root = authority("Root");
    let silent = Server::plain(Act::Listen).await;
    let options = LinkOptions {
        timeout: HASTE,
        ..options(silent.port)
    };
    let outcome = Device::trusting(&root)
        .open(&Security::Tls(tls()), &options)
        .await;
    says(
        &explanation(outcome),
        Cause::HandshakeTimeout,
        &[&format!("127.0.0.1:{}", silent.port), "within 400ms"],
    );
}

#[tokio::test]
async fn a_connection_that_is_cut_within_the_handshake() {
    let root = authority("Root");
    let server = Server::tls(server_config(&server(&root)), Act::Say(ACCEPTED)).await;
    let proxy = proxy(server.port, Meddle::Cut(100)).await;
    says(
        &Device::trusting(&root).explain(proxy.port).await,
        Cause::HandshakeCut,
        &["after 100 bytes", "without an alert"],
    );
}

#[tokio::test]
async fn no_common_tls_version() {
    let root = authority("Root");
    let device = Device::trusting(&root);
    let papers = server(&root);
    let old_suite = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    let new_suite = "TLS_AES_128_GCM_SHA256";
    for (version, suite, ours, theirs) in [
        (
            &TLS13,
            old_suite,
            "offered here: TLS 1.2 only",
            "TLS 1.3 only, or TLS 1.1 or older",
        ),
        (
            &TLS12,
            new_suite,
            "offered here: TLS 1.3 only",
            "TLS 1.2 or older only",
        ),
    ] {
        let config = server_config_with(&papers, None, &[version]);
        let server = Server::tls(config, Act::Say(ACCEPTED)).await;
        let security = Security::Tls(TlsOptions {
            cipher_suites: vec![suite.parse().unwrap()],
            ..tls()
        });
        let outcome = device.open(&security, &options(server.port)).await;
        says(
            &explanation(outcome),
            Cause::NoCommonVersion,
            &[ours, theirs],
        );
    }
    if !have("openssl") {
        return;
    }
    for version in ["-tls1", "-tls1_1"] {
        let peer = Peer::s_server(&papers, &[version, "-cipher", "ALL:@SECLEVEL=0"]).await;
        says(
            &device.explain(peer.port).await,
            Cause::NoCommonVersion,
            &["offered here: TLS 1.2 and TLS 1.3", "TLS 1.1 or older only"],
        );
    }
}

#[tokio::test]
async fn no_common_cipher_suite() {
    let root = authority("Root");
    let device = Device::trusting(&root);
    let papers = server(&root);
    // An RSA suite, and the server has an ECDSA key.
    let suite = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
    let security = Security::Tls(TlsOptions {
        cipher_suites: vec![suite.parse().unwrap()],
        ..tls()
    });
    let server = Server::tls(
        server_config_with(&papers, None, &[&TLS12]),
        Act::Say(ACCEPTED),
    )
    .await;
    let outcome = device.open(&security, &options(server.port)).await;
    says(
        &explanation(outcome),
        Cause::NoCommonCipherSuite,
        &[suite, "takes none of them (alert handshake_failure, 40)"],
    );
    if !have("openssl") {
        return;
    }
    let arguments = ["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"];
    let peer = Peer::s_server(&papers, &arguments).await;
    let suite = "TLS_AES_128_GCM_SHA256";
    let security = Security::Tls(TlsOptions {
        cipher_suites: vec![suite.parse().unwrap()],
        ..tls()
    });
    let outcome = device.open(&security, &options(peer.port)).await;
    says(
        &explanation(outcome),
        Cause::NoCommonCipherSuite,
        &[suite, "takes none of them (alert handshake_failure, 40)"],
    );
}

#[tokio::test]
async fn a_server_that_does_not_know_the_name() {
    let root = authority("Root");
    let device = Device::trusting(&root);
    let papers = server(&root);
    let security = Security::Tls(TlsOptions {
        server_name: Some("other.example".into()),
        ..tls()
    });
    let mut names = ResolvesServerCertUsingSni::new();
    names.add("localhost", papers.certified()).unwrap();
    let mut config = server_config(&papers);
    config.cert_resolver = std::sync::Arc::new(names);
    let server = Server::tls(config, Act::Say(ACCEPTED)).await;
    let outcome = device.open(&security, &options(server.port)).await;
    says(
        &explanation(outcome),
        Cause::ServerNameUnknown,
        &[
            "`other.example` (SNI)",
            &format!("127.0.0.1:{} was asked", server.port),
        ],
    );
    if !have("openssl") {
        return;
    }
    let known = [
        "-servername",
        "localhost",
        "-servername_fatal",
        "-cert2",
        "server.crt",
        "-key2",
        "server.key",
    ];
    let peer = Peer::s_server(&papers, &known).await;
    let outcome = device.open(&security, &options(peer.port)).await;
    says(
        &explanation(outcome),
        Cause::ServerNameUnknown,
        &["`other.example` (SNI)", "alert unrecognized_name, 112"],
    );
}

#[tokio::test]
async fn one_altered_byte_ends_the_session() {
    let root = authority("Root");
    let device = Device::trusting(&root);
    // A byte of the server's handshake, then one of its first record after it.
    let server = Server::tls(server_config(&server(&root)), Act::Say(ACCEPTED)).await;
    let clean = device.connect(server.port).await.unwrap();
    let handshake = usize::try_from(clean.traffic().handshake_received).unwrap();
    for at in [handshake - 10, handshake + 10] {
        let proxy = proxy(server.port, Meddle::Flip(at)).await;
        says(
            &device.explain(proxy.port).await,
            Cause::RecordDamaged,
            &[&format!("127.0.0.1:{}", proxy.port), "authentication tag"],
        );
    }
    // A byte of the device's first record: the server notices and says so.
    let at = usize::try_from(clean.traffic().handshake_sent).unwrap() + 10;
    let proxy = proxy(server.port, Meddle::FlipSent(at)).await;
    says(
        &device.explain(proxy.port).await,
        Cause::RecordDamaged,
        &[
            "received a record other than the one we sent",
            "alert bad_record_mac, 20",
        ],
    );
}

#[tokio::test]
async fn no_altered_byte_goes_unnoticed() {
    let root = authority("Root");
    let device = Device::trusting(&root);
    let server = Server::tls(server_config(&server(&root)), Act::Say(ACCEPTED)).await;
    let clean = device.connect(server.port).await.unwrap();
    let first = usize::try_from(clean.traffic().handshake_received).unwrap();
    let count = usize::try_from(clean.traffic().received).unwrap();
    // Signatures in DER differ in length by some bytes from one handshake to the next.
    for at in (first + 8..first + count - 8).step_by(37) {
        let proxy = proxy(server.port, Meddle::Flip(at)).await;
        // A record that got longer may never come to its end.
        let options = LinkOptions {
            timeout: HASTE,
            ..options(proxy.port)
        };
        let outcome = device.open(&Security::Tls(tls()), &options).await;
        assert!(outcome.is_err(), "byte {at}");
    }
}

#[tokio::test]
async fn a_record_longer_than_tls_allows() {
    let root = authority("Root");
    let server = Server::plain(Act::Say(&[0x16, 3, 3, 0x60, 0, 2, 0, 0, 0])).await;
    says(
        &Device::trusting(&root).explain(server.port).await,
        Cause::RecordTooLarge,
        &["more than 16384", "24576"],
    );
}

#[tokio::test]
async fn a_broker_that_takes_connect_and_says_nothing() {
    let root = authority("Root");
    let server = Server::tls(server_config(&server(&root)), Act::Listen).await;
    let options = LinkOptions {
        timeout: Duration::from_secs(1),
        ..options(server.port)
    };
    let outcome = Device::trusting(&root)
        .open(&Security::Tls(tls()), &options)
        .await;
    says(
        &explanation(outcome),
        Cause::ConnackTimeout,
        &["did not answer CONNECT", "within 1s"],
    );
}

/// Garbage in the middle of a handshake that began well.
#[tokio::test]
async fn garbage_after_the_server_hello() {
    let root = authority("Root");
    let server = Server::start(|mut tcp| async move {
        let mut hello = vec![0; 4096];
        let _ = tcp.read(&mut hello).await;
        let garbage = [0x16, 3, 3, 0, 4, 0xff, 0xff, 0xff, 0xff];
        let _ = tokio::io::AsyncWriteExt::write_all(&mut tcp, &garbage).await;
        while matches!(tcp.read(&mut hello).await, Ok(1..)) {}
    })
    .await;
    says(
        &Device::trusting(&root).explain(server.port).await,
        Cause::RecordDamaged,
        &[&format!("127.0.0.1:{}", server.port), "not what TLS allows"],
    );
}
