//! `sectag cert` as somebody types it who has a file, a project, or a server: what it does, and what it says to mistakes.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

use sectag_modem::VirtualModem;
use sectag_modem::host::{AtHost, NoHandler, Shell, ShellOptions, Terminator};
use sectag_pki::{Authority, PrivateKey, Purpose, ServerName, pem};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use support::{Home, Output, run, sectag};

/// A folder with a CA, a server certificate, its key, and the same in other forms.
struct Desk {
    home: Home,
    dir: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let home = Home::new();
        let dir = home.beside("project");
        std::fs::create_dir(&dir).unwrap();
        let desk = Self { home, dir };
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now_s = now_s.as_secs();
        let root = Authority::root("Root", now_s).unwrap();
        let servers = root.issuing(Purpose::Servers, now_s).unwrap();
        let devices = root.issuing(Purpose::Devices, now_s).unwrap();
        let key = PrivateKey::generate().unwrap();
        let names = [ServerName::Dns("server.example".into())];
        let server = servers
            .issue_server(&key.spki_der(), &names, now_s)
            .unwrap();
        let device = devices
            .issue_device(&key.spki_der(), "dev-1", now_s)
            .unwrap();
        desk.put("ca.crt", root.certificate_pem());
        desk.put("ca.der", root.certificate_der());
        desk.put("ca.key", &*root.key().to_pem());
        desk.put("server.crt", server.pem() + &servers.certificate_pem());
        desk.put("server.key", &*key.to_pem());
        desk.put("client.crt", device.pem());
        desk
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.dir.join(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).unwrap()
    }

    /// In the project's folder.
    fn cert(&self, args: &[&str]) -> Output {
        self.cert_in("", args)
    }

    fn cert_in(&self, folder: &str, args: &[&str]) -> Output {
        let mut command: Command = sectag(&self.home.path());
        command
            .arg("cert")
            .args(args)
            .current_dir(self.dir.join(folder));
        run(command)
    }

    /// A refusal, word for word.
    fn refuses(&self, args: &[&str], code: i32, stderr: &str) {
        let said = self.cert(args);
        assert_eq!(said.stderr, stderr, "{args:?}");
        assert_eq!(said.stdout, "", "{args:?}");
        assert_eq!(said.code, Some(code), "{args:?}");
    }
}

#[test]
fn in_the_exercises_project_the_header_is_made_without_arguments() {
    let desk = Desk::new();
    desk.refuses(
        &["header"],
        2,
        "error: no file is given, and there is no `server_certificate.crt` here\n\n\
         hint: give the files, or run it in a project that keeps its CA in server_certificate.crt; \
         `sectag cert chain HOST:PORT --output server_certificate.crt` fetches it\n",
    );
    desk.put("server_certificate.crt", desk.read("ca.crt"));
    desk.refuses(
        &["header"],
        2,
        "error: failed to write `src/certificate.h`: there is no folder `src`\n\n\
         hint: make the folder first, or write elsewhere with --output\n",
    );
    std::fs::create_dir(desk.dir.join("src")).unwrap();
    let said = desk.cert(&["header"]).expect_code(0);
    assert_eq!(
        (said.stdout.as_str(), said.stderr.as_str()),
        ("", "wrote src/certificate.h\n")
    );
    let header = desk.read("src/certificate.h");
    assert!(
        header.starts_with("#define CA_CERTIFICATE \\\n\"-----BEGIN CERTIFICATE-----\\n\" \\\n")
    );
    assert!(header.ends_with("\"-----END CERTIFICATE-----\\n\"\n"));

    // Where its script lies, and once more without a change.
    std::fs::create_dir(desk.dir.join("script")).unwrap();
    let said = desk.cert_in("script", &["header"]).expect_code(0);
    assert_eq!(said.stderr, "unchanged: ../src/certificate.h\n");
    desk.put("server_certificate.crt", desk.read("server.crt"));
    let said = desk.cert(&["header", "--json"]).expect_code(0).json();
    assert_eq!(said["result"], "written");
    assert_eq!(said["names"][0], "CA_CERTIFICATE");
}

