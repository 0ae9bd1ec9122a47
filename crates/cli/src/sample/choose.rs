//! From flags and `prj.conf` to options, with a refusal for what cannot be meant.

use crate::args::{EditionName, Global, Sample};
use crate::device;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::mqtt::gateway;
use sectag_device::kconfig::Kconfig;
use sectag_device::link::{PeerVerify, Security};
use sectag_device::sample::{Choices, Credentials, Edition, FolderError, Options, Program};
use sectag_gateway::Level;
use sectag_proto::SecTag;
use std::path::Path;
use std::time::Duration;

/// Longest text or will of MQTT 3.1.1 (§1.5.3, §3.1.3.3).
const MQTT_TEXT_BYTES_MAX: usize = 65_535;

/// What the sample shall do.
pub(super) struct Chosen {
    pub(super) options: Options,
    /// No other host was named.
    pub(super) own_broker: bool,
}

pub(super) fn choose(global: &Global, place: &Place, args: &Sample) -> Outcome<Chosen> {
    let mut typed = typed(args)?;
    let keys = args.gateway.then(|| gateway::client(global, place));
    let keys = keys.transpose()?;
    if let Some(client) = &keys {
        let options = client.link_options();
        typed.host = Some(options.host);
        typed.port = Some(options.port);
        typed.tls = Some(client.level() != Level::None);
        typed.provision = Some(false);
    }
    let written = written(args)?;
    let named_program = typed.program.is_none() && written.program.is_some();
    let choices = typed.or(written);
    if let (true, Some(Program::Academy(edition))) = (named_program, choices.program) {
        let edition = match edition {
            Edition::V2_2 => "2.2",
            Edition::Current => "current",
        };
        eprintln!(
            "note: the names in --kconfig are those of the exercise: --academy --edition {edition}"
        );
    }
    let own_broker = choices.host.is_none();
    let port = own_broker
        .then(|| device::running_port(place, "mqtt"))
        .flatten();
    let mut options = choices.options("localhost", port);
    let academy = matches!(options.config.program, Program::Academy(_));
    let topics = choices.publish_topic.is_none() && choices.subscribe_topic.is_none();
    if academy && own_broker && topics && !args.faithful {
        options.config.below_name = true;
        eprintln!(
            "note: the broker of this home lets a device use topics below its own name only; the exercise's topics are put there"
        );
    }
    options.config.count = args.count;
    if let Some(delay) = args.connect_delay {
        options.config.connect_delay = Duration::from_secs(delay);
    }
    if let Security::Tls(tls) = &mut options.security {
        tls.peer_verify = peer_verify(args, choices.peer_verify)?;
        tls.server_name.clone_from(&args.server_name);
        tls.cipher_suites.clone_from(&args.ciphers);
    }
    if let Some(client) = keys {
        client
            .check()
            .map_err(|unready| gateway::unready(global, &unready.finding))?;
        options.security = Security::Gateway(client);
    }
    names(&options)?;
    look_at_files(args, &options)?;
    Ok(Chosen {
        options,
        own_broker,
    })
}

/// What no broker takes; the firmware reboots over it, or is thrown out.
fn names(options: &Options) -> Outcome {
    let config = &options.config;
    if config.faithful {
        return Ok(());
    }
    if let Some(id) = config
        .client_id
        .as_ref()
        .filter(|id| id.len() >= config.client_id_buffer)
    {
        let longest = config.client_id_buffer - 1;
        return Err(Fault::untried(format!(
            "a client id of {} bytes is too long; MQTT takes {longest}",
            id.len()
        )));
    }
    let topic = &config.publish_topic;
    if topic.is_empty() || topic.contains(['+', '#', '\0']) {
        return Err(
            Fault::untried(format!("`{topic}` is no topic to publish to")).hint(
                "a topic is not empty and holds no wildcard; wildcards are for --subscribe-topic",
            ),
        );
    }
    let will = options.will.as_ref();
    for (what, bytes) in [
        ("publish topic", topic.len()),
        ("subscribe topic", config.subscribe_topic.len()),
        ("last will's topic", will.map_or(0, |will| will.topic.len())),
        (
            "last will's message",
            will.map_or(0, |will| will.payload.len()),
        ),
    ] {
        if bytes > MQTT_TEXT_BYTES_MAX {
            return Err(Fault::untried(format!(
                "the {what} has {bytes} bytes; MQTT takes {MQTT_TEXT_BYTES_MAX}"
            )));
        }
    }
    Ok(())
}

