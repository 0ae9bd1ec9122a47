//! Renewal: a device gets its next certificate in time, without anybody asking for it (docs/reference/renewal.md).
//!
//! ```text
//!  fetch ──► renewals_due ──► root CA*, CSR ──report──► certificate (issuing) ──fetch, report──► written
//!                 │                                                                                │
//!                 └───── again later ◄── failed                     switch*, finished ◄── fetch ───┘
//!                                                                        └──report──► connect ──certificate_used──► done
//!  * another tag only
//! ```
//!
//! What is awaited stands in a [`RenewalRun`], so every step can be lost: the next fetch finds what to do. In another tag the
//! old pair stays until a connection has proven the new one. In place the old key is gone with the first step, and nothing
//! can be done about that but to be quick.

mod begin;
mod cover;
mod decide;
mod uses;

pub use cover::{SWITCH_KEY, problem_of, words_of};
pub(crate) use cover::{connect_by, covering, due_at, is_asked_for, renewal_of};
pub(crate) use decide::At;
pub(crate) use uses::Uses;

use super::App;
use sectag_proto::command::{CommandKind, CommandRequest};
use sectag_proto::rules::Rule;
use sectag_proto::service::{Changes, Command, NewCommand, Status};
use sectag_proto::{CommandId, Timestamp};
use sectag_store::{AuditEvent, Device, LifeChange, Loaded, RenewalRun, RenewalStep, StoreError};

/// What renewals ask of a device at this fetch, to be committed with it.
#[derive(Debug, Default)]
pub(crate) struct RenewalsDue {
    /// Commands for the end of the queue.
    pub(crate) commands: Vec<NewCommand>,
    /// How the runs stand from then on.
    pub(crate) lives: Vec<LifeChange>,
    /// What is begun.
    pub(crate) audit: Vec<AuditEvent>,
}

impl App {
    /// What renewals ask of this device, when it shows up at `now` with this queue (what rules add at this fetch is in it).
    /// `rules` are the active rules that are for it and renew; without one, nothing is read. With commands waiting, nothing is
    /// begun: a failure among them would drop ours, and ours theirs.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn renewals_due(
        &self,
        loaded: &Loaded,
        rules: &[Rule],
        now: Timestamp,
    ) -> Result<RenewalsDue, StoreError> {
        let mut due = RenewalsDue::default();
        if rules.is_empty() {
            return Ok(due);
        }
        let device = &loaded.device;
        let lives = self.store.lives(device.id).await?;
        if lives.lives.is_empty() && lives.renewals.is_empty() {
            return Ok(due);
        }
        let open = loaded.queue.commands().iter();
        let open: Vec<&Command> = open.filter(|c| !c.status.is_terminal()).collect();
        let mut at = At::new(device, rules, lives, open.is_empty(), now);
        for run in at.runs() {
            let Some(command) = run.command else { continue };
            if open.iter().any(|open| open.id == command) {
                continue;
            }
            let ended = self.store.command(device.id, command).await?;
            at.heard(command, ended.as_ref());
        }
        at.drop_unasked();
        at.give_up_waiting();
        if let Some(asked) = at.next_step() {
            let team = self.store.team(&device.owner).await?;
            let prefix = team.and_then(|team| team.topic_prefix);
            let root = self.issuer.root_pem();
            let begun = at
                .begin(&asked, root, prefix.as_deref(), Self::command_id)
                .and_then(|begun| {
                    let fits =
                        loaded
                            .queue
                            .add(begun.commands.clone(), self.open_commands_max, now);
                    fits.map(|_| begun)
                        .map_err(|(_, reason)| reason.to_string())
                });
            match begun {
                Ok(begun) => {
                    due.audit
                        .extend(self.started(device, &begun.run, &begun.serial, now));
                    due.commands = begun.commands;
                    at.put(begun.run);
                }
                Err(reason) => at.failed(&asked, &reason),
            }
        }
        due.lives = at.changes();
        Ok(due)
    }

    /// What a report says about certificates and runs: to be asked after [`App::close_the_loop`], whose `lives` are those of
    /// the same report.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn renewals_of_report(
        &self,
        device: &Device,
        changes: &Changes,
        mut lives: Vec<LifeChange>,
        now: Timestamp,
    ) -> Result<Vec<LifeChange>, StoreError> {
        let says_something = |command: &&Command| {
            command.status.is_terminal()
                && matches!(
                    command.request.kind(),
                    CommandKind::CertificateSigningRequest
                        | CommandKind::ClientCertificate
                        | CommandKind::Config
                )
        };
        let ended: Vec<&Command> = changes.commands.iter().filter(says_something).collect();
        if ended.is_empty() {
            return Ok(lives);
        }
        let known = self.store.lives(device.id).await?;
        for life in &known.lives {
            let wrote = |command: &&&Command| {
                Some(command.id) == life.certificate && command.status == Status::Succeeded
            };
            if ended.iter().any(|command| wrote(&command)) {
                lives.push(LifeChange::Written {
                    spki_sha256: life.spki_sha256,
                    at: now,
                });
            }
        }
        let decided: Vec<[u8; 32]> = lives
            .iter()
            .filter_map(|change| match change {
                LifeChange::Renewal(run) => Some(run.old),
                _ => None,
            })
            .collect();
        let mut at = At::new(device, &[], known, false, now);
        for command in ended {
            at.heard(command.id, Some(command));
        }
        let heard = at.changes().into_iter().filter(|change| match change {
            LifeChange::Renewal(run) => !decided.contains(&run.old),
            _ => true,
        });
        lives.extend(heard);
        Ok(lives)
    }

    /// The active rules of a team that renew.
    pub(crate) async fn renewing_rules(&self, team: &str) -> Result<Vec<Rule>, StoreError> {
        let mut rules = self.store.active_rules(team).await?.rules;
        rules.retain(|rule| rule.renewal.is_some());
        Ok(rules)
    }

    fn started(
        &self,
        device: &Device,
        run: &RenewalRun,
        serial: &str,
        now: Timestamp,
    ) -> Option<AuditEvent> {
        if run.step != RenewalStep::Key {
            return None;
        }
        let way = if run.in_place {
            "in place, sec tag"
        } else {
            "into sec tag"
        };
        let detail = format!(
            "certificate {serial} {way} {}, attempt {}, rule {}",
            run.sec_tag, run.attempts, run.rule_id
        );
        Some(
            AuditEvent::new(now, "service", "renewal-started")
                .team(&device.owner)
                .device(device.id)
                .command(run.command)
                .detail(detail),
        )
    }
}

/// A command of a renewal.
fn command(id: CommandId, rule: &str, description: &str, request: CommandRequest) -> NewCommand {
    NewCommand {
        id,
        rule_id: Some(rule.to_owned()),
        description: Some(description.to_owned()),
        request,
        on_error: sectag_proto::rules::ErrorPolicy::VendorDefault,
    }
}
