//! `sectag cert lint`: who will refuse a certificate, and why.

use super::file;
use crate::args::{Lint, LintFor};
use crate::fault::{Fault, Outcome};
use crate::output;
use sectag_pki::lint::{self, Context, Finding, Position, Report, Severity, Verifier};
use sectag_pki::{Purpose, ServerName};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub(super) fn lint(arguments: &Lint, as_json: bool) -> Outcome {
    if arguments.rules {
        if as_json {
            output::json(
                &json!({ "items": lint::RULES.iter().map(rule_value).collect::<Vec<_>>() }),
            );
        } else {
            output::print(&lint::reference());
        }
        return Ok(());
    }
    let name = arguments.name.as_deref().map(server_name).transpose()?;
    let mut roots = match &arguments.roots {
        Some(path) => file::roots_of(path)?,
        None => Vec::new(),
    };
    roots.extend(roots_among(&arguments.files));
    let purpose = match (arguments.server, arguments.client) {
        (true, _) => Some(Purpose::Servers),
        (_, true) => Some(Purpose::Devices),
        _ => None,
    };
    let context = Context {
        now_s: super::now_s(),
        purpose,
        name: name.as_ref(),
        roots: &roots,
    };
    let mut refused: Vec<Verifier> = Vec::new();
    let mut items = Vec::new();
    for path in &arguments.files {
        let report = report(path, arguments, &context)?;
        refused.extend(report.refused_by());
        if as_json {
            items.push(value(path, &report));
        } else {
            if arguments.files.len() > 1 && path != &arguments.files[0] {
                output::print("\n");
            }
            print(path, &report);
        }
    }
    if as_json {
        output::json(&json!({ "items": items }));
    }
    refused.sort_unstable();
    refused.dedup();
    let asked: Vec<Verifier> = arguments.verifiers.iter().map(|v| verifier(*v)).collect();
    refused.retain(|verifier| asked.is_empty() || asked.contains(verifier));
    if refused.is_empty() {
        return Ok(());
    }
    let files = match arguments.files.len() {
        1 => format!("`{}`", arguments.files[0].display()),
        n => format!("one of {n} files"),
    };
    Err(Fault::no(format!(
        "{files} will be refused by {}",
        list(&refused)
    )))
}

/// Files given together know each other's roots.
fn roots_among(files: &[PathBuf]) -> Vec<Vec<u8>> {
    files
        .iter()
        .filter_map(|path| file::roots_of(path).ok().filter(|_| !path.is_dir()))
        .flatten()
        .filter(|der| is_root(der))
        .collect()
}

fn is_root(der: &[u8]) -> bool {
    sectag_pki::show(der).is_ok_and(|facts| facts.is_ca && facts.subject == facts.issuer)
}

fn report(path: &Path, arguments: &Lint, context: &Context<'_>) -> Outcome<Report> {
    let bytes = file::bytes_of(path)?;
    // Tells a key, a directory and other files apart in words.
    let certificates = file::certificates_of(path, &bytes)?;
    // A root among several files stands beside the end entity; it is not asked for its name.
    let beside = arguments.files.len() > 1 && certificates.first().is_some_and(|der| is_root(der));
    let context = Context {
        purpose: context.purpose.filter(|_| !beside),
        name: context.name.filter(|_| !beside),
        ..*context
    };
    let mut report = lint::lint(&bytes, &context).map_err(|e| file::unreadable(path, &e))?;
    // Among several files the key is that of the end entities.
    let end_entity = arguments.files.len() == 1
        || matches!(report.certificates.first(), Some((Position::EndEntity, _)));
    if let Some(key) = arguments.key.as_ref().filter(|_| end_entity) {
        let text = zeroize::Zeroizing::new(file::bytes_of(key)?);
        let text = std::str::from_utf8(&text)
            .ok()
            .filter(|text| text.contains("PRIVATE KEY-----"));
        let Some(text) = text else {
            return Err(Fault::no(format!(
                "`{}` holds no private key in PEM",
                key.display()
            )));
        };
        report.findings.extend(lint::check_key(&certificates, text));
    }
    Ok(report)
}

fn print(path: &Path, report: &Report) {
    let count = report.certificates.len();
    let noun = if count == 1 {
        "certificate"
    } else {
        "certificates"
    };
    output::print(&format!("{}: {count} {noun}\n", path.display()));
    for (at, (position, facts)) in report.certificates.iter().enumerate() {
        let place = position.to_string();
        let subject = super::or_dash(facts.subject.clone());
        output::print(&format!("  {at}  {place:12}  {subject}\n"));
    }
    output::print(&findings_text(&report.findings));
    let rows: Vec<Vec<String>> = Verifier::ALL
        .iter()
        .map(|verifier| {
            let (word, rules) = verdict(*verifier, &report.findings);
            vec![verifier.to_string(), word.to_owned(), rules.join(", ")]
        })
        .collect();
    output::print("\n");
    output::table(&["VERIFIER", "ANSWER", "BECAUSE OF"], &rows);
}

