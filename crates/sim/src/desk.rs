//! The service, reduced to what the conversation needs: one claimed device, its queue, and a CA for devices.

use crate::ca::ca;
use sectag_pki::csr;
use sectag_proto::command::CommandRequest;
use sectag_proto::es256::{Kid, P256, PublicKey};
use sectag_proto::jwt::{UnverifiedJwt, Verified};
use sectag_proto::query::FetchQuery;
use sectag_proto::service::{
    Alarm, Changes, Command, FetchLimits, Fetched, NeedsCertificate, NewCommand, OPEN_COMMANDS_MAX,
    Queue,
};
use sectag_proto::token::{AttestationToken, Candidate, KeygenBody};
use sectag_proto::wire::{Action, DecodeLimits, decode_commands, decode_responses};
use sectag_proto::{CommandId, DeviceId, Timestamp};
use std::collections::BTreeSet;

/// Bytes of status line and headers that the device's buffer has to hold beside the batch. With the default buffer of
/// 1024 bytes more than 230 would leave no room for a certificate and the delete in front of it.
pub const HEADER_BYTES: usize = 200;

/// One device's place at the service.
#[derive(Debug)]
pub struct Desk {
    device: DeviceId,
    candidates: Vec<Candidate>,
    pinned: Option<PublicKey>,
    queue: Queue,
    issued: BTreeSet<[u8; 32]>,
    next_id: u32,
    /// Ids whose report the device knows to be acknowledged; the town adds them.
    pub acknowledged: BTreeSet<String>,
    /// How often a report arrived here.
    pub reports: u32,
    /// Everything an operator would have been alarmed about.
    pub alarms: Vec<Alarm>,
    /// `Debug` of everything that was decided, as a careless log would hold it.
    pub said: Vec<String>,
}

impl Desk {
    /// The device that made this token is claimed.
    pub fn claim(token: &str) -> Self {
        let token = AttestationToken::parse(token).expect("a claim token");
        Self {
            device: token.device,
            candidates: token.candidates().expect("a signed token"),
            pinned: None,
            queue: Queue::new(token.device, Vec::new(), 1),
            issued: BTreeSet::new(),
            next_id: 0,
            acknowledged: BTreeSet::new(),
            reports: 0,
            alarms: Vec::new(),
            said: Vec::new(),
        }
    }

    /// The root as a device receives it.
    pub fn root_pem(&self) -> String {
        ca().root.certificate_pem()
    }

    /// Its commands, in queue order.
    pub fn commands(&self) -> &[Command] {
        self.queue.commands()
    }

    /// Whether nothing is open.
    pub fn is_settled(&self) -> bool {
        self.commands().iter().all(|c| c.status.is_terminal())
    }

    /// The owner adds commands; returns their ids.
    pub fn add(&mut self, requests: Vec<CommandRequest>, now: Timestamp) -> Vec<CommandId> {
        let new: Vec<NewCommand> = requests
            .into_iter()
            .map(|request| NewCommand::by_hand(self.new_id(), request))
            .collect();
        let ids = new.iter().map(|new| new.id).collect();
        let changes = self
            .queue
            .add(new, OPEN_COMMANDS_MAX, now)
            .expect("commands that a device can take");
        self.commit(&changes);
        ids
    }

    /// An owner looks at the queue.
    pub fn look(&mut self, now: Timestamp) {
        let changes = self.queue.expire(now);
        self.commit(&changes);
    }

    /// A fetch over HTTPS: status and body.
    pub fn fetch(&mut self, jwt: &str, query: &str, now: Timestamp) -> (u16, Vec<u8>) {
        match self.check(jwt, now) {
            Ok(_) => self.next_batch(query, HEADER_BYTES, now),
            Err(status) => (status, Vec::new()),
        }
    }

    /// What the device is to do next, as HTTP status and body; of its buffer `header_bytes` are for something else.
    pub fn next_batch(
        &mut self,
        query: &str,
        header_bytes: usize,
        now: Timestamp,
    ) -> (u16, Vec<u8>) {
        let Ok(query) = FetchQuery::parse(query) else {
            return (400, Vec::new());
        };
        let bytes = |n: u32| usize::try_from(n).expect("32 bits");
        let limits = FetchLimits {
            records_max: bytes(query.limit.unwrap_or(10)),
            cbor_bytes_max: bytes(query.rx_bytes_max).saturating_sub(header_bytes),
            report_bytes_max: bytes(query.tx_bytes_max),
            at_chars_max: bytes(query.tx_bytes_max).max(1792) - 1,
        };
        let fetched = self.queue.next_batch(&query.after, limits, now);
        self.said.push(format!("{fetched:?}"));
        match fetched {
            Fetched::Nothing { changes } => {
                self.commit(&changes);
                (204, Vec::new())
            }
            Fetched::Batch { bytes, changes, .. } => {
                self.commit(&changes);
                self.check_batch(&bytes);
                (200, bytes)
            }
        }
    }

