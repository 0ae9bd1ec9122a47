//! The server's end: many sessions, one queue of outputs.

mod bodies;
mod limits;
mod seen;
mod session;

use crate::chance::Chance;
use crate::{Code, Counters, Method};
use session::{Session, Shared};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

pub use limits::*;

/// Answers the requests of many sessions. Feed what arrived, [`poll`](Server::poll) until [`Output::Wait`], which is always
/// last, and call again when something arrives or the wait is over.
#[derive(Debug)]
pub struct Server {
    sessions: HashMap<u64, Session>,
    /// When to look after which session; at most one entry each.
    timers: BTreeSet<(Duration, u64)>,
    /// Sessions that hold something, the one that began earliest first; at most one entry each.
    holders: VecDeque<u64>,
    /// Every session in the order of its first datagram, for the day when there are too many.
    arrivals: VecDeque<u64>,
    bytes_held: usize,
    counters: Counters,
    shared: Shared,
}

/// What the server wants done.
#[derive(Debug)]
pub enum Output {
    /// Carry this message to the peer.
    Send {
        /// Whose.
        session: u64,
        /// One CoAP message.
        bytes: Vec<u8>,
    },
    /// Answer this with [`Server::respond`]: at once, or when the answer is there.
    Request(Request),
    /// Nothing more; poll again at this uptime (`None`: not before the next datagram).
    Wait(Option<Duration>),
}

/// One request, whole, delivered once however often it arrived.
#[derive(Debug)]
pub struct Request {
    /// What [`Server::respond`] asks for.
    pub exchange: Exchange,
    /// Who asks.
    pub session: u64,
    /// What for.
    pub method: Method,
    /// Uri-Path, a segment each; percent signs are characters like others.
    pub path: Vec<String>,
    /// Uri-Query, a `name=value` each, an empty value kept.
    pub query: Vec<String>,
    /// What the payload is; 60 is CBOR.
    pub content_format: Option<u16>,
    /// The only format the peer takes.
    pub accept: Option<u16>,
    /// Blocks already joined.
    pub payload: Vec<u8>,
    /// Whether the peer wanted the request acknowledged.
    pub confirmable: bool,
}

/// One request that is not answered yet. It belongs to the server that gave it, and is good for one answer.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Exchange {
    pub(crate) session: u64,
    pub(crate) number: u64,
}

/// An answer. Blocks, ETag, tokens and acknowledgements are the server's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// A response code.
    pub code: Code,
    /// What the payload is; left out when the payload is empty.
    pub content_format: Option<u16>,
    /// Seconds for which the answer holds; `None` leaves the option out, which means 60 (RFC 7252 §5.10.5).
    pub max_age: Option<u32>,
    /// The whole body; sliced if it is larger than a block.
    pub payload: Vec<u8>,
}

impl Response {
    /// A code and nothing else.
    pub fn new(code: Code) -> Response {
        Response {
            code,
            content_format: None,
            max_age: None,
            payload: Vec::new(),
        }
    }

    /// With a body of this format.
    pub fn payload(mut self, content_format: u16, payload: Vec<u8>) -> Response {
        self.content_format = Some(content_format);
        self.payload = payload;
        self
    }

    /// With Max-Age, in seconds.
    pub fn max_age(mut self, seconds: u32) -> Response {
        self.max_age = Some(seconds);
        self
    }
}

impl Server {
    /// A server without sessions. The seed decides jitter, message ids and where ETags begin.
    pub fn new(limits: Limits, seed: u64) -> Server {
        let mut chance = Chance::new(seed);
        let limits = Limits {
            body_bytes_max: limits.body_bytes_max.min(BODY_BYTES_MAX),
            stranger_body_bytes_max: limits.stranger_body_bytes_max.min(limits.body_bytes_max),
            sessions_max: limits.sessions_max.max(1),
            ..limits
        };
        Server {
            sessions: HashMap::new(),
            timers: BTreeSet::new(),
            holders: VecDeque::new(),
            arrivals: VecDeque::new(),
            bytes_held: 0,
            counters: Counters::default(),
            shared: Shared {
                limits,
                next_etag: chance.next() as u32,
                chance,
                outputs: VecDeque::new(),
                open: 0,
                next_exchange: 0,
            },
        }
    }

    /// A datagram of this session arrived. A session begins with its first datagram.
    pub fn feed(&mut self, session: u64, datagram: &[u8], now: Duration) {
        self.begin(session);
        self.with(session, |session, shared| {
            session.feed(datagram, now, shared)
        });
        self.keep_within_bytes();
    }

    /// Whether the application knows who is behind this session. Its bodies may have [`Limits::body_bytes_max`] bytes then,
    /// else [`Limits::stranger_body_bytes_max`]. A session begins with this, too.
    pub fn trust(&mut self, session: u64, trusted: bool) {
        self.begin(session);
        if let Some(session) = self.sessions.get_mut(&session) {
            session.trusted = trusted;
        }
    }

