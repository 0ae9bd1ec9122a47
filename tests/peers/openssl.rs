//! OpenSSL judges our TLS and our certificates, Mosquitto carries the certificates that must not get in.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "stranger/mod.rs"]
mod stranger;
#[path = "../../crates/cli/tests/support/mod.rs"]
mod support;
#[path = "../../crates/cli/tests/witness/mod.rs"]
mod witness;

use sectag_pki::{Authority, PrivateKey, chain};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use stranger::{Device, Tap, ask, at, have, text};
use support::{Home, Output, Up};
use witness::Witness;

#[test]
fn openssl_completes_tls_1_2_and_1_3_with_the_device_listener_and_nothing_older() {
    if !have(&["openssl"]) {
        return;
    }
    let home = Home::new();
    let up = home.up(&[]);
    let root = at(&home, "ca/root.crt");
    let address = up.listeners.device.to_string();
    let connect = |version: &str, more: &[&str]| {
        let args = ["s_client", "-connect", &address, version];
        let trust = ["-verify_return_error", "-servername", "localhost"];
        ask("openssl", &[&args[..], &trust, more].concat())
    };
    let named = [
        "-CAfile",
        &root,
        "-verify_hostname",
        "localhost",
        "-showcerts",
    ];
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = connect(flag, &named).expect_code(0);
        for line in [
            &format!("New, {version}, Cipher is "),
            " 0 s:CN = localhost\n   i:CN = Sectag root servers\n",
            " 1 s:CN = Sectag root servers\n   i:CN = Sectag root\n",
            "Verification: OK\nVerified peername: localhost\n",
            "No client certificate CA names sent\n",
        ] {
            assert!(said.stdout.contains(line), "{version}: {line}\n{said:#?}");
        }
        let sent = said.stdout.matches("-----BEGIN CERTIFICATE-----").count();
        assert_eq!(
            sent, 2,
            "the root itself is not sent: it is under the sec tag"
        );
    }
    let old = connect(
        "-tls1_1",
        &[&named[..], &["-cipher", "ALL:@SECLEVEL=0"]].concat(),
    );
    assert_eq!(old.code, Some(1), "{old:#?}");
    assert!(
        old.stdout.contains("New, (NONE), Cipher is (NONE)\n"),
        "{old:#?}"
    );
    assert!(
        old.stderr.contains("SSL alert number"),
        "said, not hung up: {old:#?}"
    );

    let other = Home::new();
    assert!(other.up(&[]).stop().success());
    let foreign = at(&other, "ca/root.crt");
    for more in [
        ["-CAfile", &foreign, "-verify_hostname", "localhost"],
        ["-CAfile", &root, "-verify_hostname", "another.example"],
    ] {
        let said = connect("-tls1_2", &more);
        assert_eq!(said.code, Some(1), "the check can fail: {said:#?}");
    }
}

/// A modem takes no record over 2 kB (spec/device-protocol §6, modem TLS); the answer here is three times that long.
#[test]
fn no_tls_record_toward_a_device_is_longer_than_2048_bytes() {
    if !have(&["openssl"]) {
        return;
    }
    let home = Home::new();
    let up = home.up(&[]);
    // As many as an AT line takes.
    let root = home.read("ca/root.crt");
    let pem = root.repeat(1900 / root.len());
    let long = json!({ "serverCertificate": { "secTag": 1, "content": pem } });
    let commands: Vec<Value> = std::iter::repeat_n(long, 5).collect();
    let mut device = Device::new(1).claimed(&home, up.listeners.loopback, &commands);
    let root = at(&home, "ca/root.crt");
    for version in ["-tls1_2", "-tls1_3"] {
        let tap = Tap::before(up.listeners.device);
        let request = format!(
            "GET /v1/provisioning/commands?after=&rxMaxSize=9000&txMaxSize=9000&mver=x&cver=x&limit=10 HTTP/1.1\r\n\
             Host: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            device.good_jwt()
        );
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", version])
            .args(["-connect", &format!("127.0.0.1:{}", tap.port)])
            .args(["-servername", "localhost", "-CAfile", &root])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(request.as_bytes()).unwrap();
        let answer = client.wait_with_output().unwrap().stdout;
        drop(stdin);
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{version}");
        assert!(answer.len() > 3 * 2048, "{} bytes", answer.len());
        let records = tap.records();
        let longest = records.iter().map(|(_, length)| *length).max().unwrap();
        assert!(longest <= 2048, "{version}: {records:?}");
        assert!(longest > 1800, "records are used well: {records:?}");
    }
}

