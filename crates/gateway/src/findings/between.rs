//! The two sides of one connection: name, trust in both directions, port (E9, E10, E11, E14).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sectag_pki::chain::{Check, VerifyError, verify};
use sectag_pki::lint::chain::words;
use sectag_pki::material::Held;
use sectag_pki::{Purpose, ServerName};

use super::client::without_tls;
use super::listener::listening;
use super::pairs::{common_name, issue_client, issue_server};
use super::words::{count, list, names, subject, trusted};
use super::{Finding, FindingId, Found, Severity};
use crate::facts::{Facts, Trusted};
use crate::settings::{Client, External, Host, Level, Settings, Source};

pub(super) fn check(settings: &Settings, facts: &Facts, found: &mut Found) {
    if facts.machine.is_own(&settings.client.host) != Some(true) {
        return;
    }
    reachable(settings, facts, found);
    let Some(external) = settings.external.as_ref().filter(|_| meet(settings)) else {
        return;
    };
    if settings.client.level() != Level::None {
        name(&settings.client, external, facts, found);
        trusts_broker(&settings.client, external, facts, found);
    }
    trusts_client(&settings.client, external, facts, found);
}

/// Do our clients go to the external listener? Another port is another listener, and what is wrong with that is not known here.
pub(super) fn meet(settings: &Settings) -> bool {
    let external = settings.external.as_ref();
    external.is_some_and(|external| external.port.value == settings.client.port.value)
}

/// E14: something listens there, and speaks what the client speaks.
fn reachable(settings: &Settings, facts: &Facts, found: &mut Found) {
    let (client, port) = (&settings.client, settings.client.port.value);
    let internal = settings.internal.enabled && settings.internal.port == port;
    let external = settings
        .external
        .as_ref()
        .filter(|external| external.port.value == port);
    let mut others = facts.machine.listeners.iter().flatten();
    let other = others.find(|listener| listener.port == port.get());
    let said = client.level();
    match (external, internal) {
        (Some(external), false) => same_address(client, listening(external, facts), facts, found),
        (None, true) => same_address(client, Some(vec![settings.internal.address]), facts, found),
        _ => {}
    }
    let level = match (external, internal, other) {
        (Some(external), _, _) => external.level(),
        (None, true, _) => Level::None,
        (None, false, Some(other)) if other.is_tls && said == Level::None => Level::Server,
        (None, false, Some(other)) if !other.is_tls => Level::None,
        (None, false, Some(_)) => return,
        (None, false, None) => {
            let ports = listeners(settings, facts);
            let sentence = format!(
                "nothing listens on port {port} of this machine, where our clients connect to ({})",
                if ports.is_empty() {
                    "no listener is configured".to_owned()
                } else {
                    format!("listeners: {}", list(&ports))
                }
            );
            let fix = match &settings.external {
                Some(external) => {
                    format!("sectag config set mqtt.client.port {}", external.port.value)
                }
                None if !settings.internal.enabled && !is_said(client.port.source) => {
                    "sectag config unset mqtt.bind.enabled".to_owned()
                }
                None => "sectag config unset mqtt.client.port".to_owned(),
            };
            return found
                .add(finding(FindingId::E14, Severity::Warn, sentence, client).fix(&[fix]));
        }
    };
    let tls_elsewhere = settings
        .external
        .as_ref()
        .is_some_and(|external| external.level() != Level::None && external.port.value != port);
    let (sentence, fix) = match (said, level) {
        (Level::None, Level::None)
        | (Level::Mutual, Level::Server | Level::Mutual)
        | (Level::Server, Level::Server) => return,
        (Level::None, _) => (
            format!(
                "the listener on port {port} speaks TLS, and our clients are configured for plaintext"
            ),
            vec!["sectag config set mqtt.client.auth.ca_file <path>".to_owned()],
        ),
        (_, Level::None) => (
            format!(
                "the listener on port {port} speaks plaintext, and our clients are configured for TLS"
            ),
            if tls_elsewhere && is_said(client.port.source) {
                vec!["sectag config unset mqtt.client.port".to_owned()]
            } else {
                vec![
                    format!("sectag gateway init --level {said}"),
                    without_tls(client),
                ]
            },
        ),
        (Level::Server, Level::Mutual) => (
            format!(
                "the listener on port {port} requires a client certificate, and our clients have none"
            ),
            vec![
                "sectag config set mqtt.client.auth.cert_file <path> mqtt.client.auth.key_file <path>"
                    .to_owned(),
            ],
        ),
    };
    found.add(finding(FindingId::E14, Severity::Warn, sentence, client).fix(&fix));
}

