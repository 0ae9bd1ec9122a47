//! What will stop working, and who has to be told before it does (docs/reference/renewal.md).
//!
//! ```text
//!   lives by their end (index) ──► outlook of each: does its renewal come in time? ──► forecast (an owner asks)
//!   open renewals, the home's own certificates ──┘                                 └──► alarms (once a day)
//! ```
//!
//! An outlook is a pure function of what is on record and of the time, so that the forecast of last week can be asked for
//! again. A fleet is never scanned: a forecast walks along what ends within its window.

mod look;
mod outlook;
mod own;
mod sums;
mod watch;

pub use look::{ALARM_DAYS, Looked};
pub use outlook::Outlook;
pub(crate) use own::of_home;
pub use own::{OwnCertificate, OwnCertificates};
pub use sums::{Sum, Sums, WINDOWS_MAX, Window};
pub(crate) use watch::run as watch_lives;

use super::{App, Caller, OwnerError};
use outlook::outlook;
use sectag_proto::Timestamp;
use sectag_proto::rules::Rule;
use sectag_store::{
    Ending, EndingCursor, EndingQuery, ForeignCursor, ForeignEnding, ForeignEndingQuery,
    RenewalQuery, RenewalSeen, View,
};
use std::time::Duration;

/// Windows of a forecast, in days, when none are named.
pub const WINDOW_DAYS: [u32; 3] = [30, 60, 90];
/// The longest window: longer than any certificate lives.
pub const WINDOW_DAYS_MAX: u32 = 3650;
/// Certificates that a forecast counts at most. What is behind them is not counted, and the answer says so.
pub const COUNTED_MAX: usize = 200_000;
/// Certificates of other CAs on the first page of a forecast.
const FOREIGN_MAX: usize = 100;
/// What of them ended longer ago is of no interest any more.
const FOREIGN_PAST: Duration = Duration::from_secs(30 * 86_400);
/// Failing renewals on the first page of a forecast.
const FAILING_MAX: usize = 100;
/// Certificates read at a time.
const STEP: usize = 500;
/// How often that is done for one page of a list, so that it costs no more than some hundred milliseconds. Whoever sees none of
/// so many gets a short page and goes on from there.
const LOOKS_MAX: usize = 20;
const DAY: Duration = Duration::from_secs(86_400);

/// One certificate of a forecast.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The certificate, and its device.
    pub ending: Ending,
    /// The rule that renews it.
    pub rule: Option<String>,
    /// What is to be expected.
    pub outlook: Outlook,
}

impl Expected {
    /// Days until its end, begun ones as whole; 0 when it is over.
    pub fn days_left(&self, at: Timestamp) -> u32 {
        outlook::days_left(self.ending.life.not_after, at)
    }
}

/// A part of a forecast that was asked for.
#[derive(Debug, Clone)]
pub struct ForecastQuery {
    /// In days, rising.
    pub windows: Vec<u32>,
    /// Also what will be renewed in time.
    pub all: bool,
    /// Begin behind this certificate.
    pub after: Option<EndingCursor>,
    /// Certificates to list at most.
    pub limit: usize,
}

/// The answer.
#[derive(Debug, Clone)]
pub struct Forecast {
    /// When it was made.
    pub at: Timestamp,
    /// What is in the windows; only on the first page.
    pub sums: Option<Sums>,
    /// Certificates of the home that end within the longest window; only on the first page and only for the home's own team.
    pub own: Vec<OwnCertificate>,
    /// Renewals that fail, oldest first, whatever the windows: some of these devices cannot connect any more. Only on the first
    /// page, 100 at most.
    pub failing: Vec<RenewalSeen>,
    /// Certificates of other CAs that end within the longest window, soonest first; only on the first page, 100 at most. Nobody here
    /// can renew them.
    pub foreign: Vec<ForeignEnding>,
    /// Certificates that end, soonest first.
    pub items: Vec<Expected>,
    /// Where the next page begins.
    pub next: Option<EndingCursor>,
}

impl App {
    /// What ends within the windows, as far as this caller may know.
    ///
    /// # Errors
    /// [`OwnerError::Malformed`] for the windows, [`OwnerError::Store`].
    pub async fn forecast(
        &self,
        caller: &Caller,
        query: &ForecastQuery,
    ) -> Result<Forecast, OwnerError> {
        let now = self.now();
        let days = longest(&query.windows)?;
        let until = now.plus(DAY * days);
        let rules = self.renewing_rules(&caller.team).await?;
        let mut forecast = Forecast {
            at: now,
            sums: None,
            own: Vec::new(),
            failing: Vec::new(),
            foreign: Vec::new(),
            items: Vec::new(),
            next: None,
        };
        if query.after.is_none() {
            let mut sums = self
                .sums(caller.view(), &query.windows, &rules, now)
                .await?;
            forecast.foreign = self.foreign(caller.view(), &mut sums, now).await?;
            forecast.sums = Some(sums);
            forecast.failing = self.failing(caller.view()).await?;
            if caller.team == self.owner && caller.scope.is_empty() {
                let own = (self.own_certificates)().into_iter();
                forecast.own = own.filter(|own| own.not_after <= until).collect();
            }
        }
        let mut after = query.after;
        // A page is filled from several reads, when most of what ends is renewed and not asked for, or not seen.
        for _ in 0..LOOKS_MAX {
            let page = self.ending(Some(caller.view()), until, after, STEP).await?;
            let next = page.next;
            for ending in page.items {
                if forecast.items.len() >= query.limit {
                    forecast.next = after;
                    return Ok(forecast);
                }
                after = Some((ending.life.not_after, ending.life.spki_sha256));
                let expected = expected(ending, &rules, now);
                if query.all || !expected.outlook.is_well() {
                    forecast.items.push(expected);
                }
            }
            if next.is_none() {
                return Ok(forecast);
            }
            after = next;
        }
        forecast.next = after;
        Ok(forecast)
    }

