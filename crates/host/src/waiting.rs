//! Renewed pairs that wait beside those in use, as `<name>.new` (spec/gateway-config §12, RULE 21).
//!
//! They are proved by being served: `apply` puts them in place, key first, tells the broker, compares the serial that it
//! serves, and connects. Whatever fails, the old pair comes back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sectag_gateway::Settings;
use sectag_gateway::plan::{FileChange, NewContent};
use sectag_gateway::restart::Content;
use sectag_pki::material::material;

/// What waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// A file in use, and the one that waits beside it; keys first.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// Whose they are.
    pub contents: Vec<Content>,
    /// Pairs that wait and are not taken: why, one sentence each.
    pub refused: Vec<String>,
}

impl Waiting {
    /// Looks beside the pairs of the settings.
    pub fn find(settings: &Settings, now_s: u64) -> Self {
        let mut waiting = Self::default();
        let external = settings.external.as_ref();
        let client = &settings.client;
        let pairs = [
            (
                external.and_then(|e| e.cert_file.as_ref()),
                external.and_then(|e| e.key_file.as_ref()),
                Content::ServerPair,
            ),
            (
                client.cert_file.as_ref(),
                client.key_file.as_ref(),
                Content::ClientFiles,
            ),
        ];
        for (cert, key, content) in pairs {
            let (Some(cert), Some(key)) = (cert, key) else {
                continue;
            };
            waiting.pair(cert, key, content, now_s);
        }
        waiting
    }

    /// What is in a file when those that wait are in place.
    pub fn in_place<'a>(&'a self, path: &'a Path) -> &'a Path {
        let file = self.files.iter().find(|(used, _)| used == path);
        file.map_or(path, |(_, new)| new)
    }

    /// As files of a plan; mode and owner stay what they are.
    pub fn changes(&self) -> Vec<FileChange> {
        self.files
            .iter()
            .map(|(used, new)| FileChange {
                path: used.clone(),
                old: None,
                new: NewContent::CopyOf(new.clone()),
                diff: String::new(),
                mode: None,
                owner: None,
                why: "the renewed one, once it is proved".to_owned(),
            })
            .collect()
    }

    /// By the path in use: the path that waits.
    pub fn map(&self) -> BTreeMap<PathBuf, PathBuf> {
        self.files.iter().cloned().collect()
    }

    /// A renewal may keep the key: then only a certificate waits.
    fn pair(&mut self, cert: &Path, key: &Path, content: Content, now_s: u64) {
        let (new_cert, new_key) = (sectag_keep::new_beside(cert), sectag_keep::new_beside(key));
        if !new_cert.exists() {
            return;
        }
        let has_key = new_key.exists();
        let read = |path: &Path| sectag_keep::content(path).ok().flatten();
        let judge = || -> Result<(), String> {
            let of_key = if has_key { new_key.as_path() } else { key };
            let (Some(certificates), Some(keys)) = (read(&new_cert), read(of_key)) else {
                return Err("it or its key cannot be read".to_owned());
            };
            let (certificates, keys) = (material(&certificates), material(&keys));
            let leaf = certificates.certificates.first();
            let leaf = leaf.ok_or("there is no certificate in it")?;
            let key = keys.keys.first().ok_or("there is no key beside it")?;
            if key.belongs_to(&leaf.der).ok().flatten() != Some(true) {
                return Err("the key beside it is another's".to_owned());
            }
            if now_s < leaf.facts.not_before_s || now_s > leaf.facts.not_after_s {
                return Err("it is not valid today".to_owned());
            }
            Ok(())
        };
        match judge() {
            Ok(()) => {
                if has_key {
                    self.files.push((key.to_owned(), new_key));
                }
                self.files.push((cert.to_owned(), new_cert));
                self.contents.push(content);
            }
            Err(why) => self.refused.push(format!(
                "`{}` waits and is not taken: {why}",
                new_cert.display()
            )),
        }
    }
}
