//! The two requests, as the firmware writes them (spec/device-protocol §5.1, §5.2).

use sectag_proto::query::FetchQuery;
use zeroize::Zeroizing;

/// Path of the command fetch.
pub const COMMANDS_PATH: &str = "/v1/provisioning/commands";
/// Path of the report.
pub const RESPONSE_PATH: &str = "/v1/provisioning/response";

/// The whole fetch request. It holds the JWT, so it is forgotten on drop.
pub fn fetch(host: &str, user_agent: &str, jwt: &str, query: &FetchQuery) -> Zeroizing<Vec<u8>> {
    let query = travelling(&query.print());
    let text = Zeroizing::new(format!(
        "GET {COMMANDS_PATH}?{query} HTTP/1.1\r\n\
         Host: {host}\r\n\
         Accept: application/cbor\r\n\
         Authorization: Bearer {jwt}\r\n\
         Content-Type: */*\r\n\
         User-Agent: {user_agent}\r\n\
         Connection: close\r\n\
         \r\n"
    ));
    Zeroizing::new(text.as_bytes().to_vec())
}

/// The whole report request.
pub fn report(host: &str, user_agent: &str, jwt: &str, body: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = body.len();
    let text = Zeroizing::new(format!(
        "POST {RESPONSE_PATH} HTTP/1.1\r\n\
         Host: {host}\r\n\
         Content-Type: application/cbor\r\n\
         Accept: */*\r\n\
         Authorization: Bearer {jwt}\r\n\
         User-Agent: {user_agent}\r\n\
         Connection: close\r\n\
         Content-Length: {length}\r\n\
         \r\n"
    ));
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() + length));
    bytes.extend_from_slice(text.as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The firmware encodes nothing, and its values need nothing. A modem version from a foreign modem might hold
/// characters that would end the request line; only those are percent-encoded.
fn travelling(query: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(query.len());
    for byte in query.bytes() {
        if byte.is_ascii_graphic() && byte != b'#' {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn query(modem_version: &str) -> FetchQuery {
        FetchQuery {
            after: String::new(),
            rx_bytes_max: 1024,
            tx_bytes_max: 2048,
            modem_version: Some(modem_version.to_string()),
            client_version: Some("3.1.0".to_string()),
            limit: Some(10),
        }
    }

    #[test]
    fn a_fetch_is_the_firmware_text_to_the_byte() {
        let request = fetch(
            "host",
            "Zephyr/4.1 (x y)",
            "a.b.c",
            &query("mfw_nrf91x1_2.0.2"),
        );
        assert_eq!(
            std::str::from_utf8(&request).unwrap(),
            "GET /v1/provisioning/commands?after=&rxMaxSize=1024&txMaxSize=2048\
             &mver=mfw_nrf91x1_2.0.2&cver=3.1.0&limit=10 HTTP/1.1\r\n\
             Host: host\r\nAccept: application/cbor\r\nAuthorization: Bearer a.b.c\r\n\
             Content-Type: */*\r\nUser-Agent: Zephyr/4.1 (x y)\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn a_report_is_the_firmware_text_to_the_byte() {
        let request = report("host", "Zephyr/4.1 (x y)", "a.b.c", b"\x80");
        assert_eq!(
            request.as_slice(),
            b"POST /v1/provisioning/response HTTP/1.1\r\nHost: host\r\n\
              Content-Type: application/cbor\r\nAccept: */*\r\nAuthorization: Bearer a.b.c\r\n\
              User-Agent: Zephyr/4.1 (x y)\r\nConnection: close\r\nContent-Length: 1\r\n\r\n\x80"
        );
    }

    #[test]
    fn a_version_with_a_line_break_cannot_end_the_request_line() {
        let request = fetch("host", "ua", "a.b.c", &query("x HTTP/1.1\r\nEvil: 1"));
        let text = std::str::from_utf8(&request).unwrap();
        assert!(text.contains("&mver=x%20HTTP/1.1%0D%0AEvil:%201&"));
    }
}
