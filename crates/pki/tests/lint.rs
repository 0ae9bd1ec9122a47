//! Each rule of the lint against a certificate that breaks it, and against webpki and OpenSSL themselves: where the
//! table says that a cell is tested, this is the test. Without openssl its columns are passed over;
//! `SECTAG_PEERS=require` makes its absence a failure.
// The peer is a process, and it reads files.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

#[path = "lint/maker.rs"]
mod maker;
#[path = "lint/scenes.rs"]
mod scenes;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use maker::NOW_S;
use proptest::prelude::*;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use scenes::{Scene, scenes};
use sectag_pki::lint::{Answer, Context, Ground, RULES, Verifier, lint, lint_chain};
use sectag_pki::{Purpose, ServerName, pem};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

#[test]
fn each_scene_breaks_its_rule_and_good_chains_break_none() {
    for scene in cached() {
        let found = ids(scene);
        match scene.rule {
            Some(rule) => assert!(found.contains(&rule), "{rule} is not among {found:?}"),
            None => assert!(found.is_empty(), "{} is good, but {found:?}", scene.what),
        }
    }
}

#[test]
fn rustls_answers_as_the_table_says() {
    let mut asked = BTreeSet::new();
    for scene in cached() {
        let answer = webpki_accepts(scene);
        compare(scene, Verifier::Rustls, answer, &mut asked);
    }
    complete(Verifier::Rustls, &asked);
}

#[test]
fn openssl_answers_as_the_table_says_at_both_levels() {
    if !have_openssl() {
        return;
    }
    for (verifier, level) in [(Verifier::OpenSsl1, 0), (Verifier::OpenSsl2, 1)] {
        let mut asked = BTreeSet::new();
        for (scene, answers) in cached().iter().zip(openssl_answers()) {
            let answer = answers[level].clone();
            compare(scene, verifier, answer, &mut asked);
        }
        complete(verifier, &asked);
    }
}

/// A verifier that refuses a scene must be named by one of the findings; one that takes it must be named by none.
#[test]
fn the_report_names_exactly_those_who_refuse() {
    let openssl = have_openssl();
    for (at, scene) in cached().iter().enumerate() {
        let report = lint_chain(&scene.chain, &context(scene)).unwrap();
        let refused = report.refused_by();
        let depends = report
            .findings
            .iter()
            .flat_map(|finding| finding.rule.depends_for())
            .collect::<Vec<_>>();
        let check = |verifier: Verifier, answer: Result<(), String>| {
            if !depends.contains(&verifier) {
                assert_eq!(
                    refused.contains(&verifier),
                    answer.is_err(),
                    "{}: {verifier}, {answer:?}, {:?}",
                    scene.what,
                    ids(scene)
                );
            }
        };
        check(Verifier::Rustls, webpki_accepts(scene));
        if openssl {
            let [one, two] = openssl_answers()[at].clone();
            check(Verifier::OpenSsl1, one);
            check(Verifier::OpenSsl2, two);
        }
    }
}

#[test]
fn the_key_of_another_certificate_is_seen() {
    use sectag_pki::Authority;
    let [one, other] = [(); 2].map(|()| Authority::root("Root", NOW_S).unwrap());
    let file = |key: &Authority| format!("{}{}", one.certificate_pem(), *key.key().to_pem());
    let context = Context {
        now_s: NOW_S,
        purpose: None,
        name: None,
        roots: &[],
    };
    let found = |text: String| -> Vec<&str> {
        let report = lint(text.as_bytes(), &context).unwrap();
        report.findings.iter().map(|f| f.rule.id).collect()
    };
    assert_eq!(found(file(&one)), ["key-in-file"]);
    assert_eq!(found(file(&other)), ["key-in-file", "key-mismatch"]);
}

#[test]
fn a_byte_order_mark_is_the_one_oddity_of_text_that_rustls_does_not_read() {
    let good = &cached()[0];
    let pem = pem::encode("CERTIFICATE", &good.chain[0]);
    for (rule, text) in [
        ("pem-crlf", pem.replace('\n', "\r\n")),
        ("pem-text-around", format!("subject=CN = a\n{pem}")),
        ("pem-no-final-newline", pem.trim_end().to_owned()),
        ("pem-bom", format!("\u{feff}{pem}")),
    ] {
        let report =
            lint(text.as_bytes(), &context(good)).unwrap_or_else(|e| panic!("{rule}: {e}"));
        assert!(report.findings.iter().any(|f| f.rule.id == rule), "{rule}");
        let bytes = text.as_bytes();
        let read = CertificateDer::pem_slice_iter(bytes).next();
        assert_eq!(read.is_some_and(|r| r.is_ok()), rule != "pem-bom", "{rule}");
        if have_openssl() {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("c.pem"), &text).unwrap();
            let said = Command::new("openssl")
                .args(["x509", "-noout", "-in", "c.pem"])
                .current_dir(dir.path())
                .output()
                .unwrap();
            assert!(said.status.success(), "{rule}: {said:?}");
        }
    }
}

