//! Certificates that end, and their successors.

use super::request::{Answer, Paging, Query, device_id};
use super::{Api, answer, shapes};
use crate::app::{
    Caller, Expected, Forecast, ForecastQuery, OwnCertificate, Sum, Sums, WINDOW_DAYS, hex,
};
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use sectag_proto::Timestamp;
use sectag_store::{EndingCursor, ForeignEnding, Life, RenewalRun, RenewalSeen};
use serde::Serialize;
use shapes::Moment;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(forecast))
        .routes(routes!(list_renewals))
}

/// Below `/v1` and `/v1/identities`, beside the device.
pub(super) fn of_a_device() -> OpenApiRouter<Api> {
    OpenApiRouter::default().routes(routes!(device_renewals))
}

/// What will stop working.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ForecastPage {
    /// When it was made.
    at: Moment,
    /// What ends within so many days; only on the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    windows: Option<Vec<ForecastWindow>>,
    /// In the longest window, by the id of the rule that renews; under the empty name what no rule renews. Only on the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    by_rule: Option<BTreeMap<String, ForecastSum>>,
    /// In the longest window, by tag; a device with several tags counts under each. Only on the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    by_tag: Option<BTreeMap<String, ForecastSum>>,
    /// More certificates end than were counted; only there when it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    incomplete: Option<bool>,
    /// Renewals that fail, oldest first, 100 at most, whatever the windows. Only on the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    failing: Option<Vec<Renewal>>,
    /// Registered certificates of other CAs that end within the longest window, soonest first, 100 at most. Only on the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    foreign: Option<Vec<ForeignCertificate>>,
    /// Certificates of the home itself that end within the longest window; for keys of the home's own team, on the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    own: Option<Vec<HomeCertificate>>,
    /// Certificates of devices, soonest end first.
    items: Vec<EndingCertificate>,
    /// Sent as `pageNextToken`, it gets the next page; left out on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    page_next_token: Option<String>,
}

/// What ends within so many days, expired certificates included.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ForecastWindow {
    #[schema(example = 30)]
    days: u32,
    until: Moment,
    #[serde(flatten)]
    sum: ForecastSum,
    /// Besides them, registered certificates of other CAs.
    foreign: u64,
}

/// How many certificates end, and how many of them nobody will have renewed by then, as things stand.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ForecastSum {
    certificates: u64,
    /// Of them, those that need somebody.
    at_risk: u64,
    /// The same by outlook.
    reasons: BTreeMap<&'static str, u64>,
}

/// A certificate that ends, and what is to be expected.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EndingCertificate {
    #[serde(flatten)]
    certificate: LifeOfCertificate,
    /// Days until its end, begun ones as whole; 0 when it is over.
    days_left: u32,
    /// `renews`, `renewing`; and what needs somebody: `no-rule`, `not-seen`, `overdue`, `failing`, `not-connecting`, `blocked`,
    /// `expired`.
    outlook: &'static str,
    /// Since when it is so; of `renews`, from when on.
    #[schema(required)]
    since: Option<Moment>,
    /// The outlook in words.
    message: String,
    /// The rule that renews it.
    #[schema(required, format = "uuid")]
    renewed_by: Option<String>,
    /// Of the device.
    tags: Vec<String>,
    /// When the device last came for commands.
    #[schema(required)]
    last_seen_at: Option<Moment>,
    /// Its renewal, if one is under way.
    #[schema(required)]
    renewal: Option<Renewal>,
}

/// A certificate and what became of it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LifeOfCertificate {
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
struct Renewal {
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

/// A certificate of the home itself.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct HomeCertificate {
    #[schema(example = "CA for devices")]
    name: String,
    /// What stops working when it ends.
    without_it: &'static str,
    serial: String,
    not_after: Moment,
}

/// A registered certificate that another CA signed, and has to renew.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ForeignCertificate {
    /// The registered device.
    id: String,
    serial: String,
    not_after: Moment,
    tags: Vec<String>,
}

/// What a device had and has, and how it came to it.
#[derive(Serialize, ToSchema)]
struct DeviceRenewals {
    /// Oldest first.
    certificates: Vec<LifeOfCertificate>,
    /// Oldest first.
    renewals: Vec<Renewal>,
}

