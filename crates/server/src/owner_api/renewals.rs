//! Renewals: what a device had and has, and how it came to it.

use super::request::{Answer, Paging, Query, device_id, listed};
use super::shapes::{self, Moment};
use super::{Api, answer};
use crate::app::{Caller, hex};
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use sectag_proto::Timestamp;
use sectag_store::{EndingCursor, Life, Page, RenewalRun, RenewalSeen};
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default().routes(routes!(list_renewals))
}

/// Below `/v1` and `/v1/identities`, beside the device.
pub(super) fn of_a_device() -> OpenApiRouter<Api> {
    OpenApiRouter::default().routes(routes!(device_renewals))
}

/// A certificate and what became of it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LifeOfCertificate {
    #[schema(format = "uuid")]
    device_id: String,
    /// Lower-case hexadecimal digits.
    serial: String,
    /// Over the SubjectPublicKeyInfo, hexadecimal.
    public_key_sha256: String,
    /// Where it lies on the device; null when that is not known.
    #[schema(required, maximum = 2147483647)]
    sec_tag: Option<u32>,
    /// The rule that had it made; null for hand-made commands.
    #[schema(required, format = "uuid")]
    rule_id: Option<String>,
    /// `issued`, `written`, `used`, `expired`, `superseded` or `revoked`.
    state: &'static str,
    not_before: Moment,
    not_after: Moment,
    issued_at: Moment,
    /// When the device reported that it stored it.
    #[schema(required)]
    written_at: Option<Moment>,
    /// When the device first connected with it.
    #[schema(required)]
    used_at: Option<Moment>,
    /// When it last did; noted once a day.
    #[schema(required)]
    last_used_at: Option<Moment>,
    /// When it was superseded or revoked.
    #[schema(required)]
    ended_at: Option<Moment>,
}

/// A renewal: from one certificate to a connection with the next.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Renewal {
    #[schema(format = "uuid")]
    device_id: String,
    #[schema(format = "uuid")]
    rule_id: String,
    /// Where the new certificate goes.
    #[schema(maximum = 2147483647)]
    sec_tag: u32,
    /// The new key takes the place of the old one.
    in_place: bool,
    /// What is awaited: `waiting` (the next fetch), `key`, `certificate`, `switch`, `connect`; at the end `done` or `abandoned`.
    step: &'static str,
    /// Since when.
    step_since: Moment,
    /// The command of this step.
    #[schema(required, format = "uuid")]
    command_id: Option<String>,
    started_at: Moment,
    /// How often a new key was asked for.
    attempts: u32,
    /// Nothing is tried before.
    retry_at: Moment,
    /// The first of the failures that no success followed.
    #[schema(required)]
    failing_since: Option<Moment>,
    /// Why the last attempt failed.
    #[schema(required)]
    reason: Option<String>,
    #[schema(required)]
    ended_at: Option<Moment>,
    /// Over the SubjectPublicKeyInfo of the certificate that is renewed, hexadecimal.
    old_key_sha256: String,
    /// The same of the new one; null until it is issued.
    #[schema(required)]
    new_key_sha256: Option<String>,
}

/// A renewal that is not done yet.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OpenRenewal {
    #[serde(flatten)]
    renewal: Renewal,
    /// Serial number of the certificate that is renewed.
    #[schema(required)]
    old_serial: Option<String>,
    /// When that one ends.
    #[schema(required)]
    old_not_after: Option<Moment>,
    /// Serial number of the new certificate.
    #[schema(required)]
    new_serial: Option<String>,
    /// When the device last came for commands.
    #[schema(required)]
    last_seen_at: Option<Moment>,
}

/// What a device had and has, and how it came to it.
#[derive(Serialize, ToSchema)]
struct DeviceRenewals {
    /// Oldest first.
    certificates: Vec<LifeOfCertificate>,
    /// Oldest first.
    renewals: Vec<Renewal>,
}

/// Renewals that are not done yet
///
/// Oldest first. A page may hold fewer of them than asked for and yet have a `pageNextToken`.
#[utoipa::path(
    get,
    path = "/renewals",
    tag = "renewal",
    params(Paging),
    responses((status = 200, description = "A page of them.", body = shapes::Page<OpenRenewal>)),
)]
async fn list_renewals(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::of(query)?;
    let after = query.after()?.map(|Place(after)| after);
    let limit = query.page_limit()?;
    let (items, next) = api.app.renewals(&caller, after, limit).await?;
    let page = Page {
        items,
        next: next.map(Place),
        total: None,
    };
    Ok(listed(page, |seen| open_renewal(&seen)))
}

