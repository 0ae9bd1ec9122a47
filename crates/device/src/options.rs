//! What a device may be told: one table of every option, and the values in effect with where each came from.
//!
//! ```text
//!   our defaults, or --faithful ◄── device.toml ◄── --kconfig prj.conf … ◄── -o key=value ◄── --host, --port, …
//! ```
//!
//! The later one wins. A key that does not exist is an error with a suggestion, because a setting that is present
//! either takes effect or stops the command.

mod client;
mod file;
mod reference;
mod table;
mod value;

pub use client::{Identity, TransportRefusal};
pub use file::OptionsError;
pub use reference::reference;
pub use table::{Here, Known, OPTIONS, keyed, known};
pub use value::{Kind, Value, ValueError};

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use sectag_proto::SecTag;
use sectag_proto::device::Transport;

use crate::kconfig::{Kconfig, Place};

/// Keys that say where the service is. `--faithful` leaves them as they are: it changes how the device behaves, not
/// whom it talks to.
const WHEREABOUTS: [&str; 5] = [
    "http-hostname",
    "http-port",
    "coap-hostname",
    "coap-port",
    "root-ca-sec-tag",
];
/// Root CA tag of the firmware's samples over CoAP; over HTTPS it is 50.
const ROOT_CA_TAG_COAP: u64 = 42;
/// Domain of the vendor's service.
const VENDOR_DOMAIN: &str = "nrfcloud.com";

/// Values of all keys of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    faithful: bool,
    chosen: BTreeMap<&'static str, Chosen>,
}

/// A value, and who chose it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The value.
    pub value: Value,
    /// From where.
    pub source: Source,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Our default.
    Default,
    /// The firmware's default, because of `--faithful`.
    Faithful,
    /// `device.toml`.
    File(Place),
    /// A `prj.conf`.
    Kconfig(Place),
    /// A flag, as it is typed.
    Flag(String),
    /// The service that runs on this machine says so.
    Service,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Faithful => f.write_str("--faithful"),
            Self::File(place) | Self::Kconfig(place) => write!(f, "{place}"),
            Self::Flag(flag) => f.write_str(flag),
            Self::Service => f.write_str("the service of this home"),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::ours()
    }
}

impl Options {
    /// Our defaults.
    pub fn ours() -> Self {
        Self::from_table(false)
    }

    /// The firmware's defaults and conduct, flaws included. Where the service is stays as in [`Options::ours`].
    pub fn faithful() -> Self {
        Self::from_table(true)
    }

    fn from_table(faithful: bool) -> Self {
        let chosen = OPTIONS.iter().filter_map(|known| {
            let key = known.key()?;
            let (text, source) = if faithful && !WHEREABOUTS.contains(&key) {
                (known.firmware, Source::Faithful)
            } else {
                (known.ours, Source::Default)
            };
            let value = known.kind.read(text).ok()?;
            Some((key, Chosen { value, source }))
        });
        Self {
            faithful,
            chosen: chosen.collect(),
        }
    }

    /// Whether `--faithful` was asked for.
    pub const fn is_faithful(&self) -> bool {
        self.faithful
    }

