//! `sectag ca`: what the home's authorities say.

use crate::args::Ca;
use crate::cert::{bytes_of, facts_of, value_of};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// `sectag ca`
pub(crate) fn ca(place: &Place, verb: Option<Ca>, as_json: bool) -> Outcome {
    let folder = place.home.join("ca");
    if !folder.join("root.crt").exists() {
        return Err(Fault::no(format!("no CA in `{}`", folder.display())).hint(
            "`sectag up` makes one when it first starts; another home is chosen with --home",
        ));
    }
    match verb.unwrap_or(Ca::Show) {
        Ca::Export => output::print(&String::from_utf8_lossy(&bytes_of(
            &folder.join("root.crt"),
        )?)),
        Ca::Show => {
            let mut rows = Vec::new();
            let mut items = Vec::new();
            for name in ["root", "servers", "devices"] {
                let path = folder.join(format!("{name}.crt"));
                for facts in facts_of(&path)? {
                    rows.push(vec![
                        name.to_owned(),
                        facts.subject.clone(),
                        day(facts.not_after_s),
                        facts.fingerprint_sha256.clone(),
                    ]);
                    let mut item = value_of(&facts);
                    item["name"] = json!(name);
                    item["file"] = json!(path);
                    items.push(item);
                }
            }
            if as_json {
                output::json(&json!({ "items": items }));
            } else {
                output::table(&["CA", "SUBJECT", "UNTIL", "SHA-256"], &rows);
                eprintln!(
                    "\nfiles are in {}; devices and MQTT clients need only root.crt",
                    folder.display()
                );
            }
        }
    }
    Ok(())
}

pub(crate) fn moment(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{seconds} s after 1970"))
}

fn day(seconds: u64) -> String {
    moment(seconds)
        .split('T')
        .next()
        .unwrap_or_default()
        .to_owned()
}
