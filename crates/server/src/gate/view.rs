//! The view itself: what is let in, and on which terms. No sockets, no clock; the store is read once.

use crate::issuers::Issuers;
use sectag_mqtt::{Admission, ClientCertificate, Verdict};
use sectag_proto::{DeviceId, Timestamp};
use sectag_store::{Store, StoreError, Subject};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Rows read at once when the view is built.
const PAGE: usize = 4096;

/// No place among [`View::teams`].
const NOBODY: u32 = u32::MAX;

/// What the store says, as small as it can be.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) blocked: HashSet<DeviceId>,
    /// Marks: of keys that we certified, of certificates that were registered.
    pub(super) revoked: HashSet<[u8; 32]>,
    /// Registered certificates, and whose they are. That their CN is the id of the registered device was checked.
    pub(super) pins: HashMap<[u8; 32], u32>,
    /// By [`View::pins`] and [`View::issuers`]. The home's own team is the first.
    pub(super) teams: Vec<Terms>,
    pub(super) by_id: HashMap<String, u32>,
    /// There are more teams than the home's own.
    pub(super) has_several_teams: bool,
    /// Names of issuing CAs, and whose they are; any other is the home's, unless it is named like a team's.
    pub(super) issuers: HashMap<String, u32>,
    /// What had ended by then was left out.
    pub(super) read_at: Option<Timestamp>,
}

/// A team as its clients see it.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) prefix: Option<Arc<str>>,
    /// For registered certificates.
    pub(super) realm: Arc<str>,
    /// False when there is no such team (any more).
    pub(super) exists: bool,
}

impl View {
    pub(super) async fn read(
        store: &dyn Store,
        home_team: &str,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let mut view = Self {
            read_at: Some(now),
            ..Self::default()
        };
        view.team(home_team);
        view.know_teams(&all_teams(store).await?);
        let mut after = None;
        loop {
            let page = store.blocked_devices(after, PAGE).await?;
            after = page.last().copied();
            view.blocked.extend(&page);
            if page.len() < PAGE {
                break;
            }
        }
        let mut after = 0;
        loop {
            let page = store.revoked(after, now, PAGE).await?;
            after = page.last().map_or(after, |last| last.number);
            let count = page.len();
            view.revoked
                .extend(page.into_iter().map(|revoked| revoked.mark));
            if count < PAGE {
                break;
            }
        }
        let mut after = None;
        loop {
            let page = store.pins(after, now, PAGE).await?;
            after = page.last().map(|last| last.der_sha256);
            let count = page.len();
            for pin in page {
                let team = view.team(&pin.team);
                view.pins.insert(pin.der_sha256, team);
            }
            if count < PAGE {
                break;
            }
        }
        Ok(view)
    }

    pub(super) fn admit(&self, certificate: &ClientCertificate) -> Verdict {
        let marks = [&certificate.spki_sha256, &certificate.der_sha256];
        if marks.iter().any(|mark| self.revoked.contains(*mark)) {
            return Verdict::Revoked;
        }
        let subject = Subject::of(&certificate.cn);
        if subject
            .device()
            .is_some_and(|device| self.blocked.contains(&device))
        {
            return Verdict::Refuse {
                reason: "its device is blocked",
            };
        }
        let team = self.team_of(certificate);
        let Some(terms) = usize::try_from(team).ok().and_then(|at| self.teams.get(at)) else {
            return Verdict::Refuse {
                reason: "nobody knows its team",
            };
        };
        if !terms.exists {
            return Verdict::Refuse {
                reason: "its team is gone",
            };
        }
        let is_pinned = self.pins.contains_key(&certificate.der_sha256);
        Verdict::Admit(Admission {
            prefix: terms.prefix.clone(),
            realm: is_pinned.then(|| terms.realm.clone()),
            // Of another team only below its prefix; whoever registers a certificate does not make operators.
            may_operate: !is_pinned && (team == 0 || terms.prefix.is_some()),
        })
    }

    /// Whose certificate it is: who registered it, else whose CA signed it. The CA of a team that is not on record is
    /// nobody's: its files can outlive the team, and the home must not inherit its operator.
    pub(super) fn team_of(&self, certificate: &ClientCertificate) -> u32 {
        let pinned = self.pins.get(&certificate.der_sha256);
        let issued = || self.issuers.get(&certificate.issuer);
        match pinned.or_else(issued) {
            Some(team) => *team,
            None if Issuers::is_name_of_a_team(&certificate.issuer) => NOBODY,
            None => 0,
        }
    }

    pub(super) fn id_of(&self, team: u32) -> Option<&str> {
        let mut found = self.by_id.iter().filter(|(_, at)| **at == team);
        found.next().map(|(id, _)| id.as_str())
    }

    /// The place of a team; one that nobody told of gets one, and does not exist until somebody does. The first is the home's.
    pub(super) fn team(&mut self, id: &str) -> u32 {
        if let Some(known) = self.by_id.get(id) {
            return *known;
        }
        let at = u32::try_from(self.teams.len()).unwrap_or(u32::MAX);
        self.teams.push(Terms {
            prefix: None,
            realm: format!("registered by {id}").into(),
            exists: at == 0,
        });
        self.by_id.insert(id.to_owned(), at);
        if at > 0 {
            self.issuers.insert(Issuers::name_of(id), at);
        }
        at
    }

    pub(super) fn know_teams(&mut self, teams: &[sectag_store::Team]) {
        for terms in self.teams.iter_mut().skip(1) {
            terms.exists = false;
        }
        for team in teams {
            let at = self.team(&team.id);
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            if let Some(terms) = self.teams.get_mut(at) {
                terms.prefix = team.topic_prefix.as_deref().map(Into::into);
                terms.exists = true;
            }
        }
        let others = self.teams.iter().skip(1);
        self.has_several_teams = others.filter(|terms| terms.exists).count() > 0;
    }
}

/// Every team, the home's own included.
pub(crate) async fn all_teams(store: &dyn Store) -> Result<Vec<sectag_store::Team>, StoreError> {
    let mut teams = Vec::new();
    let mut after = None;
    loop {
        let page = store.teams(after, sectag_store::PAGE_ROWS_MAX).await?;
        teams.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(teams),
        }
    }
}

#[cfg(test)]
mod tests;
