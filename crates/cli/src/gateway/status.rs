//! `gateway status`

use super::{Desk, PROBE_PATIENCE, say};
use crate::ca::moment;
use crate::fault::{Fault, Outcome};
use crate::output;
use sectag_host::broker::Broker;
use sectag_host::status::{Status, status as look};
use sectag_host::survey::Survey;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// `sectag gateway status`
pub(super) async fn status(desk: &Desk<'_>) -> Outcome {
    let survey = desk.survey()?;
    let status = look(&survey, &desk.config_file()?, PROBE_PATIENCE).await?;
    let wrong = wrong(&survey, &status);
    if desk.global.json {
        output::json(&value(&survey, &status, &wrong));
    } else {
        output::print(&text(&survey, &status));
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Fault::no(wrong.join("\n"))
            .hint("`sectag gateway plan` shows what `sectag gateway apply` would do"))
    }
}

/// What is not as the keys say.
fn wrong(survey: &Survey, status: &Status) -> Vec<String> {
    let mut wrong = Vec::new();
    if status.interrupted {
        wrong.push(
            "an apply was interrupted; the next one puts its files back, or finishes it".to_owned(),
        );
    }
    match &survey.plan {
        Ok(plan) if !plan.is_empty() => {
            let files = say::count(plan.files.len(), "file");
            wrong.push(match status.applied_s {
                Some(_) => format!("the keys changed since the last apply: {files} to write"),
                None => format!("the keys are not applied yet: {files} to write"),
            });
        }
        Ok(_) => {}
        Err(findings) => {
            wrong.push(format!(
                "nothing can be applied: {} must be mended first",
                say::count(say::errors(findings), "finding")
            ));
        }
    }
    wrong.extend(status.mismatch.clone());
    if let Some(Err(reason)) = &status.served {
        wrong.push(format!("the external listener does not serve: {reason}"));
    }
    if let Some(different) = different(survey, status) {
        wrong.push(different);
    }
    if status.connected.holds == Some(false) {
        wrong.push(format!(
            "our client at {}: {}",
            status.connected.at, status.connected.got
        ));
    }
    for older in &status.older {
        wrong.push(format!(
            "{} ({}) runs since {}, {} changed at {}: {}",
            older.who,
            older.pid,
            moment(older.started_s),
            older.file.display(),
            moment(older.changed_s),
            older.cure
        ));
    }
    wrong
}

/// The served certificate is not the file's.
fn different(survey: &Survey, status: &Status) -> Option<String> {
    let Some(Ok(served)) = &status.served else {
        return None;
    };
    let path = survey.settings.external.as_ref()?.cert_file.as_ref()?;
    let in_file = survey.facts.chain(Some(path)).first()?;
    let leaf = served.chain.first()?;
    (*leaf != in_file.der).then(|| {
        let serial =
            sectag_pki::show(leaf).map_or_else(|_| "unknown".to_owned(), |facts| facts.serial_hex);
        format!(
            "the broker serves serial {serial}, {} has {}: reload",
            path.display(),
            in_file.facts.serial_hex
        )
    })
}

fn text(survey: &Survey, status: &Status) -> String {
    let broker: &Broker = &survey.broker;
    let mut text = format!("{}\n", say::levels(survey));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<10}{value}"); // writing to a String cannot fail
    };
    line(
        "broker",
        match &status.broker {
            Some(process) => format!(
                "mosquitto {}, process {} since {}",
                broker.version,
                process.pid,
                moment(process.started_s)
            ),
            None => format!("mosquitto {}, not seen running", broker.version),
        },
    );
    line(
        "applied",
        status.applied_s.map_or_else(|| "never".to_owned(), moment),
    );
    match &status.served {
        Some(Ok(served)) => {
            let serial = served
                .chain
                .first()
                .and_then(|leaf| sectag_pki::show(leaf).ok());
            let serial = serial.map_or_else(String::new, |facts| {
                format!(", serial {}", facts.serial_hex)
            });
            line(
                "listener",
                format!("{} {}{serial}", served.version, served.cipher_suite),
            );
        }
        Some(Err(reason)) => line("listener", reason.clone()),
        None => {}
    }
    line(
        "client",
        format!("{}: {}", status.connected.at, status.connected.got),
    );
    for certificate in &status.certificates {
        line(
            "until",
            format!(
                "{}  {}  {}",
                moment(certificate.not_after_s),
                certificate.key,
                certificate.subject
            ),
        );
    }
    text
}

fn value(survey: &Survey, status: &Status, wrong: &[String]) -> Value {
    let served = match &status.served {
        Some(Ok(served)) => json!({
            "version": served.version,
            "cipherSuite": served.cipher_suite,
            "serial": served.chain.first().and_then(|leaf| sectag_pki::show(leaf).ok()).map(|facts| facts.serial_hex),
        }),
        Some(Err(reason)) => json!({ "error": reason }),
        None => Value::Null,
    };
    json!({
        "level": say::level(status.listener),
        "clientLevel": status.client.to_string(),
        "mismatch": status.mismatch,
        "interrupted": status.interrupted,
        "appliedAt": status.applied_s.map(moment),
        "broker": {
            "version": survey.broker.version.to_string(),
            "main": survey.broker.main,
            "pid": status.broker.as_ref().map(|process| process.pid),
            "startedAt": status.broker.as_ref().map(|process| moment(process.started_s)),
        },
        "served": served,
        "client": { "at": status.connected.at, "got": status.connected.got, "holds": status.connected.holds },
        "older": status.older.iter().map(|older| json!({
            "process": older.who,
            "pid": older.pid,
            "startedAt": moment(older.started_s),
            "file": older.file,
            "changedAt": moment(older.changed_s),
            "cure": older.cure,
        })).collect::<Vec<_>>(),
        "certificates": status.certificates.iter().map(|certificate| json!({
            "key": certificate.key,
            "file": certificate.path,
            "subject": certificate.subject,
            "serial": certificate.serial,
            "notAfter": moment(certificate.not_after_s),
        })).collect::<Vec<_>>(),
        "wrong": wrong,
    })
}
