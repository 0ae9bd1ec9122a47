//! `sectag mqtt`: publish and subscribe over mutual TLS, with the credentials of a sec tag or of files.

use crate::args::{Link, Mqtt, Which};
use crate::device;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use crate::up::StopSignal;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sectag_device::link::{LinkError, TagCredentials};
use sectag_device::state::DeviceState;
use sectag_mqtt::{Client, ClientError, ConnectOptions, Incoming, Qos, Version};
use sectag_proto::SecTag;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
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
                .map_err(refused)?;
            eprintln!("subscribed to {topic}");
            let mut left = count.unwrap_or(u64::MAX);
            let mut stop = StopSignal::listen()?;
            while left > 0 {
                tokio::select! {
                    message = open.incoming.recv() => match message {
                        Some(message) => show(&message, as_json),
                        None => return Err(refused(open.client.closed().await)),
                    },
                    () = stop.came() => break,
                }
                left -= 1;
            }
            open.client.disconnect().await.map_err(refused)?;
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
        "localhost",
        tls,
        ConnectOptions::new(name),
    )
    .await
    .map_err(refused)
}

/// A connected client, and the device that lends its signatures for as long as it is connected.
struct Open {
    client: Client,
    incoming: mpsc::Receiver<Incoming>,
    common_name: String,
    _device: Option<DeviceState>,
}

impl Open {
    async fn new(place: &Place, link: &Link) -> Outcome<Self> {
        let ca = link
            .ca
            .clone()
            .unwrap_or_else(|| place.home.join("ca/root.crt"));
        let (tls, common_name, device) = match (&link.name, link.operator, &link.cert, &link.key) {
            (Some(name), ..) => {
                let (state, modem) = device::open(place, &Which { name: name.clone() })?;
                let tag = SecTag::new(u64::from(link.sec_tag))?;
                let credentials =
                    TagCredentials::read(Arc::new(modem.shared().clone()), tag).map_err(no_link)?;
                (
                    credentials.tls(),
                    credentials.common_name().to_owned(),
                    Some(state),
                )
            }
            (None, true, ..) => {
                let folder = place.home.join("operator");
                let (tls, name) = from_files(
                    &ca,
                    &folder.join("operator.crt"),
                    &folder.join("operator.key"),
                )?;
                (tls, name, None)
            }
            (None, false, Some(cert), Some(key)) => {
                let (tls, name) = from_files(&ca, cert, key)?;
                (tls, name, None)
            }
            _ => {
                return Err(Fault::untried("no credentials to connect with").hint(
                    "--name DEVICE uses a device's sec tag, --operator the home's operator certificate, --cert and --key files",
                ));
            }
        };
        let port = link
            .port
            .or_else(|| device::running_port(place, "mqtt"))
            .unwrap_or(8883);
        // Two shells with the operator's certificate must not take each other's session; a device is one client.
        let client_id = link.client_id.clone().unwrap_or_else(|| match device {
            Some(_) => common_name.clone(),
            None => format!("{common_name}-{}", std::process::id()),
        });
        let options = ConnectOptions {
            version: if link.mqtt_version == "5" {
                Version::V5
            } else {
                Version::V311
            },
            ..ConnectOptions::new(client_id)
        };
        let (client, incoming) = Client::connect(&link.host, port, &link.host, tls, options)
            .await
            .map_err(refused)?;
        Ok(Self {
            client,
            incoming,
            common_name,
            _device: device,
        })
    }

    /// `~/x` stands for `<CN>/x`.
    fn topic(&self, text: &str) -> String {
        match text.strip_prefix("~/") {
            Some(rest) => format!("{}/{rest}", self.common_name),
            None => text.to_owned(),
        }
    }
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

fn no_link(error: LinkError) -> Fault {
    let hint = error.hint();
    let fault = Fault::from(error);
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
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
