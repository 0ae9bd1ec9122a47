//! A receiver of webhooks that answers as it was told, and what an owner says about them.
#![allow(dead_code)]

use super::{Reply, Town};
use aws_lc_rs::hmac;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::RwLock;

pub const PATIENCE: Duration = Duration::from_secs(30);
pub const SECRET: &str = "whsec_a-secret-of-the-receivers-own-choice";

/// What came, with the head in lower case.
#[derive(Debug, Clone)]
pub struct Came {
    pub head: String,
    pub body: Vec<u8>,
}

impl Came {
    pub fn header(&self, name: &str) -> String {
        let line = self
            .head
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.head))
            .to_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn is_signed(&self, secret: &str) -> bool {
        let signature = self.header("sectag-signature");
        let (time, mac) = signature
            .strip_prefix("t=")
            .unwrap()
            .split_once(",v1=")
            .unwrap();
        let message = [time.as_bytes(), b".", &self.body].concat();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let mac: Vec<u8> = (0..mac.len() / 2)
            .map(|n| u8::from_str_radix(&mac[2 * n..2 * n + 2], 16).unwrap())
            .collect();
        hmac::verify(&key, &message, &mac).is_ok()
    }
}

/// Takes deliveries, and answers as it was told, then with 200.
pub struct Receiver {
    pub url: String,
    pub came: Arc<Mutex<Vec<Came>>>,
    pub answers: Arc<Mutex<VecDeque<String>>>,
    /// Whoever writes here holds the answers back.
    pub held: Arc<RwLock<()>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/hook?token=of-the-receiver",
            listener.local_addr().unwrap()
        );
        let (came, answers) = (
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(Mutex::new(VecDeque::new())),
        );
        let held = Arc::new(RwLock::new(()));
        let (taken, script, holding) = (came.clone(), answers.clone(), held.clone());
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let (taken, script, holding) = (taken.clone(), script.clone(), holding.clone());
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    loop {
                        let Some(came) = one(&mut socket, &mut bytes).await else {
                            return;
                        };
                        taken.lock().unwrap().push(came);
                        drop(holding.read().await);
                        let answer = script.lock().unwrap().pop_front();
                        let answer = answer.unwrap_or_else(|| {
                            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()
                        });
                        if socket.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self {
            url,
            came,
            answers,
            held,
        }
    }

    pub fn answers(&self, statuses: &[u16]) {
        let answer = |status: &u16| {
            format!(
                "HTTP/1.1 {status} X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
            )
        };
        self.answers
            .lock()
            .unwrap()
            .extend(statuses.iter().map(answer));
    }

    pub fn all(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    pub async fn until(&self, enough: impl Fn(&[Came]) -> bool) -> Vec<Came> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let all = self.all();
            if enough(&all) {
                return all;
            }
            assert!(tokio::time::Instant::now() < deadline, "{all:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn one(socket: &mut tokio::net::TcpStream, bytes: &mut Vec<u8>) -> Option<Came> {
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end + 2].to_vec())
                .unwrap()
                .replace("\r\n", "\n");
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.unwrap().parse().unwrap();
            if bytes.len() >= end + 4 + length {
                let body = bytes[end + 4..end + 4 + length].to_vec();
                bytes.drain(..end + 4 + length);
                return Some(Came { head, body });
            }
        }
        let mut more = [0; 4096];
        match socket.read(&mut more).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&more[..read]),
        }
    }
}

pub async fn add(town: &Town, body: Value) -> Reply {
    town.owner("POST", "/v1/webhooks", Some(&body)).await
}

pub async fn added(town: &Town, receiver: &Receiver, kinds: &[&str]) -> String {
    town.log.forbid(SECRET);
    town.log.forbid("token=of-the-receiver");
    let reply = add(
        town,
        json!({"url": receiver.url, "kinds": kinds, "secret": SECRET}),
    )
    .await;
    assert_eq!(
        reply.status,
        201,
        "{}",
        String::from_utf8_lossy(&reply.body)
    );
    reply.json()["id"].as_str().unwrap().to_owned()
}

pub async fn shown(town: &Town, id: &str) -> Value {
    town.owner("GET", &format!("/v1/webhooks/{id}"), None)
        .await
        .json()
}

/// How it is once this is true of it.
pub async fn shown_when(town: &Town, id: &str, is: impl Fn(&Value) -> bool) -> Value {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let known = shown(town, id).await;
        if is(&known) {
            return known;
        }
        assert!(tokio::time::Instant::now() < deadline, "{known}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