#[test]
fn openssl_agrees_with_the_certificates_of_server_operator_and_device() {
    if !have(&["openssl"]) {
        return;
    }
    let home = Home::new();
    let up = home.up(&[]);
    let id = provision(&home);
    let key = home.read("owner.key");
    let path = format!("/v1/claimed-devices/{id}/certificates");
    let issued = support::owner::call(up.listeners.loopback, &key, "GET", &path, None)
        .unwrap()
        .body["items"][0]
        .clone();
    let device = home.beside("device.crt");
    std::fs::write(&device, issued["content"].as_str().unwrap()).unwrap();
    let device = text(device);
    let (server, operator) = (
        at(&home, "tls/server.crt"),
        at(&home, "operator/operator.crt"),
    );

    let verify = |certificate: &str, issuer: &str, purpose: &str| {
        let root = at(&home, "ca/root.crt");
        let issuer = at(&home, &format!("ca/{issuer}.crt"));
        let chain = [
            "verify",
            "-x509_strict",
            "-CAfile",
            &root,
            "-untrusted",
            &issuer,
        ];
        ask(
            "openssl",
            &[&chain[..], &["-purpose", purpose, certificate]].concat(),
        )
    };
    for (certificate, issuer, good, bad) in [
        (&server, "servers", "sslserver", "sslclient"),
        (&operator, "devices", "sslclient", "sslserver"),
        (&device, "devices", "sslclient", "sslserver"),
    ] {
        let said = verify(certificate, issuer, good).expect_code(0);
        assert_eq!(said.stdout, format!("{certificate}: OK\n"));
        let said = verify(certificate, issuer, bad);
        assert_eq!(said.code, Some(2), "{said:#?}");
        assert!(
            said.stderr.contains("unsuitable certificate purpose"),
            "{said:#?}"
        );
    }
    // Not by the other CA, and not without the one that issued it.
    assert_eq!(verify(&device, "servers", "sslclient").code, Some(2));

    for (certificate, name) in [
        (&server, "CN=localhost".to_owned()),
        (&operator, "CN=operator,OU=sectag-operator".to_owned()),
        (&device, format!("CN={id}")),
    ] {
        let ours = home.json(&["cert", "show", certificate])["items"][0].clone();
        let x509 = |args: &[&str]| {
            let all = [&["x509", "-noout", "-in", certificate][..], args].concat();
            ask("openssl", &all).expect_code(0).stdout
        };
        assert_eq!(ours["subject"], name);
        // RFC 2253 prints the last one first.
        let mut parts: Vec<&str> = name.split(',').collect();
        let theirs = x509(&["-subject", "-nameopt", "RFC2253"]);
        let theirs = theirs.trim_end().strip_prefix("subject=").unwrap();
        if theirs != name {
            parts.reverse();
            assert_eq!(theirs, parts.join(","));
        }
        let value = |line: &str| {
            let (_, value) = line.trim_end().split_once('=').unwrap();
            value.replace(':', "").to_lowercase()
        };
        assert_eq!(
            value(&x509(&["-fingerprint", "-sha256"])),
            ours["sha256"].as_str().unwrap()
        );
        assert_eq!(
            value(&x509(&["-serial"])).trim_start_matches('0'),
            ours["serial"].as_str().unwrap().trim_start_matches('0')
        );
        let usages = x509(&["-ext", "keyUsage,extendedKeyUsage,basicConstraints"]);
        let (usage, role) = if certificate == &server {
            ("Digital Signature, Key Agreement", "Server")
        } else {
            ("Digital Signature", "Client")
        };
        for line in [
            format!("X509v3 Key Usage: critical\n    {usage}\n"),
            format!("X509v3 Extended Key Usage: \n    TLS Web {role} Authentication\n"),
            "X509v3 Basic Constraints: critical\n    CA:FALSE\n".to_owned(),
        ] {
            assert!(usages.contains(&line), "{line}\n{usages}");
        }
    }
    assert_eq!(
        home.json(&["cert", "show", &device])["items"][0]["serial"],
        issued["serial"],
        "the API names the same serial"
    );
}

