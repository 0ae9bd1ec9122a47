//! The device's side: one session to one server.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::config::{ClientConfig, ConfigError, Now, Random, Resumption};
use crate::counters::ClientCounters;
use crate::date::Date;
use crate::event::{
    CertificateFault, ClientEvent, ClientFailure, ClientOutput, Resumed, SendError, SessionKey,
};
use crate::ffi::{self, Config, Context, Fault, Hands, Refusal, Role, Settings};
use crate::layout::{self, Side};
use crate::progress::Progress;
use crate::record::split;
use crate::saved::{LoadError, SavedSession};
use crate::session::{Advance, advance, alert_name};

/// One session to one server. `Send`, not `Sync`.
///
/// One input ([`connect`](Self::connect), [`feed`](Self::feed), [`send`](Self::send), [`close`](Self::close)), then
/// [`poll`](Self::poll) until [`ClientOutput::Wait`], which is always last.
pub struct Client {
    config: ClientConfig,
    library: Arc<Config>,
    hands: Arc<Hands>,
    link: Option<Link>,
    resumption: Option<(Resumption, Resumed)>,
    outputs: VecDeque<ClientOutput>,
    counters: ClientCounters,
    /// The plaintext of one record.
    plaintext: Vec<u8>,
}

/// A handshake under way, or an established session.
struct Link {
    context: Context,
    /// Present during the handshake.
    progress: Option<Progress>,
}

