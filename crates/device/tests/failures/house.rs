//! Both ends of a session that will fail: a device with sec tags, authorities that issue what they should not, and
//! servers that speak real TLS and then misbehave as told.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use sectag_device::link::{LinkError, LinkOptions, MqttLink, Security, TlsOptions};
use sectag_device::{Cause, Explanation};
use sectag_modem::{SharedModem, TagSigner, VirtualModem};
use sectag_proto::{CredentialType, SecTag, at};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Longest wait for anything that should happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Wait of a device that is meant to lose patience.
pub(crate) const HASTE: Duration = Duration::from_millis(400);

pub(crate) const ROOT_CA: CredentialType = CredentialType::ROOT_CA;
pub(crate) const CERTIFICATE: CredentialType = CredentialType::CLIENT_CERTIFICATE;
pub(crate) const KEY: CredentialType = CredentialType::CLIENT_PRIVATE_KEY;

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn tag(number: u32) -> SecTag {
    SecTag::new(u64::from(number)).unwrap()
}

pub(crate) fn authority(cn: &str) -> Authority {
    authority_with(cn, |_| {})
}

pub(crate) fn authority_with(cn: &str, change: impl FnOnce(&mut CertificateParams)) -> Authority {
    let mut params = authority_params(cn);
    change(&mut params);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(crate) fn authority_below(parent: &Authority, cn: &str) -> Authority {
    CertifiedIssuer::signed_by(authority_params(cn), KeyPair::generate().unwrap(), parent).unwrap()
}

fn authority_params(cn: &str) -> CertificateParams {
    let mut params = params(cn, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn params(cn: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, cn);
    params.use_authority_key_identifier_extension = true;
    params
}

/// A chain and the key of its first certificate.
pub(crate) struct Papers {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
    pub(crate) pem: String,
}

impl Papers {
    pub(crate) fn certified(&self) -> CertifiedKey {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        CertifiedKey::new(self.chain.clone(), key)
    }
}

/// A certificate for `localhost`, for servers.
pub(crate) fn server(issuer: &Authority) -> Papers {
    server_with(issuer, |_| {})
}

pub(crate) fn server_with(
    issuer: &Authority,
    change: impl FnOnce(&mut CertificateParams),
) -> Papers {
    let mut params = params("broker", &["localhost"]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut params);
    issued(issuer, params)
}

/// A certificate for clients.
pub(crate) fn client(issuer: &Authority, cn: &str) -> Papers {
    client_with(issuer, cn, |_| {})
}

pub(crate) fn client_with(
    issuer: &Authority,
    cn: &str,
    change: impl FnOnce(&mut CertificateParams),
) -> Papers {
    let mut params = params(cn, &[]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    issued(issuer, params)
}

fn issued(issuer: &Authority, params: CertificateParams) -> Papers {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    Papers {
        chain: vec![certificate.der().clone()],
        pem: certificate.pem(),
        key,
    }
}

/// A moment this many days from today.
pub(crate) fn in_days(days: i64) -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc() + time::Duration::days(days)
}

/// A virtual modem; its tags are filled over AT.
#[derive(Clone)]
pub(crate) struct Device(SharedModem);

impl Device {
    pub(crate) fn blank() -> Self {
        Self(SharedModem::new(VirtualModem::from_seed(7)))
    }

    /// Trusts `root` under tag 42.
    pub(crate) fn trusting(root: &Authority) -> Self {
        Self::blank().with(42, ROOT_CA, &root.pem())
    }

    pub(crate) fn with(mut self, tag: u32, kind: CredentialType, text: &str) -> Self {
        let content = at::quote(text).unwrap();
        let line = format!("AT%CMNG=0,{tag},{},{content}", kind.0);
        let answer = self.0.line(&line);
        assert!(answer.ends_with("OK\r\n"), "{line}: {answer}");
        self
    }

    pub(crate) fn without(mut self, tag: u32, kind: CredentialType) -> Self {
        let answer = self.0.line(&format!("AT%CMNG=3,{tag},{}", kind.0));
        assert!(answer.ends_with("OK\r\n"), "{answer}");
        self
    }

    /// Presents `papers` from tag 42.
    pub(crate) fn presenting(self, papers: &Papers) -> Self {
        self.with(42, CERTIFICATE, &papers.pem)
            .with(42, KEY, &papers.key.serialize_pem())
    }

    pub(crate) fn signer(&self) -> Arc<dyn TagSigner> {
        Arc::new(self.0.clone())
    }

    pub(crate) async fn open(
        &self,
        security: &Security,
        options: &LinkOptions,
    ) -> Result<MqttLink, LinkError> {
        MqttLink::open(self.signer(), security, options).await
    }

    /// Connects with tag 42 to `localhost` at that port.
    pub(crate) async fn connect(&self, port: u16) -> Result<MqttLink, LinkError> {
        self.open(&Security::Tls(tls()), &options(port)).await
    }

    /// Connects and fails.
    pub(crate) async fn explain(&self, port: u16) -> Explanation {
        explanation(self.connect(port).await)
    }
}

pub(crate) fn explanation(outcome: Result<MqttLink, LinkError>) -> Explanation {
    let error = outcome.expect_err("this session fails");
    error
        .explain()
        .unwrap_or_else(|| panic!("no explanation for {error:?}"))
}

pub(crate) fn tls() -> TlsOptions {
    TlsOptions {
        server_name: Some("localhost".into()),
        ..TlsOptions::new([tag(42)])
    }
}

pub(crate) fn options(port: u16) -> LinkOptions {
    LinkOptions {
        port,
        timeout: PATIENCE,
        hardware_id: Some("nrf-351234567890123".into()),
        ..LinkOptions::new("127.0.0.1")
    }
}

/// The cause, and every value in the sentence.
#[track_caller]
pub(crate) fn says(explanation: &Explanation, cause: Cause, values: &[&str]) {
    assert_eq!(explanation.cause, cause, "{explanation:?}");
    assert!(values.len() >= 2, "two values disagree");
    for value in values {
        assert!(
            explanation.sentence.contains(value),
            "`{value}` is not in: {}",
            explanation.sentence
        );
    }
    for text in [&explanation.sentence, &explanation.fix] {
        assert!(
            !text.is_empty() && !text.ends_with('.') && !text.contains('\n'),
            "{text}"
        );
    }
}

/// What a server does once TLS stands (or at once, without TLS).
#[derive(Clone, Copy)]
pub(crate) enum Act {
    /// Takes what comes and says nothing.
    Listen,
    /// Reads CONNECT and closes.
    Close,
    /// Reads CONNECT, says this, then listens.
    Say(&'static [u8]),
    /// Reads CONNECT, says this, then closes at the next packet.
    SayAndClose(&'static [u8]),
}

/// CONNACK of MQTT 3.1.1: accepted.
pub(crate) const ACCEPTED: &[u8] = &[0x20, 2, 0, 0];

/// A server in this process; ends with the value.
pub(crate) struct Server {
    pub(crate) port: u16,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Speaks TLS.
    pub(crate) async fn tls(config: ServerConfig, act: Act) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::start(move |tcp| {
            let acceptor = acceptor.clone();
            async move {
                match acceptor.accept(tcp).into_fallible().await {
                    Ok(stream) => play(stream, act).await,
                    // The alert is sent; what is still to come has to be read, or it is lost with a reset.
                    Err((_, tcp)) => play(tcp, Act::Listen).await,
                }
            }
        })
        .await
    }

    /// Speaks no TLS.
    pub(crate) async fn plain(act: Act) -> Self {
        Self::start(move |tcp| play(tcp, act)).await
    }

    pub(crate) async fn start<F, T>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(tcp));
            }
        });
        Self { port, task }
    }
}

