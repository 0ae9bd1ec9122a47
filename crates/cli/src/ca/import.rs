//! `sectag ca import`: authorities that were made elsewhere, checked the way peers check before anything is written.

use super::folder::{
    Folder, Kind, broken, bundle, certificates, is_self_issued, kept, open_key, path_up, text_of,
};
use super::passphrase::Passphrase;
use crate::args::CaImport;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use sectag_pki::chain::{Check, verify};
use sectag_pki::{Authority, Certificate, KeyPair, KeyType, Terms, show};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// An authority as it came: certificate first, what stands above it, and its key as it was written.
struct Brought {
    path: PathBuf,
    certificates: Vec<Certificate>,
    key: Option<(Zeroizing<String>, Authority)>,
}

pub(crate) fn import(place: &Place, arguments: &CaImport, now_s: u64) -> Outcome<Folder> {
    let passphrase = Passphrase::new(&arguments.passphrase);
    let folder = Folder::of(place)?;
    let root = read(&arguments.root, arguments.root_key.as_deref(), &passphrase)?;
    if !is_self_issued(&root.certificates[0]) {
        let facts = show(root.certificates[0].der()).map_err(|e| broken(&root.path, &e))?;
        return Err(Fault::no(format!(
            "`{}` is no root: `{}` was issued by `{}`",
            root.path.display(),
            facts.subject,
            facts.issuer
        ))
        .hint("give the root with --root, and this one with --servers or --clients"));
    }
    let issuing = |file: &Option<PathBuf>, key: &Option<PathBuf>| {
        let path = file.as_ref().unwrap_or(&arguments.root);
        let key = if file.is_some() {
            key
        } else {
            &arguments.root_key
        };
        read(path, key.as_deref(), &passphrase)
    };
    let servers = issuing(&arguments.servers, &arguments.servers_key)?;
    let clients = issuing(&arguments.clients, &arguments.clients_key)?;
    for (kind, brought) in [(Kind::Server, &servers), (Kind::Client, &clients)] {
        check(kind, brought, &root, now_s)?;
    }
    if clients.key.is_none() && servers.key.is_none() && root.key.is_none() {
        eprintln!("note: no key came with these CAs; they are trusted, and issue nothing here");
    }

    sectag_keep::private_dir(&place.home).map_err(kept)?;
    sectag_keep::private_dir(&folder.dir).map_err(kept)?;
    let _turn = sectag_keep::lock(&folder.dir.join("lock")).map_err(kept)?;
    if folder.certificate("root").exists() {
        return Err(Fault::no(format!("`{}` holds a CA already", folder.dir.display())).hint(
            "import into another home (--home DIR), or move that folder away: all it has issued is void then",
        ));
    }
    // The root last: a folder without it counts as empty, so that an interrupted import is simply repeated.
    for (stem, brought) in [
        ("servers", &servers),
        ("devices", &clients),
        ("root", &root),
    ] {
        let (path, key) = (folder.certificate(stem), folder.key(stem));
        let text = bundle(&brought.certificates);
        match &brought.key {
            Some((secret, _)) => {
                sectag_keep::write_pair(&path, text.as_bytes(), &key, secret.as_bytes())
            }
            None => sectag_keep::write_public(&path, text.as_bytes()),
        }
        .map_err(kept)?;
    }
    for (kind, brought) in [(Kind::Server, &servers), (Kind::Client, &clients)] {
        if let Some((_, authority)) = &brought.key {
            folder.write_crl(kind, authority, now_s)?;
        }
    }
    Ok(folder)
}

