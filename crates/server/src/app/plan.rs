//! What a device will get, exactly, before anything runs: what is queued, what its team's rules add at its next fetch, and
//! what a rule that is only a draft would add. The same code decides as at the fetch; nothing is written.

use super::renewal::{renewal_of, words_of};
use super::rules::outlook;
use super::{App, Caller, OwnerError};
use crate::device_api::HEAD_BYTES_MAX;
use sectag_proto::command::CommandKind;
use sectag_proto::rules::{ClosedLoop, ErrorPolicy, Rule, RuleState};
use sectag_proto::service::{
    AT_CHARS_MAX_DEFAULT, Command, FetchLimits, Fetched, Planned, Queue, Status, planned,
};
use sectag_proto::{CommandId, CommandRequest, DeviceId, RuleId, Timestamp};
use sectag_store::{ActiveRules, Device, DeviceQuery, Loaded, StoreError};
use std::collections::BTreeMap;

/// Devices that one page of a fleet's plan looks at: a queue is read for each, some 50 µs.
pub(crate) const FLEET_LOOK_MAX: usize = 500;

/// A device with default options over HTTPS (spec/device-protocol §15).
const DEFAULT_LIMITS: FetchLimits = FetchLimits {
    records_max: 10,
    cbor_bytes_max: 1024 - HEAD_BYTES_MAX,
    report_bytes_max: 2048,
    at_chars_max: AT_CHARS_MAX_DEFAULT,
};

/// What one device will get.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which.
    pub device: DeviceId,
    /// In the order of execution.
    pub steps: Vec<PlanStep>,
    /// What it will not get, and why; each a sentence.
    pub problems: Vec<String>,
}

/// One command of a plan.
#[derive(Debug, Clone)]
pub struct PlanStep {
    /// Where it comes from.
    pub source: PlanSource,
    /// The owner's words.
    pub description: Option<String>,
    /// What to do; secrets as digests.
    pub request: CommandRequest,
    /// What the device runs, in order.
    pub wire: Vec<Planned>,
    /// What happens when it fails.
    pub on_error: ErrorPolicy,
    /// What becomes of its answer, and what stands in its way.
    pub notes: Vec<String>,
}

/// Where a command of a plan comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanSource {
    /// It is in the queue.
    Queued {
        /// Its id.
        command: CommandId,
        /// Where it stands.
        status: Status,
        /// The rule that made it.
        rule_id: Option<String>,
    },
    /// A rule brings it at the next fetch.
    Rule {
        /// Which.
        id: RuleId,
        /// Its name.
        name: String,
        /// [`RuleState::Draft`]: only if it were active.
        state: RuleState,
    },
    /// A renewal brings it at the next fetch.
    Renewal,
}

/// What a fleet will get: groups over the devices that were looked at, and the first of these.
#[derive(Debug, Clone, Default)]
pub struct FleetPlan {
    /// Devices with such a tag, when that is known without counting.
    pub total: Option<u64>,
    /// Devices that this page looked at.
    pub looked_at: usize,
    /// Devices that get the same, largest group first.
    pub groups: Vec<PlanGroup>,
    /// Plans of the first devices.
    pub items: Vec<Plan>,
    /// Where the next page begins.
    pub next: Option<DeviceId>,
}

/// Devices that get the same commands, but for what the variables stand for.
#[derive(Debug, Clone)]
pub struct PlanGroup {
    /// How many.
    pub devices: usize,
    /// What they get, one line for each command.
    pub commands: Vec<String>,
    /// What they do not get, and why.
    pub problems: Vec<String>,
    /// One of them.
    pub example: DeviceId,
}

