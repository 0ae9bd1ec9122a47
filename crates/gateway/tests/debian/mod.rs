//! A mosquitto of Debian with papers of its own, and clients that try to get in.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sectag_gateway::mosquitto::{Files, Unread};
use sectag_pki::{Authority, PrivateKey, Purpose, ServerName, topics};

/// Longer than this nothing takes, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(20);

/// True if the program can be run; else the test is skipped with one line, or fails if peers are required.
pub fn have(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths)
        .chain([PathBuf::from("/usr/sbin")])
        .any(|directory| directory.join(program).is_file());
    if !found {
        let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
        assert!(
            !required,
            "{program} is not installed and SECTAG_PEERS=require"
        );
        let _ = writeln!(std::io::stderr(), "skipped: {program} is not installed");
    }
    found
}

/// Two ports that were free a moment ago.
pub fn free_ports() -> [u16; 2] {
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

fn broker_program() -> &'static str {
    if Path::new("/usr/sbin/mosquitto").is_file() {
        "/usr/sbin/mosquitto"
    } else {
        "mosquitto"
    }
}

/// What became of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It published, and the broker acknowledged.
    Done,
    /// It did not get in.
    Refused,
}

/// Papers of a small town in a directory: a server, its CA, two CAs of clients and some clients.
pub struct Town {
    directory: tempfile::TempDir,
}

impl Town {
    pub fn new() -> Self {
        let town = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let now_s = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let past_s = now_s - 100 * 86_400;
        let root = Authority::root("Servers", past_s).unwrap();
        let servers = root.issuing(Purpose::Servers, past_s).unwrap();
        let clients = Authority::root("Clients", past_s).unwrap();
        let second = Authority::root("More clients", past_s).unwrap();
        let strangers = Authority::root("Strangers", past_s).unwrap();

        let key = PrivateKey::generate().unwrap();
        let names = [
            ServerName::Dns("localhost".to_owned()),
            ServerName::Ip("127.0.0.1".parse().unwrap()),
            ServerName::Ip("::1".parse().unwrap()),
        ];
        let server = servers
            .issue_server(&key.spki_der(), &names, now_s)
            .unwrap();
        town.write(
            "server.crt",
            &format!("{}{}", server.pem(), servers.certificate_pem()),
        );
        town.write("server.key", &key.to_pem());
        town.write("server-ca.crt", &root.certificate_pem());
        town.write("other-ca.crt", &strangers.certificate_pem());
        town.write("clients-ca.crt", &clients.certificate_pem());
        let both = format!("{}{}", clients.certificate_pem(), second.certificate_pem());
        town.write("two-cas.pem", &both);
        town.hash_links(&clients);

        for name in ["good", "boss", "revoked"] {
            town.client(&clients, name, now_s, 86_400);
        }
        town.client(&clients, "late", past_s, 86_400);
        town.client(&second, "second", now_s, 86_400);
        town.client(&strangers, "stranger", now_s, 86_400);
        let serial = sectag_pki::Certificate::from_pem(&town.text("revoked.crt")).unwrap();
        let serial = sectag_pki::show(serial.der()).unwrap().serial_hex;
        let list = clients
            .crl(&[(&serial, now_s)], now_s, now_s + 86_400)
            .unwrap();
        town.write("clients.crl", &sectag_pki::pem::encode("X509 CRL", &list));
        let rules = format!("{}allow both # for anonymous\n", topics::DEFAULT_RULES);
        let rules = topics::Rules::parse(&rules).unwrap();
        let acl = sectag_gateway::acl::render(&rules, &["boss".to_owned()]);
        town.write("acl", &acl.unwrap());
        town.write("passwords", "");
        town.password();
        town
    }

    /// One client with certificate and key.
    fn client(&self, authority: &Authority, name: &str, now_s: u64, lifetime_s: u64) {
        let key = PrivateKey::generate().unwrap();
        let issued = authority.issue_device_for(&key.spki_der(), name, now_s, lifetime_s);
        self.write(&format!("{name}.crt"), &issued.unwrap().pem());
        self.write(&format!("{name}.key"), &key.to_pem());
    }

