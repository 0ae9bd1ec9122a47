//! OpenSSL judges what we sign, and we judge what it makes. `SECTAG_PEERS=require` makes its absence a failure.
// Peers are processes, they read files, and they look at the wall clock.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use sectag_pki::csr::{self, CsrError, Request};
use sectag_pki::{Authority, PrivateKey, Purpose, chain, pem};

struct Bench(tempfile::TempDir);

impl Bench {
    /// `None`, and one line on stderr, without the program.
    fn new() -> Option<Self> {
        let present = Command::new("openssl")
            .arg("version")
            .output()
            .is_ok_and(|o| o.status.success());
        if present {
            return Some(Self(tempfile::tempdir().unwrap()));
        }
        assert!(
            std::env::var("SECTAG_PEERS").as_deref() != Ok("require"),
            "SECTAG_PEERS=require, but openssl is not installed"
        );
        static SAID: std::sync::Once = std::sync::Once::new();
        SAID.call_once(|| eprintln!("skipped: openssl is not installed"));
        None
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.0.path().join(name), content).unwrap();
    }

    fn get(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.path().join(name)).unwrap()
    }

    /// Whether it said yes, and everything it said.
    fn run(&self, arguments: &str) -> (bool, String) {
        let dir: &Path = self.0.path();
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(dir)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    fn yes(&self, arguments: &str) -> String {
        let (ok, said) = self.run(arguments);
        assert!(ok, "openssl {arguments}: {said}");
        said
    }

    fn no(&self, arguments: &str) -> String {
        let (ok, said) = self.run(arguments);
        assert!(!ok, "openssl {arguments}: {said}");
        said
    }
}

