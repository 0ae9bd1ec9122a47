//! Plans, findings and reports as text and as JSON.

use crate::fault::{Fault, Outcome};
use sectag_gateway::Level;
use sectag_gateway::findings::{Finding, Severity};
use sectag_gateway::plan::{FileChange, NewContent, Plan};
use sectag_host::apply::Tell;
use sectag_host::hands::tell_of;
use sectag_host::probe::Report;
use sectag_host::survey::Survey;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The plan for people.
pub(super) fn plan(survey: &Survey, plan: &Plan) -> String {
    let broker = &survey.broker;
    let mut text = format!(
        "mosquitto {} as {}, {}\n{}\n",
        broker.version,
        broker.user_name,
        broker.main.display(),
        levels(survey)
    );
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    if let Some((name, address)) = &plan.resolved {
        line(format!("{name} is {address} on this machine"));
    }
    if plan.is_empty() {
        line("\nNothing to do: the broker's files are what the keys ask for".to_owned());
    }
    if plan.outside_home {
        line(format!(
            "{} cannot enter {}, so the files go to {}",
            broker.user_name,
            survey.place.home.display(),
            plan.fragment.parent().unwrap_or(&plan.fragment).display()
        ));
    }
    if !plan.files.is_empty() {
        line("\nFiles".to_owned());
    }
    for file in &plan.files {
        line(format!("  {}: {}", file.path.display(), how(file)));
        for row in file.diff.lines() {
            line(format!("    {row}"));
        }
    }
    if !plan.steps.is_empty() {
        line("\nSteps".to_owned());
    }
    for (at, step) in plan.steps.iter().enumerate() {
        let who = if step.action.is_ours() { "" } else { " (you)" };
        line(format!(
            "  {}. {}{who}: {}",
            at + 1,
            step.action,
            step.reason
        ));
        line(format!("     for {}", step.because.join(", ")));
    }
    if let Some(command) = command(survey, plan) {
        line(format!("\nThe broker is told by `{command}`"));
    }
    if !plan.findings.is_empty() {
        line("\nFindings".to_owned());
        plan.findings.iter().for_each(|found| line(finding(found)));
    }
    text
}

/// The plan for programs.
pub(super) fn plan_json(survey: &Survey, plan: &Plan) -> Value {
    let files: Vec<Value> = plan
        .files
        .iter()
        .map(|file| {
            let copy_of = match &file.new {
                NewContent::CopyOf(source) => Some(source),
                NewContent::Text(_) => None,
            };
            json!({
                "path": file.path,
                "mode": file.mode.map(|mode| format!("{mode:04o}")),
                "owner": file.owner,
                "copyOf": copy_of,
                "diff": file.diff,
                "why": file.why,
            })
        })
        .collect();
    let steps: Vec<Value> = plan
        .steps
        .iter()
        .map(|step| {
            json!({
                "step": step.action.to_string(),
                "ours": step.action.is_ours(),
                "reason": step.reason,
                "because": step.because,
            })
        })
        .collect();
    json!({
        "broker": broker_json(survey),
        "level": level(plan.level),
        "clientLevel": survey.settings.client.level().to_string(),
        "include": { "line": plan.include.line, "number": plan.include.number, "present": plan.include.present },
        "fragment": plan.fragment,
        "files": files,
        "steps": steps,
        "command": command(survey, plan),
        "findings": plan.findings.iter().map(finding_json).collect::<Vec<_>>(),
    })
}

/// That there is no plan, for programs.
pub(super) fn refusal_json(survey: &Survey, findings: &[Finding]) -> Value {
    json!({
        "broker": broker_json(survey),
        "findings": findings.iter().map(finding_json).collect::<Vec<_>>(),
    })
}

fn broker_json(survey: &Survey) -> Value {
    let broker = &survey.broker;
    json!({
        "version": broker.version.to_string(),
        "user": broker.user_name,
        "main": broker.main,
        "pid": broker.running.as_ref().map(|process| process.pid),
    })
}

