//! How the vectors write CBOR for people: diagnostic notation (RFC 8949 §8) and Python's.
#![allow(clippy::unwrap_used, unreachable_pub)]

use sectag_proto::wire::{Action, WireCommand, WireResponse, WireResult};

pub fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A text in CBOR diagnostic notation, which is JSON's.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

pub fn command_diag(command: &WireCommand) -> String {
    let id = quoted(command.correlation.as_str());
    match &command.action {
        Action::At {
            set_command,
            parameters,
            ignore,
        } => format!(
            "[{id}, 0, {}, {}, {}]",
            quoted(set_command),
            quoted(parameters),
            list(ignore.iter().map(ToString::to_string))
        ),
        Action::Config(pairs) => {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(key, value)| format!("{}: {}", quoted(key), quoted(value)))
                .collect();
            format!("[{id}, 1, {{{}}}]", pairs.join(", "))
        }
        Action::Finished => format!("[{id}, 2]"),
    }
}

pub fn response_diag(response: &WireResponse) -> String {
    let id = quoted(response.correlation.as_str());
    match &response.result {
        WireResult::Failed { cme_error, message } => {
            format!("[{id}, 99, {cme_error}, {}]", quoted(message))
        }
        WireResult::AtDone { message } => format!("[{id}, 100, {}]", quoted(message)),
        WireResult::ConfigStored => format!("[{id}, 101]"),
        WireResult::Finished => format!("[{id}, 102]"),
    }
}

/// One CBOR item as the recording tool printed it.
pub fn python(input: &mut minicbor::Decoder<'_>) -> String {
    use minicbor::data::Type;
    match input.datatype().unwrap() {
        Type::Tag => {
            let tag = input.tag().unwrap().as_u64();
            format!("{tag}({})", python(input))
        }
        Type::Array => {
            let count = input.array().unwrap().unwrap();
            let items: Vec<_> = (0..count).map(|_| python(input)).collect();
            let comma = if count == 1 { "," } else { "" };
            format!("({}{comma})", items.join(", "))
        }
        Type::Map => {
            let count = input.map().unwrap().unwrap();
            let pairs: Vec<_> = (0..count)
                .map(|_| {
                    let key = python(input);
                    format!("{key}: {}", python(input))
                })
                .collect();
            format!("frozendict({{{}}})", pairs.join(", "))
        }
        Type::Bytes => python_bytes(input.bytes().unwrap()),
        Type::Null => {
            input.null().unwrap();
            "None".into()
        }
        _ => input.i64().unwrap().to_string(),
    }
}

pub fn python_bytes(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') {
        '"'
    } else {
        '\''
    };
    let shown: String = bytes
        .iter()
        .map(|byte| match byte {
            b'\\' => "\\\\".into(),
            b'\t' => "\\t".into(),
            b'\n' => "\\n".into(),
            b'\r' => "\\r".into(),
            byte if char::from(*byte) == quote => format!("\\{quote}"),
            b' '..=b'~' => char::from(*byte).to_string(),
            byte => format!("\\x{byte:02x}"),
        })
        .collect();
    format!("b{quote}{shown}{quote}")
}
