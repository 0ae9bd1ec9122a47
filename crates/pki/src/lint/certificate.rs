//! What one certificate breaks by itself, where it stands.

use std::net::IpAddr;

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::X509Version;
use x509_parser::time::ASN1Time;

use super::look::{
    BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE, KEY_USAGE, Look, NAME_CONSTRAINTS, Position,
    SUBJECT_ALT_NAME,
};
use super::{Context, EXPIRES_SOON_DAYS, EXPIRES_VERY_SOON_DAYS, KeyKind, Rule, rule};
use crate::{Purpose, ServerName};

type Found = Vec<(&'static Rule, String)>;

const DAY_S: i64 = 24 * 60 * 60;

/// Everything that is wrong with it.
pub(crate) fn check(look: &Look<'_>, context: &Context<'_>) -> Found {
    let mut found = Vec::new();
    form(look, &mut found);
    dates(look, context.now_s, &mut found);
    key_and_signature(look, &mut found);
    extensions(look, &mut found);
    match look.position {
        Position::EndEntity => end_entity(look, context, &mut found),
        Position::Intermediate | Position::Root => authority(look, &mut found),
    }
    found
}

fn add(found: &mut Found, id: &str, facts: impl Into<String>) {
    found.push((rule(id), facts.into()));
}

/// Version, serial number, how the times are written.
fn form(look: &Look<'_>, found: &mut Found) {
    if look.x509.version() != X509Version::V3 {
        let id = match look.position {
            Position::Root => "x509-v1-root",
            Position::EndEntity | Position::Intermediate => "x509-v1",
        };
        add(found, id, format!("version {}", look.facts.version));
    }
    let serial = look.x509.raw_serial();
    if serial.first().is_some_and(|first| first & 0x80 != 0) {
        add(
            found,
            "serial-negative",
            format!("its first byte is {:02x}", serial[0]),
        );
    }
    if serial.len() > 20 {
        add(found, "serial-long", format!("{} bytes", serial.len()));
    }
    if serial.iter().all(|byte| *byte == 0) {
        add(found, "serial-zero", "0");
    }
    let validity = look.x509.validity();
    for (which, time) in [
        ("begin", &validity.not_before),
        ("end", &validity.not_after),
    ] {
        let year = time.to_datetime().year();
        if time.is_utctime() && year < 1970 {
            add(
                found,
                "utctime-19xx",
                format!(
                    "its {which} is written {:02}, which is read as {year}",
                    year % 100
                ),
            );
        }
        if time.is_generalizedtime() && year < 2050 {
            add(
                found,
                "generalizedtime-early",
                format!("its {which}, {}", day(time.timestamp())),
            );
        }
    }
}

fn dates(look: &Look<'_>, now_s: u64, found: &mut Found) {
    let (begin, end) = look.validity();
    let now = i64::try_from(now_s).unwrap_or(i64::MAX);
    if begin > end {
        add(
            found,
            "validity-backwards",
            format!("from {} to {}", day(begin), day(end)),
        );
        return;
    }
    let left = end.saturating_sub(now);
    let clock = || format!("the clock says {}", day(now));
    let root = look.position == Position::Root;
    let or_root = |id| if root { "expired-root" } else { id };
    if now < begin {
        add(
            found,
            or_root("not-yet-valid"),
            format!("valid from {}, {}", day(begin), clock()),
        );
    } else if left < 0 {
        add(
            found,
            or_root("expired"),
            format!("valid until {}, {}", day(end), clock()),
        );
    } else {
        let days = left / DAY_S;
        let s = if days == 1 { "" } else { "s" };
        let until = format!("valid until {}, {days} day{s} from now", day(end));
        if days < EXPIRES_VERY_SOON_DAYS as i64 {
            add(found, "expires-in-30-days", until);
        } else if days < EXPIRES_SOON_DAYS as i64 {
            add(found, "expires-in-90-days", until);
        }
    }
}

/// The date and time as people write it: `2026-05-01 13:07 UTC`.
pub(crate) fn moment(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds).unwrap_or(i64::MAX);
    match ASN1Time::from_timestamp(timestamp) {
        Ok(time) => {
            let (hour, minute, _) = time.to_datetime().to_hms();
            format!("{} {hour:02}:{minute:02} UTC", day(timestamp))
        }
        Err(_) => day(timestamp),
    }
}

