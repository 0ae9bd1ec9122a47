//! CBOR of commands and responses (spec/device-protocol §4; CDDL in `spec/device.cddl`).
//!
//! Written shortest form, definite lengths, no tags. Read strictly: each refusal has a name.

use crate::CorrelationId;
use crate::cbor::{self, Reader, Writer};
use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

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

/// The three things a device can be told. Parameters may hold a private key or a PSK, and config values anything, so
/// `Debug` stops at the first quote and leaves values out.
#[derive(Clone, PartialEq, Eq)]
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

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At {
                set_command,
                parameters,
                ignore,
            } => {
                let shown = parameters.split('"').next().unwrap_or_default();
                let more = if shown.len() < parameters.len() {
                    "…"
                } else {
                    ""
                };
                write!(f, "At({set_command}={shown}{more}, ignore {ignore:?})")
            }
            Self::Config(pairs) => {
                f.write_str("Config")?;
                f.debug_set()
                    .entries(pairs.iter().map(|(key, _)| key))
                    .finish()
            }
            Self::Finished => f.write_str("Finished"),
        }
    }
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
    let mut out = cbor::writer();
    out.array(commands.len() as u64).expect(cbor::IN_MEMORY);
    for command in commands {
        write_command(&mut out, command).expect(cbor::IN_MEMORY);
    }
    out.into_writer()
}

/// Bytes that [`encode_commands`] needs for one more command (without the outer array's head).
pub fn command_len(command: &WireCommand) -> usize {
    let mut out = cbor::writer();
    write_command(&mut out, command).expect(cbor::IN_MEMORY);
    out.into_writer().len()
}

/// Reads commands; only what [`encode_commands`] can write is accepted. Pairs of a config command keep their order,
/// and a key given twice is kept twice, since a device stores pair after pair.
///
/// # Errors
/// A named [`CborRefusal`]; nothing of a refused batch may be executed.
pub fn decode_commands(
    bytes: &[u8],
    limits: DecodeLimits,
) -> Result<Vec<WireCommand>, CborRefusal> {
    decode_list(bytes, limits, |input| read_command(input, limits))
}

/// Responses as CBOR.
pub fn encode_responses(responses: &[WireResponse]) -> Vec<u8> {
    let mut out = cbor::writer();
    out.array(responses.len() as u64).expect(cbor::IN_MEMORY);
    for response in responses {
        write_response(&mut out, response).expect(cbor::IN_MEMORY);
    }
    out.into_writer()
}

/// Reads responses; only what [`encode_responses`] can write is accepted.
///
/// # Errors
/// A named [`CborRefusal`].
pub fn decode_responses(
    bytes: &[u8],
    limits: DecodeLimits,
) -> Result<Vec<WireResponse>, CborRefusal> {
    decode_list(bytes, limits, read_response)
}

fn write_command(out: &mut Writer, command: &WireCommand) -> WriteResult {
    let id = command.correlation.as_str();
    match &command.action {
        Action::At {
            set_command,
            parameters,
            ignore,
        } => {
            out.array(5)?.str(id)?.u32(AT)?;
            out.str(set_command)?.str(parameters)?;
            out.array(ignore.len() as u64)?;
            for code in ignore {
                out.u32(*code)?;
            }
        }
        Action::Config(pairs) => {
            out.array(3)?.str(id)?.u32(CONFIG)?;
            out.map(pairs.len() as u64)?;
            for (key, value) in pairs {
                out.str(key)?.str(value)?;
            }
        }
        Action::Finished => {
            out.array(2)?.str(id)?.u32(FINISHED)?;
        }
    }
    Ok(())
}

fn write_response(out: &mut Writer, response: &WireResponse) -> WriteResult {
    let id = response.correlation.as_str();
    match &response.result {
        WireResult::Failed { cme_error, message } => {
            out.array(4)?.str(id)?.u32(FAILED)?;
            out.u32(*cme_error)?.str(message)?;
        }
        WireResult::AtDone { message } => {
            out.array(3)?.str(id)?.u32(AT_DONE)?.str(message)?;
        }
        WireResult::ConfigStored => {
            out.array(2)?.str(id)?.u32(CONFIG_STORED)?;
        }
        WireResult::Finished => {
            out.array(2)?.str(id)?.u32(FINISHED_DONE)?;
        }
    }
    Ok(())
}

