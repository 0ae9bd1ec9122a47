//! A virtual modem on a pty, as a real one is on a serial port.

use crate::support::{DEADLINE, Home, sectag};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Dropped, it is killed.
pub struct Served {
    child: Child,
    link: PathBuf,
}

impl Served {
    pub fn start(home: &Home, options: &[&str]) -> Self {
        let link = home.beside("tty");
        let child = sectag(&home.path())
            .args(["modem", "serve", "--seed", "77", "--link"])
            .arg(&link)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let served = Self { child, link };
        let begun = Instant::now();
        while !served.link.exists() {
            assert!(begun.elapsed() < DEADLINE, "no pty");
            std::thread::sleep(Duration::from_millis(5));
        }
        served
    }

    /// Where the pty is.
    pub fn pty(&self) -> &str {
        self.link.to_str().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