/// The date alone: `2026-05-01`.
pub(crate) fn day(timestamp: i64) -> String {
    match ASN1Time::from_timestamp(timestamp) {
        Ok(time) => {
            let date = time.to_datetime().date();
            format!(
                "{:04}-{:02}-{:02}",
                date.year(),
                u8::from(date.month()),
                date.day()
            )
        }
        Err(_) => format!("{timestamp} s after 1970"),
    }
}

fn key_and_signature(look: &Look<'_>, found: &mut Found) {
    let key = look.key.to_string();
    match &look.key {
        KeyKind::RsaPss(_) => add(found, "rsa-pss-key", key.clone()),
        KeyKind::Ec("P-521") => add(found, "curve-p521", key.clone()),
        KeyKind::EcOther(_) => add(found, "curve-other", key.clone()),
        KeyKind::Ed25519 => add(found, "ed25519", key.clone()),
        KeyKind::Other(_) => add(found, "key-other", key.clone()),
        KeyKind::Rsa(_) | KeyKind::Ec(_) => {}
    }
    match look.key.rsa_bits() {
        Some(0..1024) => add(found, "rsa-below-1024", key),
        Some(1024..2048) => add(found, "rsa-below-2048", key),
        Some(4097..) => add(found, "rsa-above-4096", key),
        Some(_) => add(found, "rsa", key),
        None => {}
    }
    // Nobody checks a root's signature over itself.
    if look.position != Position::Root {
        match look.signature.hash {
            "SHA-1" => add(found, "sha1-signature", look.signature.to_string()),
            "MD5" | "MD2" => add(found, "md5-signature", look.signature.to_string()),
            _ => {}
        }
    }
    let outer = &look.x509.signature_algorithm;
    let parameters = outer.parameters.is_some() && look.position != Position::Root;
    if look.signature.algorithm == "ECDSA" && parameters {
        add(found, "ecdsa-parameters", look.signature.to_string());
    }
    if *outer != look.x509.tbs_certificate.signature {
        add(
            found,
            "algorithms-disagree",
            format!(
                "{} inside, {} outside",
                super::SignatureKind::of(&look.x509.tbs_certificate.signature),
                look.signature
            ),
        );
    }
}

/// Critical extensions that some do not know.
fn extensions(look: &Look<'_>, found: &mut Found) {
    let mut seen = Vec::new();
    for extension in look.x509.extensions() {
        let oid = extension.oid.to_id_string();
        if seen.contains(&oid) {
            add(found, "extension-twice", oid.clone());
        }
        if extension.critical {
            match oid.as_str() {
                BASIC_CONSTRAINTS | KEY_USAGE | SUBJECT_ALT_NAME | EXTENDED_KEY_USAGE => {}
                NAME_CONSTRAINTS => add(found, "name-constraints", "critical"),
                // Policies, policy mappings, policy constraints, inhibit anyPolicy.
                "2.5.29.32" | "2.5.29.33" | "2.5.29.36" | "2.5.29.54" => {
                    // Nobody here looks at those of a trust anchor.
                    if look.position != Position::Root {
                        add(found, "critical-policy", oid.clone());
                    }
                }
                _ if look.position == Position::Root => {
                    add(found, "critical-extension-root", oid.clone());
                }
                _ => add(found, "critical-extension", oid.clone()),
            }
        }
        seen.push(oid);
    }
}

fn end_entity(look: &Look<'_>, context: &Context<'_>, found: &mut Found) {
    if look.facts.is_ca {
        add(found, "ca-as-end-entity", "CA:TRUE");
    }
    if look.is_self_issued() {
        let id = match look.signed_by(look) {
            Some(false) => "same-name-as-issuer",
            _ => "self-signed",
        };
        add(
            found,
            id,
            format!("subject and issuer are {}", look.subject()),
        );
    }
    let usages = &look.facts.extended_key_usages;
    let (needed, id) = match look.purpose {
        Purpose::Servers => ("serverAuth", "no-server-auth"),
        Purpose::Devices => ("clientAuth", "no-client-auth"),
    };
    let has = |usage: &str| usages.iter().any(|u| u == usage);
    if look.extension(EXTENDED_KEY_USAGE).is_some() && !has(needed) {
        let id = if has("anyExtendedKeyUsage") {
            "any-eku"
        } else {
            id
        };
        add(found, id, format!("it is for {}", usages.join(", ")));
    }
    let may = &look.facts.key_usages;
    if look.extension(KEY_USAGE).is_some() && !may.contains(&"digitalSignature") {
        let usage = match may.is_empty() {
            true => "empty".to_owned(),
            false => may.join(", "),
        };
        add(
            found,
            "no-digital-signature",
            format!("key usage is {usage}"),
        );
    }
    if look.purpose == Purpose::Servers {
        names(look, context.name, found);
    }
}

