//! Reading one HTTP/1.1 answer inside the device's receive buffer.
//!
//! Strict where laxness would let two readers disagree: one `Content-Length`, no `Transfer-Encoding` (the service never
//! chunks, spec/device-protocol §5.1). Status line and headers count against the buffer, as they do on the device.

use std::time::Duration;

/// Headers looked at; more are refused. A service that keeps headers minimal sends four.
const HEADERS_MAX: usize = 32;
/// A service that wants a device back later than this would lose it.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Body; empty for 204 and 304.
    pub body: Vec<u8>,
    /// `Retry-After` in seconds (RFC 9110 §10.2.3), at most [`RETRY_AFTER_MAX`]; `None` when it is missing or a date.
    pub retry_after: Option<Duration>,
}

/// Why bytes are not an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// Not HTTP/1, or damaged.
    #[error("not an HTTP/1.1 answer")]
    NotHttp,
    /// `Transfer-Encoding`, which devices do not read.
    #[error("the answer uses Transfer-Encoding; the service must send Content-Length")]
    TransferEncoding,
    /// Not a number, or two different ones.
    #[error("Content-Length is not one number")]
    ContentLength,
    /// An informational or switching status, which nobody asked for.
    #[error("status {0} answers no request of ours")]
    Status(u16),
}

impl Response {
    /// Reads an answer from all bytes received so far. `ended`: the peer closed properly, so no more will come.
    /// `Ok(None)` means that more bytes are needed. Bytes after the body are ignored, the connection ends there.
    ///
    /// # Errors
    /// [`ResponseError`].
    pub fn parse(bytes: &[u8], ended: bool) -> Result<Option<Self>, ResponseError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let body_at = match head.parse(bytes) {
            Ok(httparse::Status::Complete(at)) => at,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(ResponseError::NotHttp),
        };
        let status = head.code.ok_or(ResponseError::NotHttp)?;
        if !(200..=599).contains(&status) {
            return Err(ResponseError::Status(status));
        }
        let length = body_length(head.headers)?;
        let retry_after = retry_after(head.headers);
        let body = bytes.get(body_at..).unwrap_or_default();
        let body = match length {
            _ if matches!(status, 204 | 304) => &[],
            Some(length) => match body.get(..length) {
                Some(body) => body,
                None => return Ok(None),
            },
            None if ended => body,
            None => return Ok(None),
        };
        Ok(Some(Self {
            status,
            body: body.to_vec(),
            retry_after,
        }))
    }
}

fn body_length(headers: &[httparse::Header<'_>]) -> Result<Option<usize>, ResponseError> {
    let mut length = None;
    for header in headers {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(ResponseError::TransferEncoding);
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            let digits = header.value.trim_ascii();
            let given = std::str::from_utf8(digits)
                .ok()
                .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|text| text.parse().ok())
                .ok_or(ResponseError::ContentLength)?;
            if length.is_some_and(|known: usize| known != given) {
                return Err(ResponseError::ContentLength);
            }
            length = Some(given);
        }
    }
    Ok(length)
}

/// A hint, not a rule: what cannot be read is none.
fn retry_after(headers: &[httparse::Header<'_>]) -> Option<Duration> {
    let header = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("retry-after"))?;
    let digits = header.value.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = std::str::from_utf8(digits).ok()?.parse();
    // More digits than 64 bits hold are still a number.
    Some(Duration::from_secs(seconds.unwrap_or(u64::MAX)).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<(u16, Vec<u8>)>, ResponseError> {
        Response::parse(text.as_bytes(), false)
            .map(|response| response.map(|response| (response.status, response.body)))
    }

    #[test]
    fn a_body_ends_where_content_length_says() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef";
        assert_eq!(parsed(text), Ok(Some((200, b"abc".to_vec()))));
    }

    #[test]
    fn every_prefix_of_an_answer_asks_for_more() {
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
        for end in 0..text.len() {
            assert_eq!(parsed(&text[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn a_204_has_no_body_whatever_it_says() {
        let text = "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(parsed(text), Ok(Some((204, Vec::new()))));
    }

    #[test]
    fn a_body_without_a_length_ends_with_the_connection() {
        let text = b"HTTP/1.1 200 OK\r\n\r\nabc";
        assert_eq!(Response::parse(text, false), Ok(None));
        assert_eq!(Response::parse(text, true).unwrap().unwrap().body, b"abc");
    }

    #[test]
    fn ambiguous_lengths_and_chunks_are_refused() {
        let with = |header: &str| parsed(&format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\nabc"));
        assert_eq!(
            with("Content-Length: 1\r\nContent-Length: 2"),
            Err(ResponseError::ContentLength)
        );
        assert_eq!(
            with("Content-Length: -1"),
            Err(ResponseError::ContentLength)
        );
        assert_eq!(
            with("Content-Length: +1"),
            Err(ResponseError::ContentLength)
        );
        assert_eq!(
            with("Transfer-Encoding: chunked"),
            Err(ResponseError::TransferEncoding)
        );
    }

    #[test]
    fn retry_after_is_seconds_or_nothing() {
        let hint = |value: &str| {
            let text =
                format!("HTTP/1.1 500 x\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n");
            let response = Response::parse(text.as_bytes(), false).unwrap().unwrap();
            response.retry_after.map(|hint| hint.as_secs())
        };
        assert_eq!(hint("30"), Some(30));
        assert_eq!(hint(" 0 "), Some(0));
        assert_eq!(hint("99999999999999999999999"), Some(86_400));
        for none in ["", "-1", "1.5", "Wed, 21 Oct 2026 07:28:00 GMT"] {
            assert_eq!(hint(none), None, "{none}");
        }
    }

    #[test]
    fn a_switch_of_protocol_is_refused() {
        assert_eq!(
            parsed("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
            Err(ResponseError::Status(101))
        );
    }
}
