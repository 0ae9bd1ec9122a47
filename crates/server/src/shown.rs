//! The certificate that the service shows over HTTPS and CoAP: the home's own, or one from elsewhere whose files somebody else
//! keeps up to date (an ACME client, say).
//!
//! ```text
//!   certificate.file, certificate.key ─► read at the start ─► owner and device doors, DTLS
//!                    ▲ every [`LOOK_EVERY`]        │ changed, and a pair that can be used
//!                    └──────────────────────────────┘ else the one before goes on, and a line says why
//! ```
//! MQTT keeps the home's: its clients get the home's root CA with their own certificate.

use crate::error::StartError;
use crate::home::{Home, Pair};
use crate::listen::{Chain, LiveTls};
use crate::settings::CertificateFiles;
use crate::tls;
use sectag_keep as keep;
use sectag_proto::secret::SecretText;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A renewed certificate is shown within this; its predecessor has weeks left when its keeper works.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Where the pair comes from.
#[derive(Debug)]
pub(crate) struct Shown {
    files: Option<(PathBuf, PathBuf)>,
    pair: Arc<Pair>,
}

impl Shown {
    /// The pair to begin with.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) fn open(
        home: &Home,
        own: Pair,
        settings: &CertificateFiles,
    ) -> Result<Self, StartError> {
        let beside = |path: &PathBuf| home.path().join(path);
        let files = match (&settings.file, &settings.key) {
            (Some(file), Some(key)) => Some((beside(file), beside(key))),
            _ => None,
        };
        let pair = match &files {
            None => own,
            Some((file, key)) => read(file, key)?,
        };
        Ok(Self {
            files,
            pair: Arc::new(pair),
        })
    }

    pub(crate) fn pair(&self) -> &Arc<Pair> {
        &self.pair
    }

    /// Looks at the files now and then, until `stop` turns true.
    pub(crate) async fn watch(
        self,
        owner: LiveTls,
        device: LiveTls,
        datagrams: watch::Sender<Arc<Pair>>,
        mut stop: watch::Receiver<bool>,
    ) {
        let Some(files) = self.files else {
            let _ = stop.wait_for(|asked| *asked).await;
            return;
        };
        let mut watched = Watched {
            files,
            shown: self.pair,
            refused: None,
            owner,
            device,
            datagrams,
        };
        loop {
            tokio::select! {
                _ = stop.wait_for(|asked| *asked) => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let looked = tokio::task::spawn_blocking(move || {
                watched.look();
                watched
            });
            match looked.await {
                Ok(back) => watched = back,
                Err(_) => return,
            }
        }
    }
}

/// Files that are looked at, and whoever shows what is in them.
struct Watched {
    files: (PathBuf, PathBuf),
    shown: Arc<Pair>,
    /// What was found and cannot be used, so that it is said once.
    refused: Option<Pair>,
    owner: LiveTls,
    device: LiveTls,
    datagrams: watch::Sender<Arc<Pair>>,
}

impl Watched {
    fn look(&mut self) {
        let (file, key) = &self.files;
        let found = match read(file, key) {
            Ok(found) => found,
            // Between two renames; if it lasts, the next start says so.
            Err(e) => {
                tracing::debug!(reason = %Chain(&e), "the certificate from elsewhere cannot be read");
                return;
            }
        };
        let same = |one: &Pair| {
            one.chain_pem == found.chain_pem && one.key_pem.expose() == found.key_pem.expose()
        };
        if same(&self.shown) || self.refused.as_ref().is_some_and(same) {
            return;
        }
        let file = file.display();
        match replace(&self.owner, &self.device, &found) {
            Ok(()) => {
                self.shown = Arc::new(found);
                self.refused = None;
                self.datagrams.send_replace(self.shown.clone());
                tracing::info!(%file, "the renewed certificate is shown from here on");
            }
            Err(e) => {
                tracing::warn!(%file, reason = %Chain(&e), "the renewed certificate cannot be used; the one before is shown on");
                self.refused = Some(found);
            }
        }
    }
}