/// Names of a server, and the one under which it was reached.
fn names(look: &Look<'_>, reached: Option<&ServerName>, found: &mut Found) {
    let common = look.x509.subject().iter_common_name().next();
    let common = common.and_then(|cn| cn.as_str().ok());
    let names: &[GeneralName<'_>] = match look.extension(SUBJECT_ALT_NAME) {
        Some((ParsedExtension::SubjectAlternativeName(san), _)) => &san.general_names,
        _ => &[],
    };
    let dns: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(dns) => Some(*dns),
            _ => None,
        })
        .collect();
    let ips: Vec<&[u8]> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::IPAddress(bytes) => Some(*bytes),
            _ => None,
        })
        .collect();
    if dns.is_empty() && ips.is_empty() {
        match common {
            Some(cn) => add(found, "cn-only", format!("its only name is CN={cn}")),
            None => add(found, "no-name", "neither alternative names nor a CN"),
        }
    }
    for name in &dns {
        if name.parse::<IpAddr>().is_ok() {
            add(found, "ip-in-dns-san", format!("DNS:{name}"));
        } else if !is_usual(name) {
            add(
                found,
                "odd-dns-name",
                format!("DNS:{}", name.escape_default()),
            );
        }
    }
    let Some(reached) = reached else { return };
    let fits = match reached {
        ServerName::Dns(host) => dns.iter().any(|name| matches(name, host)),
        ServerName::Ip(ip) => ips.iter().any(|bytes| match ip {
            IpAddr::V4(v4) => v4.octets() == **bytes,
            IpAddr::V6(v6) => v6.octets() == **bytes,
        }),
    };
    let text = super::name_text(reached);
    // The rules above have said it for these.
    let by_common_name =
        dns.is_empty() && ips.is_empty() && common.is_some_and(|cn| cn.eq_ignore_ascii_case(&text));
    let by_text = matches!(reached, ServerName::Ip(ip) if dns.contains(&ip.to_string().as_str()));
    if !fits && !by_common_name && !by_text {
        let own = match &look.facts.names[..] {
            [] => common.map_or("nothing".to_owned(), |cn| format!("CN={cn}")),
            names => names.join(", "),
        };
        add(
            found,
            "name-mismatch",
            format!("reached as {text}, and it is for {own}"),
        );
    }
}

/// Letters, digits, hyphens, underscores and dots, with a wildcard as the whole first label at most (RFC 6125 §6.4.3).
fn is_usual(name: &str) -> bool {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    !rest.is_empty()
        && rest.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

/// A wildcard stands for one label (RFC 6125 §6.4.3).
fn matches(name: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match name.strip_prefix("*.") {
        Some(parent) => host
            .split_once('.')
            .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(host),
    }
}

fn authority(look: &Look<'_>, found: &mut Found) {
    let v3 = look.x509.version() == X509Version::V3;
    if !look.facts.is_ca {
        let facts = match look.extension(BASIC_CONSTRAINTS) {
            Some(_) => "CA:FALSE",
            None => "no basic constraints",
        };
        match look.position {
            Position::Root if v3 => add(found, "root-not-a-ca", facts),
            Position::Root => {}
            Position::Intermediate | Position::EndEntity => add(found, "not-a-ca", facts),
        }
    }
    let may = &look.facts.key_usages;
    if look.extension(KEY_USAGE).is_some() && !may.contains(&"keyCertSign") {
        add(
            found,
            "no-key-cert-sign",
            format!("key usage is {}", may.join(", ")),
        );
    }
    let usages = &look.facts.extended_key_usages;
    let needed = match look.purpose {
        Purpose::Servers => "serverAuth",
        Purpose::Devices => "clientAuth",
    };
    let fits = |usage: &String| usage == needed || usage == "anyExtendedKeyUsage";
    if look.position == Position::Intermediate
        && look.extension(EXTENDED_KEY_USAGE).is_some()
        && !usages.iter().any(fits)
    {
        add(found, "ca-eku", format!("it is for {}", usages.join(", ")));
    }
}
