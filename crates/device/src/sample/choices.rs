//! What a `prj.conf` or a command line may choose, and what comes of it: both fill [`Choices`], the nearer one wins.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sectag_mqtt::Qos;
use sectag_mqtt::client::Will;
use sectag_proto::SecTag;

use super::config::{Config, Edition, Program};
use super::credentials::Folder;
use super::options::Options;
use crate::kconfig::Kconfig;
use crate::link::{Security, TlsOptions};

/// Sec tag of the sample's TLS overlay.
pub const SEC_TAG_SAMPLE: u32 = 955;
/// Sec tag of the exercise.
pub const SEC_TAG_ACADEMY: u32 = 24;
/// Topic of the library's last will.
pub const WILL_TOPIC: &str = "lastwilltopic";
/// As good as none: a broker that says nothing for a day.
const NO_TIMEOUT: Duration = Duration::from_secs(86_400);
/// Payload of the library's last will.
pub const WILL_MESSAGE: &str = "{\"lastwill\": \"offline\"}";

/// What may be chosen; `None` leaves the program's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choices {
    /// Sample or exercise.
    pub program: Option<Program>,
    /// Do as the firmware does.
    pub faithful: bool,
    /// Broker.
    pub host: Option<String>,
    /// Connect there; the host's name is still verified.
    pub address: Option<String>,
    /// Port; default 8883, without TLS 1883.
    pub port: Option<u16>,
    /// Default `true`.
    pub tls: Option<bool>,
    /// Default 955, in the exercise 24.
    pub sec_tag: Option<SecTag>,
    /// Default none.
    pub secondary_sec_tag: Option<SecTag>,
    /// Write the credential files before connecting. Default `true`, if there is a folder.
    pub provision: Option<bool>,
    /// Folder of the credential files.
    pub certs: Option<PathBuf>,
    /// See [`Config::client_id`].
    pub client_id: Option<String>,
    /// See [`Config::publish_topic`].
    pub publish_topic: Option<String>,
    /// See [`Config::subscribe_topic`].
    pub subscribe_topic: Option<String>,
    /// What button 1 publishes in the exercise.
    pub message: Option<String>,
    /// From trigger to trigger; in the exercise there is none by default.
    pub interval: Option<Duration>,
    /// From a failed attempt to the next.
    pub reconnect: Option<Duration>,
    /// See [`Options::keep_alive`].
    pub keep_alive: Option<Duration>,
    /// See [`Options::keep_session`].
    pub keep_session: Option<bool>,
    /// Have a last will.
    pub will: Option<bool>,
    /// Its topic.
    pub will_topic: Option<String>,
    /// Its payload.
    pub will_message: Option<String>,
    /// See [`Options::timeout`].
    pub timeout: Option<Duration>,
    /// `TLS_PEER_VERIFY` of the exercise's options: 0, 1 or 2. It is never weakened by a file alone, so whoever sets it to
    /// 0 or 1 must be asked; [`Choices::options`] does not look at it.
    pub peer_verify: Option<u8>,
    /// Resume TLS sessions.
    pub session_cache: Option<bool>,
    /// See [`Config::reboot_on_fatal`].
    pub reboot_on_fatal: Option<bool>,
}

