//! Findings: what is wrong with a configuration, with the values that say so and the command that mends it.
//!
//! ```text
//!   Settings + Facts ──► find ──┬─► for_listener   E1 E3–E6 E8 E12 E13 E16 E18–E21   before a file is generated
//!                               ├─► for_client     E1 E7 E8 E12 E13 E15 E17 E20 E21  before our client connects
//!                               └─► between both   E9–E11 E14
//! ```
//!
//! One engine for `config check`, `gateway plan`, `gateway apply` and our client, so that they never disagree. The table
//! for people is [`reference`](fn@reference).

mod access;
mod asked;
mod authorities;
mod between;
mod client;
mod listener;
mod neighbours;
mod pairs;
mod reference;
mod validity;
mod words;

use std::fmt;

use crate::facts::Facts;
use crate::settings::{Client, External, Settings};

pub use asked::{Asked, fixes_name_machine};
pub use neighbours::of_neighbours;
pub use pairs::half_pair;
pub use reference::{Row, TABLE, reference};
pub use words::shell;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know.
    Note,
    /// It works, and not as somebody may think.
    Warn,
    /// It does not work, or not safely; nothing is generated.
    Error,
}

/// Stable name of a kind of finding: `E…` are those of spec/gateway-config §6.2, `B…` concern the rest of the broker's
/// configuration files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingId {
    /// Half of a pair.
    E1,
    /// CA for clients without certificate and key.
    E3,
    /// External and internal listener overlap.
    E4,
    /// Interface and wildcard address.
    E5,
    /// No such interface.
    E6,
    /// Client certificate without a CA.
    E7,
    /// A CA that yields no certificate.
    E8,
    /// The client's host is not in the server certificate.
    E9,
    /// The client's CA does not verify the server certificate.
    E10,
    /// The broker's CA does not verify our client certificate.
    E11,
    /// X.509 version 1.
    E12,
    /// The key is another certificate's, or encrypted.
    E13,
    /// Nothing listens where the client goes.
    E14,
    /// Port and TLS contradict their customs.
    E15,
    /// A plaintext port for the network.
    E16,
    /// A password file that gives no password.
    E17,
    /// A CA directory without hash links.
    E18,
    /// A system store as CA for clients.
    E19,
    /// Expired, or soon.
    E20,
    /// A key that the wrong people can read, or the right ones cannot.
    E21,
    /// A value that cannot be written into the broker's file.
    B1,
    /// Another listener of the broker has the port.
    B2,
    /// The broker would not start with the rest of its configuration.
    B3,
    /// Lines of other files change the generated listeners, or are changed by them.
    B4,
    /// A host name without an address.
    B5,
    /// A broker that is too old.
    B6,
}

/// One thing that is wrong, or worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub id: FindingId,
    /// How bad.
    pub severity: Severity,
    /// What is wrong: one sentence with the facts.
    pub sentence: String,
    /// The values that say so: key or file, and value.
    pub values: Vec<(String, String)>,
    /// The command that mends it.
    pub fix: String,
}

/// Between alternative commands of [`Finding::fix`].
pub const OR: &str = "    or    ";

/// Everything that is wrong; errors first, then by id.
pub fn find(settings: &Settings, facts: &Facts) -> Vec<Finding> {
    find_asked(settings, facts, &Asked::everything())
}

/// What is asked for of [`find`]. [`Facts::gather_asked`] is enough for it.
pub fn find_asked(settings: &Settings, facts: &Facts, asked: &Asked) -> Vec<Finding> {
    if asked.is_nothing() {
        return Vec::new();
    }
    let mut found = Found::default();
    if let Some(external) = &settings.external {
        look_at_listener(settings, external, facts, &mut found);
    }
    listener::internal(&settings.internal, &mut found);
    look_at_client(
        &settings.client,
        settings.minimum_validity_s,
        facts,
        Eyes::Checking,
        &mut found,
    );
    between::check(settings, facts, &mut found);
    found.0.retain(|finding| asked.wants(finding));
    found.sorted()
}

/// What keeps the listener of `mqtt.external.*` from working, or from being safe.
pub fn for_listener(settings: &Settings, facts: &Facts) -> Vec<Finding> {
    let mut found = Found::default();
    if let Some(external) = &settings.external {
        look_at_listener(settings, external, facts, &mut found);
    }
    found.sorted()
}

