//! `sectag.toml`: what an operator may set. Every key is documented in `docs/reference/sectag-toml.md`.
//!
//! Order of precedence: built-in default, file, environment, command-line flag. An unknown key is an error with a
//! suggestion, because a setting that is present either takes effect or stops the command.

use crate::objects;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The settings of one home.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Names and addresses that go into the server certificate beside `localhost`, `127.0.0.1` and `::1`.
    pub names: Vec<String>,
    /// Which device keys are trusted at a claim. Default [`Policy::Auto`].
    pub policy: Policy,
    /// Commands of one device that may wait; one more is refused with 409. Default 100, at most 1000.
    pub open_commands_max: usize,
    /// Where to listen.
    pub listen: Listen,
    /// The device API over CoAP.
    pub coap: Coap,
    /// What owners may see.
    pub owner: Owner,
    /// Where webhooks may lead, and whom they trust.
    pub webhooks: Webhooks,
    /// A certificate from elsewhere.
    pub certificate: CertificateFiles,
}

/// The certificate that is shown over HTTPS and CoAP in the place of the home's own. Both or none; default none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CertificateFiles {
    /// PEM, end entity first, without the root; a relative path is beside `sectag.toml`. Looked at every 30 s, so that a
    /// renewed one is shown.
    pub file: Option<PathBuf>,
    /// Its key, PEM, readable by its owner only.
    pub key: Option<PathBuf>,
}

/// Where webhooks may lead, and whom they trust.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Webhooks {
    /// A file of certificate authorities (PEM) that receivers' certificates may come from, beside those that the system
    /// trusts. Default none; read anew for each connection.
    pub ca_file: Option<PathBuf>,
    /// Whose webhooks may lead to loopback and private addresses. Default [`Private::Home`].
    pub private: Private,
}

/// Whose webhooks may lead into the own network. To link-local addresses and the metadata services of clouds none ever does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Private {
    /// Those of the home's own team.
    #[default]
    Home,
    /// Those of every team.
    All,
    /// Nobody's.
    None,
}

/// What owners may see of each other's work.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Owner {
    /// Whether devices that a key of an admin or an owner claimed are hidden from editors and viewers, as the vendor does it
    /// (spec/owner-api §1). Default yes.
    pub admin_claims_hidden: bool,
}

/// Socket addresses; port 0 means any free port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Listen {
    /// Owner API over TLS. Default `127.0.0.1:8440`.
    pub owner: SocketAddr,
    /// Owner API over plain HTTP for a browser on this machine. Default `127.0.0.1:8441`; a loopback address only.
    pub loopback: SocketAddr,
    /// Device API over TLS. Default `127.0.0.1:8443`.
    pub device: SocketAddr,
    /// MQTT over mutual TLS. Default `127.0.0.1:8883`.
    pub mqtt: SocketAddr,
    /// Device API over CoAP and DTLS, a UDP port. Default `127.0.0.1:5684`.
    pub coap: SocketAddr,
}

/// The device API over CoAP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Coap {
    /// Seconds that a session stays authorised, told to devices as Max-Age. Default 30 days, at most
    /// [`AUTHORISED_S_LIMIT`].
    pub authorised_s: u32,
    /// Whether `p/auth` takes attestation tokens, as the oldest clients show them: whoever saw one once can be the device
    /// for ever. Default no.
    pub attestation_auth: bool,
    /// From the end of a handshake, or of an authorisation, to the next one; then the session is closed. Default 60 s, and no
    /// operator's to set: a device shows its token with its first request, and one that has lost the network meanwhile gives
    /// up after 30 s (spec/device-protocol §6.2) and comes back with a handshake.
    #[serde(skip)]
    pub stranger_time_max: Duration,
}

/// Which device keys a claim trusts (design: identity).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// [`Policy::FirstClaim`] while the home has one team, [`Policy::AllowList`] as soon as it has several: who comes first is
    /// a good answer among colleagues only.
    Auto,
    /// The first claim of a device id binds its keys. Proves possession of *a* key, not that Nordic made it.
    FirstClaim,
    /// Only devices whose key is known beforehand can be claimed.
    AllowList,
}

/// A settings text that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct SettingsError {
    /// The file or the environment variable.
    pub place: String,
    /// In words, with line and column where there is one.
    pub reason: String,
    /// A key that was probably meant.
    pub suggestion: Option<String>,
}

