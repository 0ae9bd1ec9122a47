//! Findings: what is wrong with a configuration, with the values that say so and the command that mends it.

use std::fmt;

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
