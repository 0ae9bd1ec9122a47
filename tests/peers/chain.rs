//! `sectag cert chain` beside `openssl s_client -showcerts`: the same links in the same order, and the same answer.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "stranger/mod.rs"]
mod stranger;
#[path = "../../crates/cli/tests/support/mod.rs"]
mod support;
#[path = "../../crates/cli/tests/witness/mod.rs"]
mod witness;

use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use stranger::{ask, have};
use support::{Home, Output};

/// Certificates that openssl made, and servers that show them.
struct Workshop {
    home: Home,
}

/// A running `openssl s_server`; killed on drop.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LEAF: &str = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
                    extendedKeyUsage=serverAuth\nsubjectAltName=DNS:";
const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";

impl Workshop {
    /// A root and an intermediate under it, both EC; a second root, RSA.
    fn new() -> Self {
        let home = Home::new();
        let workshop = Self { home };
        workshop.root("root", "EC -pkeyopt ec_paramgen_curve:P-256");
        workshop.root("rsaroot", "RSA -pkeyopt rsa_keygen_bits:2048");
        workshop.issue("between", "EC -pkeyopt ec_paramgen_curve:P-256", "root", CA);
        workshop
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.beside(name)
    }

    fn text(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap()
    }

    fn openssl(&self, line: &str) {
        let done = Command::new("openssl")
            .args(line.split_whitespace())
            .current_dir(self.file(""))
            .output()
            .unwrap();
        assert!(done.status.success(), "openssl {line}: {done:?}");
    }

    fn root(&self, name: &str, key: &str) {
        self.openssl(&format!("genpkey -algorithm {key} -out {name}.key"));
        self.openssl(&format!(
            "req -x509 -key {name}.key -out {name}.pem -subj /CN={name} -days 400 -addext keyUsage=critical,keyCertSign"
        ));
    }

    fn issue(&self, name: &str, key: &str, by: &str, extensions: &str) {
        std::fs::write(self.file("ext"), extensions).unwrap();
        self.openssl(&format!("genpkey -algorithm {key} -out {name}.key"));
        self.openssl(&format!(
            "req -new -key {name}.key -subj /CN={name} -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {by}.pem -CAkey {by}.key -CAcreateserial -days 400 -extfile ext -out {name}.pem"
        ));
    }