/// What will stop working
///
/// Certificates of devices that end within the longest window, soonest first, with what is to be expected of each. Those that
/// will be renewed in time are only counted, unless `all` asks for them. A page may hold fewer certificates than asked for
/// and yet have a `pageNextToken`.
#[utoipa::path(
    get,
    path = "/forecast",
    tag = "renewal",
    params(
        Paging,
        ("days" = Option<String>, Query, description = "Windows in days, rising, with commas between them; 30,60,90 by default.", example = "30,60,90"),
        ("all" = Option<bool>, Query, description = "List what will be renewed in time as well."),
    ),
    responses((status = 200, description = "The forecast.", body = ForecastPage)),
)]
async fn forecast(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::of(query)?;
    let windows = match query.text("days") {
        None => WINDOW_DAYS.to_vec(),
        Some(text) => text
            .split(',')
            .map(|days| days.trim().parse().ok())
            .collect::<Option<Vec<u32>>>()
            .unwrap_or_default(), // refused with what is expected
    };
    let query = ForecastQuery {
        windows,
        all: query.flag("all")?,
        after: cursor(&query)?,
        limit: query.page_limit()?,
    };
    let first = query.after.is_none();
    let made = api.app.forecast(&caller, &query).await?;
    Ok(answer(StatusCode::OK, &forecast_page(made, first)))
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
    let (items, next) = api
        .app
        .renewals(&caller, cursor(&query)?, query.page_limit()?)
        .await?;
    let items = items.iter().map(open_renewal).collect();
    Ok(answer(
        StatusCode::OK,
        &shapes::page(items, None, next.map(token)),
    ))
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

fn forecast_page(made: Forecast, first: bool) -> ForecastPage {
    let at = made.at;
    let mut page = ForecastPage {
        at: Moment(at),
        windows: None,
        by_rule: None,
        by_tag: None,
        incomplete: None,
        failing: None,
        foreign: None,
        own: None,
        items: made.items.iter().map(|item| ending(item, at)).collect(),
        page_next_token: made.next.map(token),
    };
    if let Some(sums) = made.sums {
        let Sums {
            windows,
            by_rule,
            by_tag,
            incomplete,
        } = sums;
        let windows = windows.into_iter().map(|window| ForecastWindow {
            days: window.days,
            until: Moment(window.until),
            sum: sum(window.sum),
            foreign: window.foreign,
        });
        let groups = |groups: BTreeMap<String, Sum>| {
            let groups = groups.into_iter();
            groups.map(|(name, counted)| (name, sum(counted))).collect()
        };
        page.windows = Some(windows.collect());
        page.by_rule = Some(groups(by_rule));
        page.by_tag = Some(groups(by_tag));
        page.incomplete = incomplete.then_some(true);
    }
    if first {
        let failing = made.failing.iter().map(|seen| renewal(&seen.run));
        page.failing = Some(failing.collect());
        page.foreign = Some(made.foreign.into_iter().map(foreign).collect());
        page.own = Some(made.own.into_iter().map(own).collect());
    }
    page
}

fn sum(sum: Sum) -> ForecastSum {
    ForecastSum {
        certificates: sum.certificates,
        at_risk: sum.risks(),
        reasons: sum.at_risk,
    }
}

fn foreign(ending: ForeignEnding) -> ForeignCertificate {
    ForeignCertificate {
        id: ending.id,
        serial: ending.serial,
        not_after: Moment(ending.ends_at),
        tags: ending.tags,
    }
}

fn own(own: OwnCertificate) -> HomeCertificate {
    HomeCertificate {
        name: own.name,
        without_it: own.without_it,
        serial: own.serial,
        not_after: Moment(own.not_after),
    }
}

fn ending(expected: &Expected, at: Timestamp) -> EndingCertificate {
    let of = &expected.ending;
    EndingCertificate {
        certificate: life_of(&of.life),
        days_left: expected.days_left(at),
        outlook: expected.outlook.as_str(),
        since: expected.outlook.since().map(Moment),
        message: expected.outlook.words(shapes::moment),
        renewed_by: expected.rule.clone(),
        tags: of.tags.clone(),
        last_seen_at: of.last_seen_at.map(Moment),
        renewal: of.renewal.as_ref().map(renewal),
    }
}

fn life_of(life: &Life) -> LifeOfCertificate {
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

fn renewal(run: &RenewalRun) -> Renewal {
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
fn token((at, spki): EndingCursor) -> String {
    format!("{}-{}", at.0, hex(&spki))
}

fn cursor(query: &Query) -> Result<Option<EndingCursor>, crate::app::OwnerError> {
    let Some(text) = query.text("pageNextToken") else {
        return Ok(None);
    };
    parse_token(&text)
        .map(Some)
        .ok_or_else(|| Query::wrong("pageNextToken"))
}

fn parse_token(text: &str) -> Option<EndingCursor> {
    let (at, hex) = text.split_once('-')?;
    let at = at.parse().ok().map(Timestamp)?;
    let mut spki = [0; 32];
    let mut digits = hex.chars();
    for byte in &mut spki {
        let high = digits.next()?.to_digit(16)?;
        let low = digits.next()?.to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    digits.next().is_none().then_some((at, spki))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_as_it_was_written_and_nothing_else_does() {
        let cursor = (Timestamp(1_234), [0xab; 32]);
        assert_eq!(parse_token(&token(cursor)), Some(cursor));
        for other in ["", "1", "1-", "x-00", "1-é", &(token(cursor) + "0")] {
            assert_eq!(parse_token(other), None, "{other}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_reads_as_a_token_is_written_the_same(text in "[0-9]{0,21}-?[0-9a-fA-F]{62,66}|.{0,80}") {
            if let Some(cursor) = parse_token(&text) {
                proptest::prop_assert_eq!(parse_token(&token(cursor)), Some(cursor));
            }
        }
    }
}
