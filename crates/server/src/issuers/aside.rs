//! CAs of teams that the database does not know, and those that it knows again.
//!
//! ```text
//!   the service died while a team was made ─┐        ca/teams/<id>.{crt,key,crl}, operator/<id>.{crt,key}
//!   the database is older than the team    ─┘           │ not on record      ▲ on record again
//!                                                       ▼                    │
//!                                                    ca/aside/<id>.{crt,key,crl}, <id>.operator.{crt,key}
//! ```
//!
//! The home cannot tell the two apart: what a CA has signed is in the database alone. So nothing is destroyed; what is
//! aside is neither used nor trusted.

use super::{IssuerError, Issuers, is_id};
use sectag_keep::{self as keep, KeepError};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

/// In `HOME/ca`.
pub(super) const FOLDER: &str = "aside";

impl Issuers {
    /// Takes the CA of a team that is not on record out of use, and keeps it in `ca/aside/`. `false`: there was nothing.
    ///
    /// # Errors
    /// [`IssuerError::NotAnId`], [`IssuerError::Keep`], [`IssuerError::InTheWay`]; to be called again.
    pub(crate) fn set_aside(&self, team: &str) -> Result<bool, IssuerError> {
        if team == self.home_team || !is_id(team) {
            return Err(IssuerError::NotAnId(team.to_owned()));
        }
        let (in_use, aside) = (self.files_in_use(team), self.files_aside(team));
        finish(&in_use)?;
        if !in_use.iter().any(|path| path.exists()) {
            return Ok(false);
        }
        keep::private_dir(&self.folder.join(FOLDER))?;
        may_replace(key_of(&in_use), key_of(&aside))?;
        let mut teams = self.teams.write().unwrap_or_else(PoisonError::into_inner);
        teams.remove(team);
        drop(teams);
        for (from, to) in in_use.iter().zip(&aside) {
            if let Some(content) = keep::content(from)? {
                keep::write_private(to, &content)?;
            }
        }
        keep::crash::point("teams.aside.copied");
        for path in &in_use {
            keep::remove(path)?;
        }
        Ok(true)
    }

    /// Takes the CA of a team that is on record again back into use. `false`: nothing of it is aside.
    ///
    /// # Errors
    /// [`IssuerError`]; what is aside stays there.
    pub(crate) fn take_back(&self, team: &str, now_s: u64) -> Result<bool, IssuerError> {
        let (in_use, aside) = (self.files_in_use(team), self.files_aside(team));
        // The last one that is removed.
        if !key_of(&aside).exists() {
            return Ok(false);
        }
        finish(&in_use)?;
        may_replace(key_of(&aside), key_of(&in_use))?;
        let [certificate, list, operator, operator_key, key] = &aside;
        let [to, to_list, to_operator, to_operator_key, to_key] = &in_use;
        if !to.exists() || !to_key.exists() {
            if let Some(list) = keep::read_public(list)? {
                keep::write_public(to_list, &list)?;
            }
            if let Some((chain, secret)) = keep::load_pair(operator, operator_key)? {
                keep::write_pair(to_operator, &chain, to_operator_key, &secret)?;
            }
            // At the end, since whoever finds it finds the rest.
            if let Some((found, secret)) = keep::load_pair(certificate, key)? {
                keep::write_pair(to, &found, to_key, &secret)?;
            }
        }
        keep::crash::point("teams.aside.copied");
        if let Some(authority) = self.load(team)? {
            self.operator(team, &authority, now_s)?;
        }
        for path in &aside {
            keep::remove(path)?;
        }
        Ok(true)
    }

    /// The files of a team: certificate, list, the operator's pair, and the key as the last one.
    pub(super) fn files_in_use(&self, team: &str) -> [PathBuf; 5] {
        let (certificate, key) = self.files(team);
        let (operator, operator_key) = self.operator_files(team);
        let list = self.revocations(team);
        [certificate, list, operator, operator_key, key]
    }

    /// The same files, aside.
    pub(super) fn files_aside(&self, team: &str) -> [PathBuf; 5] {
        let ends = ["crt", "crl", "operator.crt", "operator.key", "key"];
        ends.map(|end| self.folder.join(FOLDER).join(format!("{team}.{end}")))
    }
}

fn key_of(files: &[PathBuf; 5]) -> &Path {
    &files[4]
}

