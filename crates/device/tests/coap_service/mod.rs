//! A scripted CoAP service over DTLS: it authenticates whoever asks, hands out batches in order, keeps what it was sent, and
//! can be deaf, restarted, or rude.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sectag_coap::{Code, Limits, Request, Response, Server};
use sectag_device::Coap;
use sectag_dtls::{Endpoint, Event, Identity, MasterSecret, Now, Output, ServerConfig, SessionKey};
use sectag_pki::{Authority, PrivateKey, Purpose, ServerName};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

/// One request, as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) session: u64,
    /// `auth-jwt`, `cmd`, `rsp` or `suspend`.
    pub(crate) what: String,
    pub(crate) query: Vec<String>,
    pub(crate) payload: Vec<u8>,
}

/// What the next request of a kind gets.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    With(Response),
    /// Nothing.
    Silence,
}

/// What the service knows and has seen.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) seen: Vec<Seen>,
    pub(crate) batches: VecDeque<Vec<u8>>,
    /// By last path segment; the first that fits is used up.
    pub(crate) replies: VecDeque<(&'static str, Reply)>,
    pub(crate) max_age_s: Option<u32>,
    authorised: BTreeSet<u64>,
    /// `full`, `short`, `moved`, `closed`
    pub(crate) events: Vec<&'static str>,
}

/// How the service starts anew.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Restart {
    /// Sessions and authorisations go on.
    Orderly,
    /// Everything is lost but the secret that tickets are made with.
    Crash,
}

pub(crate) struct CoapService {
    pub(crate) port: u16,
    pub(crate) root_pem: String,
    book: Arc<Mutex<Book>>,
    deaf: Arc<AtomicBool>,
    orders: mpsc::Sender<(Option<Restart>, oneshot::Sender<()>)>,
    task: tokio::task::JoinHandle<()>,
}

struct Random;

impl sectag_dtls::Random for Random {
    fn fill(&mut self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }
}

impl CoapService {
    pub(crate) async fn start() -> Self {
        Self::start_as("localhost").await
    }

    pub(crate) async fn start_as(name: &str) -> Self {
        let root = Authority::root("test root", now_s()).unwrap();
        let servers = root.issuing(Purpose::Servers, now_s()).unwrap();
        let key = PrivateKey::generate().unwrap();
        let names = [ServerName::Dns(name.to_string())];
        let certificate = servers
            .issue_server(&key.spki_der(), &names, now_s())
            .unwrap();
        let chain = certificate.pem() + &servers.certificate_pem();
        let identity = Identity::from_pem(&chain, &key.to_pem()).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let book = Arc::new(Mutex::new(Book::default()));
        let deaf = Arc::new(AtomicBool::new(false));
        let (orders, receiver) = mpsc::channel(8);
        let desk = Desk {
            socket,
            identity,
            dtls: None,
            coap: Server::new(Limits::default(), 7),
            book: Arc::clone(&book),
            deaf: Arc::clone(&deaf),
            begun: Instant::now(),
        };
        Self {
            port,
            root_pem: root.certificate_pem(),
            book,
            deaf,
            orders,
            task: tokio::spawn(desk.serve(receiver)),
        }
    }

    pub(crate) fn coap(&self) -> Coap {
        Coap::new("localhost", self.port, &self.root_pem)
            .unwrap()
            .at(([127, 0, 0, 1], self.port).into())
            .timeout(Duration::from_secs(5))
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// What was asked, in order; then it is forgotten.
    pub(crate) fn asked(&self) -> Vec<String> {
        let seen = std::mem::take(&mut self.book().seen);
        seen.into_iter().map(|seen| seen.what).collect()
    }

    pub(crate) fn events(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.book().events)
    }

    /// Full and short ones, in order.
    pub(crate) fn handshakes(&self) -> Vec<&'static str> {
        let events = self.book().events.clone();
        let handshakes = events.into_iter();
        handshakes
            .filter(|event| matches!(*event, "full" | "short"))
            .collect()
    }

    /// Waits for a close_notify that is on its way.
    pub(crate) async fn hears_a_goodbye(&self) {
        for _ in 0..200 {
            if self.book().events.contains(&"closed") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no goodbye: {:?}", self.book().events);
    }

    /// Hears and says nothing while it is deaf.
    pub(crate) fn set_deaf(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::SeqCst);
    }

    pub(crate) async fn restart(&self, how: Restart) {
        self.order(Some(how)).await;
    }

    /// Says goodbye to everybody.
    pub(crate) async fn close_all(&self) {
        self.order(None).await;
    }

    async fn order(&self, order: Option<Restart>) {
        let (done, when_done) = oneshot::channel();
        self.orders.send((order, done)).await.unwrap();
        when_done.await.unwrap();
    }
}

impl Drop for CoapService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Desk {
    socket: UdpSocket,
    identity: Identity,
    dtls: Option<Endpoint>,
    coap: Server,
    book: Arc<Mutex<Book>>,
    deaf: Arc<AtomicBool>,
    begun: Instant,
}

