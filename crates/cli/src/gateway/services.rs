//! Our services on this machine, restarted after the broker serves; and not while one is in the middle of something.

use super::{Desk, questions};
use crate::args;
use crate::fault::{Fault, Outcome};
use sectag_gateway::facts::Facts;
use sectag_gateway::restart::SERVICES;
use sectag_host::services::{active, operations, restart_unit, run_command, running};
use sectag_host::survey::Survey;

/// Refuses while an operation is in progress.
pub(super) async fn may_restart(survey: &Survey, args: &args::ApplyGateway) -> Outcome {
    if args.force || (args.services_command.is_none() && active(SERVICES).is_empty()) {
        return Ok(());
    }
    // Asked the way that services connect at this moment.
    let running = survey.record.as_ref().map(|record| &record.settings);
    let facts = running.map(|settings| Facts::gather(settings, &survey.facts.machine));
    let mut asked = questions(survey);
    if let (Some(settings), Some(facts)) = (running, &facts) {
        asked.settings = settings;
        asked.facts = facts;
    }
    let under_way = operations(&asked).await;
    if under_way.is_empty() {
        return Ok(());
    }
    Err(Fault::no(format!(
        "operations are in progress: {}",
        under_way.join(", ")
    ))
    .hint("wait until they end, or interrupt them with --force"))
}

/// Restarts them, or says who must.
pub(super) fn restart(desk: &Desk<'_>, survey: &Survey, args: &args::ApplyGateway) -> Outcome {
    let log = survey.place.log();
    if let Some(command) = &args.services_command {
        eprintln!("restart the services: {command}");
        return run_command(command, &log, desk.patience()).map_err(left);
    }
    let units = active(SERVICES);
    for unit in &units {
        eprintln!("restart the services: systemctl restart {unit}");
        restart_unit(unit, &log, desk.patience()).map_err(left)?;
    }
    let others: Vec<String> = running(SERVICES)
        .into_iter()
        .filter(|name| !units.contains(name))
        .collect();
    if !others.is_empty() {
        eprintln!(
            "note: these run with older settings until somebody restarts them: {}",
            others.join(", ")
        );
    }
    Ok(())
}

fn left(reason: String) -> Fault {
    Fault::no(format!(
        "the broker has its new listeners, but a service did not restart: {reason}"
    ))
    .hint("see its log, then `sectag gateway status`")
}
