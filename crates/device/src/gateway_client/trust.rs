//! Whom to trust: every certificate of `ca_file`, and of each file with the right name directly inside `ca_dir`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use sectag_gateway::Client;
use sectag_gateway::findings::FindingId;

use super::{Unready, key, read as content, unready};
use crate::failures::Cause;
use crate::link::papers::pem_problem;

/// Names that files of certificates have in a directory of them.
const EXTENSIONS: [&str; 3] = ["pem", "cer", "crt"];

/// A system's store has some hundreds.
const ENTRIES_MAX: usize = 10_000;

/// The union. A key that is set and adds nothing is an error (E8).
pub(super) fn read(
    client: &Client,
) -> Result<Vec<(PathBuf, CertificateDer<'static>)>, Box<Unready>> {
    let mut trusted = Trusted::default();
    if let Some(path) = &client.ca_file {
        trusted.file(key::CA_FILE, path, path)?;
    }
    if let Some(dir) = &client.ca_dir {
        let files = files_in(dir)?;
        for path in &files {
            trusted.file(key::CA_DIR, dir, path)?;
        }
    }
    Ok(trusted.anchors)
}

#[derive(Default)]
struct Trusted {
    anchors: Vec<(PathBuf, CertificateDer<'static>)>,
    /// A directory often has the same certificate under several names.
    known: HashSet<Vec<u8>>,
}

impl Trusted {
    fn file(&mut self, key: &'static str, value: &Path, path: &Path) -> Result<(), Box<Unready>> {
        let bad = |why: String| {
            Box::new(no_certificate(
                key,
                value,
                format!("{key} yields no CA: `{}` {why}", path.display()),
            ))
        };
        let bytes = content(path).map_err(bad)?;
        let text = String::from_utf8_lossy(&bytes);
        let found = sectag_pki::pem::certificates(&text)
            .map_err(|_| bad(format!("is unusable: {}", pem_problem(&text))))?;
        for der in found {
            let facts = sectag_pki::show(&der)
                .map_err(|error| bad(format!("holds a certificate that is unusable: {error}")))?;
            let anchor = CertificateDer::from(der);
            RootCertStore::empty()
                .add(anchor.clone())
                .map_err(|error| {
                    bad(format!(
                        "holds `{}`, which cannot be a trust anchor: {error}",
                        facts.subject
                    ))
                })?;
            if self.known.insert(anchor.to_vec()) {
                self.anchors.push((path.to_owned(), anchor));
            }
        }
        Ok(())
    }
}

fn files_in(dir: &Path) -> Result<Vec<PathBuf>, Box<Unready>> {
    let shown = dir.display();
    let bad = |why: String| {
        Box::new(no_certificate(
            key::CA_DIR,
            dir,
            format!("mqtt.client.auth.ca_dir yields no CA: `{shown}` {why}"),
        ))
    };
    let names = sectag_keep::names(dir, ENTRIES_MAX).map_err(|_| {
        bad(match std::fs::metadata(dir) {
            Ok(found) if !found.is_dir() => "is not a directory".to_owned(),
            Ok(_) => format!("cannot be listed, or has more than {ENTRIES_MAX} entries"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                "does not exist".to_owned()
            }
            Err(error) => format!("cannot be read: {error}"),
        })
    })?;
    let count = names.len();
    let files: Vec<PathBuf> = names
        .into_iter()
        .map(|name| dir.join(name))
        .filter(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) && !path.is_dir()
        })
        .collect();
    if files.is_empty() {
        return Err(bad(match count {
            0 => "is empty".to_owned(),
            count => format!(
                "has {count} entries, and none of them is a file whose name ends in .pem, .cer or .crt"
            ),
        }));
    }
    Ok(files)
}

fn no_certificate(key: &'static str, value: &Path, sentence: String) -> Unready {
    unready(
        FindingId::E8,
        (Cause::CaUnreadable, key),
        sentence,
        vec![(key, value.display().to_string())],
        format!("sectag config set {key} <path>"),
    )
}
