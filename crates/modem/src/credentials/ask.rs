//! One line, one answer: what every credential operation over AT is made of, and who the modem is.

use sectag_proto::at::{Answer, Verdict};

use super::StoreError;
use crate::Modem;

/// Digits of an IMEI.
const IMEI_DIGITS: usize = 15;

/// The IMEI (`AT+CGSN`).
///
/// # Errors
/// [`StoreError`]; [`StoreError::Unexpected`] when the answer holds no 15 digits.
pub fn imei(modem: &mut dyn Modem) -> Result<String, StoreError> {
    let answer = ask(modem, "AT+CGSN")?;
    answer
        .lines
        .iter()
        .map(|line| line.trim())
        .find(|line| line.len() == IMEI_DIGITS && line.bytes().all(|b| b.is_ascii_digit()))
        .map(str::to_owned)
        .ok_or_else(|| unusable(&answer))
}

/// The model (`AT+CGMM`), e.g. `nRF9151-LACA`.
///
/// # Errors
/// As [`imei`].
pub fn model(modem: &mut dyn Modem) -> Result<String, StoreError> {
    bare(modem, "AT+CGMM")
}

/// The modem firmware (`AT+CGMR`), e.g. `mfw_nrf91x1_2.0.2`.
///
/// # Errors
/// As [`imei`].
pub fn firmware(modem: &mut dyn Modem) -> Result<String, StoreError> {
    bare(modem, "AT+CGMR")
}

/// The attestation token (`AT%ATTESTTOKEN`), with which an owner claims the device. `challenge`: 32 hex digits that
/// take the place of the nonce.
///
/// # Errors
/// [`StoreError::Invalid`] for a challenge of another form, [`StoreError`] for what the modem answers.
pub fn attest(modem: &mut dyn Modem, challenge: Option<&str>) -> Result<String, StoreError> {
    const CHALLENGE_DIGITS: usize = 32;
    let line = match challenge {
        None => "AT%ATTESTTOKEN".to_owned(),
        Some(hex)
            if hex.len() == CHALLENGE_DIGITS && hex.bytes().all(|b| b.is_ascii_hexdigit()) =>
        {
            format!("AT%ATTESTTOKEN=\"{hex}\"")
        }
        Some(_) => {
            return Err(StoreError::Invalid(
                "a challenge has 32 hexadecimal digits".to_owned(),
            ));
        }
    };
    let answer = with_numeric_errors(modem, |modem| ask(modem, &line))?;
    answer
        .info_text("%ATTESTTOKEN:")
        .filter(|token| token.contains('.'))
        .map(str::to_owned)
        .ok_or_else(|| unusable(&answer))
}

fn bare(modem: &mut dyn Modem, line: &str) -> Result<String, StoreError> {
    let answer = ask(modem, line)?;
    answer
        .lines
        .iter()
        .map(|line| line.trim())
        .find(|line| !line.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| unusable(&answer))
}

/// Sends a line and demands `OK`.
pub(super) fn ask(modem: &mut dyn Modem, line: &str) -> Result<Answer, StoreError> {
    let text = modem.line(line)?;
    match Answer::parse(&text) {
        Ok(answer) if answer.verdict == Verdict::Ok => Ok(answer),
        Ok(answer) => Err(StoreError::from_answer(Some(&answer.verdict), &text)),
        Err(_) => Err(StoreError::from_answer(None, &text)),
    }
}

/// Runs `work` with `+CME ERROR: <n>` switched on, and puts the switch back, also after an error.
pub(super) fn with_numeric_errors<T>(
    modem: &mut dyn Modem,
    work: impl FnOnce(&mut dyn Modem) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    const NUMERIC: u8 = 1;
    let before = number(modem, "AT+CMEE?", "+CMEE:")?;
    if before != NUMERIC {
        ask(modem, &format!("AT+CMEE={NUMERIC}"))?;
    }
    let result = work(modem);
    if before != NUMERIC {
        let restored = ask(modem, &format!("AT+CMEE={before}"));
        // What went wrong first says more.
        if result.is_ok() {
            restored?;
        }
    }
    result
}

/// The functional mode (`AT+CFUN?`).
pub(super) fn functional_mode(modem: &mut dyn Modem) -> Result<u8, StoreError> {
    number(modem, "AT+CFUN?", "+CFUN:")
}

fn number(modem: &mut dyn Modem, line: &str, prefix: &str) -> Result<u8, StoreError> {
    let answer = ask(modem, line)?;
    answer
        .info(prefix)
        .and_then(|info| info.parse().ok())
        .ok_or_else(|| unusable(&answer))
}

/// `OK`, but without the expected line.
pub(super) fn unusable(answer: &Answer) -> StoreError {
    StoreError::from_answer(None, &answer.print())
}
