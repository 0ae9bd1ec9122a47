//! `sectag mqtt`: publish and subscribe over TLS with the credentials of a sec tag or of files, or over plain TCP.

use crate::args::{Link, Mqtt, Which};
use crate::device;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use crate::up::StopSignal;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sectag_device::Explanation;
use sectag_device::link::{LinkError, LinkOptions, MqttLink, Security, TlsOptions};
use sectag_device::state::DeviceState;
use sectag_modem::{SignerError, TagSigner};
use sectag_mqtt::{
    Client, ClientError, ConnectOptions, Incoming, Qos, Traffic, Transport, Version, Will,
};
use sectag_proto::es256::PublicKey;
use sectag_proto::{CredentialType, SecTag, Secret};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// `sectag mqtt`
pub(crate) async fn mqtt(place: &Place, verb: Mqtt, as_json: bool) -> Outcome {
    match verb {
        Mqtt::Sample(args) => return crate::sample::sample(place, *args, as_json).await,
        Mqtt::Pub {
            link,
            topic,
            message,
            qos,
            retain,
        } => {
            if topic.contains(['+', '#']) {
                return Err(Fault::untried(format!(
                    "`{topic}` holds a wildcard; a message has one topic"
                ))
                .hint("wildcards are for `sectag mqtt sub`"));
            }
            let open = Open::new(place, &link).await?;
            let topic = open.topic(&topic);
            let refused = |error| open.refused(error);
            let qos = if qos == 0 {
                Qos::AtMostOnce
            } else {
                Qos::AtLeastOnce
            };
            open.client
                .publish(&topic, message, qos, retain)
                .await
                .map_err(refused)?;
            open.client.disconnect().await.map_err(refused)?;
            open.report(&link);
            let note = if link.mqtt_version == "3.1.1" {
                " (MQTT 3.1.1 cannot say whether it was allowed)"
            } else {
                ""
            };
            eprintln!("published to {topic}{note}");
        }
        Mqtt::Sub { link, topic, count } => {
            let mut open = Open::new(place, &link).await?;
            let topic = open.topic(&topic);
            open.client
                .subscribe(&topic, Qos::AtLeastOnce)
                .await
                .map_err(|error| open.refused(error))?;
            eprintln!("subscribed to {topic}");
            let mut left = count.unwrap_or(u64::MAX);
            let mut stop = StopSignal::listen()?;
            while left > 0 {
                tokio::select! {
                    message = open.next() => match message {
                        Some(message) => show(&message, as_json),
                        None => return Err(open.refused(open.client.closed().await)),
                    },
                    () = stop.came() => break,
                }
                left -= 1;
            }
            open.client
                .disconnect()
                .await
                .map_err(|error| open.refused(error))?;
            open.report(&link);
        }
    }
    Ok(())
}

fn show(message: &Incoming, as_json: bool) {
    let text = String::from_utf8_lossy(&message.payload);
    if as_json {
        output::print(&format!(
            "{}\n",
            json!({ "topic": message.topic, "payload": text, "retain": message.retain })
        ));
    } else {
        output::print(&format!("{} {text}\n", message.topic));
    }
}

/// Connects to this home's broker with its operator certificate.
pub(crate) async fn operator(
    place: &Place,
    port: u16,
) -> Outcome<(Client, mpsc::Receiver<Incoming>)> {
    let folder = place.home.join("operator");
    let (tls, name) = from_files(
        &place.home.join("ca/root.crt"),
        &folder.join("operator.crt"),
        &folder.join("operator.key"),
    )?;
    Client::connect(
        "localhost",
        port,
        Transport::tls("localhost", tls),
        ConnectOptions::new(name),
    )
    .await
    .map_err(refused)
}

/// A connected client, and the device that lends its signatures for as long as it is connected.
struct Open {
    client: Client,
    messages: Messages,
    /// What `~` stands for.
    own_name: String,
    _device: Option<DeviceState>,
}

