//! `gateway apply` and `gateway remove`: what an earlier run left is settled first, then the plan is done or put back.

use super::{Desk, PROBE_PATIENCE, SOMEBODY, questions, say, services};
use crate::args;
use crate::ca;
use crate::fault::{Fault, Outcome};
use sectag_gateway::mosquitto::remove_include;
use sectag_gateway::plan::{FileChange, NewContent, Plan, beside_main, unified};
use sectag_gateway::restart::Action;
use sectag_host::apply::{Apply, Ending, Orders, Recovered, Tell, Trouble, recover};
use sectag_host::hands::{Hands, public_dir, tell_of};
use sectag_host::journal::Journal;
use sectag_host::machine;
use sectag_host::record::Record;
use sectag_host::survey::Survey;
use std::path::{Path, PathBuf};
use tokio::runtime::Handle;

/// `sectag gateway apply`
pub(super) async fn apply(desk: &Desk<'_>, args: &args::ApplyGateway) -> Outcome {
    if args.dry_run {
        return desk.plan();
    }
    let _lock = prepare(desk)?;
    let survey = settled(desk)?;
    run(desk, &survey, args).await
}

/// Looks at everything, after what was interrupted is undone or finished. Under the lock: another `apply` may have changed
/// what was seen before it.
fn settled(desk: &Desk<'_>) -> Outcome<Survey> {
    let survey = desk.survey()?;
    if settle(desk, &survey)? {
        desk.survey()
    } else {
        Ok(survey)
    }
}

/// Applies what was surveyed.
pub(super) async fn run(desk: &Desk<'_>, survey: &Survey, args: &args::ApplyGateway) -> Outcome {
    let plan = survey
        .plan
        .as_ref()
        .map_err(|findings| say::refused(findings))?;
    say::worth_knowing(&plan.findings);
    for refused in &survey.waiting.refused {
        eprintln!("warning: {refused}");
    }
    if plan.is_empty() {
        eprintln!("nothing to do: the broker's files are what the keys ask for");
        return Ok(());
    }
    if let Err(somebody) = is_ours(survey) {
        desk.show_plan(survey)?;
        return Err(somebody);
    }
    let tell = tell_of(&plan.steps);
    let restarts_services = plan
        .steps
        .iter()
        .any(|step| step.action == Action::RestartServices);
    if restarts_services {
        services::may_restart(survey, args).await?;
    }
    let (ours, mut gone) = ours(survey, plan);
    gone.extend(survey.waiting.files.iter().map(|(_, new)| new.clone()));
    let record = Record::of(&survey.settings, &survey.waiting, ours, machine::now_s());
    let orders = Orders {
        place: plan.files.clone(),
        remove: gone,
        broker: tell,
        probe: (tell != Tell::Nothing || !survey.waiting.files.is_empty()) && !args.no_probe,
        record: Some(record.value()),
    };
    perform(desk, survey, orders)?;
    for step in plan.for_people() {
        eprintln!("note: {step}");
    }
    if restarts_services {
        services::restart(desk, survey, args)?;
    }
    eprintln!("applied: {}", say::levels(survey));
    Ok(())
}

/// Files of ours that stay or come, and those that nobody names any more: a key without a listener is only a key to lose.
fn ours(survey: &Survey, plan: &Plan) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let mut all: Vec<PathBuf> = plan.files.iter().map(|file| file.path.clone()).collect();
    let before = survey.record.iter().flat_map(|record| &record.files);
    all.extend(before.cloned());
    all.push(plan.fragment.clone());
    all.retain(|path| *path != plan.main && survey.waiting.in_place(path) == path);
    all.sort();
    all.dedup();
    let named = |path: &PathBuf| {
        let value = path.to_string_lossy();
        let mut values = plan
            .fragment_text
            .lines()
            .filter_map(|line| line.split_once(' '));
        *path == plan.fragment || values.any(|(_, rest)| rest == value)
    };
    let (stay, mut go): (Vec<PathBuf>, Vec<PathBuf>) = all.into_iter().partition(named);
    go.retain(|path| path.exists());
    (stay, go)
}

