//! One command in the owner's words → the wire commands of spec/owner-api §4.

#[cfg(test)]
mod tests;

use super::Command;
use super::correlation::Named;
use crate::command::CommandRequest;
use crate::wire::{Action, WireCommand};
use crate::{CommandId, CorrelationId, CredentialType, SecTag};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Characters of one `AT…=…` that a device with default options takes (spec/device-protocol §4: a longer one makes
/// the library crash).
pub const AT_CHARS_MAX_DEFAULT: usize = 2047;

/// "Not found": a delete in front may find nothing to delete.
const CME_NOT_FOUND: u32 = 513;

/// A CSR answer with a short subject: about 570 characters (spec/modem-at §5), quotes, name and result line.
const CSR_ANSWER_BYTES: usize = 600;
/// What one character of subject attributes adds to a CSR answer: base64 of itself and its share of the DER around it.
const CSR_ATTRIBUTE_BYTES: usize = 2;
/// A public key answer: about 330 characters (spec/modem-at §5), quotes, name and result line.
const PUBLIC_KEY_ANSWER_BYTES: usize = 350;
/// `OK`, `+CME ERROR: 513`, or the library's sentence about a settings key.
const SHORT_ANSWER_BYTES: usize = 64;
/// A free AT command: most SET commands answer `OK`, some a line. A guess that only decides how many share a batch.
const AT_ANSWER_BYTES: usize = 256;
/// Around each message: array, text heads, the number, and the correlation id itself.
const ANSWER_FRAME_BYTES: usize = 8 + CorrelationId::CHARS_MAX;

/// The wire form of one command.
#[derive(Debug)]
pub(super) struct Expansion {
    /// In order of execution; the last one is the command itself. Never split over two batches.
    pub(super) commands: Vec<WireCommand>,
    /// Bytes of report to expect, when sharing a batch.
    pub(super) report_bytes: usize,
    /// Bytes of report that even a success without surprises needs.
    pub(super) report_bytes_min: usize,
}

/// The wire commands of a request under this id and number; `None` as in [`expand`].
pub(super) fn wire_of(
    id: CommandId,
    sequence: u32,
    request: &CommandRequest,
) -> Option<Vec<WireCommand>> {
    Steps { id, sequence }.of(request)
}

/// Expands; `None` when a secret is missing, which only a store that lost its key can cause.
pub(super) fn expand(command: &Command) -> Option<Expansion> {
    let commands = wire_of(command.id, command.sequence, &command.request)?;
    let frames = commands.len() * ANSWER_FRAME_BYTES;
    let short = (commands.len() - 1) * SHORT_ANSWER_BYTES;
    let (likely, least) = main_answer_bytes(&command.request);
    Some(Expansion {
        commands,
        report_bytes: frames + short + likely,
        report_bytes_min: frames + short + least,
    })
}

/// Bytes of the answer to the command itself: expected, and at least.
fn main_answer_bytes(request: &CommandRequest) -> (usize, usize) {
    use CommandRequest as R;
    let known = match request {
        R::AtCommand { .. } => return (AT_ANSWER_BYTES, 0),
        R::CertificateSigningRequest { attributes, .. } => {
            CSR_ANSWER_BYTES + CSR_ATTRIBUTE_BYTES * attributes.len()
        }
        R::CloudAccessKeyGeneration { .. } => CSR_ANSWER_BYTES,
        R::ClientPrivateKeyGeneration { .. } | R::EndorsementKeyGeneration { .. } => {
            PUBLIC_KEY_ANSWER_BYTES
        }
        _ => SHORT_ANSWER_BYTES,
    };
    (known, known)
}

/// Characters of `AT<set_command>=<parameters>`; counted in bytes, as the device's buffer does.
pub(super) fn at_chars(command: &WireCommand) -> usize {
    match &command.action {
        Action::At {
            set_command,
            parameters,
            ..
        } => "AT=".len() + set_command.len() + parameters.len(),
        Action::Config(_) | Action::Finished => 0,
    }
}

/// Steps in front of the command itself, by kind.
pub(super) const fn steps_in_front(request: &CommandRequest) -> &'static [char] {
    use CommandRequest as R;
    match request {
        R::EndorsementKeyGeneration { .. }
        | R::Config(_)
        | R::AtCommand { .. }
        | R::Finished {} => &[],
        R::PreSharedKey { .. } => &['s', 't', 'u'],
        _ => &['s'],
    }
}

