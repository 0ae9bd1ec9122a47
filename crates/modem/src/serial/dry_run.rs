//! Asks the real modem, changes nothing.

use std::fmt;

use sectag_proto::at::{Command, Form, Parameter};

use super::mask::masked;
use crate::{LineError, Modem};

/// Lets questions through and answers `OK` to everything that would change something, which it only tells about.
/// `AT+CMEE=` goes through: it changes how errors print, and whoever changes it puts it back.
pub struct DryRun<M, F> {
    modem: M,
    tell: F,
}

impl<M: Modem, F: FnMut(&str)> DryRun<M, F> {
    /// `tell` gets each line that was not sent, without secrets.
    pub const fn new(modem: M, tell: F) -> Self {
        Self { modem, tell }
    }
}

impl<M: Modem, F: FnMut(&str)> Modem for DryRun<M, F> {
    fn line(&mut self, at: &str) -> Result<String, LineError> {
        if only_asks(at) {
            return self.modem.line(at);
        }
        (self.tell)(&masked(at));
        Ok("OK\r\n".to_owned())
    }

    fn notifications(&mut self) -> Vec<String> {
        self.modem.notifications()
    }

    fn alters_line_ends(&self) -> bool {
        self.modem.alters_line_ends()
    }
}

impl<M: fmt::Debug, F> fmt::Debug for DryRun<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DryRun").field(&self.modem).finish()
    }
}

/// Commands that only ask, in their forms that only ask. What is not known to be harmless is not sent.
fn only_asks(at: &str) -> bool {
    let Ok(command) = Command::parse(at) else {
        return false;
    };
    match (command.name.as_str(), &command.form) {
        (_, Form::Read | Form::Test) => true,
        (
            "" | "+CGSN" | "+CGMI" | "+CGMM" | "+CGMR" | "%SHORTSWVER" | "%HWVERSION"
            | "%XMODEMUUID" | "%DEVICEUUID" | "%ATTESTTOKEN" | "%JWT" | "+CIMI" | "%XICCID",
            Form::Execute,
        ) => true,
        ("+CMEE" | "+CGSN" | "%ATTESTTOKEN" | "%JWT", Form::Set(_)) => true,
        ("%CMNG", Form::Set(parameters)) => matches!(
            parameters.first(),
            Some(Parameter::Bare(operation)) if operation == "1" || operation == "2"
        ),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::VirtualModem;

    #[test]
    fn questions_are_answered_and_changes_are_told() {
        let mut told = Vec::new();
        let mut modem = DryRun::new(VirtualModem::from_seed(1), |line: &str| {
            told.push(line.to_owned())
        });
        assert!(modem.line("AT+CGSN").unwrap().len() > 15);
        assert_eq!(modem.line("AT%CMNG=0,42,3,\"c0ffee\"").unwrap(), "OK\r\n");
        assert_eq!(modem.line("AT+CFUN=4").unwrap(), "OK\r\n");
        assert_eq!(modem.line("AT+CFUN?").unwrap(), "+CFUN: 0\r\nOK\r\n");
        assert_eq!(modem.line("AT%CMNG=1,42").unwrap(), "OK\r\n");
        assert_eq!(told, ["AT%CMNG=0,42,3,\"****\"", "AT+CFUN=4"]);
    }

    #[test]
    fn what_is_not_known_to_be_harmless_is_not_sent() {
        for line in [
            "AT%CMNG=3,1,0",
            "AT%KEYGEN=1,2,0",
            "AT+CFUN=1",
            "AT%XPOFWARN=1,30",
            "AT+CGDCONT=0,\"IP\"",
            "not AT",
            "",
        ] {
            assert!(!only_asks(line), "{line}");
        }
    }
}