/// OpenSSL looks at the wall clock, so this is the one place that does.
fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[test]
fn openssl_trusts_our_chains_for_their_purpose_only() {
    let Some(bench) = Bench::new() else { return };
    let now_s = now_s();
    let root = Authority::root("Bench", now_s).unwrap();
    let servers = root.issuing(Purpose::Servers, now_s).unwrap();
    let devices = root.issuing(Purpose::Devices, now_s).unwrap();
    let key = PrivateKey::generate().unwrap();
    let names = ["localhost".parse().unwrap(), "127.0.0.1".parse().unwrap()];
    let server = servers
        .issue_server(&key.spki_der(), &names, now_s)
        .unwrap();
    let device = devices
        .issue_device(&key.spki_der(), "dev-1", now_s)
        .unwrap();
    let other = devices
        .issue_operator(&key.spki_der(), "operator", now_s)
        .unwrap();
    bench.put("root.crt", root.certificate_pem());
    bench.put(
        "between.crt",
        chain::pem(&[servers.certificate(), devices.certificate()]),
    );
    bench.put("server.crt", server.pem());
    bench.put("device.crt", device.pem());
    bench.put("other.crt", other.pem());
    bench.put("device.key", key.to_pem().as_bytes());

    let verify = "verify -x509_strict -CAfile root.crt -untrusted between.crt";
    bench.yes(&format!(
        "{verify} -purpose sslserver -verify_hostname localhost server.crt"
    ));
    bench.yes(&format!(
        "{verify} -purpose sslserver -verify_ip 127.0.0.1 server.crt"
    ));
    bench.yes(&format!("{verify} -purpose sslclient device.crt"));
    bench.yes(&format!("{verify} -purpose sslclient other.crt"));
    bench.no(&format!("{verify} -purpose sslclient server.crt"));
    bench.no(&format!("{verify} -purpose sslserver device.crt"));
    bench.no(&format!(
        "{verify} -purpose sslserver -verify_hostname example.org server.crt"
    ));
    bench.no("verify -CAfile root.crt device.crt");

    let text = bench.yes("x509 -in between.crt -noout -text");
    for line in [
        "Version: 3",
        "X509v3 Basic Constraints: critical",
        "CA:TRUE, pathlen:0",
        "X509v3 Key Usage: critical",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let text = bench.yes("x509 -in device.crt -noout -text -nameopt RFC2253");
    for line in [
        "Subject: CN=dev-1",
        "TLS Web Client Authentication",
        "CA:FALSE",
        "Subject Key Identifier",
        "Authority Key Identifier",
        "ecdsa-with-SHA256",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    bench.yes("pkey -in device.key -check -noout");
    let from_key = bench.yes("pkey -in device.key -pubout");
    assert_eq!(from_key, bench.yes("x509 -in device.crt -noout -pubkey"));

    let crl = devices
        .crl(&[(&device.serial_hex, now_s - 5)], now_s, now_s + 3600)
        .unwrap();
    bench.put("devices.crl", pem::encode("X509 CRL", &crl));
    bench.put("devices.crt", devices.certificate_pem());
    bench.yes("crl -in devices.crl -CAfile devices.crt -noout -verify");
    let checked = format!("{verify} -crl_check -CRLfile devices.crl");
    assert!(
        bench
            .no(&format!("{checked} device.crt"))
            .contains("revoked")
    );
    bench.yes(&format!("{checked} other.crt"));
}

#[test]
fn openssl_verifies_the_request_of_a_virtual_modem() {
    let Some(bench) = Bench::new() else { return };
    let key = PrivateKey::generate().unwrap();
    let attributes = csr::attributes("O=Example,L=Trondheim,C=no,CN=dev-1").unwrap();
    for null_parameters in [false, true] {
        let request = Request {
            attributes: &attributes,
            key_usage_bits: "101010000",
            null_parameters,
        };
        let made = csr::build(&request, &key.spki_der(), |m| {
            key.sign(m).map_err(|_| CsrError::Signature)
        })
        .unwrap();
        let repaired = csr::parse(&made).unwrap().der;
        bench.put("made.csr", &repaired);
        let said = bench.yes("req -inform DER -in made.csr -verify -noout -text -nameopt RFC2253");
        for line in [
            "CN=dev-1,C=no,L=Trondheim,O=Example",
            "Digital Signature, Key Encipherment, Key Agreement",
        ] {
            assert!(said.contains(line), "{line} is not in {said}");
        }
    }
}

#[test]
fn a_request_that_openssl_made_is_accepted_and_only_its_key_is_used() {
    let Some(bench) = Bench::new() else { return };
    bench.yes("ecparam -name prime256v1 -genkey -noout -out sec1.key");
    bench.yes("req -new -key sec1.key -subj /O=Evil/OU=sectag-operator/CN=somebody-else -addext keyUsage=digitalSignature -outform DER -out made.csr");
    let csr = csr::parse(&bench.get("made.csr")).unwrap();
    assert_eq!(csr.subject(), "O=Evil,OU=sectag-operator,CN=somebody-else");
    assert_eq!(csr.key_usage_bits.as_deref(), Some("100000000"));
    let key = PrivateKey::from_pem(std::str::from_utf8(&bench.get("sec1.key")).unwrap()).unwrap();
    assert_eq!(key.spki_der(), csr.spki_der);

    let devices = Authority::root("Bench", now_s())
        .unwrap()
        .issuing(Purpose::Devices, now_s())
        .unwrap();
    let made = devices
        .issue_device(&csr.spki_der, "dev-1", now_s())
        .unwrap();
    assert_eq!(sectag_pki::show(made.der()).unwrap().subject, "CN=dev-1");
    assert_eq!(made.spki_sha256, sectag_pki::sha256(&csr.spki_der));

    // What is not P-256 is refused.
    for (name, how) in [
        ("p384", "ec -pkeyopt ec_paramgen_curve:P-384"),
        ("rsa", "rsa:2048"),
    ] {
        bench.yes(&format!("req -new -newkey {how} -nodes -keyout {name}.key -subj /CN=x -sha256 -outform DER -out {name}.csr"));
        assert!(
            csr::parse(&bench.get(&format!("{name}.csr"))).is_err(),
            "{name}"
        );
    }
}

#[test]
fn an_authority_that_openssl_made_can_be_imported() {
    let Some(bench) = Bench::new() else { return };
    bench.yes("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 30 -subj /CN=Elsewhere -addext keyUsage=critical,keyCertSign,cRLSign");
    let text = |name| String::from_utf8(bench.get(name)).unwrap();
    let authority = Authority::from_pem(&text("ca.crt"), &text("ca.key")).unwrap();
    let spki = PrivateKey::generate().unwrap().spki_der();
    bench.put(
        "device.crt",
        authority
            .issue_device(&spki, "dev-1", now_s())
            .unwrap()
            .pem(),
    );
    bench.yes("verify -CAfile ca.crt -purpose sslclient device.crt");
}
