//! Who signs devices: the home's own CA for devices, and one CA per team below the same root.
//!
//! ```text
//!   ca/root ──► ca/devices                 the home's own team
//!          └──► ca/teams/<team id>         each other team; made with the team, and with operator/<team id>, which reads its topics
//! ```
//!
//! The broker finds the team of a certificate by its issuer's name, which holds the team's id. Making a CA takes the root's
//! key; where that has a passphrase or is elsewhere nothing is made, and the error says what to do. CAs of teams that are not
//! on record are set [`aside`].

mod aside;

use crate::home::Home;
use sectag_keep::{self as keep, KeepError};
use sectag_pki::{Authority, KeyType, PkiError, PrivateKey, Purpose};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::error::StartError;

/// What the name of a team's CA begins with; the team's id follows.
const NAME: &str = "Sectag devices ";

/// Teams whose CAs are loaded; each is a key in memory.
const TEAMS_MAX: usize = 10_000;

/// An operator's certificate with less life than this is made anew when the service starts.
const OPERATOR_RENEW_BEFORE_S: u64 = 60 * 86_400;

/// The issuing CAs of a home.
#[derive(Debug)]
pub struct Issuers {
    /// `HOME/ca`
    folder: PathBuf,
    /// `HOME/operator`
    operators: PathBuf,
    home_team: String,
    home: Arc<Authority>,
    teams: RwLock<HashMap<String, Arc<Authority>>>,
}

/// Why a team's CA was not made. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerError {
    /// What was given cannot be the name of a file.
    #[error("`{0}` is not the id of a team")]
    NotAnId(String),
    /// The root's key is not in this home.
    #[error("the root CA's key is not in this home (`{}`), and only it can make a team's CA", path.display())]
    NoRootKey {
        /// Where it would be.
        path: PathBuf,
    },
    /// The root's key has a passphrase.
    #[error("the root CA's key has a passphrase, and the service asks nobody for it")]
    Encrypted,
    /// A file.
    #[error("cannot keep the CA of a team")]
    Keep(#[from] KeepError),
    /// The CA cannot be made, or what is there cannot be used.
    #[error("cannot make or use the CA `{what}`")]
    Pki {
        /// Which file.
        what: String,
        /// Why.
        source: PkiError,
    },
    /// The key of another CA is where one is to go.
    #[error("`{}` is the key of another CA", path.display())]
    InTheWay {
        /// Which file.
        path: PathBuf,
    },
}

impl IssuerError {
    /// What the operator can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoRootKey { .. } => Some(
                "bring the root's key into the home while teams are made, and take it away again afterwards".to_owned(),
            ),
            Self::Encrypted => Some(
                "put a copy of the root's key without passphrase in its place while teams are made".to_owned(),
            ),
            Self::Keep(e) => e.hint(),
            _ => None,
        }
    }
}

impl Issuers {
    /// Loads what a home has; operators' certificates whose end comes near are made anew.
    ///
    /// # Errors
    /// [`StartError::Home`], [`StartError::Pki`]: a team's CA that is there and cannot be used.
    pub fn open(home: &Home, now_s: u64) -> Result<Self, StartError> {
        let folder = home.path().join("ca");
        let wrong = |source| StartError::Home {
            home: home.path().to_owned(),
            source,
        };
        keep::private_dir(&folder.join("teams")).map_err(wrong)?;
        let issuers = Self {
            folder,
            operators: home.path().join("operator"),
            home_team: home.owner_id(),
            home: Arc::new(home.devices()?),
            teams: RwLock::default(),
        };
        let names = keep::names(&issuers.folder.join("teams"), 4 * TEAMS_MAX).map_err(wrong)?;
        for name in names {
            let name = name.to_string_lossy();
            if let Some(team) = name.strip_suffix(".crt").filter(|team| is_id(team)) {
                let loaded = issuers.load(team).and_then(|found| match found {
                    Some(authority) => issuers.operator(team, &authority, now_s),
                    None => Ok(()),
                });
                loaded.map_err(|e| match e {
                    IssuerError::Keep(source) => wrong(source),
                    IssuerError::Pki { what, source } => StartError::Pki { what, source },
                    e => StartError::Tls(e.to_string()),
                })?;
            }
        }
        Ok(issuers)
    }

