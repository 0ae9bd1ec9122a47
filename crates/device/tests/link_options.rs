//! What a link can be told: tags, names, cipher suites, the session cache, plain TCP; and what it tells: traffic.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unused_imports)]
#[path = "failures/house/mod.rs"]
mod house;

use std::sync::{Arc, Mutex};

use sectag_device::link::{CipherSuite, LinkOptions, PeerVerify, Security, TlsOptions};
use sectag_mqtt::{Qos, Traffic, Version, Will};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use house::*;

/// mosquitto with a server certificate of `root`; with `clients` it demands certificates of them.
async fn mosquitto(root: &Authority, clients: Option<&Authority>) -> Peer {
    let papers = server(root);
    let clients = clients.map(rcgen::CertifiedIssuer::pem);
    let demand = match clients {
        Some(_) => {
            "require_certificate true\nuse_identity_as_username true\ncafile {dir}/clients.crt\n"
        }
        None => "allow_anonymous true\n",
    };
    let config = format!(
        "listener {{port}} 127.0.0.1\ncertfile {{dir}}/server.crt\nkeyfile {{dir}}/server.key\n{demand}"
    );
    let files = [
        ("server.crt", papers.pem.clone()),
        ("server.key", papers.key.serialize_pem()),
        ("clients.crt", clients.unwrap_or_default()),
    ];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    Peer::mosquitto(&config, &files).await
}

