//! The same story over every kind of modem.

use crate::desk::{Bench, Desk, KEY_WARNING, der_of};
use crate::support::sectag;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

/// The story of one modem; it must not depend on where the modem is.
fn story(desk: &Desk, modem: &str) {
    let say = |args: &[&str]| {
        let output = desk.creds(modem, args);
        (output.code.unwrap(), output.stdout)
    };
    let ok = |text: &str| (0, text.to_owned());
    assert_eq!(say(&["exists", "24", "0"]), (1, "no\n".to_owned()));
    assert_eq!(
        say(&["write", "24", "ROOT_CA_CERT", "ca-cert.pem"]),
        ok("sec tag 24, ROOT_CA_CERT (0): written\n")
    );
    assert_eq!(say(&["exists", "24", "0"]), ok("yes\n"));
    assert_eq!(
        say(&["write", "24", "0", "ca-cert.pem"]),
        ok("match: sec tag 24, ROOT_CA_CERT (0): nothing written\n")
    );
    assert_eq!(say(&["cmp", "24", "0", "ca-cert.pem"]), ok("match\n"));
    assert_eq!(
        say(&["cmp", "24", "0", "client-cert.pem"]),
        (1, "mismatch\n".to_owned())
    );
    assert_eq!(
        say(&["write", "24", "0", "client-cert.pem"]),
        ok("mismatch: sec tag 24, ROOT_CA_CERT (0): replaced\n")
    );
    assert_eq!(
        say(&["write", "24", "0", "client-cert.pem", "--always"]),
        ok("sec tag 24, ROOT_CA_CERT (0): written\n")
    );
    let (code, read) = say(&["read", "24", "0"]);
    assert_eq!(
        (code, read.replace('\r', "")),
        ok(&desk.text("client-cert.pem"))
    );
    assert_eq!(
        say(&["delete", "24", "0"]),
        ok("sec tag 24, ROOT_CA_CERT (0): deleted\n")
    );
    assert_eq!(say(&["delete", "24", "0"]).0, 1);

    let (code, csr) = say(&["keygen", "42", "--attributes", "O=Example,CN=dev-1"]);
    assert_eq!(code, 0);
    let der = &der_of(&csr);
    assert_eq!(
        sectag_pki::csr::parse(der).unwrap().subject(),
        "O=Example,CN=dev-1"
    );
    assert_eq!(say(&["keygen", "42", "--attributes", "CN=dev-1"]).0, 1);
    let (_, list) = say(&["list", "42"]);
    assert!(
        list.starts_with("TAG  TYPE  NAME        SHA-256\n42   2     CLIENT_KEY  "),
        "{list}"
    );
    assert_eq!(
        say(&["clear", "42"]),
        ok("sec tag 42: 1 credential deleted\n")
    );

    assert_eq!(
        say(&["apply", ".", "--tag", "42", "--plan"]),
        (
            1,
            "  + write    sec tag 42, ROOT_CA_CERT (0)\n  + write    sec tag 42, CLIENT_KEY (2)\n  + write    sec tag 42, CLIENT_CERT (1)\n"
                .to_owned()
        )
    );
    assert_eq!(
        say(&["apply", ".", "--tag", "42"]),
        ok("3 changed, digests checked\n")
    );
    assert_eq!(
        say(&["apply", ".", "--tag", "42"]),
        ok("everything is there; nothing written\n")
    );
    assert_eq!(say(&["cmp", "42", "CLIENT_KEY", "private-key.pem"]).0, 1);
    assert_eq!(
        say(&["cmp", "42", "CLIENT_KEY", "private-key.pem", "--digest"]),
        ok("match\n")
    );
    assert_eq!(
        say(&["clear", "42"]),
        ok("sec tag 42: 3 credentials deleted\n")
    );
    assert_eq!(say(&["clear", "42"]), ok("sec tag 42: nothing was there\n"));
}

#[test]
fn the_story_over_the_homes_virtual_modem_and_over_files() {
    let desk = Desk::new();
    story(&desk, "virtual");
    story(&desk, "files");
    story(
        &desk,
        &format!("files:{}", desk.home.beside("elsewhere").display()),
    );
}

#[test]
fn the_story_over_an_at_host_on_a_pty_and_on_tcp() {
    let desk = Desk::new();
    let bench = Bench::at();
    bench.modem.clone().line("AT+CFUN=1");
    story(&desk, &bench.pty);
    story(&desk, &bench.tcp);
    assert_eq!(bench.mode(), "+CFUN: 1\r\nOK\r\n", "online as before");
}