impl App {
    /// What a device will get; with `draft`, as if that rule were active.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn plan(
        &self,
        caller: &Caller,
        device: DeviceId,
        draft: Option<&Rule>,
    ) -> Result<Plan, OwnerError> {
        let loaded = self.loaded_of(caller, device, &[]).await?;
        let is_meant = |rule: &&Rule| rule.has_tag_of(&loaded.device.tags);
        let not_meant = draft.filter(|rule| !is_meant(rule));
        let active = self.store.active_rules(&caller.team).await?;
        let prefix = self.topic_prefix(&caller.team).await?;
        let all = with_draft(&active, draft);
        let mut plan = self.plan_of(loaded, &all, prefix.as_deref()).await?;
        if let Some(draft) = not_meant {
            plan.problems.push(format!(
                "the rule `{}` is not for this device: it is for the tags `{}`",
                draft.name,
                draft.tags.join("`, `")
            ));
        }
        Ok(plan)
    }

    /// What the devices with one of these tags will get; with `draft`, what that rule would bring, and nothing else.
    ///
    /// # Errors
    /// [`OwnerError::Store`].
    pub async fn plan_fleet(
        &self,
        caller: &Caller,
        tags: Vec<String>,
        draft: Option<&Rule>,
        after: Option<DeviceId>,
        items_max: usize,
    ) -> Result<FleetPlan, OwnerError> {
        if tags.is_empty() {
            return Ok(FleetPlan::default());
        }
        let active = self.store.active_rules(&caller.team).await?;
        let prefix = self.topic_prefix(&caller.team).await?;
        let rules = with_draft(&active, draft);
        // A key for certain devices goes through these: where a page ends must not tell how many others there are.
        let mut view = caller.view();
        if view.tags.is_empty() {
            view.tags.clone_from(&tags);
        }
        let query = DeviceQuery {
            after,
            ..DeviceQuery::first(view, FLEET_LOOK_MAX)
        };
        let page = self.store.devices(query).await?;
        let mut fleet = FleetPlan {
            total: page.total.filter(|_| caller.scope.is_empty()),
            next: page.next,
            ..FleetPlan::default()
        };
        let mut groups: BTreeMap<(Vec<String>, Vec<String>), (usize, DeviceId)> = BTreeMap::new();
        let is_meant = |device: &&Device| device.tags.iter().any(|tag| tags.contains(tag));
        for device in page.items.iter().filter(is_meant) {
            // Unclaimed since the list was read, and maybe another team's by now: nothing will come.
            let loaded = self.store.queue(device.id, &[]).await?;
            let Some(loaded) = loaded.filter(|loaded| caller.sees(&loaded.device)) else {
                continue;
            };
            let mut plan = self.plan_of(loaded, &rules, prefix.as_deref()).await?;
            if let Some(draft) = draft {
                plan.narrow(draft);
            }
            fleet.looked_at += 1;
            let key = (plan.lines(), plan.problems.clone());
            groups.entry(key).or_insert((0, device.id)).0 += 1;
            if fleet.items.len() < items_max {
                fleet.items.push(plan);
            }
        }
        fleet.groups = groups
            .into_iter()
            .map(|((commands, problems), (devices, example))| PlanGroup {
                devices,
                commands,
                problems,
                example,
            })
            .collect();
        fleet
            .groups
            .sort_by_key(|group| std::cmp::Reverse(group.devices));
        Ok(fleet)
    }

    async fn plan_of(
        &self,
        mut loaded: Loaded,
        rules: &[Rule],
        team_prefix: Option<&str>,
    ) -> Result<Plan, StoreError> {
        let now = self.now();
        let device = loaded.device.clone();
        let expired = loaded.queue.expire(now);
        loaded.queue.apply(&expired);
        let had = self.store.applied_rules(device.id).await?;
        let max = self.open_commands_max;
        let outlook = outlook(rules, &device, &loaded.queue, &had, team_prefix, max, now);
        let mut steps: Vec<PlanStep> = open(&loaded.queue).map(queued).collect();
        let mut problems = stops(&device, &loaded.queue);
        steps.extend(outlook.changes.commands.iter().map(|command| {
            let id = command.rule_id.as_deref().and_then(|id| id.parse().ok());
            let rule = rules.iter().find(|rule| Some(rule.id) == id);
            step(command, rule.map_or(PlanSource::Renewal, of_rule))
        }));
        problems.extend(
            outlook
                .refused
                .iter()
                .map(|(rule, reason)| format!("the rule `{}` is not applied: {reason}", rule.name)),
        );
        problems.extend(outlook.waiting.iter().map(|rule| {
            format!(
                "the rule `{}` waits until the queue has room for it: at most {max} commands",
                rule.name
            )
        }));
        loaded.queue.apply(&outlook.changes);
        let renewing: Vec<Rule> = rules
            .iter()
            .filter(|rule| rule.renewal.is_some() && rule.is_for(&device.tags))
            .cloned()
            .collect();
        let renewals = self.renewals_due(&loaded, &renewing, now).await?;
        if let Ok(changes) = loaded.queue.add(renewals.commands, max, now) {
            let renewal = |command: &Command| step(command, PlanSource::Renewal);
            steps.extend(changes.commands.iter().map(renewal));
        }
        let rules: Vec<&Rule> = rules
            .iter()
            .filter(|rule| rule.has_tag_of(&device.tags))
            .collect();
        // A batch ends with `finished`, wherever it stands in the queue.
        steps.sort_by_key(|step| step.request.kind() == CommandKind::Finished);
        for planned in &mut steps {
            planned.notes.extend(renewed(&planned.request, &rules));
            planned.notes.extend(fits(&device, &planned.request, now));
            planned.request.erase_secrets();
        }
        Ok(Plan {
            device: device.id,
            steps,
            problems,
        })
    }
}