    /// The CA that signs a team's devices; `None` for a team that has none.
    pub fn for_team(&self, team: &str) -> Option<Arc<Authority>> {
        if team == self.home_team {
            return Some(self.home.clone());
        }
        let teams = self.teams.read().unwrap_or_else(PoisonError::into_inner);
        teams.get(team).cloned()
    }

    /// Makes the CA of a team, below the root, in `ca/teams/`. One that is there already is taken.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub fn create(&self, team: &str, now_s: u64) -> Result<Arc<Authority>, IssuerError> {
        if !is_id(team) {
            return Err(IssuerError::NotAnId(team.to_owned()));
        }
        if let Some(known) = self.for_team(team) {
            return Ok(known);
        }
        if let Some(found) = self.load(team)? {
            return Ok(found);
        }
        let root = self.root()?;
        let (certificate, key) = self.files(team);
        let broken = |source| IssuerError::Pki {
            what: certificate.display().to_string(),
            source,
        };
        let made = root
            .issuing_named(&common_name(team), Purpose::Devices, KeyType::P256, now_s)
            .map_err(broken)?;
        let secret = made.key().to_pem();
        keep::write_pair(
            &certificate,
            made.certificate_pem().as_bytes(),
            &key,
            secret.as_bytes(),
        )?;
        self.operator(team, &made, now_s)?;
        tracing::info!(team, serial = %made.certificate().serial_hex, "CA of a team made");
        Ok(self.keep(team, made))
    }

    /// The client certificate that may read all topics of a team, in `operator/<team id>.{crt,key}`.
    fn operator(&self, team: &str, authority: &Authority, now_s: u64) -> Result<(), IssuerError> {
        let (certificate, key) = self.operator_files(team);
        let broken = |source| IssuerError::Pki {
            what: certificate.display().to_string(),
            source,
        };
        if let Some((chain, _)) = keep::load_pair(&certificate, &key)? {
            let text = String::from_utf8_lossy(&chain).into_owned();
            let ders = sectag_pki::pem::certificates(&text).map_err(broken)?;
            let end_s = sectag_pki::show(&ders[0]).map_err(broken)?.not_after_s; // `certificates` gives at least one
            let ours = ders.get(1).map(Vec::as_slice) == Some(authority.certificate_der());
            if ours && end_s >= now_s.saturating_add(OPERATOR_RENEW_BEFORE_S) {
                return Ok(());
            }
        }
        let fresh = PrivateKey::generate().map_err(broken)?;
        let made = authority
            .issue_operator(&fresh.spki_der(), "operator", now_s)
            .map_err(broken)?;
        let chain = made.pem() + &authority.certificate_pem();
        let secret = fresh.to_pem();
        keep::write_pair(&certificate, chain.as_bytes(), &key, secret.as_bytes())?;
        Ok(())
    }

    /// Takes the CA of a team out of use: nothing is signed with it, and brokers that read the home trust it no more.
    /// Its key is deleted.
    ///
    /// # Errors
    /// [`IssuerError::Keep`].
    pub fn retire(&self, team: &str) -> Result<(), IssuerError> {
        if team == self.home_team || !is_id(team) {
            return Err(IssuerError::NotAnId(team.to_owned()));
        }
        let mut teams = self.teams.write().unwrap_or_else(PoisonError::into_inner);
        teams.remove(team);
        drop(teams);
        // The certificate first: a key alone opens nothing.
        let [certificate, others @ ..] = self.files_in_use(team);
        keep::crash::point("teams.delete.decided");
        keep::remove(&certificate)?;
        keep::crash::point("teams.delete.certificate-gone");
        for path in others.iter().chain(&self.files_aside(team)) {
            keep::remove(path)?;
        }
        Ok(())
    }

    /// The ids of all teams of which the home has a file, in use or aside, the remains of a removal that was cut short included.
    ///
    /// # Errors
    /// [`IssuerError::Keep`].
    pub(crate) fn found(&self) -> Result<BTreeSet<String>, IssuerError> {
        let mut found = BTreeSet::new();
        let mut dirs = vec![self.folder.join("teams"), self.operators.clone()];
        let aside = self.folder.join(aside::FOLDER);
        dirs.extend(aside.is_dir().then_some(aside));
        for dir in &dirs {
            for name in keep::names(dir, 5 * TEAMS_MAX)? {
                let stem = Path::new(&name).file_stem().and_then(|stem| stem.to_str());
                found.extend(stem.filter(|id| is_id(id)).map(str::to_owned));
            }
        }
        // The home's own, in the second of them.
        found.remove("operator");
        Ok(found)
    }

    /// All teams that have a CA, the home's own first.
    pub fn teams(&self) -> Vec<String> {
        let teams = self.teams.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<String> = teams.keys().cloned().collect();
        all.sort();
        all.insert(0, self.home_team.clone());
        all
    }

    /// The id of the home's own team.
    pub fn home_team(&self) -> &str {
        &self.home_team
    }

    /// Where the revocation list of a team's CA is.
    pub fn revocations(&self, team: &str) -> PathBuf {
        match team == self.home_team {
            true => self.folder.join("devices.crl"),
            false => self.folder.join("teams").join(format!("{team}.crl")),
        }
    }

    /// The distinguished name of a team's CA.
    pub(crate) fn name_of(team: &str) -> String {
        format!("CN={}", common_name(team))
    }

    /// Whether a distinguished name is that of a team's CA, of whichever team.
    pub(crate) fn is_name_of_a_team(issuer: &str) -> bool {
        issuer
            .strip_prefix("CN=")
            .and_then(|name| name.strip_prefix(NAME))
            .is_some_and(is_id)
    }

    fn load(&self, team: &str) -> Result<Option<Arc<Authority>>, IssuerError> {
        let (certificate, key) = self.files(team);
        let Some((found, secret)) = keep::load_pair(&certificate, &key)? else {
            return Ok(None);
        };
        Ok(Some(
            self.keep(team, authority(&certificate, &found, &secret)?),
        ))
    }

    fn keep(&self, team: &str, authority: Authority) -> Arc<Authority> {
        let authority = Arc::new(authority);
        let mut teams = self.teams.write().unwrap_or_else(PoisonError::into_inner);
        teams.insert(team.to_owned(), authority.clone());
        authority
    }

    fn files(&self, team: &str) -> (PathBuf, PathBuf) {
        let teams = self.folder.join("teams");
        (
            teams.join(format!("{team}.crt")),
            teams.join(format!("{team}.key")),
        )
    }

    fn operator_files(&self, team: &str) -> (PathBuf, PathBuf) {
        (
            self.operators.join(format!("{team}.crt")),
            self.operators.join(format!("{team}.key")),
        )
    }

    fn root(&self) -> Result<Authority, IssuerError> {
        let (certificate, key) = (self.folder.join("root.crt"), self.folder.join("root.key"));
        let missing = || IssuerError::NoRootKey { path: key.clone() };
        match keep::load_pair(&certificate, &key) {
            Err(KeepError::HalfPair { .. }) | Ok(None) => Err(missing()),
            Err(e) => Err(e.into()),
            Ok(Some((found, secret))) => match authority(&certificate, &found, &secret) {
                Err(IssuerError::Pki {
                    source: PkiError::Encrypted,
                    ..
                }) => Err(IssuerError::Encrypted),
                read => read,
            },
        }
    }
}

