//! Writes the gateway's listeners (spec/gateway-config §7.2, RULE 12–14): the same settings, the same bytes.
//!
//! ```text
//!   # header: product, schema, content hash        2.0: per_listener_settings first, allow_anonymous below each listener
//!   # internal …                                   2.1: listener_allow_anonymous below each listener
//!   listener 1883 127.0.0.1
//!   # external: mutual …
//!   listener 8883
//!   … anonymous switch, certfile, keyfile, cafile|capath, crlfile, require_certificate,
//!     use_identity_as_username, tls_version, acl
//! ```
//!
//! A half pair, a CA without a certificate, a value with a line break: refused here too, whoever asked
//! (RULE 5, RULE 11). `require_certificate` and `use_identity_as_username` are written in mutual mode only: the first
//! without TLS leaves a plaintext port, the second without the first lets nobody in.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::BrokerVersion;
use crate::findings::{Finding, FindingId, Severity, shell};
use crate::{External, Host, Level, Settings};

mod resolved;

pub use resolved::{Authorities, Extras, Paths, Resolved};

/// Layout of the file; a change of it changes every file at the next `apply`.
const SCHEMA: u32 = 1;
/// What MQTT allows. 2.1 would cut at 2 000 000 what 2.0 lets through (spec/gateway-config §14).
const PACKET_BYTES_MAX: u32 = 268_435_455;

/// A file for mosquitto.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Its text.
    pub text: String,
    /// SHA-256 of everything below the header, 64 hexadecimal digits; the header shows the first 16.
    pub hash: String,
    /// The level of the external listener; `None` without one.
    pub level: Option<Level>,
    /// Notes on what was left out.
    pub notes: Vec<Finding>,
}

/// Writes the file.
///
/// # Errors
/// Findings of severity error: a broker before 2.0, half a pair, a CA without a certificate or without hash links, a
/// name without an address, overlapping listeners, a value that mosquitto would read as something else.
pub fn render(
    settings: &Settings,
    resolved: &Resolved,
    extras: &Extras,
    version: BrokerVersion,
) -> Result<Rendered, Vec<Finding>> {
    let mut page = Page {
        version,
        body: String::new(),
        findings: Vec::new(),
    };
    if version.is_too_old() {
        let id = FindingId::B6;
        let sentence =
            format!("mosquitto {version} is not supported: its rules of access are others");
        page.error(id, sentence, &[], "install mosquitto 2.0 or later");
    }
    page.globals();
    let access = Access::of(settings, extras);
    page.load_plugins(&access, extras);
    if settings.internal.enabled {
        page.internal(settings);
    }
    if let Some(external) = &settings.external {
        page.external(settings, external, resolved, extras, &access);
    }
    page.finish(settings)
}

/// Files that say who may come in, as far as the external listener uses them: rules need names, and a certificate's
/// name needs no password.
struct Access<'a> {
    acl_file: Option<&'a Path>,
    password_file: Option<&'a Path>,
}

impl<'a> Access<'a> {
    fn of(settings: &Settings, extras: &'a Extras) -> Self {
        let level = settings.external.as_ref().map(External::level);
        let named = level == Some(Level::Mutual) || extras.password_file.is_some();
        Self {
            acl_file: extras
                .acl_file
                .as_deref()
                .filter(|_| level.is_some() && named),
            password_file: extras
                .password_file
                .as_deref()
                .filter(|_| level.is_some_and(|level| level != Level::Mutual)),
        }
    }
}

struct Page {
    version: BrokerVersion,
    body: String,
    findings: Vec<Finding>,
}

impl Page {
    fn globals(&mut self) {
        if self.version.is_2_1() {
            self.line("max_packet_size", &PACKET_BYTES_MAX.to_string());
        } else {
            self.line("per_listener_settings", "true");
        }
    }

    fn internal(&mut self, settings: &Settings) {
        let internal = &settings.internal;
        self.body
            .push_str("\n# internal: the services of this machine\n");
        self.line(
            "listener",
            &format!("{} {}", internal.port, internal.address),
        );
        self.anonymous(true);
    }

    fn external(
        &mut self,
        settings: &Settings,
        external: &External,
        resolved: &Resolved,
        extras: &Extras,
        access: &Access<'_>,
    ) {
        let level = external.level();
        self.check_pairs(external);
        let address = self.address(external, resolved);
        self.check_overlap(settings, external, address);

        let _ = writeln!(self.body, "\n# external: {level}"); // writing to a String cannot fail
        match address {
            Some(address) => self.line("listener", &format!("{} {address}", external.port.value)),
            None => self.line("listener", &external.port.value.to_string()),
        }
        if let Some(interface) = &external.interface {
            self.value("bind_interface", "mqtt.external.bind.interface", interface);
        }
        self.anonymous(level != Level::Mutual && access.password_file.is_none());
        let paths = &resolved.paths;
        self.path(
            "certfile",
            "mqtt.external.cert_file",
            &external.cert_file,
            &paths.cert_file,
        );
        self.path(
            "keyfile",
            "mqtt.external.key_file",
            &external.key_file,
            &paths.key_file,
        );
        if level == Level::Mutual {
            self.mutual(external, resolved);
        }
        if level != Level::None {
            let oldest = if extras.tls_1_3_only {
                "tlsv1.3"
            } else {
                "tlsv1.2"
            };
            self.line("tls_version", oldest);
        }
        self.use_plugin("acl_file", access.acl_file, extras);
        self.use_plugin("password_file", access.password_file, extras);
    }