/// Where messages come from, and who explains an error.
enum Messages {
    /// Credentials of a sec tag, or none.
    Link(Box<MqttLink>),
    /// Credentials of files.
    Files(mpsc::Receiver<Incoming>),
}

impl Open {
    async fn new(place: &Place, link: &Link) -> Outcome<Self> {
        match (&link.name, link.plain) {
            (None, false) => Self::with_files(place, link).await,
            _ => Self::with_tags(place, link).await,
        }
    }

    /// With what lies under the device's sec tags, or with nothing over plain TCP.
    async fn with_tags(place: &Place, link: &Link) -> Outcome<Self> {
        let device = match &link.name {
            Some(name) => Some(device::open(place, &Which { name: name.clone() })?),
            None => None,
        };
        let security = if link.plain {
            Security::Plain
        } else {
            Security::Tls(tls_options(link)?)
        };
        let signer: Arc<dyn TagSigner> = match &device {
            Some((_, modem)) => Arc::new(modem.shared().clone()),
            None => Arc::new(NoTags),
        };
        let options = connect_options(link, String::new())?;
        let options = LinkOptions {
            port: port(place, link, security.default_port()),
            client_id: link.client_id.clone(),
            hardware_id: link
                .name
                .clone()
                .or_else(|| Some(format!("sectag-{}", std::process::id()))),
            version: options.version,
            keep_alive: options.keep_alive,
            will: options.will,
            user_name: options.user_name,
            password: options.password,
            ..LinkOptions::new(&link.host)
        };
        let open = MqttLink::open(signer, &security, &options)
            .await
            .map_err(no_link)?;
        for warning in open.warnings() {
            eprintln!("warning: {warning}\nhint: {}", warning.fix);
        }
        let own_topic = open.own_topic("");
        Ok(Self {
            client: open.client().clone(),
            messages: Messages::Link(Box::new(open)),
            own_name: own_topic.trim_end_matches('/').to_owned(),
            _device: device.map(|(state, _)| state),
        })
    }

    async fn with_files(place: &Place, link: &Link) -> Outcome<Self> {
        let ca = link
            .ca
            .clone()
            .unwrap_or_else(|| place.home.join("ca/root.crt"));
        let (tls, common_name) = match (link.operator, &link.cert, &link.key) {
            (true, ..) => {
                let folder = place.home.join("operator");
                from_files(
                    &ca,
                    &folder.join("operator.crt"),
                    &folder.join("operator.key"),
                )?
            }
            (false, Some(cert), Some(key)) => from_files(&ca, cert, key)?,
            _ => {
                return Err(Fault::untried("no credentials to connect with").hint(
                    "--name DEVICE uses a device's sec tag, --operator the home's operator certificate, --cert and --key files",
                ));
            }
        };
        // Two shells with the operator's certificate must not take each other's session; a device is one client.
        let client_id = link
            .client_id
            .clone()
            .unwrap_or_else(|| format!("{common_name}-{}", std::process::id()));
        let server_name = link.server_name.as_ref().unwrap_or(&link.host);
        let (client, incoming) = Client::connect(
            &link.host,
            port(place, link, LinkOptions::PORT_DEFAULT),
            Transport::tls(server_name, tls),
            connect_options(link, client_id)?,
        )
        .await
        .map_err(refused)?;
        Ok(Self {
            client,
            messages: Messages::Files(incoming),
            own_name: common_name,
            _device: None,
        })
    }

    async fn next(&mut self) -> Option<Incoming> {
        match &mut self.messages {
            Messages::Link(link) => link.next().await,
            Messages::Files(incoming) => incoming.recv().await,
        }
    }

    fn refused(&self, error: ClientError) -> Fault {
        match &self.messages {
            Messages::Link(link) => match link.explain(&error) {
                Some(explanation) => explained(&explanation),
                None => refused(error),
            },
            Messages::Files(_) => refused(error),
        }
    }

    /// What it cost, if asked for.
    fn report(&self, link: &Link) {
        if link.traffic {
            eprint!("{}", traffic_report(&self.client.traffic()));
        }
    }

