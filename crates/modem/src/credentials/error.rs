//! Why a credential operation failed: the results of `modem_key_mgmt` (spec/modem-at §10), with what to do about each.

use sectag_proto::at::Verdict;

use crate::LineError;

/// Why a credential operation failed, with the errno of `modem_key_mgmt`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// `-ENOENT` (513).
    #[error("not found (-ENOENT, CME 513)")]
    NotFound,
    /// `-EACCES` (514): this type cannot be read or compared.
    #[error("no access to this type (-EACCES, CME 514)")]
    NoAccess,
    /// `-ENOMEM` (515).
    #[error("the storage is full (-ENOMEM, CME 515)")]
    Full,
    /// `-EPERM` (518): LTE is active.
    #[error("not allowed while LTE is active (-EPERM, CME 518)")]
    Active,
    /// `-EALREADY` (519).
    #[error("already exists (-EALREADY, CME 519)")]
    Exists,
    /// `-ECANCELED` (528).
    #[error("the power-off warning is active (-ECANCELED, CME 528)")]
    PowerOff,
    /// `-EINVAL`: nothing to write, or a text that cannot travel.
    #[error("invalid: {0} (-EINVAL)")]
    Invalid(String),
    /// Types 0 and 1 must be PEM certificates (527).
    #[error("the content is not one or more PEM certificates (CME 527)")]
    Content,
    /// `-E2BIG`: what was asked for is there, but its text does not fit the buffers on the way.
    #[error("the content is too long for the way to the modem (-E2BIG)")]
    TooLong,
    /// Any other answer, with the modem's words.
    #[error("the modem answered `{0}`")]
    Unexpected(String),
    /// The modem was taken offline for a change, and still is.
    #[error("the modem did not go back to functional mode {mode}")]
    NotRestored {
        /// The mode it was in before.
        mode: u8,
        /// What it answered.
        #[source]
        source: Box<StoreError>,
    },
    /// No answer.
    #[error("no answer")]
    Line(#[from] LineError),
    /// The files' part.
    #[error(transparent)]
    Keep(#[from] sectag_keep::KeepError),
}

/// What `modem_key_mgmt` returns for an answer it has no errno for.
const UNKNOWN: &str = "0xBAADBAAD";

/// Characters of an answer that an error shows; an answer can hold a whole certificate.
const SAID_CHARS_MAX: usize = 120;

impl StoreError {
    /// The negative errno, e.g. `-ENOENT`; `0xBAADBAAD` where the library has none.
    pub fn errno(&self) -> &'static str {
        match self {
            Self::NotFound => "-ENOENT",
            Self::NoAccess => "-EACCES",
            Self::Full => "-ENOMEM",
            Self::Active => "-EPERM",
            Self::Exists => "-EALREADY",
            Self::PowerOff => "-ECANCELED",
            Self::TooLong => "-E2BIG",
            Self::Invalid(_) | Self::Line(LineError::Unsendable { .. }) => "-EINVAL",
            Self::Content | Self::Unexpected(_) => UNKNOWN,
            Self::NotRestored { source, .. } => source.errno(),
            Self::Line(LineError::Timeout { .. }) => "-ETIMEDOUT",
            Self::Line(_) | Self::Keep(_) => "-EIO",
        }
    }

    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotFound => "list what is there with `sectag creds list`".to_owned(),
            Self::NoAccess => {
                "private keys and PSKs can be listed with their digest, never read".to_owned()
            }
            Self::Full => "delete what is not needed: `sectag creds list`, then `sectag creds delete TAG TYPE`"
                .to_owned(),
            Self::Active => {
                "credentials change only while LTE is off: `AT+CFUN=4`, the change, then `AT+CFUN=1`".to_owned()
            }
            Self::Exists => {
                "delete what is under the tag first, or choose another tag; a deleted private key cannot be had again"
                    .to_owned()
            }
            Self::PowerOff => "charge or power the device, then try again".to_owned(),
            Self::Content => {
                "a certificate begins with -----BEGIN CERTIFICATE-----; a chain has 4096 bytes at most".to_owned()
            }
            Self::TooLong => "compare by digest: `sectag creds list` prints it".to_owned(),
            Self::Unexpected(words) => return unexpected_hint(words),
            Self::NotRestored { mode, .. } => format!("the modem is offline; run `AT+CFUN={mode}`"),
            Self::Line(LineError::Timeout { .. }) => {
                "is the right port open, and nobody else on it? whether the command was executed is not known"
                    .to_owned()
            }
            Self::Keep(error) => return error.hint(),
            Self::Invalid(_) | Self::Line(_) => return None,
        })
    }

    /// An answer that is not `OK`, from its verdict (`None`: there was none) and its text.
    pub fn from_answer(verdict: Option<&Verdict>, text: &str) -> Self {
        match verdict {
            Some(Verdict::Cme(Some(513))) => Self::NotFound,
            Some(Verdict::Cme(Some(514))) => Self::NoAccess,
            Some(Verdict::Cme(Some(515))) => Self::Full,
            Some(Verdict::Cme(Some(518))) => Self::Active,
            Some(Verdict::Cme(Some(519))) => Self::Exists,
            Some(Verdict::Cme(Some(527))) => Self::Content,
            Some(Verdict::Cme(Some(528))) => Self::PowerOff,
            _ => Self::Unexpected(text.trim().chars().take(SAID_CHARS_MAX).collect()),
        }
    }
}

