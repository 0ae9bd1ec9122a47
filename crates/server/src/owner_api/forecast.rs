//! What will stop working: certificates that end, and what is to be expected of each.

use super::renewals::{LifeOfCertificate, Place, Renewal, life_of, renewal};
use super::request::{Answer, Paging, Query};
use super::shapes::{self, Moment};
use super::{Api, answer};
use crate::app::{
    Caller, Expected, Forecast, ForecastQuery, OwnCertificate, Sum, Sums, WINDOW_DAYS,
};
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use sectag_proto::Timestamp;
use sectag_store::ForeignEnding;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default().routes(routes!(forecast))
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
        after: query.after()?.map(|Place(after)| after),
        limit: query.page_limit()?,
    };
    let first = query.after.is_none();
    let made = api.app.forecast(&caller, &query).await?;
    Ok(answer(StatusCode::OK, &forecast_page(made, first)))
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
        page_next_token: made.next.map(|next| Place(next).to_string()),
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
