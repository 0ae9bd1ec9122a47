//! The query of a command fetch, as both ends write and read it (spec/device-protocol §1, §5.1).

use alloc::string::String;

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
        let _ = query;
        todo!()
    }

    /// As the firmware writes it, values not percent-encoded.
    pub fn print(&self) -> String {
        todo!()
    }
}
