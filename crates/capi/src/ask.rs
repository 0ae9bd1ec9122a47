//! What the library asks the modem beside the session's own lines: a signature, the radio, who it is.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

use sectag_proto::at::{Answer, Verdict};
use sectag_proto::device::{FunctionalMode, RadioWish};
use sectag_proto::secret::SecretText;

use crate::errno::Code;
use crate::ffi::carrier::Carrier;

/// A JWT by `AT%JWT=0,<validity>,"",""`, with `,<tag>,2` when the tag is not 0. On failure, words for the log.
pub(crate) fn jwt(
    carrier: &Carrier,
    sec_tag: u32,
    validity: Duration,
) -> Result<SecretText, String> {
    let key = match sec_tag {
        0 => String::new(),
        tag => format!(",{tag},2"),
    };
    let line = format!("AT%JWT=0,{},\"\",\"\"{key}", validity.as_secs());
    let answer = SecretText::new(
        carrier
            .line(&line)
            .map_err(|code| format!("AT%JWT: at_line returned {}", code.get()))?,
    );
    jwt_in(answer.expose()).ok_or_else(|| {
        let verdict = answer.expose().trim_end().lines().last().unwrap_or("");
        let shown = Verdict::parse(verdict).map_or("no final line".to_string(), |v| v.to_string());
        format!("the modem did not sign: AT%JWT answered {shown}")
    })
}

/// Looks at the text itself: an [`Answer`] would leave copies of the JWT behind.
fn jwt_in(answer: &str) -> Option<SecretText> {
    let mut lines = answer.lines().map(str::trim);
    let jwt = lines.find_map(|line| line.strip_prefix("%JWT:"))?;
    let jwt = jwt.trim().trim_matches('"');
    let signed = lines.any(|line| line == "OK");
    let printable = !jwt.is_empty() && jwt.bytes().all(|b| b.is_ascii_graphic());
    (signed && printable).then(|| SecretText::new(jwt.to_string()))
}

/// Switches LTE unless the program does, and looks at the functional mode. On failure, words for the log.
pub(crate) fn radio(
    carrier: &Carrier,
    wish: RadioWish,
    by_program: bool,
) -> Result<FunctionalMode, String> {
    let failed = |line: &str, code: Code| format!("{line}: at_line returned {}", code.get());
    let switch = match wish {
        _ if by_program => None,
        RadioWish::Query => None,
        RadioWish::Offline => Some("AT+CFUN=4"),
        RadioWish::Online => {
            // The subscriptions that the firmware library makes each time (spec/device-protocol §14). Without them the
            // radio comes back all the same.
            for line in ["AT+CGEREP=1", "AT%XTIME=1"] {
                if let Err(code) = carrier.line(line) {
                    carrier.log(&failed(line, code));
                }
            }
            Some("AT+CFUN=1")
        }
    };
    if let Some(line) = switch {
        // What the modem made of it shows in its functional mode.
        carrier.line(line).map_err(|code| failed(line, code))?;
    }
    const LOOK: &str = "AT+CFUN?";
    let text = carrier.line(LOOK).map_err(|code| failed(LOOK, code))?;
    Answer::parse(&text)
        .ok()
        .and_then(|answer| answer.info("+CFUN:")?.parse().ok())
        .map(FunctionalMode)
        .ok_or_else(|| format!("{LOOK}: no functional mode in the answer"))
}

/// `AT+CGMR`, e.g. `mfw_nrf91x1_2.0.2`.
pub(crate) fn firmware(carrier: &Carrier) -> Result<String, Code> {
    answer(carrier, "AT+CGMR")?
        .lines
        .iter()
        .map(|line| line.trim())
        .find(|line| !line.is_empty())
        .map(ToString::to_string)
        .ok_or(Code::IO)
}

/// `AT%DEVICEUUID`.
pub(crate) fn device_uuid(carrier: &Carrier) -> Result<String, Code> {
    answer(carrier, "AT%DEVICEUUID")?
        .info_text("%DEVICEUUID:")
        .map(ToString::to_string)
        .ok_or(Code::IO)
}

fn answer(carrier: &Carrier, line: &str) -> Result<Answer, Code> {
    let text = carrier.line(line)?;
    match Answer::parse(&text) {
        Ok(answer) if answer.verdict == Verdict::Ok => Ok(answer),
        _ => {
            carrier.log(&format!("{line}: the modem answered {}", text.trim()));
            Err(Code::IO)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::jwt_in;

    #[test]
    fn a_jwt_counts_only_before_an_ok() {
        let found = |text: &str| jwt_in(text).map(|jwt| jwt.expose().clone());
        assert_eq!(found("%JWT: \"a.b.c\"\r\nOK\r\n").as_deref(), Some("a.b.c"));
        assert_eq!(found("%JWT: \"a.b.c\"\r\nERROR\r\n"), None);
        assert_eq!(found("%JWT: \"\"\r\nOK\r\n"), None);
        assert_eq!(found("%JWT: \"a b\"\r\nOK\r\n"), None);
        assert_eq!(found("OK\r\n"), None);
        assert_eq!(found(""), None);
    }
}
