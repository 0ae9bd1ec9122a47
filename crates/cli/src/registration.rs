//! Certificates that another CA signed, and certificates taken back: `sectag devices register`, `sectag devices revoke`.

use crate::args::{Register, RevokeDevice};
use crate::client::{Owner, percent};
use crate::fault::{Fault, Outcome};
use crate::output::{self, text_of};
use sectag_server::owner_api::csv_rows;
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

/// Bytes of an onboarding CSV: some thirty thousand certificates.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Rows and bytes of one upload, below what the service takes.
const BATCH_ROWS_MAX: usize = 1000;
const BATCH_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Between two questions how an upload stands.
const ASK_INTERVAL: Duration = Duration::from_millis(200);

/// `sectag devices register`
pub(crate) async fn register(owner: &Owner, args: Register, as_json: bool) -> Outcome {
    let rows = match (&args.from, &args.device, &args.certificate) {
        (Some(file), ..) => rows_of(file)?,
        (None, Some(device), Some(file)) => {
            let pem = text_of_file(file)?;
            vec![vec![
                device.clone(),
                args.sub_type.clone(),
                args.tags.join("|"),
                args.firmware_types.join("|"),
                pem,
            ]]
        }
        _ => {
            return Err(Fault::untried(
                "give a device and its certificate, or --from FILE",
            ));
        }
    };
    if rows.is_empty() {
        return Err(Fault::no("there is no row in the CSV"));
    }
    let total = rows.len();
    let (mut done, mut failed) = (0, Vec::new());
    for batch in batches(&rows) {
        let errors = upload(owner, batch).await?;
        for (row, reason) in errors {
            let at = done + row;
            let id = rows.get(at).and_then(|row| row.first()).cloned();
            failed.push((at + 1, id.unwrap_or_default(), reason));
        }
        done += batch.len();
        if total > batch.len() {
            eprintln!("{done} of {total} rows, {} refused", failed.len());
        }
    }
    if as_json {
        let failed: Vec<Value> = failed
            .iter()
            .map(|(row, id, reason)| json!({ "row": row, "id": id, "message": reason }))
            .collect();
        output::json(&json!({ "registered": total - failed.len(), "failed": failed }));
    } else if args.from.is_some() {
        for (row, id, reason) in &failed {
            output::print(&format!("row {row} ({id}): {reason}\n"));
        }
    }
    match &*failed {
        [] => {
            eprintln!("registered: the broker takes these certificates, {total} of them");
            Ok(())
        }
        [(_, id, reason)] if args.from.is_none() => Err(Fault::no(format!(
            "the certificate is not registered for `{id}`: {reason}"
        ))),
        _ => Err(Fault::no(format!(
            "{} of {total} rows were refused; the others are registered",
            failed.len()
        ))
        .hint("correct these rows and register them again; what is registered stays so")),
    }
}

/// `sectag devices revoke`
pub(crate) async fn revoke(owner: &Owner, args: RevokeDevice, as_json: bool) -> Outcome {
    let device = segment(&args.device)?;
    let mut revoked = Vec::new();
    if let Some(serial) = &args.serial {
        let serial = serial.replace(':', "").to_ascii_lowercase();
        revoke_one(owner, &device, &serial).await?;
        revoked.push(serial);
    } else {
        let registered = owner
            .call("GET", &format!("/v1/devices/{device}"), None)
            .await?;
        let path = format!("/v1/claimed-devices/{device}/certificates");
        let issued = owner.call("GET", &path, None).await?;
        if registered.status == 404 && issued.status == 404 {
            return Err(Fault::no(format!(
                "no device `{}` is claimed or registered",
                args.device
            ))
            .hint("`sectag devices` lists those that this key may see"));
        }
        if issued.status == 200 {
            for certificate in issued.body["items"].as_array().into_iter().flatten() {
                let serial = text_of(certificate, "serial");
                if certificate["revokedAt"].is_string() {
                    continue;
                }
                // Those of an earlier claim were taken back with it.
                let path = format!("/v1/claimed-devices/{device}/certificates/{serial}/revoke");
                let answer = owner.call("POST", &path, None).await?;
                match answer.status {
                    200..=299 => revoked.push(serial),
                    404 => {}
                    status => return Err(owner.refusal(status, &answer.body)),
                }
            }
        }
        if registered.status == 200 {
            let certificates = registered.body["certificates"].as_array();
            revoked.extend(
                certificates
                    .into_iter()
                    .flatten()
                    .map(|c| text_of(c, "serial")),
            );
            owner.delete(&format!("/v1/devices/{device}")).await?;
        }
    }
    if as_json {
        output::json(&json!({ "id": args.device, "revoked": revoked }));
    } else {
        for serial in &revoked {
            output::print(&format!("{serial}\n"));
        }
    }
    eprintln!(
        "{} revoked for good; the broker ends their sessions at once, other brokers read `ca/devices.crl` of the home",
        match revoked.len() {
            1 => "one certificate is".to_owned(),
            count => format!("{count} certificates are"),
        }
    );
    Ok(())
}