#[test]
fn the_story_over_a_shell() {
    let desk = Desk::new();
    let bench = Bench::shell();
    bench.modem.clone().line("AT+CFUN=21");
    story(&desk, &bench.pty);
    assert_eq!(bench.mode(), "+CFUN: 21\r\nOK\r\n");
}

#[test]
fn equal_content_is_no_flash_write_and_no_moment_offline() {
    let desk = Desk::new();
    let bench = Bench::at();
    bench.modem.clone().line("AT+CFUN=1");
    let apply = || {
        desk.creds(&bench.tcp, &["apply", ".", "--tag", "42"])
            .expect_code(0)
    };
    apply();
    let writes = bench.modem.lock().flash_writes();
    bench.modem.clone().line("AT+CGEREP=1");
    for _ in 0..3 {
        apply();
        desk.creds(&bench.tcp, &["write", "42", "0", "ca-cert.pem"])
            .expect_code(0);
    }
    assert_eq!(bench.modem.lock().flash_writes(), writes);
    let said = sectag_modem::Modem::notifications(&mut bench.modem.clone());
    assert!(!said.iter().any(|line| line.contains("DETACH")), "{said:?}");
}

#[test]
fn who_the_modem_is_and_json() {
    let desk = Desk::new();
    let bench = Bench::shell();
    let imei = bench.modem.lock().identity().imei.clone();
    assert_eq!(
        desk.creds(&bench.pty, &["imei"]).stdout,
        format!("{imei}\n")
    );
    let token = desk.creds(&bench.pty, &["attest", "--json"]).json();
    assert_eq!(token["token"].as_str().unwrap().split('.').count(), 2);
    desk.creds(&bench.pty, &["write", "24", "0", "ca-cert.pem"]);
    let list = desk.creds(&bench.pty, &["list", "24", "--json"]).json();
    assert_eq!(list["items"][0]["tag"], 24);
    assert_eq!(list["items"][0]["type"], 0);
    assert_eq!(list["items"][0]["typeName"], "ROOT_CA_CERT");
    assert_eq!(list["items"][0]["sha256"].as_str().unwrap().len(), 64);
    let written = desk
        .creds(&bench.pty, &["write", "24", "0", "ca-cert.pem", "--json"])
        .json();
    assert_eq!(written["result"], "unchanged");
    let exists = desk.creds(&bench.pty, &["exists", "9", "0", "--json"]);
    assert_eq!(
        (exists.code, exists.json()["exists"].as_bool()),
        (Some(1), Some(false))
    );
    let plan = desk
        .creds(
            &bench.pty,
            &["apply", ".", "--tag", "24", "--plan", "--json"],
        )
        .json();
    assert_eq!(
        (plan["changes"].as_u64(), plan["applied"].as_bool()),
        (Some(2), Some(false))
    );
}

#[test]
fn a_csr_goes_into_a_file_as_pem_or_der() {
    let desk = Desk::new();
    desk.sectag(&["creds", "keygen", "1", "--der", "-o", "csr.der"])
        .expect_code(0);
    let csr =
        sectag_pki::csr::parse(&std::fs::read(desk.certs().join("csr.der")).unwrap()).unwrap();
    assert!(csr.subject().starts_with("CN="));
    assert_eq!(csr.key_usage_bits.as_deref(), Some("111010000"));
    let output = desk
        .sectag(&["creds", "keygen", "2", "--public-key", "-o", "key.pem"])
        .expect_code(0);
    assert_eq!(
        output.stderr,
        "a new client private key is under sec tag 2; `key.pem` holds its public half\n"
    );
    assert!(
        desk.text("key.pem")
            .starts_with("-----BEGIN PUBLIC KEY-----\n")
    );
    let output = desk.sectag(&["creds", "keygen", "3", "--key-usage", "101010000", "--json"]);
    let made = output.json();
    assert!(made["raw"].as_str().unwrap().contains('.'));
    let csr = sectag_pki::csr::parse(&der_of(made["pem"].as_str().unwrap())).unwrap();
    assert_eq!(csr.key_usage_bits.as_deref(), Some("101010000"));
    let output = desk
        .sectag(&["creds", "keygen", "4", "--out", "no/such/folder"])
        .expect_code(2);
    assert!(
        output
            .stdout
            .starts_with("-----BEGIN CERTIFICATE REQUEST-----\n")
    );
    assert!(output.stderr.contains(
        "the key is under sec tag 4, and what should have gone into the file is printed as PEM"
    ));
    let output = desk.sectag(&["creds", "keygen", "3", "--type", "8", "--public-key"]);
    assert!(output.stdout.starts_with("-----BEGIN PUBLIC KEY-----\n"));
}

