//! What a device says and hears over HTTPS (spec/device-protocol §5).
//!
//! ```text
//!  GET  /v1/provisioning/commands?after=…&rxMaxSize=…   200 CBOR commands | 204 nothing
//!  POST /v1/provisioning/response                       200, empty
//! ```
//! This file translates: header, query and body in; status and bytes out. What to answer is decided in [`crate::app`].
//! An answer holds nothing but status, type, length and `connection: close`, because its head counts against the
//! device's receive buffer ([`HEAD_BYTES_MAX`]). Never chunked, never a redirect, no body on a refusal.

use crate::admission::{self, BODY_BYTES_FREE, Room};
use crate::app::{App, Credential, Refusal};
use crate::listen::{Answered, Chain, Manners, Peer};
use crate::metrics::Metrics;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
};
use hyper::{Method, Request, Response, StatusCode};
use sectag_proto::jwt::UnverifiedJwt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Where commands are fetched.
pub const FETCH_PATH: &str = "/v1/provisioning/commands";
/// Where results are reported.
pub const REPORT_PATH: &str = "/v1/provisioning/response";

/// Bytes of status line, headers and blank line of a batch of up to 99 999 bytes: the batch gets `rxMaxSize` less this.
/// A larger value would cost a device with the default buffer of 1024 a part of its batch; a smaller one would make the
/// answer overflow that buffer. A test measures the real answer.
pub const HEAD_BYTES_MAX: usize = LARGEST_HEAD.len();
const LARGEST_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/cbor\r\ncontent-length: 99999\r\nconnection: close\r\n\r\n";

/// Bytes of one batch at most, whatever a device says it can take: the length has five digits ([`HEAD_BYTES_MAX`]).
pub const BATCH_BYTES_MAX: usize = 99_999;

/// Bytes of one report. The largest transmit buffer seen in the field is 2304; ten answers of the largest AT buffer
/// (4096) would be 40 kB.
pub const REPORT_BYTES_MAX: usize = 48 * 1024;
/// Of a body over the limit this much more is read and thrown away, so that the refusal reaches the client before the
/// connection closes.
const DRAIN_BYTES_MAX: usize = 256 * 1024;

/// TLS records toward devices, header and tag included: a modem takes no more than 2 kB.
pub const RECORD_BYTES_MAX: usize = 2048;
/// Bytes that encryption adds to a record and rustls does not count: explicit nonce and tag of TLS 1.2 AES-GCM
/// (RFC 5288 §3); TLS 1.3 adds less.
pub(crate) const RECORD_OVERHEAD_BYTES: usize = 8 + 16;

pub(crate) const MANNERS: Manners = Manners {
    connections_max: 1024,
    shared: true,
    handshake_max: Duration::from_secs(20),
    head_max: Duration::from_secs(15),
    // The device gives up on a request after 30 s.
    connection_max: Duration::from_secs(30),
    keep_alive: false,
    headers_max: 32,
    // A JWT of 1024 characters and a query with long versions fit four times.
    head_bytes_max: 16 * 1024,
};