#[test]
fn expiry_is_counted_from_the_clock_that_is_given() {
    let good = &cached()[0];
    let end_s = sectag_pki::show(&good.chain[0]).unwrap().not_after_s;
    let at = |now_s: u64| -> Vec<&str> {
        let context = Context {
            now_s,
            ..context(good)
        };
        let report = lint_chain(&good.chain[..1], &context).unwrap();
        let times = report.findings.iter().map(|f| f.rule.id);
        times.filter(|id| id.contains("expire")).collect()
    };
    let day = 24 * 60 * 60;
    assert_eq!(at(end_s - 91 * day), Vec::<&str>::new());
    assert_eq!(at(end_s - 89 * day), ["expires-in-90-days"]);
    assert_eq!(at(end_s - 29 * day), ["expires-in-30-days"]);
    assert_eq!(at(end_s), ["expires-in-30-days"]);
    assert_eq!(at(end_s + 1), ["expired"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Changed bytes are refused or linted, never a panic.
    #[test]
    fn no_change_of_bytes_panics(
        scene in 0usize..64,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        clock in any::<u64>(),
    ) {
        let scenes = cached();
        let scene = &scenes[scene % scenes.len()];
        let mut chain = scene.chain.clone();
        for (at, value) in changes {
            let der = &mut chain[0];
            let at = at.index(der.len());
            der[at] = value;
        }
        let context = Context { now_s: clock, ..context(scene) };
        let _ = lint_chain(&chain, &context);
        let name = scene.name.clone().unwrap_or(ServerName::Dns("a".to_owned()));
        let _ = sectag_pki::lint::chain::judge(&chain, &scene.roots, &name, clock);
        let _ = lint(&chain[0], &context);
        let _ = lint(pem::encode("CERTIFICATE", &chain[0]).as_bytes(), &context);
    }

    #[test]
    fn no_text_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let context = Context { now_s: NOW_S, purpose: None, name: None, roots: &[] };
        let _ = lint(&bytes, &context);
        let text = [b"-----BEGIN CERTIFICATE-----\n", &bytes[..], b"\n-----END CERTIFICATE-----\n"];
        let _ = lint(&text.concat(), &context);
    }
}

fn cached() -> &'static [Scene] {
    static SCENES: std::sync::OnceLock<Vec<Scene>> = std::sync::OnceLock::new();
    SCENES.get_or_init(scenes)
}

fn ids(scene: &Scene) -> Vec<&'static str> {
    let report = lint_chain(&scene.chain, &context(scene)).unwrap();
    report.findings.iter().map(|f| f.rule.id).collect()
}

fn context(scene: &Scene) -> Context<'_> {
    Context {
        now_s: scene.now_s,
        purpose: Some(scene.purpose),
        name: scene.name.as_ref(),
        roots: &scene.roots,
    }
}

fn compare(
    scene: &Scene,
    verifier: Verifier,
    answer: Result<(), String>,
    asked: &mut BTreeSet<&'static str>,
) {
    let Some(id) = scene.rule else {
        assert_eq!(answer, Ok(()), "{verifier} takes {}", scene.what);
        return;
    };
    let cell = sectag_pki::lint::rule(id).cell(verifier);
    if cell.ground != Ground::Tested {
        return;
    }
    let expected = cell.answer == Answer::Refuses;
    assert_eq!(answer.is_err(), expected, "{verifier} and {id}: {answer:?}");
    asked.insert(id);
}

/// Each cell that claims to be tested was.
fn complete(verifier: Verifier, asked: &BTreeSet<&str>) {
    let here = |id: &str| !id.starts_with("pem-") && !id.starts_with("der-");
    for rule in RULES.iter().filter(|rule| here(rule.id)) {
        let tested = rule.cell(verifier).ground == Ground::Tested;
        let openssl_made = scenes::NEEDS_OPENSSL.contains(&rule.id) && !have_openssl();
        assert!(
            !tested || asked.contains(rule.id) || openssl_made,
            "{verifier} was not asked about {}",
            rule.id
        );
    }
}

