//! What a session may do after it has authenticated: authorisation bound to a DTLS session (spec/device-protocol §6.2).
//!
//! ```text
//!   p/auth-jwt ── the token verifies ──► grant: everything, until Max-Age ends
//!              └─ it has expired: the same bytes as accepted before, ≤ 180 s late ──► readmit: p/rsp only (§6.3)
//!   p/cmd, p/rsp ──► lookup(session) ──► device, key, scope     (claim and block are looked up anew each time)
//! ```
//!
//! A pure value: sessions are numbers, never addresses; the calendar is an argument. Whoever owns the sessions tells when
//! one has ended. Everything in it is bounded, and losing a grant costs the device one more authentication.
//!
//! **Grace.** Over CoAP a device makes one token for a whole provisioning session and has no remedy when it expires while
//! the modem is offline. So a token that was accepted for a device, presented again byte by byte, still opens the report
//! for [`GRACE`] after the last moment in which it would have been accepted. It never opens a fetch: a stolen token that
//! has expired brings nothing out.

use crate::es256::Kid;
use crate::jwt::{SKEW_MAX, UnverifiedJwt, Verified};
use crate::{DeviceId, Timestamp};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

/// How long an authentication lasts, told as Max-Age: what the real service does (spec/device-protocol §6.2).
pub const GRANT_LASTS: Duration = Duration::from_secs(30 * 86_400);
/// How long a token that expired in offline work may still bring its report: the 120 s that a device waits for its modem,
/// and 60 s to attach (spec/device-protocol §6.3). Counted from the end of the clock skew that is tolerated.
pub const GRACE: Duration = Duration::from_secs(180);

/// Authorisations of all sessions, and the tokens that were accepted lately.
#[derive(Debug)]
pub struct Grants {
    limits: GrantLimits,
    sessions: BTreeMap<u64, Grant>,
    /// Accepted tokens that can still be presented again, by digest.
    tokens: BTreeMap<Digest, Accepted>,
    /// The same by the end of their grace, so that the oldest is found at once.
    token_ends: BTreeMap<(Timestamp, Digest), ()>,
}

/// What may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantLimits {
    /// Sessions with a grant; beyond it the one that ends first goes, and its device authenticates again. Default
    /// 100,000, more than a listener holds sessions, about 10 MB.
    pub sessions_max: usize,
    /// Tokens remembered for [`GRACE`]; beyond it the one that ends first goes. Default 50,000: 60 authentications a
    /// second through the whole life of a token, about 10 MB.
    pub tokens_max: usize,
}

/// What a session may do; the proof for `p/cmd` and `p/rsp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// Who authenticated.
    pub device: Verified<DeviceId>,
    /// With which key. A service that has pinned another one since then must refuse.
    pub kid: Kid,
    /// End of the authorisation; nothing is granted from then on.
    pub until: Timestamp,
    /// For what.
    pub scope: Scope,
}

/// What an authorisation opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of `p/`.
    Everything,
    /// `p/rsp` only: the token has expired.
    ReportOnly,
}

impl Granted {
    /// Whether commands may be fetched.
    pub const fn opens_fetch(&self) -> bool {
        matches!(self.scope, Scope::Everything)
    }

    /// Max-Age of the answer that grants it: whole seconds from `now`.
    pub fn max_age_s(&self, now: Timestamp) -> u32 {
        u32::try_from(self.until.since(now).as_secs()).unwrap_or(u32::MAX)
    }
}

