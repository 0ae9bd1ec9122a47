//! `sectag ca`: the home's authorities: what they say, making and importing them, and what others must trust.

mod folder;
mod import;
mod init;
mod names;
mod passphrase;
mod register;

pub(crate) use folder::{
    Folder, Kind, broken, certificates as certificates_in, kept, open_key, text_of,
};
pub(crate) use names::host_names;
pub(crate) use passphrase::Passphrase;
pub(crate) use register::{Entry, fingerprint};

use crate::args::{Ca, CaExport, CaInit};
use crate::cert::{facts_of, now_s, value_of};
use crate::fault::Outcome;
use crate::home::Place;
use crate::output;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

/// `sectag ca`
pub(crate) fn ca(place: &Place, verb: Option<Ca>, as_json: bool) -> Outcome {
    match verb.unwrap_or(Ca::Show) {
        Ca::Show => show(&Folder::existing(place)?, as_json),
        Ca::Init(arguments) => {
            let folder = init::init(place, &arguments, now_s())?;
            show(&folder, as_json)?;
            if !as_json {
                eprintln!("next: `sectag cert issue server`, `sectag cert issue client NAME`");
            }
            Ok(())
        }
        Ca::Import(arguments) => {
            let folder = import::import(place, &arguments, now_s())?;
            show(&folder, as_json)
        }
        Ca::Export(arguments) => export(&Folder::existing(place)?, &arguments),
    }
}

/// Makes the authorities that `ca init` without options makes; nothing when there are some.
pub(crate) fn ensure(place: &Place) -> Outcome<Folder> {
    let folder = Folder::of(place)?;
    let there = ["root", "servers", "devices"]
        .iter()
        .all(|stem| folder.certificate(stem).exists());
    if there {
        return Ok(folder);
    }
    init::init(place, &CaInit::default(), now_s())
}

/// What a broker trusts to know its clients: their authority, and the way to its root. PEM.
pub(crate) fn clients_bundle(folder: &Folder) -> Outcome<String> {
    bundle_of(folder, Kind::Client)
}

/// What clients trust to know the broker: the root of the servers' authority. PEM.
pub(crate) fn servers_bundle(folder: &Folder) -> Outcome<String> {
    Ok(folder::bundle(&folder.roots(Kind::Server)?))
}

fn bundle_of(folder: &Folder, kind: Kind) -> Outcome<String> {
    // OpenSSL wants the whole way up to a root, and follows no other; others take any of them.
    let mut all = folder.certificates(kind.stem())?;
    all.extend(folder.roots(kind)?);
    let mut seen: Vec<Vec<u8>> = Vec::new();
    all.retain(|certificate| {
        let new = !seen.iter().any(|der| der == certificate.der());
        seen.push(certificate.der().to_vec());
        new
    });
    Ok(folder::bundle(&all))
}

fn export(folder: &Folder, arguments: &CaExport) -> Outcome {
    let text = if arguments.clients {
        clients_bundle(folder)?
    } else if arguments.bundle {
        let mut all = folder.certificates("root")?;
        for kind in Kind::ALL {
            for certificate in folder.certificates(kind.stem())? {
                if !all.contains(&certificate) {
                    all.push(certificate);
                }
            }
        }
        folder::bundle(&all)
    } else {
        servers_bundle(folder)?
    };
    match &arguments.output {
        None => {
            output::print(&text);
            Ok(())
        }
        Some(path) => crate::cert::write(path, text.as_bytes()),
    }
}

fn show(folder: &Folder, as_json: bool) -> Outcome {
    let mut rows = Vec::new();
    let mut items = Vec::new();
    for name in ["root", "servers", "devices"] {
        let path = folder.certificate(name);
        let key = match std::fs::read_to_string(folder.key(name)).map(Zeroizing::new) {
            Ok(text) if text.contains("ENCRYPTED") => "encrypted",
            Ok(_) => "here",
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => "elsewhere",
            Err(_) => "unreadable",
        };
        for facts in facts_of(&path)? {
            rows.push(vec![
                name.to_owned(),
                facts.subject.clone(),
                day(facts.not_after_s),
                key.to_owned(),
                facts.fingerprint_sha256.clone(),
            ]);
            let mut item = value_of(&facts);
            item["name"] = json!(name);
            item["file"] = json!(path);
            item["key"] = json!(key);
            items.push(item);
        }
    }
    if as_json {
        output::json(&json!({ "items": items }));
    } else {
        output::table(&["CA", "SUBJECT", "UNTIL", "KEY", "SHA-256"], &rows);
        eprintln!(
            "\nfiles are in {}; devices and MQTT clients need only root.crt",
            folder.dir.display()
        );
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

pub(crate) fn day(seconds: u64) -> String {
    moment(seconds)
        .split('T')
        .next()
        .unwrap_or_default()
        .to_owned()
}
