//! The wire commands of a request as people may read them before anything runs: secrets as digests.

use super::expansion::wire_of;
use crate::CommandId;
use crate::command::{CommandRequest, SecretField};
use crate::secret::SecretText;
use crate::wire::Action;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// One wire command. `Display` is one line of text; line feeds of PEM stay line feeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Planned {
    /// An AT command as the device builds it.
    At {
        /// `AT%CMNG=3,16842753,2`
        line: String,
        /// CME numbers that count as success.
        ignored: Vec<u32>,
    },
    /// Pairs for the device's settings.
    Config(Vec<(String, String)>),
    /// Provisioning is complete.
    Finished,
}

/// What a device runs for this request, in order. A secret stands there as `<sha256 0123456789abcdef>`.
pub fn planned(request: &CommandRequest) -> Vec<Planned> {
    let mut shown = request.clone();
    shown.erase_secrets();
    let digests = shown.digests();
    shown.restore_secrets(
        digests
            .into_iter()
            .map(|digest| SecretText::new(format!("<sha256 {digest}>")))
            .collect(),
    );
    let wire = wire_of(CommandId::from_bytes([0; 16]), 0, &shown);
    let lines = wire.into_iter().flatten().map(|wire| match wire.action {
        Action::At {
            set_command,
            parameters,
            ignore,
        } => Planned::At {
            line: format!("AT{set_command}={parameters}"),
            ignored: ignore,
        },
        Action::Config(pairs) => Planned::Config(pairs),
        Action::Finished => Planned::Finished,
    });
    lines.collect()
}

impl CommandRequest {
    /// Digests of its secrets, in the order of [`CommandRequest::secrets`].
    fn digests(&mut self) -> Vec<String> {
        let fields = self.secret_fields().into_iter();
        fields.map(|field| SecretField::digest(field)).collect()
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At { line, ignored } => {
                f.write_str(line)?;
                match &ignored[..] {
                    [] => Ok(()),
                    codes => write!(f, "    (CME {codes:?} counts as success)"),
                }
            }
            Self::Config(pairs) => {
                f.write_str("config")?;
                pairs
                    .iter()
                    .try_for_each(|(key, value)| write!(f, " {key}={value}"))
            }
            Self::Finished => f.write_str("finished"),
        }
    }
}
