//! What the settings mean on this machine.

use crate::args::Global;
use sectag_gateway::Settings;
use sectag_gateway::facts::Facts;
use sectag_gateway::findings::{self, Asked, Finding, shell};
use sectag_gateway::verbs::Judge;
use sectag_host::machine;

/// This machine: clock, own names, interfaces, users, files. The `gateway` verbs know the broker as well.
pub(crate) struct World {
    /// Resolve host names of the settings, which takes as long as the resolver does. Whoever sets a key does not wait for it.
    pub(crate) resolve: bool,
    /// The options that say which configuration this is, for commands that are printed; each with a blank before it.
    pub(crate) options: String,
}

impl Judge for World {
    fn findings(&self, settings: &Settings, asked: &Asked) -> Vec<Finding> {
        if !self.resolve {
            return machine::findings(settings, asked);
        }
        let facts = Facts::gather_asked(settings, &machine::machine(settings), asked);
        findings::find_asked(settings, &facts, asked)
    }

    fn here(&self, program: &str, commands: String) -> String {
        with_options(program, commands, &self.options)
    }
}

/// The places that were given as options; what the environment says, it says to the next command as well.
pub(crate) fn options(global: &Global) -> String {
    let mut options = String::new();
    let home = std::env::var_os("SECTAG_HOME");
    if let Some(given) = &global.home
        && home.as_deref() != Some(given.as_os_str())
    {
        options.push_str(&format!(" --home {}", shell(given)));
    }
    if let Some(given) = &global.config_dir {
        options.push_str(&format!(" --config-dir {}", shell(given)));
    }
    options
}

/// Puts the options behind the program's name, where that is the first word of a command and not part of a quoted path.
pub(crate) fn with_options(program: &str, commands: String, options: &str) -> String {
    if options.is_empty() {
        return commands;
    }
    let mut text = String::with_capacity(commands.len() + options.len());
    let mut quoted = false;
    let mut rest = commands.as_str();
    while let Some(c) = rest.chars().next() {
        quoted ^= c == '\'';
        let begins = text.is_empty() || text.ends_with([' ', '`']);
        let named = [program, "sectag"].into_iter().find(|name| {
            rest.strip_prefix(name)
                .is_some_and(|behind| behind.starts_with(' '))
        });
        let taken = match named.filter(|_| begins && !quoted) {
            Some(name) => {
                text.push_str(name);
                text.push_str(options);
                name.len()
            }
            None => {
                text.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_the_configuration_it_was_printed_for() {
        let with = |commands: &str| with_options("tedge", commands.to_owned(), " --home /h");
        assert_eq!(
            with("sectag config unset a; sectag config set b '/x sectag y'"),
            "sectag --home /h config unset a; sectag --home /h config set b '/x sectag y'"
        );
        assert_eq!(
            with("`tedge config set a VALUE` repairs it"),
            "`tedge --home /h config set a VALUE` repairs it"
        );
        assert_eq!(with("chmod o= /sectag"), "chmod o= /sectag");
    }
}
