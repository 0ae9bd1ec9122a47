//! `sectag audit`: the trail for reading, as an export, and judged.

mod export;

use crate::args::{Audit, Global, ListAudit, VerifyAudit};
use crate::client::{Owner, percent};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output::{self, text_of};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use sectag_pki::{PrivateKey, pem};
use sectag_proto::es256::PublicKey;
use sectag_store::audit::{AuditEntry, AuditHead, Checkpoint, Header, Line, verify};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

/// Rows of one page of the list.
const LIST_ROWS: usize = 100;

/// `sectag audit`
pub(crate) async fn audit(global: &Global, place: &Place, verb: Audit) -> Outcome {
    let owner = || Owner::new(place, global.url.as_deref(), global.key_file.clone());
    match verb {
        Audit::List(args) => list(&owner()?, args, global.json).await,
        Audit::Export { out } => export::export(&owner()?, out.as_deref()).await,
        Audit::Verify(args) => judge(place, &args, global.json),
        Audit::Key => {
            let key = home_key(&place.home)?.ok_or_else(|| {
                Fault::untried(format!("no `{}`", place.home.join("audit.key").display()))
                    .hint("`sectag up` makes it; say with --home where the service's home is")
            })?;
            output::print(&pem::encode("PUBLIC KEY", key.as_spki_der()));
            Ok(())
        }
    }
}