async fn revoke_one(owner: &Owner, device: &str, serial: &str) -> Outcome {
    if serial.is_empty() || !serial.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Fault::no(format!("`{serial}` is not a serial number"))
            .hint("hexadecimal digits, as `sectag cert show FILE` prints them"));
    }
    let path = format!("/v1/claimed-devices/{device}/certificates/{serial}/revoke");
    owner.post(&path, &json!({})).await.map(drop)
}

/// Registers one batch and waits for it; the rows that failed, from 0.
async fn upload(owner: &Owner, rows: &[Vec<String>]) -> Outcome<Vec<(usize, String)>> {
    let csv: String = rows.iter().map(|row| line(row)).collect();
    let taken = owner.post_csv("/v1/devices", csv).await?;
    if taken.status != 202 {
        return Err(owner.refusal(taken.status, &taken.body));
    }
    let id = text_of(&taken.body, "bulkOpsRequestId");
    let path = format!("/v1/bulk-ops-requests/{id}");
    let upload = loop {
        let found = owner.get(&path).await?;
        match found["status"].as_str() {
            Some("PENDING" | "IN_PROGRESS") => tokio::time::sleep(ASK_INTERVAL).await,
            _ => break found,
        }
    };
    let Some(url) = upload["errorSummaryUrl"].as_str() else {
        return match upload["status"].as_str() {
            Some("SUCCEEDED") => Ok(Vec::new()),
            _ => Err(Fault::no(format!(
                "the service did not register all rows: {upload}"
            ))),
        };
    };
    // The path under this connection: the name in the URL is the one that was asked for.
    let path = url.find("/v1/").map_or(url, |at| &url[at..]);
    let found = owner.get(path).await?;
    let errors = found["errors"].as_array();
    let errors = errors.into_iter().flatten().filter_map(Value::as_str);
    Ok(errors
        .map(|error| {
            let split = error
                .strip_prefix('[')
                .and_then(|rest| rest.split_once("]: "));
            match split.and_then(|(row, reason)| Some((row.parse().ok()?, reason))) {
                Some((row, reason)) => (row, reason.to_owned()),
                None => (0, error.to_owned()),
            }
        })
        .collect())
}

/// Pieces that one upload takes.
fn batches(rows: &[Vec<String>]) -> Vec<&[Vec<String>]> {
    let mut batches = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, row) in rows.iter().enumerate() {
        let size = line(row).len();
        if at > from && (at - from == BATCH_ROWS_MAX || bytes + size > BATCH_BYTES_MAX) {
            batches.push(&rows[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += size;
    }
    batches.push(&rows[from..]);
    batches
}

/// A row with every field in quotes.
fn line(row: &[String]) -> String {
    let quoted: Vec<String> = row
        .iter()
        .map(|field| format!("\"{}\"", field.replace('"', "\"\"")))
        .collect();
    quoted.join(",") + "\n"
}

fn rows_of(file: &Path) -> Outcome<Vec<Vec<String>>> {
    let text = text_of_file(file)?;
    csv_rows(&text).map_err(|line| {
        Fault::no(format!(
            "`{}`: quotes do not match in line {line}",
            file.display()
        ))
        .hint("the certificate is the fifth column, in double quotes over several lines")
    })
}

fn text_of_file(file: &Path) -> Outcome<String> {
    let mut text = String::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin()
            .take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text),
        false => std::fs::File::open(file)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)),
    };
    read.map_err(|error| Fault::untried(format!("cannot read `{}`: {error}", file.display())))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(Fault::no(format!(
            "`{}` has more than {} MiB",
            file.display(),
            FILE_BYTES_MAX / 1024 / 1024
        ))
        .hint("split it, and register the pieces one after the other"));
    }
    Ok(text)
}

/// An id as a path segment; that of a registered device may hold any character but these.
fn segment(id: &str) -> Outcome<String> {
    if id.is_empty() || id.contains('/') || id.chars().any(char::is_control) {
        return Err(
            Fault::no(format!("`{id}` is not an id")).hint("`sectag devices` lists device ids")
        );
    }
    Ok(percent(id))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rows_travel_as_they_are() {
        let row = ["a", "b \"c\"", "", "-----BEGIN\nx\n"].map(str::to_owned);
        assert_eq!(csv_rows(&line(&row)).unwrap(), [row.to_vec()]);
    }

    #[test]
    fn a_long_list_goes_in_pieces() {
        let small = vec![vec!["x".to_owned()]; 2500];
        let sizes = |rows: &[Vec<String>]| -> Vec<usize> {
            batches(rows).iter().map(|batch| batch.len()).collect()
        };
        assert_eq!(sizes(&small), [1000, 1000, 500]);
        let large = vec![vec!["x".repeat(BATCH_BYTES_MAX / 2)]; 3];
        assert_eq!(sizes(&large), [1, 1, 1]);
        assert_eq!(sizes(&small[..1]), [1]);
    }
}