fn unexpected_hint(words: &str) -> Option<String> {
    if words == "ERROR" {
        // Every modem knows the commands that are sent here.
        return Some(
            "does a modem answer there, and as --mode says? without --mode it is found out"
                .to_owned(),
        );
    }
    let number = words.rsplit(' ').next()?.parse::<u32>().ok()?;
    Some(
        match number {
            0 => "this modem firmware does not know the command; a newer one may",
            50 => "the modem takes the command, but not one of its parameters: type, length (4096 bytes) or characters",
            51 => "this modem firmware has the command switched off",
            60 => "the modem could not save its state; a virtual one keeps it in files: is there room on their file system?",
            520 => "is the password of the encrypted key right?",
            523 => "key generation failed in the modem; try once more",
            _ => return None,
        }
        .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_library_has_its_errno() {
        for (number, errno) in [
            (513, "-ENOENT"),
            (514, "-EACCES"),
            (515, "-ENOMEM"),
            (518, "-EPERM"),
            (519, "-EALREADY"),
            (528, "-ECANCELED"),
            (527, UNKNOWN),
            (50, UNKNOWN),
            (9999, UNKNOWN),
        ] {
            let text = format!("+CME ERROR: {number}\r\n");
            let error = StoreError::from_answer(Some(&Verdict::Cme(Some(number))), &text);
            assert_eq!(error.errno(), errno, "{number}");
        }
    }

    #[test]
    fn an_unknown_answer_keeps_the_modems_words_and_not_all_of_them() {
        let error =
            StoreError::from_answer(Some(&Verdict::Cme(None)), "+CME ERROR: a strange day\r\n");
        assert_eq!(
            error.to_string(),
            "the modem answered `+CME ERROR: a strange day`"
        );
        let long = StoreError::from_answer(None, &"x".repeat(9000));
        assert!(long.to_string().len() < 200);
    }

    #[test]
    fn a_number_of_the_modem_has_a_hint_and_an_unknown_one_has_none() {
        let hint = |words: &str| StoreError::Unexpected(words.to_owned()).hint();
        assert!(hint("+CME ERROR: 50").is_some_and(|h| h.contains("parameters")));
        assert!(hint("+CME ERROR: 12345").is_none());
        assert!(hint("ERROR").is_some_and(|h| h.contains("--mode")));
        assert!(
            StoreError::Active
                .hint()
                .is_some_and(|h| h.contains("AT+CFUN=4"))
        );
    }
}