    /// `~/x` stands for `<CN>/x`.
    fn topic(&self, text: &str) -> String {
        match text.strip_prefix("~/") {
            Some(rest) => format!("{}/{rest}", self.own_name),
            None => text.to_owned(),
        }
    }
}

/// Plain TCP asks for no credentials.
#[derive(Debug)]
struct NoTags;

impl NoTags {
    fn missing<T>(tag: SecTag, credential: CredentialType) -> Result<T, SignerError> {
        Err(SignerError::Missing { tag, credential })
    }
}

impl TagSigner for NoTags {
    fn sign(&self, tag: SecTag, _: &[u8]) -> Result<[u8; 64], SignerError> {
        Self::missing(tag, CredentialType::CLIENT_PRIVATE_KEY)
    }

    fn public_key(&self, tag: SecTag) -> Result<PublicKey, SignerError> {
        Self::missing(tag, CredentialType::CLIENT_PRIVATE_KEY)
    }

    fn certificate_chain(&self, tag: SecTag) -> Result<String, SignerError> {
        Self::missing(tag, CredentialType::CLIENT_CERTIFICATE)
    }

    fn root_ca(&self, tag: SecTag) -> Result<String, SignerError> {
        Self::missing(tag, CredentialType::ROOT_CA)
    }
}

fn port(place: &Place, link: &Link, usual: u16) -> u16 {
    let running = || {
        (!link.plain)
            .then(|| device::running_port(place, "mqtt"))
            .flatten()
    };
    link.port.or_else(running).unwrap_or(usual)
}

fn tls_options(link: &Link) -> Outcome<TlsOptions> {
    let tags = link
        .sec_tags
        .iter()
        .map(|tag| SecTag::new(u64::from(*tag)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut tls = TlsOptions::new(tags);
    tls.server_name.clone_from(&link.server_name);
    tls.cipher_suites.clone_from(&link.ciphers);
    tls.peer_verify = link.dangerously_peer_verify.into();
    Ok(tls)
}

fn connect_options(link: &Link, client_id: String) -> Outcome<ConnectOptions> {
    let password = match &link.password_file {
        None => None,
        Some(path) => {
            let text = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
            let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
            Some(Secret::new(text[..end.map_or(0, |last| last + 1)].to_vec()))
        }
    };
    Ok(ConnectOptions {
        version: if link.mqtt_version == "5" {
            Version::V5
        } else {
            Version::V311
        },
        keep_alive: Duration::from_secs(u64::from(link.keep_alive)),
        will: link.will_topic.as_ref().map(|topic| Will {
            topic: topic.clone(),
            payload: link.will_message.clone().unwrap_or_default().into_bytes(),
            qos: if link.will_qos == 0 {
                Qos::AtMostOnce
            } else {
                Qos::AtLeastOnce
            },
            retain: link.will_retain,
        }),
        user_name: link.user_name.clone(),
        password,
        ..ConnectOptions::new(client_id)
    })
}

/// Bytes of handshake, records, packets and payload (spec/source-statements X2).
pub(crate) fn traffic_report(traffic: &Traffic) -> String {
    let row = |what: &str, sent: u64, received: u64| format!("{what:<26}{sent:>8}{received:>10}\n");
    let mut text = match (traffic.tls_version, traffic.cipher_suite) {
        (Some(version), suite) => format!(
            "{}, {}, {}\n",
            version.replace("TLSv1_", "TLS 1."),
            suite.unwrap_or("unnamed cipher suite"),
            if traffic.resumed {
                "session resumed"
            } else {
                "full handshake"
            }
        ),
        (None, _) => "plain TCP\n".to_owned(),
    };
    text += &format!("{:<26}{:>8}{:>10}\n", "bytes", "sent", "received");
    text += &row(
        "TLS handshake",
        traffic.handshake_sent,
        traffic.handshake_received,
    );
    let records = if traffic.tls_version.is_some() {
        "TLS records after it"
    } else {
        "TCP payload"
    };
    text += &row(records, traffic.sent, traffic.received);
    text += &row(
        "  MQTT packets in them",
        traffic.packets_sent,
        traffic.packets_received,
    );
    text += &row(
        "    payload in those",
        traffic.payload_sent,
        traffic.payload_received,
    );
    text
}

fn from_files(ca: &Path, cert: &Path, key: &Path) -> Outcome<(Arc<rustls::ClientConfig>, String)> {
    let mut roots = rustls::RootCertStore::empty();
    let anchors = certificates(ca)?;
    if anchors.is_empty() {
        return Err(no_certificate(ca));
    }
    for anchor in anchors {
        roots.add(anchor).map_err(|error| {
            Fault::untried(format!("`{}` is no root CA: {error}", ca.display()))
        })?;
    }
    let chain = certificates(cert)?;
    let leaf = chain.first().ok_or_else(|| no_certificate(cert))?;
    let common_name = sectag_pki::identity(leaf)?.cn;
    let wrong = |why: String| {
        Fault::untried(format!(
            "`{}` holds no private key that can be read: {why}",
            key.display()
        ))
        .hint("a PEM file that begins with -----BEGIN PRIVATE KEY----- is needed, not encrypted")
    };
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
        pem::Error::Io(error) => unreadable(key, &error),
        pem::Error::NoItemsFound => wrong("there is none in it".to_owned()),
        other => wrong(other.to_string()),
    })?;
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()?
    .with_root_certificates(roots)
    .with_client_auth_cert(chain, secret)
    .map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => Fault::untried(format!(
            "`{}` is not the key of the certificate in `{}`",
            key.display(),
            cert.display()
        )),
        other => wrong(other.to_string()),
    })?;
    Ok((Arc::new(tls), common_name))
}

