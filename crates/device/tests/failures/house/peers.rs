//! Foreign programs: openssl and mosquitto.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::{PATIENCE, Papers};

/// True if the program can be run; else the test is skipped with one line, or fails if peers are required.
pub(crate) fn have(program: &str) -> bool {
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

/// Runs `openssl` in a folder.
pub(crate) fn openssl(folder: &std::path::Path, arguments: &str) {
    let output: Output = std::process::Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "openssl {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A foreign server that ends with the value.
pub(crate) struct Peer {
    pub(crate) port: u16,
    _child: Child,
    _folder: tempfile::TempDir,
}

impl Peer {
    /// `openssl s_server` with these papers and options.
    pub(crate) async fn s_server(papers: &Papers, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("server.crt"), &papers.pem).unwrap();
        std::fs::write(folder.path().join("server.key"), papers.key.serialize_pem()).unwrap();
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0"])
            .args(["-cert", "server.crt", "-key", "server.key"])
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = loop {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
            let line = line.unwrap().unwrap().expect("it says where it listens");
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.parse::<SocketAddr>().unwrap().port();
            }
        };
        // Whoever reads nothing stops the writer.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            port,
            _child: child,
            _folder: folder,
        }
    }

    /// `mosquitto` with this configuration; `{port}` and `{dir}` are filled in, `files` lie in `{dir}`.
    pub(crate) async fn mosquitto(config: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
            free.local_addr().unwrap().port()
        };
        let config = config
            .replace("{port}", &port.to_string())
            .replace("{dir}", &folder.path().display().to_string());
        let path = folder.path().join("mosquitto.conf");
        std::fs::write(&path, format!("user root\n{config}")).unwrap();
        let program = match std::path::Path::new("/usr/sbin/mosquitto").exists() {
            true => "/usr/sbin/mosquitto",
            false => "mosquitto",
        };
        let child = Command::new(program)
            .arg("-c")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let started = std::time::Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(started.elapsed() < PATIENCE, "mosquitto does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self {
            port,
            _child: child,
            _folder: folder,
        }
    }
}
