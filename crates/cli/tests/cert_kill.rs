//! Kill −9 while certificates are issued, renewed, promoted and revoked: at every point that such a verb passes.
//!
//! Whatever the moment, afterwards there is the old pair or the new pair and never a mixture, the register knows every
//! certificate that is on disk, and the same verb again brings the same end.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use sectag_keep::crash::POINTS;
use sectag_pki::{Certificate, KeyPair};
use std::collections::BTreeSet;
use std::path::Path;
use support::{Home, Output};

const SIGKILL: i32 = 9;
/// Fails when somebody adds a step that never ends.
const PASSES_MAX: u64 = 60;

/// One verb, what stood before it, and what must be true after it was killed and repeated.
struct Story {
    name: &'static str,
    before: &'static [&'static [&'static str]],
    verb: &'static [&'static str],
    /// Repeating it may say that it is done already.
    again: &'static [&'static str],
    after: fn(&Home),
}

const STORIES: &[Story] = &[
    Story {
        name: "init",
        before: &[],
        verb: &["ca", "init"],
        again: &["ca", "init"],
        after: |home| {
            for stem in ["root", "servers", "devices"] {
                pair(home, &format!("ca/{stem}"));
            }
            for list in ["servers", "devices"] {
                assert!(home.path().join(format!("ca/{list}.crl")).exists());
            }
            home.sectag(&["cert", "issue", "server"]).expect_code(0);
        },
    },
    Story {
        name: "issue",
        before: &[&["ca", "init"]],
        verb: &["cert", "issue", "client", "one"],
        again: &["cert", "issue", "client", "one"],
        after: |home| assert_eq!(listed(home, "valid"), ["one"]),
    },
    Story {
        name: "replace",
        before: &[&["ca", "init"], &["cert", "issue", "server"]],
        verb: &["cert", "issue", "server", "--force"],
        again: &["cert", "issue", "server", "--force"],
        after: |home| assert_eq!(listed(home, "valid"), ["server"]),
    },
    Story {
        name: "renew",
        before: &[&["ca", "init"], &["cert", "issue", "server"]],
        verb: &["cert", "renew", "server"],
        again: &["cert", "renew", "server"],
        after: |home| {
            assert_eq!(listed(home, "valid"), ["server"]);
            assert_eq!(listed(home, "waiting"), ["server"]);
        },
    },
    Story {
        name: "promote",
        before: &[
            &["ca", "init"],
            &["cert", "issue", "server"],
            &["cert", "renew", "server"],
        ],
        verb: &["cert", "renew", "server", "--now"],
        again: &["cert", "renew", "server", "--now"],
        after: |home| {
            assert_eq!(listed(home, "valid"), ["server"]);
            assert!(listed(home, "waiting").is_empty());
        },
    },
    Story {
        name: "revoke",
        before: &[&["ca", "init"], &["cert", "issue", "client", "one"]],
        verb: &["cert", "revoke", "one"],
        again: &["cert", "revoke", "one"],
        after: |home| {
            assert_eq!(listed(home, "revoked"), ["one"]);
            let list = std::fs::read(home.path().join("ca/devices.crl")).unwrap();
            let material = sectag_pki::material::material(&list);
            assert_eq!(material.revocations[0].revoked, 1);
        },
    },
];

#[test]
fn a_kill_at_every_point_leaves_whole_pairs_and_a_register_that_knows_them() {
    let reached: BTreeSet<&str> = std::thread::scope(|scope| {
        let running: Vec<_> = STORIES
            .iter()
            .map(|story| scope.spawn(|| play(story)))
            .collect();
        running
            .into_iter()
            .flat_map(|one| one.join().unwrap())
            .collect()
    });
    for (point, _) in POINTS.iter().filter(|(name, _)| name.starts_with("pki.")) {
        assert!(reached.contains(point), "{point} was never reached");
    }
}

/// Kills the verb at each pass of each point; gives the points that it passes.
fn play(story: &Story) -> BTreeSet<&'static str> {
    let mut reached = BTreeSet::new();
    let points = POINTS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| name.starts_with("pki.") || name.starts_with("keep."));
    for point in points {
        for pass in 1..PASSES_MAX {
            let home = Home::new();
            for args in story.before {
                home.sectag(args).expect_code(0);
            }
            let armed = format!("{point}:{pass}");
            let cut = home.sectag_with(story.verb, &[("SECTAG_CRASH_AT", &armed)]);
            if cut.code == Some(0) {
                break;
            }
            assert_eq!(
                cut.signal,
                Some(SIGKILL),
                "{} {armed}: {cut:#?}",
                story.name
            );
            reached.insert(point);
            whole(&home);
            let again = home.sectag(story.again);
            assert!(is_done(&again), "{} {armed}: {again:#?}", story.name);
            (story.after)(&home);
            whole(&home);
        }
    }
    assert!(!reached.is_empty(), "{}: no point was reached", story.name);
    reached
}

fn is_done(again: &Output) -> bool {
    again.code == Some(0)
        || (again.code == Some(1)
            && (again.stderr.contains("is there already")
                || again.stderr.contains("holds a CA already")))
}

/// Every pair that can be loaded fits, and the register knows its certificate.
fn whole(home: &Home) {
    let register = home.sectag(&["cert", "list", "--all", "--json"]);
    if register.code != Some(0) {
        return; // there is no CA yet
    }
    let known: BTreeSet<String> = register.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["serial"].as_str().unwrap().to_owned())
        .collect();
    for stem in ["pki/server", "pki/one"] {
        for suffix in ["", ".new"] {
            let path = |kind: &str| home.path().join(format!("{stem}.{kind}{suffix}"));
            if let Some(certificate) = load(&path("crt"), &path("key")) {
                assert!(known.contains(&certificate.serial_hex), "{stem}{suffix}");
            }
        }
    }
}

fn pair(home: &Home, stem: &str) -> Certificate {
    let path = |kind: &str| home.path().join(format!("{stem}.{kind}"));
    load(&path("crt"), &path("key")).expect(stem)
}

fn load(certificate: &Path, key: &Path) -> Option<Certificate> {
    let (certificate, key) = match sectag_keep::load_pair(certificate, key) {
        Ok(found) => found?,
        // Between the two removals of a promotion the certificate alone is left.
        Err(sectag_keep::KeepError::HalfPair { present, .. })
            if present.extension().is_some_and(|end| end == "new") =>
        {
            return None;
        }
        Err(e) => panic!("{e}"),
    };
    let certificate = Certificate::from_pem(std::str::from_utf8(&certificate).unwrap()).unwrap();
    let key = KeyPair::from_pem(std::str::from_utf8(&key).unwrap()).unwrap();
    assert_eq!(sectag_pki::sha256(&key.spki_der()), certificate.spki_sha256);
    Some(certificate)
}

/// Names with this status.
fn listed(home: &Home, status: &str) -> Vec<String> {
    let items = home.json(&["cert", "list", "--all"])["items"].clone();
    let items = items.as_array().unwrap().iter();
    items
        .filter(|item| item["status"] == status)
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect()
}