/// Findings as people read them, the worst first.
pub(super) fn findings_text(findings: &[Finding]) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.rule.severity()));
    let mut text = String::new();
    for finding in sorted {
        let rule = finding.rule;
        let place = match finding.certificate {
            Some(at) => format!("certificate {at}: "),
            None => String::new(),
        };
        text.push_str(&format!(
            "\n{}: {} [{}]\n  {place}{}\n",
            rule.severity(),
            rule.title,
            rule.id,
            finding.facts
        ));
        for (words, who) in [
            ("refused by", rule.refused_by()),
            ("may be refused by", rule.depends_for()),
        ] {
            if !who.is_empty() {
                text.push_str(&format!("  {words} {}\n", list(&who)));
            }
        }
        text.push_str(&format!("  {}\n", rule.why));
        text.push_str(&format!("  fix: {}\n", rule.fix));
    }
    text
}

/// What a verifier makes of all findings together, and which rules decide that.
fn verdict(verifier: Verifier, findings: &[Finding]) -> (&'static str, Vec<&'static str>) {
    for (word, answer) in [
        ("refuses", lint::Answer::Refuses),
        ("may refuse", lint::Answer::Depends),
    ] {
        let mut rules: Vec<&str> = findings
            .iter()
            .filter(|finding| finding.rule.cell(verifier).answer == answer)
            .map(|finding| finding.rule.id)
            .collect();
        rules.dedup();
        if !rules.is_empty() {
            return (word, rules);
        }
    }
    ("accepts", Vec::new())
}

pub(super) fn finding_value(finding: &Finding) -> Value {
    let ids = |who: Vec<Verifier>| who.iter().map(|v| v.id()).collect::<Vec<_>>();
    json!({
        "rule": finding.rule.id,
        "severity": finding.rule.severity().to_string(),
        "certificate": finding.certificate,
        "title": finding.rule.title,
        "facts": finding.facts,
        "refusedBy": ids(finding.rule.refused_by()),
        "mayBeRefusedBy": ids(finding.rule.depends_for()),
        "why": finding.rule.why,
        "fix": finding.rule.fix,
    })
}

fn value(path: &Path, report: &Report) -> Value {
    let certificates: Vec<Value> = report
        .certificates
        .iter()
        .map(|(position, facts)| {
            let mut value = super::value_of(facts);
            value["position"] = json!(position.to_string());
            value
        })
        .collect();
    let verdicts: serde_json::Map<String, Value> = Verifier::ALL
        .iter()
        .map(|verifier| {
            let (word, _) = verdict(*verifier, &report.findings);
            (verifier.id().to_owned(), json!(word))
        })
        .collect();
    json!({
        "file": path.display().to_string(),
        "certificates": certificates,
        "findings": report.findings.iter().map(finding_value).collect::<Vec<_>>(),
        "verdicts": verdicts,
    })
}

fn rule_value(rule: &lint::Rule) -> Value {
    let cells: serde_json::Map<String, Value> = Verifier::ALL
        .iter()
        .map(|verifier| {
            let cell = rule.cell(*verifier);
            let value = json!({
                "answer": format!("{:?}", cell.answer).to_lowercase(),
                "ground": format!("{:?}", cell.ground).to_lowercase(),
            });
            (verifier.id().to_owned(), value)
        })
        .collect();
    json!({
        "rule": rule.id,
        "severity": rule.severity().to_string(),
        "title": rule.title,
        "why": rule.why,
        "fix": rule.fix,
        "verifiers": cells,
    })
}

/// Findings worth a line when a chain is shown: not those that merely note something.
pub(super) fn is_worth_a_line(finding: &Finding) -> bool {
    finding.rule.severity() > Severity::Note
        || [
            "rsa",
            "expires-in-30-days",
            "expires-in-90-days",
            "root-sent",
            "duplicate",
        ]
        .contains(&finding.rule.id)
}

/// `a, b and c`
pub(super) fn list(verifiers: &[Verifier]) -> String {
    let names: Vec<String> = verifiers.iter().map(Verifier::to_string).collect();
    match &names[..] {
        [] => "nobody".to_owned(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

pub(super) fn server_name(text: &str) -> Outcome<ServerName> {
    text.parse::<ServerName>().map_err(|_| {
        Fault::untried(format!("`{text}` is neither a host name nor an IP address"))
            .hint("give the name alone, without port and without https://")
    })
}

const fn verifier(asked: LintFor) -> Verifier {
    match asked {
        LintFor::Rustls => Verifier::Rustls,
        LintFor::OpenSsl1 => Verifier::OpenSsl1,
        LintFor::OpenSsl2 => Verifier::OpenSsl2,
        LintFor::MbedTls => Verifier::MbedTls,
        LintFor::Modem => Verifier::Modem,
    }
}