    /// Renewals that are not done yet, oldest first. Where a page ends tells nothing of those that the caller does not see, but
    /// that there are very many of them: then it is short, and there is a next one.
    ///
    /// # Errors
    /// [`OwnerError::Store`].
    pub async fn renewals(
        &self,
        caller: &Caller,
        after: Option<EndingCursor>,
        limit: usize,
    ) -> Result<(Vec<RenewalSeen>, Option<EndingCursor>), OwnerError> {
        // One more than asked for tells whether there is a next page; a key for certain devices sees few of many.
        let step = match caller.scope.is_empty() && caller.sees_reserved {
            true => limit + 1,
            false => STEP,
        };
        let (mut items, mut from) = (Vec::new(), after);
        for _ in 0..LOOKS_MAX {
            let query = RenewalQuery {
                view: Some(caller.view()),
                after: from,
                limit: step,
            };
            let page = self.store.renewals(query).await?;
            items.extend(page.items);
            if items.len() > limit {
                items.truncate(limit);
                from = items.last().map(|seen| (seen.run.started_at, seen.run.old));
                return Ok((items, from));
            }
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        Ok((items, from))
    }

    async fn sums(
        &self,
        view: View,
        windows: &[u32],
        rules: &[Rule],
        now: Timestamp,
    ) -> Result<Sums, OwnerError> {
        let until = now.plus(DAY * longest(windows)?);
        let mut sums = Sums::new(windows, now);
        let mut after = None;
        let mut counted = 0;
        loop {
            let page = self.ending(Some(view.clone()), until, after, STEP).await?;
            counted += STEP;
            for ending in page.items {
                sums.count(&expected(ending, rules, now));
            }
            after = page.next;
            if after.is_none() {
                return Ok(sums);
            }
            if counted >= COUNTED_MAX {
                sums.incomplete = true;
                return Ok(sums);
            }
        }
    }

    /// Counts the certificates of other CAs; the first of them.
    async fn foreign(
        &self,
        view: View,
        sums: &mut Sums,
        now: Timestamp,
    ) -> Result<Vec<ForeignEnding>, OwnerError> {
        let until = sums.windows.last().map_or(now, |longest| longest.until);
        let mut after = foreign_from(now);
        let mut listed = Vec::new();
        for _ in 0..COUNTED_MAX / STEP {
            let query = ForeignEndingQuery {
                view: Some(view.clone()),
                until,
                after,
                limit: STEP,
            };
            let page = self.store.foreign_endings(query).await?;
            for ending in page.items {
                sums.count_foreign(ending.ends_at);
                if listed.len() < FOREIGN_MAX {
                    listed.push(ending);
                }
            }
            match page.next {
                Some(next) => after = next,
                None => return Ok(listed),
            }
        }
        sums.incomplete = true;
        Ok(listed)
    }

    async fn failing(&self, view: View) -> Result<Vec<RenewalSeen>, OwnerError> {
        let mut failing = Vec::new();
        let mut after = None;
        for _ in 0..COUNTED_MAX / STEP {
            let query = RenewalQuery {
                view: Some(view.clone()),
                after,
                limit: STEP,
            };
            let page = self.store.renewals(query).await?;
            let fails = |seen: &RenewalSeen| seen.run.failing_since.is_some();
            failing.extend(page.items.into_iter().filter(fails));
            after = page.next;
            if after.is_none() || failing.len() >= FAILING_MAX {
                break;
            }
        }
        failing.truncate(FAILING_MAX);
        Ok(failing)
    }

    async fn ending(
        &self,
        view: Option<View>,
        until: Timestamp,
        after: Option<EndingCursor>,
        limit: usize,
    ) -> Result<sectag_store::Page<Ending, EndingCursor>, sectag_store::StoreError> {
        let query = EndingQuery {
            view,
            until,
            after,
            limit,
        };
        self.store.endings(query).await
    }
}

fn expected(ending: Ending, rules: &[Rule], now: Timestamp) -> Expected {
    let (outlook, rule) = outlook(&ending, rules, now);
    Expected {
        ending,
        rule,
        outlook,
    }
}

/// Where a list of certificates of other CAs begins.
fn foreign_from(now: Timestamp) -> ForeignCursor {
    let past = u64::try_from(FOREIGN_PAST.as_millis()).unwrap_or(0);
    (Timestamp(now.0.saturating_sub(past)), 0)
}

fn longest(windows: &[u32]) -> Result<u32, OwnerError> {
    let fits = !windows.is_empty()
        && windows.len() <= WINDOWS_MAX
        && windows.is_sorted_by(|a, b| a < b)
        && windows
            .iter()
            .all(|days| (1..=WINDOW_DAYS_MAX).contains(days));
    match windows.last() {
        Some(last) if fits => Ok(*last),
        _ => Err(OwnerError::Malformed(format!(
            "days: 1 to {WINDOWS_MAX} rising numbers from 1 to {WINDOW_DAYS_MAX} are expected, such as 30,60,90"
        ))),
    }
}