/// Finishes, or discards, pairs whose writing was cut off.
fn finish(in_use: &[PathBuf; 5]) -> Result<(), IssuerError> {
    let [certificate, _, operator, operator_key, key] = in_use;
    for (certificate, key) in [(certificate, key), (operator, operator_key)] {
        match keep::load_pair(certificate, key) {
            Ok(_) | Err(KeepError::HalfPair { .. }) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// No key of a CA is ever written over with another one.
fn may_replace(with: &Path, to: &Path) -> Result<(), IssuerError> {
    match (keep::content(with)?, keep::content(to)?) {
        (Some(new), Some(old)) if new != old => Err(IssuerError::InTheWay {
            path: to.to_owned(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::home::Home;
    use sectag_proto::Timestamp;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const TEAM: &str = "7d9f2a52-1c34-4b0e-9a37-1f0f5c1f0f5c";

    fn with_a_team() -> (tempfile::TempDir, Home, Issuers) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(&dir.path().join("home"), NOW).unwrap();
        let issuers = Issuers::open(&home, NOW.as_secs()).unwrap();
        issuers.create(TEAM, NOW.as_secs()).unwrap();
        std::fs::write(issuers.revocations(TEAM), "list").unwrap();
        (dir, home, issuers)
    }

    fn contents(files: &[PathBuf; 5]) -> Vec<Option<Vec<u8>>> {
        files.iter().map(|path| std::fs::read(path).ok()).collect()
    }

    #[test]
    fn what_is_set_aside_is_not_used_and_comes_back_as_it_was() {
        let (_dir, home, issuers) = with_a_team();
        let (in_use, aside) = (issuers.files_in_use(TEAM), issuers.files_aside(TEAM));
        let before = contents(&in_use);
        assert!(before.iter().all(Option::is_some));
        assert!(issuers.set_aside(TEAM).unwrap());
        assert!(issuers.for_team(TEAM).is_none());
        assert_eq!(contents(&in_use), vec![None; 5]);
        assert_eq!(contents(&aside), before);
        assert!(!issuers.set_aside(TEAM).unwrap(), "there is no more");
        // The next start.
        let issuers = Issuers::open(&home, NOW.as_secs()).unwrap();
        assert!(issuers.for_team(TEAM).is_none());
        assert!(issuers.found().unwrap().contains(TEAM));
        assert!(issuers.take_back(TEAM, NOW.as_secs()).unwrap());
        assert!(issuers.for_team(TEAM).is_some());
        assert_eq!(contents(&in_use), before);
        assert_eq!(contents(&aside), vec![None; 5]);
        assert!(!issuers.take_back(TEAM, NOW.as_secs()).unwrap());
    }

    #[test]
    fn a_stop_at_any_file_is_gone_on_with() {
        for removed in 0..5 {
            let (_dir, _home, issuers) = with_a_team();
            let (in_use, aside) = (issuers.files_in_use(TEAM), issuers.files_aside(TEAM));
            let before = contents(&in_use);
            let put = |files: &[PathBuf; 5]| {
                for (path, content) in files.iter().zip(&before).skip(removed) {
                    keep::write_private(path, content.as_deref().unwrap()).unwrap();
                }
            };
            issuers.set_aside(TEAM).unwrap();
            put(&in_use);
            assert!(issuers.set_aside(TEAM).unwrap());
            assert_eq!(contents(&aside), before, "{removed}");
            issuers.take_back(TEAM, NOW.as_secs()).unwrap();
            put(&aside);
            assert!(issuers.take_back(TEAM, NOW.as_secs()).unwrap());
            assert_eq!(contents(&in_use), before, "{removed}");
            assert_eq!(contents(&aside), vec![None; 5], "{removed}");
        }
    }

    #[test]
    fn no_key_is_written_over_and_a_deleted_team_leaves_none() {
        let (_dir, _home, issuers) = with_a_team();
        let (in_use, aside) = (issuers.files_in_use(TEAM), issuers.files_aside(TEAM));
        issuers.set_aside(TEAM).unwrap();
        keep::write_private(key_of(&in_use), b"another one").unwrap();
        let before = [contents(&in_use), contents(&aside)];
        let refused = |done| matches!(done, Err(IssuerError::InTheWay { .. }));
        assert!(refused(issuers.set_aside(TEAM)));
        assert!(refused(issuers.take_back(TEAM, NOW.as_secs())));
        assert_eq!([contents(&in_use), contents(&aside)], before);
        issuers.retire(TEAM).unwrap();
        assert_eq!(
            [contents(&in_use), contents(&aside)].concat(),
            vec![None; 10]
        );
    }
}