/// The body never arrived; there is nobody to answer.
#[derive(Debug, thiserror::Error)]
#[error("half a request: the body ended early")]
pub(crate) struct HalfRequest(#[source] hyper::Error);

/// Answers one request, and counts it.
pub(crate) async fn counted(
    app: &App,
    metrics: &Metrics,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, HalfRequest> {
    let known = [FETCH_PATH, REPORT_PATH];
    let path = request.uri().path();
    let route = known.into_iter().find(|known| *known == path);
    let method = request.method().clone();
    let response = answer(app, request).await?;
    let status = response.status().as_u16();
    metrics.request(
        "device",
        method.as_str(),
        route.unwrap_or("unknown"),
        status,
    );
    Ok(response)
}

/// Answers one request.
async fn answer(
    app: &App,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, HalfRequest> {
    let answered = request.extensions().get::<Answered>().cloned();
    let (what, outcome) = match (request.uri().path(), request.method()) {
        (FETCH_PATH, &Method::GET) => ("fetch", fetch(app, &request).await),
        (REPORT_PATH, &Method::POST) => ("report", report(app, request).await?),
        (FETCH_PATH | REPORT_PATH, method) => (
            "request",
            Err(Refusal::WrongMethod {
                method: method.to_string(),
            }),
        ),
        _ => ("request", Err(Refusal::UnknownPath)),
    };
    let response = match outcome {
        Ok(Some(batch)) => {
            let mut response = empty(StatusCode::OK);
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/cbor"));
            *response.body_mut() = Full::new(Bytes::from(batch));
            response
        }
        Ok(None) if what == "fetch" => empty(StatusCode::NO_CONTENT),
        Ok(None) => empty(StatusCode::OK),
        Err(refusal) => {
            let status = status_of(&refusal);
            refusal.log(app, what, &status.as_u16());
            let mut response = empty(status);
            if refusal.is_busy() {
                response
                    .headers_mut()
                    .insert(RETRY_AFTER, HeaderValue::from(admission::returns_in()));
            }
            response
        }
    };
    let (before, after) = match what {
        "fetch" => ("http.fetch.before-response", "http.fetch.after-response"),
        "report" => ("http.report.before-response", "http.report.after-response"),
        _ => return Ok(response),
    };
    sectag_keep::crash::point(before);
    if let Some(answered) = answered {
        answered.mark(after);
    }
    Ok(response)
}

/// The one place where a refusal becomes a status (docs/reference/http-status.md). Only statuses that every client
/// generation knows, except for paths that no client asks for.
pub(crate) fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::NoToken
        | Refusal::AttestationAuth
        | Refusal::Attestation(_)
        | Refusal::KeyNotCertain { .. }
        | Refusal::Token(_)
        | Refusal::NotAuthorised
        | Refusal::ReportsOnly { .. }
        | Refusal::KeyChanged { .. }
        | Refusal::UnknownDevice { .. }
        | Refusal::ForeignKey { .. }
        | Refusal::Blocked { .. } => StatusCode::UNAUTHORIZED,
        Refusal::Query { .. }
        | Refusal::Report { .. }
        | Refusal::TooLong { .. }
        | Refusal::NotAcceptable { .. }
        | Refusal::WrongMethod { .. } => StatusCode::BAD_REQUEST,
        Refusal::ContentType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::UnknownPath => StatusCode::NOT_FOUND,
        // Never 503, which no generation takes for "later" (spec/device-protocol §5.1).
        Refusal::Full(_) | Refusal::Busy { .. } | Refusal::Broken { .. } => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

async fn fetch(app: &App, request: &Request<Incoming>) -> Result<Option<Vec<u8>>, Refusal> {
    let token = bearer(request)?;
    let query = request.uri().query().unwrap_or("");
    let _place = app.admission.place(true)?;
    app.fetch(Credential::Jwt(token), query, HEAD_BYTES_MAX)
        .await
}

async fn report(
    app: &App,
    request: Request<Incoming>,
) -> Result<Result<Option<Vec<u8>>, Refusal>, HalfRequest> {
    let head = bearer(&request).map(str::to_owned).and_then(|token| {
        let given = request.headers().get(CONTENT_TYPE);
        let essence = given
            .and_then(|value| value.to_str().ok())
            .map(|value| value.split(';').next().unwrap_or("").trim());
        match essence {
            Some(essence) if essence.eq_ignore_ascii_case("application/cbor") => Ok(token),
            _ => Err(Refusal::ContentType {
                given: essence.unwrap_or("none").chars().take(64).collect(),
            }),
        }
    });
    // What no token vouches for is read, so that the refusal arrives, and thrown away.
    let head = head.and_then(|token| {
        UnverifiedJwt::parse(&token).map_err(Refusal::Token)?;
        Ok(token)
    });
    let from = request.extensions().get::<Peer>();
    let from = from.map_or(Ipv4Addr::UNSPECIFIED.into(), |Peer(from)| from.ip());
    let body = read_body(app, from, request.into_body(), head.is_ok()).await?;
    let (token, body) = match (head, body) {
        (Err(refusal), _) | (_, Err(refusal)) => return Ok(Err(refusal)),
        (Ok(token), Ok(body)) => (token, body),
    };
    let _place = match app.admission.place(true) {
        Ok(place) => place,
        Err(full) => return Ok(Err(full.into())),
    };
    let reported = app.report(Credential::Jwt(&token), &body.bytes).await;
    Ok(reported.map(|()| None))
}

/// A body, and the room it takes among those whose sender is not known yet.
struct Received<'a> {
    bytes: Vec<u8>,
    _room: Option<Room<'a>>,
}

/// The whole body; one that is not kept is read all the same.
async fn read_body(
    app: &App,
    from: IpAddr,
    body: Incoming,
    keep: bool,
) -> Result<Result<Received<'_>, Refusal>, HalfRequest> {
    let mut body = Limited::new(body, REPORT_BYTES_MAX + DRAIN_BYTES_MAX);
    let mut bytes = Vec::new();
    let mut total = 0_usize;
    let mut room = None;
    let mut full = false;
    loop {
        let frame = match body.frame().await {
            None => break,
            Some(Ok(frame)) => frame,
            Some(Err(e)) => match e.downcast::<hyper::Error>() {
                Ok(e) => return Err(HalfRequest(*e)),
                Err(e) if e.is::<LengthLimitError>() => break,
                Err(e) => {
                    tracing::warn!(reason = %Chain(e.as_ref()), "cannot read a body");
                    break;
                }
            },
        };
        if let Some(data) = frame.data_ref() {
            total += data.len();
            if total > BODY_BYTES_FREE && keep && room.is_none() && !full {
                room = app.admission.body(from);
                full = room.is_none();
            }
            if total > REPORT_BYTES_MAX || full || !keep {
                bytes = Vec::new();
            } else {
                bytes.extend_from_slice(data);
            }
        }
    }
    Ok(if total > REPORT_BYTES_MAX {
        Err(Refusal::TooLong {
            bytes: total,
            max: REPORT_BYTES_MAX,
        })
    } else if full {
        Err(admission::Full::Bodies.into())
    } else {
        Ok(Received { bytes, _room: room })
    })
}

fn bearer(request: &Request<Incoming>) -> Result<&str, Refusal> {
    let token = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or(Refusal::NoToken)?;
    if token.starts_with("att.") {
        return Err(Refusal::AttestationAuth);
    }
    Ok(token)
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    if status != StatusCode::NO_CONTENT && status != StatusCode::OK {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    response
}