/// Largest value of `coap.authorised-s`, a year: what a device may do is looked at with each request anyway, and a session
/// that nobody ends must not live on for ever.
pub const AUTHORISED_S_LIMIT: u32 = 365 * 86_400;

/// Largest value of `open-commands-max`: a queue is read whole for each fetch.
pub const OPEN_COMMANDS_LIMIT: usize = 1000;

impl Default for Settings {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            policy: Policy::Auto,
            open_commands_max: sectag_proto::service::OPEN_COMMANDS_MAX,
            listen: Listen::default(),
            coap: Coap::default(),
            owner: Owner::default(),
            webhooks: Webhooks::default(),
            certificate: CertificateFiles::default(),
        }
    }
}

impl Default for Owner {
    fn default() -> Self {
        Self {
            admin_claims_hidden: true,
        }
    }
}

impl Policy {
    /// `auto`, `first-claim`, `allow-list`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::FirstClaim => "first-claim",
            Self::AllowList => "allow-list",
        }
    }

    /// The reverse of [`Policy::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = [Self::Auto, Self::FirstClaim, Self::AllowList].into_iter();
        all.find(|policy| policy.as_str() == text)
    }
}

impl Default for Coap {
    fn default() -> Self {
        let lasts = sectag_proto::service::grants::GRANT_LASTS.as_secs();
        Self {
            authorised_s: u32::try_from(lasts).unwrap_or(AUTHORISED_S_LIMIT),
            attestation_auth: false,
            stranger_time_max: Duration::from_secs(60),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self {
            owner: local(8440),
            loopback: local(8441),
            device: local(8443),
            mqtt: local(8883),
            coap: local(5684),
        }
    }
}

impl Settings {
    /// Parses the file's text; `place` is its path, for the error.
    ///
    /// # Errors
    /// [`SettingsError`] with line, column and, for an unknown key, the one that was probably meant.
    pub fn parse(text: &str, place: &str) -> Result<Self, SettingsError> {
        let settings: Self = objects::from_toml(text).map_err(|e| {
            let line = e.span().map(|span| {
                1 + text.as_bytes()[..span.start.min(text.len())]
                    .iter()
                    .filter(|b| **b == b'\n')
                    .count()
            });
            let reason = match line {
                Some(line) => format!("line {line}: {}", e.message()),
                None => e.message().to_owned(),
            };
            SettingsError {
                place: place.to_owned(),
                reason,
                suggestion: suggestion(e.message()),
            }
        })?;
        settings.check(place)
    }

