//! Clients by the keys `mqtt.client.*`: what the files make of a connection, and failures told in keys (RULE 16, RULE 19).

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sectag_device::link::{MqttLink, NoTags, Security};
use sectag_device::{Cause, Explanation, GatewayClient, LinkError};
use sectag_gateway::config::{Config, Environment, Locations};
use sectag_gateway::facts::{Interface, Machine};
use sectag_gateway::findings::FindingId;
use sectag_gateway::{Level, Settings};

use super::house::*;

/// A configuration directory with papers in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn papers(&self, name: &str, papers: &Papers) {
        self.write(&format!("{name}.crt"), &papers.pem);
        self.write(&format!("{name}.key"), &papers.key.serialize_pem());
    }

    /// `KEY = VALUE` lines below `mqtt`; `@NAME` is a file of the folder.
    fn settings(&self, keys: &str) -> Settings {
        let mut text = String::new();
        for line in keys.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once(" = ").unwrap();
            let value = match value.strip_prefix('@') {
                Some(name) => format!("'{}'", self.0.path().join(name).display()),
                None => value.to_owned(),
            };
            text += &format!("mqtt.{key} = {value}\n");
        }
        self.write("tedge.toml", &text);
        let locations = Locations {
            dir: self.0.path().to_owned(),
            cwd: self.0.path().to_owned(),
        };
        let config = Config::load(&locations, &Environment::default()).unwrap();
        config.settings().unwrap()
    }

    fn client(&self, keys: &str) -> GatewayClient {
        GatewayClient::new(self.settings(keys))
    }
}

async fn open(client: &GatewayClient) -> Result<MqttLink, LinkError> {
    let options = client.link_options();
    MqttLink::open(
        Arc::new(NoTags),
        &Security::Gateway(client.clone()),
        &options,
    )
    .await
}

async fn fails(client: &GatewayClient) -> Explanation {
    explanation(open(client).await)
}

/// A listener that requires certificates of `clients`.
fn mutual_config(root: &Authority, clients: &Authority) -> rustls::ServerConfig {
    let verifier = clients_of(&[clients], Vec::new());
    server_config_with(&server(root), Some(verifier), rustls::ALL_VERSIONS)
}

/// The cause, the key, and words of sentence and fix.
#[track_caller]
fn told(explained: &Explanation, cause: Cause, key: &str, values: &[&str], fix: &str) {
    says(explained, cause, values);
    assert_eq!(explained.key, Some(key), "{explained:?}");
    assert!(explained.fix.contains(fix), "{explained:?}");
}

#[tokio::test]
async fn the_level_is_what_keys_and_listener_have_in_common() {
    let (root, clients) = (authority("Root"), authority("Clients"));
    let folder = Folder::new();
    folder.write("ca.crt", &root.pem());
    folder.papers("client", &client(&clients, "gw-1"));
    let only_server = Server::tls(server_config(&server(&root)), Act::Say(ACCEPTED)).await;
    let both = mutual_config(&root, &clients);
    let both = Server::tls(both, Act::Say(ACCEPTED)).await;
    let plain = Server::plain(Act::Say(ACCEPTED)).await;
    let tls = "client.host = 'localhost'\nclient.auth.ca_file = @ca.crt";
    let mutual =
        format!("{tls}\nclient.auth.cert_file = @client.crt\nclient.auth.key_file = @client.key");
    let at = |keys: &str, port: u16| folder.client(&format!("{keys}\nclient.port = {port}"));

    let link = open(&at("", plain.port)).await.unwrap();
    assert_eq!(link.level(), Level::None);
    let link = open(&at(tls, only_server.port)).await.unwrap();
    assert_eq!((link.level(), link.warnings().len()), (Level::Server, 0));
    let link = open(&at(&mutual, both.port)).await.unwrap();
    assert_eq!((link.level(), link.warnings().len()), (Level::Mutual, 0));
    assert_eq!(link.common_name(), Some("gw-1"));

    // Clients get their certificates before the listener asks (spec/gateway-config §10), and hear that it does not.
    let link = open(&at(&mutual, only_server.port)).await.unwrap();
    assert_eq!(link.level(), Level::Server);
    let [warning] = link.warnings() else {
        panic!("{:?}", link.warnings());
    };
    told(
        warning,
        Cause::ClientCertificateUnasked,
        "mqtt.client.auth.cert_file",
        &["localhost", "client.crt"],
        "mqtt.external.ca_path",
    );
}

#[tokio::test]
async fn what_was_renewed_is_used_at_the_next_connection() {
    let (old, new) = (authority("Old"), authority("New"));
    let folder = Folder::new();
    folder.write("ca.crt", &old.pem());
    let server = Server::tls(server_config(&server(&new)), Act::Say(ACCEPTED)).await;
    let client = folder.client(&format!(
        "client.host = 'localhost'\nclient.port = {}\nclient.auth.ca_file = @ca.crt",
        server.port
    ));
    let explained = fails(&client).await;
    told(
        &explained,
        Cause::WrongCa,
        "mqtt.client.auth.ca_file",
        &[
            "issued by `CN=New`",
            "trusted is `CN=Old` (1 certificate of",
        ],
        "sectag config set mqtt.client.auth.ca_file",
    );
    folder.write("ca.crt", &format!("{}{}", old.pem(), new.pem()));
    assert_eq!(open(&client).await.unwrap().level(), Level::Server);
}