/// The codes that count as success for a step or, with `None`, for the command itself.
pub(super) fn ignored(request: &CommandRequest, step: Option<char>) -> &[u32] {
    match (step, request) {
        (Some('s' | 't'), _) => &[CME_NOT_FOUND],
        (
            None,
            CommandRequest::AtCommand {
                ignore_cme_errors, ..
            },
        ) => ignore_cme_errors,
        _ => &[],
    }
}

struct Steps {
    id: CommandId,
    sequence: u32,
}

impl Steps {
    fn of(&self, request: &CommandRequest) -> Option<Vec<WireCommand>> {
        use CommandRequest as R;
        use CredentialType as T;
        Some(match request {
            R::ClientPrivateKeyGeneration { sec_tag } => {
                self.keygen(*sec_tag, format!("{sec_tag},2,1"))
            }
            R::CloudAccessKeyGeneration { sec_tag } => {
                self.keygen(*sec_tag, format!("{sec_tag},2,0"))
            }
            R::CertificateSigningRequest {
                sec_tag,
                attributes,
                key_usage,
                ..
            } => {
                let mut parameters = format!("{sec_tag},2,0");
                if !attributes.is_empty() || key_usage.is_some() {
                    parameters += &format!(",\"{attributes}\"");
                }
                if let Some(bits) = key_usage {
                    parameters += &format!(",\"{bits}\"");
                }
                self.keygen(*sec_tag, parameters)
            }
            R::ClientCertificate { sec_tag, content } => {
                self.replace(*sec_tag, T::CLIENT_CERTIFICATE, content, None)
            }
            R::ServerCertificate { sec_tag, content } => {
                self.replace(*sec_tag, T::ROOT_CA, content, None)
            }
            R::ClientPrivateKey {
                sec_tag,
                content,
                password,
            } => {
                let password = match password {
                    Some(field) => Some(field.given()?.expose().as_str()),
                    None => None,
                };
                let content = content.given()?.expose();
                self.replace(*sec_tag, T::CLIENT_PRIVATE_KEY, content, password)
            }
            R::PreSharedKey {
                sec_tag,
                identity,
                secret,
            } => vec![
                self.delete('s', *sec_tag, T::PSK),
                self.delete('t', *sec_tag, T::PSK_IDENTITY),
                self.write(Some('u'), *sec_tag, T::PSK_IDENTITY, identity, None),
                self.write(None, *sec_tag, T::PSK, secret.given()?.expose(), None),
            ],
            R::EndorsementKeyGeneration { sec_tag } => {
                vec![self.at(None, "%KEYGEN", format!("{sec_tag},8,1"), &[])]
            }
            R::Config(pairs) => vec![self.wire(None, Action::Config(pairs.0.clone()))],
            R::AtCommand {
                command,
                parameters,
                ignore_cme_errors,
            } => vec![self.at(None, command, parameters.clone(), ignore_cme_errors)],
            R::Finished {} => vec![self.wire(None, Action::Finished)],
        })
    }

    fn keygen(&self, tag: SecTag, parameters: String) -> Vec<WireCommand> {
        vec![
            self.delete('s', tag, CredentialType::CLIENT_PRIVATE_KEY),
            self.at(None, "%KEYGEN", parameters, &[]),
        ]
    }

    fn replace(
        &self,
        tag: SecTag,
        kind: CredentialType,
        content: &str,
        password: Option<&str>,
    ) -> Vec<WireCommand> {
        vec![
            self.delete('s', tag, kind),
            self.write(None, tag, kind, content, password),
        ]
    }

    fn delete(&self, step: char, tag: SecTag, kind: CredentialType) -> WireCommand {
        let parameters = format!("3,{tag},{}", kind.0);
        self.at(Some(step), "%CMNG", parameters, &[CME_NOT_FOUND])
    }

    fn write(
        &self,
        step: Option<char>,
        tag: SecTag,
        kind: CredentialType,
        content: &str,
        password: Option<&str>,
    ) -> WireCommand {
        let mut parameters = format!("0,{tag},{},\"{content}\"", kind.0);
        if let Some(password) = password {
            parameters += &format!(",\"{password}\"");
        }
        self.at(step, "%CMNG", parameters, &[])
    }

    fn at(
        &self,
        step: Option<char>,
        set_command: &str,
        parameters: String,
        ignore: &[u32],
    ) -> WireCommand {
        self.wire(
            step,
            Action::At {
                set_command: set_command.into(),
                parameters,
                ignore: ignore.to_vec(),
            },
        )
    }

    fn wire(&self, step: Option<char>, action: Action) -> WireCommand {
        let named = Named {
            id: self.id,
            sequence: self.sequence,
            step,
        };
        WireCommand {
            correlation: named.text(),
            action,
        }
    }
}
