//! A house with a CA, and mosquitto with its papers.

use sectag_pki::{Authority, PrivateKey, Purpose, ServerName};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// mosquitto listens well within this.
const PATIENCE: Duration = Duration::from_secs(20);

/// True if all programs can be run; else the test is skipped with one line, or fails if peers are required.
pub fn have(programs: &[&str]) -> bool {
    let Some(missing) = programs.iter().find(|name| program(name).is_none()) else {
        return true;
    };
    let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
    assert!(
        !required,
        "{missing} is not installed and SECTAG_PEERS=require"
    );
    // Once, and to the real standard error: the harness swallows what a passing test prints with eprintln.
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let _ = writeln!(std::io::stderr(), "skipped: {missing} is not installed");
    });
    false
}

/// Debian puts the broker where users have no path to.
fn program(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A CA with what it signed, in a folder that ends with the test.
pub struct House {
    root: Authority,
    devices: Authority,
    folder: tempfile::TempDir,
}

impl House {
    pub fn new(name: &str) -> Self {
        let root = Authority::root(name, now_s()).unwrap();
        let servers = root.issuing(Purpose::Servers, now_s()).unwrap();
        let devices = root.issuing(Purpose::Devices, now_s()).unwrap();
        let key = PrivateKey::generate().unwrap();
        let names = [ServerName::Dns("localhost".into())];
        let server = servers
            .issue_server(&key.spki_der(), &names, now_s())
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("server.crt", &(server.pem() + &servers.certificate_pem()));
        write("server.key", &key.to_pem());
        let clients = devices.certificate_pem() + &root.certificate_pem();
        write("clients.crt", &clients);
        Self {
            root,
            devices,
            folder,
        }
    }

    /// The CA as the sample wants it: file name and PEM.
    pub fn ca(&self) -> (&'static str, String) {
        ("ca-cert.pem", self.root.certificate_pem())
    }

    /// A new folder of credential files.
    pub fn folder(&self, files: &[(&str, String)]) -> String {
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap().keep();
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
        folder.into_os_string().into_string().unwrap()
    }

    /// Puts a client certificate of this name and its key into a folder of credential files.
    pub fn device(&self, name: &str, folder: &str) {
        let key = PrivateKey::generate().unwrap();
        let certificate = self
            .devices
            .issue_device(&key.spki_der(), name, now_s())
            .unwrap();
        let folder = Path::new(folder);
        std::fs::write(folder.join("client-cert.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.join("private-key.pem"), key.to_pem()).unwrap();
    }

    fn path(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.into_os_string().into_string().unwrap()
    }
}

/// A running broker. Dropped, it is killed.
pub struct Mosquitto {
    child: Child,
    port: String,
    kind: Kind,
    tls: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    ServerOnly,
    Mutual,
}

impl Mosquitto {
    pub fn plain(house: &House) -> Self {
        Self::start(house, Kind::Plain, free_port())
    }

    pub fn server_only(house: &House) -> Self {
        Self::start(house, Kind::ServerOnly, free_port())
    }

    /// With our default rule as its access list: a device below its own name only.
    pub fn mutual(house: &House) -> Self {
        Self::start(house, Kind::Mutual, free_port())
    }

    /// The same broker, killed and started with the papers of `house`.
    pub fn restart(mut self, house: &House) -> Self {
        let _ = self.child.kill();
        let _ = self.child.wait();
        Self::start(house, self.kind, self.port.parse().unwrap())
    }

    pub fn port(&self) -> &str {
        &self.port
    }

    /// Somebody else says something.
    pub fn publish(&self, topic: &str, payload: &str) {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "localhost", "-p", &self.port, "-q", "1"]);
        command.args(["-t", topic, "-m", payload]);
        if let Some(ca) = &self.tls {
            command.args(["--cafile", ca]);
        }
        assert!(command.status().unwrap().success(), "{command:?}");
    }

    fn start(house: &House, kind: Kind, port: u16) -> Self {
        let mut config = format!("listener {port} 127.0.0.1\npersistence false\n");
        if kind != Kind::Plain {
            config += &format!(
                "certfile {}\nkeyfile {}\n",
                house.path("server.crt"),
                house.path("server.key")
            );
        }
        if kind == Kind::Mutual {
            let acl = house.path("acl");
            std::fs::write(&acl, "pattern readwrite %u/#\n").unwrap();
            config += &format!(
                "cafile {}\nrequire_certificate true\nuse_identity_as_username true\nallow_anonymous false\nacl_file {acl}\n",
                house.path("clients.crt"),
            );
        } else {
            config += "allow_anonymous true\n";
        }
        if std::env::var("USER").is_ok_and(|user| user == "root") || is_root() {
            // To read our private files.
            config += "user root\n";
        }
        let path = house.path(&format!("mosquitto-{port}.conf"));
        std::fs::write(&path, config).unwrap();
        let ca = house.path("ca.crt");
        std::fs::write(&ca, house.root.certificate_pem()).unwrap();
        let child = Command::new(program("mosquitto").unwrap())
            .args(["-c", &path])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let broker = Self {
            child,
            port: port.to_string(),
            kind,
            tls: (kind != Kind::Plain).then_some(ca),
        };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        broker
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
