//! CBOR of commands and responses (spec/device-protocol §4; CDDL in `spec/device.cddl`).
//!
//! Written shortest form, definite lengths, no tags. Read strictly: each refusal has a name.

use crate::CorrelationId;
use alloc::string::String;
use alloc::vec::Vec;

/// Ignored CME numbers per command: the device's decoder has room for six.
pub const IGNORED_CODES_MAX: usize = 6;
/// Pairs of one config command that current devices accept.
pub const CONFIG_PAIRS_MAX: usize = 10;

/// One command as it travels to the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireCommand {
    /// The id under which the device answers.
    pub correlation: CorrelationId,
    /// What it shall do.
    pub action: Action,
}

/// The three things a device can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// 0: run `AT<set_command>=<parameters>`.
    At {
        /// Without `AT` and without `=`, e.g. `%CMNG`.
        set_command: String,
        /// All that follows the `=`; may hold line feeds inside quotes.
        parameters: String,
        /// CME numbers that count as success; at most [`IGNORED_CODES_MAX`].
        ignore: Vec<u32>,
    },
    /// 1: store each pair in the settings store, in this order.
    Config(Vec<(String, String)>),
    /// 2: provisioning is complete.
    Finished,
}

/// One answer as it travels to the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireResponse {
    /// The id of the command answered.
    pub correlation: CorrelationId,
    /// What became of it.
    pub result: WireResult,
}

/// 99, 100, 101, 102.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireResult {
    /// 99; `cme_error` 0 = no CME number.
    Failed {
        /// CME number, or a negative errno as unsigned 32-bit for config.
        cme_error: u32,
        /// The modem's words.
        message: String,
    },
    /// 100: whole modem answer. It may hide an error text (trap 4): see [`crate::at::Answer`].
    AtDone {
        /// Whole modem answer with its final line.
        message: String,
    },
    /// 101.
    ConfigStored,
    /// 102.
    Finished,
}

/// What a decoder allows; the device uses its own buffers' sizes.
#[derive(Debug, Clone, Copy)]
pub struct DecodeLimits {
    /// Items of the outer array (CBOR_RECORDS, sent as `limit`).
    pub records_max: usize,
    /// Pairs of one config command.
    pub config_pairs_max: usize,
    /// Bytes of the whole input.
    pub bytes_max: usize,
}

/// Why a CBOR text was refused. Each has the byte offset where it was noticed, where there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborRefusal {
    /// Nothing there.
    #[error("empty input")]
    Empty,
    /// An outer array with no item.
    #[error("an empty array is not a list of commands or responses")]
    EmptyArray,
    /// More items than `records_max`.
    #[error("too many elements: {count}, limit {max}")]
    TooManyRecords {
        /// Items announced.
        count: u64,
        /// Items allowed.
        max: usize,
    },
    /// Larger than `bytes_max`.
    #[error("{bytes} bytes, limit {max}")]
    TooLong {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Array, map, text or bytes of indefinite length.
    #[error("indefinite length at byte {at}: not portable to devices")]
    Indefinite {
        /// Byte offset.
        at: usize,
    },
    /// A tag where the CDDL has none.
    #[error("tag at byte {at}")]
    Tag {
        /// Byte offset.
        at: usize,
    },
    /// An integer or length that is not in its shortest form.
    #[error("not the shortest form at byte {at}")]
    NotShortest {
        /// Byte offset.
        at: usize,
    },
    /// An integer that does not fit 32 bits, or is negative.
    #[error("number out of range at byte {at}")]
    NumberRange {
        /// Byte offset.
        at: usize,
    },
    /// Another type than the CDDL has here.
    #[error("expected {expected} at byte {at}")]
    Unexpected {
        /// What the CDDL has here.
        expected: &'static str,
        /// Byte offset.
        at: usize,
    },
    /// A command or response with the wrong number of items.
    #[error("{what} with {items} items at byte {at}")]
    WrongItemCount {
        /// "AT command", "config command", …
        what: &'static str,
        /// Items announced.
        items: u64,
        /// Byte offset.
        at: usize,
    },
    /// A command or response number nobody knows.
    #[error("unknown kind {number} at byte {at}")]
    UnknownKind {
        /// The number.
        number: u32,
        /// Byte offset.
        at: usize,
    },
    /// More ignored codes than a device can hold.
    #[error("{count} ignored CME codes, limit 6")]
    TooManyIgnoredCodes {
        /// Codes announced.
        count: u64,
    },
    /// More config pairs than allowed.
    #[error("{count} config pairs, limit {max}")]
    TooManyPairs {
        /// Pairs announced.
        count: u64,
        /// Pairs allowed.
        max: usize,
    },
    /// Text that is not UTF-8.
    #[error("text is not UTF-8 at byte {at}")]
    NotUtf8 {
        /// Byte offset.
        at: usize,
    },
    /// A correlation id that is too long, empty, or holds characters that cannot travel.
    #[error("correlation id at byte {at}: {reason}")]
    Correlation {
        /// Byte offset.
        at: usize,
        /// Why.
        reason: crate::id::IdError,
    },
    /// The input ends early.
    #[error("truncated at byte {at}")]
    Truncated {
        /// Byte offset.
        at: usize,
    },
    /// Bytes after the outer array.
    #[error("{bytes} bytes after the end")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
}

/// Commands as CBOR.
pub fn encode_commands(commands: &[WireCommand]) -> Vec<u8> {
    let _ = commands;
    todo!()
}

/// Bytes that [`encode_commands`] needs for one more command (without the outer array's head).
pub fn command_len(command: &WireCommand) -> usize {
    let _ = command;
    todo!()
}

/// # Errors
/// A named [`CborRefusal`]; nothing of a refused batch may be executed.
pub fn decode_commands(
    bytes: &[u8],
    limits: DecodeLimits,
) -> Result<Vec<WireCommand>, CborRefusal> {
    let _ = (bytes, limits);
    todo!()
}

/// Responses as CBOR.
pub fn encode_responses(responses: &[WireResponse]) -> Vec<u8> {
    let _ = responses;
    todo!()
}

/// # Errors
/// A named [`CborRefusal`].
pub fn decode_responses(
    bytes: &[u8],
    limits: DecodeLimits,
) -> Result<Vec<WireResponse>, CborRefusal> {
    let _ = (bytes, limits);
    todo!()
}
