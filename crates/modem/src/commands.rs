//! The commands, by chapter of spec/modem-at: each handler returns the information lines or the failure.

mod arguments;
mod credential;
mod query;
mod signing;
#[cfg(test)]
mod tests;
mod token;

use sectag_proto::at::{Command, Form};

use crate::cme::Failure;
use crate::virtual_modem::VirtualModem;
use crate::{Cme, commands::arguments::Arguments};

/// Information lines without line ends.
pub(crate) type Lines = Result<Vec<String>, Failure>;

/// Finds and runs the command. Unknown names and forms that a command does not have answer `ERROR`.
pub(crate) fn run(modem: &mut VirtualModem, command: &Command) -> Lines {
    let name = command.name.as_str();
    match &command.form {
        Form::Set(parameters) => {
            let arguments = Arguments(parameters);
            match name {
                "+CMEE" => query::set_error_reporting(modem, arguments),
                "+CFUN" => query::set_functional_mode(modem, arguments),
                "+CGEREP" | "%XTIME" | "+CEREG" => query::subscribe(modem, name, arguments),
                "+CGSN" => query::serial_number(modem, arguments),
                "%CMNG" => credential::manage(modem, arguments),
                "%KEYGEN" => token::generate_key(modem, arguments),
                "%ATTESTTOKEN" => token::attest(modem, arguments),
                "%CLAIMTOKEN" => token::claim(arguments),
                "%JWT" => token::jwt(modem, arguments),
                "#SECTAGSIGN" if modem.options.remote_signing => signing::lend(modem, arguments),
                "%KEYINJECT" => Err(Cme::DISABLED.into()),
                _ => Err(Failure::Plain),
            }
        }
        Form::Execute => match name {
            "" => Ok(Vec::new()),
            "%ATTESTTOKEN" => token::attest(modem, Arguments(&[])),
            "%JWT" => token::jwt(modem, Arguments(&[])),
            _ => query::identity(modem, name),
        },
        Form::Read => query::read(modem, name),
        Form::Test => query::test(name),
    }
}