    /// `openssl s_server` with these arguments; it says its port itself.
    fn serve(&self, arguments: &str) -> Server {
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1000"])
            .args(arguments.split_whitespace())
            .current_dir(self.file(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines
            .find_map(|line| {
                line.unwrap()
                    .strip_prefix("ACCEPT 127.0.0.1:")?
                    .parse()
                    .ok()
            })
            .expect("openssl s_server says where it listens");
        // Somebody must read what it prints, or it stops.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, port }
    }

    /// `openssl s_client -showcerts`: the certificates that it prints, and whether it verified them.
    fn showcerts(&self, port: u16, name: &str, root: Option<&str>) -> (Vec<String>, bool) {
        let address = format!("127.0.0.1:{port}");
        let root = root.map(|root| self.text(root));
        let mut args = vec!["s_client", "-connect", &address, "-showcerts"];
        args.extend(["-servername", name, "-verify_hostname", name]);
        args.extend(["-no-CApath", "-no-CAstore"]);
        match &root {
            Some(root) => args.extend(["-CAfile", root]),
            None => args.push("-no-CAfile"),
        }
        let said = ask("openssl", &args);
        let verified = said.stdout.contains("Verify return code: 0 (ok)")
            || said.stdout.contains("Verification: OK");
        (pems(&said.stdout), verified)
    }

    /// `sectag cert chain --json` in the same position.
    fn chain(&self, port: u16, name: &str, root: Option<&str>) -> Value {
        let address = format!("127.0.0.1:{port}");
        let root = root.map(|root| self.text(root));
        let mut args = vec!["cert", "chain", &address, "--server-name", name];
        args.extend(["--no-system-roots", "--json"]);
        if let Some(root) = &root {
            args.extend(["--roots", root]);
        }
        let said = self.home.sectag(&args);
        assert!(matches!(said.code, Some(0 | 1)), "{said:?}");
        let value = said.json();
        assert_eq!(value["verified"] == true, said.code == Some(0), "{said:?}");
        value
    }

    /// The same links, byte for byte, and the same verdict.
    fn agree(&self, port: u16, name: &str, root: Option<&str>) -> Value {
        let (theirs, verified) = self.showcerts(port, name, root);
        let ours = self.chain(port, name, root);
        let links: Vec<&str> = ours["chain"]
            .as_array()
            .unwrap()
            .iter()
            .map(|link| link["pem"].as_str().unwrap())
            .collect();
        assert!(!theirs.is_empty());
        assert_eq!(links, theirs, "{name} {root:?}");
        assert_eq!(ours["verified"], verified, "{name} {root:?}: {ours:#}");
        ours
    }
}

fn pems(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find("-----BEGIN CERTIFICATE-----") {
        let Some(end) = rest[begin..].find("-----END CERTIFICATE-----\n") else {
            break;
        };
        let end = begin + end + "-----END CERTIFICATE-----\n".len();
        found.push(rest[begin..end].to_owned());
        rest = &rest[end..];
    }
    // With -showcerts the first one is printed once more as "Server certificate" by some versions.
    if found.len() > 1 && found.last() == found.first() {
        found.pop();
    }
    found
}

#[test]
fn a_chain_of_ec_with_intermediate_and_root_is_shown_as_openssl_shows_it() {
    if !have(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let leaf = format!("{LEAF}server.example\n");
    workshop.issue(
        "leaf",
        "EC -pkeyopt ec_paramgen_curve:P-256",
        "between",
        &leaf,
    );
    let both = workshop.read("between.pem") + &workshop.read("root.pem");
    std::fs::write(workshop.file("others.pem"), both).unwrap();
    let server = workshop.serve("-cert leaf.pem -key leaf.key -cert_chain others.pem");

    let known = workshop.agree(server.port, "server.example", Some("root.pem"));
    assert_eq!(known["root"]["found"], "sent-and-known");
    assert_eq!(known["chain"].as_array().unwrap().len(), 3);
    assert_eq!(known["path"], serde_json::json!([0, 1, 2]));
    assert_eq!(known["keyProved"], true);
    let unknown = workshop.agree(server.port, "server.example", None);
    assert_eq!(unknown["root"]["found"], "sent");
    workshop.agree(server.port, "server.example", Some("rsaroot.pem"));
    let other_name = workshop.agree(server.port, "other.example", Some("root.pem"));
    let reason = other_name["reason"].as_str().unwrap();
    assert!(
        reason.contains("other.example") && reason.contains("server.example"),
        "{reason}"
    );

    // Text as openssl prints it: the PEMs in the same order.
    let address = format!("127.0.0.1:{}", server.port);
    let said = workshop
        .home
        .sectag(&["cert", "chain", &address, "--showcerts"]);
    let (theirs, _) = workshop.showcerts(server.port, "server.example", None);
    assert_eq!(pems(&said.stdout), theirs);
}

#[test]
fn an_rsa_server_shows_the_certificate_of_the_name_that_is_asked_for() {
    if !have(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    for name in ["first", "second"] {
        let extensions = format!("{LEAF}{name}.example\n");
        workshop.issue(
            name,
            "RSA -pkeyopt rsa_keygen_bits:2048",
            "rsaroot",
            &extensions,
        );
    }
    let server = workshop.serve(
        "-cert first.pem -key first.key -servername second.example -cert2 second.pem -key2 second.key",
    );
    let subject = |value: &Value| value["chain"][0]["subject"].clone();
    let first = workshop.agree(server.port, "first.example", Some("rsaroot.pem"));
    assert_eq!(subject(&first), "CN=first");
    assert_eq!(first["root"]["found"], "known");
    let second = workshop.agree(server.port, "second.example", Some("rsaroot.pem"));
    assert_eq!(subject(&second), "CN=second");
    let missing = workshop.agree(server.port, "second.example", None);
    assert_eq!(missing["root"]["found"], "missing");
    assert_eq!(missing["root"]["missingIssuer"], "CN=rsaroot");
    let rules = missing["findings"].as_array().unwrap();
    assert!(
        rules.iter().any(|finding| finding["rule"] == "rsa"),
        "{missing:#}"
    );
}

/// As the exercise's broker has it: one certificate of P-384, its own issuer and CA:TRUE, which rustls does not take.
#[test]
fn a_broker_that_is_its_own_root_is_shown_as_openssl_shows_it() {
    if !have(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    workshop.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out own.key");
    workshop.openssl(
        "req -x509 -key own.key -out own.pem -subj /CN=own.example -days 400 -addext subjectAltName=DNS:own.example",
    );
    let server = workshop.serve("-cert own.pem -key own.key");
    let known = workshop.agree(server.port, "own.example", Some("own.pem"));
    assert_eq!(known["verified"], true);
    let found = known["findings"].as_array().unwrap();
    let refused = found
        .iter()
        .find(|f| f["rule"] == "ca-as-end-entity")
        .unwrap();
    assert_eq!(refused["refusedBy"], serde_json::json!(["rustls"]));
    let unknown = workshop.agree(server.port, "own.example", None);
    assert_eq!(unknown["root"]["found"], "sent");
    workshop.agree(server.port, "else.example", Some("own.pem"));
}

#[test]
fn our_own_mqtt_listener_is_shown_as_openssl_shows_it() {
    if !have(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let up = workshop.home.up(&[]);
    let port = up.listeners.mqtt.port();
    let root = workshop.home.path().join("ca/root.crt");
    std::fs::copy(root, workshop.file("ours.pem")).unwrap();
    let known = workshop.agree(port, "localhost", Some("ours.pem"));
    assert_eq!(known["root"]["found"], "known");
    assert_eq!(known["wantsClientCertificate"], true);
    assert_eq!(known["verified"], true);
    let unknown = workshop.agree(port, "localhost", None);
    assert_eq!(unknown["root"]["found"], "missing");
    workshop.agree(port, "another.example", Some("ours.pem"));
}

#[test]
fn a_root_goes_under_a_tag_only_with_its_fingerprint_or_a_yes() {
    if !have(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let leaf = format!("{LEAF}server.example\n");
    workshop.issue(
        "leaf",
        "EC -pkeyopt ec_paramgen_curve:P-256",
        "between",
        &leaf,
    );
    std::fs::copy(workshop.file("between.pem"), workshop.file("others.pem")).unwrap();
    let server = workshop.serve("-cert leaf.pem -key leaf.key -cert_chain others.pem");
    let address = format!("127.0.0.1:{}", server.port);
    let roots = workshop.text("root.pem");
    let named = ["cert", "chain", &address, "--server-name", "server.example"];
    let store = format!("files:{}", workshop.text("tags"));
    let to_tag = ["--to-tag", "24", "--modem", &store];
    let run =
        |more: &[&str]| -> Output { workshop.home.sectag(&[&named[..], &to_tag, more].concat()) };
    let stored = || std::fs::read_to_string(ca_file(&workshop.file("tags")).unwrap());

    // A private root that is nowhere: nothing takes its place.
    let said = run(&["--yes"]).expect_code(1);
    assert!(
        said.stderr
            .contains("error: the root is missing: `CN=root`"),
        "{said:?}"
    );
    assert!(ca_file(&workshop.file("tags")).is_none());

    let said = run(&["--roots", &roots]).expect_code(1);
    assert!(
        said.stderr.contains("nothing was written under sec tag 24"),
        "{said:?}"
    );
    let wrong = "00".repeat(32);
    let said = run(&["--roots", &roots, "--fingerprint", &wrong]).expect_code(1);
    assert!(said.stderr.contains(&wrong), "both values: {said:?}");
    assert!(ca_file(&workshop.file("tags")).is_none());

    let print = ask(
        "openssl",
        &["x509", "-noout", "-fingerprint", "-sha256", "-in", &roots],
    );
    let print = print.stdout.trim().split_once('=').unwrap().1.to_owned();
    let said = run(&["--roots", &roots, "--fingerprint", &print]).expect_code(0);
    assert!(said.stderr.contains("wrote CN=root"), "{said:?}");
    assert_eq!(
        stored().unwrap().trim_end(),
        workshop.read("root.pem").trim_end()
    );
    let said = run(&["--roots", &roots, "--yes"]).expect_code(0);
    assert!(said.stderr.contains("unchanged: CN=root"), "{said:?}");

    // An intermediate by its name only, with a warning.
    let said = run(&["--intermediate", "between", "--yes"]).expect_code(0);
    assert!(
        said.stderr.contains("may change at any renewal"),
        "{said:?}"
    );
    assert_eq!(
        stored().unwrap().trim_end(),
        workshop.read("between.pem").trim_end()
    );
    let said = run(&["--intermediate", "nobody", "--yes"]).expect_code(1);
    assert!(
        said.stderr.contains("the server sent these: between"),
        "{said:?}"
    );

    // Under a tag of the virtual modem.
    let args = ["--roots", &roots, "--to-tag", "24", "--yes"];
    let said = workshop
        .home
        .sectag(&[&named[..], &args].concat())
        .expect_code(0);
    assert!(
        said.stderr.contains("under sec tag 24 of virtual"),
        "{said:?}"
    );

    // To a file, and alone on stdout.
    let args = ["--roots", &roots, "--output", "-"];
    let said = workshop
        .home
        .sectag(&[&named[..], &args].concat())
        .expect_code(0);
    assert_eq!(said.stdout, workshop.read("root.pem"));
}

/// The one file in the tag's folder that is a CA, whatever the store calls it.
fn ca_file(store: &Path) -> Option<PathBuf> {
    let tags = std::fs::read_dir(store).ok()?.filter_map(Result::ok);
    tags.filter_map(|tag| std::fs::read_dir(tag.path()).ok())
        .flatten()
        .filter_map(Result::ok)
        .map(|file| file.path())
        .find(|file| {
            std::fs::read_to_string(file).is_ok_and(|text| text.contains("BEGIN CERTIFICATE"))
        })
}