fn common_name(team: &str) -> String {
    format!("{NAME}{team}")
}

/// Lower-case letters, digits and hyphens: what a UUID has, and what is harmless in the name of a file.
fn is_id(team: &str) -> bool {
    !team.is_empty()
        && team.len() <= 40
        && team
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn authority(path: &Path, certificate: &[u8], key: &[u8]) -> Result<Authority, IssuerError> {
    let broken = |source| IssuerError::Pki {
        what: path.display().to_string(),
        source,
    };
    let text = |bytes| {
        std::str::from_utf8(bytes).map_err(|e| {
            broken(PkiError::Malformed {
                what: "PEM",
                why: e.to_string(),
            })
        })
    };
    Authority::from_pem(text(certificate)?, text(key)?).map_err(broken)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sectag_pki::chain::{self, Check};
    use sectag_pki::identity;
    use sectag_proto::Timestamp;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const TEAM: &str = "7d9f2a52-1c34-4b0e-9a37-1f0f5c1f0f5c";

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(&dir.path().join("home"), NOW).unwrap();
        (dir, home)
    }

    #[test]
    fn a_team_has_a_ca_of_its_own_below_the_root_and_keeps_it() {
        let (_dir, home) = home();
        let issuers = Issuers::open(&home, NOW.as_secs()).unwrap();
        assert!(issuers.for_team(TEAM).is_none());
        let made = issuers.create(TEAM, NOW.as_secs()).unwrap();
        let key = PrivateKey::generate().unwrap();
        let device = made
            .issue_device(&key.spki_der(), "dev-1", NOW.as_secs())
            .unwrap();
        assert_eq!(
            identity(device.der()).unwrap().issuer,
            Issuers::name_of(TEAM)
        );
        let root = sectag_pki::Certificate::from_pem(&home.root_pem()).unwrap();
        let check = Check {
            root: root.der(),
            intermediates: &[made.certificate_der()],
            purpose: Purpose::Devices,
            now_s: NOW.as_secs(),
            crl: None,
            name: None,
        };
        chain::verify(device.der(), &check).unwrap();
        let again = Issuers::open(&home, NOW.as_secs()).unwrap();
        let found = again.for_team(TEAM).unwrap();
        assert_eq!(found.certificate_der(), made.certificate_der());
        assert_eq!(again.teams(), [home.owner_id(), TEAM.to_owned()]);
        let operator = home.path().join(format!("operator/{TEAM}.crt"));
        let before = std::fs::read(&operator).unwrap();
        Issuers::open(&home, NOW.as_secs() + 700 * 86_400).unwrap();
        assert_ne!(
            std::fs::read(&operator).unwrap(),
            before,
            "its end came near"
        );
        again.retire(TEAM).unwrap();
        assert!(again.for_team(TEAM).is_none() && !operator.exists());
        assert_eq!(
            Issuers::open(&home, NOW.as_secs()).unwrap().teams(),
            [home.owner_id()]
        );
    }

    #[test]
    fn without_the_roots_key_nothing_is_made() {
        let (_dir, home) = home();
        let issuers = Issuers::open(&home, NOW.as_secs()).unwrap();
        let (cert, key) = issuers.files(TEAM);
        let path = home.path().join("ca/root.key");
        let pair = sectag_pki::KeyPair::from_pem(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let locked = pair.to_encrypted_pem(b"open sesame").unwrap();
        keep::write_private(&path, locked.as_bytes()).unwrap();
        let error = issuers.create(TEAM, NOW.as_secs()).unwrap_err();
        assert!(matches!(error, IssuerError::Encrypted), "{error}");
        std::fs::remove_file(&path).unwrap();
        let error = issuers.create(TEAM, NOW.as_secs()).unwrap_err();
        assert!(matches!(error, IssuerError::NoRootKey { .. }), "{error}");
        assert!(error.hint().is_some());
        assert!(!cert.exists() && !key.exists());
        assert!(matches!(
            issuers.create("../devices", NOW.as_secs()),
            Err(IssuerError::NotAnId(_))
        ));
    }
}
