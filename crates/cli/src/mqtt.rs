//! `sectag mqtt`: publish and subscribe over TLS with the credentials of a sec tag or of files, or over plain TCP.

mod files;
pub(crate) mod gateway;
mod words;

pub(crate) use gateway::in_directory;
pub(crate) use words::no_link;

use crate::args::{Global, Link, Mqtt, Which};
use crate::commands::SEC_TAG_DEFAULT;
use crate::device;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use crate::up::StopSignal;
use files::{authorities, from_files, unreadable};
use gateway::Gateway;
use sectag_device::link::{FileCredentials, LinkOptions, MqttLink, NoTags, Security, TlsOptions};
use sectag_device::settings::Settings as _;
use sectag_device::state::DeviceState;
use sectag_modem::TagSigner;
use sectag_mqtt::{ClientError, Incoming, Qos, Version, Will};
use sectag_proto::{SecTag, Secret};
use sectag_server::app::SWITCH_KEY;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use words::{explained, no_link_for, traffic_report};

/// `sectag mqtt`
pub(crate) async fn mqtt(global: &Global, place: &Place, verb: Mqtt) -> Outcome {
    let by_keys = match &verb {
        Mqtt::Pub { link, .. } | Mqtt::Sub { link, .. } => link.keys.gateway,
        Mqtt::Sample(args) => args.gateway,
        Mqtt::Broker(_) => false,
    };
    let done = run(global, place, verb).await;
    // As spec/gateway-config Annex B has it.
    done.map_err(|fault| if by_keys { fault.or_code(1) } else { fault })
}

async fn run(global: &Global, place: &Place, verb: Mqtt) -> Outcome {
    let as_json = global.json;
    match verb {
        Mqtt::Broker(args) => return crate::broker::broker(global, place, &args).await,
        Mqtt::Sample(args) => return crate::sample::sample(global, place, *args).await,
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
            let open = Open::new(global, place, &link).await?;
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
            let mut open = Open::new(global, place, &link).await?;
            let topic = open.topic(&topic);
            open.subscribe(&topic).await?;
            eprintln!("subscribed to {topic}");
            let mut left = count.unwrap_or(u64::MAX);
            let mut stop = StopSignal::listen()?;
            while left > 0 {
                tokio::select! {
                    message = open.link.next() => match message {
                        Some(message) => show(&message, as_json),
                        None => {
                            open.again().await?;
                            open.subscribe(&topic).await?;
                            continue;
                        }
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
    gateway: Option<(Gateway, LinkOptions)>,
}

impl Open {
    async fn new(global: &Global, place: &Place, link: &Link) -> Outcome<Self> {
        if link.keys.gateway {
            return Self::by_keys(global, place, link).await;
        }
        let device = match &link.name {
            Some(name) => Some(device::open(place, &Which { name: name.clone() })?),
            None => None,
        };
        let security = if link.plain {
            Security::Plain
        } else {
            Security::Tls(tls_options(
                place,
                link,
                device.as_ref().map(|(state, _)| state),
            )?)
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
            gateway: None,
        })
    }

    /// As the keys `mqtt.client.*` say.
    async fn by_keys(global: &Global, place: &Place, link: &Link) -> Outcome<Self> {
        let gateway = Gateway::new(global, place, link)?;
        let security = Security::Gateway(gateway.client.clone());
        let options = LinkOptions {
            host: gateway.client.settings().client.host.to_string(),
            ..options(place, link, &security)?
        };
        Ok(Self {
            link: gateway.open(&options, false).await?,
            device: None,
            gateway: Some((gateway, options)),
        })
    }

    async fn subscribe(&self, topic: &str) -> Outcome {
        let granted = self.link.subscribe(topic, Qos::AtLeastOnce).await;
        granted.map(drop).map_err(|error| self.refused(error))
    }

    /// The connection is over: another one takes its place if keys say how, and if it may succeed.
    async fn again(&mut self) -> Outcome {
        let error = self.link.closed().await;
        let may_pass = self
            .link
            .explain(&error)
            .is_some_and(|explanation| explanation.cause.may_pass());
        let fault = self.refused(error);
        match &self.gateway {
            Some((gateway, options)) if may_pass => {
                eprintln!("{}\nconnecting again", fault.warning());
                self.link = gateway.open(options, true).await?;
                Ok(())
            }
            _ => Err(fault),
        }
    }

    fn refused(&self, error: ClientError) -> Fault {
        match self.link.explain(&error) {
            Some(mut explanation) => {
                if let Some((gateway, _)) = &self.gateway {
                    gateway.with_directory(&mut explanation);
                }
                explained(&explanation, self.device.is_some())
            }
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

/// Those given, else the one that a renewal told the device to use, and behind it the usual one.
fn sec_tags(link: &Link, device: &DeviceState) -> Outcome<Vec<SecTag>> {
    let mut tags = Vec::new();
    for tag in &link.sec_tags {
        tags.push(SecTag::new(u64::from(*tag))?);
    }
    if tags.is_empty() {
        let told = device.settings()?.load(SWITCH_KEY);
        let told = told.and_then(|text| text.parse().ok().and_then(|tag| SecTag::new(tag).ok()));
        let usual = SecTag::new(u64::from(SEC_TAG_DEFAULT))?;
        tags.extend(told.filter(|tag| *tag != usual));
        tags.push(usual);
    }
    Ok(tags)
}

fn tls_options(place: &Place, link: &Link, device: Option<&DeviceState>) -> Outcome<TlsOptions> {
    let mut tls = TlsOptions::new([]);
    if let Some(device) = device {
        tls.tags = sec_tags(link, device)?;
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
    let home = if link.plain || link.keys.gateway {
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
        (None, None, Security::Gateway(gateway)) => {
            gateway.common_name().map(|name| format!("{name}-{number}"))
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
