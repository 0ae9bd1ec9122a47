//! The table of findings for people: what each means, why it matters, what mends it.

use std::fmt::Write as _;

use super::{FindingId, Severity};

/// One kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Which.
    pub id: FindingId,
    /// How bad it can be; the worst first.
    pub severities: &'static [Severity],
    /// What is wrong, in general.
    pub what: &'static str,
    /// Why it matters, one line without a full stop.
    pub why: &'static str,
    /// The command that mends it; `…` where it depends.
    pub fix: &'static str,
}

use FindingId::*;
use Severity::{Error, Note, Warn};

const fn row_of(
    id: FindingId,
    severities: &'static [Severity],
    what: &'static str,
    why: &'static str,
    fix: &'static str,
) -> Row {
    Row {
        id,
        severities,
        what,
        why,
        fix,
    }
}

/// All of them, in order.
pub const TABLE: &[Row] = &[
    row_of(
        E1,
        &[Error],
        "one key of a pair is set, the other is not",
        "both are needed for a server certificate; neither for none",
        "sectag config set <missing key> <path>    or    sectag config unset <present key>",
    ),
    row_of(
        E3,
        &[Error],
        "a CA or revocation list for clients, without certificate and key of the listener, or a list without a CA",
        "mosquitto 2.0 would open a plaintext port that refuses everyone, 2.1 would not start",
        "sectag config set mqtt.external.cert_file <path> mqtt.external.key_file <path>",
    ),
    row_of(
        E4,
        &[Error],
        "external and internal listener have the same port, and their addresses overlap",
        "the address would be in use already, and the whole broker down",
        "sectag config set mqtt.external.bind.port …",
    ),
    row_of(
        E5,
        &[Warn, Note],
        "an interface is set, and an address that is a wildcard or not the interface's own",
        "the interface decides; mosquitto would not start with both",
        "sectag config unset mqtt.external.bind.address",
    ),
    row_of(
        E6,
        &[Warn],
        "the interface, or the address, does not exist on this machine",
        "mosquitto does not start without it",
        "sectag config set mqtt.external.bind.interface …",
    ),
    row_of(
        E7,
        &[Error],
        "a client certificate, or the broker's name, without a CA",
        "the certificate would be unused and the connection in plaintext",
        "sectag config set mqtt.client.auth.ca_file <path>",
    ),
    row_of(
        E8,
        &[Error, Warn, Note],
        "a file or directory of CAs, or a revocation list, that does not give one",
        "with nobody to trust there is no TLS, and both are read as PEM only",
        "sectag config set <key> <path>    or    openssl crl -inform DER -in <path> -out <path>.pem",
    ),
    row_of(
        E9,
        &[Error],
        "the broker's certificate does not have the name that our clients use",
        "clients compare the alternative names with the host they connect to; an address needs one of kind IP",
        "sectag config set mqtt.client.host …    or    sectag cert issue server --force --san …",
    ),
    row_of(
        E10,
        &[Error],
        "our clients' CA does not verify the broker's certificate",
        "every connection would end with UnknownIssuer",
        "sectag config set mqtt.client.auth.ca_file <CA of the broker's certificate>",
    ),
    row_of(
        E11,
        &[Error],
        "the listener's CA does not verify our client certificate, or has revoked it",
        "the listener would end every connection of ours with an alert",
        "sectag config set mqtt.external.ca_path <CA of our client certificate>",
    ),
    row_of(
        E12,
        &[Error],
        "an X.509 version 1 certificate",
        "our clients and our broker refuse it, while mosquitto admits a client with it; `openssl x509 -req` makes one when it is given no extensions",
        "sectag cert reissue --client <certificate>    or    sectag cert reissue --server --san … <certificate>",
    ),
    row_of(
        E13,
        &[Error, Warn, Note],
        "certificate and key cannot be used together: one is missing, damaged, encrypted, swapped, or another's",
        "TLS needs both, and the key must be the certificate's",
        "sectag config set <key> <path>    or    sectag cert issue …",
    ),
    row_of(
        E14,
        &[Warn],
        "no local listener on our clients' port, or one of another level",
        "the two sides must agree on port and level",
        "sectag config set mqtt.client.port …",
    ),
    row_of(
        E15,
        &[Warn],
        "port 8883 without TLS, or 1883 with it",
        "it works when both sides mean it, and surprises whoever reads it",
        "sectag config set mqtt.client.port …",
    ),
    row_of(
        E16,
        &[Warn],
        "a plaintext listener that is reachable from the network",
        "EVERYONE on the network can publish and read",
        "sectag gateway init --level server    or    sectag config set mqtt.external.bind.address 127.0.0.1",
    ),
    row_of(
        E17,
        &[Error],
        "a password file without a user name, or without a password in its first line",
        "the password would be left out, or empty",
        "install -D -m 600 /dev/stdin <path>    or    sectag config unset mqtt.client.auth.password_file",
    ),
    row_of(
        E18,
        &[Error, Warn],
        "the listener's CA directory lacks OpenSSL's hash links",
        "mosquitto finds CAs by these links only, and openssl makes none for a file with several certificates",
        "openssl rehash <directory>    or    csplit … <file> && openssl rehash <directory>",
    ),
    row_of(
        E19,
        &[Warn],
        "the listener's CAs are the system's public ones",
        "whoever gets a certificate from any public CA is let in",
        "sectag config set mqtt.external.ca_path <CA of your clients>",
    ),
    row_of(
        E20,
        &[Error, Warn],
        "a certificate or revocation list has expired, is about to, or is not valid yet",
        "mosquitto starts with it without a word, and clients refuse it",
        "sectag cert renew --all --due    or    sectag cert crl --refresh",
    ),
    row_of(
        E21,
        &[Error, Warn],
        "a file that its user cannot read, or a key that everyone can",
        "the broker reads its files after it has become its own user",
        "chown … && chmod 400 …",
    ),
    row_of(
        B1,
        &[Error],
        "a value that cannot be written into the broker's file",
        "control characters and outer blanks would change the file's meaning",
        "sectag config set <key> <value>",
    ),
    row_of(
        B2,
        &[Error],
        "another listener of the broker has the port",
        "the address would be in use already, and the whole broker down",
        "sectag config set mqtt.external.bind.port …",
    ),
    row_of(
        B3,
        &[Error, Warn],
        "the broker would not start, or not as meant, with the rest of its configuration",
        "the generated file is one of several",
        "sectag gateway check <file>",
    ),
    row_of(
        B4,
        &[Error, Warn, Note],
        "lines of other files change the generated listeners, or are changed by them",
        "the generated file is one of several",
        "sectag gateway check <file>",
    ),
    row_of(
        B5,
        &[Error],
        "a host name without an address",
        "a listener needs an address when the plan is made",
        "sectag config set mqtt.external.bind.address <address>",
    ),
    row_of(
        B6,
        &[Error],
        "a mosquitto before 2.0",
        "its rules of anonymous access are others",
        "install mosquitto 2.0 or later",
    ),
];

pub(super) fn row(id: FindingId) -> &'static Row {
    let found = TABLE.iter().find(|row| row.id == id);
    found.expect("a test walks all ids")
}

/// `docs/reference/gateway-findings.md`.
pub fn reference() -> String {
    let mut text = String::from(
        "# Findings about the gateway's configuration\n\n\
         What `sectag config check`, `sectag gateway plan` and `sectag gateway apply` say, and our MQTT client before it\n\
         connects. An error stops generation and connection; warnings and notes do not. Each finding names the values that\n\
         say so and a command that mends it. `E2` does not exist: a port that is not set is inferred.\n\n\
         | Id | Severity | What | Why | Fix |\n|---|---|---|---|---|\n",
    );
    for row in TABLE {
        let severities: Vec<String> = row.severities.iter().map(ToString::to_string).collect();
        let fixes: Vec<String> = row
            .fix
            .split("    or    ")
            .map(|fix| format!("`{fix}`"))
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            row.id,
            severities.join(", "),
            row.what,
            row.why,
            fixes.join(" or ")
        );
    }
    text
}
