//! What a device asks and hears over CoAP (spec/device-protocol §6.2).
//!
//! ```text
//!  POST p/auth-jwt?mver=…&cver=…     2.01, Max-Age: how long the session is authorised
//!  POST p/auth                       the same for attestation tokens, where a setting takes them
//!  GET  p/cmd?after=…&rxMaxSize=…    2.05 CBOR commands | 2.05 without payload: nothing
//!  POST p/rsp                        2.04
//!  POST .dtls/suspend                2.04
//! ```
//! This file translates: path, options and body in; code and bytes out. What to answer is decided in [`crate::app`].

use crate::admission::{self, Full};
use crate::app::{App, Credential, Refusal};
use crate::settings::Coap;
use sectag_coap::{Code, Exchange, Method, Request, Response};
use sectag_proto::es256::Kid;
use sectag_proto::jwt::{JwtError, UnverifiedJwt};
use sectag_proto::service::grants::{Granted, Grants};
use sectag_proto::token::AttestationToken;
use sectag_proto::{DeviceId, Timestamp, Verified};
use std::sync::Arc;
use std::time::Duration;

/// Content-Format of CBOR (RFC 8949 §9.2).
const CBOR: u16 = 60;

/// A request for the use cases, with what its session may do.
pub(super) struct Ask {
    pub(super) exchange: Exchange,
    session: u64,
    what: What,
}

enum What {
    Authenticate(UnverifiedJwt),
    Attest(Box<AttestationToken>),
    Fetch { granted: Granted, query: String },
    Report { granted: Granted, body: Vec<u8> },
}

/// What the use cases said.
pub(super) struct Answer {
    pub(super) session: u64,
    exchange: Exchange,
    what: &'static str,
    said: Said,
}

enum Said {
    Authenticated {
        token: UnverifiedJwt,
        device: Verified<DeviceId>,
    },
    Expired {
        token: UnverifiedJwt,
        refusal: Refusal,
    },
    Attested {
        device: Verified<DeviceId>,
        kid: Kid,
    },
    Commands(Option<Vec<u8>>),
    Reported {
        device: DeviceId,
    },
    Refused(Refusal),
}

/// What an answer means for the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Authorised(DeviceId),
    Reported(DeviceId),
    Other,
}

/// From a message to a question; or the answer, where nobody has to be asked.
pub(super) fn read(
    app: &App,
    request: Request,
    grants: &Grants,
    settings: &Coap,
    now: Timestamp,
) -> Result<Ask, (Exchange, Response)> {
    let (session, path) = (request.session, request.path.join("/"));
    let (what, question) = match path.as_str() {
        "p/cmd" => ("fetch", fetch(&request, grants, now)),
        "p/rsp" => ("report", report(&request, grants, now)),
        "p/auth-jwt" => ("authenticate", authenticate(&request)),
        "p/auth" => ("authenticate", attest(&request, settings)),
        ".dtls/suspend" => ("suspend", suspend(&request)),
        _ => ("request", Err(Refusal::UnknownPath)),
    };
    match question {
        Ok(Some(what)) => Ok(Ask {
            exchange: request.exchange,
            session,
            what,
        }),
        Ok(None) => Err((request.exchange, Response::new(Code::CHANGED))),
        Err(refusal) => Err((request.exchange, refused(app, what, &refusal))),
    }
}

/// A question, or `None` for one that is answered with 2.04 at once.
type Question = Result<Option<What>, Refusal>;

fn fetch(request: &Request, grants: &Grants, now: Timestamp) -> Question {
    only(request, Method::GET)?;
    let granted = granted(request, grants, now)?;
    if let Some(format) = request.accept.filter(|format| *format != CBOR) {
        return Err(Refusal::NotAcceptable { format });
    }
    let query = request.query.join("&");
    Ok(Some(What::Fetch { granted, query }))
}

fn report(request: &Request, grants: &Grants, now: Timestamp) -> Question {
    only(request, Method::POST)?;
    let granted = granted(request, grants, now)?;
    if request.content_format != Some(CBOR) && !request.payload.is_empty() {
        let given = request
            .content_format
            .map_or_else(|| "none".to_owned(), |format| format.to_string());
        return Err(Refusal::ContentType { given });
    }
    let body = request.payload.clone();
    Ok(Some(What::Report { granted, body }))
}