#[test]
fn the_broker_turns_strangers_away_in_front_of_a_witness() {
    if !have(&["openssl", "mosquitto_pub"]) {
        return;
    }
    let desk = Desk::new();
    let forged = desk.forged();
    let server = [
        at(&desk.home, "tls/server.crt"),
        at(&desk.home, "tls/server.key"),
    ];
    let mut witness = Witness::start(&desk.home.path(), &["--operator"], "#");
    let mut refused = 0;
    let cases = [
        ("no certificate", None),
        ("a server certificate", Some(&server)),
        ("self-signed under the device's name", Some(&forged[0])),
        ("another CA under our CA's name", Some(&forged[1])),
    ];
    for (who, papers) in cases {
        for tls in ["tlsv1.2", "tlsv1.3"] {
            let said = desk.publish(papers, tls, &format!("{}/x", desk.id), who);
            assert_ne!(said.code, Some(0), "{who}, {tls}: {said:?}");
            refused += 1;
            assert_eq!(desk.counter("refusedTls"), refused, "{who}, {tls}");
        }
        desk.fence(&mut witness, who);
    }
    assert_eq!(
        desk.counter("deniedPublish"),
        0,
        "none of them came that far"
    );
    assert_eq!(desk.counter("refusedConnect"), 0);
    assert_eq!(desk.counter("published"), cases.len() as u64, "the fences");
}

#[test]
fn a_message_on_a_foreign_topic_is_denied_although_mosquitto_pub_ends_well() {
    if !have(&["mosquitto_pub"]) {
        return;
    }
    let desk = Desk::new();
    let papers = desk.device_papers();
    let mut witness = Witness::start(&desk.home.path(), &["--operator"], "#");
    let own = format!("{}/x", desk.id);
    for (denied, topic) in [
        "another/x",
        "x",
        &format!("/{}/x", desk.id),
        &format!("{}0/x", desk.id),
        "$SYS/x",
    ]
    .into_iter()
    .enumerate()
    {
        let said = desk.publish(Some(&papers), "tlsv1.2", topic, "foreign");
        assert_eq!(said.code, Some(0), "{topic}: {said:?}");
        assert_eq!(desk.counter("deniedPublish"), denied as u64 + 1, "{topic}");
    }
    desk.publish(Some(&papers), "tlsv1.3", &own, "own")
        .expect_code(0);
    assert_eq!(
        witness.next(),
        json!({ "topic": own, "payload": "own", "retain": false }),
        "the first thing the witness sees"
    );
    // The operator reads everything and says nothing.
    let operator = [
        at(&desk.home, "operator/operator.crt"),
        at(&desk.home, "operator/operator.key"),
    ];
    let before = desk.counter("deniedPublish");
    desk.publish(Some(&operator), "tlsv1.2", &own, "operator")
        .expect_code(0);
    assert_eq!(desk.counter("deniedPublish"), before + 1);
    desk.fence(&mut witness, "operator");
}

/// A running service with one provisioned device, `device-1`.
struct Desk {
    home: Home,
    up: Up,
    id: String,
}

impl Desk {
    fn new() -> Self {
        let home = Home::new();
        let up = home.up(&[]);
        let id = provision(&home);
        Self { home, up, id }
    }

    /// `mosquitto_pub` with certificate and key, or with none.
    fn publish(&self, papers: Option<&[String; 2]>, tls: &str, topic: &str, text: &str) -> Output {
        let (port, root) = (
            self.up.listeners.mqtt.port().to_string(),
            at(&self.home, "ca/root.crt"),
        );
        let mut args = vec!["-h", "localhost", "-p", &port, "--cafile", &root];
        args.extend(["--tls-version", tls, "-V", "mqttv311", "-q", "1"]);
        args.extend(["-t", topic, "-m", text]);
        if let Some([certificate, key]) = papers {
            args.extend(["--cert", certificate, "--key", key]);
        }
        ask("mosquitto_pub", &args)
    }

