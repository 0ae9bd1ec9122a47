//! Which files of the home are copied to where the broker can read them.

use std::path::{Path, PathBuf};

use super::{FileChange, Inputs, NewContent};
use crate::findings::{Finding, FindingId, Severity};
use crate::mosquitto::{Authorities, Extras, Paths};

/// Files of the home that the broker cannot read where they are get a copy beside our file (amendments A5, A6). Files
/// elsewhere are somebody's: they stay, and findings advise.
pub(super) struct Copies<'a> {
    inputs: &'a Inputs<'a>,
    directory: &'a Path,
    /// What is copied, also when the copy is there already.
    sources: Vec<PathBuf>,
    pub(super) files: Vec<FileChange>,
}

impl<'a> Copies<'a> {
    pub(super) const fn new(inputs: &'a Inputs<'a>, directory: &'a Path) -> Self {
        Self {
            inputs,
            directory,
            sources: Vec::new(),
            files: Vec::new(),
        }
    }

    pub(super) fn all(&mut self, authorities: Option<Authorities>, extras: &mut Extras) -> Paths {
        let Some(external) = &self.inputs.settings.external else {
            return Paths::default();
        };
        // A directory of CAs stays where it is: its links would have to be made again.
        let ca_path = external
            .ca_path
            .as_ref()
            .filter(|_| authorities == Some(Authorities::File));
        let paths = Paths {
            key_file: self.copy(
                external.key_file.as_ref(),
                "server.key",
                "the listener's key",
            ),
            cert_file: self.copy(
                external.cert_file.as_ref(),
                "server.crt",
                "the listener's certificate",
            ),
            ca_path: self.copy(ca_path, "clients-ca.crt", "the CA of the clients"),
            crl_file: self.copy(external.crl_file.as_ref(), "clients.crl", "the revocations"),
        };
        let placed = self.copy(extras.acl_file.as_ref(), "acl", "the topic rules");
        extras.acl_file = placed.or_else(|| extras.acl_file.take());
        let placed = self.copy(extras.password_file.as_ref(), "passwords", "the passwords");
        extras.password_file = placed.or_else(|| extras.password_file.take());
        paths
    }

    fn copy(&mut self, source: Option<&PathBuf>, name: &str, what: &str) -> Option<PathBuf> {
        let (ground, user) = (self.inputs.ground, self.inputs.broker_user);
        let source = source.filter(|path| path.starts_with(self.inputs.home))?;
        if ground.broker_reads(source) {
            return None;
        }
        let path = self.directory.join(name);
        let is_secret = matches!(name, "server.key" | "passwords" | "acl");
        let mode = if is_secret { 0o400 } else { 0o644 };
        let owner = is_secret.then_some(user);
        if !(ground.same_bytes(source, &path) && ground.is_kept_as(&path, mode, owner)) {
            self.files.push(FileChange {
                path: path.clone(),
                old: None,
                new: NewContent::CopyOf(source.clone()),
                diff: String::new(),
                mode: Some(mode),
                owner: owner.map(str::to_owned),
                why: format!("{what} where {user} can read it"),
            });
        }
        self.sources.push(source.clone());
        Some(path)
    }

    /// A file that the broker reads as a copy need not be readable where it is.
    pub(super) fn forget_cured(&self, findings: &mut Vec<Finding>) {
        findings.retain(|finding| {
            let of_copy = finding.values.first().is_some_and(|(key, value)| {
                key.starts_with("mqtt.external.")
                    && self.sources.iter().any(|source| Path::new(value) == source)
            });
            !(finding.id == FindingId::E21 && finding.severity == Severity::Error && of_copy)
        });
    }
}
