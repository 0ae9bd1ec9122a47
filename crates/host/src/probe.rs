//! Proves the level of the listeners: not what a file says, but what a connection meets.
//!
//! ```text
//!   plaintext       none: let in             server, mutual: refused
//!   served          the serial of the file, TLS version and cipher suite
//!   no certificate  server: let in           mutual: refused
//!   foreign CA                               mutual: refused, whatever name is in the certificate
//!   good one                                 mutual: let in, under the name in the certificate
//!   our client      as the services connect: host, port, CA, certificate
//! ```
//!
//! Every probe connects under a client identifier of its own and publishes nothing. The server is known by the certificate
//! in its file, so a probe cannot be answered by somebody else.

mod own;

pub use own::own;
pub(crate) use own::own_session;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use sectag_gateway::facts::Facts;
use sectag_gateway::{External, Level, Settings};
use sectag_mqtt::{ClientError, ConnectOptions, Transport, Version};
use sectag_pki::{Authority, KeyPair, KeyType};

use crate::log::{length, user_in_log};
use crate::look::{Greeting, LookError, Served, greet, look};
use crate::pinned::pinned;
use own::{own_client, own_name, own_papers};

/// One question and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Stable name: `plaintext`.
    pub name: &'static str,
    /// The listener or client that was asked.
    pub at: String,
    /// What must be: `refused`.
    pub wanted: &'static str,
    /// What was met, one sentence.
    pub got: String,
    /// Whether it is what must be; `None`: it could not be asked, and `got` says why.
    pub holds: Option<bool>,
}

impl std::fmt::Display for Check {
    /// What is wrong, when something is.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            at,
            wanted,
            got,
            ..
        } = self;
        write!(f, "{name} at {at}: must be {wanted}; {got}")
    }
}

/// All answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of asking.
    pub checks: Vec<Check>,
    /// What the external listener's TLS settled on.
    pub served: Option<Served>,
}

impl Report {
    /// True if nothing was met that must not be.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds != Some(false))
    }

    /// What must not be.
    pub fn broken(&self) -> impl Iterator<Item = &Check> {
        self.checks
            .iter()
            .filter(|check| check.holds == Some(false))
    }

    /// What could not be asked.
    pub fn unproved(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.holds.is_none())
    }

    fn add(
        &mut self,
        name: &'static str,
        at: impl ToString,
        wanted: &'static str,
        holds: impl Into<Option<bool>>,
        got: String,
    ) {
        self.checks.push(Check {
            name,
            at: at.to_string(),
            wanted,
            got,
            holds: holds.into(),
        });
    }
}

/// What is asked, and with what.
#[derive(Debug, Clone)]
pub struct Questions<'a> {
    /// What must be.
    pub settings: &'a Settings,
    /// What is in the files, and which interfaces and names there are.
    pub facts: &'a Facts,
    /// The broker's log files, where it may say under which name it let us in.
    pub logs: Vec<PathBuf>,
    /// For each connection.
    pub patience: Duration,
}

/// Asks everything.
pub async fn probe(questions: &Questions<'_>) -> Report {
    let mut report = Report::default();
    let settings = questions.settings;
    if settings.internal.enabled {
        let at = SocketAddr::new(
            reachable(settings.internal.address),
            settings.internal.port.get(),
        );
        plain_lets_in(&mut report, "internal", at, questions.patience).await;
    }
    if let Some(external) = &settings.external {
        match address(external, questions.facts) {
            Some(at) => outside(&mut report, questions, external, at).await,
            None => report.add(
                "external",
                external_name(external),
                "reachable",
                None,
                "the address of the listener is not known here".to_owned(),
            ),
        }
    }
    own_client(&mut report, questions).await;
    report
}

/// Where the external listener can be reached from this machine.
pub fn address(external: &External, facts: &Facts) -> Option<SocketAddr> {
    let port = external.port.value.get();
    if let Some(name) = &external.interface {
        let interface = facts.machine.interface(name)?;
        let address = interface
            .addresses
            .iter()
            .find(|address| address.is_ipv4())
            .or_else(|| interface.addresses.first())?;
        return Some(SocketAddr::new(*address, port));
    }
    let address = match &external.address {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(host) => *facts.machine.addresses(host).first()?,
    };
    Some(SocketAddr::new(reachable(address), port))
}

/// An address to connect to, for one to listen on.
pub fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

