//! `sectag nrf91 kconfig`: what it prints is what a firmware reads, and what a device needs to reach this service.
#![allow(clippy::unwrap_used)]

mod support;

use sectag_device::kconfig::Kconfig;
use std::process::Command;
use support::{Home, run};

fn overlay(home: &Home, args: &[&str]) -> Kconfig {
    let printed = home
        .sectag(&[&["nrf91", "kconfig"], args].concat())
        .expect_code(0);
    let mut kconfig = Kconfig::default();
    kconfig.add("sectag.conf", &printed.stdout).unwrap();
    assert_eq!(kconfig.unknown().count(), 0, "{}", printed.stdout);
    kconfig
}

#[test]
fn both_roads_are_printed_in_the_firmware_s_words() {
    let home = Home::new();
    let _up = home.up(&[]);
    let https = overlay(
        &home,
        &["--host", "provisioning.example.org", "--port", "443"],
    );
    let text = |kconfig: &Kconfig, name: &str| kconfig.text(name).map(str::to_owned);
    assert_eq!(
        text(&https, "NRF_PROVISIONING_HTTP_HOSTNAME").as_deref(),
        Some("provisioning.example.org")
    );
    assert_eq!(https.number("NRF_PROVISIONING_HTTP_PORT"), Some(443));
    assert_eq!(https.number("NRF_PROVISIONING_ROOT_CA_SEC_TAG"), Some(50));
    assert_eq!(https.flag("NRF_PROVISIONING_WITH_CERT"), Some(false));
    let coap = overlay(&home, &["--host", "a.example", "--coap", "--port", "5684"]);
    assert_eq!(coap.flag("NRF_PROVISIONING_COAP"), Some(true));
    assert_eq!(
        text(&coap, "NRF_PROVISIONING_COAP_PORT").as_deref(),
        Some("5684")
    );
    assert_eq!(coap.number("NRF_PROVISIONING_ROOT_CA_SEC_TAG"), Some(42));
    let own = overlay(&home, &["--host", "a.example", "--sec-tag", "7"]);
    assert_eq!(own.number("NRF_PROVISIONING_ROOT_CA_SEC_TAG"), Some(7));
}

/// docs/guides/real-nrf91.md, with a virtual modem in the place of the board.
#[test]
fn a_device_with_these_files_gets_to_the_service_and_is_not_claimed_yet() {
    let home = Home::new();
    let _up = home.up(&[]);
    let folder = home.beside("firmware/generated");
    let out = folder.to_str().unwrap();
    let written = home
        .sectag(&["nrf91", "kconfig", "--host", "localhost", "--out", out])
        .expect_code(0);
    assert_eq!(written.stdout.lines().count(), 2, "{written:#?}");
    let conf = folder.join("sectag.conf");
    let session = || home.sectag(&["device", "run", "--kconfig", conf.to_str().unwrap()]);

    // Without the root CA under its tag there is nothing to trust.
    let refused = session();
    assert_ne!(refused.code, Some(0), "{refused:#?}");
    assert!(refused.stderr.contains("root CA"), "{refused:#?}");

    let root = home.path().join("ca/root.crt");
    home.sectag(&[
        "creds",
        "write",
        "50",
        "ROOT_CA_CERT",
        root.to_str().unwrap(),
    ])
    .expect_code(0);
    let session = session();
    assert!(session.stdout.contains("NOT_CLAIMED"), "{session:#?}");
}

#[test]
fn the_header_is_c_and_holds_the_root() {
    let home = Home::new();
    drop(home.up(&[]));
    let folder = home.beside("generated");
    let out = folder.to_str().unwrap();
    home.sectag(&[
        "nrf91",
        "kconfig",
        "--host",
        "a.example",
        "--port",
        "8443",
        "--out",
        out,
    ])
    .expect_code(0);
    let program = home.beside("root.c");
    std::fs::write(
        &program,
        "#include <stdio.h>\n#include \"sectag_root_ca.h\"\n#include \"sectag_root_ca.h\"\nint main(void) { return puts(sectag_root_ca) < 0; }\n",
    )
    .unwrap();
    let binary = home.beside("root");
    let mut cc = Command::new("cc");
    cc.args(["-Wall", "-Werror", "-I", out, "-o"])
        .args([&binary, &program]);
    run(cc).expect_code(0);
    let printed = run(Command::new(&binary)).expect_code(0).stdout;
    assert_eq!(printed.trim_end(), home.read("ca/root.crt").trim_end());
}

#[test]
fn what_would_keep_a_device_out_is_said() {
    let home = Home::new();
    let refused = |args: &[&str], words: &str| {
        let output = home.sectag(&[&["nrf91", "kconfig"], args].concat());
        assert_eq!(output.code, Some(2), "{output:#?}");
        assert!(output.stderr.contains(words), "{output:#?}");
    };
    refused(&[], "no name is known");
    refused(&["--host", "192.0.2.7"], "compares names");
    refused(&["--host", "https://a.example"], "is no host name");
    refused(&["--host", "a.example"], "no root CA at");
    let up = home.up(&[]);
    refused(
        &["--host", "a.example", "--ca", "/etc/hostname"],
        "/etc/hostname",
    );
    let server = home.path().join("tls/server.crt");
    refused(
        &["--host", "a.example", "--ca", server.to_str().unwrap()],
        "holds no root CA",
    );
    let noted = home
        .sectag(&["nrf91", "kconfig", "--host", "a.example"])
        .expect_code(0);
    assert!(
        noted.stderr.contains("does not name `a.example`"),
        "{noted:#?}"
    );
    assert!(
        noted.stderr.contains("where no device gets to"),
        "{noted:#?}"
    );
    drop(up);
    // The first name of the settings is the default.
    home.sectag(&["config", "--service", "add", "names", "b.example"])
        .expect_code(0);
    let named = home.sectag(&["nrf91", "kconfig"]).expect_code(0);
    assert!(named.stdout.contains("\"b.example\""), "{named:#?}");
    let json = home.json(&["nrf91", "kconfig"]);
    assert!(
        json["header"]
            .as_str()
            .unwrap()
            .contains("BEGIN CERTIFICATE")
    );
}