    fn mutual(&mut self, external: &External, resolved: &Resolved) {
        let ca_path = external.ca_path.as_deref();
        let shown = ca_path.map_or_else(String::new, |path| path.display().to_string());
        let values = [("mqtt.external.ca_path", shown.as_str())];
        let word = match resolved.authorities {
            Some(Authorities::File) => "cafile",
            Some(Authorities::HashedDirectory) => "capath",
            Some(Authorities::Directory) => {
                let sentence = format!(
                    "the directory `{shown}` has no hash links: mosquitto would start and refuse every client"
                );
                let fix = format!("openssl rehash {}", shell(Path::new(&shown)));
                return self.error(FindingId::E18, sentence, &values, &fix);
            }
            Some(Authorities::Missing) | None if ca_path.is_some() => {
                let sentence = format!("`{shown}` does not exist or cannot be read");
                let fix = "sectag ca export clients <file>";
                return self.error(FindingId::E8, sentence, &values, fix);
            }
            _ => return, // said by check_pairs
        };
        let key = "mqtt.external.ca_path";
        self.path(word, key, &external.ca_path, &resolved.paths.ca_path);
        let key = "mqtt.external.crl_file";
        self.path("crlfile", key, &external.crl_file, &resolved.paths.crl_file);
        self.line("require_certificate", "true");
        self.line("use_identity_as_username", "true");
    }

    /// RULE 11, E3: what would be a plaintext port in 2.0.
    fn check_pairs(&mut self, external: &External) {
        const CERT: &str = "mqtt.external.cert_file";
        const KEY: &str = "mqtt.external.key_file";
        let shown = |path: &Path| path.display().to_string();
        match (&external.cert_file, &external.key_file) {
            (Some(path), None) => self.half_pair(KEY, CERT, &shown(path)),
            (None, Some(path)) => self.half_pair(CERT, KEY, &shown(path)),
            (None, None) if external.level() == Level::Mutual => {
                let sentence = "client certificates need TLS: a CA or CRL is set, and neither certificate nor key of the listener";
                let fix = format!("sectag config set {CERT} <path> {KEY} <path>");
                self.error(FindingId::E3, sentence.to_owned(), &[], &fix);
            }
            _ => {}
        }
        if external.crl_file.is_some() && external.ca_path.is_none() {
            let sentence = "mqtt.external.crl_file is set and mqtt.external.ca_path is not: nobody issues clients";
            let fix = "sectag config set mqtt.external.ca_path <path>";
            self.error(FindingId::E3, sentence.to_owned(), &[], fix);
        }
    }

    fn half_pair(&mut self, missing: &str, there: &str, value: &str) {
        let sentence = format!("{missing} is not set, but {there} is");
        let fix = format!("sectag config set {missing} <path>");
        self.error(FindingId::E1, sentence, &[(there, value)], &fix);
    }

    /// The address for the `listener` line. An interface has its own; then none is written (RULE 14 row 1).
    fn address(&mut self, external: &External, resolved: &Resolved) -> Option<IpAddr> {
        let wanted = external.address.as_ref()?;
        let shown = wanted.to_string();
        let values = [("mqtt.external.bind.address", shown.as_str())];
        if let Some(interface) = &external.interface {
            let sentence = format!(
                "the address {shown} is left out: the listener takes the addresses of {interface}"
            );
            let fix = "sectag config unset mqtt.external.bind.address";
            self.add(FindingId::E5, Severity::Note, sentence, &values, fix);
            return None;
        }
        match (wanted, resolved.address) {
            (Host::Ip(address), _) => Some(*address),
            (Host::Name(_), Some(address)) => Some(address),
            (Host::Name(_), None) => {
                let sentence = format!("the host name {shown} has no address on this machine");
                let fix = "sectag config set mqtt.external.bind.address <IP address>";
                self.error(FindingId::B5, sentence, &values, fix);
                None
            }
        }
    }

    /// E4. A wildcard contains every address of its family; without an address it is both families.
    fn check_overlap(&mut self, settings: &Settings, external: &External, address: Option<IpAddr>) {
        let internal = &settings.internal;
        if !internal.enabled || internal.port != external.port.value {
            return;
        }
        let wide = |ip: IpAddr| ip.is_unspecified();
        let meet = match (address, &external.interface) {
            (Some(ip), _) => {
                ip == internal.address
                    || (ip.is_ipv4() == internal.address.is_ipv4()
                        && (wide(ip) || wide(internal.address)))
            }
            (None, Some(interface)) => {
                wide(internal.address) || (interface == "lo" && internal.address.is_loopback())
            }
            (None, None) => true,
        };
        if meet {
            let port = internal.port;
            let sentence = format!(
                "internal and external listener both want port {port} of {}: the broker would not start",
                internal.address
            );
            let fix = "sectag config set mqtt.external.bind.port <port>";
            self.error(FindingId::E4, sentence, &[], fix);
        }
    }

