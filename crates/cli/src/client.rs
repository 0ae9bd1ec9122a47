//! The owner API from the outside: one request, one answer, with errors a user can act on.

mod connection;
mod follow;
mod path;

pub(crate) use path::{all_pages, percent, segment};

use crate::fault::{Fault, Outcome};
use crate::home::Place;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// A service on this machine or in this network answers within seconds or not at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Where the service is and how to be its owner.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    url: http::Uri,
    key: String,
    ca: Option<PathBuf>,
}

/// One answer: the status and its JSON (null when empty).
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// Content type and bytes.
type Body = (&'static str, Bytes);

impl Owner {
    /// From the global options: `--url` or the running service of the home; `--key-file` or the home's `owner.key`.
    pub(crate) fn new(
        place: &Place,
        url: Option<&str>,
        key_file: Option<PathBuf>,
    ) -> Outcome<Self> {
        let text = match url {
            Some(url) => url.to_owned(),
            None => place.running().map_or_else(
                || "http://127.0.0.1:8441".to_owned(),
                |run| {
                    format!(
                        "http://{}",
                        run["listeners"]["loopback"]
                            .as_str()
                            .unwrap_or("127.0.0.1:8441")
                    )
                },
            ),
        };
        let url: http::Uri = text.trim_end_matches('/').parse().map_err(|_| {
            Fault::untried(format!("`{text}` is not a URL"))
                .hint("give it like http://127.0.0.1:8441 or https://host:8440")
        })?;
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
            return Err(
                Fault::untried(format!("`{text}` is not an http or https URL"))
                    .hint("give it like http://127.0.0.1:8441 or https://host:8440"),
            );
        }
        Ok(Self {
            url,
            key: key_in(place, key_file)?,
            ca: Some(place.home.join("ca/root.crt")),
        })
    }

    pub(crate) async fn get(&self, path: &str) -> Outcome<Value> {
        self.expect("GET", path, None).await
    }

    /// A text that is not JSON as a whole.
    pub(crate) async fn get_text(&self, path: &str) -> Outcome<Bytes> {
        let (status, bytes) = self.raw("GET", path, None).await?;
        match status {
            200..=299 => Ok(bytes),
            status => Err(self.refusal(status, &self.parsed(&bytes)?)),
        }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Outcome<Value> {
        self.expect("POST", path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Outcome<Value> {
        self.expect("PATCH", path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Outcome<Value> {
        self.expect("PUT", path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Outcome<Value> {
        self.expect("DELETE", path, None).await
    }

    /// Rows of a bulk call, as CSV; whatever the answer's status.
    pub(crate) async fn post_csv(&self, path: &str, rows: String) -> Outcome<Answer> {
        let body = Some(("text/csv", Bytes::from(rows)));
        let (status, bytes) = self.raw("POST", path, body).await?;
        let body = self.parsed(&bytes)?;
        Ok(Answer { status, body })
    }

    async fn expect(&self, method: &str, path: &str, body: Option<&Value>) -> Outcome<Value> {
        let answer = self.call(method, path, body).await?;
        match answer.status {
            200..=299 => Ok(answer.body),
            status => Err(self.refusal(status, &answer.body)),
        }
    }

    /// What a status that is no success means.
    pub(crate) fn refusal(&self, status: u16, body: &Value) -> Fault {
        if status == 401 {
            return Fault::no(format!(
                "the service at {} does not know this API key",
                self.url
            ))
            .hint(
                "use the key file of that service's home: --key-file HOME/owner.key; \
                 whether a key has expired or was revoked, an owner sees in `sectag keys`",
            );
        }
        let words = without_position(body["message"].as_str().unwrap_or("no message"));
        let fault = Fault::no(format!("the service said no ({status}): {words}"));
        match hint_for(status, &words) {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }

    /// One request, whatever the answer's status.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Outcome<Answer> {
        let body = body.map(|value| ("application/json", Bytes::from(value.to_string())));
        let (status, bytes) = self.raw(method, path, body).await?;
        let body = self.parsed(&bytes)?;
        Ok(Answer { status, body })
    }

    async fn raw(&self, method: &str, path: &str, body: Option<Body>) -> Outcome<(u16, Bytes)> {
        tokio::time::timeout(ANSWER_WITHIN, self.exchange(method, path, body))
            .await
            .map_err(|_| {
                Fault::untried(format!(
                    "{} did not answer within {} s",
                    self.url,
                    ANSWER_WITHIN.as_secs()
                ))
            })?
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<Body>,
    ) -> Outcome<(u16, Bytes)> {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(self.connect().await?)).await?;
        let task = tokio::spawn(connection);
        let mut request = self.request(method, path);
        let bytes = match body {
            Some((kind, bytes)) => {
                request = request.header("Content-Type", kind);
                bytes
            }
            None => Bytes::new(),
        };
        let request = request
            .body(Full::new(bytes))
            .map_err(|error| Fault::untried(format!("this request cannot travel: {error}")))?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| self.no_answer(&error))?;
        let status = response.status().as_u16();
        let bytes = self.whole(response).await?;
        drop(sender);
        task.abort();
        Ok((status, bytes))
    }

    fn parsed(&self, bytes: &Bytes) -> Outcome<Value> {
        if bytes.is_empty() {
            Ok(Value::Null)
        } else {
            serde_json::from_slice(bytes).map_err(|_| {
                Fault::untried(format!(
                    "{} does not speak the owner API (its answer is no JSON)",
                    self.url
                ))
                .hint("is another program on that port? `sectag status` shows where ours listens")
            })
        }
    }
}

/// The key in this file, or in the home's `owner.key`.
fn key_in(place: &Place, key_file: Option<PathBuf>) -> Outcome<String> {
    let is_given = key_file.is_some();
    let path = key_file.unwrap_or_else(|| place.home.join("owner.key"));
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let fault = Fault::untried(format!("no API key: `{}`: {error}", path.display()));
        match error.kind() {
            std::io::ErrorKind::NotFound if is_given => {
                fault.hint("an owner makes one: `sectag keys create NAME > FILE`")
            }
            std::io::ErrorKind::NotFound => {
                fault.hint("`sectag up` writes it when it first starts; for a service elsewhere give --key-file")
            }
            std::io::ErrorKind::PermissionDenied => {
                fault.hint("the file must be readable by you, mode 0600")
            }
            _ => fault,
        }
    })?;
    let no_key = |what: &str| {
        Fault::untried(format!("no API key: `{}` {what}", path.display()))
            .hint("an owner makes one: `sectag keys create NAME > FILE`")
    };
    match text.trim() {
        "" => Err(no_key("is empty")),
        key if key.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(key.to_owned()),
        _ => Err(no_key("holds more than one word, and a key is one")),
    }
}

/// Which verb of ours helps, where one does.
fn hint_for(status: u16, words: &str) -> Option<&'static str> {
    match status {
        400 if words.starts_with("not a claim token") => {
            Some("`sectag device token` and AT%ATTESTTOKEN print one; copy the whole line")
        }
        404 if words.starts_with("no claimed device") => {
            Some("`sectag devices` lists those that this key may see")
        }
        404 if words.starts_with("no command") => {
            Some("`sectag commands list DEVICE` lists a device's commands")
        }
        404 if words.starts_with("no API key") => Some("`sectag keys` lists them"),
        404 if words.starts_with("no webhook") => Some("`sectag webhooks` lists their ids"),
        404 if words.starts_with("no alarm") => Some("`sectag alarms --all` lists their numbers"),
        404 if words.starts_with("no tag") => Some(
            "`sectag tags` lists the registered ones; a device's own change with `sectag devices tag`",
        ),
        404 if words.starts_with("no certificate of this device") => {
            Some("`sectag renewals DEVICE` lists those that this service issued")
        }
        404 if words.starts_with("no team") => {
            Some("`sectag teams` lists those that this key may know of")
        }
        409 if words.ends_with("cannot be claimed with this token") => Some(
            "where `sectag status` shows the policy `allow-list`, put it there first: `sectag allow-list add`",
        ),
        422 if words.starts_with("url: neither") => {
            Some("give the whole address, like https://ops.example.org/sectag")
        }
        409 if words.contains("under another key") => Some(
            "after a typo in an earlier token, or when the device's modem was replaced: --accept-new-key",
        ),
        _ => None,
    }
}

/// Without the place in a JSON text that this program wrote and nobody has seen.
fn without_position(words: &str) -> String {
    match words.split_once(" at line 1 column ") {
        Some((before, after)) => {
            let behind = after.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before}{behind}")
        }
        None => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_in_our_own_json_is_not_shown() {
        for (words, shown) in [
            (
                "missing field `role` at line 1 column 12",
                "missing field `role`",
            ),
            (
                "one member (expected `}` at line 1 column 9)",
                "one member (expected `}`)",
            ),
            ("no claimed device `x`", "no claimed device `x`"),
        ] {
            assert_eq!(without_position(words), shown);
        }
    }
}
