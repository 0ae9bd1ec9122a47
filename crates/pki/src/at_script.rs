//! The AT lines that put credentials under a sec tag, for pasting into a terminal (spec/modem-at §4, §9).
//!
//! ```text
//! AT host   AT+CFUN=4                                   shell   at AT+CFUN=4
//!           AT%CMNG=0,24,0,"-----BEGIN CERTIFICATE-----         at 'AT%CMNG=0,24,0,"-----BEGIN …\nMIIB…\n…"'
//!           MIIB…
//!           -----END CERTIFICATE-----"
//!           AT%CMNG=1,24                                        at AT%CMNG=1,24
//! ```
//!
//! The text goes without white space at its end, as the vendor's tools send it. In the shell a line feed is typed as
//! backslash and n, and the firmware makes CR LF of it, so the modem keeps another text there and lists another digest:
//! [`Script::digests`] tells the one that the last line of the script must show.

use std::fmt;

use zeroize::Zeroizing;

use crate::sha256;

/// How the lines reach the modem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The terminal talks to the modem: the AT host, the AT client sample.
    AtHost,
    /// The terminal talks to a shell: `at …`.
    Shell,
}

/// What a text is, by its number in `%CMNG`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Type 0.
    RootCa,
    /// Type 1.
    ClientCertificate,
    /// Type 2.
    PrivateKey,
}

impl Kind {
    /// The number in `%CMNG`.
    pub const fn number(self) -> u8 {
        match self {
            Self::RootCa => 0,
            Self::ClientCertificate => 1,
            Self::PrivateKey => 2,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RootCa => "root CA",
            Self::ClientCertificate => "client certificate",
            Self::PrivateKey => "private key",
        })
    }
}

/// What the script is made of.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// 0 to [`SEC_TAG_MAX`].
    pub sec_tag: u32,
    /// How the lines reach the modem.
    pub dialect: Dialect,
    /// Delete what lies there first: some firmware answers 519 to a key over a key.
    pub delete_first: bool,
}

/// The largest tag for users (spec/modem-at §4).
pub const SEC_TAG_MAX: u32 = 2_147_483_647;

/// What AT host and shell take as one command, in bytes (spec/modem-at §9). The modem's own limit for one certificate,
/// chain or key is the same number (§4), so the command's is reached first.
pub const COMMAND_BYTES_MAX: usize = 4096;

/// A script and what it leaves behind.
pub struct Script {
    /// Lines that end in LF. Zeroized on drop: there may be a key in it.
    pub text: Zeroizing<String>,
    /// What the modem keeps: type, and SHA-256 of the stored text in upper-case hex as `AT%CMNG=1` lists it.
    pub digests: Vec<(Kind, String)>,
}

/// Why there is no script.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// The modem keeps tags above for itself.
    #[error("sec tag {0} is the modem's own; yours are 0 to {SEC_TAG_MAX}")]
    Tag(u32),
    /// `"` and `'` end the text early, a backslash would be taken for an escape, and AT commands are ASCII.
    #[error("the {kind} has {what} in line {line}, which cannot travel in an AT command")]
    Character {
        /// Which text.
        kind: Kind,
        /// What was found.
        what: String,
        /// Counted from 1.
        line: usize,
    },
    /// Nothing to write.
    #[error("the {0} is empty")]
    Empty(Kind),
    /// More than one command holds.
    #[error(
        "the command that writes the {kind} has {bytes} bytes, and the modem takes {COMMAND_BYTES_MAX}"
    )]
    TooLong {
        /// Which text.
        kind: Kind,
        /// Length of the command.
        bytes: usize,
    },
}

/// The lines that write `credentials`, in the order CA, client certificate, private key.
///
/// # Errors
/// [`ScriptError`].
pub fn script(credentials: &[(Kind, &str)], options: &Options) -> Result<Script, ScriptError> {
    let tag = options.sec_tag;
    if tag > SEC_TAG_MAX {
        return Err(ScriptError::Tag(tag));
    }
    let mut sorted: Vec<&(Kind, &str)> = credentials.iter().collect();
    sorted.sort_by_key(|(kind, _)| *kind);
    // Room for all of it at once: growing would leave copies of a key behind.
    let room: usize = credentials
        .iter()
        .map(|(_, text)| text.len() * 2 + 100)
        .sum();
    let mut text = Zeroizing::new(String::with_capacity(room + 200));
    let mut digests = Vec::new();
    let plain = |text: &mut String, line: &str| {
        if options.dialect == Dialect::Shell {
            text.push_str("at ");
        }
        text.push_str(line);
        text.push('\n');
    };
    plain(&mut text, "AT+CFUN=4");
    for (kind, content) in sorted {
        let lines = lines(*kind, content)?;
        let number = kind.number();
        if options.delete_first {
            plain(&mut text, &format!("AT%CMNG=3,{tag},{number}"));
        }
        let (before, between, after, stored) = match options.dialect {
            Dialect::AtHost => ("", "\n", "\n", "\n"),
            Dialect::Shell => ("at '", "\\n", "'\n", "\r\n"),
        };
        text.push_str(before);
        let command = format!("AT%CMNG=0,{tag},{number},\"");
        text.push_str(&command);
        let mut kept = Zeroizing::new(String::with_capacity(content.len() * 2));
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                text.push_str(between);
                kept.push_str(stored);
            }
            text.push_str(line);
            kept.push_str(line);
        }
        text.push('"');
        text.push_str(after);
        let bytes = command.len() + kept.len() + 1;
        if bytes > COMMAND_BYTES_MAX {
            return Err(ScriptError::TooLong { kind: *kind, bytes });
        }
        digests.push((*kind, crate::hex(&sha256(kept.as_bytes())).to_uppercase()));
    }
    plain(&mut text, &format!("AT%CMNG=1,{tag}"));
    Ok(Script { text, digests })
}