fn webpki_accepts(scene: &Scene) -> Result<(), String> {
    let ders: Vec<CertificateDer<'_>> = scene
        .chain
        .iter()
        .map(|der| CertificateDer::from(der.as_slice()))
        .collect();
    let roots: Vec<CertificateDer<'_>> = scene
        .roots
        .iter()
        .map(|der| CertificateDer::from(der.as_slice()))
        .collect();
    let anchors: Vec<_> = roots
        .iter()
        .map(|der| anchor_from_trusted_cert(der).map_err(|e| format!("{e:?}")))
        .collect::<Result<_, _>>()?;
    let usage = match scene.purpose {
        Purpose::Servers => KeyUsage::server_auth(),
        Purpose::Devices => KeyUsage::client_auth(),
    };
    let leaf = EndEntityCert::try_from(&ders[0]).map_err(|e| format!("{e:?}"))?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(scene.now_s));
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &ders[1..],
        time,
        usage,
        None,
        None,
    )
    .map_err(|e| format!("{e:?}"))?;
    let name = match &scene.name {
        None => return Ok(()),
        Some(ServerName::Ip(ip)) => rustls_pki_types::ServerName::from(*ip),
        Some(ServerName::Dns(dns)) => dns.as_str().try_into().unwrap(),
    };
    leaf.verify_is_valid_for_subject_name(&name)
        .map_err(|e| format!("{e:?}"))
}

/// At levels 1 and 2, each scene asked once.
fn openssl_answers() -> &'static [[Result<(), String>; 2]] {
    static ANSWERS: std::sync::OnceLock<Vec<[Result<(), String>; 2]>> = std::sync::OnceLock::new();
    ANSWERS.get_or_init(|| {
        let all = cached().iter();
        all.map(|scene| ["1", "2"].map(|level| openssl_accepts(scene, level)))
            .collect()
    })
}

fn openssl_accepts(scene: &Scene, level: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, ders: &[Vec<u8>]| {
        let text: String = ders
            .iter()
            .map(|der| pem::encode("CERTIFICATE", der))
            .collect();
        std::fs::write(dir.path().join(name), text).unwrap();
    };
    put("leaf.pem", &scene.chain[..1]);
    put("between.pem", &scene.chain[1..]);
    put("roots.pem", &scene.roots);
    let mut command = Command::new("openssl");
    command
        .current_dir(dir.path())
        .args(["verify", "-no-CApath", "-no-CAstore", "-auth_level", level])
        .args(["-attime", &scene.now_s.to_string(), "-CAfile", "roots.pem"])
        .args([
            "-purpose",
            match scene.purpose {
                Purpose::Servers => "sslserver",
                Purpose::Devices => "sslclient",
            },
        ]);
    if scene.chain.len() > 1 {
        command.args(["-untrusted", "between.pem"]);
    }
    match &scene.name {
        None => {}
        Some(ServerName::Dns(name)) => {
            command.args(["-verify_hostname", name]);
        }
        Some(ServerName::Ip(ip)) => {
            command.args(["-verify_ip", &ip.to_string()]);
        }
    }
    let said = command.arg("leaf.pem").output().unwrap();
    if said.status.success() {
        return Ok(());
    }
    let text = [said.stdout, said.stderr].concat();
    Err(String::from_utf8_lossy(&text).into_owned())
}

fn have_openssl() -> bool {
    let present = Command::new("openssl")
        .arg("version")
        .output()
        .is_ok_and(|o| o.status.success());
    assert!(
        present || std::env::var("SECTAG_PEERS").as_deref() != Ok("require"),
        "SECTAG_PEERS=require, but openssl is not installed"
    );
    static SAID: std::sync::Once = std::sync::Once::new();
    if !present {
        SAID.call_once(|| eprintln!("skipped: openssl is not installed"));
    }
    present
}

#[test]
fn the_page_of_rules_is_the_table() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/cert-lint.md"
    );
    assert!(
        std::fs::read_to_string(path).unwrap_or_default() == sectag_pki::lint::reference(),
        "docs/reference/cert-lint.md is not the table; `sectag cert lint --rules` prints it"
    );
}
