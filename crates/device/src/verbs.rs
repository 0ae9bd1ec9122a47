//! What a driver asks a modem besides carrying the session's lines: who it is, a token, a signature.

use std::time::Duration;

use sectag_modem::{LineError, Modem};
use sectag_proto::at::{Answer, Verdict};
use sectag_proto::secret::SecretText;
use sectag_proto::{DeviceId, SecTag, at};

/// A modem did not answer a question as it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// There was no whole answer.
    #[error("`{line}` brought no answer")]
    Line {
        /// The line, without quoted parameters.
        line: String,
        /// Why.
        #[source]
        source: LineError,
    },
    /// It refused, with its words.
    #[error("the modem answered `{line}` with `{said}`")]
    Refused {
        /// The line, without quoted parameters.
        line: String,
        /// What it printed, at most 120 characters.
        said: String,
    },
    /// It said OK, but not what was asked.
    #[error("the modem's answer to `{line}` has no usable {what}")]
    Missing {
        /// The line, without quoted parameters.
        line: String,
        /// What was expected.
        what: &'static str,
    },
    /// A text that cannot travel inside a quoted parameter.
    #[error("the text for `{line}` holds {character:?}, which a modem cannot take")]
    Character {
        /// The line, without quoted parameters.
        line: String,
        /// The offending character.
        character: char,
    },
}

impl AskError {
    pub(crate) fn no_answer(line: &str, source: LineError) -> Self {
        Self::Line {
            line: head(line),
            source,
        }
    }
}

/// The claim token (`AT%ATTESTTOKEN`): give it to the owner, who claims the device with it.
///
/// # Errors
/// [`AskError`].
pub fn token(modem: &mut dyn Modem) -> Result<String, AskError> {
    text_of(modem, "AT%ATTESTTOKEN", "%ATTESTTOKEN:", "claim token")
}

/// The device UUID (`AT%DEVICEUUID`).
///
/// # Errors
/// [`AskError`].
pub fn uuid(modem: &mut dyn Modem) -> Result<DeviceId, AskError> {
    const LINE: &str = "AT%DEVICEUUID";
    text_of(modem, LINE, "%DEVICEUUID:", "device UUID")?
        .parse()
        .map_err(|_| missing(LINE, "device UUID"))
}

/// The modem firmware (`AT+CGMR`), e.g. `mfw_nrf91x1_2.0.2`.
///
/// # Errors
/// [`AskError`].
pub fn firmware(modem: &mut dyn Modem) -> Result<String, AskError> {
    const LINE: &str = "AT+CGMR";
    ask(modem, LINE)?
        .lines
        .into_iter()
        .find(|line| !line.trim().is_empty())
        .map(|line| line.trim().to_string())
        .ok_or_else(|| missing(LINE, "firmware version"))
}

/// A JWT (`AT%JWT=0,<validity>,"",""`); tag 0 is the identity key.
///
/// # Errors
/// [`AskError`].
pub fn jwt(
    modem: &mut dyn Modem,
    sec_tag: u32,
    validity: Duration,
) -> Result<SecretText, AskError> {
    let key = match sec_tag {
        0 => String::new(),
        tag => format!(",{tag},2"),
    };
    let line = format!("AT%JWT=0,{},\"\",\"\"{key}", validity.as_secs());
    let text = text_of(modem, &line, "%JWT:", "JWT")?;
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(missing(&line, "JWT"));
    }
    Ok(SecretText::new(text))
}

/// The root CA (PEM) under `tag`; `None` when there is none.
///
/// # Errors
/// [`AskError`].
pub fn root_ca(modem: &mut dyn Modem, tag: SecTag) -> Result<Option<String>, AskError> {
    // A list without entries is OK whatever CMEE is, a read without one is an error with or without a number.
    if ask(modem, &format!("AT%CMNG=1,{tag},0"))?
        .info("%CMNG:")
        .is_none()
    {
        return Ok(None);
    }
    let line = format!("AT%CMNG=2,{tag},0");
    let answer = ask(modem, &line)?;
    let what = "root CA";
    let info = answer.info("%CMNG:").ok_or_else(|| missing(&line, what))?;
    // <tag>,<type>,"<SHA-256>","<content>"
    let content = info.split('"').nth(3).ok_or_else(|| missing(&line, what))?;
    Ok(Some(content.to_string()))
}

