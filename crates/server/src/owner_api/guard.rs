//! Who may come in: Host and Origin against DNS rebinding and pages of other sites, then the API key and its role.

use super::access::{self, Found, Row, Scoped, What};
use super::{Api, Refused, status_of};
use crate::admission::KEY_REQUESTS_MAX;
use crate::app::{Caller, OwnerError};
use crate::listen::{Answered, one_line};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Under which names a listener answers.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// `https` or `http`.
    pub(crate) scheme: &'static str,
    /// Lower case, IPv6 without brackets. Empty: any name (the certificate guards it).
    pub(crate) hosts: Vec<String>,
    /// The bound port.
    pub(crate) port: u16,
}

impl Names {
    /// Whether `authority` (`name`, `name:port`, `[v6]:port`) is one of ours.
    fn knows(&self, authority: &str) -> bool {
        let Some((host, port)) = split(authority) else {
            return false;
        };
        let port = port.unwrap_or(if self.scheme == "https" { 443 } else { 80 });
        port == self.port && self.hosts.contains(&host)
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), OwnerError> {
        let value =
            |name: header::HeaderName| headers.get(&name).map(|value| value.to_str().unwrap_or(""));
        let foreign = |header: &'static str, given: &str| {
            Err(OwnerError::ForeignHost {
                header,
                given: given
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(100)
                    .collect(),
            })
        };
        let mut hosts = headers.get_all(header::HOST).iter();
        let (host, second) = (value(header::HOST).unwrap_or(""), hosts.nth(1));
        if second.is_some() || (!self.hosts.is_empty() && !self.knows(host)) {
            return foreign("Host", host);
        }
        match value(header::ORIGIN) {
            None => Ok(()),
            Some(origin) => {
                let ours = origin
                    .strip_prefix(self.scheme)
                    .and_then(|rest| rest.strip_prefix("://"))
                    .is_some_and(|authority| authority.eq_ignore_ascii_case(host));
                if ours {
                    Ok(())
                } else {
                    foreign("Origin", origin)
                }
            }
        }
    }
}

fn split(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (
                host,
                rest.strip_prefix(':').or((!rest.is_empty()).then_some("")),
            )
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        Some(text) => Some(text.parse().ok()?),
        None => None,
    };
    Some((host.to_ascii_lowercase(), port))
}

/// Before every handler.
pub(crate) async fn guard(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    if let Err(e) = api.names.check(request.headers()) {
        return refuse(&api, e);
    }
    if is_foreign(request.uri().path()) {
        return refuse(&api, OwnerError::UnknownPath);
    }
    let mut _stay = None;
    match admit(&api, Asked::of(&request)).await {
        Ok(Some(caller)) => {
            let key = format!("{}/{}", caller.team, caller.name);
            let Some(stay) = api.app.admission.key(&key) else {
                let max = KEY_REQUESTS_MAX;
                return refuse(&api, OwnerError::TooManyRequests { max });
            };
            _stay = Some(stay);
            request.extensions_mut().insert(caller);
        }
        Ok(None) => {}
        Err(refused) => return refused,
    }
    let points = crash_points(request.method(), request.uri().path());
    let answered = request.extensions().get::<Answered>().cloned();
    let response = next.run(request).await;
    if let Some((before, after)) = points {
        sectag_keep::crash::point(before);
        if let Some(answered) = answered {
            answered.mark(after);
        }
    }
    response
}

/// A refusal, and its log line unless strangers have caused too many.
fn refuse(api: &Api, e: OwnerError) -> Response {
    if is_a_strangers(&e) && api.app.admission.may_tell(api.app.now()) {
        let (status, _) = status_of(&e);
        let reason = one_line(&e.to_string());
        tracing::info!(status = status.as_u16(), %reason, "owner request refused");
    }
    Refused(e).into_response()
}

/// Whether it is refused without an API key, so that anybody can cause it in any number.
pub(super) const fn is_a_strangers(e: &OwnerError) -> bool {
    matches!(
        e,
        OwnerError::Unauthorized | OwnerError::ForeignHost { .. } | OwnerError::UnknownPath
    )
}

/// No path of ours has other than ASCII characters; bytes that are no text would be answered by the router, not in JSON.
fn is_foreign(path: &str) -> bool {
    let high = |pair: &[u8]| pair[0] == b'%' && !matches!(pair[1], b'0'..=b'7');
    !path.is_ascii() || path.as_bytes().windows(2).any(high)
}

/// What of a request decides who may in; a request with its body cannot be held while the store is asked.
struct Asked {
    method: Method,
    template: Option<MatchedPath>,
    authorization: Option<HeaderValue>,
    is_of_api: bool,
}

impl Asked {
    fn of(request: &Request) -> Self {
        Self {
            method: request.method().clone(),
            template: request.extensions().get().cloned(),
            authorization: request.headers().get(header::AUTHORIZATION).cloned(),
            is_of_api: request.uri().path().starts_with("/v1/"),
        }
    }
}

