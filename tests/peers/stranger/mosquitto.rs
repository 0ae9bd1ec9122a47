//! Debian's mosquitto as the broker, with a server certificate for `localhost` from a root of its own.

use crate::support::DEADLINE;
use sectag_pki::{Authority, PrivateKey, ServerName};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A running broker. Dropped, it is killed.
pub struct Mosquitto {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

/// Whom the broker lets in.
pub enum Clients<'a> {
    /// Server authentication only.
    Anybody,
    /// Mutual TLS; the CN is the user name. The file holds the CA of the clients.
    SignedBy(&'a Path),
    /// No TLS at all.
    Plain,
}

impl Mosquitto {
    /// Sends its certificate and its issuing CA, as is usual.
    pub fn start(clients: &Clients<'_>) -> Self {
        Self::sending(clients, false)
    }

    /// Sends its root as well.
    pub fn with_root(clients: &Clients<'_>) -> Self {
        Self::sending(clients, true)
    }

    fn sending(clients: &Clients<'_>, root_too: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let root = Authority::root("mosquitto's root", now_s()).unwrap();
        let key = PrivateKey::generate().unwrap();
        let names = ["localhost", "127.0.0.1"].map(|name| name.parse::<ServerName>().unwrap());
        let server = root
            .issuing(sectag_pki::Purpose::Servers, now_s())
            .and_then(|issuing| {
                let server = issuing.issue_server(&key.spki_der(), &names, now_s())?;
                let root = if root_too {
                    root.certificate_pem()
                } else {
                    String::new()
                };
                Ok(server.pem() + &issuing.certificate_pem() + &root)
            })
            .unwrap();
        std::fs::write(path("root.crt"), root.certificate_pem()).unwrap();
        std::fs::write(path("server.crt"), server).unwrap();
        std::fs::write(path("server.key"), key.to_pem().as_bytes()).unwrap();

        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut config = format!("listener {port} 127.0.0.1\npersistence false\nuser root\n");
        if !matches!(clients, Clients::Plain) {
            config += &format!(
                "certfile {}\nkeyfile {}\n",
                path("server.crt").display(),
                path("server.key").display()
            );
        }
        config += &match clients {
            Clients::Anybody | Clients::Plain => "allow_anonymous true\n".to_owned(),
            Clients::SignedBy(ca) => format!(
                "cafile {}\nrequire_certificate true\nuse_identity_as_username true\n",
                ca.display()
            ),
        };
        std::fs::write(path("mosquitto.conf"), config).unwrap();
        let child = spawn(&path("mosquitto.conf"));
        let broker = Self { child, port, dir };
        broker.wait();
        broker
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The root CA of its server certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("root.crt")
    }

    /// The same, as PEM.
    pub fn ca_pem(&self) -> String {
        std::fs::read_to_string(self.ca_file()).unwrap()
    }

    /// `localhost:<port>`
    pub fn peer(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// A killed broker comes back on the same port.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.dir.path().join("mosquitto.conf"));
        self.wait();
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn wait(&self) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < DEADLINE, "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(config: &Path) -> Child {
    // Debian puts it where only root looks.
    let program = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"]
        .into_iter()
        .find(|path| Path::new(path).is_file())
        .unwrap_or("mosquitto");
    Command::new(program)
        .arg("-c")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}
