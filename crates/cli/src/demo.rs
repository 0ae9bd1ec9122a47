//! `sectag demo`: the whole story in one command, from a blank device to a received MQTT message.
//!
//! Service, device and owner are real and talk over real sockets on loopback ports that happen to be free; only the
//! modem is virtual. Everything lives in a temporary home.

use crate::args::{Demo, Which};
use crate::client::Owner;
use crate::commands::{self, SEC_TAG_DEFAULT, command_row};
use crate::device::{self, Service as Target, session, words};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use crate::up;
use sectag_device::agent::Happening;
use sectag_device::hosted::HostedModem;
use sectag_device::link::{LinkOptions, MqttLink, Security};
use sectag_device::state::DeviceState;
use sectag_device::verbs;
use sectag_mqtt::Qos;
use sectag_proto::SecTag;
use sectag_proto::device::{Ending, Errno, Event};
use sectag_server::{Config, Home, Service, system_clock};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// Where the device keeps the root CA of the service, as the firmware's samples do.
const ROOT_CA_TAG: u32 = 50;
/// A message on loopback comes within milliseconds; mosquitto_sub needs some to start.
const MESSAGE_WITHIN: Duration = Duration::from_secs(15);

/// `sectag demo`
pub(crate) async fn demo(args: &Demo) -> Outcome {
    let folder = tempfile::Builder::new().prefix("sectag-demo-").tempdir()?;
    let place = Place {
        home: folder.path().join("home"),
    };
    let played = tokio::select! {
        played = play(args, &place) => played,
        stopped = up::stop_signal() => { stopped?; Err(Fault::no("stopped")) }
    };
    match played {
        Ok(Some(mut service)) => {
            output::print(&format!(
                "\nEverything stays up. Look around:\n\n{}\n",
                up::look_around(&service, &place.home)
            ));
            let home = place.home.display();
            output::print(&format!(
                "  sectag --home {home} devices\n  sectag --home {home} status\n  sectag --home {home} mqtt sub --operator -t '#'\n  sectag --home {home} mqtt pub --name demo -t '~/hello' -m hi\n\nCtrl-C ends it; the home stays, `sectag up --home {home}` goes on.\n"
            ));
            let _ = folder.keep();
            let mut stop = up::StopSignal::listen()?;
            let failed = stop.came_or(service.failed()).await;
            service.shutdown().await;
            up::ended(failed)
        }
        Ok(None) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Numbers the steps and says how long each took.
struct Story {
    began: Instant,
    step_began: Instant,
    step: u32,
}

impl Story {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            step_began: now,
            step: 0,
        }
    }

    fn step(&mut self, title: &str) {
        self.end_step();
        self.step += 1;
        output::print(&format!("\n{}  {title}\n", self.step));
    }

    fn say(&self, text: &str) {
        output::print(&format!("   {text}\n"));
    }

    fn end_step(&mut self) {
        if self.step > 0 {
            output::print(&format!(
                "   ({} ms)\n",
                self.step_began.elapsed().as_millis()
            ));
        }
        self.step_began = Instant::now();
    }
}