/// That there is no plan, and why.
pub(super) fn refused(findings: &[Finding]) -> Fault {
    let lines: Vec<String> = findings.iter().map(finding).collect();
    Fault::no(format!(
        "nothing is generated: {} must be mended first\n{}",
        count(errors(findings), "finding"),
        lines.join("\n")
    ))
}

/// How many of them are errors.
pub(super) fn errors(findings: &[Finding]) -> usize {
    let errors = findings
        .iter()
        .filter(|found| found.severity == Severity::Error);
    errors.count()
}

/// Warnings and notes beside an answer.
pub(super) fn worth_knowing(findings: &[Finding]) {
    for found in findings {
        eprintln!("{}", finding(found).trim_start());
    }
}

/// One finding, with its fix below.
pub(super) fn finding(found: &Finding) -> String {
    let mut text = format!("  {} {}: {}", found.severity, found.id, found.sentence);
    if !found.fix.is_empty() {
        let _ = write!(
            text,
            "\n    fix: {}",
            found.fix.replace('\n', "\n         ")
        );
    }
    text
}

pub(super) fn finding_json(found: &Finding) -> Value {
    let values: serde_json::Map<String, Value> = found
        .values
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    json!({
        "id": found.id.to_string(),
        "severity": found.severity.to_string(),
        "sentence": found.sentence,
        "values": values,
        "fix": found.fix,
    })
}

/// What was proved.
pub(super) fn report(report: &Report) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let sign = match check.holds {
            Some(true) => "ok  ",
            Some(false) => "FAIL",
            None => "?   ",
        };
        let _ = writeln!(text, "{sign} {} at {}: {}", check.name, check.at, check.got); // writing to a String cannot fail
    }
    text
}

pub(super) fn report_json(report: &Report) -> Value {
    let checks: Vec<Value> = report
        .checks
        .iter()
        .map(|check| {
            json!({
                "name": check.name,
                "at": check.at,
                "wanted": check.wanted,
                "got": check.got,
                "holds": check.holds,
            })
        })
        .collect();
    json!({ "holds": report.holds(), "checks": checks })
}

/// The exit code of a probe.
pub(super) fn verdict(report: &Report) -> Outcome {
    let broken: Vec<String> = report.broken().map(ToString::to_string).collect();
    if broken.is_empty() {
        for check in report.unproved() {
            eprintln!("note: not proved: {}: {}", check.name, check.got);
        }
        return Ok(());
    }
    Err(Fault::no(broken.join("\n"))
        .hint("`sectag gateway status` shows what the broker runs with; `sectag gateway apply` brings it to what the keys say"))
}

/// Both levels in one line.
pub(super) fn levels(survey: &Survey) -> String {
    let settings = &survey.settings;
    let external = match &settings.external {
        Some(external) => format!(
            "external listener {}: {}",
            external.port.value,
            external.level()
        ),
        None => "no external listener".to_owned(),
    };
    format!("{external}; our clients: {}", settings.client.level())
}

/// The command that tells the broker.
fn command(survey: &Survey, plan: &Plan) -> Option<String> {
    let broker = &survey.broker;
    let (way, verb) = match tell_of(&plan.steps) {
        Tell::Nothing => return None,
        Tell::Restart => (broker.restart.as_ref(), "restart"),
        Tell::Reload => (broker.reload.as_ref().or(broker.restart.as_ref()), "reload"),
    };
    Some(way?.text(verb, broker.running.as_ref()))
}

fn how(file: &FileChange) -> String {
    let mut parts = Vec::new();
    if let NewContent::CopyOf(source) = &file.new {
        parts.push(format!("copy of {}", source.display()));
    }
    if let Some(mode) = file.mode {
        parts.push(format!("mode {mode:04o}"));
    }
    if let Some(owner) = &file.owner {
        parts.push(format!("owner {owner}"));
    }
    parts.push(file.why.clone());
    parts.join(", ")
}

pub(super) fn level(level: Option<Level>) -> Value {
    level.map_or(Value::Null, |level| json!(level.to_string()))
}

/// `1 file`, `2 files`.
pub(super) fn count(number: usize, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{number} {what}s")
    }
}