    /// A report over HTTPS: status.
    pub fn report(&mut self, jwt: &str, body: &[u8], now: Timestamp) -> u16 {
        match self.check(jwt, now) {
            Ok(_) => self.settle(body, now),
            Err(status) => status,
        }
    }

    /// What the device has done, as HTTP status.
    pub fn settle(&mut self, body: &[u8], now: Timestamp) -> u16 {
        self.reports += 1;
        let Ok(report) = decode_responses(body, LIMITS) else {
            return 400;
        };
        let mut changes = self.queue.settle(&report, now);
        for asked in changes.needs_certificate.clone() {
            let csr = asked.command;
            let (queue, id) = (self.queue.clone(), self.new_id());
            match self.issue(&asked, now) {
                Ok(pem) => queue
                    .follow_with_certificate(&mut changes, csr, id, pem, now)
                    .expect("a certificate that a device can take"),
                Err(reason) => queue.refuse_certificate(&mut changes, csr, &reason, now),
            }
        }
        self.commit(&changes);
        200
    }

    /// 401 unless the token is this device's; the first good one picks the key.
    ///
    /// # Errors
    /// The status.
    pub fn check(&mut self, jwt: &str, now: Timestamp) -> Result<Verified<DeviceId>, u16> {
        let token = UnverifiedJwt::parse(jwt).map_err(|_| 401_u16)?;
        let mut known: Vec<&PublicKey> = self.candidates.iter().map(|c| &c.key).collect();
        if let Some(pinned) = &self.pinned {
            known = vec![pinned];
        }
        let key = known.into_iter().find(|key| key.kid() == token.kid());
        let key = key.cloned();
        let key = key.ok_or(401_u16)?;
        let device = token.verify(&key, now, &P256).map_err(|_| 401_u16)?;
        if device.get() != self.device {
            return Err(401);
        }
        self.pinned = Some(key);
        Ok(device)
    }

    /// Whether this is the device, and its key the one that was pinned.
    pub fn knows(&self, device: DeviceId, kid: Kid) -> bool {
        let pinned = self.pinned.as_ref().map(PublicKey::kid);
        device == self.device && pinned == Some(kid)
    }

    /// Signs, or says why not.
    fn issue(&mut self, asked: &NeedsCertificate, now: Timestamp) -> Result<String, String> {
        let key = self.pinned.as_ref().expect("checked before");
        let output = &asked.output;
        if output.kind != KeygenBody::Csr
            || output.device != self.device
            || output.sec_tag != asked.sec_tag.get()
        {
            return Err("the answer is about something else".into());
        }
        output.verify(key, &P256).map_err(|e| e.to_string())?;
        let csr = csr::parse(&output.body).map_err(|e| e.to_string())?;
        let subject = match asked.attributes.as_str() {
            "" => format!("CN={}", self.device),
            attributes => attributes.to_owned(),
        };
        if csr.subject() != subject {
            return Err(format!("the subject is {}, not {subject}", csr.subject()));
        }
        let cn = self.device.to_string();
        let certificate = ca()
            .devices
            .issue_device(&csr.spki_der, &cn, now.as_secs())
            .map_err(|e| e.to_string())?;
        if !self.issued.insert(certificate.spki_sha256) {
            return Err("a certificate was issued for this key before".into());
        }
        Ok(certificate.pem())
    }

    fn commit(&mut self, changes: &Changes) {
        self.said.push(format!("{changes:?}"));
        self.alarms.extend(changes.alarms.iter().cloned());
        let before = self.queue.commands().to_vec();
        self.queue.apply(changes);
        for settled in before.iter().filter(|c| c.status.is_terminal()) {
            let after = self.queue.commands().iter().find(|c| c.id == settled.id);
            let same = after.is_none_or(|after| after.response == settled.response);
            assert!(same, "{} is settled twice", settled.id);
        }
        self.said.push(format!("{:?}", self.queue));
    }

    /// What no batch may do, whatever was lost.
    fn check_batch(&self, bytes: &[u8]) {
        let batch = decode_commands(bytes, LIMITS).expect("the device's own decoder");
        for (index, wire) in batch.iter().enumerate() {
            let id = wire.correlation.as_str();
            assert!(
                !self.acknowledged.contains(id),
                "{id} comes again after its report was acknowledged"
            );
            assert!(
                !is_step(id) || batch.len() > index + 1,
                "{id} is cut off from its command"
            );
            if wire.action == Action::Finished {
                assert_eq!(index + 1, batch.len(), "these towns have nothing behind it");
            }
        }
    }

    fn new_id(&mut self) -> CommandId {
        self.next_id += 1;
        let mut bytes = [0xc0; 16];
        bytes[12..].copy_from_slice(&self.next_id.to_be_bytes());
        CommandId::from_bytes(bytes)
    }
}

/// Larger than anything that crosses a town.
pub(crate) const LIMITS: DecodeLimits = DecodeLimits {
    records_max: 100,
    config_pairs_max: 10,
    bytes_max: 8192,
};

/// Whether this is the id of a step in front of a command.
pub(crate) fn is_step(id: &str) -> bool {
    id.matches('.').count() > 1
}
