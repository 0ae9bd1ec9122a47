//! `sectag creds`: credentials under security tags, over AT serial, a shell, a virtual modem, or in files.
//!
//! The work is blocking and runs on a thread of its own; Ctrl-C lets the line that is under way end, puts the modem's
//! functional mode back and gives up.

mod apply;
mod content;
mod session;
mod show;

use crate::args::{Creds, CredsVerb, Keygen, Slot};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::modem_choice::store_fault;
use crate::output;
use sectag_modem::credentials::{self, Comparison, KeyRequest, StoreError, type_name};
use sectag_proto::token::KeygenBody;
use sectag_proto::{CredentialType, SecTag};
use serde_json::json;
use std::io::Write as _;

pub(crate) use session::{Session, with_session};

/// `sectag creds`
pub(crate) async fn creds(place: &Place, args: Creds, as_json: bool) -> Outcome {
    let Creds { modem, verb } = args;
    with_session(place, modem, move |session| run(session, verb, as_json)).await
}

fn run(session: &mut Session, verb: CredsVerb, as_json: bool) -> Outcome {
    match verb {
        CredsVerb::List { tag, kind } => {
            let entries = session.store(|store| store.list(tag, kind))?;
            show::list(&entries, tag, kind, as_json);
            Ok(())
        }
        CredsVerb::Exists { slot } => {
            let there = session.slot(&slot, |store| store.exists(slot.tag, slot.kind))?;
            show::answer(as_json, "exists", there, if there { "yes" } else { "no" });
            if there {
                return Ok(());
            }
            Err(Fault::no(format!("{} is empty", slot_name(&slot))))
        }
        CredsVerb::Cmp { slot, file, digest } => compare(session, &slot, &file, digest, as_json),
        CredsVerb::Write {
            slot,
            file,
            always,
            keys,
        } => {
            let content = content::read(&file, slot.kind, keys)?;
            let dry = session.is_dry();
            let written = session.slot(&slot, |store| {
                if always {
                    store.write(slot.tag, slot.kind, &content)?;
                    return Ok(None);
                }
                store
                    .write_if_different(slot.tag, slot.kind, &content)
                    .map(Some)
            })?;
            show::written(&slot, written, dry, as_json);
            Ok(())
        }
        CredsVerb::Read { slot } => {
            let content = session.slot(&slot, |store| store.read(slot.tag, slot.kind))?;
            if as_json {
                output::json(&json!({
                    "tag": slot.tag, "type": slot.kind, "typeName": type_name(slot.kind), "content": content,
                }));
            } else {
                let end = if content.ends_with('\n') { "" } else { "\n" };
                output::print(&format!("{content}{end}"));
            }
            Ok(())
        }
        CredsVerb::Delete { slot } => {
            session.slot(&slot, |store| store.delete(slot.tag, slot.kind))?;
            let dry = session.is_dry();
            let text = format!("{}: {}deleted", slot_name(&slot), would_be(dry));
            show::done(as_json, slot_json(&slot), dry, &text);
            Ok(())
        }
        CredsVerb::Clear { tag } => {
            let count = session.store(|store| store.clear(tag))?;
            let dry = session.is_dry();
            let text = match count {
                0 => format!("sec tag {tag}: nothing was there"),
                1 => format!("sec tag {tag}: 1 credential {}deleted", would_be(dry)),
                n => format!("sec tag {tag}: {n} credentials {}deleted", would_be(dry)),
            };
            show::done(as_json, json!({ "tag": tag, "deleted": count }), dry, &text);
            Ok(())
        }
        CredsVerb::Keygen(args) => keygen(session, &args, as_json),
        CredsVerb::Attest { challenge } => {
            let token = session.modem("an attestation token", |modem| {
                credentials::attest(modem, challenge.as_deref())
            })?;
            show::one(as_json, "token", &token);
            Ok(())
        }
        CredsVerb::Imei => {
            let imei = session.modem("an IMEI", |modem| credentials::imei(modem))?;
            show::one(as_json, "imei", &imei);
            Ok(())
        }
        CredsVerb::Apply(args) => apply::apply(session, &args, as_json),
    }
}