/// The lines of a text without white space at its end; CR LF counts as one end of line.
fn lines(kind: Kind, content: &str) -> Result<Vec<&str>, ScriptError> {
    let content = content.trim_end();
    if content.is_empty() {
        return Err(ScriptError::Empty(kind));
    }
    let lines: Vec<&str> = content
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .collect();
    for (at, line) in lines.iter().enumerate() {
        let bad = line
            .chars()
            .find(|c| !matches!(c, ' '..='~') || matches!(c, '"' | '\'' | '\\'));
        if let Some(bad) = bad {
            return Err(ScriptError::Character {
                kind,
                what: match bad {
                    '"' | '\'' | '\\' => format!("`{bad}`"),
                    other => format!("U+{:04X}", u32::from(other)),
                },
                line: at + 1,
            });
        }
    }
    Ok(lines)
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("text", &"****")
            .field("digests", &self.digests)
            .finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CA: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    const OPTIONS: Options = Options {
        sec_tag: 24,
        dialect: Dialect::AtHost,
        delete_first: false,
    };

    #[test]
    fn the_at_host_gets_the_lines_as_they_are() {
        let script = script(&[(Kind::RootCa, CA)], &OPTIONS).unwrap();
        assert_eq!(
            script.text.as_str(),
            "AT+CFUN=4\n\
             AT%CMNG=0,24,0,\"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\"\n\
             AT%CMNG=1,24\n"
        );
        let digest = crate::hex(&sha256(CA.trim_end().as_bytes())).to_uppercase();
        assert_eq!(script.digests, [(Kind::RootCa, digest)]);
    }

    #[test]
    fn the_shell_gets_one_line_and_keeps_cr_lf() {
        let options = Options {
            dialect: Dialect::Shell,
            delete_first: true,
            ..OPTIONS
        };
        let script = script(&[(Kind::RootCa, CA)], &options).unwrap();
        assert_eq!(
            script.text.as_str(),
            "at AT+CFUN=4\n\
             at AT%CMNG=3,24,0\n\
             at 'AT%CMNG=0,24,0,\"-----BEGIN CERTIFICATE-----\\nMIIB\\n-----END CERTIFICATE-----\"'\n\
             at AT%CMNG=1,24\n"
        );
        let stored = CA.trim_end().replace('\n', "\r\n");
        let digest = crate::hex(&sha256(stored.as_bytes())).to_uppercase();
        assert_eq!(script.digests, [(Kind::RootCa, digest)]);
    }

    #[test]
    fn the_ca_comes_first_and_the_key_last_and_nothing_of_it_is_printed() {
        let given = [
            (Kind::PrivateKey, "key"),
            (Kind::RootCa, CA),
            (Kind::ClientCertificate, "c"),
        ];
        let script = script(&given, &OPTIONS).unwrap();
        let order: Vec<u8> = script
            .digests
            .iter()
            .map(|(kind, _)| kind.number())
            .collect();
        assert_eq!(order, [0, 1, 2]);
        assert!(!format!("{script:?}").contains("key"));
    }

    #[test]
    fn a_text_that_cannot_travel_is_refused_with_its_place() {
        let refused = |text: &str| script(&[(Kind::RootCa, text)], &OPTIONS).unwrap_err();
        assert!(matches!(
            refused("a\nb\"c"),
            ScriptError::Character { line: 2, .. }
        ));
        assert!(
            refused("\u{feff}a")
                .to_string()
                .contains("U+FEFF in line 1")
        );
        assert_eq!(refused(" \n"), ScriptError::Empty(Kind::RootCa));
        assert!(matches!(
            refused(&"a".repeat(4097)),
            ScriptError::TooLong { .. }
        ));
        let options = Options {
            sec_tag: SEC_TAG_MAX + 1,
            ..OPTIONS
        };
        assert!(script(&[], &options).is_err());
    }
}
