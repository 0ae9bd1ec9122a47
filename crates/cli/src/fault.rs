//! What the terminal says when something did not work: the facts, the chain of causes, then a hint.

use std::fmt::Write as _;
use std::process::ExitCode;

/// A failed command: 1 = the answer is no, 2 = it could not be tried.
#[derive(Debug)]
pub(crate) struct Fault {
    code: u8,
    error: anyhow::Error,
    hint: Option<String>,
}

/// Result of a command.
pub(crate) type Outcome<T = ()> = Result<T, Fault>;

impl Fault {
    /// It was tried, and the answer is no.
    pub(crate) fn no(message: impl Into<String>) -> Self {
        Self {
            code: 1,
            error: anyhow::Error::msg(message.into()),
            hint: None,
        }
    }

    /// It was tried, and this is why the answer is no.
    pub(crate) fn no_because(error: impl Into<anyhow::Error>) -> Self {
        Self {
            code: 1,
            error: error.into(),
            hint: None,
        }
    }

    /// It could not be tried.
    pub(crate) fn untried(message: impl Into<String>) -> Self {
        Self {
            code: 2,
            error: anyhow::Error::msg(message.into()),
            hint: None,
        }
    }

    /// Whether it could not be tried, so that trying later may help.
    pub(crate) const fn is_untried(&self) -> bool {
        self.code == 2
    }

    /// It ended in a way that scripts must tell from the others; the verb's help names the code.
    pub(crate) fn with_code(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            ..Self::no(message)
        }
    }

    /// The answer is no, and all that there is to say was said: only the exit code is left.
    pub(crate) fn silent(code: u8) -> Self {
        Self::with_code(code, "")
    }

    /// Prints it to stderr, unless it is silent.
    pub(crate) fn print(&self) {
        if !self.sentence().is_empty() {
            eprintln!("{}", self.text());
        }
    }

    /// What happened, without causes and hint.
    pub(crate) fn sentence(&self) -> String {
        self.error.to_string()
    }

    /// What to do about it; printed after the causes.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same where another program's exit codes are kept: its callers know only this one for failures.
    pub(crate) fn or_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    /// What happened, without causes and hint, for somebody who goes on.
    pub(crate) fn warning(&self) -> String {
        format!("warning: {}", self.error)
    }

    /// The text for stderr.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("error: {}", self.error);
        for cause in self.error.chain().skip(1) {
            let _ = write!(text, "\n  caused by: {cause}");
        }
        if let Some(hint) = &self.hint {
            let _ = write!(text, "\n\nhint: {hint}");
        }
        text
    }
}

impl<E: Into<anyhow::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self {
            code: 2,
            error: error.into(),
            hint: None,
        }
    }
}