#[tokio::test]
async fn no_tls_key_without_effect_lets_anything_be_sent() {
    let folder = Folder::new();
    let root = authority("Root");
    folder.write("ca.crt", &root.pem());
    folder.papers("client", &client(&root, "gw-1"));
    folder.papers("other", &client(&root, "gw-2"));
    folder.write("empty", "");
    std::fs::create_dir(folder.0.path().join("dir")).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    port.set_nonblocking(true).unwrap();
    let number = port.local_addr().unwrap().port();
    let ca = "client.auth.ca_file = @ca.crt";
    let pair = "client.auth.cert_file = @client.crt\nclient.auth.key_file = @client.key";
    let cases = [
        (
            "client.auth.cert_file = @client.crt".to_owned(),
            FindingId::E1,
        ),
        (
            format!("{ca}\nclient.auth.key_file = @client.key"),
            FindingId::E1,
        ),
        (pair.to_owned(), FindingId::E7),
        ("client.server_name = 'gw'".to_owned(), FindingId::E7),
        ("client.auth.ca_dir = @dir".to_owned(), FindingId::E8),
        (
            "client.auth.ca_file = @client.key".to_owned(),
            FindingId::E8,
        ),
        ("client.auth.ca_file = @nowhere".to_owned(), FindingId::E8),
        (
            format!("{ca}\nclient.auth.cert_file = @client.crt\nclient.auth.key_file = @other.key"),
            FindingId::E13,
        ),
        (
            "client.auth.password_file = @ca.crt".to_owned(),
            FindingId::E17,
        ),
        (
            "client.auth.username = 'u'\nclient.auth.password_file = @empty".to_owned(),
            FindingId::E17,
        ),
        (
            "client.auth.username = 'u'\nclient.auth.password_file = @nowhere".to_owned(),
            FindingId::E17,
        ),
        (
            format!(
                "external.bind.port = {number}\nexternal.cert_file = @client.crt\nexternal.key_file = @client.key"
            ),
            FindingId::E14,
        ),
    ];
    for (keys, id) in cases {
        let client = folder.client(&format!("{keys}\nclient.port = {number}"));
        let patient = client
            .open(&client.link_options(), None, &mut |error| {
                panic!("{keys}: tried again after {error}")
            })
            .await;
        let Err(LinkError::Gateway(unready)) = patient else {
            panic!("{keys}: {patient:?}");
        };
        assert_eq!(unready.finding.id, id, "{keys}: {unready:?}");
        assert!(!unready.finding.fix.is_empty(), "{keys}");
        let explained = LinkError::Gateway(unready).explain().unwrap();
        assert!(
            explained
                .key
                .is_some_and(|key| key.starts_with("mqtt.client.")),
            "{explained:?}"
        );
        let nobody = port.accept().unwrap_err();
        assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock, "{keys}");
    }
}

