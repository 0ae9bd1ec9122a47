//! A device that is busy, credentials for MQTT, and files that are no certificates.

use crate::desk::Desk;
use crate::support::Home;
use crate::witness::Witness;

#[test]
fn a_device_does_one_thing_at_a_time() {
    let desk = Desk::new();
    let token = desk.home.json(&["device", "token"])["claimToken"].clone();
    let claimed = desk
        .sectag(&["claim", token.as_str().unwrap(), "--onboard", "7"])
        .expect_code(0);
    let topics = format!("{}/#", claimed.stdout.trim_end());
    desk.sectag(&["device", "run"]).expect_code(0);
    let credentials = ["--name", "device-1", "--sec-tag", "7"];
    let _busy = Witness::start(&desk.home.path(), &credentials, &topics);
    let said = desk.sectag(&["device", "run"]).expect_code(2);
    let words: String = said
        .stderr
        .chars()
        .filter(|c| !c.is_ascii_digit())
        .collect();
    assert_eq!(
        words,
        "error: device `device-` is in use by process \n\n\
         hint: a device does one thing at a time: wait for it, stop it, or choose another device with --name\n"
    );
    desk.refuses(
        &["device", "token", "--name", "../x"],
        2,
        "error: `../x` is not a device name: 1 to 64 letters, digits, `-`, `_` and `.`, not beginning with `.`\n\n\
         hint: choose another with --name, for example --name device-2\n",
    );
}

#[test]
fn mqtt_says_which_credentials_are_missing_or_wrong() {
    let desk = Desk::new();
    let other = Home::new();
    assert!(other.up(&[]).stop().success());
    desk.refuses(
        &["mqtt", "sub", "-t", "#"],
        2,
        "error: no credentials to connect with\n\n\
         hint: --name DEVICE uses a device's sec tag, --operator the home's operator certificate, --cert and --key files; --ca alone is for brokers that ask for no certificate\n",
    );
    desk.refuses(
        &["mqtt", "pub", "--name", "device-1", "-t", "~/x", "-m", "x"],
        2,
        "error: no root CA (type 0) under sec tag 16842753 (on an nRF91: error code -111)\n\n\
         hint: write the root CA of the broker to sec tag 16842753: `sectag cert chain localhost:MQTT --name device-1 --to-tag 16842753` fetches and shows it, or provision the device first\n",
    );
    desk.refuses(
        &["mqtt", "pub", "--operator", "-t", "a/#", "-m", "x"],
        2,
        "error: `a/#` holds a wildcard; a message has one topic\n\nhint: wildcards are for `sectag mqtt sub`\n",
    );
    let at = |home: &Home, file: &str| home.path().join(file).to_str().unwrap().to_owned();
    // The other home's root has the same name and another key.
    let foreign = at(&other, "ca/root.crt");
    let said = desk
        .sectag(&["mqtt", "sub", "--operator", "-t", "#", "--ca", &foreign])
        .expect_code(1);
    for words in [
        "ca/root.crt` has the right name and another key",
        "hint: the authority was made again; put its new certificate there: `sectag cert chain localhost:",
        "give that file with `--ca`",
    ] {
        assert!(said.stderr.contains(words), "{said:?}");
    }
    let said = desk
        .sectag(&["device", "run", "--ca", &foreign])
        .expect_code(1);
    assert_eq!(said.stdout, "FAILED\n");
    assert!(
        said.stderr
            .contains("its certificate does not chain to the root CA under sec tag 50"),
        "{said:?}"
    );
    let papers = [
        "--cert",
        &at(&other, "operator/operator.crt"),
        "--key",
        &at(&other, "operator/operator.key"),
    ];
    let said = desk
        .sectag(&[&["mqtt", "sub", "-t", "#"][..], &papers].concat())
        .expect_code(1);
    for words in [
        "refused the client certificate `CN=operator,OU=sectag-operator` of `",
        "the server knows an authority of that name with another key",
        "hint: give the broker the present certificate of `CN=",
    ] {
        assert!(said.stderr.contains(words), "{said:?}");
    }
    let key = at(&desk.home, "ca/root.key");
    desk.refuses(
        &["mqtt", "sub", "--operator", "-t", "#", "--ca", &key],
        2,
        "error: `HOME/ca/root.key` holds no certificate\n\n\
         hint: a PEM file that begins with -----BEGIN CERTIFICATE----- is needed; is this the key?\n",
    );
    desk.refuses(
        &["device", "run", "--name", "device-2", "--ca", &key],
        2,
        "error: `HOME/ca/root.key` holds no certificate\n\n\
         hint: give the file that `sectag ca export` prints on the service's machine with --ca\n",
    );
    let certificate = at(&desk.home, "operator/operator.crt");
    let key = at(&desk.home, "tls/server.key");
    desk.refuses(
        &["mqtt", "sub", "-t", "#", "--cert", &certificate, "--key", &key],
        2,
        "error: `HOME/tls/server.key` is not the key of the certificate in `HOME/operator/operator.crt`\n",
    );
    let server = at(&desk.home, "tls/server.crt");
    let said = desk
        .sectag(&["mqtt", "sub", "-t", "#", "--cert", &server, "--key", &key])
        .expect_code(1);
    assert!(
        said.stderr
            .contains("it is for serverAuth (extended key usage), and clientAuth is needed"),
        "{said:?}"
    );
}

#[test]
fn a_file_that_is_no_certificate_is_told_apart() {
    let desk = Desk::new();
    let show = |file: &str, code, stderr: &str| {
        let path = desk.home.path().join(file);
        desk.refuses(&["cert", "show", path.to_str().unwrap()], code, stderr);
    };
    show(
        "operator/operator.key",
        1,
        "error: `HOME/operator/operator.key` holds a private key, not a certificate\n\n\
         hint: the certificate lies beside it, in the file that ends in .crt\n",
    );
    show(
        "absent.crt",
        2,
        "error: failed to read `HOME/absent.crt`: No such file or directory (os error 2)\n",
    );
    show(
        "sectag.db",
        1,
        "error: `HOME/sectag.db` holds no certificate in PEM\n\n\
         hint: a PEM file begins with -----BEGIN CERTIFICATE-----; DER is converted by `openssl x509 -inform der`\n",
    );
    let whole = desk.home.read("ca/root.crt");
    std::fs::write(desk.home.beside("cut.crt"), &whole[..200]).unwrap();
    let said = desk
        .sectag(&[
            "cert",
            "show",
            desk.home.beside("cut.crt").to_str().unwrap(),
        ])
        .expect_code(1);
    assert!(said.stderr.contains("cut short, or changed?"), "{said:?}");
}