fn compare(
    session: &mut Session,
    slot: &Slot,
    file: &std::path::Path,
    digest: bool,
    as_json: bool,
) -> Outcome {
    let content = content::to_compare(file)?;
    let result = session.slot(slot, |store| {
        if digest {
            store.cmp_digest(slot.tag, slot.kind, &content)
        } else {
            store.cmp(slot.tag, slot.kind, &content)
        }
    });
    let comparison = match result {
        Err(fault) if !digest && secret(slot.kind) => {
            return Err(fault.hint("--digest compares by digest"));
        }
        other => other?,
    };
    let same = comparison == Comparison::Match;
    show::answer(
        as_json,
        "match",
        same,
        if same { "match" } else { "mismatch" },
    );
    if same {
        return Ok(());
    }
    Err(Fault::no(format!(
        "{} is not what is in `{}`",
        slot_name(slot),
        file.display()
    )))
}

fn keygen(session: &mut Session, args: &Keygen, as_json: bool) -> Outcome {
    let request = KeyRequest {
        tag: args.tag,
        kind: args.kind,
        body: if args.public_key {
            KeygenBody::PublicKey
        } else {
            KeygenBody::Csr
        },
        attributes: args.attributes.as_deref(),
        key_usage: args.key_usage.as_deref(),
    };
    if session.is_dry() {
        // What would come out cannot be known.
        eprintln!(
            "dry run: a {} would be made under sec tag {}",
            args.kind, args.tag
        );
        return Ok(());
    }
    let slot = Slot {
        tag: args.tag,
        kind: args.kind,
    };
    let made = session
        .slot(&slot, |store| store.keygen(&request))
        .map_err(|fault| match args.attributes {
            Some(_) if fault.text().contains("ERROR: 50") => fault.hint(
                "attributes are K=V,K=V with CN, serialNumber, C (two letters), L, ST, O, OU; a value has 64 characters at most",
            ),
            _ => fault,
        })?;
    let bytes = if args.der {
        made.der.clone()
    } else {
        made.pem().into_bytes()
    };
    if let Some(file) = &args.out
        && let Err(error) = sectag_keep::write_public(file, &bytes)
    {
        // The key is made: what belongs to it must not be lost.
        output::print(&made.pem());
        let hint = error.hint();
        let fault = Fault::from(error);
        return Err(fault.hint(hint.unwrap_or_else(|| {
            format!(
                "the key is under sec tag {}, and what should have gone into the file is printed as PEM",
                args.tag
            )
        })));
    }
    if as_json {
        output::json(&json!({
            "tag": args.tag,
            "type": args.kind,
            "typeName": type_name(args.kind),
            "what": if args.public_key { "publicKey" } else { "csr" },
            "pem": made.pem(),
            "raw": made.raw,
            "file": args.out.as_deref(),
        }));
    } else if args.out.is_none() {
        let mut stdout = std::io::stdout();
        // A closed pipe is no error.
        let _ = stdout.write_all(&bytes).and_then(|()| stdout.flush());
    }
    if let Some(file) = &args.out {
        eprintln!(
            "a new {} is under sec tag {}; `{}` holds its {}",
            args.kind,
            args.tag,
            file.display(),
            if args.public_key {
                "public half"
            } else {
                "CSR"
            }
        );
    }
    Ok(())
}

const fn would_be(dry: bool) -> &'static str {
    if dry { "would be " } else { "" }
}

fn secret(kind: CredentialType) -> bool {
    kind == CredentialType::CLIENT_PRIVATE_KEY || kind == CredentialType::PSK
}

fn slot_name(slot: &Slot) -> String {
    name_of(slot.tag, slot.kind)
}

/// `sec tag 24, ROOT_CA_CERT (0)`
pub(crate) fn name_of(tag: SecTag, kind: CredentialType) -> String {
    format!("sec tag {tag}, {} ({})", type_name(kind), kind.0)
}

fn slot_json(slot: &Slot) -> serde_json::Value {
    json!({ "tag": slot.tag, "type": slot.kind, "typeName": type_name(slot.kind) })
}

/// What a store said, as a fault with the store's hint.
fn stored<T>(result: Result<T, StoreError>) -> Outcome<T> {
    result.map_err(store_fault)
}