/// Who asks, if they may, by the row of the route in [`access::TABLE`]; `None` where no key is asked for.
async fn admit(api: &Api, asked: Asked) -> Result<Option<Caller>, Response> {
    let template = asked.template.as_ref().map_or("", MatchedPath::as_str);
    let found = access::of(&asked.method, template);
    if let Found::Row(Row { role: None, .. }) = found {
        return Ok(None);
    }
    let refuse = |e: OwnerError| refuse(api, e);
    if found == Found::Unknown && !template.is_empty() {
        tracing::error!(path = template, method = %asked.method, "refused: a route without a row in the table of access");
    }
    if found == Found::Unknown && !asked.is_of_api {
        return Err(refuse(OwnerError::UnknownPath));
    }
    let wrong_method = || {
        let mut refused = refuse(OwnerError::WrongMethod {
            method: asked.method.to_string(),
        });
        if let Ok(allowed) = HeaderValue::try_from(access::allowed(template)) {
            refused.headers_mut().insert(header::ALLOW, allowed);
        }
        refused
    };
    if found == Found::OtherMethod && access::is_open(template) {
        return Err(wrong_method());
    }
    // Which other paths there are, and what they take, is told to keys only.
    let authorization = asked.authorization.as_ref();
    let authorization = authorization.and_then(|value| value.to_str().ok());
    let caller = api.app.caller(authorization).await.map_err(refuse)?;
    match found {
        Found::Row(row) => {
            may(api, &caller, row).map_err(refuse)?;
            Ok(Some(caller))
        }
        Found::OtherMethod => Err(wrong_method()),
        Found::Unknown => Err(refuse(OwnerError::UnknownPath)),
    }
}

fn may(api: &Api, caller: &Caller, row: &Row) -> Result<(), OwnerError> {
    if let Some(role) = row.role {
        caller.need(role)?;
    }
    if row.what == What::Home && !api.app.is_home(&caller.team) {
        return Err(OwnerError::HomeOnly);
    }
    if row.scoped == Scoped::Refused && !caller.scope.is_empty() {
        return Err(OwnerError::BeyondScope);
    }
    Ok(())
}

fn crash_points(method: &Method, path: &str) -> Option<(&'static str, &'static str)> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let segments = path
        .split_once("/claimed-devices")
        .map_or(0, |(_, tail)| tail.split('/').count());
    Some(match (method.as_str(), segments) {
        ("POST", 1) => ("http.claim.before-response", "http.claim.after-response"),
        ("DELETE", 2) => (
            "http.unclaim.before-response",
            "http.unclaim.after-response",
        ),
        ("POST", 3) => (
            "http.create-command.before-response",
            "http.create-command.after-response",
        ),
        ("DELETE", 3 | 4) => (
            "http.delete-command.before-response",
            "http.delete-command.after-response",
        ),
        // Tags, block, API keys, allow-list.
        _ => ("http.change.before-response", "http.change.after-response"),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn loopback() -> Names {
        Names {
            scheme: "http",
            hosts: vec!["localhost".into(), "127.0.0.1".into(), "::1".into()],
            port: 8441,
        }
    }

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn loopback_names_with_our_port_are_ours() {
        for host in [
            "localhost:8441",
            "LOCALHOST:8441",
            "127.0.0.1:8441",
            "[::1]:8441",
        ] {
            assert!(
                loopback().check(&headers(&[(header::HOST, host)])).is_ok(),
                "{host}"
            );
        }
    }

    #[test]
    fn foreign_names_other_ports_and_tricks_are_not() {
        for host in [
            "evil.example:8441",
            "localhost",
            "localhost:80",
            "localhost.evil.example:8441",
            "127.0.0.1:8441:1",
            "[::1",
            "[::1]8441",
            "",
        ] {
            assert!(
                loopback().check(&headers(&[(header::HOST, host)])).is_err(),
                "{host}"
            );
        }
        assert!(loopback().check(&HeaderMap::new()).is_err());
    }

    #[test]
    fn an_origin_must_be_the_host_itself() {
        let check = |origin: &str| {
            loopback().check(&headers(&[
                (header::HOST, "localhost:8441"),
                (header::ORIGIN, origin),
            ]))
        };
        assert!(check("http://localhost:8441").is_ok());
        for origin in [
            "https://localhost:8441",
            "http://evil.example",
            "null",
            "http://127.0.0.1:8441",
        ] {
            assert!(check(origin).is_err(), "{origin}");
        }
    }

    #[test]
    fn only_ascii_paths_are_ours() {
        for path in ["/", "/v1/keys/a%20b", "/v1/keys/a%", "/v1/keys/%7e"] {
            assert!(!is_foreign(path), "{path}");
        }
        for path in ["/%ff", "/v1/keys/%C3%BC", "/\u{fc}", "/%zz"] {
            assert!(is_foreign(path), "{path}");
        }
    }

    #[test]
    fn two_host_headers_are_one_too_many() {
        let mut headers = headers(&[(header::HOST, "localhost:8441")]);
        headers.append(header::HOST, "evil.example".parse().unwrap());
        assert!(loopback().check(&headers).is_err());
    }
}
