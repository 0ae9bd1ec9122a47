//! The same causes in the words of the configuration: which key, its value, the command (spec/gateway-config §11, RULE 19).

use std::path::Path;

use sectag_gateway::{Host, Level, Settings, Source};

use super::facts::TlsFacts;
use super::words::list;
use super::{Cause, Explanation, Facts};
use crate::gateway_client::{GatewayClient, Unready, key};

/// A finding as an explanation; nothing was sent.
pub(super) fn found(unready: &Unready) -> Explanation {
    let finding = &unready.finding;
    Explanation::new(
        unready.cause,
        &finding.sentence,
        format!("`{}`", finding.fix.replace("    or    ", "` or `")),
    )
    .with_key(unready.key)
}

/// A client certificate is configured, and nobody wanted to see it.
pub(super) fn unasked(facts: &Facts, client: &GatewayClient) -> Option<Explanation> {
    let path = client.settings().client.cert_file.as_deref()?;
    let tls = facts.tls.as_ref().filter(|tls| !tls.asked)?;
    tls.papers.pair.as_ref()?;
    Some(
        Explanation::new(
            Cause::ClientCertificateUnasked,
            format!(
                "{} did not ask for the client certificate of mqtt.client.auth.cert_file `{}`: only the broker has proved who it is",
                facts.target(),
                path.display()
            ),
            "set mqtt.external.ca_path to the CA that issues clients, then `sectag gateway apply`, if the broker shall ask",
        )
        .with_key(key::CERT_FILE),
    )
}

/// `seen`, in keys.
pub(super) fn by_keys(seen: Explanation, facts: &Facts, client: &GatewayClient) -> Explanation {
    let view = View {
        facts,
        client,
        settings: client.settings(),
    };
    let cause = seen.cause;
    let said =
        |key, sentence: String, fix: String| Explanation::new(cause, sentence, fix).with_key(key);
    match cause {
        Cause::NameNotResolved => said(
            key::HOST,
            format!("{}; mqtt.client.host is {}", seen.sentence, view.host()),
            "`sectag config set mqtt.client.host <address>`, with `mqtt.client.server_name <name>` if the broker's certificate has the name only".to_owned(),
        ),
        Cause::ConnectionRefused => view.refused(&seen),
        Cause::HostUnreachable | Cause::HandshakeTimeout | Cause::ConnackTimeout => said(
            key::HOST,
            format!("{} (mqtt.client.host {}, mqtt.client.port {})", seen.sentence, view.host(), view.port()),
            seen.fix,
        ),
        Cause::NoTlsOnPort => view.no_tls(&seen),
        Cause::TlsExpected => view.tls_expected(&seen),
        Cause::NotMqtt => said(
            key::PORT,
            format!("{}; mqtt.client.port is {}", seen.sentence, view.port()),
            "`sectag config set mqtt.client.port <port>`".to_owned(),
        ),
        Cause::ServerNameMismatch => view.name_mismatch(seen),
        Cause::ServerNameUnknown => said(
            view.name_key(),
            format!("{}; {} is {}", seen.sentence, view.name_key(), view.name()),
            "`sectag config set mqtt.client.server_name <name>` with a name that the broker has".to_owned(),
        ),
        Cause::WrongCa | Cause::CaReplaced | Cause::CaIsNoAuthority => view.not_trusted(&seen),
        Cause::MissingIntermediate => said(
            view.ca_key(),
            format!("{} ({})", seen.sentence, view.trusted()),
            format!("{}; or trust the missing one: {}", seen.fix, view.set_ca()),
        ),
        Cause::ServerCertificateExpired
        | Cause::ServerCertificateNotYetValid
        | Cause::ServerCertificateVersion
        | Cause::ServerCertificatePurpose
        | Cause::ServerCertificateIsAuthority
        | Cause::ServerCertificateSignature
        | Cause::ServerCertificateMalformed => view.server_certificate(seen),
        Cause::ClientCertificateMissing => said(
            key::CERT_FILE,
            format!(
                "{} requires a client certificate{}, and neither mqtt.client.auth.cert_file nor mqtt.client.auth.key_file is set",
                view.listener(),
                view.takes()
            ),
            "`sectag cert issue client <name>`, then `sectag config set mqtt.client.auth.cert_file <path> mqtt.client.auth.key_file <path>`".to_owned(),
        ),
        Cause::ClientCertificateUnknownCa => view.client_not_trusted(&seen),
        Cause::ClientCertificateExpired
        | Cause::ClientCertificateRevoked
        | Cause::ClientCertificatePurpose
        | Cause::ClientCertificateRefused => said(
            key::CERT_FILE,
            format!("{}; it is mqtt.client.auth.cert_file", seen.sentence),
            "`sectag cert issue client <name>`, and set mqtt.client.auth.cert_file and mqtt.client.auth.key_file to the new pair; the broker's log says more".to_owned(),
        ),
        Cause::NotAuthorised | Cause::ClosedAfterConnect => view.not_authorised(&seen),
        Cause::BadUserNameOrPassword => view.bad_login(&seen),
        _ => seen,
    }
}

