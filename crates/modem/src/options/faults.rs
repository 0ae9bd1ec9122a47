//! Injected faults: commands that fail although they are right, and power that goes at the worst moment.

use std::fmt;
use std::str::FromStr;

use super::Options;
use crate::Cme;

/// Answers one command with an error and does not run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which commands count, e.g. `AT%KEYGEN=42`; case does not matter.
    pub prefix: String,
    /// Which of them fails; 1 is the first since the modem was made.
    pub nth: u32,
    /// What it answers.
    pub answer: FaultAnswer,
}

/// What an injected fault prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultAnswer {
    /// `ERROR`, whatever CMEE says.
    Error,
    /// A CME error, printed as CMEE says.
    Cme(Cme),
}

/// A power cut at one flash write: from then on the modem answers nothing until it is switched on again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowerCut {
    /// Which change of the credential storage; 1 is the first since the modem was made.
    pub write: u64,
    /// Which state is left behind: the old one or the new one, never half of one.
    pub when: Moment,
}

/// On which side of a flash write the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of it was written.
    Before,
    /// All of it was written, but nobody was told.
    After,
}

/// The grammar of [`Options::inject`].
pub const FAULT_GRAMMAR: &str =
    "AT-PREFIX#K:error, AT-PREFIX#K:CME-NUMBER, write#K:cut-before or write#K:cut-after";

impl Fault {
    /// The `nth` command that begins with `prefix` answers the CME error `number`.
    pub fn cme(prefix: &str, nth: u32, number: u32) -> Self {
        Self {
            prefix: prefix.to_owned(),
            nth,
            answer: FaultAnswer::Cme(Cme(number)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, nth, .. } = self;
        match self.answer {
            FaultAnswer::Error => write!(f, "{prefix} #{nth}: ERROR"),
            FaultAnswer::Cme(cme) => write!(f, "{prefix} #{nth}: CME {}", cme.0),
        }
    }
}

impl Options {
    /// Adds the fault that `spec` describes:
    ///
    /// ```text
    ///   AT%KEYGEN=42#1:error      the first command that begins with AT%KEYGEN=42 answers ERROR
    ///   AT%CMNG=0#3:515           the third write answers CME error 515
    ///   AT#5:60                   the fifth command of all answers CME error 60
    ///   write#2:cut-before        the power goes right before the second flash write …
    ///   write#2:cut-after         … or right after it
    /// ```
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn inject(&mut self, spec: &str) -> Result<(), String> {
        match spec.parse()? {
            Spec::Fault(fault) => self.faults.push(fault),
            Spec::PowerCut(_) if self.power_cut.is_some() => {
                return Err(format!("`{spec}` is a second power cut: one is enough"));
            }
            Spec::PowerCut(cut) => self.power_cut = Some(cut),
        }
        Ok(())
    }
}

enum Spec {
    Fault(Fault),
    PowerCut(PowerCut),
}

impl FromStr for Spec {
    type Err = String;

    fn from_str(spec: &str) -> Result<Self, Self::Err> {
        let wrong = |what: &str| format!("fault `{spec}`: {what}");
        // From the right: a prefix may hold both signs.
        let (at, answer) = spec
            .rsplit_once(':')
            .ok_or_else(|| wrong("no `:` with the answer behind it"))?;
        let (prefix, count) = at
            .rsplit_once('#')
            .ok_or_else(|| wrong("no `#` with a count behind it"))?;
        let nth: u32 = count
            .parse()
            .ok()
            .filter(|nth| *nth > 0)
            .ok_or_else(|| wrong(&format!("`{count}` is not a count from 1")))?;
        if prefix == "write" {
            let when = match answer {
                "cut-before" => Moment::Before,
                "cut-after" => Moment::After,
                _ => return Err(wrong(&format!("`{answer}` cannot happen to a write"))),
            };
            return Ok(Self::PowerCut(PowerCut {
                write: u64::from(nth),
                when,
            }));
        }
        let is_at = prefix
            .get(..2)
            .is_some_and(|at| at.eq_ignore_ascii_case("AT"));
        if !is_at {
            return Err(wrong(&format!(
                "`{prefix}` is neither `write` nor the beginning of an AT command"
            )));
        }
        let answer = match answer.parse() {
            Ok(number) => FaultAnswer::Cme(Cme(number)),
            Err(_) if answer == "error" => FaultAnswer::Error,
            Err(_) => return Err(wrong(&format!("`{answer}` is no answer"))),
        };
        Ok(Self::Fault(Fault {
            prefix: prefix.to_owned(),
            nth,
            answer,
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn specs_become_faults_and_power_cuts() {
        let mut options = Options::default();
        options.inject("AT%CMNG=0,42#3:515").unwrap();
        options.inject("AT#XPROV#1:error").unwrap();
        options.inject("write#2:cut-after").unwrap();
        assert_eq!(options.faults[0], Fault::cme("AT%CMNG=0,42", 3, 515));
        assert_eq!(options.faults[1].to_string(), "AT#XPROV #1: ERROR");
        assert_eq!(
            options.power_cut,
            Some(PowerCut {
                write: 2,
                when: Moment::After
            })
        );
    }

    #[test]
    fn what_is_wrong_with_a_spec_is_said() {
        for (spec, what) in [
            ("AT%CMNG", "no `:`"),
            ("AT%CMNG:5", "no `#`"),
            ("AT%CMNG#0:5", "not a count from 1"),
            ("AT%CMNG#x:5", "not a count from 1"),
            ("CMNG#1:5", "neither `write` nor"),
            ("AT%CMNG#1:cut-before", "is no answer"),
            ("write#1:515", "cannot happen to a write"),
        ] {
            let error = Options::default().inject(spec).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
        let mut options = Options::default();
        options.inject("write#1:cut-before").unwrap();
        assert!(options.inject("write#2:cut-before").is_err());
    }
}