#[test]
fn several_files_make_one_header_and_names_must_differ() {
    let desk = Desk::new();
    let said = desk
        .cert(&[
            "header",
            "ca.crt",
            "client.crt",
            "--style",
            "string",
            "--guard",
            "CERTS_H",
        ])
        .expect_code(0);
    assert!(
        said.stdout.starts_with(
            "#ifndef CERTS_H\n#define CERTS_H\n\nstatic const char ca_certificate[] =\n"
        )
    );
    assert!(
        said.stdout
            .contains("static const char client_certificate[] =\n")
    );
    assert!(said.stdout.ends_with("#endif /* CERTS_H */\n"));
    assert_eq!(said.stderr, "");
    let der = desk.cert(&["header", "ca.der"]).expect_code(0);
    assert_eq!(der.stdout, desk.cert(&["header", "ca.crt"]).stdout);
    assert_eq!(der.stderr, "`ca.der` is DER; its PEM form is written\n");
    desk.refuses(
        &["header", "server.crt", "client.crt"],
        2,
        "error: `server.crt` and `client.crt` would both be called CLIENT_CERTIFICATE\n\n\
         hint: give each a name of its own with --name\n",
    );
    desk.refuses(
        &["header", "ca.crt", "--name", "MY-CA"],
        2,
        "error: `MY-CA` cannot be a name in C: letters, digits and `_` make a name\n\nhint: for example MY_CA\n",
    );
    desk.refuses(
        &["header", "ca.crt", "--name", "A", "--name", "B"],
        2,
        "error: 2 names for 1 files\n\nhint: give --name once for each file, in the same order, or not at all\n",
    );
}