impl Desk {
    async fn serve(mut self, mut orders: mpsc::Receiver<(Option<Restart>, oneshot::Sender<()>)>) {
        self.dtls = Some(self.endpoint());
        let mut datagram = [0; 4096];
        loop {
            let wake = self.settle().await;
            let wait = wake.map_or(Duration::from_secs(3600), |wake| {
                wake.saturating_sub(self.begun.elapsed())
            });
            tokio::select! {
                Ok((count, from)) = self.socket.recv_from(&mut datagram) => {
                    if !self.deaf.load(Ordering::SeqCst) {
                        self.feed(&datagram[..count], from);
                    }
                }
                Some((order, done)) = orders.recv() => {
                    match order {
                        Some(how) => self.restart(how),
                        None => self.close_all(),
                    }
                    self.settle().await;
                    done.send(()).unwrap();
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn endpoint(&self) -> Endpoint {
        let config = ServerConfig::new(self.identity.clone(), MasterSecret::new([7; 32]));
        Endpoint::new(config, Box::new(Random)).unwrap()
    }

    fn now(&self) -> Now {
        Now {
            uptime: self.begun.elapsed(),
            unix_s: now_s(),
        }
    }

    fn feed(&mut self, datagram: &[u8], from: SocketAddr) {
        let now = self.now();
        self.dtls.as_mut().unwrap().feed(datagram, from, now);
    }

    fn restart(&mut self, how: Restart) {
        let now = self.now();
        let before = self.dtls.take().unwrap();
        let mut after = self.endpoint();
        let authorised = std::mem::take(&mut self.book.lock().unwrap().authorised);
        if let Restart::Orderly = how {
            for saved in before.into_saved(now) {
                let old = saved.key.0;
                let bytes = saved.to_bytes();
                let saved = sectag_dtls::SavedSession::from_bytes(&bytes).unwrap();
                let new = after.load(saved, now).unwrap();
                if authorised.contains(&old) {
                    self.book.lock().unwrap().authorised.insert(new.0);
                }
            }
        }
        self.coap = Server::new(Limits::default(), 8);
        self.dtls = Some(after);
    }

    fn close_all(&mut self) {
        let now = self.now();
        let sessions = self.book.lock().unwrap().authorised.clone();
        for session in sessions {
            self.dtls.as_mut().unwrap().close(SessionKey(session), now);
        }
    }

    async fn settle(&mut self) -> Option<Duration> {
        loop {
            let mut at_rest = true;
            let now = self.now();
            let dtls_wake = loop {
                match self.dtls.as_mut().unwrap().poll(now) {
                    Output::Datagram { to, bytes } => {
                        if !self.deaf.load(Ordering::SeqCst) {
                            let _ = self.socket.send_to(&bytes, to).await;
                        }
                    }
                    Output::Record { session, bytes } => {
                        self.coap.feed(session.0, &bytes, now.uptime);
                        at_rest = false;
                    }
                    Output::Event(event) => self.note(&event),
                    Output::Wait(wake) => break wake,
                }
            };
            let coap_wake = loop {
                match self.coap.poll(now.uptime) {
                    sectag_coap::Output::Send { session, bytes } => {
                        at_rest = false;
                        let dtls = self.dtls.as_mut().unwrap();
                        let _ = dtls.send(SessionKey(session), &bytes, now);
                    }
                    sectag_coap::Output::Request(request) => {
                        at_rest = false;
                        if let Some(response) = self.answer(&request) {
                            self.coap.respond(request.exchange, response, now.uptime);
                        }
                    }
                    sectag_coap::Output::Wait(wake) => break wake,
                }
            };
            if at_rest {
                return [dtls_wake, coap_wake].into_iter().flatten().min();
            }
        }
    }

    fn note(&mut self, event: &Event) {
        let mut book = self.book.lock().unwrap();
        match event {
            Event::Connected { resumed, .. } => {
                book.events.push(match resumed {
                    Some(_) => "short",
                    None => "full",
                });
            }
            Event::Moved { .. } => book.events.push("moved"),
            Event::Closed { session, .. } => {
                book.events.push("closed");
                book.authorised.remove(&session.0);
                self.coap.forget(session.0);
            }
            Event::Refused { .. } | Event::Cache { .. } => {}
        }
    }

    fn answer(&mut self, request: &Request) -> Option<Response> {
        let mut book = self.book.lock().unwrap();
        let what = request.path.last().cloned().unwrap_or_default();
        book.seen.push(Seen {
            session: request.session,
            what: what.clone(),
            query: request.query.clone(),
            payload: request.payload.clone(),
        });
        let scripted = book.replies.iter().position(|(path, _)| *path == what);
        if let Some(at) = scripted {
            return match book.replies.remove(at).unwrap().1 {
                Reply::With(response) => Some(response),
                Reply::Silence => None,
            };
        }
        let authorised = book.authorised.contains(&request.session);
        Some(match what.as_str() {
            "auth-jwt" => {
                book.authorised.insert(request.session);
                let response = Response::new(Code::CREATED);
                match book.max_age_s {
                    Some(seconds) => response.max_age(seconds),
                    None => response,
                }
            }
            _ if !authorised => Response::new(Code::UNAUTHORIZED),
            "cmd" => {
                let response = Response::new(Code::CONTENT);
                match book.batches.pop_front() {
                    Some(batch) => response.payload(60, batch),
                    None => response,
                }
            }
            "rsp" | "suspend" => Response::new(Code::CHANGED),
            _ => Response::new(Code::NOT_FOUND),
        })
    }
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}
