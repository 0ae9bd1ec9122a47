//! The stranger judges: hash links that openssl made, and what it says about an incomplete chain.

use std::path::Path;
use std::process::Command;

use sectag_gateway::findings::FindingId::E18;
use sectag_gateway::findings::Severity;

use crate::scene::{Scene, says};

fn openssl(args: &[&str], dir: &Path) -> Option<std::process::Output> {
    match Command::new("openssl").args(args).current_dir(dir).output() {
        Ok(output) => Some(output),
        Err(e) if std::env::var("SECTAG_PEERS").is_ok_and(|wanted| wanted == "require") => {
            panic!("openssl is required: {e}")
        }
        Err(_) => {
            println!("openssl is not here: skipped");
            None
        }
    }
}

#[test]
fn the_fix_of_e18_mends_it() {
    let mut scene = Scene::mutual();
    let directory = scene.directory("cas with blanks");
    let both = scene.devices.certificate_pem() + &scene.root.certificate_pem();
    scene.write("cas with blanks/root.pem", &scene.root.certificate_pem());
    scene.write("cas with blanks/several CAs.crt", &both);
    scene.external().ca_path = Some(directory.clone());
    let found = scene.only(E18);
    says(&found, Severity::Error, "no hash links");
    if openssl(&["version"], &directory).is_none() {
        return;
    }
    let done = Command::new("sh")
        .args(["-c", &found.fix])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    scene.is_clean();
}

#[test]
fn the_fix_for_an_encrypted_key_works_once_the_pass_phrase_is_known() {
    let scene = Scene::mutual();
    let key = scene.write("k.key", &crate::scene::material("encrypted.key"));
    let key = key.to_str().unwrap();
    let open = ["pkey", "-in", key, "-passin", "pass:test", "-pubout"];
    let Some(done) = openssl(&open, &scene.path("")) else {
        return;
    };
    assert!(
        done.status.success(),
        "the material is what it says: {done:?}"
    );
}

#[test]
fn openssl_wants_the_root_as_e11_says() {
    let scene = Scene::mutual();
    scene.write("devices.crt", &scene.devices.certificate_pem());
    let at = crate::scene::NOW_S.to_string();
    let verify = |ca: &str| {
        let args = [
            "verify",
            "-attime",
            &at,
            "-purpose",
            "sslclient",
            "-no-CApath",
            "-CAfile",
            ca,
            "client.crt",
        ];
        Some(openssl(&args, &scene.path(""))?.status.success())
    };
    let Some(with_root) = verify("clients-ca.crt") else {
        return;
    };
    assert!(with_root);
    assert_eq!(verify("devices.crt"), Some(false));
}
