//! How others reach a connection's task: to ring, to kick, to judge its certificate again.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::gate::{Admission, ClientCertificate, Gate, Verdict};
use crate::link::Kick;
use crate::router::LinkId;

/// One connection that has a session.
#[derive(Debug, Default)]
pub(super) struct Door {
    /// Something waits in the session queue, or `kick` was set.
    pub(super) bell: Notify,
    kick: Mutex<Option<Kick>>,
    /// `None` without a gate.
    guest: Option<Guest>,
    /// When its certificate ends, Unix seconds; `None` without one.
    end_s: Option<u64>,
}

/// Whom a gate let in, and on which terms.
#[derive(Debug, Clone)]
pub(super) struct Guest {
    pub(super) certificate: Arc<ClientCertificate>,
    pub(super) terms: Admission,
    pub(super) gate: Arc<dyn Gate>,
}

/// The doors of all connections that have a session.
#[derive(Debug, Default)]
pub(super) struct Doors {
    by_link: HashMap<LinkId, Arc<Door>>,
    /// By the CN of guests, so that a change about one device costs the same for ten clients and a hundred thousand.
    by_name: HashMap<String, Vec<LinkId>>,
    /// By the end of their certificates, so that a look at the calendar costs what it finds.
    by_end: BTreeSet<(u64, LinkId)>,
}

impl Guest {
    /// Why it has to go, if it has to.
    pub(super) fn judged(&self) -> Option<Kick> {
        match self.gate.admit(&self.certificate) {
            Verdict::Admit(terms) if terms == self.terms => None,
            Verdict::Admit(_) => Some(Kick::TermsChanged),
            Verdict::Revoked | Verdict::Refuse { .. } => Some(Kick::TrustWithdrawn),
        }
    }
}

impl Door {
    pub(super) fn new(guest: Option<Guest>, end_s: Option<u64>) -> Self {
        Self {
            guest,
            end_s,
            ..Self::default()
        }
    }

    pub(super) fn kick(&self, kick: Kick) {
        *self.kick.lock().unwrap_or_else(PoisonError::into_inner) = Some(kick);
        self.bell.notify_one();
    }

    pub(super) fn take_kick(&self) -> Option<Kick> {
        self.kick
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Asks the gate again, and kicks the client if it has to go.
    pub(super) fn judge(&self) {
        if let Some(kick) = self.guest.as_ref().and_then(Guest::judged) {
            self.kick(kick);
        }
    }
}

impl Doors {
    pub(super) fn insert(&mut self, link: LinkId, door: Arc<Door>) {
        if let Some(guest) = &door.guest {
            let name = guest.certificate.cn.clone();
            self.by_name.entry(name).or_default().push(link);
        }
        self.by_end.extend(door.end_s.map(|end_s| (end_s, link)));
        self.by_link.insert(link, door);
    }

    pub(super) fn remove(&mut self, link: LinkId) -> Option<Arc<Door>> {
        let door = self.by_link.remove(&link)?;
        if let Some(end_s) = door.end_s {
            self.by_end.remove(&(end_s, link));
        }
        if let Some(guest) = &door.guest
            && let Some(links) = self.by_name.get_mut(&guest.certificate.cn)
        {
            links.retain(|other| *other != link);
            if links.is_empty() {
                self.by_name.remove(&guest.certificate.cn);
            }
        }
        Some(door)
    }

    pub(super) fn get(&self, link: LinkId) -> Option<&Arc<Door>> {
        self.by_link.get(&link)
    }

    /// Those whose certificates are over at this time, each once. The last second of a certificate belongs to it
    /// (RFC 5280 §4.1.2.5).
    pub(super) fn expired(&mut self, now_s: u64) -> Vec<Arc<Door>> {
        let mut expired = Vec::new();
        while let Some((end_s, link)) = self.by_end.first().copied()
            && end_s < now_s
        {
            self.by_end.pop_first();
            expired.extend(self.by_link.get(&link).cloned());
        }
        expired
    }

    /// Those of guests.
    pub(super) fn guests(&self) -> Vec<Arc<Door>> {
        let all = self.by_link.values();
        all.filter(|door| door.guest.is_some()).cloned().collect()
    }

    /// Those of guests with one of these CNs.
    pub(super) fn named<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<Arc<Door>> {
        let links = names.into_iter().filter_map(|name| self.by_name.get(name));
        let doors = links.flatten().filter_map(|link| self.by_link.get(link));
        doors.cloned().collect()
    }
}
