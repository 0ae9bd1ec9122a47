//! `sectag cert`: what certificate files and servers say, who will refuse it, and how it gets onto a device; and the
//! certificates of this home: issued, renewed, revoked.

mod at_script;
mod chain;
mod device;
mod due;
mod file;
mod header;
mod issue;
mod lint;
mod list;
mod prove;
mod reissue;
mod renew;
mod revoke;
mod validity;

pub(crate) use file::{bytes_of, certificates_of};
pub(crate) use issue::{Order, Paths, default_names, issue_pair};
pub(crate) use prove::promote_waiting;

use crate::args::{Cert, DeviceCert, Global, ShowCert, Subject};
use crate::ca::moment;
use crate::fault::Outcome;
use crate::home::Place;
use crate::output;
use sectag_pki::{CertificateFacts, ServerName};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// `sectag cert`
pub(crate) async fn cert(global: &Global, place: &Place, verb: Cert) -> Outcome {
    let as_json = global.json;
    match verb {
        Cert::Show(arguments) => match &arguments.file {
            Some(file) => show(&due::named(place, file), as_json),
            None => device::show(global, place, &arguments),
        },
        Cert::Issue { verb } => issue::issue(global, place, &verb),
        Cert::List(arguments) => list::list(place, &arguments, as_json),
        Cert::Renew(arguments) if arguments.name.is_none() && !arguments.all => {
            device::renew(global, place, arguments.ca.as_deref(), arguments.dry_run)
        }
        Cert::Renew(arguments) => renew::renew(global, place, &arguments),
        Cert::Revoke(arguments) => revoke::revoke(place, &arguments, as_json),
        Cert::Crl(arguments) => list::crl(place, &arguments),
        Cert::NeedsRenewal(subject) => due::needs_renewal(global, place, &subject),
        Cert::Check(subject) => due::check(global, place, &subject),
        Cert::Reissue(arguments) => reissue::reissue(global, place, &arguments),
        Cert::Create(arguments) => device::create(global, place, &arguments),
        Cert::CreateCsr(arguments) => device::create_csr(global, place, &arguments),
        Cert::Remove => device::remove(global, place),
        Cert::Lint(arguments) => lint::lint(&arguments, as_json),
        Cert::Chain(arguments) => chain::chain(place, &arguments, as_json).await,
        Cert::Header(arguments) => header::header(&arguments, as_json),
        Cert::AtScript(arguments) => at_script::at_script(&arguments, as_json),
    }
}

/// The verbs of `tedge cert`.
pub(crate) fn by_the_name_tedge(global: &Global, verb: DeviceCert) -> ExitCode {
    let answer = || {
        let place = &Place::new(global.home.clone())?;
        match verb {
            DeviceCert::Create(arguments) => device::create(global, place, &arguments),
            DeviceCert::CreateCsr(arguments) => device::create_csr(global, place, &arguments),
            DeviceCert::Show { cert_path, new } => {
                let arguments = ShowCert {
                    file: None,
                    cert_path,
                    new,
                };
                device::show(global, place, &arguments)
            }
            DeviceCert::NeedsRenewal { cert_path } => {
                let subject = Subject {
                    cert_path,
                    ..Subject::default()
                };
                due::needs_renewal(global, place, &subject)
            }
            DeviceCert::Renew { ca } => device::renew(global, place, ca.as_deref(), false),
            DeviceCert::Remove => device::remove(global, place),
        }
    };
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            fault.print();
            fault.exit()
        }
    }
}

fn show(file: &Path, as_json: bool) -> Outcome {
    let all = facts_of(file)?;
    if as_json {
        output::json(&json!({ "items": all.iter().map(value_of).collect::<Vec<_>>() }));
        return Ok(());
    }
    for (number, facts) in all.iter().enumerate() {
        if number > 0 {
            output::print("\n");
        }
        let authority = match (facts.is_ca, facts.path_length) {
            (false, _) => "no".to_owned(),
            (true, None) => "yes".to_owned(),
            (true, Some(below)) => format!("yes, {below} below it at most"),
        };
        let lines = [
            ("subject", facts.subject.clone()),
            ("issuer", facts.issuer.clone()),
            ("serial", facts.serial_hex.clone()),
            ("valid", validity(facts)),
            ("version", facts.version.to_string()),
            ("authority", authority),
            ("names", or_dash(facts.names.join(", "))),
            ("key usage", or_dash(facts.key_usages.join(", "))),
            ("for", or_dash(facts.extended_key_usages.join(", "))),
            ("sha-256", facts.fingerprint_sha256.clone()),
            ("key sha-256", facts.spki_sha256.clone()),
        ];
        for (name, text) in lines {
            output::print(&format!("{name:12} {text}\n"));
        }
    }
    Ok(())
}

pub(crate) fn value_of(facts: &CertificateFacts) -> Value {
    json!({
        "version": facts.version,
        "subject": facts.subject,
        "issuer": facts.issuer,
        "serial": facts.serial_hex,
        "notBefore": moment(facts.not_before_s),
        "notAfter": moment(facts.not_after_s),
        "isCa": facts.is_ca,
        "pathLength": facts.path_length,
        "names": facts.names,
        "keyUsages": facts.key_usages,
        "extendedKeyUsages": facts.extended_key_usages,
        "sha256": facts.fingerprint_sha256,
        "keySha256": facts.spki_sha256,
    })
}

/// The facts of every certificate in a file.
pub(crate) fn facts_of(path: &Path) -> Outcome<Vec<CertificateFacts>> {
    file::certificates_of(path, &bytes_of(path)?)?
        .iter()
        .map(|der| sectag_pki::show(der).map_err(|error| file::unreadable(path, &error)))
        .collect()
}

/// The facts of the first certificate in a file.
pub(crate) fn first_of(path: &Path) -> Outcome<CertificateFacts> {
    let mut all = facts_of(path)?;
    Ok(all.swap_remove(0)) // a file without a certificate is an error
}

/// The names of the server that the first certificate in a file is for.
pub(crate) fn names_of(path: &Path) -> Outcome<Vec<ServerName>> {
    Ok(names_in(&first_of(path)?))
}

/// The names of a server in its certificate.
fn names_in(facts: &CertificateFacts) -> Vec<ServerName> {
    let names = facts.names.iter().filter_map(|name| {
        let text = name
            .strip_prefix("DNS:")
            .or_else(|| name.strip_prefix("IP:"))?;
        text.parse().ok()
    });
    names.collect()
}

/// Writes a public file, or stdout for `-`.
pub(crate) fn write(path: &Path, content: &[u8]) -> Outcome {
    file::write(path, content, false).map(drop)
}

fn validity(facts: &CertificateFacts) -> String {
    format!(
        "{} to {}",
        moment(facts.not_before_s),
        moment(facts.not_after_s)
    )
}

fn or_dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

/// The wall clock, Unix seconds.
pub(crate) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs())
}
