//! Credentials behind AT commands: any modem, real or virtual (spec/modem-at §4, §10).

use std::fmt;
use std::io::ErrorKind;

use sectag_proto::at;
use sectag_proto::secret::SecretText;
use sectag_proto::{CredentialType, SecTag};
use zeroize::Zeroizing;

use super::ask::{ask, unusable, with_numeric_errors};
use super::keygen::{self, KeyMaterial, KeyRequest};
use super::offline::Radio;
use super::{CredentialStore, Entry, StoreError, compare};
use crate::{LineError, Modem};

/// The credentials of one modem. Each operation saves `AT+CMEE`, switches numbers on and puts it back.
pub struct AtStore<'a> {
    modem: &'a mut dyn Modem,
    radio: Radio,
}

impl<'a> AtStore<'a> {
    /// Borrows the modem for as long as its credentials are worked on.
    pub fn new(modem: &'a mut dyn Modem) -> Self {
        Self {
            modem,
            radio: Radio::Untouched,
        }
    }

    /// Runs `work`; the first change in it that finds LTE active (modes 1, 2, 21) goes offline (`AT+CFUN=4`), and after
    /// `work` the mode before is back, also when `work` fails or panics. Without a change nothing is switched.
    ///
    /// # Errors
    /// What `work` fails with; [`StoreError::NotRestored`] when the mode did not come back.
    pub fn offline<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let outermost = self.radio == Radio::Untouched;
        if outermost {
            self.radio = Radio::Allowed;
        }
        let result = work(self);
        if outermost {
            let restored = self.radio.restore(self.modem);
            self.radio = Radio::Untouched;
            // A modem left offline is what somebody has to act on, whatever went wrong before.
            restored?;
        }
        result
    }

    /// The modem itself, for what is no credential.
    pub fn modem(&mut self) -> &mut dyn Modem {
        self.modem
    }

    fn slot(operation: u8, tag: SecTag, kind: CredentialType) -> String {
        format!("AT%CMNG={operation},{tag},{}", kind.0)
    }
}

/// Back to the mode before, if a panic came between.
impl Drop for AtStore<'_> {
    fn drop(&mut self) {
        // Nobody is left to hear of a failure.
        let _ = self.radio.restore(self.modem);
    }
}

impl CredentialStore for AtStore<'_> {
    fn list(
        &mut self,
        tag: Option<SecTag>,
        kind: Option<CredentialType>,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut line = "AT%CMNG=1".to_owned();
        match (tag, kind) {
            (None, Some(_)) => return Err(type_without_tag()),
            (Some(tag), None) => line += &format!(",{tag}"),
            (Some(tag), Some(kind)) => line += &format!(",{tag},{}", kind.0),
            (None, None) => {}
        }
        let answer = with_numeric_errors(self.modem, |modem| ask(modem, &line))?;
        answer
            .lines
            .iter()
            .filter_map(|line| line.trim_start().strip_prefix(PREFIX))
            .map(|rest| entry(rest).ok_or_else(|| unusable(&answer)))
            .collect()
    }

    fn write(
        &mut self,
        tag: SecTag,
        kind: CredentialType,
        content: &SecretText,
    ) -> Result<(), StoreError> {
        let content = content.expose();
        if content.is_empty() {
            return Err(nothing());
        }
        let quoted = Zeroizing::new(at::quote(content).map_err(|character| {
            StoreError::Invalid(format!(
                "the content holds {character:?}, which no AT command can carry"
            ))
        })?);
        let line = Zeroizing::new(format!("{},{}", Self::slot(0, tag, kind), *quoted));
        self.radio.before_change(self.modem)?;
        with_numeric_errors(self.modem, |modem| ask(modem, &line)).map(|_| ())
    }

    fn read(&mut self, tag: SecTag, kind: CredentialType) -> Result<String, StoreError> {
        let line = Self::slot(2, tag, kind);
        let answer = with_numeric_errors(self.modem, |modem| ask(modem, &line)).map_err(
            |error| match error {
                StoreError::Line(LineError::Port(e)) if e.kind() == ErrorKind::FileTooLarge => {
                    StoreError::TooLong
                }
                other => other,
            },
        )?;
        // <tag>,<type>,"<SHA-256>","<content>"
        let info = answer.info(PREFIX).ok_or(StoreError::NotFound)?;
        let mut parts = info.split('"');
        let digest = parts.nth(1).and_then(digest);
        let content = parts.nth(1).filter(|content| !content.is_empty());
        let content = content.ok_or(StoreError::NotFound)?;
        Ok(if self.modem.alters_line_ends() {
            compare::recover(content, digest.as_ref())
        } else {
            content.to_owned()
        })
    }

    fn delete(&mut self, tag: SecTag, kind: CredentialType) -> Result<(), StoreError> {
        let line = Self::slot(3, tag, kind);
        self.radio.before_change(self.modem)?;
        with_numeric_errors(self.modem, |modem| ask(modem, &line)).map(|_| ())
    }

    fn keygen(&mut self, request: &KeyRequest<'_>) -> Result<KeyMaterial, StoreError> {
        let line = keygen::line(request)?;
        self.radio.before_change(self.modem)?;
        let answer = with_numeric_errors(self.modem, |modem| ask(modem, &line))?;
        keygen::material(request, &answer)
    }

    fn alters_line_ends(&self) -> bool {
        self.modem.alters_line_ends()
    }
}

impl fmt::Debug for AtStore<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtStore")
            .field("radio", &self.radio)
            .finish_non_exhaustive()
    }
}

const PREFIX: &str = "%CMNG:";

pub(super) fn nothing() -> StoreError {
    StoreError::Invalid("there is nothing to write".to_owned())
}

pub(super) fn type_without_tag() -> StoreError {
    StoreError::Invalid("a type is listed only together with a tag".to_owned())
}

/// `<tag>,<type>[,"<SHA-256>"]`
fn entry(info: &str) -> Option<Entry> {
    let mut fields = info.split(',').map(str::trim);
    Some(Entry {
        tag: fields.next()?.parse().ok()?,
        kind: CredentialType(fields.next()?.parse().ok()?),
        digest: fields
            .next()
            .and_then(|text| digest(text.trim_matches('"'))),
    })
}

/// 32 bytes from 64 hex digits.
fn digest(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_list_line_is_read_with_and_without_a_digest() {
        let hex = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";
        let with = entry(&format!(" 16842753, 0, \"{hex}\"")).unwrap();
        assert_eq!((with.tag, with.kind.0), (16_842_753, 0));
        assert_eq!(with.digest, Some(sectag_pki::sha256(b"abc")));
        assert_eq!(entry("4294967294,6").unwrap().digest, None);
        assert_eq!(entry("1,2,\"12\"").unwrap().digest, None);
        assert_eq!(entry("one,2"), None);
        assert_eq!(entry(""), None);
    }
}