/// What keeps our client from connecting; judged as the process that connects, so a file that cannot be read is an error.
/// [`Facts::gather_client`] is enough for it. `minimum_validity_s` is that of [`Settings`].
pub fn for_client(client: &Client, minimum_validity_s: u64, facts: &Facts) -> Vec<Finding> {
    let mut found = Found::default();
    look_at_client(
        client,
        minimum_validity_s,
        facts,
        Eyes::Connecting,
        &mut found,
    );
    found.sorted()
}

/// Both, in the order of [`find`].
pub fn join(some: Vec<Finding>, more: Vec<Finding>) -> Vec<Finding> {
    Found(some.into_iter().chain(more).collect()).sorted()
}

/// True if something keeps it from working.
pub fn has_error(findings: &[Finding]) -> bool {
    findings
        .iter()
        .any(|finding| finding.severity == Severity::Error)
}

impl Finding {
    /// One without values and fix.
    pub fn new(id: FindingId, severity: Severity, sentence: impl Into<String>) -> Self {
        Self {
            id,
            severity,
            sentence: sentence.into(),
            values: Vec::new(),
            fix: String::new(),
        }
    }

    /// With a value that says so.
    #[must_use]
    pub fn value(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.values.push((name.into(), value.to_string()));
        self
    }

    /// With the command that mends it; several of them are alternatives.
    #[must_use]
    pub fn fix(mut self, commands: &[String]) -> Self {
        self.fix = commands.join(OR);
        self
    }

    /// Why it matters, one line.
    pub fn why(&self) -> &'static str {
        let of_client = self
            .values
            .first()
            .is_some_and(|(name, _)| name.contains(".client."));
        let of_listener = self
            .values
            .first()
            .is_none_or(|(name, _)| name.starts_with("mqtt."));
        match self.id {
            FindingId::E1 if of_client => {
                "both are needed for a client certificate; neither for none"
            }
            FindingId::E3 if !of_listener => "without certificate and key there is no TLS",
            id => reference::row(id).why,
        }
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        let values = self.values.iter();
        let values: serde_json::Map<String, serde_json::Value> = values
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        serde_json::json!({
            "id": self.id.to_string(),
            "severity": self.severity.to_string(),
            "sentence": self.sentence,
            "why": self.why(),
            "values": values,
            "fix": self.fix,
        })
    }

    /// To be shown where nobody overlooks it: everyone on the network can publish.
    pub fn is_loud(&self) -> bool {
        self.id == FindingId::E16
    }
}

impl fmt::Display for Finding {
    /// The form of RULE 11: sentence, reason, values, fix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n  {}", self.severity, self.sentence, self.why())?;
        for (name, value) in &self.values {
            write!(f, "\n  {name} = {value}")?;
        }
        if self.fix.is_empty() {
            return Ok(());
        }
        write!(f, "\n  fix: {}", self.fix)
    }
}

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Eyes {
    /// Somebody who judges the configuration, and may not be allowed to read a key that the service reads.
    Checking,
    /// The process that needs the files.
    Connecting,
}

/// Findings as they are made.
#[derive(Debug, Default)]
struct Found(Vec<Finding>);

impl Found {
    fn add(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    fn sorted(mut self) -> Vec<Finding> {
        self.0
            .sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.id));
        self.0
    }
}

fn look_at_listener(settings: &Settings, external: &External, facts: &Facts, found: &mut Found) {
    listener::check(settings, external, facts, found);
    pairs::listener(external, facts, found);
    authorities::listener(external, facts, found);
    validity::listener(external, settings.minimum_validity_s, facts, found);
    access::listener(external, facts, found);
}

fn look_at_client(
    client: &Client,
    minimum_validity_s: u64,
    facts: &Facts,
    eyes: Eyes,
    found: &mut Found,
) {
    let eyes = match &facts.machine.service_user {
        Some(_) => eyes,
        // Nobody else is known who would connect.
        None => Eyes::Connecting,
    };
    client::check(client, facts, eyes, found);
    pairs::client(client, facts, eyes, found);
    authorities::client(client, facts, found);
    validity::client(client, minimum_validity_s, facts, found);
    access::client(client, facts, eyes, found);
}

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warn => "warning",
            Self::Error => "error",
        })
    }
}