type Digest = [u8; 32];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Grant {
    granted: Granted,
    token: Digest,
    token_expires_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Accepted {
    device: Verified<DeviceId>,
    kid: Kid,
    expires_at: Timestamp,
}

impl Default for GrantLimits {
    fn default() -> Self {
        Self {
            sessions_max: 100_000,
            tokens_max: 50_000,
        }
    }
}

impl Grants {
    /// Nobody may do anything.
    pub const fn new(limits: GrantLimits) -> Self {
        Self {
            limits,
            sessions: BTreeMap::new(),
            tokens: BTreeMap::new(),
            token_ends: BTreeMap::new(),
        }
    }

    /// `token` was verified and is `device`'s: the session may do everything for `lasts` ([`GRANT_LASTS`]). Replaces what
    /// the session was granted before, also to another device.
    pub fn grant(
        &mut self,
        session: u64,
        token: &UnverifiedJwt,
        device: Verified<DeviceId>,
        lasts: Duration,
        now: Timestamp,
    ) -> Granted {
        let accepted = Accepted {
            device,
            kid: token.kid(),
            expires_at: token.expires_at(),
        };
        let digest = token.digest();
        self.remember(digest, accepted, now);
        let granted = Granted {
            device,
            kid: accepted.kid,
            until: now.plus(lasts),
            scope: Scope::Everything,
        };
        self.admit(session, granted, digest, accepted.expires_at, now);
        granted
    }

    /// `device` has proved itself by something without an end (an attestation token, where a setting takes one): as
    /// [`Grants::grant`], and nothing is remembered for a grace.
    pub fn grant_without_token(
        &mut self,
        session: u64,
        device: Verified<DeviceId>,
        kid: Kid,
        lasts: Duration,
        now: Timestamp,
    ) -> Granted {
        let granted = Granted {
            device,
            kid,
            until: now.plus(lasts),
            scope: Scope::Everything,
        };
        self.admit(session, granted, [0; 32], Timestamp(0), now);
        granted
    }

    /// `token` has expired. When these very bytes were accepted before and at most [`GRACE`] has passed since they would
    /// have been for the last time, the session may report. A session that this device still has a grant for keeps it as
    /// it is. `None`: refuse. Whoever asks still looks up whether the device is claimed, and with which key.
    pub fn readmit(
        &mut self,
        session: u64,
        token: &UnverifiedJwt,
        now: Timestamp,
    ) -> Option<Granted> {
        let digest = token.digest();
        let accepted = self.tokens.get(&digest).copied()?;
        let until = accepted.end_of_grace();
        if now >= until {
            return None;
        }
        if let Some(granted) = self.lookup(session, now)
            && granted.device == accepted.device
            && granted.kid == accepted.kid
        {
            return Some(granted);
        }
        let granted = Granted {
            device: accepted.device,
            kid: accepted.kid,
            until,
            scope: Scope::ReportOnly,
        };
        self.admit(session, granted, digest, accepted.expires_at, now);
        Some(granted)
    }

    /// What the session may do at this moment.
    pub fn lookup(&self, session: u64, now: Timestamp) -> Option<Granted> {
        let grant = self.sessions.get(&session)?;
        (now < grant.granted.until).then_some(grant.granted)
    }

    /// The session ended, or its device was refused: it may do nothing any more.
    pub fn forget(&mut self, session: u64) {
        self.sessions.remove(&session);
    }

    /// Sessions with a grant, expired ones that nobody has missed yet included.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Tokens remembered for their grace.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// The session's grant for an orderly restart, the token it was given for included (as a digest); `None` when it may
    /// do nothing. No secret is in it, but whoever can write it can grant: it belongs under a seal.
    pub fn to_bytes(&self, session: u64, now: Timestamp) -> Option<Vec<u8>> {
        self.lookup(session, now)?;
        let grant = self.sessions.get(&session)?;
        let mut bytes = Vec::with_capacity(SAVED_BYTES);
        bytes.push(SAVED_VERSION);
        bytes.push(match grant.granted.scope {
            Scope::Everything => 0,
            Scope::ReportOnly => 1,
        });
        bytes.extend_from_slice(grant.granted.device.get().as_bytes());
        bytes.extend_from_slice(grant.granted.kid.as_bytes());
        bytes.extend_from_slice(&grant.granted.until.0.to_be_bytes());
        bytes.extend_from_slice(&grant.token);
        bytes.extend_from_slice(&grant.token_expires_at.0.to_be_bytes());
        Some(bytes)
    }

    /// Grants again what [`Grants::to_bytes`] wrote, to the session it was saved with. Bytes of another version, damaged
    /// or expired ones grant nothing (`None`). Only for bytes that come from under the service's own seal.
    pub fn from_bytes(&mut self, session: u64, bytes: &[u8], now: Timestamp) -> Option<Granted> {
        let grant = Grant::parse(bytes)?;
        if now >= grant.granted.until {
            return None;
        }
        let accepted = Accepted {
            device: grant.granted.device,
            kid: grant.granted.kid,
            expires_at: grant.token_expires_at,
        };
        self.remember(grant.token, accepted, now);
        self.admit(
            session,
            grant.granted,
            grant.token,
            grant.token_expires_at,
            now,
        );
        Some(grant.granted)
    }

    fn admit(
        &mut self,
        session: u64,
        granted: Granted,
        token: Digest,
        token_expires_at: Timestamp,
        now: Timestamp,
    ) {
        if self.limits.sessions_max == 0 {
            return;
        }
        self.sessions.remove(&session);
        if self.sessions.len() >= self.limits.sessions_max {
            self.sessions.retain(|_, grant| now < grant.granted.until);
        }
        if self.sessions.len() >= self.limits.sessions_max {
            let first = self
                .sessions
                .iter()
                .min_by_key(|(session, grant)| (grant.granted.until, **session))
                .map(|(session, _)| *session);
            if let Some(first) = first {
                self.sessions.remove(&first);
            }
        }
        let grant = Grant {
            granted,
            token,
            token_expires_at,
        };
        self.sessions.insert(session, grant);
    }

    fn remember(&mut self, digest: Digest, accepted: Accepted, now: Timestamp) {
        if self.limits.tokens_max == 0 || now >= accepted.end_of_grace() {
            return;
        }
        while let Some((&(end, oldest), ())) = self.token_ends.first_key_value() {
            let full =
                self.tokens.len() >= self.limits.tokens_max && !self.tokens.contains_key(&digest);
            if now < end && !full {
                break;
            }
            self.token_ends.remove(&(end, oldest));
            self.tokens.remove(&oldest);
        }
        if let Some(before) = self.tokens.insert(digest, accepted) {
            self.token_ends.remove(&(before.end_of_grace(), digest));
        }
        self.token_ends
            .insert((accepted.end_of_grace(), digest), ());
    }
}

impl Accepted {
    fn end_of_grace(&self) -> Timestamp {
        self.expires_at.plus(SKEW_MAX).plus(GRACE)
    }
}

impl Grant {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SAVED_BYTES] = bytes.try_into().ok()?;
        let (head, rest) = bytes.split_at(2);
        let scope = match head {
            [SAVED_VERSION, 0] => Scope::Everything,
            [SAVED_VERSION, 1] => Scope::ReportOnly,
            _ => return None,
        };
        let (device, rest) = rest.split_first_chunk::<16>()?;
        let (kid, rest) = rest.split_first_chunk::<32>()?;
        let (until, rest) = rest.split_first_chunk::<8>()?;
        let (token, rest) = rest.split_first_chunk::<32>()?;
        let (expires_at, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            granted: Granted {
                device: Verified::kept(DeviceId::from_bytes(*device)),
                kid: Kid::from_bytes(*kid),
                until: Timestamp(u64::from_be_bytes(*until)),
                scope,
            },
            token: *token,
            token_expires_at: Timestamp(u64::from_be_bytes(*expires_at)),
        })
    }
}

/// First byte of a saved grant; another one is another layout.
const SAVED_VERSION: u8 = 1;
/// Version, scope, device, kid, until, digest, exp.
const SAVED_BYTES: usize = 2 + 16 + 32 + 8 + 32 + 8;

#[cfg(test)]
mod tests;
