//! KEYGEN answers looked at as they are reported: whose signature, which device, tag and digest, and for a CSR the subject
//! and the key usage (spec/device-protocol §2.3). The verdict stands beside the answer and changes nothing of it.

use super::identity::convention_name;
use sectag_pki::csr::{self, Csr};
use sectag_proto::command::CommandRequest;
use sectag_proto::es256::{PublicKey, VerifyEs256};
use sectag_proto::service::{Changes, Command, Status, Verdict};
use sectag_proto::token::{KeygenBody, KeygenOutput, TokenError};
use sectag_proto::{CommandId, DeviceId, Verified};

/// Key usage of a CSR when the command names none (spec/device-protocol §2.4).
const KEY_USAGE_DEFAULT: &str = "111010000";

/// An answer whose origin is not proven.
#[derive(Debug)]
pub(crate) struct Unproven {
    pub(crate) command: CommandId,
    pub(crate) verdict: Verdict,
}

/// Fills in what the answers among `changes` were checked for; says of which one the origin is not proven. Those of the
/// closed loop are left out of that list: they are refused there, with their own words.
pub(crate) fn verify_answers(
    changes: &mut Changes,
    device: Verified<DeviceId>,
    pinned: &PublicKey,
    verifier: &dyn VerifyEs256,
) -> Vec<Unproven> {
    let mut unproven = Vec::new();
    for command in &mut changes.commands {
        let Some(verdict) = verdict_of(command, device, pinned, verifier) else {
            continue;
        };
        let proven = verdict.signature && verdict.device && verdict.sec_tag && verdict.digest;
        let closed_loop = matches!(
            command.request,
            CommandRequest::CertificateSigningRequest { issue: Some(_), .. }
        );
        if !proven && !closed_loop {
            unproven.push(Unproven {
                command: command.id,
                verdict: verdict.clone(),
            });
        }
        if let Some(response) = &mut command.response {
            response.verified = Some(verdict);
        }
    }
    unproven
}

fn verdict_of(
    command: &Command,
    device: Verified<DeviceId>,
    pinned: &PublicKey,
    verifier: &dyn VerifyEs256,
) -> Option<Verdict> {
    let response = command.response.as_ref()?;
    let cose = response.attestation.as_ref()?;
    if command.status != Status::Succeeded || response.verified.is_some() {
        return None;
    }
    let output = KeygenOutput::parse(&format!("{}.{cose}", response.message)).ok()?;
    let asked = command.request.sec_tag()?;
    let mut problems: Vec<String> = Vec::new();
    let mut verdict = Verdict {
        device: output.device == device.get(),
        sec_tag: output.sec_tag == asked.get(),
        ..Verdict::default()
    };
    if !verdict.device {
        problems.push(format!("it is of device {}", output.device));
    }
    if !verdict.sec_tag {
        problems.push(format!("it is of sec tag {}, not {asked}", output.sec_tag));
    }
    match output.verify(pinned, verifier) {
        Ok(convention) => {
            verdict.signature = true;
            verdict.digest = true;
            verdict.convention = Some(convention_name(convention).to_owned());
        }
        Err(TokenError::Digest) => {
            problems.push("the body is not the one that was signed for".to_owned());
        }
        Err(e) => {
            verdict.digest = sectag_pki::sha256(&output.body) == output.digest;
            problems.push(e.to_string());
        }
    }
    if output.kind == KeygenBody::Csr {
        look_at_csr(
            &command.request,
            device,
            &output.body,
            &mut verdict,
            &mut problems,
        );
    }
    verdict.holds = problems.is_empty();
    verdict.problem = (!problems.is_empty()).then(|| problems.join("; "));
    Some(verdict)
}

fn look_at_csr(
    request: &CommandRequest,
    device: Verified<DeviceId>,
    body: &[u8],
    verdict: &mut Verdict,
    problems: &mut Vec<String>,
) {
    let CommandRequest::CertificateSigningRequest {
        attributes,
        key_usage,
        ..
    } = request
    else {
        return;
    };
    // Parsing also checks the CSR's own signature.
    let csr: Csr = match csr::parse(body) {
        Ok(csr) => csr,
        Err(e) => {
            problems.push(e.to_string());
            return;
        }
    };
    let subject = match attributes.trim() {
        "" => format!("CN={}", device.get()),
        asked => asked.to_owned(),
    };
    // Attributes that are not read here were passed on to the modem as they are.
    if let Ok(wanted) = csr::attributes(&subject) {
        let same = wanted.len() == csr.attributes.len()
            && wanted
                .iter()
                .zip(&csr.attributes)
                .all(|((kind, value), (k, v))| kind == k && value == v);
        verdict.subject = Some(same);
        if !same {
            let found = csr.subject();
            problems.push(format!("its subject is `{found}`, not `{subject}`"));
        }
    }
    let usage = key_usage.as_deref().unwrap_or(KEY_USAGE_DEFAULT);
    let same = csr.key_usage_bits.as_deref() == Some(usage);
    verdict.key_usage = Some(same);
    if !same {
        let found = csr.key_usage_bits.as_deref().unwrap_or("none");
        problems.push(format!("its key usage is {found}, not {usage}"));
    }
}
