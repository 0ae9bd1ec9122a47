//! What an owner says and hears over REST (spec/owner-api; shapes in [`shapes`], proposals of ours marked there).
//!
//! ```text
//!  request ─► Host, Origin (guard) ─► API key, role (guard) ─► handler: parse ─► app ─► shape ─► JSON
//!                                                     every refusal: {code, message, title, status} as JSON
//! ```
//! Statuses are decided in one place, [`status_of`]. The OpenAPI document is made of what the handlers declare; it is
//! `spec/owner.openapi.json`, `GET /v1/openapi.json`, and readable at `/docs`.
//!
//! # A further call
//!
//! 1. Its handler, in the file of its resource, with `#[utoipa::path(…)]`: method, path below `/v1`, `tag` (a chapter of
//!    [`openapi`]), `params` (those of the query), `request_body`, and in `responses` the answer when all is well. The doc
//!    comment is the summary and the description. [`status`] is a short example, [`commands`] one with bodies.
//! 2. Refusals need not be declared: [`openapi`] derives 400, 401, 403, 404, 413, 422, 500 and 503. What only the handler knows
//!    is named: `responses((status = 201, …), Conflict)` for 409, `Unknown` for 404 without a parameter in the path, `NotOurs` for 501.
//! 3. Shapes are structs with `Serialize` and `ToSchema` (answers) or `Deserialize` and `ToSchema` (bodies); see [`shapes`].
//!    A body that holds a command uses `#[schema(value_type = RequestSchema)]`.
//! 4. `routes()` of the file registers it with `.routes(routes!(handler, …))`: all methods of one path in one `routes!`.
//! 5. A row in the table of roles, and `make openapi`.

pub mod access;
mod alarms;
mod allow_list;
mod audit;
mod bulk_ops;
mod commands;
mod csv;
mod devices;
mod events;
mod forecast;
mod guard;
mod keys;
mod metrics;
mod openapi;
mod page;
mod plan;
mod reading;
mod registered;
mod renewals;
mod request;
mod rules;
mod shapes;
mod status;
mod tags;
mod teams;
mod webhooks;

pub use csv::rows as csv_rows;
pub(crate) use csv::rows_up_to as csv_rows_up_to;
pub(crate) use guard::Names;
pub use openapi::document;
pub(crate) use shapes::moment;

use crate::admission::OWNER_RETURN_S;
use crate::app::{App, OwnerError};
use crate::evidence::Evidence;
use crate::listen::{Manners, one_line};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use sectag_store::StoreError;
use serde::Serialize;
use serde_json::Value;
use shapes::Problem;
use std::sync::Arc;
use std::time::Duration;
use utoipa_axum::router::OpenApiRouter;

/// Bytes of one JSON body: the largest is a command with a certificate chain of 4 kB.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one bulk claim: 1000 rows of a 255-character token and its tags.
pub const BULK_BYTES_MAX: usize = 1024 * 1024;

pub(crate) const MANNERS: Manners = Manners {
    connections_max: 256,
    shared: true,
    handshake_max: Duration::from_secs(10),
    head_max: Duration::from_secs(30),
    // A client that polls makes a new one now and then; one that stands still gives its place to others.
    connection_max: Duration::from_secs(120),
    keep_alive: true,
    headers_max: 64,
    head_bytes_max: 16 * 1024,
};

/// What `GET /v1/status` adds to what the store knows.
pub(crate) type StatusFacts = Arc<dyn Fn() -> Value + Send + Sync>;

/// What every handler gets.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) app: Arc<App>,
    pub(crate) names: Arc<Names>,
    pub(crate) facts: StatusFacts,
    /// Who signs the audit trail, PEM.
    pub(crate) audit_key: Arc<str>,
    /// Events, counters, webhooks.
    pub(crate) evidence: Arc<Evidence>,
}

/// All paths.
pub(crate) fn router(api: Api) -> Router {
    let (routes, _) = routes().split_for_parts();
    routes
        .fallback(async || Refused(OwnerError::UnknownPath))
        .method_not_allowed_fallback(async |method: axum::http::Method| {
            Refused(OwnerError::WrongMethod {
                method: method.to_string(),
            })
        })
        .layer(from_fn_with_state(api.clone(), guard::guard))
        .layer(from_fn_with_state(api.clone(), metrics::counted))
        .with_state(api)
}

/// All paths and what they declare.
fn routes() -> OpenApiRouter<Api> {
    let devices = || {
        devices::routes()
            .merge(commands::routes())
            .merge(renewals::of_a_device())
            .merge(plan::of_a_device())
    };
    let v1 = OpenApiRouter::new()
        .merge(devices())
        .merge(keys::routes())
        .merge(teams::routes())
        .merge(allow_list::routes())
        .merge(audit::routes())
        .merge(events::routes())
        .merge(alarms::routes())
        .merge(webhooks::routes())
        .merge(openapi::routes())
        .merge(forecast::routes())
        .merge(renewals::routes())
        .merge(rules::routes())
        .merge(tags::routes())
        .merge(plan::routes())
        .merge(registered::routes())
        .merge(bulk_ops::routes())
        .merge(status::routes());
    OpenApiRouter::with_openapi(openapi::frame())
        .nest("/v1", v1)
        .nest("/v1/identities", devices())
        .merge(status::at_the_root())
        .merge(metrics::at_the_root())
        .merge(page::routes())
}

