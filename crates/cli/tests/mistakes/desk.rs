//! A home whose service runs, and what the terminal says at it.

use crate::support::{Home, Output, Up};

pub(crate) const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// A home whose service runs, and the words that differ from run to run.
pub(crate) struct Desk {
    pub(crate) home: Home,
    pub(crate) up: Up,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let home = Home::new();
        let up = home.up(&[]);
        Self { home, up }
    }

    pub(crate) fn sectag(&self, args: &[&str]) -> Output {
        self.home.sectag(args)
    }

    /// Compares a refusal, with this run's paths, ports and process id named.
    pub(crate) fn refuses(&self, args: &[&str], code: i32, stderr: &str) {
        let output = self.sectag(args);
        let seen = self.named(&output.stderr);
        assert_eq!(seen, stderr, "{args:?}");
        assert_eq!(output.stdout, "", "{args:?}: data only where there is some");
        assert_eq!(output.code, Some(code), "{args:?}");
    }

    pub(crate) fn named(&self, text: &str) -> String {
        let listeners = self.up.listeners;
        in_home(&self.home, text)
            .replace(&format!(":{}", listeners.loopback.port()), ":LOOPBACK")
            .replace(&format!(":{}", listeners.device.port()), ":DEVICE")
            .replace(&format!(":{}", listeners.mqtt.port()), ":MQTT")
            .replace(&format!("process {}", self.up.child.id()), "process PID")
    }
}

/// The text with `HOME` for the home and `BESIDE` for the folder it is in.
pub(crate) fn in_home(home: &Home, text: &str) -> String {
    text.replace(home.path().to_str().unwrap(), "HOME")
        .replace(home.path().parent().unwrap().to_str().unwrap(), "BESIDE")
}

pub(crate) fn refuses(home: &Home, args: &[&str], code: i32, stderr: &str) {
    let output = home.sectag(args);
    assert_eq!(in_home(home, &output.stderr), stderr, "{args:?}");
    assert_eq!(output.stdout, "", "{args:?}");
    assert_eq!(output.code, Some(code), "{args:?}");
}

/// A port that is nobody's for the moment.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
