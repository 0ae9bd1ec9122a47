//! Asking servers for their chain: what is recorded, and what is said when there is none.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sectag_device::chain::{FetchError, Server, fetch};
use sectag_pki::lint::chain::{Root, judge};
use sectag_pki::{Authority, PrivateKey, Purpose, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn at(address: SocketAddr) -> Server {
    Server {
        host: "localhost".to_owned(),
        port: address.port(),
        server_name: None,
        alpn: Vec::new(),
        timeout: Duration::from_secs(20),
    }
}

struct Pki {
    root: Authority,
    servers: Authority,
    leaf: Vec<u8>,
    key: PrivateKey,
}

impl Pki {
    fn new() -> Self {
        let root = Authority::root("root", now_s()).unwrap();
        let servers = root.issuing(Purpose::Servers, now_s()).unwrap();
        let key = PrivateKey::generate().unwrap();
        let names = [ServerName::Dns("localhost".into())];
        let leaf = servers
            .issue_server(&key.spki_der(), &names, now_s())
            .unwrap();
        Self {
            leaf: leaf.der().to_vec(),
            root,
            servers,
            key,
        }
    }

    /// A server that sends these; with `clients` it demands a client certificate.
    async fn serve(&self, chain: &[&[u8]], alpn: &[&str], clients: bool) -> SocketAddr {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = if clients {
            let mut roots = rustls::RootCertStore::empty();
            roots
                .add(self.root.certificate_der().to_vec().into())
                .unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            config.with_no_client_auth()
        };
        let chain = chain.iter().map(|der| CertificateDer::from(der.to_vec()));
        let key = PrivateKeyDer::Pkcs8(self.key.secret_pkcs8_der().to_vec().into());
        let mut config = config.with_single_cert(chain.collect(), key).unwrap();
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(mut tls) = acceptor.accept(stream).await {
                        let _ = tls.read(&mut [0]).await;
                    }
                });
            }
        });
        address
    }
}

#[tokio::test]
async fn the_chain_arrives_as_it_was_sent_and_its_root_is_looked_up() {
    let pki = Pki::new();
    let sent = [&pki.leaf[..], pki.servers.certificate_der()];
    let address = pki.serve(&sent, &["mqtt"], false).await;
    let server = Server {
        alpn: vec!["mqtt".to_owned()],
        ..at(address)
    };
    let fetched = fetch(&server).await.unwrap();
    assert_eq!(fetched.chain, sent);
    assert_eq!(fetched.address, address);
    assert_eq!(fetched.version.as_deref(), Some("TLSv1.3"));
    assert_eq!(fetched.alpn.as_deref(), Some("mqtt"));
    assert_eq!(fetched.proved, Some(true));
    assert!(!fetched.wants_client_certificate);

    let name = ServerName::Dns("localhost".into());
    let roots = [pki.root.certificate_der().to_vec()];
    let judged = judge(&fetched.chain, &roots, &name, now_s()).unwrap();
    assert_eq!(judged.verified, Ok(()));
    assert_eq!(judged.path, [0, 1]);
    assert!(matches!(&judged.root, Root::Known(link) if link.der == roots[0]));

    let judged = judge(&fetched.chain, &[], &name, now_s()).unwrap();
    assert!(judged.verified.is_err());
    assert!(matches!(judged.root, Root::Missing { issuer } if issuer == "CN=root"));
}

#[tokio::test]
async fn a_root_that_is_sent_is_told_from_one_that_is_known() {
    let pki = Pki::new();
    let root = pki.root.certificate_der();
    let sent = [&pki.leaf[..], pki.servers.certificate_der(), root];
    let address = pki.serve(&sent, &[], false).await;
    let fetched = fetch(&at(address)).await.unwrap();
    let name = ServerName::Dns("localhost".into());
    for (roots, is_known) in [(vec![], false), (vec![root.to_vec()], true)] {
        let judged = judge(&fetched.chain, &roots, &name, now_s()).unwrap();
        let Root::Sent { link: 2, known } = judged.root else {
            panic!("{:?}", judged.root)
        };
        assert_eq!(known, is_known);
        assert_eq!(judged.verified.is_ok(), is_known);
        assert_eq!(judged.path, [0, 1, 2]);
    }
}

#[tokio::test]
async fn a_chain_without_its_intermediate_has_no_root_even_when_the_root_is_known() {
    let pki = Pki::new();
    let address = pki.serve(&[&pki.leaf], &[], false).await;
    let fetched = fetch(&at(address)).await.unwrap();
    let roots = [pki.root.certificate_der().to_vec()];
    let name = ServerName::Dns("localhost".into());
    let judged = judge(&fetched.chain, &roots, &name, now_s()).unwrap();
    assert!(judged.verified.is_err());
    assert!(matches!(judged.root, Root::Missing { issuer } if issuer == "CN=root servers"));
}

#[tokio::test]
async fn a_server_that_demands_a_client_certificate_is_asked_all_the_same() {
    let pki = Pki::new();
    let address = pki.serve(&[&pki.leaf], &[], true).await;
    let fetched = fetch(&at(address)).await.unwrap();
    assert_eq!(fetched.chain, std::slice::from_ref(&pki.leaf));
    assert!(fetched.wants_client_certificate);
}

#[tokio::test]
async fn another_protocol_is_shown_by_its_first_words() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"SSH-2.0-Example\r\n").await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
        }
    });
    let error = fetch(&at(address)).await.unwrap_err();
    assert!(matches!(&error, FetchError::NotTls { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("{address} does not speak TLS: it answered `SSH-2.0-Example\\r\\n`")
    );
}

#[tokio::test]
async fn silence_hanging_up_and_nobody_are_told_apart() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server {
        timeout: Duration::from_millis(200),
        ..at(silent.local_addr().unwrap())
    };
    let error = fetch(&server).await.unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::Timeout {
                what: "did not answer to TLS",
                ..
            }
        ),
        "{error:?}"
    );

    let rude = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = rude.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = rude.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
        }
    });
    let error = fetch(&at(address)).await.unwrap_err();
    assert!(matches!(error, FetchError::Closed { .. }), "{error:?}");

    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let error = fetch(&at(address)).await.unwrap_err();
    assert!(matches!(error, FetchError::Connect { .. }), "{error:?}");
}

#[tokio::test]
async fn an_alert_in_place_of_a_certificate_is_the_handshakes_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            // Fatal, unrecognized_name (RFC 6066 §3).
            let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 112]).await;
        }
    });
    let error = fetch(&at(address)).await.unwrap_err();
    assert!(matches!(error, FetchError::Handshake { .. }), "{error:?}");
}

#[tokio::test]
async fn names_that_are_none_are_refused_before_anybody_is_asked() {
    let server = Server {
        server_name: Some("not a name".to_owned()),
        ..at("127.0.0.1:1".parse().unwrap())
    };
    assert!(matches!(fetch(&server).await, Err(FetchError::Name(_))));
    let server = Server {
        host: "nobody.invalid".to_owned(),
        ..at("127.0.0.1:1".parse().unwrap())
    };
    assert!(matches!(
        fetch(&server).await,
        Err(FetchError::Resolve { .. })
    ));
}