/// The Content-Format that comes with a token (60) says nothing about it.
fn authenticate(request: &Request) -> Question {
    only(request, Method::POST)?;
    let text = str::from_utf8(&request.payload)
        .map_err(|_| Refusal::Token(JwtError::Malformed("not text")))?;
    let text = shorn(text);
    if text.is_empty() {
        return Err(Refusal::NoToken);
    }
    if text.starts_with("att.") {
        return Err(Refusal::AttestationAuth);
    }
    let token = UnverifiedJwt::parse(text).map_err(Refusal::Token)?;
    Ok(Some(What::Authenticate(token)))
}

fn attest(request: &Request, settings: &Coap) -> Question {
    only(request, Method::POST)?;
    if !settings.attestation_auth {
        return Err(Refusal::AttestationAuth);
    }
    let text = str::from_utf8(&request.payload).unwrap_or_default();
    let text = shorn(text);
    let token = AttestationToken::parse(text.strip_prefix("att.").unwrap_or(text))
        .map_err(Refusal::Attestation)?;
    Ok(Some(What::Attest(Box::new(token))))
}

/// Some clients send the terminating NUL of a C text along.
fn shorn(text: &str) -> &str {
    text.trim_end_matches(['\0', ' ', '\r', '\n'])
}

fn suspend(request: &Request) -> Question {
    only(request, Method::POST)?;
    Ok(None)
}

fn only(request: &Request, method: Method) -> Result<(), Refusal> {
    match request.method == method {
        true => Ok(()),
        false => Err(Refusal::WrongMethod {
            method: request.method.to_string(),
        }),
    }
}

fn granted(request: &Request, grants: &Grants, now: Timestamp) -> Result<Granted, Refusal> {
    grants
        .lookup(request.session, now)
        .ok_or(Refusal::NotAuthorised)
}

impl Ask {
    /// Whether nobody has proven yet who asks.
    pub(super) const fn is_a_strangers(&self) -> bool {
        matches!(self.what, What::Authenticate(_) | What::Attest(_))
    }

    /// The answer when there is no place for it.
    pub(super) fn turned_away(self, app: &App, full: Full) -> (Exchange, Response) {
        let refusal = Refusal::Full(full);
        (self.exchange, refused(app, self.what.word(), &refusal))
    }

    /// Asks the use cases. One that panics is answered as well: the device and the places that it holds are not left waiting.
    pub(super) async fn answer(self, app: Arc<App>) -> Answer {
        let (session, what) = (self.session, self.what.word());
        Answer {
            session,
            exchange: self.exchange,
            what,
            said: caught(async move { self.what.ask(&app, session).await }).await,
        }
    }
}

/// What was said; or that nothing was, since the work panicked.
async fn caught(work: impl Future<Output = Said> + Send + 'static) -> Said {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        let reason = error.to_string();
        Said::Refused(Refusal::Broken { reason })
    })
}

impl What {
    /// For the log.
    const fn word(&self) -> &'static str {
        match self {
            Self::Authenticate(_) | Self::Attest(_) => "authenticate",
            Self::Fetch { .. } => "fetch",
            Self::Report { .. } => "report",
        }
    }

    async fn ask(self, app: &App, session: u64) -> Said {
        match self {
            Self::Authenticate(token) => authenticated(app, token).await,
            Self::Attest(token) => match app.authenticate_attested(&token).await {
                Ok((device, kid)) => Said::Attested { device, kid },
                Err(refusal) => Said::Refused(refusal),
            },
            Self::Fetch { granted, query } => {
                app.look_for_a_twin_in(granted.device.get(), session).await;
                let fetched = app.fetch(Credential::Session(&granted), &query, 0).await;
                fetched.map_or_else(Said::Refused, Said::Commands)
            }
            Self::Report { granted, body } => {
                app.look_for_a_twin_in(granted.device.get(), session).await;
                let reported = app.report(Credential::Session(&granted), &body).await;
                let device = granted.device.get();
                reported.map_or_else(Said::Refused, |()| Said::Reported { device })
            }
        }
    }
}

async fn authenticated(app: &App, token: UnverifiedJwt) -> Said {
    match app.authenticate(&token).await {
        Ok(device) => Said::Authenticated { token, device },
        Err(refusal @ Refusal::Token(JwtError::Expired { .. })) => Said::Expired { token, refusal },
        Err(refusal) => Said::Refused(refusal),
    }
}

