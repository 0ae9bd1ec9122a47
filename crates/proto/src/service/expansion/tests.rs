//! Each kind of command against the recorded bytes and the table of spec/owner-api §4.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::command::ConfigPairs;
use crate::service::correlation::Named;
use crate::service::{SEQUENCE_END, Status};
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
        "../../../../../spec/vectors/provisioning-vectors.json"
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
fn a_request_whose_secret_is_erased_has_no_wire_form() {
    let mut request = CommandRequest::PreSharedKey {
        sec_tag: tag(1),
        identity: "me".into(),
        secret: "00".into(),
    };
    request.erase_secrets();
    assert!(expand(&command(UUID, 1, request)).is_none());
}