    /// Each key with its table row and value, in the table's order.
    pub fn rows(&self) -> impl Iterator<Item = (&'static Known, &Chosen)> {
        OPTIONS
            .iter()
            .filter_map(|known| Some((known, self.chosen.get(known.key()?)?)))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Chosen> {
        self.chosen.get(key)
    }

    /// Sets one key.
    ///
    /// # Errors
    /// [`OptionsError`] for a key that does not exist, or a value that does not fit.
    pub fn set(&mut self, key: &str, value: Value, source: Source) -> Result<(), OptionsError> {
        let known = keyed(key).ok_or_else(|| OptionsError::unknown(key, &source))?;
        let wrong = |error| OptionsError::Value {
            key: key.to_owned(),
            source_of: source.clone(),
            error,
        };
        known.kind.check(&value).map_err(wrong)?;
        if let Some(key) = known.key() {
            self.chosen.insert(key, Chosen { value, source });
        }
        Ok(())
    }

    /// Takes over what `prj.conf` files say about keys of a device. Everything else in them is for others, see
    /// [`Kconfig::unknown`].
    pub fn apply_kconfig(&mut self, kconfig: &Kconfig) {
        for known in OPTIONS {
            if let (Some(key), Some(setting)) = (known.key(), kconfig.find(known.kconfig)) {
                self.chosen.insert(
                    key,
                    Chosen {
                        value: setting.value.clone(),
                        source: Source::Kconfig(setting.place.clone()),
                    },
                );
            }
        }
    }

    /// Sets `key=value`, as typed after `-o`. A Kconfig name, with or without `CONFIG_`, does as well.
    ///
    /// # Errors
    /// [`OptionsError`].
    pub fn apply_flag(&mut self, text: &str) -> Result<(), OptionsError> {
        let source = Source::Flag(format!("-o {text}"));
        let (key, value) = text.split_once('=').ok_or_else(|| OptionsError::NoValue {
            text: text.chars().take(80).collect(),
        })?;
        let named = key.strip_prefix("CONFIG_").unwrap_or(key);
        let known = keyed(key)
            .or_else(|| known(named))
            .filter(|known| known.key().is_some())
            .ok_or_else(|| OptionsError::unknown(key, &source))?;
        let value = known
            .kind
            .read(value)
            .map_err(|error| OptionsError::Value {
                key: key.to_owned(),
                source_of: source.clone(),
                error,
            })?;
        self.set(known.key().unwrap_or_default(), value, source)
    }

    fn flag(&self, key: &str) -> bool {
        matches!(
            self.get(key).map(|chosen| &chosen.value),
            Some(Value::Flag(true))
        )
    }

    fn number(&self, key: &str) -> u64 {
        match self.get(key).map(|chosen| &chosen.value) {
            Some(Value::Number(number)) => u64::try_from(*number).unwrap_or(0),
            _ => 0,
        }
    }

    fn seconds(&self, key: &str) -> Duration {
        Duration::from_secs(self.number(key))
    }

    fn text(&self, key: &str) -> &str {
        match self.get(key).map(|chosen| &chosen.value) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// HTTP_HOSTNAME.
    pub fn http_hostname(&self) -> &str {
        self.text("http-hostname")
    }

    /// HTTP_PORT; `None` when nobody chose one.
    pub fn http_port(&self) -> Option<u16> {
        let chosen = self.get("http-port")?;
        match chosen.source {
            Source::Default => None,
            _ => u16::try_from(self.number("http-port")).ok(),
        }
    }

    /// HTTP_TIMEOUT_MS.
    pub fn http_timeout(&self) -> Duration {
        Duration::from_millis(self.number("http-timeout-ms"))
    }

    /// COAP_HOSTNAME.
    pub fn coap_hostname(&self) -> &str {
        self.text("coap-hostname")
    }

    /// COAP_PORT; `None` when nobody chose one.
    ///
    /// # Errors
    /// [`OptionsError`] for a text that is not the number of a port.
    pub fn coap_port(&self) -> Result<Option<u16>, OptionsError> {
        let Some(chosen) = self
            .get("coap-port")
            .filter(|chosen| chosen.source != Source::Default)
        else {
            return Ok(None);
        };
        let text = self.text("coap-port");
        match text.parse() {
            Ok(port) if port > 0 => Ok(Some(port)),
            _ => Err(OptionsError::CoapPort {
                source_of: chosen.source.clone(),
                given: text.to_owned(),
            }),
        }
    }

    /// COAP_TIMEOUT_SECONDS.
    pub fn coap_timeout(&self) -> Duration {
        self.seconds("coap-timeout-s")
    }

    /// COAP_DTLS_SESSION_CACHE.
    pub fn coap_session_cache(&self) -> bool {
        self.flag("coap-session-cache")
    }

    /// COAP_CLIENT_BLOCK_SIZE.
    pub fn coap_block_bytes(&self) -> u16 {
        u16::try_from(self.number("coap-block-bytes")).unwrap_or(u16::MAX)
    }

    /// Host of the service, by the transport that was chosen.
    pub fn hostname(&self) -> &str {
        match self.transport() {
            Transport::Https => self.http_hostname(),
            Transport::Coap => self.coap_hostname(),
        }
    }

    /// ROOT_CA_SEC_TAG; over CoAP another default, as in the firmware's samples.
    pub fn root_ca_tag(&self) -> SecTag {
        let is_default = matches!(
            self.get("root-ca-sec-tag").map(|chosen| &chosen.source),
            Some(Source::Default)
        );
        let tag = match self.transport() {
            Transport::Coap if is_default => ROOT_CA_TAG_COAP,
            _ => self.number("root-ca-sec-tag"),
        };
        SecTag::new(tag).expect("the table's range is that of a sec tag")
    }

    /// WITH_CERT.
    pub fn with_cert(&self) -> bool {
        self.flag("with-cert")
    }

    /// Whether the host is the vendor's: nothing of ours belongs under its root CA tag.
    pub fn host_is_the_vendors(&self) -> bool {
        let host = self.hostname().trim_end_matches('.').to_ascii_lowercase();
        host == VENDOR_DOMAIN
            || host
                .strip_suffix(VENDOR_DOMAIN)
                .is_some_and(|rest| rest.ends_with('.'))
    }

    /// SHELL.
    pub fn shell(&self) -> bool {
        self.flag("shell")
    }

    /// CUSTOM_AT.
    pub fn custom_at(&self) -> bool {
        self.flag("custom-at")
    }

    /// PRINT_ATTESTATION_TOKEN.
    pub fn print_attestation_token(&self) -> bool {
        self.flag("print-attestation-token")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_value_from_the_start() {
        for options in [Options::ours(), Options::faithful()] {
            for known in OPTIONS {
                if let Some(key) = known.key() {
                    assert!(options.get(key).is_some(), "{key}");
                }
            }
        }
    }

    #[test]
    fn faithful_changes_conduct_and_not_the_service() {
        let options = Options::faithful();
        assert_eq!(options.http_hostname(), "localhost");
        assert_eq!(options.root_ca_tag().get(), 50);
        assert_eq!(options.get("spread-s").unwrap().value, Value::Number(0));
        assert_eq!(options.get("spread-s").unwrap().source, Source::Faithful);
    }

    #[test]
    fn the_vendors_host_is_known_in_every_stage() {
        let mut options = Options::ours();
        for (host, is) in [
            ("provisioning-http.nrfcloud.com", true),
            ("provisioning-http.dev.NRFcloud.com.", true),
            ("localhost", false),
            ("notnrfcloud.com", false),
        ] {
            options
                .apply_flag(&format!("http-hostname={host}"))
                .unwrap();
            assert_eq!(options.host_is_the_vendors(), is, "{host}");
        }
    }

    #[test]
    fn the_last_word_wins_and_is_named() {
        let mut options = Options::ours();
        let mut kconfig = Kconfig::default();
        kconfig
            .add("prj.conf", "CONFIG_NRF_PROVISIONING_INTERVAL_S=60\n")
            .unwrap();
        options
            .apply_toml("device.toml", "interval-s = 30\nspread-s = 3\n")
            .unwrap();
        options.apply_kconfig(&kconfig);
        options
            .apply_flag("CONFIG_NRF_PROVISIONING_SPREAD_S=0x5")
            .unwrap();
        let row = |key: &str| {
            let chosen = options.get(key).unwrap();
            format!("{} {}", chosen.value, chosen.source)
        };
        assert_eq!(row("interval-s"), "60 prj.conf:1");
        assert_eq!(row("spread-s"), "5 -o CONFIG_NRF_PROVISIONING_SPREAD_S=0x5");
        assert_eq!(row("rx-bytes"), "1024 default");
    }

    #[test]
    fn a_typing_mistake_is_answered_with_the_right_key() {
        let error = Options::ours().apply_flag("intervall-s=5").unwrap_err();
        assert_eq!(
            error.to_string(),
            "-o intervall-s=5: there is no option `intervall-s`"
        );
        assert_eq!(error.hint().unwrap(), "did you mean `interval-s`?");
        let error = Options::ours().apply_flag("interval-s").unwrap_err();
        assert_eq!(error.to_string(), "`-o interval-s` has no value");
        let error = Options::ours().apply_flag("interval-s=soon").unwrap_err();
        assert_eq!(
            error.to_string(),
            "-o interval-s=soon: `interval-s`: \"soon\" is a text, not a number"
        );
    }
}