impl Answer {
    /// The answer on the wire, and what changes for its session.
    pub(super) fn response(
        self,
        app: &App,
        grants: &mut Grants,
        settings: &Coap,
        now: Timestamp,
    ) -> (Exchange, Response, Done) {
        let admitted = |granted: Granted| {
            let response = Response::new(Code::CREATED).max_age(granted.max_age_s(now));
            (response, Done::Authorised(granted.device.get()))
        };
        let lasts = Duration::from_secs(settings.authorised_s.into());
        let (response, done) = match self.said {
            Said::Authenticated { token, device } => {
                admitted(grants.grant(self.session, &token, device, lasts, now))
            }
            Said::Attested { device, kid } => {
                admitted(grants.grant_without_token(self.session, device, kid, lasts, now))
            }
            Said::Expired { token, refusal } => match grants.readmit(self.session, &token, now) {
                Some(granted) => admitted(granted),
                None => (refused(app, self.what, &refusal), Done::Other),
            },
            Said::Commands(None) => (Response::new(Code::CONTENT), Done::Other),
            Said::Commands(Some(batch)) => {
                let response = Response::new(Code::CONTENT).payload(CBOR, batch);
                (response, Done::Other)
            }
            Said::Reported { device } => (Response::new(Code::CHANGED), Done::Reported(device)),
            Said::Refused(refusal) => {
                // It is not the device that the session was opened for any more: whoever it is shows a token again.
                if matches!(
                    refusal,
                    Refusal::UnknownDevice { .. } | Refusal::KeyChanged { .. }
                ) {
                    grants.forget(self.session);
                }
                (refused(app, self.what, &refusal), Done::Other)
            }
        };
        (self.exchange, response, done)
    }
}

/// The answer to a refused request, after its log line; to whoever shall come later with the seconds to wait, as Max-Age.
fn refused(app: &App, what: &'static str, refusal: &Refusal) -> Response {
    let code = code_of(refusal);
    refusal.log(app, what, &code);
    let response = Response::new(code);
    if refusal.is_busy() {
        response.max_age(admission::returns_in())
    } else {
        response
    }
}

/// The one place where a refusal becomes a code (docs/reference/http-status.md).
pub(super) const fn code_of(refusal: &Refusal) -> Code {
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
        | Refusal::Blocked { .. } => Code::UNAUTHORIZED,
        Refusal::Query { .. } | Refusal::Report { .. } => Code::BAD_REQUEST,
        Refusal::TooLong { .. } => Code::REQUEST_ENTITY_TOO_LARGE,
        Refusal::WrongMethod { .. } => Code::METHOD_NOT_ALLOWED,
        Refusal::ContentType { .. } => Code::UNSUPPORTED_CONTENT_FORMAT,
        Refusal::NotAcceptable { .. } => Code::NOT_ACCEPTABLE,
        Refusal::UnknownPath => Code::NOT_FOUND,
        Refusal::Full(_) | Refusal::Busy { .. } | Refusal::Broken { .. } => Code::INTERNAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device_api::status_of;
    use hyper::StatusCode;

    #[test]
    fn each_refusal_has_the_code_that_means_its_status() {
        let device = DeviceId::from_bytes([1; 16]);
        let busy = Refusal::Busy {
            device,
            reason: String::new(),
        };
        let (given, reason) = (String::new(), String::new());
        for (refusal, code, status) in [
            (Refusal::NoToken, "4.01", 401),
            (Refusal::AttestationAuth, "4.01", 401),
            (Refusal::Token(JwtError::NoKid), "4.01", 401),
            (Refusal::NotAuthorised, "4.01", 401),
            (Refusal::ReportsOnly { device }, "4.01", 401),
            (Refusal::KeyNotCertain { device }, "4.01", 401),
            (Refusal::UnknownDevice { device }, "4.01", 401),
            (Refusal::Blocked { device }, "4.01", 401),
            (Refusal::TooLong { bytes: 2, max: 1 }, "4.13", 400),
            (Refusal::NotAcceptable { format: 0 }, "4.06", 400),
            (Refusal::ContentType { given }, "4.15", 415),
            (Refusal::UnknownPath, "4.04", 404),
            (Refusal::Full(Full::Decisions), "5.00", 500),
            (busy, "5.00", 500),
            (Refusal::Broken { reason }, "5.00", 500),
        ] {
            assert_eq!(code_of(&refusal).to_string(), code, "{refusal:?}");
            let status = StatusCode::from_u16(status).ok();
            assert_eq!(Some(status_of(&refusal)), status, "{refusal:?}");
        }
    }

    #[tokio::test]
    async fn a_use_case_that_panics_is_answered_with_the_reason() {
        let said = caught(async { panic!("on purpose") }).await;
        let Said::Refused(refusal) = said else {
            panic!("it was answered otherwise");
        };
        assert!(refusal.is_busy(), "{refusal}");
        assert!(refusal.to_string().ends_with("\"on purpose\""), "{refusal}");
    }
}
