//! The query of a command fetch, as both ends write and read it (spec/device-protocol §1, §5.1).

use crate::CorrelationId;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// `after=&rxMaxSize=1024&txMaxSize=2048&mver=mfw_nrf91x1_2.0.2&cver=3.1.0&limit=10`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchQuery {
    /// Correlation id of the last executed command; empty the first time.
    pub after: String,
    /// Bytes the device takes in one answer (HTTP: with status line and headers); absent means 1024.
    pub rx_bytes_max: u32,
    /// Bytes the device sends in one report; absent means 2048.
    pub tx_bytes_max: u32,
    /// Modem firmware.
    pub modem_version: Option<String>,
    /// Client version: `1` before the event API, then the SDK version.
    pub client_version: Option<String>,
    /// Commands in one batch; absent means 10.
    pub limit: Option<u32>,
}

/// Why a query was refused; the service answers 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A value that is no number, or out of range.
    #[error("{name}=`{given}` is not a number from {min} to {max}")]
    Number {
        /// Parameter.
        name: &'static str,
        /// Value, at most 32 characters of it.
        given: String,
        /// Smallest value.
        min: u32,
        /// Largest value.
        max: u32,
    },
    /// Longer than any client sends.
    #[error("{name} has {chars} characters")]
    TooLong {
        /// Parameter.
        name: &'static str,
        /// Its length.
        chars: usize,
    },
}

impl FetchQuery {
    /// Parses by name, in any order; tolerates unknown and missing parameters, and percent-encoding.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        if query.len() > QUERY_CHARS_MAX {
            return Err(QueryError::TooLong {
                name: "query",
                chars: query.len(),
            });
        }
        let mut parsed = Self {
            after: String::new(),
            rx_bytes_max: RX_BYTES_DEFAULT,
            tx_bytes_max: TX_BYTES_DEFAULT,
            modem_version: None,
            client_version: None,
            limit: None,
        };
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decoded(value);
            match name {
                "after" => parsed.after = text("after", CorrelationId::CHARS_MAX, value)?,
                "rxMaxSize" => {
                    parsed.rx_bytes_max =
                        number("rxMaxSize", 1, BYTES_MAX, &value)?.unwrap_or(RX_BYTES_DEFAULT);
                }
                "txMaxSize" => {
                    parsed.tx_bytes_max =
                        number("txMaxSize", 1, BYTES_MAX, &value)?.unwrap_or(TX_BYTES_DEFAULT);
                }
                "mver" => {
                    parsed.modem_version = Some(text("mver", VERSION_CHARS_MAX, value)?);
                }
                "cver" => {
                    parsed.client_version = Some(text("cver", VERSION_CHARS_MAX, value)?);
                }
                "limit" => parsed.limit = number("limit", 1, LIMIT_MAX, &value)?,
                _ => {}
            }
        }
        Ok(parsed)
    }

    /// As the firmware writes it, values not percent-encoded.
    pub fn print(&self) -> String {
        let mut query = format!(
            "after={}&rxMaxSize={}&txMaxSize={}",
            self.after, self.rx_bytes_max, self.tx_bytes_max
        );
        for (name, value) in [
            ("mver", &self.modem_version),
            ("cver", &self.client_version),
        ] {
            if let Some(value) = value {
                query += &format!("&{name}={value}");
            }
        }
        if let Some(limit) = self.limit {
            query += &format!("&limit={limit}");
        }
        query
    }
}

/// Absent and empty are the same.
fn number(name: &'static str, min: u32, max: u32, given: &str) -> Result<Option<u32>, QueryError> {
    if given.is_empty() {
        return Ok(None);
    }
    let digits = given.bytes().all(|b| b.is_ascii_digit());
    match given.parse() {
        Ok(number) if digits && (min..=max).contains(&number) => Ok(Some(number)),
        _ => Err(QueryError::Number {
            name,
            given: given.chars().take(GIVEN_SHOWN_MAX).collect(),
            min,
            max,
        }),
    }
}

fn text(name: &'static str, chars_max: usize, given: String) -> Result<String, QueryError> {
    let chars = given.chars().count();
    if chars > chars_max {
        return Err(QueryError::TooLong { name, chars });
    }
    Ok(given)
}

/// RFC 3986 §2.1; a `%` without two hex digits stays, and so does `+`. Control characters become `?`, since versions
/// end up in logs.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = |at: usize| {
            let digit = char::from(*after.get(at)?).to_digit(16)?;
            u8::try_from(digit).ok()
        };
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(high << 4 | low);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes)
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// Of G1 and G2 clients, and of those that leave it out (§1).
const RX_BYTES_DEFAULT: u32 = 1024;
/// Default of the client's option TX_BUF_SZ (§15).
const TX_BYTES_DEFAULT: u32 = 2048;
/// No device has a buffer of a mebibyte; a larger number is a mistake.
const BYTES_MAX: u32 = 1 << 20;
/// Far above any CBOR_RECORDS; keeps a batch small.
const LIMIT_MAX: u32 = 1000;
/// `mfw_nrf9160_1.3.2-FOTA-TEST` has 27.
const VERSION_CHARS_MAX: usize = 128;
/// All parameters at their longest, percent-encoded, and room for unknown ones.
const QUERY_CHARS_MAX: usize = 2048;
/// Characters of a value that an error repeats.
const GIVEN_SHOWN_MAX: usize = 32;