/// Somebody set it, so that it can be unset.
fn is_said(source: Source) -> bool {
    matches!(source, Source::File | Source::Environment)
}

/// E14: the listener is on other addresses than our clients go to.
fn same_address(client: &Client, listening: Option<Vec<IpAddr>>, facts: &Facts, found: &mut Found) {
    let wanted = match &client.host {
        Host::Name(name) if name == "localhost" => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        host => facts.machine.addresses(host),
    };
    let Some(listening) = listening.filter(|all| !all.is_empty() && !wanted.is_empty()) else {
        return; // not known
    };
    let reaches = |wanted: &IpAddr| {
        let here = |one: &IpAddr| one == wanted || one.is_unspecified() || wanted.is_unspecified();
        listening.iter().any(here)
    };
    if wanted.iter().any(reaches) {
        return;
    }
    let addresses: Vec<String> = listening.iter().map(IpAddr::to_string).collect();
    let port = client.port.value;
    let sentence = format!(
        "the listener on port {port} is on {}, and our clients connect to {}",
        list(&addresses),
        client.host
    );
    let fix = format!("sectag config set mqtt.client.host {}", addresses[0]);
    found.add(finding(FindingId::E14, Severity::Warn, sentence, client).fix(&[fix]));
}

/// The ports that somebody listens on.
fn listeners(settings: &Settings, facts: &Facts) -> Vec<String> {
    let internal = settings
        .internal
        .enabled
        .then(|| settings.internal.port.get());
    let external = settings
        .external
        .as_ref()
        .map(|external| external.port.value.get());
    let others = facts
        .machine
        .listeners
        .iter()
        .flatten()
        .map(|listener| listener.port);
    let ports: BTreeSet<u16> = internal.into_iter().chain(external).chain(others).collect();
    ports.iter().map(u16::to_string).collect()
}

/// E9.
fn name(client: &Client, external: &External, facts: &Facts, found: &mut Found) {
    let Some(leaf) = facts.chain(external.cert_file.as_ref()).first() else {
        return;
    };
    let (key, wanted) = match &client.server_name {
        Some(name) => ("mqtt.client.server_name", name),
        None => ("mqtt.client.host", &client.host),
    };
    if covers(leaf, wanted) {
        return;
    }
    let names = names(leaf);
    let own = |name: &&&str| {
        let host = name.parse::<Host>().ok();
        host.is_some_and(|host| facts.machine.is_own(&host) == Some(true))
    };
    let sentence = match names.is_empty() {
        true => format!("the broker's certificate has no subjectAltName, and {key} is {wanted}"),
        false => format!(
            "the broker's certificate is for {}; {key} is {wanted}",
            list(&names)
        ),
    };
    let mut fix = Vec::new();
    if let Some(name) = names.iter().find(own) {
        fix.push(format!("sectag config set {key} {name}"));
    } else if let Some(name) = names.iter().find(|name| name.parse::<Host>().is_ok()) {
        fix.push(format!("sectag config set mqtt.client.server_name {name}"));
    }
    fix.push(issue_server(external, &format!(" --san {wanted}")));
    let mut finding = Finding::new(FindingId::E9, Severity::Error, sentence).value(key, wanted);
    if let Some(path) = &external.cert_file {
        finding = finding.value("mqtt.external.cert_file", path.display());
    }
    found.add(
        finding
            .value("subjectAltName", list(&leaf.facts.names))
            .fix(&fix),
    );
}