    /// The answer to a request. Late is fine (it then travels as a message of its own); for a forgotten session, or after
    /// [`APPLICATION_TIMEOUT`], it is dropped.
    pub fn respond(&mut self, exchange: Exchange, response: Response, now: Duration) {
        let Exchange { session, number } = exchange;
        self.with(session, |session, shared| {
            session.respond(number, response, now, shared)
        });
        self.keep_within_bytes();
    }

    /// The session ended: everything kept for it goes, answers under way included.
    pub fn forget(&mut self, session: u64) {
        let Some(gone) = self.sessions.remove(&session) else {
            return;
        };
        self.bytes_held -= gone.bytes();
        self.shared.open -= gone.open();
        if let Some(when) = gone.scheduled {
            self.timers.remove(&(when, session));
        }
        self.shared.outputs.retain(|output| match output {
            Output::Send { session: of, .. } => *of != session,
            Output::Request(request) => request.session != session,
            Output::Wait(_) => true,
        });
        // The lists name sessions that may be gone; they are swept when that is most of them.
        if self.arrivals.len() > 2 * self.sessions.len() + 16 {
            self.arrivals
                .retain(|number| self.sessions.contains_key(number));
        }
        if self.holders.len() > 2 * self.sessions.len() + 16 {
            self.holders
                .retain(|number| self.sessions.contains_key(number));
        }
    }

    /// The next thing to do. [`Output::Wait`] is always last.
    pub fn poll(&mut self, now: Duration) -> Output {
        loop {
            if let Some(output) = self.shared.outputs.pop_front() {
                return output;
            }
            match self.timers.first().copied() {
                Some((when, session)) if when <= now => {
                    self.timers.pop_first();
                    if let Some(state) = self.sessions.get_mut(&session) {
                        state.scheduled = None;
                    }
                    self.with(session, |session, shared| session.wake(now, shared));
                }
                next => return Output::Wait(next.map(|(when, _)| when)),
            }
        }
    }

    /// Of all sessions together, ended ones included.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Of one session since it began; zero for one that is not known.
    pub fn session_counters(&self, session: u64) -> Counters {
        self.sessions
            .get(&session)
            .map(|session| session.counters)
            .unwrap_or_default()
    }

    /// Sessions that began and were not forgotten.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Bytes kept for all peers: bodies being joined, answers that may be asked for again, message ids.
    pub fn bytes_held(&self) -> usize {
        self.bytes_held
    }

    /// The same of one session, never more than [`SESSION_BYTES_MAX`].
    pub fn session_bytes_held(&self, session: u64) -> usize {
        self.sessions.get(&session).map_or(0, Session::bytes)
    }

    fn begin(&mut self, session: u64) {
        if !self.sessions.contains_key(&session) {
            self.make_room();
            self.sessions
                .insert(session, Session::new(session, &mut self.shared.chance));
            self.arrivals.push_back(session);
        }
    }

    /// Lets one session act, and keeps the sums, the timer and the list of holders right.
    fn with(&mut self, number: u64, act: impl FnOnce(&mut Session, &mut Shared)) {
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        let (counters, bytes) = (session.counters, session.bytes());
        act(session, &mut self.shared);
        self.counters += session.counters - counters;
        self.bytes_held = self.bytes_held - bytes + session.bytes();
        if session.bytes() > 0 && !session.holding {
            session.holding = true;
            self.holders.push_back(number);
        }
        // A timer that comes too early finds nothing to do and is set again; one that comes too late would be a mistake.
        if let Some(due) = session.due()
            && session.scheduled.is_none_or(|scheduled| due < scheduled)
        {
            if let Some(scheduled) = session.scheduled.replace(due) {
                self.timers.remove(&(scheduled, number));
            }
            self.timers.insert((due, number));
        }
    }

    /// Takes what was kept for peers from the sessions that began earliest to hold something.
    fn keep_within_bytes(&mut self) {
        while self.bytes_held > self.shared.limits.total_bytes_max {
            let Some(number) = self.holders.pop_front() else {
                return;
            };
            self.with(number, |session, _| session.release());
            // What the application still has stays, and is found again when it is answered.
            if let Some(session) = self.sessions.get_mut(&number) {
                session.holding = false;
            }
        }
    }

    /// Forgets one session if there are too many: the first that was quiet since it was last looked at, or the last of a
    /// few that were not.
    fn make_room(&mut self) {
        let mut looks = 0;
        while self.sessions.len() >= self.shared.limits.sessions_max {
            let Some(number) = self.arrivals.pop_front() else {
                return;
            };
            let Some(session) = self.sessions.get_mut(&number) else {
                continue;
            };
            looks += 1;
            if std::mem::take(&mut session.active) && looks < LOOKS_MAX {
                self.arrivals.push_back(number);
            } else {
                self.forget(number);
            }
        }
    }
}

/// Sessions looked at before one is forgotten although it was active, so that a newcomer costs the same whatever the number.
const LOOKS_MAX: u32 = 16;