#[test]
fn a_dry_run_sends_nothing_that_changes() {
    let desk = Desk::new();
    let bench = Bench::at();
    bench.modem.clone().line("AT+CFUN=1");
    let output = desk
        .creds(
            &bench.pty,
            &["write", "42", "2", "private-key.pem", "--dry-run"],
        )
        .expect_code(0);
    assert_eq!(
        output.stdout,
        "sec tag 42, CLIENT_KEY (2): would be written\n"
    );
    assert_eq!(
        output.stderr,
        format!(
            "{KEY_WARNING}dry run: not sent: AT+CFUN=4\ndry run: not sent: AT%CMNG=0,42,2,\"****\"\ndry run: not sent: AT+CFUN=1\n"
        )
    );
    let output = desk
        .creds(&bench.pty, &["apply", ".", "--tag", "42", "--dry-run"])
        .expect_code(0);
    assert_eq!(output.stdout, "3 to change\n");
    desk.creds(&bench.pty, &["keygen", "9", "--dry-run"])
        .expect_code(0);
    assert_eq!(bench.modem.lock().flash_writes(), 0);
    let output = desk
        .creds("files", &["write", "42", "0", "ca-cert.pem", "--dry-run"])
        .expect_code(0);
    assert!(
        output
            .stderr
            .starts_with("dry run: not written: sec tag 42, ROOT_CA_CERT (0) in `")
    );
    assert!(!desk.home.path().join("credentials/42").exists());
}

#[test]
fn a_transcript_holds_the_traffic_and_no_secret() {
    let desk = Desk::new();
    desk.put("psk.hex", "5ec2e75ec2e7");
    let bench = Bench::at();
    let file = desk.certs().join("talk.txt");
    for args in [
        &["write", "42", "2", "private-key.pem"][..],
        &["write", "42", "3", "psk.hex"],
        &["write", "42", "0", "ca-cert.pem"],
    ] {
        let args = [args, &["--transcript", "talk.txt"]].concat();
        desk.creds(&bench.pty, &args).expect_code(0);
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(text.starts_with("# 2"), "{text}");
    assert!(text.contains(" > AT%CMNG=0,42,2,\"****\"\n"), "{text}");
    assert!(text.contains(" > AT%CMNG=0,42,3,\"****\"\n"), "{text}");
    assert!(text.contains("-----BEGIN CERTIFICATE-----\\n"), "{text}");
    let key = desk.text("private-key.pem");
    for secret in ["5ec2e7", key.lines().nth(1).unwrap()] {
        assert!(!text.contains(secret));
    }
}

#[test]
fn files_are_old_or_new_after_a_power_cut() {
    let desk = Desk::new();
    desk.creds("files", &["write", "42", "0", "ca-cert.pem"])
        .expect_code(0);
    let path = desk.home.path().join("credentials/42/root-ca.pem");
    let old = std::fs::read_to_string(&path).unwrap();
    for (point, is_new) in [
        ("keep.file.before-rename", false),
        ("keep.file.after-rename", true),
    ] {
        let output = desk.sectag_in(
            &[
                "creds",
                "--modem",
                "files",
                "write",
                "42",
                "0",
                "client-cert.pem",
            ],
            &[("SECTAG_CRASH_AT", point)],
        );
        assert_eq!(output.signal, Some(9), "{output:#?}");
        let now = std::fs::read_to_string(&path).unwrap();
        let wanted = if is_new {
            desk.text("client-cert.pem").trim_end().to_owned()
        } else {
            old.clone()
        };
        assert_eq!(now, wanted, "{point}");
    }
    let output = desk
        .creds("files", &["write", "42", "0", "client-cert.pem"])
        .expect_code(0);
    assert!(output.stdout.starts_with("match"));
}

#[test]
fn content_comes_from_stdin_too() {
    let desk = Desk::new();
    let mut child = sectag(&desk.home.path())
        .args(["creds", "write", "24", "CA", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(desk.text("ca-cert.pem").as_bytes())
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "sec tag 24, ROOT_CA_CERT (0): written\n"
    );
}