async fn list(owner: &Owner, args: ListAudit, as_json: bool) -> Outcome {
    let mut items: Vec<Value> = Vec::new();
    let mut before = String::new();
    while items.len() < args.limit {
        let rows = LIST_ROWS.min(args.limit - items.len());
        let mut path = format!("/v1/audit?pageLimit={rows}&pageNextToken={before}");
        if let Some(device) = &args.device {
            path.push_str(&format!("&device={}", percent(device)));
        }
        if args.all {
            path.push_str("&all=true");
        }
        let mut page = owner.get(&path).await?;
        if let Value::Array(rows) = page["items"].take() {
            items.extend(rows);
        }
        match page["pageNextToken"].as_str() {
            Some(next) => before = next.to_owned(),
            None => break,
        }
    }
    if as_json {
        output::json(&json!({ "items": items }));
        return Ok(());
    }
    if items.is_empty() {
        eprintln!("no such entries");
        return Ok(());
    }
    let row = |item: &Value| {
        ["number", "at", "by", "action", "deviceId", "detail"]
            .map(|name| text_of(item, name))
            .to_vec()
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    output::table(&["NUMBER", "AT", "BY", "ACTION", "DEVICE", "DETAIL"], &rows);
    Ok(())
}

/// What stands around the entries.
struct Frame {
    header: Header,
    checkpoints: Vec<Checkpoint>,
    end: Option<AuditHead>,
    /// Lines that belong to no export, with the reason.
    strange: Vec<String>,
}

fn judge(place: &Place, args: &VerifyAudit, as_json: bool) -> Outcome {
    let frame = frame(&args.file)?;
    let Frame {
        header,
        mut checkpoints,
        end,
        strange,
    } = frame;
    if header.after > 0 {
        return Err(Fault::untried(format!(
            "`{}` begins after entry {}; only a whole export can be verified",
            args.file.display(),
            header.after
        ))
        .hint("`sectag audit export --out FILE` writes a whole one"));
    }
    let of_home = match args.key {
        Some(_) => None,
        None => home_key(&place.home)?,
    };
    let (key, whose) = match (&args.key, of_home) {
        (Some(path), _) => (read_key(path)?, "--key"),
        (None, Some(key)) => (key, "the home"),
        (None, None) => (
            public_key(header.public_key.as_bytes())
                .ok_or_else(|| Fault::untried("the export holds no P-256 public key"))?,
            "the export itself",
        ),
    };
    if whose == "the home" {
        let kept = file_checkpoints(&place.home)?;
        // What was signed after this export was made says nothing about it.
        let of_then = kept.into_iter().filter(|c| c.at <= header.at);
        checkpoints.extend(of_then);
    }
    let given = checkpoints.len();
    let report = verify(entries(&args.file)?, checkpoints, &key, end);
    let mut found: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    found.extend(strange);
    if as_json {
        output::json(&json!({
            "holds": found.is_empty(),
            "entries": report.entries,
            "holdsTo": report.holds_to,
            "signedTo": report.signed_to,
            "checkpoints": given,
            "key": whose,
            "findings": found,
        }));
    } else {
        let mut text = String::new();
        for finding in &found {
            text.push_str(finding);
            text.push('\n');
        }
        text.push_str(&format!(
            "{} entries; everything holds up to entry {}, signed up to entry {} (key: {whose})\n",
            report.entries, report.holds_to, report.signed_to
        ));
        output::print(&text);
    }
    if whose == "the export itself" {
        eprintln!(
            "the key came with the export, so who made the export could have made the key; compare it with `sectag audit key`, or give --key"
        );
    }
    if found.is_empty() {
        return Ok(());
    }
    let fault = Fault::no(format!(
        "the audit trail does not hold (findings: {})",
        found.len()
    ));
    let foreign = public_key(header.public_key.as_bytes()).is_some_and(|given| given != key);
    Err(if foreign {
        fault.hint(format!(
            "the export names another key than {whose}; for another service's export give its key with --key"
        ))
    } else {
        fault
    })
}

/// The lines of a file, each as it reads; the number of the line with it.
fn lines(path: &Path) -> Outcome<impl Iterator<Item = (usize, Result<Line, String>)> + use<>> {
    let file = File::open(path)
        .map_err(|error| Fault::untried(format!("cannot read `{}`: {error}", path.display())))?;
    let read = |line: std::io::Result<String>| {
        let line = line.map_err(|e| e.to_string())?;
        Line::parse(&line).map_err(|e| e.to_string())
    };
    Ok((1..).zip(BufReader::new(file).lines().map(read)))
}

fn frame(path: &Path) -> Outcome<Frame> {
    let mut lines = lines(path)?;
    let Some((_, Ok(Line::Header(header)))) = lines.next() else {
        return Err(Fault::untried(format!(
            "`{}` is not an export of an audit trail",
            path.display()
        ))
        .hint("`sectag audit export --out FILE` writes one"));
    };
    let mut frame = Frame {
        header,
        checkpoints: Vec::new(),
        end: None,
        strange: Vec::new(),
    };
    for (number, line) in lines {
        match line {
            Ok(Line::Checkpoint(checkpoint)) => frame.checkpoints.push(checkpoint),
            Ok(Line::End(head)) if frame.end.is_none() => frame.end = Some(head),
            Ok(Line::Entry(_)) if frame.end.is_none() => {}
            Ok(_) => frame.strange.push(format!(
                "line {number} stands behind the end, or is a second header"
            )),
            Err(reason) => frame
                .strange
                .push(format!("line {number} is not of an export: {reason}")),
        }
    }
    Ok(frame)
}

fn entries(path: &Path) -> Outcome<impl Iterator<Item = AuditEntry> + use<>> {
    Ok(lines(path)?.filter_map(|(_, line)| match line {
        Ok(Line::Entry(entry)) => Some(*entry),
        _ => None,
    }))
}

fn home_key(home: &Path) -> Outcome<Option<PublicKey>> {
    let path = home.join("audit.key");
    let Some(bytes) = sectag_keep::read_private(&path)? else {
        return Ok(None);
    };
    let text = zeroize::Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
    let key = PrivateKey::from_pem(&text)?;
    Ok(Some(PublicKey::from_spki_der(&key.spki_der())?))
}

fn file_checkpoints(home: &Path) -> Outcome<Vec<Checkpoint>> {
    let text = sectag_keep::read_private(&home.join("audit.checkpoints"))?;
    let text = String::from_utf8_lossy(text.as_ref().map_or(&[], |text| &text[..])).into_owned();
    // A crash can leave half a line; what is no checkpoint proves nothing.
    Ok(text.lines().filter_map(Checkpoint::parse).collect())
}

fn read_key(path: &Path) -> Outcome<PublicKey> {
    let text = std::fs::read(path)
        .map_err(|error| Fault::untried(format!("cannot read `{}`: {error}", path.display())))?;
    public_key(&text).ok_or_else(|| {
        Fault::untried(format!(
            "`{}` holds no P-256 public key in PEM",
            path.display()
        ))
        .hint("`sectag audit key` prints the one of a home")
    })
}

fn public_key(text: &[u8]) -> Option<PublicKey> {
    let spki = SubjectPublicKeyInfoDer::from_pem_slice(text).ok()?;
    PublicKey::from_spki_der(&spki).ok()
}