    /// Applies environment variables: `SECTAG_NAMES` (comma-separated), `SECTAG_POLICY`, `SECTAG_OPEN_COMMANDS_MAX`,
    /// `SECTAG_LISTEN_OWNER`, `SECTAG_LISTEN_LOOPBACK`, `SECTAG_LISTEN_DEVICE`, `SECTAG_LISTEN_MQTT`,
    /// `SECTAG_LISTEN_COAP`, `SECTAG_COAP_AUTHORISED_S`, `SECTAG_COAP_ATTESTATION_AUTH`,
    /// `SECTAG_OWNER_ADMIN_CLAIMS_HIDDEN`, `SECTAG_WEBHOOKS_CA_FILE`, `SECTAG_WEBHOOKS_PRIVATE`, `SECTAG_CERTIFICATE_FILE`,
    /// `SECTAG_CERTIFICATE_KEY`. Others are not ours.
    ///
    /// # Errors
    /// [`SettingsError`] naming the variable.
    pub fn with_environment(
        mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        for (name, value) in variables {
            let refuse = |reason: String| SettingsError {
                place: name.clone(),
                reason,
                suggestion: None,
            };
            let address = || {
                value.parse::<SocketAddr>().map_err(|_| {
                    refuse(format!(
                        "`{value}` is not an address with a port, such as 127.0.0.1:8443"
                    ))
                })
            };
            match name.as_str() {
                "SECTAG_NAMES" => {
                    self.names = value
                        .split(',')
                        .map(|name| name.trim().to_owned())
                        .filter(|name| !name.is_empty())
                        .collect();
                }
                "SECTAG_POLICY" => {
                    self.policy = Policy::parse(&value).ok_or_else(|| {
                        refuse(format!(
                            "`{value}` is not a policy: `auto`, `first-claim` or `allow-list`"
                        ))
                    })?;
                }
                "SECTAG_OWNER_ADMIN_CLAIMS_HIDDEN" => {
                    self.owner.admin_claims_hidden = value
                        .parse()
                        .map_err(|_| refuse(format!("`{value}` is neither `true` nor `false`")))?;
                }
                "SECTAG_OPEN_COMMANDS_MAX" => {
                    self.open_commands_max = value
                        .parse()
                        .map_err(|_| refuse(format!("`{value}` is not a number")))?;
                }
                "SECTAG_COAP_AUTHORISED_S" => {
                    self.coap.authorised_s = value
                        .parse()
                        .map_err(|_| refuse(format!("`{value}` is not a number of seconds")))?;
                }
                "SECTAG_COAP_ATTESTATION_AUTH" => {
                    self.coap.attestation_auth = value
                        .parse()
                        .map_err(|_| refuse(format!("`{value}` is neither `true` nor `false`")))?;
                }
                "SECTAG_WEBHOOKS_CA_FILE" => self.webhooks.ca_file = Some(value.clone().into()),
                "SECTAG_WEBHOOKS_PRIVATE" => {
                    self.webhooks.private = match value.as_str() {
                        "home" => Private::Home,
                        "all" => Private::All,
                        "none" => Private::None,
                        _ => {
                            return Err(refuse(format!(
                                "`{value}` is none of `home`, `all` and `none`"
                            )));
                        }
                    }
                }
                "SECTAG_CERTIFICATE_FILE" => self.certificate.file = Some(value.clone().into()),
                "SECTAG_CERTIFICATE_KEY" => self.certificate.key = Some(value.clone().into()),
                "SECTAG_LISTEN_COAP" => self.listen.coap = address()?,
                "SECTAG_LISTEN_OWNER" => self.listen.owner = address()?,
                "SECTAG_LISTEN_LOOPBACK" => self.listen.loopback = address()?,
                "SECTAG_LISTEN_DEVICE" => self.listen.device = address()?,
                "SECTAG_LISTEN_MQTT" => self.listen.mqtt = address()?,
                _ => {}
            }
        }
        self.check("environment")
    }