/// `sectag gateway remove`
pub(super) async fn remove(desk: &Desk<'_>) -> Outcome {
    let _lock = prepare(desk)?;
    let survey = settled(desk)?;
    let main = &survey.broker.main;
    let text = sectag_keep::read_public(main)?.unwrap_or_default();
    // Written back as it was read: no byte of somebody else's is replaced.
    let text = String::from_utf8(text).map_err(|_| {
        Fault::no(format!("`{}` is not written in UTF-8", main.display())).hint(
            "take out the line `include_dir` that leads to our files by hand, and restart mosquitto",
        )
    })?;
    let mut directories = vec![survey.place.state(), beside_main(main)];
    let mut files = match &survey.record {
        Some(record) => record.files.clone(),
        None => directories
            .iter()
            .map(|directory| directory.join(sectag_gateway::plan::FRAGMENT))
            .collect(),
    };
    files.retain(|file| file.exists() && file != main);
    directories.extend(
        files
            .iter()
            .filter_map(|file| file.parent().map(Path::to_owned)),
    );
    let new = directories.iter().fold(text.clone(), |text, directory| {
        remove_include(&text, directory)
    });
    if new == text && files.is_empty() {
        eprintln!(
            "nothing to remove: `{}` does not include us",
            main.display()
        );
        return Ok(());
    }
    let place = (new != text).then(|| FileChange {
        path: main.clone(),
        diff: unified(main, &text, &new),
        old: Some(text),
        new: NewContent::Text(new),
        mode: None,
        owner: None,
        why: "the broker reads our files no more".to_owned(),
    });
    let changed = place.iter().map(|change| &change.path).chain(&files);
    let somebodys = match changed.filter_map(|path| closed(path)).next() {
        Some(closed) => Some(nobody_writes(&closed).hint("run it as root")),
        None => survey.broker.restart.is_none().then(nobody_restarts),
    };
    if let Some(somebodys) = somebodys {
        if let Some(change) = &place {
            crate::output::print(&change.diff);
        }
        for file in &files {
            crate::output::print(&format!("rm {}\n", file.display()));
        }
        return Err(somebodys);
    }
    let orders = Orders {
        place: place.into_iter().collect(),
        remove: files,
        broker: Tell::Restart,
        probe: false,
        record: None,
    };
    perform(desk, &survey, orders)?;
    eprintln!("removed: the broker runs without our listeners");
    Ok(())
}

/// Whether `apply` can do it all, or somebody must.
pub(super) fn is_ours(survey: &Survey) -> Outcome {
    let Ok(plan) = &survey.plan else {
        return Ok(());
    };
    for file in &plan.files {
        if let Some(closed) = closed(&file.path) {
            let line = if file.path == plan.main {
                format!(
                    "run it as root, or add `{}` to `{}` before its first include_dir",
                    plan.include.line,
                    plan.main.display()
                )
            } else {
                "run it as root".to_owned()
            };
            return Err(nobody_writes(&closed).hint(line));
        }
    }
    let broker = &survey.broker;
    match tell_of(&plan.steps) {
        Tell::Restart if broker.restart.is_none() => Err(nobody_restarts()),
        Tell::Reload if broker.reload.is_none() && broker.restart.is_none() => {
            Err(nobody_restarts())
        }
        _ => Ok(()),
    }
}

fn nobody_writes(closed: &Path) -> Fault {
    let sentence = format!(
        "the plan is for somebody else: `{}` cannot be written by you",
        closed.display()
    );
    Fault::with_code(SOMEBODY, sentence)
}

fn nobody_restarts() -> Fault {
    Fault::with_code(
        SOMEBODY,
        "the plan is for somebody else: there is no systemd here that knows mosquitto",
    )
    .hint("say how mosquitto restarts with --restart-command, or do the steps by hand and run `sectag gateway probe`")
}

/// The first thing on the way to writing `path` that we may not change.
fn closed(path: &Path) -> Option<PathBuf> {
    use rustix::fs::{Access, access};
    let mut directory = path.parent()?;
    while !directory.exists() {
        directory = directory.parent()?;
    }
    let may = access(directory, Access::WRITE_OK | Access::EXEC_OK);
    may.is_err().then(|| directory.to_owned())
}