async fn outside(
    report: &mut Report,
    questions: &Questions<'_>,
    external: &External,
    at: SocketAddr,
) {
    let level = external.level();
    if level == Level::None {
        plain_lets_in(report, "plaintext", at, questions.patience).await;
        return;
    }
    plain_is_refused(report, at, questions.patience).await;
    let Some(leaf) = served(report, questions, external, at).await else {
        return;
    };
    let asker = Asker {
        at,
        leaf: leaf.clone(),
        patience: questions.patience,
    };
    let nobody = asker.connect(None).await;
    match level {
        Level::Mutual => {
            let (refused, got) = refusal(nobody);
            report.add("no-certificate", at, "refused", refused, got);
            foreign(report, &asker, questions).await;
            good(report, &asker, questions).await;
        }
        _ => {
            let (let_in, got) = admission(nobody);
            report.add("no-certificate", at, "let in", let_in, got);
        }
    }
}

async fn plain_lets_in(
    report: &mut Report,
    name: &'static str,
    at: SocketAddr,
    patience: Duration,
) {
    let (holds, got) = match greet(at, patience).await {
        Ok(Greeting::Connack(0)) => (true, "let in without TLS".to_owned()),
        Ok(Greeting::Connack(code)) => (false, format!("refused with code {code}")),
        Ok(Greeting::Closed) => (false, "the connection was closed".to_owned()),
        Ok(Greeting::Silent) => (false, "no answer to CONNECT".to_owned()),
        Err(error) => (false, said(&error)),
    };
    report.add(name, at, "let in", holds, got);
}

async fn plain_is_refused(report: &mut Report, at: SocketAddr, patience: Duration) {
    let (holds, got) = match greet(at, patience).await {
        Ok(Greeting::Connack(code)) => (
            false,
            format!("the port speaks MQTT without TLS (CONNACK {code})"),
        ),
        Ok(Greeting::Closed) => (true, "the connection was closed".to_owned()),
        Ok(Greeting::Silent) => (true, "no answer".to_owned()),
        Err(error @ LookError::Connect(..)) => (false, said(&error)),
        Err(error) => (true, said(&error)),
    };
    report.add("plaintext", at, "refused", holds, got);
}

/// The certificate that is served must be the one in the file.
async fn served(
    report: &mut Report,
    questions: &Questions<'_>,
    external: &External,
    at: SocketAddr,
) -> Option<Vec<u8>> {
    let in_file = questions.facts.chain(external.cert_file.as_ref()).first();
    let served = match look(at, questions.patience).await {
        Ok(served) => served,
        Err(error) => {
            report.add("served", at, "TLS", false, said(&error));
            return None;
        }
    };
    let leaf = served.chain.first().cloned();
    let serial = leaf.as_deref().map_or_else(String::new, serial);
    let how = format!("{} {}", served.version, served.cipher_suite);
    let (holds, got) = match (in_file, &leaf) {
        (Some(held), Some(leaf)) if held.der == *leaf => {
            (Some(true), format!("serial {serial}, {}", how.trim()))
        }
        (Some(held), _) => (
            Some(false),
            format!("serial {serial}; the file has {}", held.facts.serial_hex),
        ),
        (None, _) => (
            None,
            format!("serial {serial}, {}; the file cannot be read", how.trim()),
        ),
    };
    report.add("served", at, "the certificate in the file", holds, got);
    report.served = Some(served);
    leaf
}

/// A certificate with the right name, from a CA that was made a moment ago.
async fn foreign(report: &mut Report, asker: &Asker, questions: &Questions<'_>) {
    let name = own_name(questions).unwrap_or_else(|| "sectag-probe".to_owned());
    let (holds, got) = match stranger(&name, questions.facts.machine.now_s) {
        Ok(papers) => {
            let (refused, got) = refusal(asker.connect(Some(papers)).await);
            (Some(refused), got)
        }
        Err(error) => (None, format!("no certificate could be made: {error}")),
    };
    report.add("foreign-ca", asker.at, "refused", holds, got);
}