struct View<'a> {
    facts: &'a Facts,
    client: &'a GatewayClient,
    settings: &'a Settings,
}

impl View<'_> {
    fn host(&self) -> &Host {
        &self.settings.client.host
    }

    fn port(&self) -> String {
        let port = self.settings.client.port;
        match port.source {
            Source::Default | Source::Inferred => format!("{} ({})", port.value, port.source),
            Source::File | Source::Environment => port.value.to_string(),
        }
    }

    /// What must be in the broker's certificate, and which key says so.
    fn name(&self) -> &Host {
        let client = &self.settings.client;
        client.server_name.as_ref().unwrap_or(&client.host)
    }

    fn name_key(&self) -> &'static str {
        match self.settings.client.server_name {
            Some(_) => key::SERVER_NAME,
            None => key::HOST,
        }
    }

    fn ca_key(&self) -> &'static str {
        match self.settings.client.ca_file {
            Some(_) => key::CA_FILE,
            None => key::CA_DIR,
        }
    }

    fn tls(&self) -> Option<&TlsFacts> {
        self.facts.tls.as_ref()
    }

    /// `the listener at gateway:8883`
    fn listener(&self) -> String {
        match self.client.external() {
            Some(_) => format!("the external listener ({})", self.facts.target()),
            None => format!("the listener at {}", self.facts.target()),
        }
    }

    /// What the configuration says about the port that the client goes to.
    fn port_is(&self) -> String {
        let what = match self.client.external() {
            Some(external) => format!(
                "that is the external listener, of level {} (mqtt.external.*)",
                external.level()
            ),
            None if self.client.is_internal() => {
                "that is the internal listener, which is plaintext (mqtt.bind.port)".to_owned()
            }
            None if self.client.is_local() => "no listener is configured for it".to_owned(),
            None => return format!("mqtt.client.port is {}", self.port()),
        };
        format!("mqtt.client.port is {}, and {what}", self.port())
    }

    /// Where something should listen.
    fn listeners(&self) -> String {
        let internal = &self.settings.internal;
        let mut listeners = Vec::new();
        if internal.enabled {
            listeners.push(format!(
                "{} (plaintext, mqtt.bind.*)",
                at(&internal.address.to_string(), internal.port.get())
            ));
        }
        if let Some(external) = &self.settings.external {
            let address = match (&external.address, &external.interface) {
                (_, Some(interface)) => interface.clone(),
                (Some(address), None) => address.to_string(),
                (None, None) => "all addresses".to_owned(),
            };
            listeners.push(format!(
                "{} (level {}, mqtt.external.*)",
                at(&address, external.port.value.get()),
                external.level()
            ));
        }
        match &listeners[..] {
            [] => "no listener is configured".to_owned(),
            [one] => format!("the configured listener is {one}"),
            more => format!("the configured listeners are {}", list(more)),
        }
    }

    fn refused(&self, seen: &Explanation) -> Explanation {
        let client = &self.settings.client;
        let target = format!(
            "nothing listens at {} (mqtt.client.host is {}, mqtt.client.port is {})",
            self.facts.target(),
            self.host(),
            self.port()
        );
        if !self.client.is_local() {
            return Explanation::new(
                seen.cause,
                target,
                "start the broker there, or `sectag config set mqtt.client.port <port>`",
            )
            .with_key(key::PORT);
        }
        let fix = if self.client.external().is_some() || self.client.is_internal() {
            "`sectag gateway apply` writes the listeners and starts the broker".to_owned()
        } else {
            let (host, port) = self.should_go_to();
            match port == client.port.value.get() {
                true => format!("`sectag config set mqtt.client.host {host}`"),
                false => format!("`sectag config set mqtt.client.port {port}`"),
            }
        };
        Explanation::new(seen.cause, format!("{target}; {}", self.listeners()), fix)
            .with_key(key::PORT)
    }

    /// Host and port of the listener that suits the level of the keys.
    fn should_go_to(&self) -> (String, u16) {
        let internal = &self.settings.internal;
        match &self.settings.external {
            Some(external) if self.settings.client.level() != Level::None => {
                let address = external.address.as_ref();
                (
                    address.map_or_else(|| "localhost".to_owned(), Host::to_string),
                    external.port.value.get(),
                )
            }
            _ => (internal.address.to_string(), internal.port.get()),
        }
    }

    /// Our side speaks TLS, the other does not.
    fn no_tls(&self, seen: &Explanation) -> Explanation {
        let client = &self.settings.client;
        let sentence = format!(
            "{}; {}, while {} asks for TLS",
            seen.sentence,
            self.port_is(),
            self.ca_key()
        );
        let other = self
            .settings
            .external
            .as_ref()
            .filter(|external| self.client.is_local() && external.level() != Level::None)
            .map(|external| external.port.value)
            .filter(|port| *port != client.port.value);
        let fix = match other {
            Some(port) => format!("`sectag config set mqtt.client.port {port}`"),
            None => format!(
                "`sectag config set mqtt.client.port <TLS port>`; for plaintext, `{}`",
                self.unset_tls()
            ),
        };
        Explanation::new(seen.cause, sentence, fix).with_key(key::PORT)
    }

    /// The command that leaves plain TCP.
    fn unset_tls(&self) -> String {
        let client = &self.settings.client;
        let keys = [
            (key::CA_FILE, client.ca_file.is_some()),
            (key::CA_DIR, client.ca_dir.is_some()),
            (key::CERT_FILE, client.cert_file.is_some()),
            (key::KEY_FILE, client.key_file.is_some()),
            (key::SERVER_NAME, client.server_name.is_some()),
        ];
        let set = keys.iter().filter(|(_, set)| *set);
        let commands: Vec<_> = set
            .map(|(key, _)| format!("sectag config unset {key}"))
            .collect();
        commands.join(" && ")
    }

    /// Their side speaks TLS, ours does not.
    fn tls_expected(&self, seen: &Explanation) -> Explanation {
        Explanation::new(
            seen.cause,
            format!(
                "port {} of `{}` speaks TLS, and this client plaintext: neither mqtt.client.auth.ca_file nor mqtt.client.auth.ca_dir is set; {}",
                self.facts.port,
                self.facts.host,
                self.port_is()
            ),
            format!(
                "`sectag config set mqtt.client.auth.ca_file <path>` with the CA of the broker, or `sectag config set mqtt.client.port {}` for plaintext",
                self.settings.internal.port
            ),
        )
        .with_key(key::CA_FILE)
    }

    fn name_mismatch(&self, seen: Explanation) -> Explanation {
        let Some(leaf) = self.tls().and_then(|tls| tls.chain.first()) else {
            return seen;
        };
        let (asked, by) = (self.name(), self.name_key());
        let reissue = format!(
            "`sectag cert issue server --force --san {asked}` makes a certificate for {asked}"
        );
        if leaf.names.is_empty() {
            return Explanation::new(
                seen.cause,
                format!(
                    "the broker's certificate `{}` has no subjectAltName, and its subject is not looked at; {by} is {asked}",
                    leaf.subject
                ),
                reissue,
            )
            .with_key(by);
        }
        // The name comes from outside and goes into a command: only what is a host.
        let host = leaf.names.iter().find_map(|name| {
            let name = name
                .strip_prefix("DNS:")
                .or_else(|| name.strip_prefix("IP:"))?;
            name.parse::<Host>().ok()
        });
        let fix = match host {
            Some(host) => format!("`sectag config set {by} {host}`; or {reissue}"),
            None => reissue,
        };
        Explanation::new(
            seen.cause,
            format!(
                "the broker's certificate is for {}; {by} is {asked}",
                list(&leaf.names)
            ),
            fix,
        )
        .with_key(by)
    }

    /// `trusted are A and B (2 certificates of mqtt.client.auth.ca_file …)`
    fn trusted(&self) -> String {
        let client = &self.settings.client;
        let anchors = self.tls().map_or(&[][..], TlsFacts::anchors);
        let names: Vec<_> = anchors
            .iter()
            .map(|anchor| format!("`{}`", anchor.facts.subject))
            .collect();
        let from: Vec<_> = [
            (key::CA_FILE, &client.ca_file),
            (key::CA_DIR, &client.ca_dir),
        ]
        .into_iter()
        .filter_map(|(key, path)| Some(format!("{key} `{}`", path.as_ref()?.display())))
        .collect();
        let (verb, count) = match names.len() {
            1 => ("is", "1 certificate".to_owned()),
            count => ("are", format!("{count} certificates")),
        };
        format!(
            "trusted {verb} {} ({count} of {})",
            list(&names),
            from.join(" and ")
        )
    }

    /// The command that gets the right authority.
    fn set_ca(&self) -> String {
        let name = match &self.settings.client.server_name {
            Some(name) => format!(" --server-name {name}"),
            None => String::new(),
        };
        format!(
            "`sectag cert chain {}{name} --output root.crt` fetches it and shows the fingerprint to compare, then `sectag config set {} root.crt`",
            self.facts.target(),
            key::CA_FILE
        )
    }

    fn not_trusted(&self, seen: &Explanation) -> Explanation {
        let issuer = self
            .tls()
            .and_then(|tls| tls.chain.last())
            .map(|top| top.issuer.clone())
            .unwrap_or_default();
        let sentence = match seen.cause {
            Cause::WrongCa => format!(
                "the broker's certificate was issued by `{issuer}`; {}",
                self.trusted()
            ),
            _ => format!("{}; {}", seen.sentence, self.trusted()),
        };
        Explanation::new(seen.cause, sentence, self.set_ca()).with_key(self.ca_key())
    }

    fn server_certificate(&self, seen: Explanation) -> Explanation {
        let ours = self
            .client
            .external()
            .and_then(|external| external.cert_file.as_deref())
            .map(Path::display);
        match ours {
            Some(path) => Explanation::new(
                seen.cause,
                format!("{}; it is mqtt.external.cert_file `{path}`", seen.sentence),
                format!(
                    "`sectag cert issue server`, then `sectag gateway apply` ({})",
                    seen.fix
                ),
            )
            .with_key("mqtt.external.cert_file"),
            None => Explanation::new(
                seen.cause,
                format!(
                    "{} (mqtt.client.host is {}, mqtt.client.port is {})",
                    seen.sentence,
                    self.host(),
                    self.port()
                ),
                seen.fix,
            )
            .with_key(key::HOST),
        }
    }

    fn takes(&self) -> String {
        let issuers = self.tls().map_or(&[][..], |tls| &tls.issuers);
        if issuers.is_empty() {
            return String::new();
        }
        let quoted: Vec<_> = issuers.iter().map(|issuer| format!("`{issuer}`")).collect();
        format!(" issued by {}", list(&quoted))
    }

    fn client_not_trusted(&self, seen: &Explanation) -> Explanation {
        let issuer = self
            .tls()
            .and_then(|tls| tls.papers.pair.as_ref())
            .map(|pair| pair.facts.issuer.clone())
            .unwrap_or_default();
        let path = self.settings.client.cert_file.as_deref();
        let path = path.map_or_else(String::new, |path| path.display().to_string());
        let takes = match self.takes() {
            takes if takes.is_empty() => String::new(),
            takes => format!(", and takes certificates{takes}"),
        };
        let trust = match self.client.external() {
            Some(_) => "`sectag config set mqtt.external.ca_path <path>` with that CA, then `sectag gateway apply`".to_owned(),
            None => format!("let the broker trust `{issuer}` for clients (its `cafile`)"),
        };
        Explanation::new(
            seen.cause,
            format!(
                "{} does not trust the issuer of mqtt.client.auth.cert_file `{path}`, which is `{issuer}`{takes}",
                self.listener()
            ),
            format!("{trust}; or have the certificate issued by an authority that it trusts"),
        )
        .with_key(key::CERT_FILE)
    }

    /// CONNACK 5, or no CONNACK at all.
    fn not_authorised(&self, seen: &Explanation) -> Explanation {
        const CHECK: &str = "`sectag gateway apply` writes a listener that does; `sectag gateway check <file>` judges a hand-written one";
        let presented = self.facts.level() == Level::Mutual;
        match (&self.settings.client.username, presented) {
            (None, true) => Explanation::new(
                seen.cause,
                format!(
                    "{} accepted the client certificate and refused the client: it maps no user name to it (`use_identity_as_username`), or its access list has no such user ({})",
                    self.listener(),
                    seen.sentence
                ),
                CHECK,
            )
            .with_key("mqtt.external.ca_path"),
            (None, false) => Explanation::new(
                seen.cause,
                format!(
                    "{} takes no anonymous client: mqtt.client.auth.username is not set ({})",
                    self.listener(),
                    seen.sentence
                ),
                "`sectag config set mqtt.client.auth.username <name> mqtt.client.auth.password_file <path>`, or let the listener allow anonymous clients",
            )
            .with_key(key::USERNAME),
            (Some(name), _) => Explanation::new(
                seen.cause,
                format!(
                    "{} refused the user name or the password of mqtt.client.auth.username `{name}`, or its access list has no such user ({})",
                    self.listener(),
                    seen.sentence
                ),
                "`sectag config set mqtt.client.auth.username <name> mqtt.client.auth.password_file <path>`, or add the user at the broker",
            )
            .with_key(key::USERNAME),
        }
    }

    /// CONNACK 4.
    fn bad_login(&self, seen: &Explanation) -> Explanation {
        let login = match &self.settings.client.username {
            Some(name) => format!("mqtt.client.auth.username `{name}` or its password is wrong"),
            None => "mqtt.client.auth.username is not set, and a user name is wanted".to_owned(),
        };
        Explanation::new(
            seen.cause,
            format!(
                "{login}; or {} takes user names from certificates without requiring one ({})",
                self.listener(),
                seen.sentence
            ),
            "`sectag config set mqtt.client.auth.username <name> mqtt.client.auth.password_file <path>`; `sectag gateway check <file>` judges the listener's file",
        )
        .with_key(key::USERNAME)
    }
}

fn at(address: &str, port: u16) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}
