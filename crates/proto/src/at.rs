//! AT grammar: commands with quoted multi-line parameters, answers, CME errors (spec/modem-at §1).

use alloc::string::String;
use alloc::vec::Vec;

/// A parsed command line, e.g. `AT%CMNG=0,42,0,"…"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Upper-cased name with its prefix, without `AT`: `%CMNG`, `+CFUN`. Empty for a bare `AT`.
    pub name: String,
    /// What follows the name.
    pub form: Form,
}

/// The shape of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// `AT%ATTESTTOKEN`
    Execute,
    /// `AT+CFUN?`
    Read,
    /// `AT+CFUN=?`
    Test,
    /// `AT+CFUN=4`: the parameters in order; an omitted one is [`Parameter::Omitted`].
    Set(Vec<Parameter>),
}

/// One parameter of a set command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    /// Between quotes, without them; may hold line breaks and commas.
    Text(String),
    /// Unquoted token, blanks trimmed.
    Bare(String),
    /// Nothing between two commas.
    Omitted,
}

/// A modem's whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Information lines, without line ends; a quoted text that spans lines stays one entry.
    pub lines: Vec<String>,
    /// The final result line.
    pub verdict: Verdict,
}

/// The final result line of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// `OK`
    Ok,
    /// `ERROR`: no number.
    Error,
    /// `+CME ERROR: <n>`, or text with CMEE 2 (then `None`).
    Cme(Option<u32>),
    /// `+CMS ERROR: <n>`
    Cms(Option<u32>),
}

/// Why a line is not a command, or a text not an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AtError {
    /// Does not begin with `AT`.
    #[error("not an AT command")]
    NotAt,
    /// A quote that is never closed.
    #[error("quote opened and never closed")]
    OpenQuote,
    /// Characters after a closing quote.
    #[error("text after a closing quote")]
    AfterQuote,
    /// No final result line (`OK`, `ERROR`, `+CME ERROR: n`, `+CMS ERROR: n`).
    #[error("answer without a final result line")]
    NoVerdict,
}

impl Command {
    /// Parses a command line without its terminator.
    ///
    /// # Errors
    /// [`AtError`]; the modem answers `ERROR`.
    pub fn parse(line: &str) -> Result<Self, AtError> {
        let _ = line;
        todo!()
    }
}

impl Answer {
    /// Parses everything the modem printed for one command.
    ///
    /// # Errors
    /// [`AtError::NoVerdict`].
    pub fn parse(text: &str) -> Result<Self, AtError> {
        let _ = text;
        todo!()
    }

    /// The text as the modem prints it: each line and the verdict end in CR LF.
    pub fn print(&self) -> String {
        todo!()
    }

    /// The rest of the first information line that begins with `prefix` (e.g. `%KEYGEN:`), blanks trimmed.
    pub fn info(&self, prefix: &str) -> Option<&str> {
        let _ = prefix;
        todo!()
    }

    /// As [`Answer::info`], without the surrounding quotes if it has them.
    pub fn info_text(&self, prefix: &str) -> Option<&str> {
        let _ = prefix;
        todo!()
    }
}

/// `"text"`; refuses what the grammar cannot carry.
///
/// # Errors
/// The offending character (`"` or NUL).
pub fn quote(text: &str) -> Result<String, char> {
    let _ = text;
    todo!()
}
