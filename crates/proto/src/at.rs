//! AT grammar: commands with quoted multi-line parameters, answers, CME errors (spec/modem-at §1).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

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
    /// A quote in the middle of an unquoted parameter.
    #[error("quote inside an unquoted parameter")]
    StrayQuote,
    /// Characters that no command name has, or text after `?`.
    #[error("not a command name")]
    Name,
    /// No final result line (`OK`, `ERROR`, `+CME ERROR: n`, `+CMS ERROR: n`).
    #[error("answer without a final result line")]
    NoVerdict,
}

impl Command {
    /// Parses a command line, with or without its terminator. The name is case-insensitive; blanks around parameters
    /// are dropped; line breaks inside quotes belong to the text.
    ///
    /// # Errors
    /// [`AtError`]; the modem answers `ERROR`.
    pub fn parse(line: &str) -> Result<Self, AtError> {
        let line = line.trim_matches(BLANKS);
        let (at, rest) = line.split_at_checked(2).ok_or(AtError::NotAt)?;
        if !at.eq_ignore_ascii_case("AT") {
            return Err(AtError::NotAt);
        }
        let name_end = rest.find(['=', '?']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(name_end);
        let name = name.trim_matches(BLANKS);
        if !name.bytes().all(is_name) {
            return Err(AtError::Name);
        }
        let form = match rest.trim_matches(BLANKS) {
            "" => Form::Execute,
            "?" => Form::Read,
            "=?" => Form::Test,
            rest => match rest.strip_prefix('=') {
                Some(parameters) => Form::Set(parse_parameters(parameters)?),
                None => return Err(AtError::Name),
            },
        };
        Ok(Self {
            name: name.to_ascii_uppercase(),
            form,
        })
    }
}

impl Answer {
    /// Parses everything the modem printed for one command: the first final result line outside quotes ends it.
    /// Lines after it are notifications and are dropped; blank lines as well.
    ///
    /// # Errors
    /// [`AtError::NoVerdict`], also when a quote is never closed: the answer was cut.
    pub fn parse(text: &str) -> Result<Self, AtError> {
        let mut lines = Vec::new();
        for line in Lines(text) {
            if let Some(verdict) = Verdict::parse(line) {
                return Ok(Self { lines, verdict });
            }
            if !line.trim_matches(BLANKS).is_empty() {
                lines.push(line.into());
            }
        }
        Err(AtError::NoVerdict)
    }

    /// The text as the modem prints it: each line and the verdict end in CR LF.
    pub fn print(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            text += line;
            text += "\r\n";
        }
        text + &format!("{}\r\n", self.verdict)
    }

    /// The rest of the first information line that begins with `prefix` (e.g. `%KEYGEN:`), blanks trimmed.
    pub fn info(&self, prefix: &str) -> Option<&str> {
        self.lines
            .iter()
            .find_map(|line| line.strip_prefix(prefix))
            .map(|rest| rest.trim_matches(BLANKS))
    }

    /// As [`Answer::info`], without the surrounding quotes if it has them.
    pub fn info_text(&self, prefix: &str) -> Option<&str> {
        let info = self.info(prefix)?;
        Some(
            info.strip_prefix('"')
                .and_then(|info| info.strip_suffix('"'))
                .unwrap_or(info),
        )
    }
}

impl Verdict {
    /// The verdict that `line` is; `None` for any other line.
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.trim_matches(BLANKS);
        let number = |rest: &str| {
            let digits = rest.trim_matches(BLANKS);
            // `parse` alone would take a plus sign.
            digits
                .bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| digits.parse().ok())
                .flatten()
        };
        match line {
            "OK" => Some(Self::Ok),
            "ERROR" => Some(Self::Error),
            _ => match (line.strip_prefix(CME), line.strip_prefix(CMS)) {
                (Some(rest), _) => Some(Self::Cme(number(rest))),
                (_, Some(rest)) => Some(Self::Cms(number(rest))),
                _ => None,
            },
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("OK"),
            Self::Error => f.write_str("ERROR"),
            Self::Cme(Some(number)) => write!(f, "{CME} {number}"),
            Self::Cme(None) => write!(f, "{CME} unknown"),
            Self::Cms(Some(number)) => write!(f, "{CMS} {number}"),
            Self::Cms(None) => write!(f, "{CMS} unknown"),
        }
    }
}

/// `"text"`; refuses what the grammar cannot carry.
///
/// # Errors
/// The offending character (`"` or NUL).
pub fn quote(text: &str) -> Result<String, char> {
    match text.chars().find(|c| matches!(c, '"' | '\0')) {
        Some(offending) => Err(offending),
        None => Ok(format!("\"{text}\"")),
    }
}

/// What follows the `=`; nothing at all means no parameters.
fn parse_parameters(text: &str) -> Result<Vec<Parameter>, AtError> {
    let mut rest = text.trim_matches(BLANKS);
    let mut parameters = Vec::new();
    if rest.is_empty() {
        return Ok(parameters);
    }
    loop {
        rest = rest.trim_start_matches(BLANKS);
        if let Some(quoted) = rest.strip_prefix('"') {
            let (text, after) = quoted.split_once('"').ok_or(AtError::OpenQuote)?;
            parameters.push(Parameter::Text(text.into()));
            rest = after.trim_start_matches(BLANKS);
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (bare, after) = rest.split_at(end);
            let bare = bare.trim_end_matches(BLANKS);
            if bare.contains('"') {
                return Err(AtError::StrayQuote);
            }
            parameters.push(if bare.is_empty() {
                Parameter::Omitted
            } else {
                Parameter::Bare(bare.into())
            });
            rest = after;
        }
        if rest.is_empty() {
            return Ok(parameters);
        }
        rest = rest.strip_prefix(',').ok_or(AtError::AfterQuote)?;
    }
}

/// The lines of an answer, without line ends; a line end inside quotes is data. An open quote ends the iteration.
struct Lines<'a>(&'a str);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.0.is_empty() {
            return None;
        }
        let mut quoted = false;
        for (at, byte) in self.0.bytes().enumerate() {
            match byte {
                b'"' => quoted = !quoted,
                b'\r' | b'\n' if !quoted => {
                    let (line, rest) = self.0.split_at(at);
                    self.0 = &rest[1..];
                    return Some(line);
                }
                _ => {}
            }
        }
        let last = core::mem::take(&mut self.0);
        (!quoted).then_some(last)
    }
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';')
}

/// What may stand around commands, parameters and lines. With CR as terminator the LF of a CR LF leads the next command.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];
const CME: &str = "+CME ERROR:";
const CMS: &str = "+CMS ERROR:";