/// RFC 6125 as webpki does it: alternative names only, `*` for one whole first label.
fn covers(held: &Held, wanted: &Host) -> bool {
    held.facts
        .names
        .iter()
        .any(|name| match (name.split_once(':'), wanted) {
            (Some(("IP", address)), Host::Ip(wanted)) => address.parse::<IpAddr>() == Ok(*wanted),
            (Some(("DNS", dns)), Host::Name(wanted)) => {
                let wanted = wanted.trim_end_matches('.');
                dns.eq_ignore_ascii_case(wanted)
                    || matches!((dns.strip_prefix("*."), wanted.split_once('.')),
                    (Some(suffix), Some((_, rest))) if suffix.eq_ignore_ascii_case(rest))
            }
            _ => false,
        })
}

/// E10.
fn trusts_broker(client: &Client, external: &External, facts: &Facts, found: &mut Found) {
    let chain = facts.chain(external.cert_file.as_ref());
    let trust = facts.trusted_by_client(client);
    let (Some(leaf), false) = (chain.first(), trust.is_empty()) else {
        return;
    };
    let Err(reason) = verified(chain, &trust, Purpose::Servers, facts.machine.now_s, None) else {
        return;
    };
    let sources: Vec<String> = [&client.ca_file, &client.ca_dir]
        .into_iter()
        .flatten()
        .map(|path| path.display().to_string())
        .collect();
    let sentence = match reason {
        Reason::Issuer => format!(
            "the broker's certificate was issued by {}; the trusted CAs are {} ({} from {})",
            leaf.facts.issuer,
            trusted(&trust),
            count(trust.len(), "certificate"),
            sources.join(" and ")
        ),
        Reason::Words(words) => format!(
            "our clients would refuse the broker's certificate, of {}: {words}",
            subject(leaf)
        ),
    };
    let mut finding = finding(FindingId::E10, Severity::Error, sentence, client);
    if let Some(path) = &external.cert_file {
        finding = finding.value("mqtt.external.cert_file", path.display());
    }
    for source in sources {
        finding = finding.value("trusted", source);
    }
    found.add(finding.fix(&[
        "sectag config set mqtt.client.auth.ca_file <CA of the broker's certificate>".to_owned(),
        issue_server(external, ""),
    ]));
}

/// E11.
fn trusts_client(client: &Client, external: &External, facts: &Facts, found: &mut Found) {
    let (Some(ca_path), Some(cert)) = (&external.ca_path, &client.cert_file) else {
        return;
    };
    let chain = facts.chain(Some(cert));
    let trust = facts.trusted_by_broker(external);
    let (Some(leaf), false) = (chain.first(), trust.is_empty()) else {
        return;
    };
    let lists = facts.revocations(external.crl_file.as_ref());
    let list_of_issuer = lists.iter().find(|list| list.issuer == leaf.facts.issuer);
    let now_s = facts.machine.now_s;
    // A list after its time is a finding of its own.
    let current = list_of_issuer.filter(|list| list.next_update_s.is_none_or(|next| now_s <= next));
    let crl = current.map(|list| list.der.as_slice());
    let issuer = &leaf.facts.issuer;
    let (mends, sentence) = match verified(chain, &trust, Purpose::Devices, now_s, crl) {
        Err(Reason::Issuer) => (
            Mends::Trust,
            format!(
                "the listener does not trust the issuer of our client certificate, {issuer}; it trusts {}",
                trusted(&trust)
            ),
        ),
        Err(Reason::Words(words)) => (
            Mends::Issue,
            format!(
                "the listener would refuse our client certificate, of {}: {words}",
                subject(leaf)
            ),
        ),
        Ok(()) if facts.machine.broker.is_some() && !reaches_root(chain, &trust, now_s) => (
            Mends::Trust,
            format!(
                "mosquitto follows a chain up to its root, and {} holds {}, but not its root",
                ca_path.display(),
                trusted(&trust)
            ),
        ),
        Ok(()) if !lists.is_empty() && list_of_issuer.is_none() => (
            Mends::List,
            format!(
                "mqtt.external.crl_file has no list of {issuer}, the issuer of our client certificate, so the listener refuses it"
            ),
        ),
        Ok(()) => return,
    };
    let name = common_name(&leaf.facts.subject).unwrap_or("<name>");
    let issue = issue_client(client, name);
    let fix = match mends {
        Mends::Issue => vec![issue],
        Mends::List => vec![
            "sectag config set mqtt.external.crl_file <list of all CAs>".to_owned(),
            "sectag config unset mqtt.external.crl_file".to_owned(),
        ],
        Mends::Trust => vec![
            "sectag config set mqtt.external.ca_path <CA of our client certificate, up to its root>".to_owned(),
            issue,
        ],
    };
    found.add(
        Finding::new(FindingId::E11, Severity::Error, sentence)
            .value("mqtt.external.ca_path", ca_path.display())
            .value("mqtt.client.auth.cert_file", cert.display())
            .fix(&fix),
    );
}

