//! `sectag ca init`: a root and its two issuing authorities.

use super::folder::{Folder, Kind, broken, kept};
use super::passphrase::Passphrase;
use crate::args::CaInit;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use sectag_pki::{Authority, KeyType};
use zeroize::Zeroizing;

/// A common name has 64 characters at most, and the issuing authorities add a word to it.
const NAME_CHARS_MAX: usize = 55;
const STEMS: [&str; 3] = ["root", "servers", "devices"];

/// Makes what is missing. An authority that is there is never replaced: all it has issued would be void.
pub(crate) fn init(place: &Place, arguments: &CaInit, now_s: u64) -> Outcome<Folder> {
    let passphrase = Passphrase::new(&arguments.passphrase);
    let folder = Folder::of(place)?;
    let name = name(arguments.name.as_deref())?;
    sectag_keep::private_dir(&place.home).map_err(kept)?;
    sectag_keep::private_dir(&folder.dir).map_err(kept)?;
    let _turn = sectag_keep::lock(&folder.dir.join("lock")).map_err(kept)?;
    let has_lists = |kind: &Kind| folder.crl(*kind).exists() || !folder.key(kind.stem()).exists();
    if STEMS.iter().all(|stem| folder.certificate(stem).exists()) && Kind::ALL.iter().all(has_lists)
    {
        return Err(
            Fault::no(format!("`{}` holds a CA already", folder.dir.display()))
                .hint("`sectag ca` shows it; for another one choose another home with --home"),
        );
    }
    let secret = arguments.encrypt.then(|| passphrase.choose()).transpose()?;
    let kind = KeyType::from(arguments.key);
    let make = |stem: &str, made: Result<Authority, sectag_pki::PkiError>| -> Outcome<Authority> {
        let path = folder.certificate(stem);
        let made = made.map_err(|e| broken(&path, &e))?;
        let key = match &secret {
            None => made.key().to_pem(),
            Some(secret) => Zeroizing::new(
                made.key()
                    .to_encrypted_pem(secret.as_bytes())
                    .map_err(|e| broken(&path, &e))?,
            ),
        };
        let text = made.certificate_pem();
        sectag_keep::write_pair(&path, text.as_bytes(), &folder.key(stem), key.as_bytes())
            .map_err(kept)?;
        Ok(made)
    };
    let mut root = None;
    if !folder.certificate("root").exists() {
        root = Some(make("root", Authority::root_with(&name, kind, now_s))?);
    }
    for purpose in Kind::ALL {
        let stem = purpose.stem();
        let authority = if folder.certificate(stem).exists() {
            folder.authority(stem, &passphrase)?
        } else {
            // The root's key is asked for only when it is needed: it may be elsewhere.
            let signer = match root.take() {
                Some(root) => root,
                None => folder.authority("root", &passphrase)?,
            };
            let signer = root.insert(signer);
            make(stem, signer.issuing_with(purpose.purpose(), kind, now_s))?
        };
        if !folder.crl(purpose).exists() {
            folder.write_crl(purpose, &authority, now_s)?;
        }
    }
    Ok(folder)
}

fn name(given: Option<&str>) -> Outcome<String> {
    let name = match given {
        Some(given) => given.to_owned(),
        // Clients that know two gateways tell their roots apart by name.
        None => match super::names::host_name() {
            Some(host) => format!("Sectag root {host}")
                .chars()
                .take(NAME_CHARS_MAX)
                .collect(),
            None => "Sectag root".to_owned(),
        },
    };
    let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().count());
    if fits && !name.chars().any(char::is_control) && name.trim() == name {
        Ok(name)
    } else {
        Err(Fault::no(format!("`{name}` cannot be the name of a CA")).hint(format!(
            "give 1 to {NAME_CHARS_MAX} characters without control characters, and no blank at either end"
        )))
    }
}
