//! A certificate and its key: both old or both new, whatever happens between.
//!
//! ```text
//!  .a.crt.next  .a.key.next          written and durable; until here the old pair is valid
//!  .a.key.ready                      the mark: from here the new pair is valid
//!  .a.key.next → a.key               key first (spec/gateway-config.md RULE 20)
//!  .a.crt.next → a.crt
//!  remove .a.key.ready
//! ```
//! Recovery: with the mark, rename what is still called `next` and remove the mark; without it, remove what is called
//! `next`. Both can be interrupted and repeated.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::KeepError;
use crate::edit::put_like;
use crate::write::{
    PRIVATE, PUBLIC, Place, changing, put, read_private, read_public, step, unlink,
};

/// Writes a certificate (mode 0644) and its key (mode 0600) so that [`load_pair`] finds the old two or the new
/// two, also after a power cut. An earlier write that was cut off is finished or discarded first.
///
/// # Errors
/// [`KeepError::Io`] with the step that failed. The old pair is then valid, or the new one if it was decided already.
pub fn write_pair(
    cert_path: &Path,
    cert: &[u8],
    key_path: &Path,
    key: &[u8],
) -> Result<(), KeepError> {
    let pair = Pair::enter(cert_path, key_path)?;
    pair.recover()?;
    pair.write(put(&pair.key_next, key, PRIVATE).and_then(|()| put(&pair.cert_next, cert, PUBLIC)))
}

/// As [`write_pair`], and files that are there keep their owner and mode: a broker that runs as another user reads its
/// renewed key as it read the old one.
///
/// # Errors
/// As [`write_pair`], also when the owner cannot be kept.
pub fn replace_pair(
    cert_path: &Path,
    cert: &[u8],
    key_path: &Path,
    key: &[u8],
) -> Result<(), KeepError> {
    let pair = Pair::enter(cert_path, key_path)?;
    pair.recover()?;
    pair.write(
        put_like(&pair.key_next, key, metadata(key_path)?.as_ref(), PRIVATE)
            .and_then(|()| put_like(&pair.cert_next, cert, metadata(cert_path)?.as_ref(), PUBLIC)),
    )
}

/// What [`promote_pair`] put aside, for whoever finds that the new pair does not serve.
#[derive(Debug)]
pub struct Previous {
    /// The certificate; `None` when there was none.
    pub cert: Option<Vec<u8>>,
    /// Its key.
    pub key: Option<Secret>,
}

/// The content of a private file. It prints as `****`.
pub struct Secret(pub Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("****")
    }
}

impl Previous {
    /// Puts the old pair back in place; `false` when there was none.
    ///
    /// # Errors
    /// As [`replace_pair`].
    pub fn restore(&self, cert_path: &Path, key_path: &Path) -> Result<bool, KeepError> {
        let (Some(cert), Some(Secret(key))) = (&self.cert, &self.key) else {
            return Ok(false);
        };
        replace_pair(cert_path, cert, key_path, key).map(|()| true)
    }
}

/// Where a renewed file waits until somebody has proved it: the name with `.new` behind.
pub fn new_beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// Puts `<cert>.new` and `<key>.new` in place, key first, after `check` has seen both (certificate, key); then removes
/// them. `None` when nothing waits. A promotion that was cut off is finished by the next.
///
/// # Errors
/// [`KeepError`] as for reading and writing a pair, as `E`; whatever `check` says. The old pair is then in place.
pub fn promote_pair<E: From<KeepError>>(
    cert_path: &Path,
    key_path: &Path,
    check: impl FnOnce(&[u8], &[u8]) -> Result<(), E>,
) -> Result<Option<Previous>, E> {
    let (cert_new, key_new) = (new_beside(cert_path), new_beside(key_path));
    // Finishes or discards what was cut off while it was written.
    let waiting = match load_pair(&cert_new, &key_new) {
        // What a cut between the two removals left is in place already.
        Err(KeepError::HalfPair { present, .. }) if is_same(&present, &cert_new, cert_path)? => {
            unlink(&present).map_err(KeepError::io("remove", &present))?;
            None
        }
        other => other?,
    };
    let Some((cert, key)) = waiting else {
        return Ok(None);
    };
    check(&cert, &key)?;
    let previous = {
        let pair = Pair::enter(cert_path, key_path)?;
        pair.recover()?;
        Previous {
            cert: read_public(cert_path)?,
            key: read_public(key_path)?.map(|key| Secret(Zeroizing::new(key))),
        }
    };
    step("pki.promote.checked").map_err(KeepError::io("promote", &cert_new))?;
    replace_pair(cert_path, &cert, key_path, &key)?;
    step("pki.promote.swapped").map_err(KeepError::io("promote", &cert_new))?;
    for path in [&key_new, &cert_new] {
        crate::remove(path)?;
    }
    Ok(Some(previous))
}

/// Is the half that was left the certificate, and already in place?
fn is_same(present: &Path, cert_new: &Path, cert: &Path) -> Result<bool, KeepError> {
    Ok(present == cert_new && read_public(cert_new)? == read_public(cert)?)
}

