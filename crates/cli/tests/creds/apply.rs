//! A folder or a manifest: planned, applied, checked; and what about private keys in files.

use crate::desk::{Desk, KEY_WARNING};
use sectag_pki::PrivateKey;

#[test]
fn a_private_key_from_a_file_is_warned_of_or_refused() {
    let desk = Desk::new();
    let output = desk
        .sectag(&["creds", "write", "42", "2", "private-key.pem"])
        .expect_code(0);
    assert_eq!(output.stderr, KEY_WARNING);
    assert!(!output.stdout.contains("PRIVATE"));
    for args in [
        &[
            "creds",
            "write",
            "43",
            "2",
            "private-key.pem",
            "--no-test-keys",
        ][..],
        &["creds", "apply", ".", "--tag", "43", "--no-test-keys"],
    ] {
        let output = desk.sectag(args).expect_code(1);
        assert!(
            output
                .stderr
                .contains("holds a private key, and --no-test-keys refuses keys from files"),
            "{}",
            output.stderr
        );
        assert!(output.stderr.contains("sectag creds keygen"));
    }
    assert_eq!(desk.sectag(&["creds", "list", "43"]).stdout, "");
}

#[test]
fn only_one_of_certificate_and_key_names_the_other() {
    let desk = Desk::new();
    let key = desk.text("private-key.pem");
    std::fs::remove_file(desk.certs().join("private-key.pem")).unwrap();
    desk.refuses(
        &["creds", "apply", ".", "--tag", "42"],
        1,
        "error: sec tag 42 gets a client certificate and has no client private key: mutual TLS needs both\n\n\
         hint: put `private-key.pem` beside it (manifest: private_key), or make the key in the modem first: `sectag creds keygen TAG`\n",
    );
    std::fs::remove_file(desk.certs().join("client-cert.pem")).unwrap();
    desk.put("private-key.pem", &key);
    desk.refuses(
        &["creds", "apply", ".", "--tag", "42"],
        1,
        &format!(
            "{KEY_WARNING}error: sec tag 42 gets a client private key and has no client certificate: mutual TLS needs both\n\n\
             hint: put `client-cert.pem` beside it (manifest: client_cert)\n"
        ),
    );
    assert_eq!(
        desk.sectag(&["creds", "list", "42"]).stdout,
        "",
        "nothing was begun"
    );
}

#[test]
fn a_certificate_for_another_key_shows_both() {
    let desk = Desk::new();
    desk.put("private-key.pem", &PrivateKey::generate().unwrap().to_pem());
    let output = desk
        .sectag(&["creds", "apply", ".", "--tag", "42"])
        .expect_code(1);
    assert!(
        output
            .stderr
            .contains("do not belong together: public key "),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("CSR"), "{}", output.stderr);
}

#[test]
fn a_manifest_is_planned_applied_and_checked() {
    let desk = Desk::new();
    desk.put(
        "tags.toml",
        "[tags.24]\nroot_ca = \"ca-cert.pem\"\n[tags.42]\nclient_cert = \"client-cert.pem\"\nprivate_key = \"private-key.pem\"\nonly = true\n",
    );
    desk.put("psk.hex", "c0ffee\n");
    desk.sectag(&["creds", "write", "42", "PSK", "psk.hex"])
        .expect_code(0);
    let output = desk
        .sectag(&["creds", "apply", "tags.toml", "--plan"])
        .expect_code(1);
    assert_eq!(
        output.stdout,
        "  + write    sec tag 24, ROOT_CA_CERT (0)\n  - delete   sec tag 42, PSK (3)\n  + write    sec tag 42, CLIENT_KEY (2)\n  + write    sec tag 42, CLIENT_CERT (1)\n"
    );
    desk.sectag(&["creds", "apply", "tags.toml"]).expect_code(0);
    desk.sectag(&["creds", "apply", "tags.toml", "--plan"])
        .expect_code(0);
    // From a modem's folder to another modem: a file store is a folder per tag.
    desk.sectag(&["creds", "apply", "tags.toml", "--modem", "files"])
        .expect_code(0);
    let store = desk.home.path().join("credentials");
    let output = desk
        .sectag(&["creds", "apply", store.to_str().unwrap(), "--plan"])
        .expect_code(0);
    assert_eq!(output.stdout.matches("= match").count(), 3);
}

#[test]
fn the_second_set_goes_to_the_secondary_tag() {
    let desk = Desk::new();
    std::fs::rename(
        desk.certs().join("ca-cert.pem"),
        desk.certs().join("ca-cert-2.pem"),
    )
    .unwrap();
    desk.refuses(
        &["creds", "apply", ".", "--tag", "1"],
        2,
        "error: `./ca-cert-2.pem` needs a sec tag\n\nhint: give it with --secondary-tag TAG\n",
    );
    desk.sectag(&["creds", "apply", ".", "--tag", "1", "--secondary-tag", "2"])
        .expect_code(0);
    assert_eq!(desk.sectag(&["creds", "exists", "2", "0"]).stdout, "yes\n");
}
