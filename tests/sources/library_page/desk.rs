//! A service in a home of its own, and a device that its owner has claimed.

use crate::support::{Home, Output, Up};
use serde_json::Value;

pub struct Desk {
    pub home: Home,
    pub up: Up,
    /// The device's UUID.
    pub id: String,
}

impl Desk {
    /// `device-1` is claimed.
    pub fn new() -> Self {
        let mut desk = Self::blank();
        let token = desk.home.json(&["device", "token"])["claimToken"].clone();
        desk.claim(token.as_str().unwrap());
        desk
    }

    /// Nobody is claimed.
    pub fn blank() -> Self {
        let home = Home::new();
        let up = home.up(&[]);
        Self {
            home,
            up,
            id: String::new(),
        }
    }

    pub fn claim(&mut self, token: &str) {
        let claimed = self.home.json(&["claim", token]);
        self.id = claimed["id"].as_str().unwrap().to_owned();
    }

    /// Queues these requests.
    pub fn queue(&self, requests: &[Value]) {
        let texts: Vec<String> = requests.iter().map(Value::to_string).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        self.home
            .sectag(&[&["commands", "add", &self.id][..], &texts].concat())
            .expect_code(0);
    }

    /// One session of `device-1`.
    pub fn session(&self, args: &[&str]) -> Output {
        self.home.sectag(&[&["device", "run"], args].concat())
    }

    /// The queue as its owner sees it.
    pub fn commands(&self) -> Vec<Value> {
        let list = self.home.json(&["commands", "list", &self.id]);
        list["items"].as_array().unwrap().clone()
    }

    /// Status of each command, in queue order.
    pub fn statuses(&self) -> Vec<String> {
        let commands = self.commands();
        let text = |command: &Value| command["status"].as_str().unwrap().to_owned();
        commands.iter().map(text).collect()
    }
}

/// What a session did with its modem and its service: `AT+CFUN=4 → OK`, `GET 200`, `POST 200`.
pub fn steps(session: &Output) -> Vec<String> {
    let steps = session.stderr.lines().filter_map(|line| {
        let (kind, rest) = line.trim_start().split_once(' ')?;
        match kind {
            "modem" => Some(rest.trim_start().to_owned()),
            "GET" => Some(format!("GET {}", rest.split("→ ").nth(1)?.get(..3)?)),
            "POST" => Some(format!("POST {}", rest.split("→ ").nth(1)?)),
            _ => None,
        }
    });
    steps.collect()
}