async fn play<S: AsyncReadExt + AsyncWriteExt + Unpin>(mut stream: S, act: Act) {
    let mut buffer = vec![0; 4096];
    let mut more = async |stream: &mut S| matches!(stream.read(&mut buffer).await, Ok(1..));
    if !matches!(act, Act::Listen) && !more(&mut stream).await {
        return;
    }
    match act {
        Act::Listen => {}
        Act::Close => {
            let _ = stream.shutdown().await;
            return;
        }
        Act::Say(bytes) => {
            let _ = stream.write_all(bytes).await;
            let _ = stream.flush().await;
        }
        Act::SayAndClose(bytes) => {
            let _ = stream.write_all(bytes).await;
            let _ = stream.flush().await;
            more(&mut stream).await;
            let _ = stream.shutdown().await;
            return;
        }
    }
    while more(&mut stream).await {}
}

/// TLS with these papers, whatever they are worth, and no client certificates.
pub(crate) fn server_config(papers: &Papers) -> ServerConfig {
    server_config_with(papers, None, rustls::ALL_VERSIONS)
}

pub(crate) fn server_config_with(
    papers: &Papers,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(papers.certified())))
}

/// Takes clients of these authorities, but for those on the lists.
pub(crate) fn clients_of(
    authorities: &[&Authority],
    crls: Vec<CertificateRevocationListDer<'static>>,
) -> Arc<dyn ClientCertVerifier> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.der().clone()).unwrap();
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .with_crls(crls)
        .build()
        .unwrap()
}

pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A proxy that carries bytes to `to`, and may change or cut what the server sends.
pub(crate) async fn proxy(to: u16, meddle: Meddle) -> Server {
    Server::start(move |client| async move {
        let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let up = async {
            let mut seen = 0;
            let mut buffer = vec![0; 4096];
            while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
                match meddle {
                    Meddle::FlipSent(at) if (seen..seen + count).contains(&at) => {
                        buffer[at - seen] ^= 1;
                    }
                    _ => {}
                }
                seen += count;
                if to_server.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
            let _ = to_server.shutdown().await;
            std::future::pending::<()>().await
        };
        let down = async {
            let mut seen = 0;
            let mut buffer = vec![0; 4096];
            while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                let mut bytes = buffer[..count].to_vec();
                match meddle {
                    Meddle::Flip(at) if (seen..seen + count).contains(&at) => {
                        bytes[at - seen] ^= 1;
                    }
                    Meddle::Cut(at) if seen + count > at => {
                        let _ = to_client.write_all(&bytes[..at - seen]).await;
                        break;
                    }
                    _ => {}
                }
                seen += count;
                if to_client.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            let _ = to_client.shutdown().await;
        };
        tokio::select! {
            () = down => {}
            () = up => {}
        }
    })
    .await
}

/// What a [`proxy`] does to the bytes, counted from 0 in their direction.
#[derive(Clone, Copy)]
pub(crate) enum Meddle {
    /// Changes one bit of this byte of the server's.
    Flip(usize),
    /// Changes one bit of this byte of the device's.
    FlipSent(usize),
    /// Ends the connection before this byte.
    Cut(usize),
}

/// True if the program can be run; else the test is skipped with one line, or fails if peers are required.
pub(crate) fn have(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths)
        .chain([PathBuf::from("/usr/sbin")])
        .any(|directory| directory.join(program).is_file());
    if !found {
        let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
        assert!(
            !required,
            "{program} is not installed and SECTAG_PEERS=require"
        );
        let _ = writeln!(std::io::stderr(), "skipped: {program} is not installed");
    }
    found
}

/// Runs `openssl` in a folder.
pub(crate) fn openssl(folder: &std::path::Path, arguments: &str) {
    let output: Output = std::process::Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "openssl {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A foreign server that ends with the value.
pub(crate) struct Peer {
    pub(crate) port: u16,
    _child: Child,
    _folder: tempfile::TempDir,
}

impl Peer {
    /// `openssl s_server` with these papers and options.
    pub(crate) async fn s_server(papers: &Papers, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("server.crt"), &papers.pem).unwrap();
        std::fs::write(folder.path().join("server.key"), papers.key.serialize_pem()).unwrap();
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0"])
            .args(["-cert", "server.crt", "-key", "server.key"])
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = loop {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
            let line = line.unwrap().unwrap().expect("it says where it listens");
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.parse::<SocketAddr>().unwrap().port();
            }
        };
        // Whoever reads nothing stops the writer.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            port,
            _child: child,
            _folder: folder,
        }
    }

    /// `mosquitto` with this configuration; `{port}` and `{dir}` are filled in, `files` lie in `{dir}`.
    pub(crate) async fn mosquitto(config: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
            free.local_addr().unwrap().port()
        };
        let config = config
            .replace("{port}", &port.to_string())
            .replace("{dir}", &folder.path().display().to_string());
        let path = folder.path().join("mosquitto.conf");
        std::fs::write(&path, format!("user root\n{config}")).unwrap();
        let program = match std::path::Path::new("/usr/sbin/mosquitto").exists() {
            true => "/usr/sbin/mosquitto",
            false => "mosquitto",
        };
        let child = Command::new(program)
            .arg("-c")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let started = std::time::Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(started.elapsed() < PATIENCE, "mosquitto does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self {
            port,
            _child: child,
            _folder: folder,
        }
    }
}
