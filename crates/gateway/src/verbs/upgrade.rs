//! `config upgrade`: old names become new ones, once and on request (RULE 6).

use super::{Said, Scene, failure, load_failure, sources};
use crate::config::{LoadError, conflict};
use crate::document::{self, Document, DocumentError};
use crate::keys::{KeyName, Spelling};
use sectag_keep::KeepError;
use toml_edit::Value;

/// Renames the keys of the file, and marks it as schema 2. Comments go with their keys; the file as it was stays beside it
/// as `tedge.toml.bak`, for its owner only.
pub fn upgrade(scene: &Scene<'_>) -> Said {
    let path = scene.locations.file();
    let backup = path.with_extension("toml.bak");
    let before = match Document::read(&path) {
        Ok(document) => document,
        Err(error) => return load_failure(scene, &error.into()),
    };
    let mut said = Said::default();
    if before.text().is_empty() {
        said.line(format!("there is nothing in {}", path.display()));
        return said;
    }
    let mut after = before.clone();
    match renew(&mut after) {
        Ok(renamed) => {
            for (old, new) in renamed {
                said.line(format!("renamed {old} to {new}"));
            }
        }
        Err(error) => return said.then(load_failure(scene, &error)),
    }
    if after.text() == before.text() {
        said.line(format!("{} is of schema 2 already", path.display()));
        return said;
    }
    let written = sectag_keep::write_private(&backup, before.text().as_bytes())
        .map_err(DocumentError::from)
        .and_then(|()| {
            document::edit(&path, |document| {
                if document.text() != before.text() {
                    return Err(DocumentError::Unsafe("config.version".to_owned()));
                }
                *document = after.clone();
                Ok::<_, DocumentError>(())
            })
        });
    match written {
        Ok(()) => {
            said.line(format!("the file as it was: {}", backup.display()));
            said
        }
        Err(error) => {
            let mut causes = vec![error.to_string()];
            causes.extend(sources(&error));
            failure(&format!("failed to upgrade {}", path.display()), &causes)
        }
    }
}

fn renew(document: &mut Document) -> Result<Vec<(String, String)>, LoadError> {
    conflict(document)?;
    let old: Vec<(String, String, Value)> = document
        .values()
        .into_iter()
        .filter_map(|(name, item)| {
            let found = KeyName::find(&name)?;
            let value = item.as_value()?.clone();
            (found.spelling == Spelling::Deprecated).then(|| (name, found.slot.name(), value))
        })
        .collect();
    for (name, new, value) in &old {
        let mut value = value.clone();
        value.decor_mut().clear();
        document.rename(name, new, &value)?;
    }
    if document
        .get("config.version")
        .and_then(|item| item.as_str())
        != Some("2")
    {
        document.set("config.version", &"2".into())?;
    }
    Ok(old.into_iter().map(|(old, new, _)| (old, new)).collect())
}

impl From<KeepError> for LoadError {
    fn from(error: KeepError) -> Self {
        Self::Document(error.into())
    }
}
