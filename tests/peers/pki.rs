//! OpenSSL judges the PKI of a gateway: what `ca` and `cert` write, what they take over, and its own script's certificates.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "stranger/mod.rs"]
mod stranger;
#[path = "../../crates/cli/tests/support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::Command;
use stranger::have;
use support::{Home, Output, run};

/// A home, and OpenSSL beside it.
struct Bench {
    home: Home,
}

impl Bench {
    fn new() -> Option<Self> {
        have(&["openssl"]).then(|| Self { home: Home::new() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.beside(name)
    }

    /// Our program, in the folder beside the home.
    fn sectag(&self, line: &str) -> Output {
        let line = line.replace("@", &format!("{}/", self.path("").display()));
        self.home
            .sectag(&line.split_whitespace().collect::<Vec<_>>())
    }

    fn yes(&self, line: &str) -> Output {
        self.sectag(line).expect_code(0)
    }

    fn openssl(&self, line: &str) -> Output {
        let mut command = Command::new("openssl");
        command.args(line.split_whitespace());
        command.current_dir(self.path(""));
        run(command)
    }

    /// `openssl verify` with these arguments; what it says is in the output.
    fn verify(&self, line: &str) -> bool {
        let said = self.openssl(&format!("verify {line}"));
        said.code == Some(0)
    }

    fn shell(&self, script: &str) {
        let mut command = Command::new("sh");
        command.args(["-euc", script]).current_dir(self.path(""));
        run(command).expect_code(0);
    }

    /// What `openssl x509 -text` says.
    fn x509(&self, file: &str) -> String {
        let said = self.openssl(&format!("x509 -in {file} -noout -text"));
        said.expect_code(0).stdout
    }
}

const TRUST: &str = "-x509_strict -purpose";

#[test]
fn openssl_takes_what_is_issued_for_what_it_is_and_for_nothing_else() {
    let Some(bench) = Bench::new() else { return };
    drop(bench);
    for key in ["p256", "rsa2048"] {
        let bench = Bench { home: Home::new() };
        bench.yes(&format!("ca init --name Plant --key {key}"));
        bench.yes(&format!(
            "cert issue server --san gw.example,192.0.2.7 --key {key}"
        ));
        bench.yes(&format!("cert issue client client1 --key {key}"));
        bench.yes("ca export --clients --output @clients.pem");
        bench.yes("ca export --servers --output @servers.pem");
        let server = "-untrusted home/pki/server.crt home/pki/server.crt";
        for name in ["gw.example", "localhost"] {
            assert!(bench.verify(&format!(
                "{TRUST} sslserver -verify_hostname {name} -CAfile servers.pem {server}"
            )));
        }
        for address in ["127.0.0.1", "::1", "192.0.2.7"] {
            assert!(bench.verify(&format!(
                "{TRUST} sslserver -verify_ip {address} -CAfile servers.pem {server}"
            )));
        }
        assert!(!bench.verify(&format!(
            "{TRUST} sslserver -verify_hostname other -CAfile servers.pem {server}"
        )));
        assert!(!bench.verify(&format!("-purpose sslclient -CAfile servers.pem {server}")));
        // A broker has only the clients' file, and the client may send its certificate alone.
        let client =
            "-CAfile clients.pem -crl_check -CRLfile home/ca/devices.crl home/pki/client1.crt";
        assert!(bench.verify(&format!("{TRUST} sslclient {client}")));
        assert!(!bench.verify(&format!("-purpose sslserver {client}")));
        // The servers' CA is not a way in for clients.
        assert!(!bench.verify("-purpose sslclient -CAfile clients.pem home/pki/server.crt"));

        for (file, usage) in [
            ("home/pki/server.crt", "TLS Web Server Authentication"),
            ("home/pki/client1.crt", "TLS Web Client Authentication"),
        ] {
            let text = bench.x509(file);
            let cipher = match (key, file) {
                ("rsa2048", "home/pki/server.crt") => "Digital Signature, Key Encipherment\n",
                (_, "home/pki/server.crt") => "Digital Signature, Key Agreement\n",
                _ => "Digital Signature\n",
            };
            for part in ["Version: 3 (0x2)", "CA:FALSE", usage, cipher] {
                assert!(text.contains(part), "{part} in {text}");
            }
        }
        let root = bench.x509("home/ca/root.crt");
        assert!(
            root.contains("X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:1")
        );
        let issuing = bench.x509("home/ca/devices.crt");
        assert!(issuing.contains("CA:TRUE, pathlen:0"));
        assert!(issuing.contains("Certificate Sign, CRL Sign"));
    }
}

#[test]
fn openssl_refuses_what_is_revoked_and_only_that() {
    let Some(bench) = Bench::new() else { return };
    bench.yes("ca init");
    bench.yes("cert issue client one --crl-url http://gw.example/devices.crl");
    bench.yes("cert issue client two");
    bench.yes("ca export --clients --output @clients.pem");
    let check = |name: &str| {
        bench.verify(&format!(
            "-purpose sslclient -CAfile clients.pem -crl_check -CRLfile home/ca/devices.crl home/pki/{name}.crt"
        ))
    };
    assert!(check("one") && check("two"));
    assert!(
        bench
            .x509("home/pki/one.crt")
            .contains("URI:http://gw.example/devices.crl")
    );
    bench.yes("cert revoke one");
    assert!(!check("one") && check("two"));
    let said = bench.openssl("crl -in home/ca/devices.crl -noout -text -CAfile clients.pem");
    assert!(said.stdout.contains("X509v3 CRL Number"), "{said:#?}");
    assert!(said.stderr.contains("verify OK"), "{said:#?}");
    let number = || {
        let said = bench
            .openssl("crl -in home/ca/devices.crl -noout -crlnumber")
            .stdout;
        let digits = said.trim().strip_prefix("crlNumber=0x").unwrap().to_owned();
        u64::from_str_radix(&digits, 16).unwrap()
    };
    let before = number();
    bench.yes("cert revoke two");
    assert!(number() > before, "a later list has a higher number");
    assert!(!check("one") && !check("two"));
}

#[test]
fn an_encrypted_key_goes_both_ways() {
    let Some(bench) = Bench::new() else { return };
    let phrase = bench.path("phrase");
    sectag_keep::write_private(&phrase, b"correct horse battery\n").unwrap();
    bench.yes("ca init --encrypt --passphrase-file @phrase");
    let key = bench.home.read("ca/devices.key");
    assert!(key.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    // OpenSSL opens ours.
    let opened = bench.openssl("pkey -in home/ca/devices.key -passin file:phrase -pubout");
    let public = bench.openssl("x509 -in home/ca/devices.crt -noout -pubkey");
    assert_eq!(opened.expect_code(0).stdout, public.stdout);
    assert_ne!(
        bench
            .openssl("pkey -in home/ca/devices.key -passin pass:wrong -noout")
            .code,
        Some(0)
    );
    // It is asked for, and a wrong one is no mystery.
    bench.yes("cert issue client one --passphrase-file @phrase");
    let none = bench.sectag("cert issue client two").expect_code(2);
    assert!(none.stderr.contains("--passphrase-file"), "{none:#?}");
    sectag_keep::write_private(&bench.path("wrong"), b"wrong horse battery\n").unwrap();
    let wrong = bench
        .sectag("cert issue client two --passphrase-file @wrong")
        .expect_code(1);
    assert!(wrong.stderr.contains("does not open the key"), "{wrong:#?}");
    assert!(!bench.path("home/pki/two.crt").exists());

    // We open theirs: with SHA-1, SHA-512, AES-128, few rounds, and the default.
    for (name, how) in [
        ("a", "-v2 aes-256-cbc"),
        ("b", "-v2 aes-128-cbc -v2prf hmacWithSHA1"),
        ("c", "-v2 aes-256-cbc -v2prf hmacWithSHA512 -iter 10000"),
    ] {
        let other = Bench { home: Home::new() };
        sectag_keep::write_private(&other.path("phrase"), b"correct horse battery\n").unwrap();
        other.shell(&format!(
            "openssl req -new -x509 -days 30 -extensions v3_ca -nodes -subj /CN={name} -keyout plain.key -out ca.crt 2>/dev/null
             openssl pkcs8 -topk8 {how} -in plain.key -passout file:phrase -out ca.key"
        ));
        other.yes("ca import --root @ca.crt --root-key @ca.key --passphrase-file @phrase");
        other.yes("cert issue client one --passphrase-file @phrase");
        assert!(other.verify("-purpose sslclient -CAfile ca.crt home/pki/one.crt"));
    }
    // The scrypt and DES of old say what to do.
    let other = Bench { home: Home::new() };
    sectag_keep::write_private(&other.path("phrase"), b"correct horse battery\n").unwrap();
    other.shell(
        "openssl req -new -x509 -days 30 -extensions v3_ca -nodes -subj /CN=s -keyout plain.key -out ca.crt 2>/dev/null
         openssl pkcs8 -topk8 -scrypt -in plain.key -passout file:phrase -out ca.key",
    );
    let refused = other
        .sectag("ca import --root @ca.crt --root-key @ca.key --passphrase-file @phrase")
        .expect_code(1);
    assert!(
        refused.stderr.contains("openssl pkcs8 -topk8 -v2"),
        "{refused:#?}"
    );
}

/// The script of the source page, word for word.
const SCRIPT: &str = r#"
openssl req \
    -new \
    -x509 \
    -days 365 \
    -extensions v3_ca \
    -nodes \
    -subj "/C=US/ST=Denial/L=Springfield/O=Dis/CN=ca" \
    -keyout ca.key \
    -out ca.crt

openssl genrsa -out server.key 2048

openssl req -out server.csr -key server.key -new \
    -subj "/C=US/ST=Denial/L=Springfield/O=Dis/CN=$(hostname)"

cat > v3.ext << EOF
authorityKeyIdentifier=keyid
basicConstraints=CA:FALSE
keyUsage = digitalSignature, keyAgreement
subjectAltName=DNS:$(hostname), DNS:localhost
EOF

openssl x509 -req \
    -in server.csr \
    -CA ca.crt \
    -CAkey ca.key \
    -extfile v3.ext \
    -CAcreateserial \
    -out server.crt \
    -days 365

openssl genrsa -out client.key 2048

openssl req -out client.csr \
    -key client.key \
    -subj "/C=US/ST=Denial/L=Springfield/O=Dis/CN=client1" \
    -new

openssl x509 -req \
    -in client.csr \
    -CA ca.crt \
    -CAkey ca.key \
    -CAcreateserial \
    -out client.crt \
    -days 365
"#;

#[test]
fn the_script_s_client_is_explained_and_reissued_by_one_command() {
    let Some(bench) = Bench::new() else { return };
    bench.shell(&format!(
        "hostname() {{ uname -n; }}\n{{ {SCRIPT} }} 2>/dev/null"
    ));

    // Its CA and server are fine; the names are what they are.
    bench.yes("cert lint @ca.crt --for rustls");
    bench.yes(
        "cert lint @server.crt --key @server.key --roots @ca.crt --name localhost --for rustls",
    );
    let v1 = bench
        .sectag("cert lint @client.crt --client --roots @ca.crt --for rustls")
        .expect_code(1);
    assert!(v1.stdout.contains("version 1"), "{v1:#?}");

    for (file, says_version) in [("client.csr", false), ("client.crt", true)] {
        let made = bench.yes(&format!(
            "cert reissue @{file} --client --ca @ca.crt --ca-key @ca.key --force"
        ));
        assert_eq!(
            made.stderr.contains("X.509 version 1"),
            says_version,
            "{made:#?}"
        );
        bench.yes(
            "cert lint @client-v3.crt --client --key @client.key --roots @ca.crt --for rustls",
        );
        assert!(bench.verify("-purpose sslclient -CAfile ca.crt client-v3.crt"));
        let text = bench.x509("client-v3.crt");
        assert!(text.contains("Version: 3 (0x2)") && text.contains("Subject: CN = client1\n"));
    }
    // The key stayed where it was, and is the certificate's.
    let key = bench.openssl("pkey -in client.key -pubout").stdout;
    assert_eq!(
        bench
            .openssl("x509 -in client-v3.crt -noout -pubkey")
            .stdout,
        key
    );

    // The server, too: with the addresses that the script forgot.
    bench.yes(
        "cert reissue @server.csr --server --san localhost,127.0.0.1 --ca @ca.crt --ca-key @ca.key",
    );
    assert!(bench.verify("-purpose sslserver -verify_ip 127.0.0.1 -CAfile ca.crt server-v3.crt"));

    // And the CA itself can be taken over: it issues servers and clients from here on.
    bench.yes("ca import --root @ca.crt --root-key @ca.key");
    bench.yes("cert issue client client2");
    bench.yes("cert revoke @client.crt");
    assert!(bench.verify("-purpose sslclient -CAfile ca.crt home/pki/client2.crt"));
    let check = |name: &str| {
        bench.verify(&format!(
            "-CAfile ca.crt -crl_check -CRLfile home/ca/devices.crl {name}"
        ))
    };
    assert!(check("home/pki/client2.crt") && check("client-v3.crt") && !check("client.crt"));
}

/// A root, an intermediate that issues servers and one that issues clients, as step-ca has it; and a CA of another root.
const ELSEWHERE: &str = r#"
ca() { printf 'basicConstraints=critical,CA:TRUE,pathlen:%s\nkeyUsage=critical,keyCertSign,cRLSign\n%s\n' "$1" "${2:-}"; }
openssl ecparam -name prime256v1 -genkey -noout -out root.key
ca 1 > root.ext; ca 0 extendedKeyUsage=serverAuth > servers.ext; ca 0 extendedKeyUsage=clientAuth > clients.ext
openssl req -new -key root.key -subj /O=Plant/CN=root -out root.csr
openssl x509 -req -in root.csr -signkey root.key -extfile root.ext -days 30 -out root.crt
for name in servers clients; do
  openssl ecparam -name prime256v1 -genkey -noout -out $name.key
  openssl req -new -key $name.key -subj /O=Plant/CN=$name -out $name.csr
  openssl x509 -req -in $name.csr -CA root.crt -CAkey root.key -extfile $name.ext -CAcreateserial -days 30 -out $name.crt
done
ca 0 > other.ext
openssl req -new -newkey rsa:2048 -nodes -keyout other.key -subj /CN=other -out other.csr
openssl x509 -req -in other.csr -signkey other.key -extfile other.ext -days 30 -out other.crt
ca 0 > below.ext
openssl req -new -newkey rsa:2048 -nodes -keyout below.key -subj /CN=below -out below.csr
openssl x509 -req -in below.csr -CA other.crt -CAkey other.key -extfile below.ext -CAcreateserial -days 30 -out below.crt
"#;

#[test]
fn cas_made_elsewhere_are_taken_over_when_peers_would_take_them() {
    let Some(bench) = Bench::new() else { return };
    bench.shell(&format!("{{ {ELSEWHERE} }} 2>/dev/null"));
    let from = bench.path("").display().to_string();
    let import = |home: &Bench, root: &str, servers: &str, key: &str, clients: &str| {
        home.sectag(&format!(
            "ca import --root {from}/{root}.crt --servers {from}/{servers}.crt --servers-key {from}/{key}.key --clients {from}/{clients}.crt --clients-key {from}/{clients}.key"
        ))
    };
    // The wrong purpose, the wrong key, a CA of an unknown root, and one below a CA that allows none below it: each is said
    // before anything is written.
    for (root, servers, key, clients, word) in [
        (
            "root",
            "clients",
            "clients",
            "servers",
            "server certificates",
        ),
        (
            "root",
            "servers",
            "clients",
            "clients",
            "does not belong to the certificate",
        ),
        ("root", "servers", "servers", "below", "no root is known"),
        ("other", "other", "other", "below", "would be refused"),
        ("servers", "servers", "servers", "clients", "is no root"),
    ] {
        let other = Bench { home: Home::new() };
        let refused = import(&other, root, servers, key, clients).expect_code(1);
        assert!(refused.stderr.contains(word), "{word}: {refused:#?}");
        assert!(!other.path("home/ca/root.crt").exists());
    }
    import(&bench, "root", "servers", "servers", "clients").expect_code(0);
    let shown = bench.yes("ca show");
    assert!(
        shown.stdout.contains("elsewhere"),
        "the root's key: {shown:#?}"
    );
    bench.yes("cert issue server");
    bench.yes("cert issue client one");
    bench.yes("ca export --clients --output @trust.pem");
    assert!(bench.verify(
        "-purpose sslserver -verify_hostname localhost -CAfile root.crt -untrusted home/pki/server.crt home/pki/server.crt"
    ));
    assert!(bench.verify("-purpose sslclient -CAfile trust.pem home/pki/one.crt"));
    // A second import would void what was issued.
    let again = import(&bench, "root", "servers", "servers", "clients").expect_code(1);
    assert!(again.stderr.contains("holds a CA already"), "{again:#?}");
}

#[test]
fn servers_and_clients_may_have_cas_that_know_nothing_of_each_other() {
    let Some(bench) = Bench::new() else { return };
    bench.shell(&format!(
        "{{ {ELSEWHERE} cat root.crt other.crt > roots.crt; }} 2>/dev/null"
    ));
    bench.yes(
        "ca import --root @roots.crt --servers @servers.crt --servers-key @servers.key --clients @other.crt --clients-key @other.key",
    );
    bench.yes("cert issue server");
    bench.yes("cert issue client one");
    bench.yes("ca export --clients --output @clients.pem");
    bench.yes("ca export --servers --output @servers.pem");
    let server = "-untrusted home/pki/server.crt home/pki/server.crt";
    assert!(bench.verify(&format!("-purpose sslserver -CAfile servers.pem {server}")));
    assert!(!bench.verify(&format!("-purpose sslserver -CAfile clients.pem {server}")));
    assert!(bench.verify("-purpose sslclient -CAfile clients.pem home/pki/one.crt"));
    assert!(!bench.verify("-purpose sslclient -CAfile servers.pem home/pki/one.crt"));
}