/// The certificates of a device and their renewals
///
/// All that it ever had under this claim and earlier ones of the same team.
#[utoipa::path(
    get,
    path = "/claimed-devices/{id}/renewals",
    tag = "renewal",
    responses((status = 200, description = "What it had and has.", body = DeviceRenewals)),
)]
async fn device_renewals(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let device = api.app.device_of(&caller, device_id(&id)?).await?;
    let history = api.app.store().life_history(device.id).await?;
    let mine = |team: &str| team == device.owner;
    let lives = history.lives.iter().filter(|life| mine(&life.team));
    let runs = history.renewals.iter().filter(|run| mine(&run.team));
    Ok(answer(
        StatusCode::OK,
        &DeviceRenewals {
            certificates: lives.map(life_of).collect(),
            renewals: runs.map(renewal).collect(),
        },
    ))
}

pub(super) fn life_of(life: &Life) -> LifeOfCertificate {
    LifeOfCertificate {
        device_id: life.device.to_string(),
        serial: life.serial.clone(),
        public_key_sha256: hex(&life.spki_sha256),
        sec_tag: life.sec_tag.map(|tag| tag.get()),
        rule_id: life.rule_id.clone(),
        state: life.state.as_str(),
        not_before: Moment(life.not_before),
        not_after: Moment(life.not_after),
        issued_at: Moment(life.issued_at),
        written_at: life.written_at.map(Moment),
        used_at: life.used_at.map(Moment),
        last_used_at: life.last_used_at.map(Moment),
        ended_at: life.ended_at.map(Moment),
    }
}

pub(super) fn renewal(run: &RenewalRun) -> Renewal {
    Renewal {
        device_id: run.device.to_string(),
        rule_id: run.rule_id.clone(),
        sec_tag: run.sec_tag.get(),
        in_place: run.in_place,
        step: run.step.as_str(),
        step_since: Moment(run.step_at),
        command_id: run.command.map(|id| id.to_string()),
        started_at: Moment(run.started_at),
        attempts: run.attempts,
        retry_at: Moment(run.retry_at),
        failing_since: run.failing_since.map(Moment),
        reason: run.reason.clone(),
        ended_at: run.ended_at.map(Moment),
        old_key_sha256: hex(&run.old),
        new_key_sha256: run.new.as_ref().map(|spki| hex(spki)),
    }
}

fn open_renewal(seen: &RenewalSeen) -> OpenRenewal {
    OpenRenewal {
        renewal: renewal(&seen.run),
        old_serial: seen.old.as_ref().map(|life| life.serial.clone()),
        old_not_after: seen.old.as_ref().map(|life| Moment(life.not_after)),
        new_serial: seen.new.as_ref().map(|life| life.serial.clone()),
        last_seen_at: seen.last_seen_at.map(Moment),
    }
}

/// A place in a list: a time and a key, as one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(pub(super) EndingCursor);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self((at, spki)) = self;
        write!(f, "{}-{}", at.0, hex(spki))
    }
}

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (at, hex) = text.split_once('-').ok_or(NoPlace)?;
        let at = at.parse().map(Timestamp).map_err(|_| NoPlace)?;
        let mut spki = [0; 32];
        let mut digits = hex.chars().map(|digit| digit.to_digit(16));
        let mut digit = || digits.next().flatten().ok_or(NoPlace);
        for byte in &mut spki {
            *byte = u8::try_from(digit()? * 16 + digit()?).map_err(|_| NoPlace)?;
        }
        match digits.next() {
            None => Ok(Self((at, spki))),
            Some(_) => Err(NoPlace),
        }
    }
}

/// It is not such a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoPlace;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_as_it_was_written_and_nothing_else_does() {
        let place = Place((Timestamp(1_234), [0xab; 32]));
        assert_eq!(place.to_string().parse(), Ok(place));
        for other in ["", "1", "1-", "x-00", "1-é", &format!("{place}0")] {
            assert_eq!(other.parse::<Place>(), Err(NoPlace), "{other}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_reads_as_a_token_is_written_the_same(text in "[0-9]{0,21}-?[0-9a-fA-F]{62,66}|.{0,80}") {
            if let Ok(place) = text.parse::<Place>() {
                proptest::prop_assert_eq!(place.to_string().parse(), Ok(place));
            }
        }
    }
}