impl Client {
    /// A client that is not connected.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(config: &ClientConfig, random: Box<dyn Random>) -> Result<Self, ConfigError> {
        if config.cid.is_some_and(|bytes| bytes > CID_BYTES_MAX) {
            return Err(ConfigError::Value(format!(
                "a client's Connection ID has 0 to {CID_BYTES_MAX} bytes"
            )));
        }
        let role = Role::Client {
            roots_pem: &config.roots_pem,
            tickets: config.session_cache,
            extended_master_secret: config.extended_master_secret,
        };
        let settings = Settings {
            suites: &config.suites,
            cid_bytes: usize::from(config.cid.unwrap_or(0)),
            timeout_min: config.handshake_timeout_min,
            timeout_max: config.handshake_timeout_max,
        };
        let hands = Arc::new(Hands::new(random, None, 0));
        let resumption = config.resume.as_ref().map(Resumption::parse).transpose()?;
        let client = Self {
            library: Arc::new(Config::new(&role, &settings, Arc::clone(&hands))?),
            config: config.clone(),
            hands,
            link: None,
            resumption,
            outputs: VecDeque::new(),
            counters: ClientCounters::default(),
            plaintext: vec![0; PLAINTEXT_BYTES_MAX],
        };
        client.context()?; // whatever is wrong with name or session is said here
        Ok(client)
    }

    /// Starts the handshake. On a client that is connected or has failed: a new one.
    pub fn connect(&mut self, now: Now) {
        ffi::at(now);
        self.link = None;
        match self.context() {
            Ok(context) => {
                self.link = Some(Link {
                    context,
                    progress: Some(Progress::default()),
                });
                self.step(&[], true);
            }
            Err(error) => self.fail(ClientFailure::Protocol {
                text: error.to_string(),
                code: 0,
            }),
        }
    }

    /// A UDP payload arrived from the server.
    pub fn feed(&mut self, datagram: &[u8], now: Now) {
        ffi::at(now);
        let bytes = datagram.len() as u64;
        let received = &mut self.counters.received;
        received.datagrams += 1;
        match self.link.as_mut().and_then(|link| link.progress.as_mut()) {
            Some(progress) => {
                received.handshake_bytes += bytes;
                received.retransmissions += u64::from(progress.received(datagram));
            }
            None => received.record_bytes += bytes,
        }
        let (records, garbage) = split(datagram, usize::from(self.config.cid.unwrap_or(0)));
        self.counters.dropped_records += u64::from(garbage);
        for record in records {
            let Some(link) = &self.link else {
                self.counters.dropped_records += 1;
                continue;
            };
            let established = link.progress.is_none();
            if established && record.epoch == 0 {
                self.counters.dropped_records += 1; // plaintext, for which nobody vouches
                continue;
            }
            if !established && record.epoch > 0 && link.context.is_foreign(record.bytes) {
                self.counters.dropped_records += 1;
                continue;
            }
            self.step(record.bytes, !established);
        }
    }

    /// Sends one record.
    ///
    /// # Errors
    /// When there is no session, or the bytes do not fit one record.
    pub fn send(&mut self, bytes: &[u8], now: Now) -> Result<(), SendError> {
        ffi::at(now);
        let link = self.link.as_mut().ok_or(SendError::NoSession)?;
        if link.progress.is_some() {
            return Err(SendError::NotConnected);
        }
        let bytes_max = link.context.record_bytes_max();
        if bytes.len() > bytes_max {
            return Err(SendError::TooLarge {
                bytes: bytes.len(),
                bytes_max,
            });
        }
        match link.context.write(bytes) {
            Ok(()) => {
                self.counters.sent.payload_bytes += bytes.len() as u64;
                self.carry();
                Ok(())
            }
            Err(code) => {
                self.fail(ClientFailure::Protocol {
                    text: ffi::words(code),
                    code,
                });
                Err(SendError::Failed(code))
            }
        }
    }

    /// Ends the session with a close_notify.
    pub fn close(&mut self, now: Now) {
        ffi::at(now);
        if let Some(link) = &mut self.link {
            if link.progress.is_none() {
                link.context.close();
            }
            self.carry();
            self.link = None;
        }
    }

    /// What is to be done; until [`ClientOutput::Wait`], which is always last.
    pub fn poll(&mut self, now: Now) -> ClientOutput {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
            let due = self
                .link
                .as_ref()
                .filter(|link| link.progress.is_some())
                .and_then(|link| link.context.deadline());
            match due {
                Some(due) if due <= now.uptime => {
                    ffi::at(now);
                    self.step(&[], true);
                }
                due => return ClientOutput::Wait(due),
            }
        }
    }

    /// Whether records can be sent.
    pub fn is_connected(&self) -> bool {
        self.link
            .as_ref()
            .is_some_and(|link| link.progress.is_none())
    }

    /// What a later client needs to resume this session by a short handshake.
    pub fn resumption(&self) -> Option<Resumption> {
        self.resumption
            .as_ref()
            .map(|(resumption, _)| resumption.clone())
    }

    /// What happened since the beginning.
    pub fn counters(&self) -> ClientCounters {
        self.counters
    }

    /// Orderly stop: ends the client and hands out its session, if it can go on in another one. What waited to be polled is lost.
    pub fn save(mut self, now: Now) -> Option<SavedSession> {
        ffi::at(now);
        let link = self.link.take().filter(|link| link.progress.is_none())?;
        let state = link.context.save()?;
        let cid = layout::context(&state, Side::Client)?.own_cid.to_vec();
        let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Some(SavedSession {
            key: SessionKey(0),
            peer,
            cid,
            side: Side::Client,
            heard_s: now.unix_s,
            state,
        })
    }

    /// A client that goes on with a saved session, which is consumed.
    ///
    /// # Errors
    /// When it cannot go on; a new client has to connect.
    pub fn load(
        config: &ClientConfig,
        random: Box<dyn Random>,
        saved: SavedSession,
        now: Now,
    ) -> Result<Self, LoadError> {
        ffi::at(now);
        if saved.side != Side::Client || layout::context(&saved.state, Side::Client).is_none() {
            return Err(LoadError::Garbage);
        }
        if saved.cid.len() != usize::from(config.cid.unwrap_or(0)) {
            return Err(LoadError::CidLength);
        }
        let mut client = Self::new(config, random).map_err(|_| LoadError::Garbage)?;
        let mut context = Context::new(&client.library, config.datagram_bytes_max, None)
            .map_err(|_| LoadError::Full)?;
        context.load(&saved.state).map_err(|_| LoadError::Garbage)?;
        client.link = Some(Link {
            context,
            progress: None,
        });
        Ok(client)
    }

    /// A context before its handshake.
    fn context(&self) -> Result<Context, ConfigError> {
        let mut cid = [0; CID_BYTES_MAX as usize];
        let cid = self
            .config
            .cid
            .and_then(|bytes| cid.get_mut(..usize::from(bytes)));
        let cid = cid.map(|cid| {
            self.hands.fill(cid);
            &*cid
        });
        let mut context = Context::new(&self.library, self.config.datagram_bytes_max, cid)?;
        let resume = self
            .resumption
            .as_ref()
            .map(|(resumption, _)| resumption.session());
        context.expect(&self.config.server_name, resume)?;
        Ok(context)
    }

    /// Gives the context a record (none at the start, and when a timer has run out), and does what it says. `vouched`: an error may
    /// be taken for the server's own even when the record was not authenticated.
    fn step(&mut self, bytes: &[u8], vouched: bool) {
        let Some(link) = &mut self.link else { return };
        let before = link.context.window();
        let Advance {
            connected,
            records,
            fault,
        } = advance(
            &mut link.context,
            link.progress.is_none(),
            bytes,
            &mut self.plaintext,
        );
        let authentic = before != link.context.window();
        self.counters.dropped_records += u64::from(!vouched && !authentic);
        self.carry();
        if connected {
            self.connected();
        }
        for bytes in records {
            self.counters.received.payload_bytes += bytes.len() as u64;
            self.outputs.push_back(ClientOutput::Record(bytes));
        }
        match fault {
            Some(fault) if vouched || authentic => self.broken(fault),
            _ => {}
        }
    }

    fn connected(&mut self) {
        let Some(link) = &mut self.link else { return };
        let Some(progress) = link.progress.take() else {
            return;
        };
        let resumed = if progress.full {
            None
        } else {
            self.resumption.as_ref().map(|(_, how)| *how)
        };
        self.counters.handshakes += 1;
        self.counters.resumed += u64::from(resumed.is_some());
        if self.config.session_cache
            && let Some((session, ticket)) = link.context.session()
        {
            let how = if ticket {
                Resumed::ByTicket
            } else {
                Resumed::BySessionId
            };
            self.resumption = Some((Resumption::of(&session, ticket), how));
        }
        self.outputs
            .push_back(ClientOutput::Event(ClientEvent::Connected {
                resumed,
                cid: link.context.peer_cid_bytes().is_some_and(|bytes| bytes > 0),
                suite: link.context.suite(),
                handshake: progress.cost,
            }));
    }

    fn broken(&mut self, fault: Fault) {
        let refusal = self.link.as_mut().and_then(|link| link.context.refusal());
        let established = self.is_connected();
        match (fault, refusal) {
            (Fault::Closed, _) if established => {
                self.link = None;
                self.outputs
                    .push_back(ClientOutput::Event(ClientEvent::Closed));
            }
            (Fault::Timeout, _) => self.fail(ClientFailure::Timeout),
            (Fault::Failed(_), Some(refusal)) if !established => {
                let fault = self.certificate_fault(refusal);
                self.fail(ClientFailure::Certificate(fault));
            }
            (Fault::Failed(code), _) => self.fail(ClientFailure::Protocol {
                text: ffi::words(code),
                code,
            }),
            (Fault::Alert(number), _) => self.fail(ClientFailure::Alert {
                number,
                name: alert_name(number),
            }),
            (Fault::Closed, _) => self.fail(ClientFailure::Alert {
                number: 0,
                name: alert_name(0),
            }),
        }
    }

    /// The gravest of what is wrong, with its facts.
    fn certificate_fault(&self, refusal: Refusal) -> CertificateFault {
        let Refusal {
            flags: found,
            subject,
            from,
            until,
            issuer,
            names,
        } = refusal;
        let now = Date::of(ffi::unix_s()).map_or_else(String::new, |date| date.to_string());
        if found & ffi::flags::NOT_TRUSTED != 0 {
            CertificateFault::UnknownAuthority { issuer }
        } else if found & ffi::flags::EXPIRED != 0 {
            CertificateFault::Expired {
                subject,
                until,
                now,
            }
        } else if found & ffi::flags::FUTURE != 0 {
            CertificateFault::NotYetValid { subject, from, now }
        } else if found & ffi::flags::NAME != 0 {
            CertificateFault::Name {
                wanted: self.config.server_name.clone(),
                presented: names,
            }
        } else {
            CertificateFault::Other(format!("flags {found:#x}"))
        }
    }

    fn fail(&mut self, failure: ClientFailure) {
        self.link = None;
        self.outputs
            .push_back(ClientOutput::Event(ClientEvent::Failed(failure)));
    }

    /// Takes what the context wants to send.
    fn carry(&mut self) {
        let Some(link) = &mut self.link else { return };
        for datagram in link.context.outbound() {
            let (sent, bytes) = (&mut self.counters.sent, datagram.len() as u64);
            sent.datagrams += 1;
            match &mut link.progress {
                Some(progress) => {
                    sent.handshake_bytes += bytes;
                    sent.retransmissions += u64::from(progress.sent(&datagram));
                }
                None => sent.record_bytes += bytes,
            }
            self.outputs.push_back(ClientOutput::Datagram(datagram));
        }
    }
}

/// A resumption's bytes: one that says whether there is a ticket, then Mbed TLS's session.
impl Resumption {
    fn of(session: &[u8], ticket: bool) -> Self {
        let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(1 + session.len()));
        bytes.push(u8::from(ticket));
        bytes.extend_from_slice(session);
        Self(bytes)
    }

    fn parse(&self) -> Result<(Self, Resumed), ConfigError> {
        let how = match self.0.first() {
            Some(0) => Resumed::BySessionId,
            Some(1) => Resumed::ByTicket,
            _ => return Err(ConfigError::Resumption("it is of another kind".to_owned())),
        };
        if !layout::session(self.session(), Side::Client) {
            return Err(ConfigError::Resumption(
                "it is not a client's session".to_owned(),
            ));
        }
        Ok((self.clone(), how))
    }

    fn session(&self) -> &[u8] {
        self.0.get(1..).unwrap_or_default()
    }
}

/// Enough to be unique among the sessions behind one of a device's ports.
const CID_BYTES_MAX: u8 = 16;

/// `ssl-in-content-len-2048`, and room for the padding that a record under a Connection ID may have.
const PLAINTEXT_BYTES_MAX: usize = 2048 + 64;