/// Our own client certificate, and the name that it gives us.
async fn good(report: &mut Report, asker: &Asker, questions: &Questions<'_>) {
    const NAME: &str = "good-certificate";
    const WANTED: &str = "let in under its name";
    let at = asker.at;
    let client = &questions.settings.client;
    let papers = match own_papers(client) {
        Ok(papers) => papers,
        Err(why) => return report.add(NAME, at, WANTED, None, why),
    };
    let Some(name) = own_name(questions) else {
        let why = "the client certificate has no common name".to_owned();
        return report.add(NAME, at, WANTED, false, why);
    };
    let before: Vec<u64> = questions.logs.iter().map(|log| length(log)).collect();
    let id = client_id();
    let (session, _incoming) = match asker.session(Some(papers), &id).await {
        Ok(session) => session,
        Err(error) => return report.add(NAME, at, WANTED, false, said(&error)),
    };
    let mut proof = None;
    for (log, from) in questions.logs.iter().zip(before) {
        if let Some(user) = user_in_log(log, from, &id).await {
            proof = Some(if user == name {
                (true, format!("`{name}`, as {} says", log.display()))
            } else {
                (
                    false,
                    format!(
                        "as `{user}`, as {} says; the certificate says `{name}`",
                        log.display()
                    ),
                )
            });
            break;
        }
    }
    let _ = session.disconnect().await; // it ends either way
    let (holds, got) = proof.unwrap_or((
        true,
        format!("let in; nobody comes in here without a name, and `{name}` is the one in the certificate"),
    ));
    report.add(NAME, at, WANTED, holds, got);
}

/// A connection and what comes over it.
type Session = (
    sectag_mqtt::Client,
    tokio::sync::mpsc::Receiver<sectag_mqtt::Incoming>,
);

struct Asker {
    at: SocketAddr,
    leaf: Vec<u8>,
    patience: Duration,
}

/// Certificate chain and key, PEM.
pub(crate) type Papers = (String, String);

impl Asker {
    /// Connects and leaves.
    async fn connect(&self, papers: Option<Papers>) -> Result<(), ClientError> {
        let (session, _incoming) = self.session(papers, &client_id()).await?;
        let _ = session.disconnect().await; // it ends either way
        Ok(())
    }

    async fn session(&self, papers: Option<Papers>, id: &str) -> Result<Session, ClientError> {
        let config = pinned(&self.leaf, papers).map_err(ClientError::Invalid)?;
        let host = self.at.ip().to_string();
        let mut options = ConnectOptions::new(id);
        options.version = Version::V5;
        options.timeout = self.patience;
        let transport = Transport::tls(host.clone(), config);
        sectag_mqtt::Client::connect(&host, self.at.port(), transport, options).await
    }
}

fn refusal(outcome: Result<(), ClientError>) -> (bool, String) {
    match outcome {
        Ok(()) => (false, "let in".to_owned()),
        Err(
            error @ (ClientError::Tcp { .. }
            | ClientError::Resolve { .. }
            | ClientError::Timeout { .. }
            | ClientError::ServerCertificate { .. }
            | ClientError::Invalid(_)),
        ) => (false, said(&error)),
        Err(error) => (true, said(&error)),
    }
}

fn admission(outcome: Result<(), ClientError>) -> (bool, String) {
    match outcome {
        Ok(()) => (true, "let in".to_owned()),
        Err(error) => (false, said(&error)),
    }
}

fn stranger(name: &str, now_s: u64) -> Result<Papers, sectag_pki::PkiError> {
    let authority = Authority::root("somebody else", now_s)?;
    let key = KeyPair::generate(KeyType::default())?;
    let certificate = authority.issue_device(&key.spki_der(), name, now_s)?;
    Ok((certificate.pem(), key.to_pem().to_string()))
}

fn client_id() -> String {
    let mut random = [0; 4];
    // Without chance it is the same name again: the last probe's session then ends, which it has.
    let _ = getrandom::fill(&mut random);
    format!("sectag-probe-{:08x}", u32::from_le_bytes(random))
}

/// `TLSv1.3`, as everybody but rustls writes it.
pub(crate) fn version_name(version: &str) -> String {
    version.replace('_', ".")
}

fn serial(der: &[u8]) -> String {
    sectag_pki::show(der).map_or_else(|_| "unknown".to_owned(), |facts| facts.serial_hex)
}

fn external_name(external: &External) -> String {
    match (&external.interface, &external.address) {
        (Some(name), _) => format!("{name}:{}", external.port.value),
        (None, Some(host)) => format!("{host}:{}", external.port.value),
        (None, None) => format!("*:{}", external.port.value),
    }
}

/// An error with its causes, as one clause.
pub(crate) fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