    /// A directory as `openssl rehash` leaves it.
    fn hash_links(&self, authority: &Authority) {
        let directory = self.path("clients");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("ca.crt"), authority.certificate_pem()).unwrap();
        open_up(&directory, 0o755);
        let _ = Command::new("openssl")
            .arg("rehash")
            .arg(&directory)
            .output();
    }

    fn password(&self) {
        let _ = Command::new("mosquitto_passwd")
            .arg("-b")
            .arg(self.path("passwords"))
            .args(["amy", "right"])
            .output();
        open_up(&self.path("passwords"), 0o644);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// A file that the broker's user can read, also when the test runs as root.
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        open_up(&self.path(name), 0o644);
        open_up(self.directory.path(), 0o755);
    }

    /// Publishes "x" with acknowledgement. `ca`: over TLS and trusting this file; `papers`: with this certificate.
    pub fn publish(
        &self,
        port: u16,
        ca: Option<&str>,
        papers: Option<&str>,
        topic: &str,
    ) -> Answer {
        self.publish_text(port, ca, papers, topic, "x")
    }

    pub fn publish_text(
        &self,
        port: u16,
        ca: Option<&str>,
        papers: Option<&str>,
        topic: &str,
        said: &str,
    ) -> Answer {
        let mut command = self.tool("mosquitto_pub", port, ca, papers);
        command.args(["-q", "1", "-t", topic, "-m", said]);
        answer(command)
    }

    /// With user name and password, over TLS.
    pub fn publish_as(&self, port: u16, user: &str, password: &str) -> Answer {
        let mut command = self.tool("mosquitto_pub", port, Some("server-ca.crt"), None);
        command.args(["-q", "1", "-t", "x", "-m", "x", "-u", user, "-P", password]);
        answer(command)
    }

    /// What `papers` hears on `topics` until "end", while `say` speaks.
    pub fn hear(
        &self,
        port: u16,
        papers: &str,
        topics: &[&str],
        say: impl FnOnce(),
    ) -> Vec<String> {
        let mut command = self.tool("mosquitto_sub", port, Some("server-ca.crt"), Some(papers));
        command.arg("-d");
        for topic in topics {
            command.args(["-t", topic]);
        }
        let mut child = Running(
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        lines
            .find(|line| {
                line.as_ref()
                    .is_ok_and(|line| line.starts_with("Subscribed"))
            })
            .unwrap()
            .unwrap();
        say();
        let mut heard = Vec::new();
        for line in lines {
            let line = line.unwrap();
            if line.starts_with("Client ") || line.starts_with("Subscribed") {
                continue;
            }
            heard.push(line);
            if heard.last().is_some_and(|line| line == "end") {
                break;
            }
        }
        heard
    }

    fn tool(&self, tool: &str, port: u16, ca: Option<&str>, papers: Option<&str>) -> Command {
        let mut command = Command::new("stdbuf");
        // One golden listener is on IPv6 only, and `localhost` may not be.
        let is_ipv4 = TcpStream::connect(("127.0.0.1", port)).is_ok();
        let host = if is_ipv4 { "localhost" } else { "::1" };
        command.args(["-oL", tool, "-h", host, "-p", &port.to_string()]);
        if let Some(ca) = ca {
            command.arg("--cafile").arg(self.path(ca));
        }
        if let Some(papers) = papers {
            command
                .arg("--cert")
                .arg(self.path(&format!("{papers}.crt")))
                .arg("--key")
                .arg(self.path(&format!("{papers}.key")));
        }
        command.stdin(Stdio::null());
        command
    }
}

impl Files for Town {
    fn read(&self, file: &Path) -> Result<Vec<u8>, Unread> {
        std::fs::read(file).map_err(|e| Unread(e.to_string()))
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>, Unread> {
        let entries = std::fs::read_dir(directory).map_err(|e| Unread(e.to_string()))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.collect())
    }
}

fn open_up(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn answer(mut command: Command) -> Answer {
    let mut child = Running(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            return if status.success() {
                Answer::Done
            } else {
                Answer::Refused
            };
        }
        // mosquitto_pub tries again for ever where a handshake gets no answer.
        if Instant::now() > end {
            return Answer::Refused;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running mosquitto.
pub struct Broker(Running);

impl Broker {
    /// Starts it with `text` and waits until it listens on all `ports`.
    pub fn start(town: &Town, text: &str, ports: &[u16]) -> Self {
        let config = town.path("mosquitto.conf");
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(town.path("log")).unwrap();
        let child = Command::new(broker_program())
            .arg("-v")
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut running = Running(child);
        let end = Instant::now() + PATIENCE;
        for port in ports {
            while TcpStream::connect(("127.0.0.1", *port)).is_err()
                && TcpStream::connect(("::1", *port)).is_err()
            {
                let ended = running.0.try_wait().unwrap();
                let log = std::fs::read_to_string(town.path("log")).unwrap();
                assert!(ended.is_none() && Instant::now() < end, "{text}\n{log}");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Self(running)
    }

    /// Ends it.
    pub fn stop(self) {
        drop(self);
    }
}

/// Runs the broker until it says that it runs, or ends: (does it start, what it said).
pub fn run_briefly(directory: &Path, text: &str) -> (bool, String) {
    let config = directory.join("mosquitto.conf");
    std::fs::write(&config, text).unwrap();
    let mut child = Running(
        Command::new(broker_program())
            // Says that it runs, whatever `log_type` wants.
            .arg("-v")
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    // A broker that says neither "running" nor goodbye would hold the test for ever.
    let (_watching, watched) = std::sync::mpsc::channel::<()>();
    let pid = child.0.id().to_string();
    std::thread::spawn(move || {
        let silent = watched.recv_timeout(std::time::Duration::from_secs(30));
        if silent == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        }
    });
    let mut said = String::new();
    let mut reader = BufReader::new(child.0.stderr.take().unwrap());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            let _ = reader.read_to_string(&mut said);
            return (false, said);
        }
        let runs = line.trim_end().ends_with(" running");
        said.push_str(&line);
        if runs {
            return (true, said);
        }
    }
}
