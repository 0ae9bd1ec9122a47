//! One command in the owner's words → the wire commands of spec/owner-api §4.
//!
//! Correlation ids are `<command uuid>.<sequence, hexadecimal>` for the command itself, and the same with `.s` behind
//! it for the delete that prepares it. A pre-shared key needs three steps in front of its last write; they are `.s`,
//! `.t` and `.u`, so that a sequence of six hexadecimal digits and a step still make the 8 characters that a device
//! keeps behind the UUID.

use super::Command;
use crate::command::CommandRequest;
use crate::wire::{Action, WireCommand, WireResponse, WireResult};
use crate::{CommandId, CorrelationId, CredentialType, SecTag};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// First number that has no room in a correlation id: 36 characters of UUID, a dot, six digits, a dot and a step make
/// the 45 that a device keeps.
pub const SEQUENCE_END: u32 = 1 << 24;

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

/// A correlation id taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) id: CommandId,
    pub(super) sequence: u32,
    /// `None`: the command itself; otherwise a step in front of it (`s`, `t`, `u`).
    pub(super) step: Option<char>,
}

impl Named {
    /// Reads the forms that [`expand`] writes; `None` for everything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (uuid, rest) = text.split_once('.')?;
        let (digits, step) = match rest.split_once('.') {
            Some((digits, step)) => {
                let mut letters = step.chars();
                let letter = letters.next().filter(|c| matches!(c, 's' | 't' | 'u'))?;
                if letters.next().is_some() {
                    return None;
                }
                (digits, Some(letter))
            }
            None => (rest, None),
        };
        let canonical = !digits.is_empty()
            && digits.len() <= 6
            && digits
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            && (digits == "0" || !digits.starts_with('0'));
        if !canonical {
            return None;
        }
        Some(Self {
            id: uuid.parse().ok()?,
            sequence: u32::from_str_radix(digits, 16).ok()?,
            step,
        })
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

/// A response as a few bytes that differ when the response differs.
pub(super) fn digest(response: &WireResponse) -> String {
    use sha2::{Digest, Sha256};
    let (number, code, message) = match &response.result {
        WireResult::Failed { cme_error, message } => (99u8, *cme_error, message.as_str()),
        WireResult::AtDone { message } => (100, 0, message.as_str()),
        WireResult::ConfigStored => (101, 0, ""),
        WireResult::Finished => (102, 0, ""),
    };
    let mut hash = Sha256::new();
    hash.update(response.correlation.as_str());
    hash.update([0, number]);
    hash.update(code.to_be_bytes());
    hash.update(message);
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
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
        let mut text = format!("{}.{:x}", self.id, self.sequence);
        if let Some(step) = step {
            text.push('.');
            text.push(step);
        }
        WireCommand {
            correlation: CorrelationId::new(&text).expect(
                "36 + 1 + at most 6 + 2 characters of [0-9a-f.-stu]: sequences end at 2^24",
            ),
            action,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::command::ConfigPairs;
    use crate::service::Status;
    use crate::wire::encode_commands;
    use crate::{CommandKind, Timestamp};
    use std::string::ToString;

    const UUID: &str = "0b8f2f1e-7c55-4a55-9d3e-2f6f0a4d7c11";

    fn command(uuid: &str, sequence: u32, request: CommandRequest) -> Command {
        Command {
            id: uuid.parse().unwrap(),
            sequence,
            position: (sequence, 0),
            rule_id: None,
            description: None,
            request,
            status: Status::Pending,
            created_at: Timestamp(0),
            updated_at: None,
            requested_at: None,
            responded_at: None,
            covered_at: None,
            response: None,
            on_error: crate::rules::ErrorPolicy::VendorDefault,
            tries: 0,
            parked: false,
        }
    }

    fn tag(tag: u64) -> SecTag {
        SecTag::new(tag).unwrap()
    }

    /// `id% name=parameters [ignored]` per wire command, the uuid left out.
    fn shown(request: CommandRequest) -> Vec<String> {
        let expansion = expand(&command(UUID, 0xe, request)).unwrap();
        let show = |wire: &WireCommand| {
            let id = &wire.correlation.as_str()[UUID.len()..];
            match &wire.action {
                Action::At {
                    set_command,
                    parameters,
                    ignore,
                } => format!("{id} {set_command}={parameters} {ignore:?}"),
                Action::Config(pairs) => format!("{id} {pairs:?}"),
                Action::Finished => format!("{id} finished"),
            }
        };
        expansion.commands.iter().map(show).collect()
    }

    fn vector(id: &str) -> Vec<u8> {
        let file: serde_json::Value = serde_json::from_str(include_str!(
            "../../../../spec/vectors/provisioning-vectors.json"
        ))
        .unwrap();
        let both = ["vectors", "synthetic_vectors"];
        let found = both
            .iter()
            .flat_map(|list| file[list].as_array().unwrap())
            .find(|entry| entry["id"] == id)
            .unwrap();
        let hex = found["hex"].as_str().unwrap();
        (0..hex.len() / 2)
            .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
            .collect()
    }

    fn bytes(commands: &[Command]) -> Vec<u8> {
        let wire: Vec<WireCommand> = commands
            .iter()
            .flat_map(|command| expand(command).unwrap().commands)
            .collect();
        encode_commands(&wire)
    }

    #[test]
    fn finished_is_the_recorded_bytes() {
        let finished = command(
            "9685ef84-8cac-4257-b5cc-94bc416a1c1d",
            0xd,
            CommandRequest::Finished {},
        );
        assert_eq!(bytes(&[finished]), vector("cmd-finished"));
    }

    #[test]
    fn a_client_key_is_the_recorded_delete_and_keygen() {
        let key = command(
            "89ed369b-0fed-4194-a703-aabb7fe8130b",
            0xe,
            CommandRequest::ClientPrivateKeyGeneration {
                sec_tag: tag(16_842_753),
            },
        );
        assert_eq!(bytes(&[key]), vector("cmd-delete-then-keygen"));
    }

    #[test]
    fn a_setting_is_the_recorded_bytes() {
        let pair = ("provisioning/interval-sec".into(), "99".into());
        let setting = command(
            "e5256918-aba9-4d12-8b87-f2c07affec5d",
            0x14,
            CommandRequest::Config(ConfigPairs(vec![pair])),
        );
        assert_eq!(bytes(&[setting]), vector("cmd-config-interval"));
    }

    #[test]
    fn a_root_ca_and_finished_are_the_generated_bytes() {
        let limits = crate::wire::DecodeLimits {
            records_max: 10,
            config_pairs_max: 10,
            bytes_max: 4096,
        };
        let recorded = vector("syn1-cmd-write-ca");
        let decoded = crate::wire::decode_commands(&recorded, limits).unwrap();
        let Action::At { parameters, .. } = &decoded[1].action else {
            panic!("{decoded:?}");
        };
        let content = parameters.split('"').nth(1).unwrap().into();
        let ca = command(
            UUID,
            1,
            CommandRequest::ServerCertificate {
                sec_tag: tag(16_842_753),
                content,
            },
        );
        let finished = command(
            "0b8f2f1e-7c55-4a55-9d3e-2f6f0a4d7c12",
            2,
            CommandRequest::Finished {},
        );
        assert_eq!(bytes(&[ca, finished]), recorded);
    }

    #[test]
    fn every_kind_expands_as_the_table_says() {
        use CommandRequest as R;
        let sec_tag = tag(42);
        let csr = |attributes: &str, key_usage: Option<&str>| R::CertificateSigningRequest {
            sec_tag,
            attributes: attributes.into(),
            key_usage: key_usage.map(Into::into),
            issue: Some(crate::rules::ClosedLoop::default()),
        };
        let delete = |kind: u8| format!(".e.s %CMNG=3,42,{kind} [513]");
        assert_eq!(
            shown(R::CloudAccessKeyGeneration { sec_tag }),
            [delete(2), ".e %KEYGEN=42,2,0 []".into()]
        );
        for (request, keygen) in [
            (csr("", None), "42,2,0"),
            (csr("CN=a,O=b", None), "42,2,0,\"CN=a,O=b\""),
            (
                csr("CN=a", Some("101010000")),
                "42,2,0,\"CN=a\",\"101010000\"",
            ),
            (csr("", Some("101010000")), "42,2,0,\"\",\"101010000\""),
        ] {
            assert_eq!(
                shown(request),
                [delete(2), format!(".e %KEYGEN={keygen} []")]
            );
        }
        let content = "P\nE\nM\n".to_string();
        assert_eq!(
            shown(R::ClientCertificate {
                sec_tag,
                content: content.clone()
            }),
            [delete(1), ".e %CMNG=0,42,1,\"P\nE\nM\n\" []".into()]
        );
        assert_eq!(
            shown(R::ServerCertificate { sec_tag, content }),
            [delete(0), ".e %CMNG=0,42,0,\"P\nE\nM\n\" []".into()]
        );
        let key = |password: Option<&str>| R::ClientPrivateKey {
            sec_tag,
            content: "KEY".into(),
            password: password.map(Into::into),
        };
        assert_eq!(
            shown(key(None)),
            [delete(2), ".e %CMNG=0,42,2,\"KEY\" []".into()]
        );
        assert_eq!(
            shown(key(Some("pw"))),
            [delete(2), ".e %CMNG=0,42,2,\"KEY\",\"pw\" []".into()]
        );
        assert_eq!(
            shown(R::PreSharedKey {
                sec_tag,
                identity: "me".into(),
                secret: "00ff".into()
            }),
            [
                ".e.s %CMNG=3,42,3 [513]",
                ".e.t %CMNG=3,42,4 [513]",
                ".e.u %CMNG=0,42,4,\"me\" []",
                ".e %CMNG=0,42,3,\"00ff\" []",
            ]
        );
        assert_eq!(
            shown(R::EndorsementKeyGeneration { sec_tag }),
            [".e %KEYGEN=42,8,1 []"]
        );
        assert_eq!(
            shown(R::AtCommand {
                command: "+CPSMS".into(),
                parameters: "1,,,\"a\"".into(),
                ignore_cme_errors: vec![513, 0]
            }),
            [".e +CPSMS=1,,,\"a\" [513, 0]"]
        );
        assert_eq!(shown(R::Finished {}), [".e finished"]);
        assert_eq!(CommandKind::Finished.member(), "finished");
    }

    #[test]
    fn the_longest_id_has_45_characters_and_reads_back() {
        let request = CommandRequest::PreSharedKey {
            sec_tag: tag(1),
            identity: "me".into(),
            secret: "00".into(),
        };
        let last = command(UUID, SEQUENCE_END - 1, request);
        let expansion = expand(&last).unwrap();
        for (wire, step) in expansion
            .commands
            .iter()
            .zip([Some('s'), Some('t'), Some('u'), None])
        {
            let text = wire.correlation.as_str();
            assert!(text.len() <= 45, "{text}");
            let named = Named::parse(text).unwrap();
            assert_eq!(
                (named.id, named.sequence, named.step),
                (last.id, last.sequence, step)
            );
        }
    }

    #[test]
    fn texts_that_we_never_write_name_nothing() {
        for text in ["", "abc", UUID, "0b8f2f1e-7c55-4a55-9d3e-2f6f0a4d7c11."] {
            assert_eq!(Named::parse(text), None, "{text}");
        }
        for rest in [
            "0e", "E", "1.x", "1.ss", "1.", "01234567", "g", "1.s.s", "+1",
        ] {
            assert_eq!(Named::parse(&format!("{UUID}.{rest}")), None, "{rest}");
        }
    }

    #[test]
    fn a_request_whose_secret_is_erased_has_no_wire_form() {
        let mut request = CommandRequest::PreSharedKey {
            sec_tag: tag(1),
            identity: "me".into(),
            secret: "00".into(),
        };
        request.erase_secrets();
        assert!(expand(&command(UUID, 1, request)).is_none());
    }
}