/// What became of a root CA that was to be put under a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// The tag was empty and holds it.
    Written,
    /// The tag held the same one.
    Same,
    /// The tag holds another one, which was left alone: it may be a choice (spec/device-protocol §14).
    Other,
}

/// Puts the root CA `pem` under `tag` if nothing is there. Takes the modem offline for the write, and back.
///
/// # Errors
/// [`AskError`].
pub fn place_root_ca(modem: &mut dyn Modem, tag: SecTag, pem: &str) -> Result<Placed, AskError> {
    if let Some(there) = root_ca(modem, tag)? {
        // The `at` command of the firmware's shell writes CR LF for LF.
        let plain = |text: &str| text.replace("\r\n", "\n");
        return Ok(if plain(there.trim_end()) == plain(pem.trim_end()) {
            Placed::Same
        } else {
            Placed::Other
        });
    }
    let mode = functional_mode(modem)?;
    let active = matches!(mode, 1 | 2 | 21);
    if active {
        ask(modem, "AT+CFUN=4")?;
    }
    let start = format!("AT%CMNG=0,{tag},0,");
    let written = at::quote(pem)
        .map_err(|character| AskError::Character {
            line: format!("{start}…"),
            character,
        })
        .and_then(|quoted| with_numeric_errors(modem, |modem| ask(modem, &(start + &quoted))));
    if active {
        ask(modem, &format!("AT+CFUN={mode}"))?;
    }
    written.map(|_| Placed::Written)
}

/// Number of `AT+CFUN?`.
pub(crate) fn functional_mode(modem: &mut dyn Modem) -> Result<u8, AskError> {
    const LINE: &str = "AT+CFUN?";
    ask(modem, LINE)?
        .info("+CFUN:")
        .and_then(|info| info.parse().ok())
        .ok_or_else(|| missing(LINE, "functional mode"))
}

/// Whether the modem is registered to a network (`AT+CEREG?`: home or roaming), where it says so. Registration to LTE
/// brings the default packet data network with it.
pub(crate) fn registered(modem: &mut dyn Modem) -> Option<bool> {
    registration(modem).ok().flatten()
}

/// As [`registered`]; the error says why the modem did not answer.
pub(crate) fn registration(modem: &mut dyn Modem) -> Result<Option<bool>, AskError> {
    let answer = ask(modem, "AT+CEREG?")?;
    let status = answer
        .info("+CEREG:")
        .and_then(|info| info.split(',').nth(1));
    Ok(status.map(|status| matches!(status.trim(), "1" | "5")))
}

/// Sends a line and demands `OK`.
fn ask(modem: &mut dyn Modem, line: &str) -> Result<Answer, AskError> {
    const SAID_CHARS_MAX: usize = 120;
    let text = modem.line(line).map_err(|source| AskError::Line {
        line: head(line),
        source,
    })?;
    match Answer::parse(&text) {
        Ok(answer) if answer.verdict == Verdict::Ok => Ok(answer),
        _ => Err(AskError::Refused {
            line: head(line),
            said: text.trim().chars().take(SAID_CHARS_MAX).collect(),
        }),
    }
}

fn text_of(
    modem: &mut dyn Modem,
    line: &str,
    prefix: &str,
    what: &'static str,
) -> Result<String, AskError> {
    ask(modem, line)?
        .info_text(prefix)
        .map(str::to_string)
        .ok_or_else(|| missing(line, what))
}

/// Runs `work` with `+CME ERROR: <n>` switched on, and puts the switch back.
fn with_numeric_errors<T>(
    modem: &mut dyn Modem,
    work: impl FnOnce(&mut dyn Modem) -> Result<T, AskError>,
) -> Result<T, AskError> {
    let before = ask(modem, "AT+CMEE?")?
        .info("+CMEE:")
        .and_then(|info| info.parse::<u8>().ok())
        .unwrap_or(0);
    if before != 1 {
        ask(modem, "AT+CMEE=1")?;
    }
    let result = work(modem);
    if before != 1 {
        ask(modem, &format!("AT+CMEE={before}"))?;
    }
    result
}

fn missing(line: &str, what: &'static str) -> AskError {
    AskError::Missing {
        line: head(line),
        what,
    }
}

fn head(line: &str) -> String {
    sectag_proto::device::AtLine::new(line.to_string()).head()
}
