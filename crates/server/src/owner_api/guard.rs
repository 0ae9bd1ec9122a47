//! Who may come in: Host and Origin against DNS rebinding and pages of other sites, then the API key and its role.

use super::{Api, Refused};
use crate::app::{Caller, OwnerError};
use crate::listen::Answered;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sectag_store::Role;

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
        return Refused(e).into_response();
    }
    let path = request.uri().path();
    if is_foreign(path) {
        return Refused(OwnerError::UnknownPath).into_response();
    }
    if path.starts_with("/v1/") {
        let needed = needed(request.method(), path);
        match caller(&api, request.headers(), needed).await {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
            }
            Err(e) => return Refused(e).into_response(),
        }
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

/// No path of ours has other than ASCII characters; bytes that are no text would be answered by the router, not in JSON.
fn is_foreign(path: &str) -> bool {
    let high = |pair: &[u8]| pair[0] == b'%' && !matches!(pair[1], b'0'..=b'7');
    !path.is_ascii() || path.as_bytes().windows(2).any(high)
}

async fn caller(api: &Api, headers: &HeaderMap, needed: Role) -> Result<Caller, OwnerError> {
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let caller = api.app.caller(authorization).await?;
    caller.need(needed)?;
    Ok(caller)
}

/// The weakest role that may do this (spec/owner-api §1).
fn needed(method: &Method, path: &str) -> Role {
    if path == "/v1/keys" || path.starts_with("/v1/keys/") {
        Role::Owner
    } else if path == "/v1/audit/export"
        || (path.starts_with("/v1/allow-list") && method != Method::GET)
    {
        Role::Admin
    } else if matches!(*method, Method::GET | Method::HEAD) {
        Role::Viewer
    } else {
        Role::Editor
    }
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
