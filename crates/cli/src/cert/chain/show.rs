//! What `sectag cert chain` prints.

use super::super::{lint, or_dash, validity, value_of};
use crate::ca::moment;
use crate::cert::now_s;
use crate::output;
use sectag_device::chain::Fetched;
use sectag_pki::ServerName;
use sectag_pki::lint::chain::{Judgement, Link, Root};
use serde_json::{Value, json};

/// The chain as people read it; warnings go to stderr.
pub(super) fn print(fetched: &Fetched, judgement: &Judgement, showcerts: bool, name: &ServerName) {
    for (at, link) in judgement.links.iter().enumerate() {
        let facts = &link.facts;
        let lines = [
            ("subject", or_dash(facts.subject.clone())),
            ("issuer", or_dash(facts.issuer.clone())),
            ("valid", validity(facts)),
            (
                "key",
                format!("{}, signed with {}", link.key, link.signature),
            ),
            ("names", or_dash(facts.names.join(", "))),
            ("sha-256", facts.fingerprint_sha256.clone()),
        ];
        for (number, (label, text)) in lines.iter().enumerate() {
            let index = if number == 0 {
                at.to_string()
            } else {
                String::new()
            };
            output::print(&format!("{index:>2} {label:9} {text}\n"));
        }
        if showcerts {
            output::print(&sectag_pki::pem::encode("CERTIFICATE", &link.der));
        }
        output::print("\n");
    }
    for (label, text) in [
        ("root", root_text(judgement)),
        ("verified", verified_text(judgement, name)),
        ("tls", tls_text(fetched)),
        ("size", size_text(judgement)),
    ] {
        output::print(&format!("{label:12} {text}\n"));
    }
    for finding in judgement
        .findings
        .iter()
        .filter(|f| lint::is_worth_a_line(f))
    {
        let place = match finding.certificate {
            Some(at) => format!("{at}: "),
            None => String::new(),
        };
        let mut who = finding.rule.refused_by();
        let words = if who.is_empty() {
            who = finding.rule.depends_for();
            "may be refused by"
        } else {
            "refused by"
        };
        let who = match who.is_empty() {
            true => String::new(),
            false => format!("; {words} {}", lint::list(&who)),
        };
        eprintln!(
            "warning: {place}{} ({}){who} [{}]",
            finding.rule.title, finding.facts, finding.rule.id
        );
    }
    if fetched.proved == Some(false) {
        eprintln!("warning: the server did not prove that it has the key of its certificate");
    }
}

fn root_text(judgement: &Judgement) -> String {
    match &judgement.root {
        Root::Sent { link, known } => {
            let root = &judgement.links[*link].facts;
            let store = if *known {
                "and known here"
            } else {
                "and in no store: a private root"
            };
            format!("{}, sent as number {link}, {store}", root.subject)
        }
        Root::Known(link) => format!(
            "{}, not sent, found among the roots known here, sha-256 {}",
            link.facts.subject, link.facts.fingerprint_sha256
        ),
        Root::Missing { issuer } => format!(
            "missing: `{issuer}` was not sent and is in no store; a private root, or an intermediate that the server forgot"
        ),
    }
}

fn verified_text(judgement: &Judgement, name: &ServerName) -> String {
    let name = match name {
        ServerName::Dns(name) => name.clone(),
        ServerName::Ip(ip) => ip.to_string(),
    };
    match &judgement.verified {
        Ok(()) => format!("yes, as {name}"),
        Err(reason) => format!("no: {reason}"),
    }
}

fn tls_text(fetched: &Fetched) -> String {
    let mut words = vec![fetched.address.to_string()];
    words.extend(fetched.version.clone());
    words.extend(fetched.cipher_suite.clone());
    words.extend(fetched.alpn.as_ref().map(|alpn| format!("ALPN {alpn}")));
    if fetched.wants_client_certificate {
        words.push("asks for a client certificate".to_owned());
    }
    words.join(", ")
}

fn size_text(judgement: &Judgement) -> String {
    let bytes: usize = judgement.links.iter().map(|link| link.der.len()).sum();
    let root = judgement.root_link().map(|link| {
        let pem = sectag_pki::pem::encode("CERTIFICATE", &link.der).len();
        format!("; the root as PEM {pem}")
    });
    format!(
        "{bytes} bytes sent{}; the modem takes {} of each",
        root.unwrap_or_default(),
        sectag_pki::lint::MODEM_CHAIN_BYTES_MAX
    )
}

/// The same as JSON.
pub(super) fn value(
    fetched: &Fetched,
    judgement: &Judgement,
    chosen: Option<&Link>,
    name: &ServerName,
) -> Value {
    let link_value = |link: &Link| {
        let mut value = value_of(&link.facts);
        value["key"] = json!(link.key.to_string());
        value["signature"] = json!(link.signature.to_string());
        value["bytes"] = json!(link.der.len());
        value["pem"] = json!(sectag_pki::pem::encode("CERTIFICATE", &link.der));
        value
    };
    let (found, issuer) = match &judgement.root {
        Root::Sent { known: true, .. } => ("sent-and-known", None),
        Root::Sent { known: false, .. } => ("sent", None),
        Root::Known(_) => ("known", None),
        Root::Missing { issuer } => ("missing", Some(issuer)),
    };
    json!({
        "address": fetched.address.to_string(),
        "serverName": match name { ServerName::Dns(name) => name.clone(), ServerName::Ip(ip) => ip.to_string() },
        "version": fetched.version,
        "cipherSuite": fetched.cipher_suite,
        "alpn": fetched.alpn,
        "keyProved": fetched.proved,
        "wantsClientCertificate": fetched.wants_client_certificate,
        "chain": judgement.links.iter().map(link_value).collect::<Vec<_>>(),
        "path": judgement.path,
        "root": {
            "found": found,
            "missingIssuer": issuer,
            "certificate": judgement.root_link().map(link_value),
        },
        "chosen": chosen.map(|link| link.facts.fingerprint_sha256.clone()),
        "verified": judgement.verified.is_ok(),
        "reason": judgement.verified.as_ref().err(),
        "findings": judgement.findings.iter().map(lint::finding_value).collect::<Vec<_>>(),
        "at": moment(now_s()),
    })
}
