//! `sectag mqtt`: publish and subscribe over TLS with the credentials of a sec tag or of files, or over plain TCP.

mod files;
mod words;

pub(crate) use words::no_link;

use crate::args::{Link, Mqtt, Which};
use crate::device;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use crate::up::StopSignal;
use files::{authorities, from_files, unreadable};
use sectag_device::link::{FileCredentials, LinkOptions, MqttLink, Security, TlsOptions};
use sectag_device::state::DeviceState;
use sectag_modem::{SignerError, TagSigner};
use sectag_mqtt::{ClientError, Incoming, Qos, Version, Will};
use sectag_proto::es256::PublicKey;
use sectag_proto::{CredentialType, SecTag, Secret};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use words::{explained, no_link_for, traffic_report};

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
            open.link
                .publish(&topic, message, qos, retain)
                .await
                .map_err(refused)?;
            open.link.client().disconnect().await.map_err(refused)?;
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
            open.link
                .subscribe(&topic, Qos::AtLeastOnce)
                .await
                .map_err(|error| open.refused(error))?;
            eprintln!("subscribed to {topic}");
            let mut left = count.unwrap_or(u64::MAX);
            let mut stop = StopSignal::listen()?;
            while left > 0 {
                tokio::select! {
                    message = open.link.next() => match message {
                        Some(message) => show(&message, as_json),
                        None => return Err(open.refused(open.link.closed().await)),
                    },
                    () = stop.came() => break,
                }
                left -= 1;
            }
            open.link
                .client()
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
pub(crate) async fn operator(place: &Place, port: u16) -> Outcome<MqttLink> {
    let folder = place.home.join("operator");
    let files = from_files(
        &place.home.join("ca/root.crt"),
        &folder.join("operator.crt"),
        &folder.join("operator.key"),
    )?;
    let mut tls = TlsOptions::new([]);
    tls.files = Some(files);
    let options = LinkOptions {
        port,
        ..LinkOptions::new("localhost")
    };
    MqttLink::open(Arc::new(NoTags), &Security::Tls(tls), &options)
        .await
        .map_err(no_link)
}

/// A link, and the device that lends its signatures for as long as it is connected.
struct Open {
    link: MqttLink,
    device: Option<DeviceState>,
}

impl Open {
    async fn new(place: &Place, link: &Link) -> Outcome<Self> {
        let device = match &link.name {
            Some(name) => Some(device::open(place, &Which { name: name.clone() })?),
            None => None,
        };
        let security = if link.plain {
            Security::Plain
        } else {
            Security::Tls(tls_options(place, link)?)
        };
        let signer: Arc<dyn TagSigner> = match &device {
            Some((_, modem)) => Arc::new(modem.shared().clone()),
            None => Arc::new(NoTags),
        };
        let options = options(place, link, &security)?;
        let open =
            MqttLink::open(signer, &security, &options)
                .await
                .map_err(|error| match &link.name {
                    Some(name) => no_link_for(error, name),
                    None => no_link(error),
                })?;
        Ok(Self {
            link: open,
            device: device.map(|(state, _)| state),
        })
    }

    fn refused(&self, error: ClientError) -> Fault {
        match self.link.explain(&error) {
            Some(explanation) => explained(&explanation, self.device.is_some()),
            None => Fault::no_because(error),
        }
    }

    /// What it cost, if asked for.
    fn report(&self, link: &Link) {
        if link.traffic {
            eprint!("{}", traffic_report(&self.link.traffic()));
        }
    }

    /// `~/x` stands for `<CN>/x`.
    fn topic(&self, text: &str) -> String {
        match text.strip_prefix("~/") {
            Some(rest) => self.link.own_topic(rest),
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

fn tls_options(place: &Place, link: &Link) -> Outcome<TlsOptions> {
    let mut tls = TlsOptions::new([]);
    if link.name.is_some() {
        for tag in &link.sec_tags {
            tls.tags.push(SecTag::new(u64::from(*tag))?);
        }
    } else {
        tls.files = Some(files(place, link)?);
    }
    tls.server_name.clone_from(&link.server_name);
    tls.cipher_suites.clone_from(&link.ciphers);
    tls.peer_verify = link.dangerously_peer_verify.into();
    Ok(tls)
}

fn files(place: &Place, link: &Link) -> Outcome<FileCredentials> {
    let home_ca = || place.home.join("ca/root.crt");
    let ca = link.ca.clone().unwrap_or_else(home_ca);
    match (link.operator, &link.cert, &link.key) {
        (true, ..) => {
            let folder = place.home.join("operator");
            from_files(
                &ca,
                &folder.join("operator.crt"),
                &folder.join("operator.key"),
            )
        }
        (false, Some(cert), Some(key)) => from_files(&ca, cert, key),
        // A broker that asks for no client certificate.
        (false, None, None) if link.ca.is_some() => Ok(FileCredentials {
            authorities: authorities(&ca)?,
            ca_path: ca,
            identity: None,
        }),
        _ => Err(Fault::untried("no credentials to connect with").hint(
            "--name DEVICE uses a device's sec tag, --operator the home's operator certificate, --cert and --key files; --ca alone is for brokers that ask for no certificate",
        )),
    }
}

fn options(place: &Place, link: &Link, security: &Security) -> Outcome<LinkOptions> {
    let password = match &link.password_file {
        None => None,
        Some(path) => {
            let text = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
            let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
            Some(Secret::new(text[..end.map_or(0, |last| last + 1)].to_vec()))
        }
    };
    let qos = if link.will_qos == 0 {
        Qos::AtMostOnce
    } else {
        Qos::AtLeastOnce
    };
    let home = if link.plain {
        None
    } else {
        device::running_port(place, "mqtt")
    };
    // Two shells with the operator's certificate must not take each other's session; a device is one client.
    let number = std::process::id();
    let client_id = match (&link.client_id, &link.name, security) {
        (Some(id), ..) => Some(id.clone()),
        (
            None,
            None,
            Security::Tls(TlsOptions {
                files: Some(files), ..
            }),
        ) => {
            let chain = files
                .identity
                .as_ref()
                .and_then(|(_, key)| key.cert.first());
            let name = chain.and_then(|leaf| sectag_pki::identity(leaf).ok());
            name.map(|name| format!("{}-{number}", name.cn))
        }
        _ => None,
    };
    let hardware_id = link.name.clone();
    Ok(LinkOptions {
        port: link.port.or(home).unwrap_or(security.default_port()),
        client_id,
        hardware_id: Some(hardware_id.unwrap_or_else(|| format!("sectag-{number}"))),
        version: if link.mqtt_version == "5" {
            Version::V5
        } else {
            Version::V311
        },
        keep_alive: Duration::from_secs(u64::from(link.keep_alive)),
        will: link.will_topic.as_ref().map(|topic| Will {
            topic: topic.clone(),
            payload: link.will_message.clone().unwrap_or_default().into_bytes(),
            qos,
            retain: link.will_retain,
        }),
        user_name: link.user_name.clone(),
        password,
        ..LinkOptions::new(&link.host)
    })
}
