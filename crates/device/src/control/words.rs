//! Requests: one JSON object on a line.

use serde_json::{Value, json};

/// What can be asked of a running device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Provision now.
    Now,
    /// The attestation token.
    Token,
    /// The device UUID.
    Uuid,
    /// The interval in effect.
    Interval,
    /// A new interval in seconds; 0 is the default.
    SetInterval(i64),
    /// How the device stands.
    Status,
    /// Events behind `after`, and with `follow` all that come.
    Events {
        /// Sequence number; 0 for all that are kept.
        after: u64,
        /// Whether to stay.
        follow: bool,
    },
}

/// Why a line is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Not a JSON object.
    #[error("a request is one JSON object on a line, like {{\"verb\":\"now\"}}")]
    NotJson,
    /// No verb, or one that does not exist.
    #[error("verbs are now, token, uuid, interval, status and events")]
    Verb,
    /// A member that the verb does not have.
    #[error("`{0}` is no member of this request")]
    Member(String),
    /// A member of another type.
    #[error("`{0}` must be {1}")]
    Type(&'static str, &'static str),
}

impl Request {
    /// Reads a line without its line feed.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn parse(line: &[u8]) -> Result<Self, RequestError> {
        let Ok(Value::Object(mut members)) = serde_json::from_slice(line) else {
            return Err(RequestError::NotJson);
        };
        let verb = members.remove("verb");
        let request = match verb.as_ref().and_then(Value::as_str) {
            Some("now") => Self::Now,
            Some("token") => Self::Token,
            Some("uuid") => Self::Uuid,
            Some("status") => Self::Status,
            Some("interval") => match members.remove("seconds") {
                None => Self::Interval,
                Some(seconds) => Self::SetInterval(
                    seconds
                        .as_i64()
                        .ok_or(RequestError::Type("seconds", "a whole number"))?,
                ),
            },
            Some("events") => Self::Events {
                after: match members.remove("after") {
                    None => 0,
                    Some(after) => after
                        .as_u64()
                        .ok_or(RequestError::Type("after", "a sequence number"))?,
                },
                follow: match members.remove("follow") {
                    None => false,
                    Some(follow) => follow
                        .as_bool()
                        .ok_or(RequestError::Type("follow", "true or false"))?,
                },
            },
            _ => return Err(RequestError::Verb),
        };
        match members.keys().next() {
            None => Ok(request),
            Some(name) => Err(RequestError::Member(name.chars().take(40).collect())),
        }
    }

    /// The line, with its line feed.
    pub fn print(self) -> String {
        let value = match self {
            Self::Now => json!({ "verb": "now" }),
            Self::Token => json!({ "verb": "token" }),
            Self::Uuid => json!({ "verb": "uuid" }),
            Self::Interval => json!({ "verb": "interval" }),
            Self::SetInterval(seconds) => json!({ "verb": "interval", "seconds": seconds }),
            Self::Status => json!({ "verb": "status" }),
            Self::Events { after, follow } => {
                json!({ "verb": "events", "after": after, "follow": follow })
            }
        };
        format!("{value}\n")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read() {
        for request in [
            Request::Now,
            Request::Token,
            Request::Uuid,
            Request::Interval,
            Request::SetInterval(-1),
            Request::Status,
            Request::Events {
                after: 7,
                follow: true,
            },
        ] {
            assert_eq!(
                Request::parse(request.print().trim_end().as_bytes()),
                Ok(request)
            );
        }
    }

    #[test]
    fn what_is_no_request_is_told_why() {
        let refused = |line: &str| Request::parse(line.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            refused("now"),
            "a request is one JSON object on a line, like {\"verb\":\"now\"}"
        );
        assert_eq!(
            refused("{\"verb\":\"nwo\"}"),
            "verbs are now, token, uuid, interval, status and events"
        );
        assert_eq!(
            refused("{\"verb\":\"now\",\"soon\":1}"),
            "`soon` is no member of this request"
        );
        assert_eq!(
            refused("{\"verb\":\"interval\",\"seconds\":\"5\"}"),
            "`seconds` must be a whole number"
        );
    }
}
