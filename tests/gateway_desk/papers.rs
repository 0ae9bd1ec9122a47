//! Keys and certificates: one root for the server, another for its clients, and what a third one signs.

use crate::support::run;
use base64::Engine as _;
use sectag_pki::{Authority, KeyPair, KeyType, Purpose, ServerName, Terms};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY_S: u64 = 86_400;

/// `ca.crt` verifies `server.crt`; `clients-ca.crt` verifies `client.crt` (CN `child-1`); `other-ca.crt` verifies
/// `other.crt`. Each with its `.key`; all keys are 0600.
pub struct Papers {
    dir: PathBuf,
    servers: Authority,
    clients: Authority,
}

impl Papers {
    pub fn new(dir: &Path) -> Self {
        std::fs::create_dir(dir).unwrap();
        // Old enough for certificates that are over.
        let now_s = now_s() - 40 * DAY_S;
        let make = |name: &str, purpose: Purpose, ca: &str| {
            let root = Authority::root(name, now_s).unwrap();
            let issuing = root.issuing(purpose, now_s).unwrap();
            let chain = root.certificate_pem() + &issuing.certificate_pem();
            std::fs::write(dir.join(ca), chain).unwrap();
            issuing
        };
        let papers = Self {
            dir: dir.to_owned(),
            servers: make("servers of the desk", Purpose::Servers, "ca.crt"),
            clients: make("clients of the desk", Purpose::Devices, "clients-ca.crt"),
        };
        let others = make("somebody else", Purpose::Devices, "other-ca.crt");
        papers.server("server", &["localhost", "127.0.0.1"]);
        papers.client("client", "child-1");
        papers.signed_by(&others, "other", "child-1", &terms());
        papers
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn text(&self, name: &str) -> String {
        super::text(&self.path(name))
    }

    pub fn write(&self, name: &str, content: &str) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.text(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// A server certificate with these names.
    pub fn server(&self, stem: &str, names: &[&str]) {
        let key = KeyPair::generate(KeyType::P256).unwrap();
        let names: Vec<ServerName> = names.iter().map(|name| name.parse().unwrap()).collect();
        let signed = self
            .servers
            .issue_local_server(&key.spki_der(), &names, &terms())
            .unwrap();
        self.keep(
            stem,
            &(signed.pem() + &self.servers.certificate_pem()),
            &key,
        );
    }

    /// A client certificate with this CN.
    pub fn client(&self, stem: &str, identity: &str) {
        self.signed_by(&self.clients, stem, identity, &terms());
    }

    /// As [`Papers::client`], for a time that is over.
    pub fn expired_client(&self, stem: &str, identity: &str) {
        let over = Terms {
            now_s: now_s() - 20 * DAY_S,
            lifetime_s: 10 * DAY_S,
            crl_url: None,
        };
        self.signed_by(&self.clients, stem, identity, &over);
    }

    /// A certificate of version 1 for the key of `client`, as openssl makes it when it is given no extensions.
    pub fn version_1(&self, stem: &str) {
        let authority = &self.clients;
        self.keep("issuing", &authority.certificate_pem(), authority.key());
        let script = format!(
            "openssl req -new -key client.key -subj /CN=child-1 -out v1.csr
             openssl x509 -req -in v1.csr -CA issuing.crt -CAkey issuing.key -CAcreateserial -days 9 -out {stem}.crt
             cat issuing.crt >>{stem}.crt
             cp client.key {stem}.key"
        );
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", &script]).current_dir(&self.dir);
        run(shell).expect_code(0);
    }

    fn signed_by(&self, authority: &Authority, stem: &str, identity: &str, terms: &Terms<'_>) {
        let key = KeyPair::generate(KeyType::P256).unwrap();
        let signed = authority
            .issue_local_client(&key.spki_der(), identity, terms)
            .unwrap();
        self.keep(stem, &(signed.pem() + &authority.certificate_pem()), &key);
    }

    /// A list that revokes these certificates of the clients' authority.
    pub fn revoke(&self, file: &str, stems: &[&str]) -> String {
        let serials: Vec<String> = stems
            .iter()
            .map(|stem| {
                let text = self.read(&format!("{stem}.crt"));
                let certificate = sectag_pki::Certificate::from_pem(&text).unwrap();
                sectag_pki::show(certificate.der()).unwrap().serial_hex
            })
            .collect();
        let now_s = now_s();
        let revoked: Vec<(&str, u64)> = serials.iter().map(|it| (it.as_str(), now_s)).collect();
        let list = self.clients.crl(&revoked, now_s, now_s + DAY_S).unwrap();
        let lines = base64::engine::general_purpose::STANDARD.encode(list);
        let lines: Vec<&str> = lines
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        let pem = format!(
            "-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n",
            lines.join("\n")
        );
        self.write(file, &pem)
    }

    fn keep(&self, stem: &str, certificate: &str, key: &KeyPair) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(&format!("{stem}.key"));
        std::fs::write(&path, key.to_pem().as_bytes()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(self.path(&format!("{stem}.crt")), certificate).unwrap();
    }
}

fn terms() -> Terms<'static> {
    Terms {
        now_s: now_s(),
        lifetime_s: 90 * DAY_S,
        crl_url: None,
    }
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}