async fn play(args: &Demo, place: &Place) -> Outcome<Option<Service>> {
    let mut story = Story::new();

    story.step("A service starts in an empty home");
    let mut config =
        Config::new(Home::open(&place.home, system_clock()()).map_err(up::not_started)?);
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    (config.owner, config.loopback, config.device, config.mqtt) = (any, any, any, any);
    config.coap = any;
    let service = Service::start(config).await.map_err(up::not_started)?;
    let addresses = service.addresses();
    story.say("root CA with two issuing CAs (servers, devices), owner key, database: made");
    story.say(&format!(
        "device API on {}, MQTT on {}, owner API on {}",
        addresses.device, addresses.mqtt, addresses.loopback
    ));

    story.step("A blank device asks for commands");
    let (state, mut modem) = device::open(
        place,
        &Which {
            name: "demo".to_owned(),
        },
    )?;
    let id = verbs::uuid(&mut modem)?.to_string();
    let target = Target {
        host: "localhost".to_owned(),
        port: addresses.device.port(),
        root_ca: place.home.join("ca/root.crt"),
        root_ca_tag: SecTag::new(u64::from(ROOT_CA_TAG))?,
    };
    story.say(&format!(
        "virtual nRF9151, UUID {id}; sec tag {SEC_TAG_DEFAULT} is empty"
    ));
    let (ending, token) = run(&story, &state, &mut modem, &target).await?;
    let token = token
        .filter(|_| ending == Ending::Failed(Errno::Access))
        .ok_or_else(|| unexpected("a blank device was let in", ending))?;
    story.say("401: nobody has claimed it. It shows its attestation token:");
    story.say(&token);

    story.step("The owner claims it by that token");
    let owner = Owner::new(place, None, None)?;
    let device = owner
        .post("/v1/claimed-devices", &json!({ "claimToken": token }))
        .await?;
    story.say(&format!(
        "POST /v1/claimed-devices → {} is {}",
        device["id"].as_str().unwrap_or("-"),
        device["status"].as_str().unwrap_or("-")
    ));
    story.say("the keys that can have signed the token are kept; the device's next JWT picks one, and that one is pinned");

    story.step("The owner queues what the device shall get");
    if args.failing {
        let command = |(what, request)| json!({ "description": what, "request": request });
        let commands = failing_queue().map(command).to_vec();
        commands::queue(&owner, &id, commands, None).await?;
    } else {
        commands::onboard(&owner, place, &id, SEC_TAG_DEFAULT).await?;
    }
    show_queue(&owner, &id).await?;

    story.step("The device comes back and works through its queue");
    let (ending, _) = run(&story, &state, &mut modem, &target).await?;
    if args.failing {
        return failing_end(story, &owner, &id, ending, service).await;
    }
    if ending != Ending::Done {
        return Err(unexpected("the session did not finish", ending));
    }

    story.step("What the owner sees");
    show_queue(&owner, &id).await?;
    let issued = owner
        .get(&format!("/v1/claimed-devices/{id}/certificates"))
        .await?;
    story.say(&format!(
        "one certificate issued, serial {}; the private key never left the modem",
        issued["items"][0]["serial"].as_str().unwrap_or("-")
    ));

    story.step("The device opens MQTT over mutual TLS with that sec tag");
    let run_id = random_id()?;
    let receiver = Receiver::start(place, addresses.mqtt.port(), &id).await?;
    story.say(&format!(
        "{} subscribes to {id}/# with the operator's certificate",
        receiver.name()
    ));
    let tag = SecTag::new(u64::from(SEC_TAG_DEFAULT))?;
    let link = MqttLink::open(
        Arc::new(modem.shared().clone()),
        &Security::tags([tag]),
        &LinkOptions {
            port: addresses.mqtt.port(),
            ..LinkOptions::new("localhost")
        },
    )
    .await
    .map_err(crate::mqtt::no_link)?;
    let topic = link.own_topic("hello");
    story.say(&format!("CONNECT as {}: accepted", link.client_id()));
    link.publish(
        &topic,
        format!("from blank to MQTT, run {run_id}"),
        Qos::AtLeastOnce,
        true,
    )
    .await?;
    story.say("PUBLISH, QoS 1, retained: acknowledged");
    let receiver_name = receiver.name();
    let line = receiver.line_with(&run_id).await?;
    link.disconnect().await?;
    story.say(&format!("{receiver_name} received:"));
    output::print(&format!("\n   {line}\n\n"));
    story.end_step();
    let total = story.began.elapsed();
    output::print(&format!(
        "\nFrom nothing to a received message in {}.{:03} s.\n",
        total.as_secs(),
        total.subsec_millis()
    ));
    if args.keep {
        return Ok(Some(service));
    }
    service.shutdown().await;
    Ok(None)
}