/// The rules that apply, and behind them one that is no rule yet.
fn with_draft(active: &ActiveRules, draft: Option<&Rule>) -> Vec<Rule> {
    let mut rules = active.rules.clone();
    rules.extend(draft.cloned());
    rules
}

fn of_rule(rule: &Rule) -> PlanSource {
    PlanSource::Rule {
        id: rule.id,
        name: rule.name.clone(),
        state: rule.state,
    }
}

/// Commands that have not been executed, as far as deliveries tell.
fn open(queue: &Queue) -> impl Iterator<Item = &Command> {
    queue
        .commands()
        .iter()
        .filter(|c| !c.status.is_terminal() && c.covered_at.is_none())
}

fn queued(command: &Command) -> PlanStep {
    let source = PlanSource::Queued {
        command: command.id,
        status: command.status,
        rule_id: command.rule_id.clone(),
    };
    step(command, source)
}

fn step(command: &Command, source: PlanSource) -> PlanStep {
    let mut notes = Vec::new();
    if let CommandRequest::CertificateSigningRequest {
        issue: Some(closed_loop),
        sec_tag,
        ..
    } = &command.request
    {
        notes.push(follows(closed_loop, *sec_tag));
    }
    if command.parked {
        notes.push("parked: an operator resumes, skips or discards it".to_owned());
    }
    PlanStep {
        source,
        description: command.description.clone(),
        wire: planned(&command.request),
        request: command.request.clone(),
        on_error: command.on_error,
        notes,
    }
}

/// How the certificate of a CSR is renewed, with what that means for the device.
fn renewed(request: &CommandRequest, rules: &[&Rule]) -> Vec<String> {
    let CommandRequest::CertificateSigningRequest {
        issue: Some(_),
        sec_tag,
        ..
    } = request
    else {
        return Vec::new();
    };
    renewal_of(rules, *sec_tag).map_or_else(Vec::new, |renewal| {
        let words = words_of(&renewal).into_iter();
        words.map(|words| format!("renewal: {words}")).collect()
    })
}

fn follows(closed_loop: &ClosedLoop, sec_tag: sectag_proto::SecTag) -> String {
    format!(
        "the service signs the CSR (profile {}, {} days) and writes the certificate to sec tag {sec_tag} directly behind it",
        closed_loop.profile.as_str(),
        closed_loop.validity_days
    )
}

/// Why nothing comes, or nothing behind some command.
fn stops(device: &Device, queue: &Queue) -> Vec<String> {
    let blocked = device
        .blocked
        .then(|| "the device is blocked: it gets nothing until it is unblocked".to_owned());
    let parked = queue.commands().iter().find(|c| c.parked).map(|command| {
        format!(
            "command {} is parked: nothing behind it is delivered",
            command.id
        )
    });
    blocked.into_iter().chain(parked).collect()
}

/// Whether a device with default options takes this command; asked of the queue itself.
fn fits(device: &Device, request: &CommandRequest, now: Timestamp) -> Option<String> {
    let alone = Queue::new(device.id, Vec::new(), 1);
    let new = sectag_proto::service::NewCommand::by_hand(App::command_id(), request.clone());
    let added = alone.add(vec![new], 1, now).ok()?;
    let mut alone = alone;
    alone.apply(&added);
    match alone.next_batch("", DEFAULT_LIMITS, now) {
        Fetched::Batch { .. } => None,
        Fetched::Nothing { changes } => {
            let failed = changes.commands.first()?.response.as_ref()?;
            Some(format!(
                "with default options over HTTPS: {}",
                failed.message
            ))
        }
    }
}

impl Plan {
    /// Keeps what concerns one rule.
    fn narrow(&mut self, rule: &Rule) {
        self.steps
            .retain(|step| matches!(&step.source, PlanSource::Rule { id, .. } if *id == rule.id));
        let named = format!("the rule `{}`", rule.name);
        self.problems
            .retain(|problem| problem.starts_with(&named) || problem.contains("blocked"));
    }

    /// One line for each command, the same for all devices of a group.
    fn lines(&self) -> Vec<String> {
        let line = |step: &PlanStep| {
            let from = match &step.source {
                PlanSource::Queued { .. } => "queued".to_owned(),
                PlanSource::Rule { name, .. } => format!("rule `{name}`"),
                PlanSource::Renewal => "renewal".to_owned(),
            };
            let at = step.request.sec_tag();
            let at = at.map_or_else(String::new, |tag| format!(" {tag}"));
            format!("{from}: {}{at}", step.request.kind().member())
        };
        self.steps.iter().map(line).collect()
    }
}