impl Choices {
    /// What a `prj.conf` chooses. Paths in it are relative to `project`, the folder it is in.
    ///
    /// The names of the exercise make it the exercise: `MQTT_BROKER_…`, `MQTT_TLS_…` and `MQTT_…_TOPIC` are those of the
    /// older edition, `MQTT_SAMPLE_PUB_TOPIC` and its like those of the current one.
    pub fn from_kconfig(kconfig: &Kconfig, project: &Path) -> Self {
        let any = |names: &[&str]| names.iter().any(|name| kconfig.get(name).is_some());
        let program = if any(&V2_2_NAMES) {
            Some(Program::Academy(Edition::V2_2))
        } else if any(&CURRENT_NAMES) {
            Some(Program::Academy(Edition::Current))
        } else {
            None
        };
        // An empty text stands for the default, as in the firmware.
        let text = |names: &[&str]| {
            let found = names.iter().find_map(|name| kconfig.text(name));
            found.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let number = |names: &[&str]| names.iter().find_map(|name| kconfig.number(name));
        let seconds = |names: &[&str]| {
            let seconds = number(names).and_then(|seconds| u64::try_from(seconds).ok());
            seconds.map(Duration::from_secs)
        };
        // -1 stands for none.
        let tag = |names: &[&str]| {
            let tag = number(names).and_then(|tag| u64::try_from(tag).ok());
            tag.and_then(|tag| SecTag::new(tag).ok())
        };
        let certs = text(&["MQTT_HELPER_CERTIFICATES_FOLDER"])
            .map(|folder| project.join(folder))
            .or_else(|| Some(project.join("certs")).filter(|folder| folder.is_dir()));
        let switches = ["MODEM_KEY_MGMT", "MQTT_HELPER_PROVISION_CERTIFICATES"];
        let provision = switches
            .iter()
            .filter_map(|name| kconfig.flag(name))
            .reduce(|one, other| one && other);
        let timeout = match kconfig.flag("MQTT_HELPER_SEND_TIMEOUT") {
            Some(false) => Some(NO_TIMEOUT),
            _ => seconds(&["MQTT_HELPER_SEND_TIMEOUT_SEC"]),
        };
        Self {
            program,
            faithful: false,
            host: text(&[
                "MQTT_SAMPLE_TRANSPORT_BROKER_HOSTNAME",
                "MQTT_SAMPLE_BROKER_HOSTNAME",
                "MQTT_BROKER_HOSTNAME",
            ]),
            address: text(&["MQTT_HELPER_STATIC_IP_ADDRESS"]),
            port: number(&["MQTT_HELPER_PORT", "MQTT_BROKER_PORT"])
                .and_then(|port| u16::try_from(port).ok()),
            tls: kconfig.flag("MQTT_LIB_TLS"),
            sec_tag: tag(&["MQTT_HELPER_SEC_TAG", "MQTT_TLS_SEC_TAG"]),
            secondary_sec_tag: tag(&["MQTT_HELPER_SECONDARY_SEC_TAG"]),
            provision,
            certs,
            client_id: text(&[
                "MQTT_SAMPLE_TRANSPORT_CLIENT_ID",
                "MQTT_SAMPLE_CLIENT_ID",
                "MQTT_CLIENT_ID",
            ]),
            publish_topic: text(&[
                "MQTT_SAMPLE_TRANSPORT_PUBLISH_TOPIC",
                "MQTT_SAMPLE_PUB_TOPIC",
                "MQTT_PUB_TOPIC",
            ]),
            subscribe_topic: text(&[
                "MQTT_SAMPLE_TRANSPORT_SUBSCRIBE_TOPIC",
                "MQTT_SAMPLE_SUB_TOPIC",
                "MQTT_SUB_TOPIC",
            ]),
            message: text(&["MQTT_SAMPLE_PUBLISH_MSG"]),
            interval: seconds(&["MQTT_SAMPLE_TRIGGER_TIMEOUT_SECONDS"]),
            reconnect: seconds(&[
                "MQTT_SAMPLE_TRANSPORT_RECONNECTION_TIMEOUT_SECONDS",
                "MQTT_RECONNECT_DELAY_S",
            ]),
            keep_alive: seconds(&["MQTT_KEEPALIVE"]),
            keep_session: kconfig.flag("MQTT_CLEAN_SESSION").map(|clean| !clean),
            will: kconfig.flag("MQTT_HELPER_LAST_WILL"),
            will_topic: text(&["MQTT_HELPER_LAST_WILL_TOPIC"]),
            will_message: text(&["MQTT_HELPER_LAST_WILL_MESSAGE"]),
            timeout,
            peer_verify: number(&["MQTT_TLS_PEER_VERIFY"])
                .and_then(|level| u8::try_from(level).ok()),
            session_cache: kconfig.flag("MQTT_TLS_SESSION_CACHING"),
            reboot_on_fatal: kconfig.flag("MQTT_SAMPLE_ERROR_REBOOT_ON_FATAL"),
        }
    }

    /// These choices, and those of `other` where there is none.
    pub fn or(self, other: Self) -> Self {
        Self {
            program: self.program.or(other.program),
            faithful: self.faithful || other.faithful,
            host: self.host.or(other.host),
            address: self.address.or(other.address),
            port: self.port.or(other.port),
            tls: self.tls.or(other.tls),
            sec_tag: self.sec_tag.or(other.sec_tag),
            secondary_sec_tag: self.secondary_sec_tag.or(other.secondary_sec_tag),
            provision: self.provision.or(other.provision),
            certs: self.certs.or(other.certs),
            client_id: self.client_id.or(other.client_id),
            publish_topic: self.publish_topic.or(other.publish_topic),
            subscribe_topic: self.subscribe_topic.or(other.subscribe_topic),
            message: self.message.or(other.message),
            interval: self.interval.or(other.interval),
            reconnect: self.reconnect.or(other.reconnect),
            keep_alive: self.keep_alive.or(other.keep_alive),
            keep_session: self.keep_session.or(other.keep_session),
            will: self.will.or(other.will),
            will_topic: self.will_topic.or(other.will_topic),
            will_message: self.will_message.or(other.will_message),
            timeout: self.timeout.or(other.timeout),
            peer_verify: self.peer_verify.or(other.peer_verify),
            session_cache: self.session_cache.or(other.session_cache),
            reboot_on_fatal: self.reboot_on_fatal.or(other.reboot_on_fatal),
        }
    }

    /// Sec tags in their order, by default those of the program.
    pub fn tags(&self) -> Vec<SecTag> {
        let standard = match self.program {
            Some(Program::Academy(_)) => SEC_TAG_ACADEMY,
            _ => SEC_TAG_SAMPLE,
        };
        let primary = self.sec_tag.unwrap_or_else(|| {
            SecTag::new(u64::from(standard)).expect("both standard tags are below the limit")
        });
        std::iter::once(primary)
            .chain(self.secondary_sec_tag.filter(|tag| *tag != primary))
            .collect()
    }

    /// The options that come of it; `host` and `port` where none is chosen.
    pub fn options(&self, host: &str, port: Option<u16>) -> Options {
        let tags = self.tags();
        let security = if self.tls.unwrap_or(true) {
            let mut tls = TlsOptions::new(tags.clone());
            tls.session_cache = self.session_cache.unwrap_or(false);
            Security::Tls(tls)
        } else {
            Security::Plain
        };
        let host = self.host.as_deref().unwrap_or(host);
        let port = self.port.or(port).unwrap_or(security.default_port());
        let tls = security.is_tls();
        let mut config = match self.program.unwrap_or_default() {
            Program::Sample => Config::sample(host, port, tls),
            Program::Academy(edition) => Config::academy(edition, host, port, tls),
        };
        if self.faithful {
            config = config.to_the_letter();
        }
        config.client_id.clone_from(&self.client_id);
        set(&mut config.publish_topic, &self.publish_topic);
        set(&mut config.subscribe_topic, &self.subscribe_topic);
        set(&mut config.button_message, &self.message);
        config.interval = self.interval.or(config.interval);
        set(&mut config.reconnect, &self.reconnect);
        set(&mut config.reboot_on_fatal, &self.reboot_on_fatal);
        let folder = match (self.provision.unwrap_or(true) && tls, &self.certs) {
            (true, Some(path)) => Some(Folder {
                path: path.clone(),
                primary: tags[0],
                secondary: tags.get(1).copied(),
            }),
            _ => None,
        };
        let mut options = Options::new(config, security);
        options.address.clone_from(&self.address);
        set(&mut options.keep_alive, &self.keep_alive);
        set(&mut options.keep_session, &self.keep_session);
        set(&mut options.timeout, &self.timeout);
        options.will = self.last_will();
        options.folder = folder;
        options
    }

    fn last_will(&self) -> Option<Will> {
        let wanted = self
            .will
            .unwrap_or(self.will_topic.is_some() || self.will_message.is_some());
        wanted.then(|| Will {
            topic: self.will_topic.clone().unwrap_or(WILL_TOPIC.to_owned()),
            payload: self
                .will_message
                .clone()
                .unwrap_or(WILL_MESSAGE.to_owned())
                .into_bytes(),
            qos: Qos::AtMostOnce,
            retain: false,
        })
    }
}

/// Names that only the older edition of the exercise has.
const V2_2_NAMES: [&str; 7] = [
    "MQTT_BROKER_HOSTNAME",
    "MQTT_BROKER_PORT",
    "MQTT_TLS_SEC_TAG",
    "MQTT_PUB_TOPIC",
    "MQTT_SUB_TOPIC",
    "MQTT_RECONNECT_DELAY_S",
    "BUTTON_EVENT_PUBLISH_MSG",
];

/// Names that only the current edition of the exercise has.
const CURRENT_NAMES: [&str; 4] = [
    "MQTT_SAMPLE_BROKER_HOSTNAME",
    "MQTT_SAMPLE_CLIENT_ID",
    "MQTT_SAMPLE_PUB_TOPIC",
    "MQTT_SAMPLE_SUB_TOPIC",
];

fn set<T: Clone>(here: &mut T, chosen: &Option<T>) {
    if let Some(chosen) = chosen {
        here.clone_from(chosen);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn chosen(text: &str) -> Choices {
        let mut kconfig = Kconfig::default();
        kconfig.add("prj.conf", text).unwrap();
        Choices::from_kconfig(&kconfig, Path::new("/project"))
    }

    #[test]
    fn the_four_options_of_the_exercise_are_taken() {
        let choices = chosen(
            "CONFIG_MQTT_LIB_TLS=y\nCONFIG_MQTT_BROKER_PORT=8883\nCONFIG_MODEM_KEY_MGMT=y\nCONFIG_MQTT_TLS_SEC_TAG=24\n",
        );
        assert_eq!(choices.program, Some(Program::Academy(Edition::V2_2)));
        let options = choices.options("localhost", None);
        assert_eq!(options.config.port, 8883);
        assert!(options.config.tls);
        assert_eq!(choices.tags(), [SecTag::new(24).unwrap()]);
    }

    #[test]
    fn the_options_of_the_sample_keep_it_a_sample() {
        let choices = chosen(
            "CONFIG_MQTT_LIB_TLS=y\nCONFIG_MQTT_KEEPALIVE=30\nCONFIG_MQTT_HELPER_SEC_TAG=955\n\
             CONFIG_MQTT_HELPER_SECONDARY_SEC_TAG=956\nCONFIG_MQTT_SAMPLE_TRANSPORT_CLIENT_ID=\"\"\n\
             CONFIG_MQTT_SAMPLE_TRIGGER_TIMEOUT_SECONDS=5\nCONFIG_MQTT_HELPER_CERTIFICATES_FOLDER=\"src/credentials\"\n\
             CONFIG_MQTT_HELPER_LAST_WILL=y\n",
        );
        assert_eq!(choices.program, None);
        let options = choices.options("localhost", None);
        assert_eq!(options.config.program, Program::Sample);
        assert_eq!(options.config.client_id, None, "empty is the default");
        assert_eq!(options.config.interval, Some(Duration::from_secs(5)));
        assert_eq!(choices.tags().len(), 2);
        let folder = options.folder.unwrap();
        assert_eq!(folder.path, Path::new("/project/src/credentials"));
        assert_eq!(folder.secondary.unwrap().get(), 956);
        let will = options.will.unwrap();
        assert_eq!(
            (will.topic.as_str(), &will.payload[..]),
            ("lastwilltopic", &b"{\"lastwill\": \"offline\"}"[..])
        );
    }

    #[test]
    fn either_switch_turns_provisioning_off() {
        for switch in ["MODEM_KEY_MGMT", "MQTT_HELPER_PROVISION_CERTIFICATES"] {
            let choices = chosen(&format!(
                "CONFIG_{switch}=n\nCONFIG_MQTT_HELPER_CERTIFICATES_FOLDER=\"certs\"\n"
            ));
            assert_eq!(choices.options("localhost", None).folder, None, "{switch}");
        }
    }

    #[test]
    fn without_tls_it_is_plain_mqtt_on_1883() {
        let options = chosen("CONFIG_MQTT_LIB_TLS=n\n").options("localhost", None);
        assert!(!options.security.is_tls());
        assert_eq!(
            (options.config.port, options.keep_alive),
            (1883, Duration::from_secs(60))
        );
    }

    #[test]
    fn the_command_line_is_nearer_than_the_file() {
        let typed = Choices {
            port: Some(1),
            ..Choices::default()
        };
        let both = typed.or(chosen(
            "CONFIG_MQTT_HELPER_PORT=2\nCONFIG_MQTT_KEEPALIVE=7\n",
        ));
        assert_eq!(
            (both.port, both.keep_alive),
            (Some(1), Some(Duration::from_secs(7)))
        );
    }
}