/// Both doors, or none.
fn replace(owner: &LiveTls, device: &LiveTls, pair: &Pair) -> Result<(), StartError> {
    let (for_owners, for_devices) = (tls::for_owners(pair)?, tls::for_devices(pair)?);
    owner.store(Arc::new(for_owners));
    device.store(Arc::new(for_devices));
    Ok(())
}

fn read(file: &Path, key: &Path) -> Result<Pair, StartError> {
    let cannot = |path: &Path| {
        let home = path.to_owned();
        move |source| StartError::Home { home, source }
    };
    let missing = |path: &Path, expected| StartError::Content {
        path: path.to_owned(),
        expected,
    };
    let chain = keep::read_public(file).map_err(cannot(file))?;
    let chain_pem = chain.and_then(|bytes| String::from_utf8(bytes).ok());
    let key_bytes = keep::read_private(key).map_err(cannot(key))?;
    let key_pem = key_bytes.and_then(|bytes| Some(std::str::from_utf8(&bytes).ok()?.to_owned()));
    Ok(Pair {
        chain_pem: chain_pem
            .ok_or_else(|| missing(file, "a certificate chain (certificate.file)"))?,
        key_pem: SecretText::new(
            key_pem.ok_or_else(|| missing(key, "a private key (certificate.key)"))?,
        ),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arc_swap::ArcSwap;
    use sectag_proto::Timestamp;

    /// Somebody else's certificates: a home of their own makes them.
    struct Elsewhere {
        dir: tempfile::TempDir,
    }

    impl Elsewhere {
        /// A pair for this name, put where the service looks.
        fn put(&self, name: &str) -> Pair {
            let now = Timestamp::from_secs(1_800_000_000);
            let home = Home::open(&self.dir.path().join(name), now).unwrap();
            let pair = home.server_pair(&[name.to_owned()]).unwrap();
            keep::write_public(&self.file(), pair.chain_pem.as_bytes()).unwrap();
            keep::write_private(&self.key(), pair.key_pem.expose().as_bytes()).unwrap();
            pair
        }

        fn file(&self) -> PathBuf {
            self.dir.path().join("fullchain.pem")
        }

        fn key(&self) -> PathBuf {
            self.dir.path().join("privkey.pem")
        }

        fn watched(&self) -> (Watched, watch::Receiver<Arc<Pair>>) {
            let pair = Arc::new(read(&self.file(), &self.key()).unwrap());
            let live = |config| -> LiveTls { Arc::new(ArcSwap::from_pointee(config)) };
            let (datagrams, pairs) = watch::channel(pair.clone());
            let watched = Watched {
                files: (self.file(), self.key()),
                refused: None,
                owner: live(tls::for_owners(&pair).unwrap()),
                device: live(tls::for_devices(&pair).unwrap()),
                datagrams,
                shown: pair,
            };
            (watched, pairs)
        }
    }

    #[test]
    fn a_renewed_pair_is_shown_and_half_of_one_is_not() {
        let elsewhere = Elsewhere {
            dir: tempfile::tempdir().unwrap(),
        };
        let first = elsewhere.put("a.example");
        let (mut watched, mut pairs) = elsewhere.watched();
        let before = watched.device.load_full();
        watched.look();
        assert!(!pairs.has_changed().unwrap(), "nothing is new");

        // The certificate is there, its key is not yet.
        let second = elsewhere.put("b.example");
        keep::write_private(&elsewhere.key(), first.key_pem.expose().as_bytes()).unwrap();
        watched.look();
        assert!(Arc::ptr_eq(&before, &watched.device.load_full()));
        assert!(!pairs.has_changed().unwrap());
        keep::remove(&elsewhere.key()).unwrap();
        watched.look();

        keep::write_private(&elsewhere.key(), second.key_pem.expose().as_bytes()).unwrap();
        watched.look();
        assert!(!Arc::ptr_eq(&before, &watched.device.load_full()));
        assert_eq!(pairs.borrow_and_update().chain_pem, second.chain_pem);
    }
}
