//! The home's own certificates: when they end, everything below them does.

use sectag_keep as keep;
use sectag_pki::{Certificate, pem, sha256};
use sectag_proto::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A certificate of the home itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCertificate {
    /// What it is: "CA for devices".
    pub name: String,
    /// What stops working when it ends.
    pub without_it: &'static str,
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate.
    pub der_sha256: [u8; 32],
    /// End of validity.
    pub not_after: Timestamp,
}

/// Reads the home's certificates; called for each forecast, since the files may be others by then.
pub type OwnCertificates = Arc<dyn Fn() -> Vec<OwnCertificate> + Send + Sync>;

/// What each file is, and what ends with it.
const FILES: [(&str, &str, &str); 5] = [
    (
        "ca/root.crt",
        "root CA",
        "nothing below it is trusted: no device, no server, no operator connects",
    ),
    (
        "ca/servers.crt",
        "CA for servers",
        "no device and no client trusts this service's listeners",
    ),
    (
        "ca/devices.crt",
        "CA for devices",
        "no device certificate is trusted or issued",
    ),
    (
        "tls/server.crt",
        "server certificate",
        "no device and no client connects (a restart renews it in its last 30 days)",
    ),
    (
        "operator/operator.crt",
        "operator certificate",
        "the operator cannot read topics (a restart renews it in its last 60 days)",
    ),
];
/// Issuing CAs of teams.
const TEAMS: &str = "ca/teams";

/// Those of the home in this directory, and the one that is shown in the place of the home's own. A file that cannot be read is left out: the service says so where it needs it.
pub(crate) fn of_home(home: &Path, shown: Option<&Path>) -> OwnCertificates {
    let shown = shown.map(|file| home.join(file));
    let home = home.to_owned();
    Arc::new(move || {
        let shown = shown.as_deref().and_then(|path| {
            let without_it =
                "no device and no owner connects over HTTPS or CoAP (its keeper has to renew it)";
            read(path, format!("`{}`", path.display()), without_it)
        });
        let own = FILES.iter().filter_map(|(file, name, without_it)| {
            read(&home.join(file), (*name).to_owned(), without_it)
        });
        let teams = files_of(&home.join(TEAMS)).into_iter().filter_map(|path| {
            let team = path.file_stem()?.to_string_lossy().into_owned();
            let without_it = "no device of the team is trusted, and none gets a certificate";
            read(&path, format!("CA of team {team}"), without_it)
        });
        own.chain(teams).chain(shown).collect()
    })
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "crt"))
        .collect();
    files.sort_unstable();
    files
}

/// The first certificate of a file.
fn read(path: &Path, name: String, without_it: &'static str) -> Option<OwnCertificate> {
    let bytes = keep::read_public(path).ok()??;
    let text = String::from_utf8(bytes).ok()?;
    let der = pem::certificates(&text).ok()?.into_iter().next()?;
    let certificate = Certificate::from_der(&der).ok()?;
    Some(OwnCertificate {
        name,
        without_it,
        serial: certificate.serial_hex.clone(),
        der_sha256: sha256(&der),
        not_after: Timestamp::from_secs(certificate.not_after_s),
    })
}
