//! Debian's mosquitto under `sectag gateway`: a main file of its own, and a command that restarts it without systemd.

use crate::support::{DEADLINE, Home};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs once `gateway apply` has started it. Dropped, it is killed.
pub struct Mosquitto {
    pid_file: PathBuf,
    log: PathBuf,
}

impl Mosquitto {
    /// A main file as Debian has it, in a desk's folder. Nothing runs yet.
    pub fn install(home: &Home) -> Self {
        let (pid_file, log) = (home.beside("mosquitto.pid"), home.beside("mosquitto.log"));
        let user = if super::is_root() { "user root\n" } else { "" };
        let conf_d = home.beside("conf.d");
        std::fs::create_dir(&conf_d).unwrap();
        let main = format!(
            "pid_file {}\npersistence false\nlog_dest file {}\n{user}include_dir {}\n",
            pid_file.display(),
            log.display(),
            conf_d.display()
        );
        std::fs::write(home.beside("mosquitto.conf"), main).unwrap();
        Self { pid_file, log }
    }

    /// The main file, and the command that stops what runs and starts anew.
    pub(super) fn surroundings(home: &Home) -> [String; 2] {
        let program = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"]
            .into_iter()
            .find(|path| Path::new(path).is_file())
            .unwrap_or("mosquitto");
        let [main, pid] =
            ["mosquitto.conf", "mosquitto.pid"].map(|file| super::text(&home.beside(file)));
        let restart = format!(
            "if [ -s {pid} ]; then p=$(cat {pid}); kill $p; while kill -0 $p 2>/dev/null; do sleep 0.02; done; fi; \
             rm -f {pid}; {program} -d -c {main}"
        );
        [main, restart]
    }

    pub fn pid(&self) -> Option<u32> {
        let text = std::fs::read_to_string(&self.pid_file).ok()?;
        text.trim().parse().ok()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn signal(&self, name: &str) {
        let Some(pid) = self.pid() else { return };
        let _ = Command::new("kill")
            .args([&format!("-{name}"), &pid.to_string()])
            .status();
    }

    /// Waits for a text in its log.
    pub fn until(&self, wanted: &str) {
        let begun = Instant::now();
        while !self.log().contains(wanted) {
            assert!(
                begun.elapsed() < DEADLINE,
                "no `{wanted}` in\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}