fn decode_list<T>(
    bytes: &[u8],
    limits: DecodeLimits,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, CborRefusal>,
) -> Result<Vec<T>, CborRefusal> {
    if bytes.is_empty() {
        return Err(CborRefusal::Empty);
    }
    if bytes.len() > limits.bytes_max {
        return Err(CborRefusal::TooLong {
            bytes: bytes.len(),
            max: limits.bytes_max,
        });
    }
    let mut input = Reader::new(bytes);
    let count = input.array("array")?;
    if count > limits.records_max as u64 {
        return Err(CborRefusal::TooManyRecords {
            count,
            max: limits.records_max,
        });
    }
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(read(&mut input)?);
    }
    input.end()?;
    if list.is_empty() {
        return Err(CborRefusal::EmptyArray);
    }
    Ok(list)
}

fn read_command(input: &mut Reader<'_>, limits: DecodeLimits) -> Result<WireCommand, CborRefusal> {
    let record = Record::read(input, "command")?;
    let action = match record.number {
        AT => {
            record.has("AT command", 5)?;
            let set_command = input.text("AT command name")?.into();
            let parameters = input.text("AT parameters")?.into();
            let count = input.array("array of ignored codes")?;
            if count > IGNORED_CODES_MAX as u64 {
                return Err(CborRefusal::TooManyIgnoredCodes { count });
            }
            Action::At {
                set_command,
                parameters,
                ignore: (0..count)
                    .map(|_| input.u32("ignored code"))
                    .collect::<Result<_, _>>()?,
            }
        }
        CONFIG => {
            record.has("config command", 3)?;
            let count = input.map("map of config pairs")?;
            if count > limits.config_pairs_max as u64 {
                return Err(CborRefusal::TooManyPairs {
                    count,
                    max: limits.config_pairs_max,
                });
            }
            let mut pairs = Vec::new();
            for _ in 0..count {
                pairs.push((
                    input.text("config key")?.into(),
                    input.text("config value")?.into(),
                ));
            }
            Action::Config(pairs)
        }
        FINISHED => {
            record.has("finished command", 2)?;
            Action::Finished
        }
        _ => return Err(record.unknown()),
    };
    Ok(WireCommand {
        correlation: record.correlation,
        action,
    })
}

fn read_response(input: &mut Reader<'_>) -> Result<WireResponse, CborRefusal> {
    let record = Record::read(input, "response")?;
    let result = match record.number {
        FAILED => {
            record.has("failure response", 4)?;
            WireResult::Failed {
                cme_error: input.u32("CME number")?,
                message: input.text("message")?.into(),
            }
        }
        AT_DONE => {
            record.has("AT response", 3)?;
            WireResult::AtDone {
                message: input.text("message")?.into(),
            }
        }
        CONFIG_STORED => {
            record.has("config response", 2)?;
            WireResult::ConfigStored
        }
        FINISHED_DONE => {
            record.has("finished response", 2)?;
            WireResult::Finished
        }
        _ => return Err(record.unknown()),
    };
    Ok(WireResponse {
        correlation: record.correlation,
        result,
    })
}

/// What commands and responses begin with: item count, correlation id, number.
struct Record {
    at: usize,
    items: u64,
    correlation: CorrelationId,
    number: u32,
    number_at: usize,
}

impl Record {
    fn read(input: &mut Reader<'_>, what: &'static str) -> Result<Self, CborRefusal> {
        let at = input.at();
        let items = input.array(what)?;
        if items < 2 {
            return Err(CborRefusal::WrongItemCount { what, items, at });
        }
        let id_at = input.at();
        let correlation = CorrelationId::new(input.text("correlation id")?)
            .map_err(|reason| CborRefusal::Correlation { at: id_at, reason })?;
        let number_at = input.at();
        let number = input.u32("kind")?;
        Ok(Self {
            at,
            items,
            correlation,
            number,
            number_at,
        })
    }

    const fn has(&self, what: &'static str, items: u64) -> Result<(), CborRefusal> {
        if self.items == items {
            return Ok(());
        }
        Err(CborRefusal::WrongItemCount {
            what,
            items: self.items,
            at: self.at,
        })
    }

    const fn unknown(&self) -> CborRefusal {
        CborRefusal::UnknownKind {
            number: self.number,
            at: self.number_at,
        }
    }
}

type WriteResult = Result<(), minicbor::encode::Error<Infallible>>;

const AT: u32 = 0;
const CONFIG: u32 = 1;
const FINISHED: u32 = 2;
const FAILED: u32 = 99;
const AT_DONE: u32 = 100;
const CONFIG_STORED: u32 = 101;
const FINISHED_DONE: u32 = 102;
