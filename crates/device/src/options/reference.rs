//! `docs/reference/options.md`, made from the table.

use std::fmt::Write;

use super::table::{Here, Known, OPTIONS};
use super::value::Kind;

const HEAD: &str = "\
# Options of a device

What a firmware project sets in `prj.conf`, a device here takes as it is: `--kconfig prj.conf`, repeated for overlays, the last
assignment wins. Names that are not in these tables are listed and have no effect; a line that Zephyr's build would refuse is
refused with file and line.

This page is made from the program's own table, and a test compares them.
";

const DEVICE: &str = "
## The provisioning client

Of `sectag device run`, `device options` and `modem serve --provision`. The name is a key of `HOME/devices/NAME/device.toml` and of
`-o name=value`; the Kconfig name does as well after `-o`. The later one wins:

    our default, or --faithful  ◄  device.toml  ◄  --kconfig  ◄  -o  ◄  --host, --port, --ca-sec-tag, --transport

`sectag device options` shows each with its value and where that came from. `--faithful` takes the firmware's defaults and its
conduct, flaws included; host, port and root CA tag stay ours, since whom a device talks to is not a matter of conduct.
A device without `--keep-running` runs one session when it is told to, so `auto-start`, `scheduled`, `interval-s`, `spread-s`,
`backoff-s`, `shell` and `custom-at` are for the one that stays.
";

const SAMPLE: &str = "
## The MQTT sample and the exercise

Of `sectag mqtt sample`. A flag that is typed goes before the file. Names of the exercise make it the exercise (`--academy`).
";

const NOTHING: &str = "
## Accepted, without effect

They belong to every project, and there is nothing here that they could change.
";

const ROOT_CA: &str = "
## Where the root CA comes from

With `with-cert`, and only if nothing lies under the root CA tag, the root CA of this home (or of `--ca FILE`) is written there
before the first session; what lies there already is never overwritten, and a note says so when it is another one. When the host is
the vendor's (`…nrfcloud.com`), nothing of this home is written: put that service's root CA under the tag, or give it with `--ca`.

## Over CoAP

`--transport coap`, `coap = true` or `CONFIG_NRF_PROVISIONING_COAP=y` take the session to CoAP over DTLS 1.2. `--host` and `--port` then
are those of `coap-hostname` and `coap-port`. Our own conduct needs one DTLS session with a Connection ID: it serves fetch and report,
survives flight mode and a new address, and is kept from one run to the next in `HOME/devices/NAME/coap-session-UUID` (keys, mode 0600; it
is removed when the next run takes it up, and a copy of it must never be used). When that fails, the session is resumed by a short
handshake, and when that fails too, there is a full one. The device authenticates when its authorisation has run out or the service
says so.

With `--faithful` the device does what the firmware does. Keeping the socket through flight mode (keep-open) is no option of the
firmware but a matter of its modem, and so it is here: a modem firmware `mfw_nrf9160_…` closes its session after each fetch and makes
another one for the report, every other one keeps it and suspends it with `.dtls/suspend`. The next run makes a new session.
";

/// The page, in Markdown.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    page += DEVICE;
    section(
        &mut page,
        &[
            "name",
            "Kconfig: CONFIG_…",
            "value",
            "firmware",
            "ours",
            "effect",
        ],
        |known| match known.here {
            Here::Device(key) => Some(vec![
                code(key),
                names(known),
                kind(known),
                code(known.firmware),
                code(known.ours),
                known.effect.to_owned(),
            ]),
            _ => None,
        },
    );
    page += ROOT_CA;
    page += SAMPLE;
    section(
        &mut page,
        &[
            "Kconfig: CONFIG_…",
            "flag",
            "value",
            "firmware",
            "ours",
            "effect",
        ],
        |known| match known.here {
            Here::Sample(flag) => Some(vec![
                names(known),
                flags(flag),
                kind(known),
                code(known.firmware),
                code(known.ours),
                known.effect.to_owned(),
            ]),
            _ => None,
        },
    );
    page += NOTHING;
    section(
        &mut page,
        &["Kconfig: CONFIG_…", "firmware", "why"],
        |known| match known.here {
            Here::Nothing => Some(vec![
                names(known),
                code(known.firmware),
                known.effect.to_owned(),
            ]),
            _ => None,
        },
    );
    page
}

fn section(page: &mut String, heads: &[&str], row: impl Fn(&Known) -> Option<Vec<String>>) {
    page.push('\n');
    let mut line = |cells: &[String]| {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| {} |", cells.join(" | "));
    };
    line(
        &heads
            .iter()
            .map(|&head| head.to_owned())
            .collect::<Vec<_>>(),
    );
    line(&vec!["---".to_owned(); heads.len()]);
    for known in OPTIONS {
        if let Some(cells) = row(known) {
            line(&cells);
        }
    }
}

fn names(known: &Known) -> String {
    let mut text = code(known.kconfig);
    if !known.former.is_empty() {
        let former: Vec<String> = known.former.iter().map(|name| code(name)).collect();
        let _ = write!(text, " (formerly {})", former.join(", "));
    }
    text
}

fn flags(flags: &str) -> String {
    let flags: Vec<String> = flags.split(", ").map(code).collect();
    flags.join(", ")
}

fn kind(known: &Known) -> String {
    let range = match known.kind {
        Kind::Flag => "y, n".to_owned(),
        Kind::Number(least, most) => format!("{least} to {most}"),
        Kind::Text(_) => "text".to_owned(),
    };
    format!("{range} {}", known.unit).trim_end().to_owned()
}

fn code(text: &str) -> String {
    if text.is_empty() {
        "–".to_owned()
    } else {
        format!("`{text}`")
    }
}