fn typed(args: &Sample) -> Outcome<Choices> {
    let tag = |tag: Option<u32>| tag.map(|tag| SecTag::new(u64::from(tag))).transpose();
    let seconds = |seconds: Option<u64>| seconds.map(Duration::from_secs);
    let edition = match args.edition {
        Some(EditionName::V2_2) => Edition::V2_2,
        Some(EditionName::Current) | None => Edition::Current,
    };
    let flag = |yes: bool, no: bool| (yes || no).then_some(yes);
    Ok(Choices {
        program: args.academy.then_some(Program::Academy(edition)),
        faithful: args.faithful,
        host: args.host.clone(),
        address: args.address.clone(),
        port: args.port,
        tls: flag(args.tls, args.plain),
        sec_tag: tag(args.sec_tag)?,
        secondary_sec_tag: tag(args.secondary_sec_tag)?,
        provision: args.no_provision.then_some(false),
        certs: args.certs.clone(),
        client_id: args.client_id.clone(),
        publish_topic: args.publish_topic.clone(),
        subscribe_topic: args.subscribe_topic.clone(),
        message: args.message.clone(),
        interval: seconds(args.interval),
        reconnect: seconds(args.reconnect),
        keep_alive: args.keep_alive.map(|s| Duration::from_secs(u64::from(s))),
        keep_session: args.keep_session.then_some(true),
        will: (args.will_topic.is_some() || args.will_message.is_some()).then_some(true),
        will_topic: args.will_topic.clone(),
        will_message: args.will_message.clone(),
        timeout: seconds(args.timeout),
        peer_verify: None,
        session_cache: flag(args.session_cache, args.no_session_cache),
        reboot_on_fatal: None,
    })
}

fn written(args: &Sample) -> Outcome<Choices> {
    let Some(first) = args.kconfig.first() else {
        return Ok(Choices::default());
    };
    let kconfig = Kconfig::read(&args.kconfig).map_err(|error| {
        let hint = error.hint();
        let fault = Fault::from(error);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    })?;
    // A project has dozens of options that are none of our business; one about MQTT may be a slip.
    for unknown in kconfig
        .unknown()
        .filter(|unknown| unknown.name.contains("MQTT"))
    {
        let meant = unknown
            .suggestion
            .map(|name| format!("; did you mean {name}?"))
            .unwrap_or_default();
        eprintln!(
            "note: {}: {} has no effect here{meant}",
            unknown.place, unknown.name
        );
    }
    let project = first.parent().unwrap_or(Path::new("."));
    Ok(Choices::from_kconfig(&kconfig, project))
}

/// A file alone never weakens it.
fn peer_verify(args: &Sample, written: Option<u8>) -> Outcome<PeerVerify> {
    let any = args.dangerously_accept_any_broker;
    let warn = args.dangerously_accept_with_warning;
    match (any, warn, written) {
        (true, ..) => Ok(PeerVerify::DangerouslyNone),
        (_, true, _) => Ok(PeerVerify::DangerouslyOptional),
        (false, false, Some(level @ (0 | 1))) => {
            let flag = if level == 0 {
                "--dangerously-accept-any-broker"
            } else {
                "--dangerously-accept-with-warning"
            };
            Err(Fault::untried(format!(
                "CONFIG_MQTT_TLS_PEER_VERIFY={level} would take a broker whose certificate is wrong"
            ))
            .hint(format!(
                "2 is what protects you; if you mean it, add {flag}"
            )))
        }
        _ => Ok(PeerVerify::Required),
    }
}

/// Says what is wrong with the credential files before anything is touched, and what is risky about them.
fn look_at_files(args: &Sample, options: &Options) -> Outcome {
    let Some(folder) = &options.folder else {
        return Ok(());
    };
    let credentials = folder.read().map_err(folder_fault)?;
    for path in credentials.unused() {
        eprintln!(
            "note: `{}` is for a secondary sec tag, and none is named: --secondary-sec-tag",
            path.display()
        );
    }
    test_keys(args, &credentials)
}

fn test_keys(args: &Sample, credentials: &Credentials) -> Outcome {
    const SAFER: &str = "a key that is made in the modem cannot leave it: `sectag creds keygen`, or `sectag commands onboard`";
    for path in credentials.private_keys() {
        let text = format!(
            "the private key in `{}` is for tests only: whoever can read the file, or the flash it is compiled into, can be this device",
            path.display()
        );
        if args.no_test_keys {
            return Err(Fault::no(text).hint(format!("{SAFER}; or leave out --no-test-keys")));
        }
        eprintln!("warning: {text}\n  {SAFER}");
    }
    Ok(())
}

fn folder_fault(error: FolderError) -> Fault {
    let hint = error.hint();
    let fault = Fault::from(error);
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}