fn metadata(path: &Path) -> Result<Option<fs::Metadata>, KeepError> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(KeepError::io("look at", path)(e)),
    }
}

impl Pair<'_> {
    /// From both temporary files on.
    fn write(&self, put_both: Result<(), KeepError>) -> Result<(), KeepError> {
        let pair = self;
        let prepared = put_both
            .and_then(|()| pair.sync("make durable"))
            .and_then(|()| {
                step("keep.pair.before-ready").map_err(KeepError::io("prepare", &pair.ready))
            });
        if let Err(e) = prepared {
            // The error at hand says more than these would, and recovery does the same later.
            let _ = unlink(&pair.key_next);
            let _ = unlink(&pair.cert_next);
            return Err(e);
        }
        put(&pair.ready, b"", PRIVATE)?;
        pair.sync("make durable")?;
        step("keep.pair.after-ready").map_err(KeepError::io("finish", &pair.ready))?;
        pair.finish()
    }
}

/// Reads a certificate and its key; `None` when neither exists. Finishes or discards a write that was cut off.
///
/// # Errors
/// [`KeepError::HalfPair`] when one of them is missing, and whatever [`read_private`] refuses.
#[allow(clippy::type_complexity)] // two files, in the order of the arguments
pub fn load_pair(
    cert_path: &Path,
    key_path: &Path,
) -> Result<Option<(Vec<u8>, Zeroizing<Vec<u8>>)>, KeepError> {
    if !Place::of(key_path)?.dir.exists() {
        return match read_public(cert_path)? {
            None => Ok(None),
            Some(_) => Err(half(cert_path, key_path)),
        };
    }
    let pair = Pair::enter(cert_path, key_path)?;
    pair.recover()?;
    match (read_public(cert_path)?, read_private(key_path)?) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(half(cert_path, key_path)),
        (None, Some(_)) => Err(half(key_path, cert_path)),
    }
}

fn half(present: &Path, missing: &Path) -> KeepError {
    KeepError::HalfPair {
        present: present.to_owned(),
        missing: missing.to_owned(),
    }
}

/// The two files and their hidden neighbours, with the key's directory locked.
struct Pair<'a> {
    cert: &'a Path,
    key: &'a Path,
    cert_next: PathBuf,
    key_next: PathBuf,
    ready: PathBuf,
    cert_dir: PathBuf,
    key_dir: File,
}

impl<'a> Pair<'a> {
    fn enter(cert: &'a Path, key: &'a Path) -> Result<Self, KeepError> {
        let (cert_place, key_place) = (Place::of(cert)?, Place::of(key)?);
        Ok(Self {
            cert,
            key,
            cert_next: cert_place.beside("next"),
            key_next: key_place.beside("next"),
            ready: key_place.beside("ready"),
            key_dir: key_place.enter()?,
            cert_dir: cert_place.dir,
        })
    }

    fn recover(&self) -> Result<(), KeepError> {
        if exists(&self.ready)? {
            // The mark may be all that reached the directory so far as we know: make it durable before acting on it.
            self.sync("make durable")?;
            return self.finish();
        }
        for next in [&self.key_next, &self.cert_next] {
            if exists(next)? {
                unlink(next).map_err(KeepError::io("remove", next))?;
            }
        }
        Ok(())
    }

    /// From the mark on: both renames, then no mark.
    fn finish(&self) -> Result<(), KeepError> {
        rename(&self.key_next, self.key)?;
        step("keep.pair.between-renames").map_err(KeepError::io("finish", self.cert))?;
        rename(&self.cert_next, self.cert)?;
        self.sync("make durable")?;
        step("keep.pair.after-renames").map_err(KeepError::io("finish", self.cert))?;
        unlink(&self.ready).map_err(KeepError::io("remove", &self.ready))?;
        self.sync("make durable")
    }

    fn sync(&self, action: &'static str) -> Result<(), KeepError> {
        changing()
            .and_then(|()| self.key_dir.sync_all())
            .map_err(KeepError::io(action, self.key))?;
        changing()
            .and_then(|()| File::open(&self.cert_dir)?.sync_all())
            .map_err(KeepError::io(action, self.cert))
    }
}

/// Renames, unless it happened before the stop that is being recovered from.
fn rename(from: &Path, to: &Path) -> Result<(), KeepError> {
    match changing().and_then(|()| fs::rename(from, to)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(KeepError::io("rename to", to)),
    }
}

