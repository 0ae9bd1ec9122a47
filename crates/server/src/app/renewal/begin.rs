//! What a renewal asks of a device: the commands of its next step, and the run as it stands then. Values in, values out.

use super::command;
use super::cover::{SWITCH_KEY, issued_to};
use super::decide::At;
use sectag_proto::command::{CommandRequest, ConfigPairs};
use sectag_proto::rules::template::Binding;
use sectag_proto::rules::{ClosedLoop, RenewInto, Renewal, Rule};
use sectag_proto::service::NewCommand;
use sectag_proto::{CommandId, SecTag};
use sectag_store::{Life, RenewalRun, RenewalStep};

/// What is to be begun: a new key for a certificate, or the word to use another tag.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(super) life: Life,
    pub(super) run: Option<RenewalRun>,
    pub(super) rule: Rule,
    pub(super) renewal: Renewal,
    pub(super) switches: bool,
}

/// What was begun.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) commands: Vec<NewCommand>,
    pub(crate) run: RenewalRun,
    /// Of the certificate that is renewed.
    pub(crate) serial: String,
}

impl At<'_> {
    /// The commands of what is asked, and the run as it stands then.
    ///
    /// # Errors
    /// Why there are none: the rule cannot be applied to this device.
    pub(crate) fn begin(
        &self,
        asked: &Asked,
        root_pem: &str,
        team_prefix: Option<&str>,
        mut id: impl FnMut() -> CommandId,
    ) -> Result<Begun, String> {
        let mut run = self.run_of(asked)?;
        let rule = asked.rule.id.to_string();
        let mut commands = Vec::new();
        let mut add = |description: &str, request| {
            let id = id();
            commands.push(command(id, &rule, description, request));
            id
        };
        if asked.switches {
            let pair = (SWITCH_KEY.to_owned(), run.sec_tag.to_string());
            let config = CommandRequest::Config(ConfigPairs(vec![pair]));
            run.command = Some(add("Renewal: the sec tag to use", config));
            run.step = RenewalStep::Switch;
            add("Renewal: done", CommandRequest::Finished {});
        } else {
            let binding = Binding {
                device: self.device.id,
                device_type: self.device.device_type,
                tags: &self.device.tags,
                team_prefix,
            };
            if !run.in_place {
                let root = root_of(asked, &binding, root_pem)?;
                let request = CommandRequest::ServerCertificate {
                    sec_tag: run.sec_tag,
                    content: root,
                };
                add("Renewal: root CA", request);
            }
            let csr = csr_of(asked, &binding, run.sec_tag)?;
            run.command = Some(add("Renewal: new key", csr));
            run.step = RenewalStep::Key;
            // In place the old certificate is superseded: the one of the last attempt is all that is known of the tag.
            run.new = run.new.filter(|_| run.in_place);
            run.attempts = run.attempts.saturating_add(1);
            if run.in_place {
                add("Renewal: done", CommandRequest::Finished {});
            }
        }
        run.step_at = self.now;
        Ok(Begun {
            commands,
            run,
            serial: asked.life.serial.clone(),
        })
    }

    pub(super) fn run_of(&self, asked: &Asked) -> Result<RenewalRun, String> {
        if let Some(run) = &asked.run {
            return Ok(run.clone());
        }
        let life = &asked.life;
        let sec_tag = target(&asked.rule, &asked.renewal, life)
            .ok_or("the sec tag of the certificate is not known")?;
        Ok(RenewalRun {
            old: life.spki_sha256,
            device: self.device.id,
            team: self.device.owner.clone(),
            rule_id: asked.rule.id.to_string(),
            sec_tag,
            in_place: life.sec_tag == Some(sec_tag),
            started_at: self.now,
            step: RenewalStep::Waiting,
            step_at: self.now,
            command: None,
            new: None,
            attempts: 0,
            retry_at: self.now,
            failing_since: None,
            reason: None,
            alarmed_at: None,
            ended_at: None,
        })
    }
}

/// Where the next certificate goes; `None` when it is not known where this one is.
pub(super) fn target(rule: &Rule, renewal: &Renewal, life: &Life) -> Option<SecTag> {
    let at = life.sec_tag?;
    match renewal.into {
        RenewInto::Alternate { sec_tag } if sec_tag != at => Some(sec_tag),
        // Back to where it came from.
        RenewInto::Alternate { sec_tag } => issued_to(rule).find(|tag| *tag != sec_tag),
        RenewInto::InPlace => Some(at),
    }
}

/// The tag that the rule itself names for this certificate.
fn home_tag(asked: &Asked) -> Option<SecTag> {
    let at = asked.life.sec_tag;
    let named = issued_to(&asked.rule).find(|tag| Some(*tag) == at);
    named.or_else(|| issued_to(&asked.rule).next())
}

/// The rule's own CSR for another tag. A certificate that the rule did not have made is renewed as it was.
fn csr_of(asked: &Asked, binding: &Binding<'_>, target: SecTag) -> Result<CommandRequest, String> {
    let home = home_tag(asked);
    let of_rule = asked.rule.commands.iter().find(|command| {
        command
            .closed_loop()
            .is_some_and(|(tag, _)| Some(tag) == home)
    });
    let Some(of_rule) = of_rule else {
        let issued_s = asked.life.issued_at.as_secs();
        let days = asked.life.not_after.as_secs().saturating_sub(issued_s) / 86_400;
        return Ok(CommandRequest::CertificateSigningRequest {
            sec_tag: target,
            attributes: String::new(),
            key_usage: Some("101010000".to_owned()),
            issue: Some(ClosedLoop {
                validity_days: u32::try_from(days).unwrap_or(u32::MAX).max(1),
                ..ClosedLoop::default()
            }),
        });
    };
    let mut bound = of_rule.bind(binding).map_err(|e| e.to_string())?;
    if let CommandRequest::CertificateSigningRequest { sec_tag, .. } = &mut bound.request {
        *sec_tag = target;
    }
    Ok(bound.request)
}

/// The root CA that the rule writes under its own tag, else ours.
fn root_of(asked: &Asked, binding: &Binding<'_>, root_pem: &str) -> Result<String, String> {
    let home = home_tag(asked);
    for command in &asked.rule.commands {
        if let CommandRequest::ServerCertificate { sec_tag, .. } = &command.request
            && Some(*sec_tag) == home
        {
            let bound = command.bind(binding).map_err(|e| e.to_string())?;
            if let CommandRequest::ServerCertificate { content, .. } = bound.request {
                return Ok(content);
            }
        }
    }
    Ok(root_pem.trim_end().to_owned())
}