/// One command that works, one that the modem refuses, two that are never run.
fn failing_queue() -> [(&'static str, Value); 4] {
    [
        (
            "works",
            json!({ "config": { "provisioning/interval-sec": "3600" } }),
        ),
        (
            "fails: nothing is there to delete",
            json!({ "atCommand": { "command": "%CMNG", "parameters": format!("3,{SEC_TAG_DEFAULT},1") } }),
        ),
        (
            "never run",
            json!({ "clientPrivateKeyGeneration": { "secTag": SEC_TAG_DEFAULT } }),
        ),
        ("never run", json!({ "finished": {} })),
    ]
}

async fn failing_end(
    mut story: Story,
    owner: &Owner,
    id: &str,
    ending: Ending,
    service: Service,
) -> Outcome<Option<Service>> {
    if ending != Ending::Failed(Errno::NoData) {
        return Err(unexpected("the session ended in another way", ending));
    }
    story.say("the first result and the failure were reported; nothing is left for the device");
    story.step("What the owner sees");
    show_queue(owner, id).await?;
    story.say("the second command failed with the modem's number and words; the rest was dropped, visibly");
    story.end_step();
    service.shutdown().await;
    Ok(None)
}

async fn run(
    story: &Story,
    state: &DeviceState,
    modem: &mut HostedModem,
    target: &Target,
) -> Outcome<(Ending, Option<String>)> {
    let mut token = None;
    let ending = session(state, modem, target, &mut |happening| {
        if let Happening::Event(Event::FailedDeviceNotClaimed { token: given }) = &happening {
            token.clone_from(given);
        }
        if let Some(line) = words(&happening) {
            story.say(line.trim_start());
        }
    })
    .await?;
    Ok((ending, token))
}

async fn show_queue(owner: &Owner, id: &str) -> Outcome {
    let queue = owner
        .get(&format!("/v1/claimed-devices/{id}/provisioning"))
        .await?;
    let items = queue["items"].as_array().cloned().unwrap_or_default();
    for (number, item) in items.iter().enumerate() {
        let row = command_row(item);
        output::print(&format!(
            "   {}. {:28} {:12} {}\n",
            number + 1,
            row[1],
            row[3],
            row[4]
        ));
    }
    Ok(())
}

fn unexpected(what: &str, ending: Ending) -> Fault {
    Fault::no(format!("{what}: {ending:?}")).hint("run it again with -vv and report what it prints")
}

fn random_id() -> Outcome<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| {
        Fault::untried(format!(
            "the operating system has no random numbers: {error}"
        ))
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Who receives the message: a program none of us wrote when it is there, else our own client.
enum Receiver {
    Mosquitto(tokio::process::Child),
    Own(Box<MqttLink>),
}

impl Receiver {
    /// Starts to subscribe. The message is retained, so it does not matter who is faster.
    async fn start(place: &Place, port: u16, id: &str) -> Outcome<Self> {
        let filter = format!("{id}/#");
        let spawned = Command::new("mosquitto_sub")
            .args([
                "-h",
                "localhost",
                "-p",
                &port.to_string(),
                "-q",
                "1",
                "-C",
                "1",
            ])
            .args(["-F", "%t %p", "-t", &filter])
            .arg("--cafile")
            .arg(place.home.join("ca/root.crt"))
            .arg("--cert")
            .arg(place.home.join("operator/operator.crt"))
            .arg("--key")
            .arg(place.home.join("operator/operator.key"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        match spawned {
            Ok(child) => Ok(Self::Mosquitto(child)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let link = crate::mqtt::operator(place, port).await?;
                link.subscribe(&filter, Qos::AtLeastOnce).await?;
                Ok(Self::Own(Box::new(link)))
            }
            Err(error) => Err(error.into()),
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Mosquitto(_) => "mosquitto_sub",
            Self::Own(_) => "our own client (mosquitto_sub is not installed)",
        }
    }

    /// Topic and payload of the first message, which must be the one with `wanted` in it.
    async fn line_with(self, wanted: &str) -> Outcome<String> {
        let name = self.name();
        let received = async {
            match self {
                Self::Mosquitto(child) => {
                    let said = child.wait_with_output().await?;
                    let words = String::from_utf8_lossy(&said.stderr).trim().to_owned();
                    if said.status.success() {
                        Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
                    } else {
                        Err(Fault::no(format!(
                            "{name} ended with {}: {words}",
                            said.status
                        )))
                    }
                }
                Self::Own(mut link) => match link.next().await {
                    Some(message) => {
                        let payload = String::from_utf8_lossy(&message.payload);
                        Ok(format!("{} {payload}", message.topic))
                    }
                    None => Err(Fault::no("the subscriber lost its connection")),
                },
            }
        };
        let line = tokio::time::timeout(MESSAGE_WITHIN, received)
            .await
            .map_err(|_| {
                Fault::no(format!(
                    "{name} received nothing within {} s",
                    MESSAGE_WITHIN.as_secs()
                ))
            })??;
        if line.contains(wanted) {
            Ok(line)
        } else {
            Err(Fault::no(format!(
                "{name} received another message: {line}"
            )))
        }
    }
}