    fn anonymous(&mut self, allowed: bool) {
        let word = if self.version.is_2_1() {
            "listener_allow_anonymous"
        } else {
            "allow_anonymous"
        };
        self.line(word, if allowed { "true" } else { "false" });
    }

    fn load_plugins(&mut self, access: &Access<'_>, extras: &Extras) {
        self.load_plugin("acl_file", access.acl_file, extras);
        self.load_plugin("password_file", access.password_file, extras);
    }

    fn load_plugin(&mut self, what: &str, file: Option<&Path>, extras: &Extras) {
        if let (true, Some(file), Some(directory)) =
            (self.version.is_2_1(), file, &extras.plugin_dir)
        {
            let plugin = directory.join(format!("mosquitto_{what}.so"));
            if let (Some(plugin), Some(file)) = (self.safe(what, &plugin), self.safe(what, file)) {
                self.line("plugin_load", &format!("sectag_{what} {plugin}"));
                self.line(&format!("plugin_opt_{what}"), &file);
            }
        }
    }

    fn use_plugin(&mut self, what: &str, file: Option<&Path>, extras: &Extras) {
        let Some(file) = file else { return };
        if self.version.is_2_1() && extras.plugin_dir.is_some() {
            self.line("plugin_use", &format!("sectag_{what}"));
        } else if let Some(file) = self.safe(what, file) {
            self.line(what, &file);
        }
    }

    fn path(&mut self, word: &str, key: &str, said: &Option<PathBuf>, placed: &Option<PathBuf>) {
        if let Some(said) = said {
            let path = placed.as_ref().unwrap_or(said);
            if let Some(text) = self.safe(key, path) {
                self.line(word, &text);
            }
        }
    }

    fn value(&mut self, word: &str, key: &str, value: &str) {
        if is_plain(value) && !value.contains(char::is_whitespace) {
            self.line(word, value);
        } else {
            self.refuse(key, value);
        }
    }

    /// A path as mosquitto will read it back, or a finding (RULE 5).
    fn safe(&mut self, key: &str, path: &Path) -> Option<String> {
        match path.to_str() {
            Some(text) if path.is_absolute() && is_plain(text) => Some(text.to_owned()),
            _ => {
                self.refuse(key, &path.to_string_lossy());
                None
            }
        }
    }

    fn refuse(&mut self, key: &str, value: &str) {
        let shown = value.escape_debug().to_string();
        let sentence = format!(
            "the value of {key} cannot be written into the broker's file: it must be absolute if a path, and without control characters and outer blanks"
        );
        let fix = format!("sectag config set {key} <value>");
        self.error(FindingId::B1, sentence, &[(key, &shown)], &fix);
    }

    fn line(&mut self, word: &str, value: &str) {
        let _ = writeln!(self.body, "{word} {value}"); // writing to a String cannot fail
    }

    fn error(&mut self, id: FindingId, sentence: String, values: &[(&str, &str)], fix: &str) {
        self.add(id, Severity::Error, sentence, values, fix);
    }

    fn add(
        &mut self,
        id: FindingId,
        severity: Severity,
        sentence: String,
        values: &[(&str, &str)],
        fix: &str,
    ) {
        let own = |text: &str| text.to_owned();
        self.findings.push(Finding {
            id,
            severity,
            sentence,
            values: values.iter().map(|(k, v)| (own(k), own(v))).collect(),
            fix: own(fix),
        });
    }

    fn finish(self, settings: &Settings) -> Result<Rendered, Vec<Finding>> {
        let (errors, notes): (Vec<Finding>, Vec<Finding>) = self
            .findings
            .into_iter()
            .partition(|finding| finding.severity == Severity::Error);
        if !errors.is_empty() {
            return Err(errors);
        }
        let hash = sectag_pki::sha256(self.body.as_bytes())
            .iter()
            .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let series = if self.version.is_2_1() { "2.1" } else { "2.0" };
        let text = format!(
            "# Listeners of Sectag's gateway for mosquitto {series}.\n\
             # Generated, do not edit: change keys with `sectag config set`, then `sectag gateway apply`.\n\
             # schema {SCHEMA}, content {}\n\n{}",
            &hash[..16],
            self.body
        );
        Ok(Rendered {
            text,
            hash,
            level: settings.external.as_ref().map(External::level),
            notes,
        })
    }
}

/// Nothing that ends a line or a C string, nothing that mosquitto would trim away.
fn is_plain(value: &str) -> bool {
    !value.is_empty() && !value.chars().any(char::is_control) && value.trim() == value
}