    /// An allowed message of the device is the next thing that the witness sees.
    fn fence(&self, witness: &mut Witness, after: &str) {
        let device = ["mqtt", "pub", "--name", "device-1", "-t", "~/fence"];
        self.home
            .sectag(&[&device[..], &["-m", after]].concat())
            .expect_code(0);
        assert_eq!(
            witness.next(),
            json!({ "topic": format!("{}/fence", self.id), "payload": after, "retain": false })
        );
    }

    fn counter(&self, name: &str) -> u64 {
        self.home.json(&["status"])["broker"][name]
            .as_u64()
            .unwrap()
    }

    /// What openssl makes for somebody who is not us: a self-signed certificate under the device's name, and one of a
    /// CA that calls itself by our device CA's name.
    fn forged(&self) -> [[String; 2]; 2] {
        let file = |name: &str| text(self.home.beside(name));
        let subject = format!("/CN={}", self.id);
        let key = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ];
        let selfmade = [file("self.crt"), file("self.key")];
        let out = ["-keyout", &selfmade[1], "-out", &selfmade[0]];
        let req = ["req", "-x509", "-days", "2", "-subj", &subject];
        ask("openssl", &[&req[..], &key, &out].concat()).expect_code(0);

        let ca = [file("ca.crt"), file("ca.key")];
        let out = ["-keyout", &ca[1], "-out", &ca[0]];
        let req = [
            "req",
            "-x509",
            "-days",
            "2",
            "-subj",
            "/CN=Sectag root devices",
        ];
        ask("openssl", &[&req[..], &key, &out].concat()).expect_code(0);
        let leaf = [file("leaf.crt"), file("leaf.key")];
        let csr = file("leaf.csr");
        let req = [
            "req", "-new", "-subj", &subject, "-out", &csr, "-keyout", &leaf[1],
        ];
        ask("openssl", &[&req[..], &key].concat()).expect_code(0);
        let extensions = file("leaf.ext");
        std::fs::write(
            &extensions,
            "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\nbasicConstraints=critical,CA:FALSE\n",
        )
        .unwrap();
        let x509 = ["x509", "-req", "-days", "2", "-in", &csr, "-out", &leaf[0]];
        let sign = [
            "-CA",
            &ca[0],
            "-CAkey",
            &ca[1],
            "-CAcreateserial",
            "-extfile",
        ];
        ask("openssl", &[&x509[..], &sign, &[&extensions]].concat()).expect_code(0);
        [selfmade, leaf]
    }

    /// A certificate of our device CA under the device's name, with a key in a file: the modem lends its own to nobody.
    fn device_papers(&self) -> [String; 2] {
        let devices = Authority::from_pem(
            &self.home.read("ca/devices.crt"),
            &self.home.read("ca/devices.key"),
        )
        .unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let key = PrivateKey::generate().unwrap();
        let certificate = devices
            .issue_device(&key.spki_der(), &self.id, now.as_secs())
            .unwrap();
        let (certificate_file, key_file) = (
            self.home.beside("device.crt"),
            self.home.beside("device.key"),
        );
        let papers = chain::pem(&[&certificate, devices.certificate()]);
        std::fs::write(&certificate_file, papers).unwrap();
        std::fs::write(&key_file, key.to_pem().as_bytes()).unwrap();
        [text(certificate_file), text(key_file)]
    }
}

/// `device-1`, claimed and provisioned for MQTT by our own verbs; its id.
fn provision(home: &Home) -> String {
    let token = home.json(&["device", "token"])["claimToken"].clone();
    let claim = ["claim", token.as_str().unwrap(), "--onboard", "16842753"];
    let id = home.sectag(&claim).expect_code(0).stdout;
    home.sectag(&["device", "run"]).expect_code(0);
    id.trim_end().to_owned()
}