#[test]
fn a_private_key_is_written_only_by_a_long_name_and_with_a_warning() {
    let desk = Desk::new();
    desk.refuses(
        &["header", "ca.key"],
        1,
        "error: `ca.key` holds a private key; it is not written into the header unasked\n\n\
         hint: make the key where it stays (`AT%KEYGEN`, `sectag creds keygen`), or, for tests only, add \
         --include-private-key-in-firmware\n",
    );
    let flag = "--include-private-key-in-firmware";
    desk.refuses(
        &["header", "ca.key", flag, "--no-test-keys"],
        1,
        "error: `ca.key` holds a private key, and --no-test-keys forbids it\n\n\
         hint: make the key where it stays: `AT%KEYGEN`, `sectag creds keygen`\n",
    );
    let said = desk
        .cert(&["header", "ca.key", flag, "-o", "key.h"])
        .expect_code(0);
    assert_eq!(
        said.stderr,
        "warning: the private key in `ca.key` is for tests only: whoever can read the header can be this device\n\
         wrote key.h\n"
    );
    assert!(desk.read("key.h").starts_with("#define PRIVATE_KEY \\\n"));
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(desk.dir.join("key.h"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let said = desk
        .cert(&["at-script", "server.key", "--sec-tag", "1"])
        .expect_code(1);
    assert!(
        said.stderr.contains("add --include-private-key-in-script"),
        "{said:?}"
    );
}

/// The script, pasted into the modem's own AT host and into its shell, leaves what it promises.
#[test]
fn a_script_leaves_the_digests_that_it_tells() {
    let desk = Desk::new();
    let files = ["server.key", "ca.crt", "client.crt"];
    let allowed = "--include-private-key-in-script";
    for shell in [false, true] {
        let mut args = vec!["at-script", "--sec-tag", "24", allowed, "--json"];
        args.extend(files);
        if shell {
            args.push("--shell");
        }
        let told = desk.cert(&args).expect_code(0).json();
        let script = told["script"].as_str().unwrap();
        let mut modem = VirtualModem::from_seed(1);
        let mut answer = Vec::new();
        if shell {
            let mut shell = Shell::new(ShellOptions::default());
            let typed = script.replace('\n', "\r");
            shell
                .receive(typed.as_bytes(), &mut modem, &mut NoHandler, &mut answer)
                .unwrap();
        } else {
            let mut host = AtHost::new(Terminator::Lf);
            host.receive(script.as_bytes(), &mut modem, &mut answer)
                .unwrap();
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(!answer.contains("ERROR"), "{answer}");
        for (number, credential) in told["digests"].as_array().unwrap().iter().enumerate() {
            assert_eq!(credential["type"], number);
            let line = format!(
                "%CMNG: 24,{number},\"{}\"",
                credential["sha256"].as_str().unwrap()
            );
            assert!(answer.contains(&line), "{line}\n{answer}");
        }
    }
}

#[test]
fn two_files_of_a_kind_do_not_fit_under_one_tag() {
    let desk = Desk::new();
    desk.refuses(
        &["at-script", "client.crt", "server.crt", "--sec-tag", "24"],
        2,
        "error: `client.crt` and `server.crt` are both a client certificate, and a sec tag keeps one\n\n\
         hint: write two scripts with two tags; several CAs for one tag stand in one file\n",
    );
    let said = desk.cert(&["at-script", "ca.crt", "--sec-tag", "2147483648"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    desk.put("quoted.crt", format!("name=\"x\"\n{}", desk.read("ca.crt")));
    desk.refuses(
        &["at-script", "quoted.crt", "--sec-tag", "24"],
        1,
        "error: the root CA has `\"` in line 1, which cannot travel in an AT command\n\n\
         hint: keep what is between BEGIN and END only: `openssl x509 -in FILE` prints just that\n",
    );
}

#[test]
fn lint_answers_with_its_exit_code_and_names_who_refuses() {
    let desk = Desk::new();
    let good = [
        "lint",
        "server.crt",
        "ca.crt",
        "--name",
        "server.example",
        "--key",
        "server.key",
    ];
    let said = desk.cert(&["lint", "server.crt", "ca.crt"]).expect_code(0);
    assert!(
        said.stdout
            .contains("server.crt: 2 certificates\n  0  end entity    CN=server.example\n"),
        "{said:?}"
    );
    assert!(
        said.stdout.contains("\nrustls             accepts\n"),
        "{said:?}"
    );
    assert_eq!(said.stderr, "");
    desk.cert(&["lint", "client.crt", "ca.crt", "--for", "modem"])
        .expect_code(0);
    let said = desk.cert(&good).expect_code(0);
    assert!(!said.stdout.contains("["), "nothing to find: {said:?}");
    let said = desk.cert(&["lint", "server.crt", "--key", "ca.key", "--roots", "ca.crt"]);
    assert!(said.expect_code(1).stdout.contains("[key-mismatch]"));
    let said = desk.cert(&[
        "lint",
        "server.crt",
        "--roots",
        "ca.crt",
        "--name",
        "other.example",
    ]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stdout
            .contains("reached as other.example, and it is for DNS:server.example"),
        "{said:?}"
    );
    assert_eq!(
        said.stderr,
        "error: `server.crt` will be refused by rustls, OpenSSL (level 1), OpenSSL (level 2), Mbed TLS and nRF91 modem\n"
    );
    let said = desk
        .cert(&["lint", "server.crt", "--roots", ".", "--client", "--json"])
        .expect_code(1);
    let value = said.json();
    let found = value["items"][0]["findings"].as_array().unwrap();
    assert!(
        found.iter().any(|f| f["rule"] == "no-client-auth"),
        "{value:#}"
    );
    assert_eq!(value["items"][0]["verdicts"]["rustls"], "refuses");
    let der = desk
        .cert(&["lint", "ca.der", "--for", "rustls"])
        .expect_code(0);
    assert!(der.stdout.contains("[der-not-pem]"), "{der:?}");
    desk.cert(&["lint", "ca.der", "--for", "modem"])
        .expect_code(1);
    assert!(
        desk.cert(&["lint", "--rules"])
            .expect_code(0)
            .stdout
            .contains("### cn-only")
    );
}

#[test]
fn what_is_no_certificate_is_told_apart() {
    let desk = Desk::new();
    std::fs::create_dir(desk.dir.join("folder")).unwrap();
    desk.put("broken.crt", &desk.read("ca.crt")[..200]);
    desk.put("text.crt", "hello");
    for verb in [
        &["lint"][..],
        &["header"],
        &["at-script", "--sec-tag", "1"],
        &["show"],
    ] {
        let said = |file: &str| desk.cert(&[verb, &[file]].concat());
        let stderr = |file: &str, code| said(file).expect_code(code).stderr;
        assert_eq!(
            stderr("folder", 2),
            "error: failed to read `folder`: it is a directory\n\nhint: give a file in it\n"
        );
        assert_eq!(
            stderr("absent.crt", 2),
            "error: failed to read `absent.crt`: No such file or directory (os error 2)\n"
        );
        assert_eq!(
            stderr("/dev/zero", 2),
            "error: failed to read `/dev/zero`: more than 1048576 bytes\n"
        );
        assert!(stderr("broken.crt", 1).contains("hint: was the text cut short, or changed?"));
        assert!(
            stderr("text.crt", 1).starts_with("error: `text.crt` holds no certificate in PEM\n")
        );
        assert!(
            said("ca.key")
                .stderr
                .starts_with("error: `ca.key` holds a private key")
        );
        assert_eq!(said("ca.key").code, Some(1));
        assert_ne!(
            said("ca.der").code,
            Some(2),
            "DER is taken: {:?}",
            said("ca.der")
        );
    }
    for (label, words) in [
        (
            "CERTIFICATE REQUEST",
            "a request for a certificate, not a certificate",
        ),
        (
            "TRUSTED CERTIFICATE",
            "a section called TRUSTED CERTIFICATE, which only OpenSSL reads",
        ),
        ("PUBLIC KEY", "a public key, not a certificate"),
    ] {
        desk.put("other.pem", pem::encode(label, b"anything"));
        let said = desk.cert(&["lint", "other.pem"]).expect_code(1);
        let first = format!("error: `other.pem` holds {words}");
        assert_eq!(said.stderr.lines().next(), Some(first.as_str()));
    }
    desk.refuses(
        &["lint", "server.crt", "--key", "ca.crt"],
        1,
        "error: `ca.crt` holds no private key in PEM\n",
    );
    desk.refuses(
        &["lint", "server.crt", "--name", "https://server.example"],
        2,
        "error: `https://server.example` is neither a host name nor an IP address\n\n\
         hint: give the name alone, without port and without https://\n",
    );
}

#[test]
fn mistakes_with_host_and_port_are_named() {
    let desk = Desk::new();
    for (typed, word) in [
        (
            "localhost",
            "the port is missing; give it behind a colon, like localhost:8883",
        ),
        ("localhost:", "`` is no port"),
        (
            "localhost:99999",
            "`99999` is no port; ports are 1 to 65535",
        ),
        ("::1", "an IPv6 address stands in brackets, like [::1]:8883"),
        (
            "mqtts://localhost:8883",
            "give host and port without `mqtts://`, like localhost:8883",
        ),
    ] {
        let said = desk.cert(&["chain", typed]).expect_code(2);
        assert!(said.stderr.contains(word), "{said:?}");
    }
    desk.refuses(
        &["chain", "localhost:1", "--server-name", "no name"],
        2,
        "error: `no name` is neither a host name nor an IP address\n\n\
         hint: give the name alone, without port and without https://\n",
    );
    desk.refuses(
        &["chain", "localhost:1", "--fingerprint", &"ab".repeat(20)],
        2,
        &format!(
            "error: `{}` is no SHA-256 fingerprint\n\n\
             hint: that is SHA-1; `openssl x509 -fingerprint -sha256 -noout -in FILE` prints SHA-256\n",
            "ab".repeat(20)
        ),
    );
    let said = desk.cert(&["chain", "nobody.invalid:8883"]).expect_code(2);
    assert!(
        said.stderr
            .starts_with("error: no address is known for `nobody.invalid`\n"),
        "{said:?}"
    );
    assert!(
        said.stderr
            .ends_with("hint: is the host name spelled right?\n"),
        "{said:?}"
    );
}

#[test]
fn a_server_that_speaks_no_tls_is_told_from_one_that_is_not_there() {
    let desk = Desk::new();
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    desk.refuses(
        &["chain", &gone.to_string()],
        2,
        &format!(
            "error: no connection to {gone}\n  caused by: Connection refused (os error 111)\n\n\
             hint: does it run, on this port, and may you reach it from here?\n"
        ),
    );
    let up = desk.home.up(&[]);
    let plain = up.listeners.loopback;
    let said = desk.cert(&["chain", &plain.to_string()]).expect_code(1);
    assert!(
        said.stderr.starts_with(&format!("error: {plain} ")),
        "{said:?}"
    );
    assert!(said.stderr.contains("TLS"), "{said:?}");

    // The home's own listener, with its root.
    let root = desk.home.path().join("ca/root.crt");
    let address = format!("localhost:{}", up.listeners.mqtt.port());
    let said = desk
        .cert(&[
            "chain",
            &address,
            "--no-system-roots",
            "--roots",
            root.to_str().unwrap(),
        ])
        .expect_code(0);
    assert!(
        said.stdout.contains("\nverified     yes, as localhost\n"),
        "{said:?}"
    );
    assert!(
        said.stdout
            .contains("\nroot         CN=Sectag root, not sent, found among the roots known here"),
        "{said:?}"
    );
    assert_eq!(said.stderr, "");
    let said = desk
        .cert(&["chain", &address, "--no-system-roots"])
        .expect_code(1);
    assert!(
        said.stdout
            .contains("root         missing: `CN=Sectag root`"),
        "{said:?}"
    );
    assert_eq!(
        said.stderr.lines().last(),
        Some("hint: ask the operator for the root and give it with --roots FILE")
    );
}

#[test]
fn der_and_pem_say_the_same() {
    let desk = Desk::new();
    let shown = |file: &str| desk.cert(&["show", file, "--json"]).expect_code(0).stdout;
    assert_eq!(shown("ca.der"), shown("ca.crt"));
    let der = std::fs::read(desk.dir.join("ca.der")).unwrap();
    assert_eq!(pem::encode("CERTIFICATE", &der), desk.read("ca.crt"));
}