#[test]
fn a_listener_of_ours_is_known_by_every_address_of_the_machine() {
    let folder = Folder::new();
    folder.papers("server", &server(&authority("Root")));
    let client = folder.client(
        "client.host = '192.0.2.7'\nclient.port = 8883\nexternal.cert_file = @server.crt\nexternal.key_file = @server.key",
    );
    assert!(client.check().is_ok(), "another machine may have it");
    let machine = Machine {
        interfaces: Some(vec![Interface {
            name: "eth0".to_owned(),
            addresses: vec!["192.0.2.7".parse().unwrap()],
        }]),
        ..Machine::default()
    };
    let unready = client.on(machine).check().unwrap_err();
    assert_eq!(unready.finding.id, FindingId::E14);
    assert!(unready.finding.sentence.contains("whose level is server"));

    // One port, two addresses: the internal listener stays plaintext.
    let tls = "external.bind.port = 1883\nexternal.cert_file = @server.crt\nexternal.key_file = @server.key";
    for (addresses, plaintext) in [
        ("external.bind.address = '192.0.2.7'", true),
        (
            "external.bind.address = '192.0.2.7'\nclient.host = 'localhost'",
            true,
        ),
        (
            "external.bind.address = '127.0.0.1'\nbind.address = '127.0.0.2'",
            false,
        ),
        ("bind.enabled = true", false),
        ("bind.enabled = false", false),
    ] {
        let client = folder.client(&format!("{tls}\n{addresses}"));
        assert_eq!(client.check().is_ok(), plaintext, "{addresses}");
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_may_not_ends_at_once() {
    let folder = Folder::new();
    let root = authority("Root");
    folder.write("ca.crt", &root.pem());
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = reserved.local_addr().unwrap().port();
    drop(reserved);
    let client = folder.client(&format!("client.port = {port}"));
    // The first refusal starts the broker.
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let (begin, begun) = tokio::sync::oneshot::channel();
    let mut begin = Some(begin);
    let broker = tokio::spawn(async move {
        begun.await.unwrap();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
            .await
            .unwrap();
        let (mut tcp, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut tcp, ACCEPTED)
            .await
            .unwrap();
        tcp
    });
    let mut observe = |error: &LinkError| {
        assert_eq!(error.explain().unwrap().cause, Cause::ConnectionRefused);
        count.fetch_add(1, Ordering::Relaxed);
        if let Some(begin) = begin.take() {
            begin.send(()).unwrap();
        }
    };
    let link = client
        .open(&client.link_options(), Some(PATIENCE), &mut observe)
        .await
        .unwrap();
    assert_eq!(link.level(), Level::None);
    assert!(tries.load(Ordering::Relaxed) >= 1);
    drop(broker);

    // A name that does not fit stays so.
    let server = Server::tls(server_config(&server(&root)), Act::Say(ACCEPTED)).await;
    let client = folder.client(&format!(
        "client.port = {}\nclient.auth.ca_file = @ca.crt",
        server.port
    ));
    let refused = client
        .open(&client.link_options(), None, &mut |error| {
            panic!("tried again after {error}")
        })
        .await;
    told(
        &explanation(refused),
        Cause::ServerNameMismatch,
        "mqtt.client.host",
        &["is for DNS:localhost", "mqtt.client.host is 127.0.0.1"],
        "`sectag config set mqtt.client.host localhost`; or `sectag cert issue server --force --san 127.0.0.1`",
    );
}

#[tokio::test]
async fn patience_has_an_end() {
    let folder = Folder::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = port.local_addr().unwrap().port();
    drop(port);
    let client = folder.client(&format!("bind.port = {number}\nexternal.bind.port = 8883"));
    let mut tries = 0;
    let refused = client
        .open(
            &client.link_options(),
            Some(Duration::from_millis(50)),
            &mut |_| tries += 1,
        )
        .await;
    told(
        &explanation(refused),
        Cause::ConnectionRefused,
        "mqtt.client.port",
        &[
            &format!("mqtt.client.port is {number} (inferred)"),
            &format!("127.0.0.1:{number} (plaintext, mqtt.bind.*)"),
            "all addresses:8883 (level none, mqtt.external.*)",
        ],
        "sectag gateway apply",
    );
    assert_eq!(tries, 1);
}

#[tokio::test]
async fn one_side_speaks_tls_and_the_other_does_not() {
    let folder = Folder::new();
    let root = authority("Root");
    folder.write("ca.crt", &root.pem());
    let tls = Server::tls(server_config(&server(&root)), Act::Say(ACCEPTED)).await;
    let explained = fails(&folder.client(&format!("client.port = {}", tls.port))).await;
    told(
        &explained,
        Cause::TlsExpected,
        "mqtt.client.auth.ca_file",
        &["speaks TLS", "neither mqtt.client.auth.ca_file nor"],
        "sectag config set mqtt.client.auth.ca_file",
    );
    let plain = Server::plain(Act::Close).await;
    let explained = fails(&folder.client(&format!(
        "client.port = {0}\nbind.port = {0}\nclient.auth.ca_file = @ca.crt",
        plain.port
    )))
    .await;
    told(
        &explained,
        Cause::NoTlsOnPort,
        "mqtt.client.port",
        &[
            "speaks no TLS",
            "that is the internal listener, which is plaintext (mqtt.bind.port)",
        ],
        "sectag config unset mqtt.client.auth.ca_file",
    );
}

#[tokio::test]
async fn a_listener_that_wants_another_certificate_or_one_at_all() {
    let (root, clients) = (authority("Root"), authority("Clients"));
    let folder = Folder::new();
    folder.write("ca.crt", &root.pem());
    folder.papers("stranger", &client(&authority("Elsewhere"), "gw-1"));
    let both = mutual_config(&root, &clients);
    let both = Server::tls(both, Act::Say(ACCEPTED)).await;
    let keys = format!(
        "client.host = 'localhost'\nclient.port = {0}\nclient.auth.ca_file = @ca.crt\nexternal.bind.port = {0}\nexternal.ca_path = @ca.crt",
        both.port
    );
    let explained = fails(&folder.client(&keys)).await;
    told(
        &explained,
        Cause::ClientCertificateMissing,
        "mqtt.client.auth.cert_file",
        &[
            "the external listener (localhost:",
            "neither mqtt.client.auth.cert_file nor",
        ],
        "sectag cert issue client",
    );
    let keys = format!(
        "{keys}\nclient.auth.cert_file = @stranger.crt\nclient.auth.key_file = @stranger.key"
    );
    let explained = fails(&folder.client(&keys)).await;
    told(
        &explained,
        Cause::ClientCertificateUnknownCa,
        "mqtt.client.auth.cert_file",
        &["does not trust the issuer", "which is `CN=Elsewhere`"],
        "sectag config set mqtt.external.ca_path",
    );
}
