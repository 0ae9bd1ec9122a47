//! Debian's mosquitto with the configuration that a test writes.

use super::PATIENCE;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs until it is dropped.
pub(crate) struct Mosquitto {
    child: Child,
    log: PathBuf,
}

impl Mosquitto {
    /// Starts it and waits until each of `ports` accepts connections; else what it said, at its end.
    pub(crate) fn start(
        dir: &Path,
        name: &str,
        config: &str,
        ports: &[u16],
    ) -> Result<Self, String> {
        let file = dir.join(format!("{name}.conf"));
        std::fs::write(&file, config).unwrap();
        let log = dir.join(format!("{name}.log"));
        let program = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"]
            .into_iter()
            .find(|path| Path::new(path).is_file())
            .unwrap_or("mosquitto");
        let child = Command::new(program)
            .args(["-v", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut broker = Self { child, log };
        let begun = Instant::now();
        for port in ports {
            while TcpStream::connect(("127.0.0.1", *port)).is_err() {
                if broker.child.try_wait().unwrap().is_some() {
                    return Err(broker.log());
                }
                assert!(begun.elapsed() < PATIENCE, "{}", broker.log());
                std::thread::sleep(Duration::from_millis(4));
            }
        }
        Ok(broker)
    }

    /// What it said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until its log has `words`, and gives the line they are in.
    pub(crate) fn says(&self, words: &str) -> String {
        let begun = Instant::now();
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains(words)) {
                return line.to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "never says {words:?}: {log}");
            std::thread::sleep(Duration::from_millis(4));
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
