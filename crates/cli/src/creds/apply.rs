//! `sectag creds apply`: a folder or a manifest, compared, changed, checked.

use super::{content, name_of, show};
use crate::args::{Apply, TestKeys};
use crate::creds::Session;
use crate::fault::{Fault, Outcome};
use crate::modem_choice::store_fault;
use crate::output;
use sectag_modem::credentials::{
    Action, Manifest, ManifestError, Plan, PlanError, Set, Step, StoreError, Wanted, type_name,
    type_of_file,
};
use sectag_pki::PrivateKey;
use sectag_proto::secret::SecretText;
use sectag_proto::{CredentialType, SecTag};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `sectag creds apply`
pub(super) fn apply(session: &mut Session, args: &Apply, as_json: bool) -> Outcome {
    let wishes = if args.source.is_dir() {
        of_folder(args)?
    } else {
        of_manifest(args)?
    };
    let Wishes { wanted, only } = wishes.read(args.keys)?;
    matching_keys(&wanted)?;
    let dry = session.is_dry() || args.plan;
    let plan = session.try_store(|store| {
        let plan = Plan::make(store, wanted, &only)?;
        match (as_json, args.plan) {
            (true, _) => {}
            (false, true) => output::print(&lines(&plan)),
            (false, false) => eprint!("{}", lines(&plan)),
        }
        if !dry {
            plan.carry_out(store)?;
            plan.verify(store)?;
        }
        Ok::<_, PlanError>(plan)
    });
    let plan = plan.map_err(plan_fault)?;
    let changes = plan.changes();
    if as_json {
        let steps: Vec<Value> = plan.steps().iter().map(step_json).collect();
        output::json(&json!({ "steps": steps, "changes": changes, "applied": !dry }));
    } else if !args.plan {
        let text = match (changes, dry) {
            (0, _) => "everything is there; nothing written".to_owned(),
            (n, true) => format!("{n} to change"),
            (n, false) => format!("{n} changed, digests checked"),
        };
        output::print(&format!("{text}\n"));
    }
    if args.plan && changes > 0 {
        return Err(
            Fault::no(format!("{changes} of {} differ", plan.steps().len()))
                .hint("the same without --plan changes them"),
        );
    }
    Ok(())
}

/// Which files for which slots; not read yet.
#[derive(Default)]
struct Files {
    files: BTreeMap<(SecTag, CredentialType), PathBuf>,
    only: Vec<SecTag>,
}

/// What shall lie where.
struct Wishes {
    wanted: Vec<Wanted>,
    only: Vec<SecTag>,
}

impl Files {
    fn read(self, keys: TestKeys) -> Outcome<Wishes> {
        let wanted = self
            .files
            .into_iter()
            .map(|((tag, kind), path)| {
                Ok(Wanted {
                    tag,
                    kind,
                    content: content::read(&path, kind, keys)?,
                })
            })
            .collect::<Outcome<_>>()?;
        Ok(Wishes {
            wanted,
            only: self.only,
        })
    }

    fn add(&mut self, tag: SecTag, kind: CredentialType, path: PathBuf) -> Outcome {
        if let Some(other) = self.files.insert((tag, kind), path.clone()) {
            return Err(Fault::no(format!(
                "`{}` and `{}` are both the {} of sec tag {tag}",
                other.display(),
                path.display(),
                type_name(kind)
            )));
        }
        Ok(())
    }
}

fn of_folder(args: &Apply) -> Outcome<Files> {
    let mut files = Files::default();
    for (name, path) in entries(&args.source)? {
        if path.is_dir() {
            let Ok(tag) = name.parse::<SecTag>() else {
                continue;
            };
            for (name, path) in entries(&path)? {
                if let Some((kind, Set::Primary)) = type_of_file(&name) {
                    files.add(tag, kind, path)?;
                }
            }
            continue;
        }
        let Some((kind, set)) = type_of_file(&name) else {
            if name.ends_with(".pem") || name.ends_with(".crt") || name.ends_with(".key") {
                eprintln!(
                    "note: `{}` is left out: its name says nothing here",
                    path.display()
                );
            }
            continue;
        };
        let (tag, option) = match set {
            Set::Primary => (args.tag, "--tag"),
            Set::Secondary => (args.secondary_tag, "--secondary-tag"),
        };
        let tag = tag.ok_or_else(|| {
            Fault::untried(format!("`{}` needs a sec tag", path.display()))
                .hint(format!("give it with {option} TAG"))
        })?;
        files.add(tag, kind, path)?;
    }
    if files.files.is_empty() {
        return Err(Fault::no(format!("`{}` holds no credentials", args.source.display())).hint(
            "files are known by their names: ca-cert.pem, client-cert.pem, private-key.pem, psk, psk-id, in the folder or in a folder per tag",
        ));
    }
    Ok(files)
}

