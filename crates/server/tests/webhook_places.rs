//! Where webhooks may lead, and what is said about where they must not.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::json;
use std::sync::Arc;
use support::Town;
use support::receiver::add;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test]
async fn nobody_learns_whether_a_name_of_the_own_network_exists() {
    let town = Town::start().await;
    let made = json!({"name": "guests"});
    let team = town.owner("POST", "/v1/teams", Some(&made)).await.json();
    let key = json!({"name": "ada", "role": "admin", "team": team["id"]});
    let key = town.owner("POST", "/v1/keys", Some(&key)).await.json();
    let key = key["key"].as_str().unwrap();
    town.log.forbid(key);
    let headers = format!("Authorization: Bearer {key}\r\n");
    // One name is in the own network, the other one nowhere (RFC 6761 §6.4).
    let mut told = Vec::new();
    for name in ["localhost", "nobody.invalid"] {
        let body = json!({"url": format!("https://{name}:1/")}).to_string();
        let made = town
            .owner_raw("POST", "/v1/webhooks", &headers, &body)
            .await;
        assert_eq!(made.status, 201);
        let path = format!("/v1/webhooks/{}/test", made.json()["id"].as_str().unwrap());
        let test = town.owner_raw("POST", &path, &headers, "").await.json();
        assert!(test["tookMs"].as_u64().unwrap() >= 1000, "{test}");
        let error = test["error"].as_str().unwrap();
        told.push(error.replace(name, "NAME"));
    }
    assert!(told[0].starts_with("`NAME` leads nowhere"), "{}", told[0]);
    assert_eq!(told[0], told[1]);
    let lines = town.log.lines();
    for detail in ["is an address of the own network", "is not found"] {
        assert!(lines.iter().any(|line| line.contains(detail)), "{detail}");
    }
    // Of the home's own team it may lead there, and what is said names what was given.
    let body = json!({"url": "http://localhost:1/"});
    let made = town.owner("POST", "/v1/webhooks", Some(&body)).await;
    let path = format!("/v1/webhooks/{}/test", made.json()["id"].as_str().unwrap());
    let test = town.owner("POST", &path, None).await.json();
    let error = test["error"].as_str().unwrap();
    assert!(error.starts_with("localhost:1: "), "{error}");
}

#[tokio::test]
async fn a_webhook_leads_nowhere_it_must_not() {
    let town = Town::start().await;
    for (url, words) in [
        ("http://169.254.169.254/latest/meta-data", "link-local"),
        ("https://[fe80::1]/", "link-local"),
        ("http://[::ffff:169.254.169.254]/", "link-local"),
        ("http://93.184.216.34/", "only `https`"),
        ("ftp://127.0.0.1/", "neither `https` nor `http`"),
        ("https://user:pass@127.0.0.1/", "user names and passwords"),
        ("not a url", "not a URL"),
    ] {
        let reply = add(&town, json!({"url": url})).await;
        assert_eq!(reply.status, 422, "{url}");
        let message = reply.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(words), "{url}: {message}");
    }
    let short = add(
        &town,
        json!({"url": "http://127.0.0.1:1/", "secret": "short"}),
    )
    .await;
    assert_eq!(short.status, 422);
    let kind = add(
        &town,
        json!({"url": "http://127.0.0.1:1/", "kinds": ["zebra"]}),
    )
    .await;
    assert!(
        kind.json()["message"]
            .as_str()
            .unwrap()
            .contains("certificate"),
        "the kinds are named"
    );
    // Nobody listens there; the test says why.
    let made = add(&town, json!({"url": "http://127.0.0.1:1/"}))
        .await
        .json();
    let secret = made["secret"].as_str().unwrap();
    town.log.forbid(secret);
    assert!(secret.starts_with("whsec_") && secret.len() > 40);
    let path = format!("/v1/webhooks/{}/test", made["id"].as_str().unwrap());
    let test = town.owner("POST", &path, None).await.json();
    assert_eq!(test["delivered"], false);
    assert!(
        test["error"].as_str().unwrap().contains("127.0.0.1:1"),
        "{test}"
    );
    // There is an end of them.
    for _ in 0..15 {
        assert_eq!(
            add(&town, json!({"url": "http://127.0.0.1:1/"}))
                .await
                .status,
            201
        );
    }
    assert_eq!(
        add(&town, json!({"url": "http://127.0.0.1:1/"}))
            .await
            .status,
        409
    );
    let listed = town.owner("GET", "/v1/webhooks", None).await;
    let text = String::from_utf8(listed.body).unwrap();
    assert!(!text.contains("whsec_"), "shown once");
    let database = std::fs::read(town.dir.path().join("home/sectag.db-wal")).unwrap_or_default();
    assert!(
        !database
            .windows(secret.len())
            .any(|w| w == secret.as_bytes()),
        "sealed"
    );
}

#[tokio::test]
async fn the_receivers_certificate_is_judged_by_the_system_and_the_setting() {
    let mut town = Town::start().await;
    town.down().await;
    // A receiver whose certificate comes from the home's own root.
    let home = town.dir.path().join("home");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("https://localhost:{port}/");
    let chain = std::fs::read(home.join("tls/server.crt")).unwrap();
    let key = std::fs::read(home.join("tls/server.key")).unwrap();
    use rustls_pki_types::pem::PemObject as _;
    let chain: Vec<_> = rustls_pki_types::CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .unwrap();
    let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(socket).await else {
                continue;
            };
            let mut bytes = vec![0; 65536];
            let _ = stream.read(&mut bytes).await;
            let _ = stream
                .write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
                .await;
            let _ = stream.shutdown().await;
        }
    });
    let tried = async |town: &Town| {
        let made = add(town, json!({"url": url})).await.json();
        let path = format!("/v1/webhooks/{}/test", made["id"].as_str().unwrap());
        town.owner("POST", &path, None).await.json()
    };
    town.up().await;
    let refused = tried(&town).await;
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .contains("no TLS session"),
        "{refused}"
    );
    town.down().await;
    let toml = home.join("sectag.toml");
    let text = std::fs::read_to_string(&toml).unwrap();
    let root = home.join("ca/root.crt");
    std::fs::write(
        &toml,
        format!(
            "{text}\n[webhooks]\nca-file = {:?}\n",
            root.display().to_string()
        ),
    )
    .unwrap();
    town.up().await;
    let taken = tried(&town).await;
    assert_eq!(
        (&taken["delivered"], &taken["status"]),
        (&json!(true), &json!(204)),
        "{taken}"
    );
}