    fn check(self, place: &str) -> Result<Self, SettingsError> {
        let refuse = |reason: String| {
            Err(SettingsError {
                place: place.to_owned(),
                reason,
                suggestion: None,
            })
        };
        if !self.listen.loopback.ip().is_loopback() {
            return refuse(format!(
                "listen.loopback: {} is reachable from other machines, and this listener speaks plain HTTP; use listen.owner (TLS) for that",
                self.listen.loopback
            ));
        }
        if self.certificate.file.is_some() != self.certificate.key.is_some() {
            return refuse(
                "certificate.file and certificate.key: one is set without the other".to_owned(),
            );
        }
        if !(1..=OPEN_COMMANDS_LIMIT).contains(&self.open_commands_max) {
            return refuse(format!(
                "open-commands-max: {} is not between 1 and {OPEN_COMMANDS_LIMIT}",
                self.open_commands_max
            ));
        }
        if !(1..=AUTHORISED_S_LIMIT).contains(&self.coap.authorised_s) {
            return refuse(format!(
                "coap.authorised-s: {} is not between 1 and {AUTHORISED_S_LIMIT}",
                self.coap.authorised_s
            ));
        }
        if cfg!(not(feature = "coap")) {
            let ours = Self::default();
            for (key, set) in [
                ("listen.coap", self.listen.coap != ours.listen.coap),
                ("coap", self.coap != ours.coap),
            ] {
                if set {
                    return refuse(format!("{key}: CoAP is not built into this program"));
                }
            }
        }
        Ok(self)
    }
}

/// From serde's "unknown field `x`, expected one of `a`, `b`": the nearest name, if one is near.
fn suggestion(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let given = message
        .contains("unknown")
        .then(|| quoted.next())
        .flatten()?;
    quoted
        .map(|known| (distance(given, known), known))
        .min()
        .filter(|(steps, known)| *steps <= 1 + known.len() / 3)
        .map(|(_, known)| known.to_owned())
}

/// Levenshtein distance; both texts are short key names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let swap = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = swap.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_means_the_defaults() {
        assert_eq!(Settings::parse("", "f").unwrap(), Settings::default());
    }

    #[test]
    fn every_key_is_read() {
        let text = r#"
            names = ["provisioning.example.org", "192.0.2.7"]
            policy = "allow-list"
            open-commands-max = 20
            [listen]
            owner = "0.0.0.0:443"
            loopback = "[::1]:0"
            device = "0.0.0.0:8443"
            mqtt = "0.0.0.0:8883"
        "#;
        let of_owners = "[owner]\nadmin-claims-hidden = false\n";
        let of_coap = r#"
            coap = "0.0.0.0:5684"
            [coap]
            authorised-s = 3600
            attestation-auth = true
        "#;
        let text = match cfg!(feature = "coap") {
            true => text.to_owned() + of_coap + of_owners,
            false => text.to_owned() + of_owners,
        };
        let settings = Settings::parse(&text, "f").unwrap();
        assert_eq!(settings.names.len(), 2);
        assert_eq!(settings.coap.attestation_auth, cfg!(feature = "coap"));
        assert_eq!(settings.policy, Policy::AllowList);
        assert!(!settings.owner.admin_claims_hidden);
        assert_eq!(settings.open_commands_max, 20);
        assert_eq!(settings.listen.owner.port(), 443);
        assert!(settings.listen.loopback.is_ipv6());
    }

    #[test]
    fn an_unknown_key_is_an_error_with_line_and_suggestion() {
        let e = Settings::parse("\npolcy = \"first-claim\"\n", "home/sectag.toml").unwrap_err();
        assert!(e.to_string().contains("home/sectag.toml: line 2"), "{e}");
        assert_eq!(e.suggestion.as_deref(), Some("policy"));
        let e = Settings::parse("[listen]\ndevcie = \"127.0.0.1:1\"", "f").unwrap_err();
        assert_eq!(e.suggestion.as_deref(), Some("device"));
        let e = Settings::parse("zebra = 1", "f").unwrap_err();
        assert_eq!(e.suggestion, None);
    }

    #[test]
    fn an_array_is_no_table() {
        for text in ["\ncoap = []", "\nlisten = [\"127.0.0.1:1\"]"] {
            let e = Settings::parse(text, "f").unwrap_err();
            let reason = "line 2: invalid type: sequence, expected struct ";
            assert!(e.reason.starts_with(reason), "{e}");
        }
    }

    #[test]
    fn the_plain_listener_stays_on_loopback() {
        let e = Settings::parse("[listen]\nloopback = \"0.0.0.0:8441\"", "f").unwrap_err();
        assert!(e.reason.contains("plain HTTP"), "{e}");
    }

    #[test]
    fn an_authorisation_has_an_end() {
        for seconds in ["0", "31536001", "-1"] {
            let text = format!("[coap]\nauthorised-s = {seconds}");
            assert!(Settings::parse(&text, "f").is_err(), "{seconds}");
        }
    }

    #[cfg(not(feature = "coap"))]
    #[test]
    fn what_is_set_for_coap_stops_a_program_without_it() {
        for text in [
            "[listen]\ncoap = \"0.0.0.0:5684\"",
            "[coap]\nattestation-auth = true",
        ] {
            let e = Settings::parse(text, "f").unwrap_err();
            assert!(e.reason.contains("not built into"), "{e}");
        }
    }

    #[test]
    fn the_environment_wins_over_the_file_and_names_the_variable_at_fault() {
        let set = |name: &str, value: &str| {
            Settings::default().with_environment([(name.to_owned(), value.to_owned())])
        };
        assert_eq!(
            set("SECTAG_NAMES", "a.example, b.example")
                .unwrap()
                .names
                .len(),
            2
        );
        assert_eq!(
            set("SECTAG_POLICY", "allow-list").unwrap().policy,
            Policy::AllowList
        );
        assert_eq!(
            set("SECTAG_LISTEN_MQTT", "127.0.0.1:0")
                .unwrap()
                .listen
                .mqtt
                .port(),
            0
        );
        assert_eq!(set("PATH", "/bin").unwrap(), Settings::default());
        assert_eq!(
            set("SECTAG_LISTEN_DEVICE", "8443").unwrap_err().place,
            "SECTAG_LISTEN_DEVICE"
        );
        assert!(set("SECTAG_OPEN_COMMANDS_MAX", "0").is_err());
        assert!(set("SECTAG_COAP_AUTHORISED_S", "0").is_err());
        assert!(set("SECTAG_COAP_ATTESTATION_AUTH", "yes").is_err());
    }
}