/// What mends an E11.
enum Mends {
    /// Another CA for the listener.
    Trust,
    /// Another list.
    List,
    /// Another certificate.
    Issue,
}

/// Why a chain is not trusted.
enum Reason {
    /// None of the trusted certificates issued it.
    Issuer,
    /// In the verifier's words.
    Words(String),
}

/// Validity in time and version 1 are other findings: they pass here.
fn verified(
    chain: &[Held],
    trust: &[Trusted<'_>],
    purpose: Purpose,
    now_s: u64,
    crl: Option<&[u8]>,
) -> Result<(), Reason> {
    let Some((leaf, between)) = chain.split_first() else {
        return Ok(());
    };
    if chain.iter().any(|held| held.facts.version < 3) {
        return Ok(());
    }
    let intermediates: Vec<&[u8]> = between.iter().map(|held| held.der.as_slice()).collect();
    let usages = &leaf.facts.extended_key_usages;
    let wanted = match purpose {
        Purpose::Servers => "serverAuth",
        Purpose::Devices => "clientAuth",
    };
    if !usages.is_empty() && !usages.iter().any(|usage| usage == wanted) {
        let usages = usages.join(", ");
        return Err(Reason::Words(format!(
            "it is for {usages} (extended key usage), and not for {wanted}"
        )));
    }
    let mut reason = Reason::Issuer;
    for one in trust {
        let check = Check {
            root: &one.held.der,
            intermediates: &intermediates,
            purpose,
            now_s: within(leaf, now_s),
            crl,
            name: None::<&ServerName>,
        };
        match verify(&leaf.der, &check) {
            Ok(()) => return Ok(()),
            Err(VerifyError::NotTrusted(error)) if error.is_expired() => return Ok(()),
            Err(VerifyError::NotTrusted(error)) if error.is_unknown_issuer() => {}
            Err(VerifyError::NotTrusted(error)) if error.is_revoked() => {
                reason = Reason::Words("it is revoked".to_owned());
            }
            Err(VerifyError::NotTrusted(error)) => reason = Reason::Words(words(&error.reason)),
            Err(VerifyError::Unreadable(error)) => reason = Reason::Words(error.to_string()),
        }
    }
    Err(reason)
}

/// OpenSSL stops at self-signed certificates only: one of the trusted must be the root of the chain.
fn reaches_root(chain: &[Held], trust: &[Trusted<'_>], now_s: u64) -> bool {
    let is_root = |held: &Held| held.facts.subject == held.facts.issuer;
    let (roots, others): (Vec<Trusted<'_>>, Vec<Trusted<'_>>) =
        trust.iter().copied().partition(|one| is_root(one.held));
    let all: Vec<Held> = chain
        .iter()
        .cloned()
        .chain(others.iter().map(|one| one.held.clone()))
        .collect();
    verified(&all, &roots, Purpose::Devices, now_s, None).is_ok()
}

fn within(leaf: &Held, now_s: u64) -> u64 {
    now_s
        .max(leaf.facts.not_before_s)
        .min(leaf.facts.not_after_s)
}

fn finding(id: FindingId, severity: Severity, sentence: String, client: &Client) -> Finding {
    let port = format!("{} ({})", client.port.value, client.port.source);
    Finding::new(id, severity, sentence)
        .value("mqtt.client.host", &client.host)
        .value("mqtt.client.port", port)
}