const GUIDE: &str = include_str!("../../../docs/guides/real-nrf91.md");

#[test]
fn the_guide_s_lines_do_what_it_says() {
    let home = Home::new();
    let run_line = |line: &str, out: &str| {
        assert!(GUIDE.contains(line), "`{line}` is not in the guide");
        let words = line.split_whitespace().skip(1);
        let words: Vec<&str> = words
            .map(|word| if word == "generated" { out } else { word })
            .collect();
        home.sectag(&words).expect_code(0)
    };
    let folder = home.beside("generated");
    let out = folder.to_str().unwrap();
    run_line(
        "sectag config --service add names provisioning.example.org",
        out,
    );
    run_line(
        "sectag config --service set listen.device 0.0.0.0:8443 listen.mqtt 0.0.0.0:8883",
        out,
    );
    drop(home.up(&[]));
    let written = run_line(
        "sectag nrf91 kconfig --host provisioning.example.org --out generated",
        out,
    );
    assert!(!written.stderr.contains("does not name"), "{written:#?}");
    for conf in ["CONFIG_NRF_PROVISIONING_HTTP_PORT=8443", "WITH_CERT=n"] {
        let text = std::fs::read_to_string(folder.join("sectag.conf")).unwrap();
        assert!(text.contains(conf), "{text}");
    }
    // The lines of the log that it names are those that are written.
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/../server/src/");
    for (words, source) in [
        ("offers only CBC suites", "listen/offered.rs"),
        ("offers only PSK suites", "listen/offered.rs"),
        ("no curve in common", "listen/offered.rs"),
        ("offers no version", "listen/offered.rs"),
        ("not finished in time", "listen/visit.rs"),
        ("the device is not claimed", "app/identity.rs"),
        ("JWT refused: ", "app/identity.rs"),
        ("key alarm", "app/identity.rs"),
        ("times in a minute", "admission.rs"),
        ("identity key pinned", "app/session.rs"),
        ("commands delivered", "app/session.rs"),
        ("report settled", "app/session.rs"),
    ] {
        let text = std::fs::read_to_string(format!("{sources}{source}")).unwrap();
        assert!(GUIDE.contains(words) && text.contains(words), "{words}");
    }
}

#[test]
fn the_guide_s_c_is_c() {
    let home = Home::new();
    drop(home.up(&[]));
    let folder = home.beside("generated");
    let out = folder.to_str().unwrap();
    home.sectag(&["nrf91", "kconfig", "--host", "a.example", "--out", out])
        .expect_code(0);
    let c = GUIDE.split("```c\n").nth(1).unwrap();
    let (includes, call) = c.split("```").next().unwrap().split_once("\n\n").unwrap();
    // The SDK's header, as far as it is used here.
    std::fs::create_dir(folder.join("modem")).unwrap();
    std::fs::write(
        folder.join("modem/modem_key_mgmt.h"),
        "#include <stddef.h>\n#include <stdint.h>\nenum modem_key_mgmt_cred_type { MODEM_KEY_MGMT_CRED_TYPE_CA_CHAIN };\n\
         int modem_key_mgmt_write(uint32_t, enum modem_key_mgmt_cred_type, const void *, size_t);\n",
    )
    .unwrap();
    let program = home.beside("root.c");
    std::fs::write(
        &program,
        format!("{includes}\nint f(void) {{\n{call}\nreturn err; }}\n"),
    )
    .unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-Wall", "-Werror", "-fsyntax-only", "-I", out])
        .arg("-DCONFIG_NRF_PROVISIONING_ROOT_CA_SEC_TAG=50")
        .arg(&program);
    run(cc).expect_code(0);
}

/// "Certificates from a public authority": another home plays the authority.
#[test]
fn a_certificate_from_elsewhere_is_shown_over_both_roads() {
    let (authority, home) = (Home::new(), Home::new());
    drop(authority.up(&[]));
    let file = |name: &str| {
        let path = authority.path().join(name);
        path.into_os_string().into_string().unwrap()
    };
    home.sectag(&[
        "config",
        "--service",
        "set",
        "certificate.file",
        &file("tls/server.crt"),
    ])
    .expect_code(1);
    home.sectag(&[
        "config",
        "--service",
        "set",
        "certificate.file",
        &file("tls/server.crt"),
        "certificate.key",
        &file("tls/server.key"),
    ])
    .expect_code(0);
    let _up = home.up(&[]);
    let roads: &[&str] = if cfg!(feature = "coap") {
        &["https", "coap"]
    } else {
        &["https"]
    };
    for road in roads {
        let run = |ca: &str, name: &str| {
            home.sectag(&[
                "device",
                "run",
                "--transport",
                road,
                "--name",
                name,
                "--ca",
                ca,
            ])
        };
        let trusted = run(&file("ca/root.crt"), &format!("a-{road}"));
        assert!(
            trusted.stdout.contains("NOT_CLAIMED"),
            "{road}: {trusted:#?}"
        );
        let own = home.path().join("ca/root.crt");
        let stranger = run(own.to_str().unwrap(), &format!("b-{road}"));
        assert!(stranger.stdout.contains("FAILED"), "{road}: {stranger:#?}");
    }
}