fn exists(path: &Path) -> Result<bool, KeepError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(KeepError::io("look at", path)(e)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::stop;

    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }
        fn cert(&self) -> PathBuf {
            self.0.path().join("a.crt")
        }
        fn key(&self) -> PathBuf {
            self.0.path().join("a.key")
        }
        fn write(&self, which: &str) -> Result<(), KeepError> {
            let (cert, key) = (format!("cert {which}"), format!("key {which}"));
            write_pair(&self.cert(), cert.as_bytes(), &self.key(), key.as_bytes())
        }
        /// "old", "new", or a panic when the halves differ.
        fn load(&self) -> Option<String> {
            let (cert, key) = load_pair(&self.cert(), &self.key()).unwrap()?;
            let cert = String::from_utf8(cert).unwrap();
            let key = String::from_utf8(key.to_vec()).unwrap();
            let (cert, key) = (
                cert.strip_prefix("cert ").unwrap(),
                key.strip_prefix("key ").unwrap(),
            );
            assert_eq!(cert, key, "half of a pair");
            Some(cert.to_owned())
        }
        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(self.0.path())
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    const STEPS_MAX: u32 = 60;

    #[test]
    fn a_pair_that_was_never_written_is_none() {
        assert_eq!(Home::new().load(), None);
        let nowhere = Path::new("/nonexistent/a.crt");
        assert!(load_pair(nowhere, nowhere).unwrap().is_none());
    }

    #[test]
    fn a_stop_at_any_step_leaves_the_old_pair_or_the_new_pair() {
        let (mut old, mut new, mut finished) = (0, 0, false);
        for steps in 0..STEPS_MAX {
            let home = Home::new();
            home.write("old").unwrap();
            finished = stop::after(steps, || home.write("new")).is_ok();
            match home.load().unwrap().as_str() {
                "old" => old += 1,
                "new" => new += 1,
                other => panic!("{other}"),
            }
            if finished {
                assert_eq!(home.load().unwrap(), "new");
            }
            assert_eq!(home.names(), ["a.crt", "a.key"], "step {steps}");
        }
        assert!(finished && old > 5 && new > 5);
    }

    #[test]
    fn a_stop_in_the_recovery_is_recovered_too() {
        for steps in 0..STEPS_MAX {
            for again in 0..12 {
                let home = Home::new();
                home.write("old").unwrap();
                let _ = stop::after(steps, || home.write("new"));
                let _ = stop::after(again, || load_pair(&home.cert(), &home.key()).map(|_| ()));
                assert!(home.load().is_some());
                home.write("next").unwrap();
                assert_eq!(home.load().unwrap(), "next");
                assert_eq!(home.names(), ["a.crt", "a.key"]);
            }
        }
    }

    #[test]
    fn the_first_pair_appears_whole_or_not_at_all() {
        for steps in 0..STEPS_MAX {
            let home = Home::new();
            let finished = stop::after(steps, || home.write("new")).is_ok();
            let seen = home.load();
            assert!(!finished || seen.is_some());
        }
    }

    fn promote(home: &Home) -> Result<Option<Previous>, KeepError> {
        promote_pair(&home.cert(), &home.key(), |cert, key| {
            assert_eq!(cert[5..], key[4..], "half of a pair");
            Ok(())
        })
    }

    fn renew(home: &Home) {
        let (cert, key) = (new_beside(&home.cert()), new_beside(&home.key()));
        write_pair(&cert, b"cert new", &key, b"key new").unwrap();
    }

    #[test]
    fn a_promotion_keeps_owner_and_mode_and_can_be_taken_back() {
        use std::os::unix::fs::PermissionsExt;
        let home = Home::new();
        home.write("old").unwrap();
        assert!(promote(&home).unwrap().is_none());
        fs::set_permissions(home.key(), fs::Permissions::from_mode(0o400)).unwrap();
        renew(&home);
        let previous = promote(&home).unwrap().unwrap();
        assert_eq!(home.load().unwrap(), "new");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&home.key()), mode(&home.cert())), (0o400, 0o644));
        assert_eq!(home.names(), ["a.crt", "a.key"]);
        assert!(!format!("{previous:?}").contains("107"), "{previous:?}");
        assert!(previous.restore(&home.cert(), &home.key()).unwrap());
        assert_eq!(home.load().unwrap(), "old");
    }

    #[test]
    fn a_renewed_pair_that_is_refused_stays_beside() {
        let home = Home::new();
        home.write("old").unwrap();
        renew(&home);
        let refused = promote_pair(&home.cert(), &home.key(), |_, _| {
            Err(KeepError::NoName { path: "x".into() })
        });
        assert!(refused.is_err());
        assert_eq!(home.load().unwrap(), "old");
        assert_eq!(home.names().len(), 4);
    }

    #[test]
    fn a_promotion_stopped_at_any_step_is_finished_by_the_next() {
        for steps in 0..STEPS_MAX {
            let home = Home::new();
            home.write("old").unwrap();
            renew(&home);
            let finished = stop::after(steps, || promote(&home)).is_ok();
            let seen = home.load().unwrap();
            assert!(!finished || seen == "new", "step {steps}");
            promote(&home).unwrap();
            assert_eq!(home.load().unwrap(), "new");
            assert_eq!(home.names(), ["a.crt", "a.key"], "step {steps}");
        }
    }

    #[test]
    fn a_missing_half_is_named() {
        let home = Home::new();
        home.write("old").unwrap();
        fs::remove_file(home.cert()).unwrap();
        let e = load_pair(&home.cert(), &home.key()).unwrap_err();
        assert!(matches!(&e, KeepError::HalfPair { missing, .. } if *missing == home.cert()));
        assert!(e.hint().unwrap().contains("backup"));
    }
}