/// The directory of our files, and the lock: one `apply` at a time.
fn prepare(desk: &Desk<'_>) -> Outcome<sectag_keep::Lock> {
    own_dir(&desk.place.home)?;
    let place = sectag_host::survey::Place {
        home: std::path::absolute(&desk.place.home)?,
    };
    public_dir(&place.state()).map_err(fault)?;
    sectag_keep::lock(&place.lock()).map_err(|error| match &error {
        sectag_keep::KeepError::Busy { .. } => {
            Fault::from(error).hint("another `gateway apply` is under way; wait for it")
        }
        _ => ca::kept(error),
    })
}

/// A directory of ours. Somebody may have opened it, so that the broker can read in it.
pub(super) fn own_dir(path: &Path) -> Outcome {
    match sectag_keep::private_dir(path) {
        Ok(()) | Err(sectag_keep::KeepError::NotPrivate { .. }) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

/// Undoes or finishes what an earlier run left; true when there was something.
fn settle(desk: &Desk<'_>, survey: &Survey) -> Outcome<bool> {
    let Some(journal) = Journal::read(&survey.place.journal())? else {
        return Ok(false);
    };
    eprintln!("an earlier apply was interrupted");
    let mut teller = |text: &str| eprintln!("  {text}");
    let mut hands = hands(desk, survey, false, &mut teller);
    match tokio::task::block_in_place(|| recover(&journal, &mut hands)) {
        Ok(Recovered::Finished) => eprintln!("it had proved its listeners: its files stay"),
        Ok(Recovered::Undone(back)) => eprintln!(
            "it is undone: {} put back{}",
            say::count(back.files, "file"),
            if back.told {
                ", the broker told and serving"
            } else {
                ""
            }
        ),
        Err(trouble) => {
            return Err(Fault::no(format!(
                "an earlier apply was interrupted, and it cannot be undone: {trouble}"
            ))
            .hint(trouble.hint.unwrap_or_else(|| {
                "mend that and run `sectag gateway apply` again; nothing else was changed"
                    .to_owned()
            })));
        }
    }
    Ok(true)
}

fn perform(desk: &Desk<'_>, survey: &Survey, orders: Orders) -> Outcome {
    let mut teller = |text: &str| eprintln!("{text}");
    let mut hands = hands(desk, survey, orders.probe, &mut teller);
    let ending = tokio::task::block_in_place(|| Apply::new(orders).run(&mut hands));
    if let Some(report) = &hands.report {
        desk.show_report(report);
    }
    match ending {
        Ending::Done => Ok(()),
        Ending::Unfinished { deed, because } => Err(fault_of(
            format!(
                "{deed} failed: {because}\nthe new files are proved and stay; the journal is kept, and the next apply finishes the rest"
            ),
            because,
        )),
        Ending::Undone {
            deed,
            because,
            back,
        } => {
            let sentence = format!("{deed} failed: {because}");
            let again = if survey.broker.running.is_some() {
                "serves with them again"
            } else {
                "was told; it did not run before"
            };
            Err(match back {
                Ok(back) if back.told => {
                    let files = say::count(back.files, "file");
                    fault_of(
                        format!("{sentence}\nundone: {files} as before, and the broker {again}"),
                        because,
                    )
                }
                Ok(back) => {
                    let files = say::count(back.files, "file");
                    fault_of(
                        format!(
                            "{sentence}\nundone: {files} as before, the broker was not touched"
                        ),
                        because,
                    )
                }
                Err(trouble) => fault_of(
                    format!(
                        "{sentence}\nnot all undone: {trouble}; the journal is kept, and the next apply tries again"
                    ),
                    trouble,
                ),
            })
        }
    }
}

fn hands<'a>(
    desk: &Desk<'_>,
    survey: &'a Survey,
    probe: bool,
    teller: &'a mut dyn FnMut(&str),
) -> Hands<'a> {
    let mut asked = questions(survey);
    asked.patience = PROBE_PATIENCE;
    Hands {
        place: survey.place.clone(),
        broker: survey.broker.clone(),
        questions: probe.then_some(asked),
        patience: desk.patience(),
        runtime: Handle::current(),
        teller,
        report: None,
        was_seen: survey.broker.running.is_some(),
        told: sectag_host::hands::Told::default(),
    }
}

fn fault_of(sentence: String, trouble: Trouble) -> Fault {
    let fault = Fault::no(sentence);
    match trouble.hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

fn fault(trouble: Trouble) -> Fault {
    let hint = trouble.hint.clone();
    let fault = Fault::from(trouble);
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}