fn of_manifest(args: &Apply) -> Outcome<Files> {
    if args.tag.is_some() || args.secondary_tag.is_some() {
        return Err(Fault::untried(
            "--tag and --secondary-tag are for folders; a manifest names its tags itself",
        ));
    }
    let bytes = content::bytes(&args.source)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Fault::no(format!("`{}` is not text", args.source.display())))?;
    if text.contains("-----BEGIN ") {
        return Err(Fault::no(format!(
            "`{}` is PEM, not a manifest",
            args.source.display()
        ))
        .hint("one file is written with `sectag creds write TAG TYPE FILE`"));
    }
    let manifest = Manifest::parse(text).map_err(|error| manifest_fault(&args.source, error))?;
    let base = args.source.parent().unwrap_or(Path::new(""));
    let mut files = Files::default();
    for (tag, of_tag) in manifest.tags {
        if of_tag.only {
            files.only.push(tag);
        }
        for (kind, path) in of_tag.files {
            files.add(tag, kind, base.join(path))?;
        }
    }
    Ok(files)
}

fn entries(folder: &Path) -> Outcome<Vec<(String, PathBuf)>> {
    let mut entries = Vec::new();
    let unreadable = |error| {
        Fault::untried(format!(
            "cannot read the folder `{}`: {error}",
            folder.display()
        ))
    };
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        entries.push((
            entry.file_name().to_string_lossy().into_owned(),
            entry.path(),
        ));
    }
    entries.sort();
    Ok(entries)
}

/// A certificate for another key would be found out only by the broker, as a failed handshake.
fn matching_keys(wanted: &[Wanted]) -> Outcome {
    let find = |tag, kind| {
        wanted
            .iter()
            .find(|one| one.tag == tag && one.kind == kind)
            .map(|one| &one.content)
    };
    for one in wanted {
        if one.kind != CredentialType::CLIENT_CERTIFICATE {
            continue;
        }
        let key = find(one.tag, CredentialType::CLIENT_PRIVATE_KEY).and_then(key_of);
        let certificate = spki_of(&one.content);
        if let (Some(key), Some(certificate)) = (key, certificate)
            && key != certificate
        {
            return Err(Fault::no(format!(
                "the certificate and the private key for sec tag {} do not belong together: public key {certificate} in the certificate, {key} of the private key (SHA-256)",
                one.tag
            ))
            .hint("take the key that the certificate's CSR was made with"));
        }
    }
    Ok(())
}

/// SHA-256 of the public half; `None` for keys other than P-256, which the modem may know and we do not.
fn key_of(content: &SecretText) -> Option<String> {
    let key = PrivateKey::from_pem(content.expose()).ok()?;
    Some(show::hex(sectag_pki::sha256(&key.spki_der())).to_ascii_lowercase())
}

fn spki_of(content: &SecretText) -> Option<String> {
    let certificates = sectag_pki::pem::certificates(content.expose()).ok()?;
    Some(sectag_pki::show(certificates.first()?).ok()?.spki_sha256)
}

fn lines(plan: &Plan) -> String {
    plan.steps().iter().fold(String::new(), |text, step| {
        let sign = match step.action {
            Action::Create => "+ write  ",
            Action::Replace => "~ replace",
            Action::Keep => "= match  ",
            Action::Delete => "- delete ",
        };
        format!("{text}  {sign}  {}\n", name_of(step.tag, step.kind))
    })
}

fn step_json(step: &Step) -> Value {
    json!({
        "tag": step.tag,
        "type": step.kind,
        "typeName": type_name(step.kind),
        "action": match step.action {
            Action::Create => "write",
            Action::Replace => "replace",
            Action::Keep => "match",
            Action::Delete => "delete",
        },
    })
}

fn plan_fault(error: PlanError) -> Fault {
    match error {
        PlanError::Store(error) => store_fault(error),
        PlanError::HalfPair { missing, .. } => {
            let hint = if missing == CredentialType::CLIENT_PRIVATE_KEY {
                "put `private-key.pem` beside it (manifest: private_key), or make the key in the modem first: `sectag creds keygen TAG`"
            } else {
                "put `client-cert.pem` beside it (manifest: client_cert)"
            };
            Fault::no_because(error).hint(hint)
        }
        PlanError::Step { ref source, .. } => {
            let hint = source.hint();
            let lost = matches!(source, StoreError::Line(_));
            let fault = if lost {
                Fault::from(error)
            } else {
                Fault::no_because(error)
            };
            fault.hint(hint.unwrap_or_else(|| {
                "what was changed before stays; the same command goes on from there".to_owned()
            }))
        }
        PlanError::Verify { .. } => Fault::no_because(error).hint(
            "is another program writing to the same modem? `sectag creds list` shows what is there",
        ),
        other => Fault::no_because(other),
    }
}

fn manifest_fault(path: &Path, error: ManifestError) -> Fault {
    let hint = error.hint();
    let fault = Fault::no(format!("`{}`: {error}", path.display()));
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}
