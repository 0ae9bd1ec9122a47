//! `docs/reference/config-keys.md`, from the table.

use super::{Default, Key, KeyName, Kind};
use std::fmt::Write as _;

/// The page's text.
pub fn reference() -> String {
    let mut text = String::from(HEAD);
    let mut group = "";
    for name in KeyName::all() {
        let key = name.key();
        let of = group_of(key);
        if of != group {
            group = of;
            let _ = write!(text, "\n## `{group}`\n");
        }
        let _ = write!(text, "\n### `{}`\n\n{}", key.name, key.about);
        if let Some(note) = key.note {
            let _ = write!(text, " {note}");
        }
        let _ = write!(
            text,
            "\n\n- type: {}\n- default: {}\n",
            kind(key.kind),
            default(key.default)
        );
        if !key.aliases.is_empty() {
            let aliases: Vec<String> = key
                .aliases
                .iter()
                .map(|alias| format!("`{alias}`"))
                .collect();
            let _ = writeln!(text, "- also known as: {}", aliases.join(", "));
        }
        if !key.examples.is_empty() {
            let examples: Vec<String> = key
                .examples
                .iter()
                .map(|text| format!("`{text}`"))
                .collect();
            let _ = writeln!(text, "- for example: {}", examples.join(", "));
        }
        if key.secret {
            text.push_str("- secret: printed only with `--show-secrets`\n");
        }
        if key.profiled {
            text.push_str("- may differ between cloud profiles (`--profile NAME`)\n");
        }
        if key.ours {
            text.push_str("- thin-edge.io does not have it\n");
        }
    }
    text
}

const HEAD: &str = "\
# Configuration keys

This page is made from the table in `crates/gateway/src/keys/table.rs`; a test compares them. The names are thin-edge.io's; what they
mean for the broker is in [the gateway guide](../guides/gateway.md).

They live in `tedge.toml`, under `--config-dir`, else `TEDGE_CONFIG_DIR`, else in the home. The environment variable of a key is
`TEDGE_` and its name in upper case with `_` for `.`: `TEDGE_MQTT_EXTERNAL_BIND_PORT`. It wins over the file; an empty one unsets the
key. Other names of a key are honoured wherever its own is, with a notice; the same key under two names at once is an error.
A path on the command line is taken from the working directory, one in the file from the file's directory; `~` is not expanded.
";

fn group_of(key: &Key) -> &'static str {
    let mut segments = key.name.split('.');
    let first = segments.next().unwrap_or_default();
    let second = segments.next().unwrap_or_default();
    match (first, second) {
        ("mqtt", "bind" | "client" | "external" | "bridge") => {
            &key.name[..first.len() + 1 + second.len()]
        }
        _ => first,
    }
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Port => "port, 1 to 65535".into(),
        Kind::Number => "whole number".into(),
        Kind::Bool => "`true` or `false`".into(),
        Kind::Ip => "IP address".into(),
        Kind::Host => "IP address or host name".into(),
        Kind::HostPort => "IP address or host name, `:port` if wanted".into(),
        Kind::Path => "path".into(),
        Kind::Duration => "duration: seconds, or `30d`, `10 min`".into(),
        Kind::Words(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            words.join(", ")
        }
        Kind::List => "list, separated by commas".into(),
        Kind::Text => "text".into(),
        Kind::Topic => "text without `+` and `#`".into(),
    }
}

fn default(default: Default) -> String {
    match default {
        Default::Unset => "none".into(),
        Default::Fixed("") => "`[]`".into(),
        Default::Fixed(text) => format!("`{text}`"),
        Default::Same(key) => format!("that of `{key}`"),
        Default::Under(path) => format!("`{path}` in the configuration directory"),
        Default::Inferred => "inferred, see above".into(),
        Default::Certificate => "common name of the certificate at `device.cert_path`".into(),
    }
}