/// One message there and back; what it cost.
async fn round(device: &Device, security: &Security, options: &LinkOptions) -> Traffic {
    let mut link = device.open(security, options).await.unwrap();
    link.subscribe("t", Qos::AtLeastOnce).await.unwrap();
    link.publish("t", "Hello MQTT!", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    let message = tokio::time::timeout(PATIENCE, link.next()).await.unwrap();
    assert_eq!(&message.unwrap().payload[..], b"Hello MQTT!");
    let client = link.client().clone();
    link.disconnect().await.unwrap();
    client.traffic()
}

#[tokio::test]
async fn a_root_ca_alone_is_enough_for_a_server_that_asks_for_no_more() {
    if !have("mosquitto") {
        return;
    }
    let root = authority("Root");
    let peer = mosquitto(&root, None).await;
    let device = Device::trusting(&root);
    for version in [Version::V311, Version::V5] {
        let options = LinkOptions {
            version,
            ..options(peer.port)
        };
        let traffic = round(&device, &Security::Tls(tls()), &options).await;
        assert_eq!(traffic.tls_version, Some("TLSv1_3"));
    }
    let link = device.connect(peer.port).await.unwrap();
    assert_eq!(
        (
            link.common_name(),
            link.client_id(),
            link.own_topic("x").as_str()
        ),
        (None, "nrf-351234567890123", "nrf-351234567890123/x")
    );
}

#[tokio::test]
async fn authorities_of_both_tags_and_the_first_certificate() {
    if !have("mosquitto") {
        return;
    }
    let (root, devices) = (authority("Root"), authority("Devices"));
    let peer = mosquitto(&root, Some(&devices)).await;
    let second = client(&devices, "from-43");
    // The right root CA lies under the secondary tag, and so does the only certificate.
    let device = Device::trusting(&authority("Other"))
        .with(43, ROOT_CA, &root.pem())
        .with(43, CERTIFICATE, &second.pem)
        .with(43, KEY, &second.key.serialize_pem());
    let security = Security::Tls(TlsOptions {
        tags: vec![tag(42), tag(43)],
        ..tls()
    });
    let link = device.open(&security, &options(peer.port)).await.unwrap();
    assert_eq!(link.common_name(), Some("from-43"));
    // What is written under the primary tag is used at the next connection.
    let device = device.presenting(&client(&devices, "from-42"));
    let link = device.open(&security, &options(peer.port)).await.unwrap();
    assert_eq!(link.common_name(), Some("from-42"));
}

#[tokio::test]
async fn new_credentials_are_used_at_the_next_connection() {
    let (old, new) = (authority("Old"), authority("New"));
    let device = Device::trusting(&old);
    let server_of = async |root: &Authority| {
        Server::tls(server_config(&server(root)), Act::Say(ACCEPTED)).await
    };
    let security = Security::Tls(TlsOptions {
        session_cache: true,
        ..tls()
    });
    let before = server_of(&old).await;
    device.open(&security, &options(before.port)).await.unwrap();
    let after = server_of(&new).await;
    assert!(device.open(&security, &options(after.port)).await.is_err());
    let device = device.with(42, ROOT_CA, &new.pem());
    device.open(&security, &options(after.port)).await.unwrap();
    assert!(device.open(&security, &options(before.port)).await.is_err());
}

#[tokio::test]
async fn plain_full_and_resumed_cost_what_they_cost() {
    if !have("mosquitto") {
        return;
    }
    let (root, devices) = (authority("Root"), authority("Devices"));
    let device = Device::trusting(&root).presenting(&client(&devices, "dev-17"));
    let plain = Peer::mosquitto("listener {port} 127.0.0.1\nallow_anonymous true\n", &[]).await;
    let plain = round(&device, &Security::Plain, &options(plain.port)).await;
    assert_eq!((plain.handshake_sent, plain.handshake_received), (0, 0));
    assert_eq!(
        (plain.sent, plain.received),
        (plain.packets_sent, plain.packets_received)
    );
    assert_eq!((plain.payload_sent, plain.payload_received), (11, 11));
    assert_eq!((plain.tls_version, plain.record_received_max), (None, 0));

    let peer = mosquitto(&root, Some(&devices)).await;
    for suite in [None, Some("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")] {
        let cached = TlsOptions {
            session_cache: true,
            cipher_suites: suite
                .into_iter()
                .map(|name| name.parse().unwrap())
                .collect(),
            ..tls()
        };
        let security = Security::Tls(cached.clone());
        let options = LinkOptions {
            client_id: Some("nrf-351234567890123".into()),
            ..options(peer.port)
        };
        let full = round(&device, &security, &options).await;
        let resumed = round(&device, &security, &options).await;
        assert!(!full.resumed && resumed.resumed, "{suite:?}");
        for tls in [&full, &resumed] {
            // The same packets, whatever carries them.
            assert_eq!(
                (
                    tls.packets_sent,
                    tls.packets_received,
                    tls.payload_sent,
                    tls.payload_received
                ),
                (plain.packets_sent, plain.packets_received, 11, 11)
            );
            assert!(tls.sent > tls.packets_sent && tls.received > tls.packets_received);
            assert!(tls.record_received_max > 0);
            assert!(suite.is_none() || tls.cipher_suite == suite);
        }
        // A ticket is longer than nothing and shorter than two certificates.
        let handshake = |traffic: &Traffic| traffic.handshake_sent + traffic.handshake_received;
        assert!(
            handshake(&resumed) < handshake(&full),
            "{full:?} {resumed:?}"
        );
        assert!(resumed.handshake_received < full.handshake_received);
        // Off by default; and forgotten when asked to.
        let uncached = Security::Tls(TlsOptions {
            session_cache: false,
            ..cached.clone()
        });
        assert!(!round(&device, &uncached, &options).await.resumed);
        cached.sessions.clear();
        assert!(!round(&device, &security, &options).await.resumed);
    }
}

#[tokio::test]
async fn a_resumed_session_belongs_to_the_credentials_it_was_made_with() {
    if !have("mosquitto") {
        return;
    }
    let (root, devices) = (authority("Root"), authority("Devices"));
    let peer = mosquitto(&root, Some(&devices)).await;
    let device = Device::trusting(&root).presenting(&client(&devices, "one"));
    let security = Security::Tls(TlsOptions {
        session_cache: true,
        ..tls()
    });
    let options = options(peer.port);
    round(&device, &security, &options).await;
    assert!(round(&device, &security, &options).await.resumed);
    let device = device.presenting(&client(&devices, "two"));
    let link = device.open(&security, &options).await.unwrap();
    assert_eq!(
        (link.traffic().resumed, link.common_name()),
        (false, Some("two"))
    );
}

#[tokio::test]
async fn an_address_in_the_certificate_is_a_name_too() {
    let root = authority("Root");
    let papers = server_with(&root, |params| {
        params.subject_alt_names = vec![rcgen::SanType::IpAddress([127, 0, 0, 1].into())];
    });
    let server = Server::tls(server_config(&papers), Act::Say(ACCEPTED)).await;
    let security = Security::tags([tag(42)]);
    let device = Device::trusting(&root);
    device.open(&security, &options(server.port)).await.unwrap();
}

/// As the public test broker has them: RSA throughout, on the server's side.
#[tokio::test]
async fn a_server_with_an_rsa_chain() {
    let rsa =
        || rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = Authority::self_signed(params, rsa().unwrap()).unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let key = rsa().unwrap();
    let certificate = params.signed_by(&key, &root).unwrap();
    let papers = Papers {
        chain: vec![certificate.der().clone()],
        pem: certificate.pem(),
        key,
    };
    let devices = authority("Devices");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = server_config_with(&papers, Some(clients_of(&[&devices], vec![])), &[version]);
        let server = Server::tls(config, Act::Say(ACCEPTED)).await;
        let device = Device::trusting(&root).presenting(&client(&devices, "dev-17"));
        let link = device.connect(server.port).await.unwrap();
        assert_eq!(link.warnings(), []);
    }
}