/// An error on its way to becoming an answer.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) OwnerError);

impl<E: Into<OwnerError>> From<E> for Refused {
    fn from(e: E) -> Self {
        Self(e.into())
    }
}

/// The one place where a refusal becomes a status, and the error code of its body (docs/reference/http-status.md).
pub(crate) const fn status_of(e: &OwnerError) -> (StatusCode, u32) {
    match e {
        OwnerError::Malformed(_) => (StatusCode::BAD_REQUEST, 40000),
        OwnerError::BadToken(_) => (StatusCode::BAD_REQUEST, 40001),
        OwnerError::Unauthorized => (StatusCode::UNAUTHORIZED, 40100),
        OwnerError::Forbidden { .. } => (StatusCode::FORBIDDEN, 40300),
        OwnerError::ForeignHost { .. } => (StatusCode::FORBIDDEN, 40301),
        OwnerError::BeyondScope => (StatusCode::FORBIDDEN, 40302),
        OwnerError::HomeOnly => (StatusCode::FORBIDDEN, 40303),
        OwnerError::NotFound { .. } => (StatusCode::NOT_FOUND, 40400),
        OwnerError::UnknownPath => (StatusCode::NOT_FOUND, 40401),
        OwnerError::WrongMethod { .. } => (StatusCode::METHOD_NOT_ALLOWED, 40500),
        OwnerError::ClaimRefused(_) => (StatusCode::CONFLICT, 40900),
        OwnerError::KeyConflict(_) => (StatusCode::CONFLICT, 40901),
        OwnerError::QueueFull(_) => (StatusCode::CONFLICT, 40902),
        OwnerError::InProgress(_) => (StatusCode::CONFLICT, 40903),
        OwnerError::Exists(_) => (StatusCode::CONFLICT, 40904),
        OwnerError::LastOwnerKey => (StatusCode::CONFLICT, 40905),
        OwnerError::TeamInUse(_) => (StatusCode::CONFLICT, 40906),
        OwnerError::RuleActive(_) => (StatusCode::CONFLICT, 40907),
        OwnerError::CommandState(_) => (StatusCode::CONFLICT, 40908),
        OwnerError::NoAuthority(_) => (StatusCode::CONFLICT, 40909),
        OwnerError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, 41300),
        OwnerError::Unprocessable(_) => (StatusCode::UNPROCESSABLE_ENTITY, 42200),
        OwnerError::Invalid { .. } => (StatusCode::UNPROCESSABLE_ENTITY, 42201),
        OwnerError::Rule(_) => (StatusCode::UNPROCESSABLE_ENTITY, 42202),
        OwnerError::TooManyStreams(_) => (StatusCode::TOO_MANY_REQUESTS, 42900),
        OwnerError::TooManyRequests { .. } => (StatusCode::TOO_MANY_REQUESTS, 42901),
        OwnerError::Contention => (StatusCode::SERVICE_UNAVAILABLE, 50300),
        OwnerError::Store(StoreError::Unavailable { .. } | StoreError::Closed) => {
            (StatusCode::SERVICE_UNAVAILABLE, 50301)
        }
        OwnerError::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, 50000),
        OwnerError::NotOurs(_) => (StatusCode::NOT_IMPLEMENTED, 50100),
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, code) = status_of(&self.0);
        if status.is_server_error() {
            let reason = match &self.0 {
                OwnerError::Store(e) => e.to_string(), // the caller hears less
                e => e.to_string(),
            };
            let reason = one_line(&reason);
            tracing::warn!(status = status.as_u16(), %reason, "owner request failed");
        } else if !guard::is_a_strangers(&self.0) {
            // What a caller sent may hold secrets in the wrong place, so their words stay out of the log.
            let reason = match &self.0 {
                OwnerError::Malformed(_) | OwnerError::Unprocessable(_) => {
                    "the body cannot be used".to_owned()
                }
                OwnerError::Invalid { field, .. } => format!("member `{field}` refused"),
                OwnerError::Rule(e) => format!("member `{}` refused", e.place),
                e => e.to_string(),
            };
            let reason = one_line(&reason);
            tracing::info!(status = status.as_u16(), %reason, "owner request refused");
        }
        let message = self.0.to_string();
        let problem = Problem {
            code,
            detail: message.clone(),
            message,
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            r#type: format!("{}#{code}", page::PATH),
        };
        let mut response = answer(status, &problem);
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(openapi::PROBLEM_JSON),
        );
        if matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(OWNER_RETURN_S));
        }
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

pub(crate) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).expect("names of members are text");
    (
        status,
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )],
        Bytes::from(body),
    )
        .into_response()
}