fn read(path: &Path, key: Option<&Path>, passphrase: &Passphrase) -> Outcome<Brought> {
    let found = certificates(path, &crate::cert::bytes_of(path)?)?;
    let facts = show(found[0].der()).map_err(|e| broken(path, &e))?;
    let lacks = |what: &str| {
        Fault::no(format!(
            "`{}`: the certificate of `{}` is no CA: {what}",
            path.display(),
            facts.subject
        ))
    };
    if !facts.is_ca {
        return Err(lacks("it lacks CA:TRUE in its basic constraints")
            .hint("is it the certificate of a server or client? Its issuer is needed here"));
    }
    if !facts.key_usages.is_empty() && !facts.key_usages.contains(&"keyCertSign") {
        return Err(lacks("its key usage does not allow signing certificates"));
    }
    let key = match key {
        None => None,
        Some(key) => {
            let text = text_of(key, &Zeroizing::new(crate::cert::bytes_of(key)?))?;
            let pair = open_key(key, &text, passphrase)?;
            let kept_text = if text.contains("ENCRYPTED PRIVATE KEY") {
                text
            } else {
                pair.to_pem()
            };
            let authority =
                Authority::from_parts(found[0].clone(), pair).map_err(|e| broken(path, &e))?;
            Some((kept_text, authority))
        }
    };
    Ok(Brought {
        path: path.to_owned(),
        certificates: found,
        key,
    })
}

/// Whether peers will take what this authority issues: a certificate for nobody is signed and verified, and thrown away.
fn check(kind: Kind, brought: &Brought, root: &Brought, now_s: u64) -> Outcome {
    let path = brought.path.display();
    let issuing = &brought.certificates[0];
    let mut known = root.certificates.clone();
    known.extend(brought.certificates.iter().skip(1).cloned());
    let way = path_up(issuing, &known);
    let Some(top) = way.last().filter(|top| is_self_issued(top)) else {
        let facts = show(issuing.der()).map_err(|e| broken(&brought.path, &e))?;
        return Err(Fault::no(format!(
            "`{path}`: no root is known for it; `{}` must be `{}`, or in its file",
            facts.issuer,
            root.path.display()
        ))
        .hint("put missing intermediates behind the certificate in the same file, and other roots behind the root"));
    };
    let refuse = |why: String| {
        Fault::no(format!(
            "`{path}`: {} certificates of this CA would be refused: {why}",
            kind.word()
        ))
        .hint("`sectag cert lint FILE` says what is wrong with a CA's certificate, and for whom")
    };
    if now_s >= issuing.not_after_s || now_s < issuing.not_before_s {
        return Err(refuse("the CA is not valid today".to_owned()));
    }
    // Not every verifier looks at the length of a path that its trust anchor allows; OpenSSL does.
    let above = way.iter().filter(|above| above.der() != issuing.der());
    for (below, above) in (1_u32..).zip(above) {
        let facts = show(above.der()).map_err(|e| broken(&root.path, &e))?;
        if facts.path_length.is_some_and(|length| length < below) {
            return Err(refuse(format!(
                "`{}` allows fewer than {below} CAs below it (pathlen {})",
                facts.subject,
                facts.path_length.unwrap_or_default()
            )));
        }
    }
    let Some((_, authority)) = &brought.key else {
        return Ok(());
    };
    let terms = Terms {
        now_s,
        lifetime_s: 3_600,
        crl_url: None,
    };
    let spki = KeyPair::generate(KeyType::P256)
        .map_err(|e| broken(&brought.path, &e))?
        .spki_der();
    let probe = match kind {
        Kind::Server => {
            let name = "localhost".parse().map_err(|e| broken(&brought.path, &e))?;
            authority.issue_local_server(&spki, &[name], &terms)
        }
        Kind::Client => authority.issue_local_client(&spki, "probe", &terms),
    }
    .map_err(|e| refuse(e.to_string()))?;
    let between: Vec<&[u8]> = std::iter::once(issuing)
        .chain(&way)
        .filter(|certificate| !is_self_issued(certificate))
        .map(Certificate::der)
        .collect();
    let question = Check {
        root: top.der(),
        intermediates: &between,
        purpose: kind.purpose(),
        now_s,
        crl: None,
        name: None,
    };
    verify(probe.der(), &question).map_err(|e| refuse(chained(&e)))
}

/// An error and its cause in one line.
fn chained(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    }
}