#[tokio::test]
async fn weaker_verification_connects_to_what_the_default_refuses() {
    let server = Server::tls(
        server_config(&server(&authority("Stranger"))),
        Act::Say(ACCEPTED),
    )
    .await;
    let with = |tags: Vec<_>, peer_verify| {
        Security::Tls(TlsOptions {
            tags,
            peer_verify,
            ..tls()
        })
    };
    let device = Device::blank();
    let options = options(server.port);
    for verify in [PeerVerify::DangerouslyOptional, PeerVerify::DangerouslyNone] {
        // Even without any authority.
        let link = device.open(&with(vec![], verify), &options).await.unwrap();
        assert_eq!(link.warnings().len(), 1);
    }
    assert!(
        device
            .open(&with(vec![], PeerVerify::Required), &options)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_will_is_published_when_the_device_vanishes() {
    if !have("mosquitto") {
        return;
    }
    let root = authority("Root");
    let peer = mosquitto(&root, None).await;
    let device = Device::trusting(&root);
    let mut witness = device.connect(peer.port).await.unwrap();
    witness
        .subscribe("lastwilltopic", Qos::AtLeastOnce)
        .await
        .unwrap();
    let through = proxy(peer.port, Meddle::Cut(usize::MAX)).await;
    let options = LinkOptions {
        client_id: Some("mortal".into()),
        will: Some(Will {
            topic: "lastwilltopic".into(),
            payload: br#"{"lastwill": "offline"}"#.to_vec(),
            qos: Qos::AtLeastOnce,
            retain: false,
        }),
        ..options(through.port)
    };
    let mortal = device.open(&Security::Tls(tls()), &options).await.unwrap();
    // Somebody else takes the session over: the first connection ends without a goodbye.
    let taker = LinkOptions {
        will: None,
        port: peer.port,
        ..options.clone()
    };
    let _taker = device.open(&Security::Tls(tls()), &taker).await.unwrap();
    let message = tokio::time::timeout(PATIENCE, witness.next())
        .await
        .unwrap();
    assert_eq!(&message.unwrap().payload[..], br#"{"lastwill": "offline"}"#);
    drop(mortal);
}

/// A wire tap: everything that went by, in both directions.
async fn tap(to: u16) -> (Server, Arc<Mutex<Vec<u8>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = seen.clone();
    let server = Server::start(move |client| {
        let record = record.clone();
        async move {
            let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::join!(
                copy(from_client, to_server, &record),
                copy(from_server, to_client, &record)
            );
        }
    })
    .await;
    (server, seen)
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    record: &Mutex<Vec<u8>>,
) {
    let mut buffer = vec![0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        record.lock().unwrap().extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

fn holds(capture: &Mutex<Vec<u8>>, text: &str) -> bool {
    let capture = capture.lock().unwrap();
    capture
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_capture_holds_no_payload() {
    if !have("mosquitto") {
        return;
    }
    let root = authority("Root");
    let device = Device::trusting(&root);
    let secrets = ["Hello MQTT!", "nrf-351234567890123"];

    let plain = Peer::mosquitto("listener {port} 127.0.0.1\nallow_anonymous true\n", &[]).await;
    let (wire, capture) = tap(plain.port).await;
    round(&device, &Security::Plain, &options(wire.port)).await;
    // The tap works: over plain TCP it reads along.
    assert!(secrets.iter().all(|text| holds(&capture, text)));

    let peer = mosquitto(&root, None).await;
    let (wire, capture) = tap(peer.port).await;
    for suite in CipherSuite::known().filter(|suite| !suite.name().contains("_RSA_")) {
        let security = Security::Tls(TlsOptions {
            cipher_suites: vec![suite],
            ..tls()
        });
        let traffic = round(&device, &security, &options(wire.port)).await;
        assert_eq!(traffic.cipher_suite, Some(suite.name()));
        assert!(!secrets.iter().any(|text| holds(&capture, text)), "{suite}");
    }
}

#[tokio::test]
async fn tls_settings_never_end_in_plain_tcp() {
    // The port speaks plain MQTT and would accept.
    let server = Server::plain(Act::Say(ACCEPTED)).await;
    let device = Device::trusting(&authority("Root"));
    let empty = Device::blank();
    for verify in [PeerVerify::Required, PeerVerify::DangerouslyNone] {
        let security = Security::Tls(TlsOptions {
            peer_verify: verify,
            ..tls()
        });
        for device in [&device, &empty] {
            assert!(device.open(&security, &options(server.port)).await.is_err());
        }
    }
}