fn certificates(path: &Path) -> Outcome<Vec<CertificateDer<'static>>> {
    let wrong = |error| match error {
        pem::Error::Io(error) => unreadable(path, &error),
        other => Fault::untried(format!(
            "failed to read certificates from `{}`: {other}",
            path.display()
        )),
    };
    CertificateDer::pem_file_iter(path)
        .map_err(wrong)?
        .map(|item| item.map_err(wrong))
        .collect()
}

fn no_certificate(path: &Path) -> Fault {
    Fault::untried(format!("`{}` holds no certificate", path.display()))
        .hint("a PEM file that begins with -----BEGIN CERTIFICATE----- is needed; is this the key?")
}

fn unreadable(path: &Path, error: &std::io::Error) -> Fault {
    let fault = Fault::untried(format!("failed to read `{}`: {error}", path.display()));
    if error.kind() == std::io::ErrorKind::NotFound {
        fault.hint("`sectag up` makes the root CA and the operator certificate when it first starts; others are given with --ca, --cert and --key")
    } else {
        fault
    }
}

/// A link that did not come about: cause and fix.
pub(crate) fn no_link(error: LinkError) -> Fault {
    match (error.explain(), error) {
        (Some(explanation), LinkError::Session { error, .. }) => match error {
            ClientError::Tcp { .. } | ClientError::Resolve { .. } => untried(&explanation),
            _ => explained(&explanation),
        },
        (Some(explanation), _) => untried(&explanation),
        (None, LinkError::Session { error, .. }) => refused(error),
        (None, error) => Fault::from(error),
    }
}

fn explained(explanation: &Explanation) -> Fault {
    Fault::no(explanation.to_string()).hint(&explanation.fix)
}

fn untried(explanation: &Explanation) -> Fault {
    Fault::untried(explanation.to_string()).hint(&explanation.fix)
}

fn refused(error: ClientError) -> Fault {
    let hint = error.hint();
    let fault = match error {
        ClientError::Tcp { .. } | ClientError::Resolve { .. } | ClientError::Invalid(_) => {
            Fault::from(error)
        }
        answer => Fault::no_because(answer),
    };
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}
