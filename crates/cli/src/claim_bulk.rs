//! `sectag claim --from FILE`: many devices by the rows of a file, in calls of the service's size, resumable after any end.
//!
//! ```text
//!   FILE ─► rows ─► call ─► answer ─► FILE.failed.csv (appended, synced) ─► FILE.journal (replaced) ─┐
//!            ▲───────────────────────────── next call ◄─────────────────────────────────────────────┘
//! ```
//! The journal says up to which byte the answers are known. Whatever was asked behind it is asked again: the service answers
//! with the same devices, so no row is lost, and none is counted twice.

mod input;
mod journal;
mod progress;
mod row;

use crate::args::Claim;
use crate::client::{Answer, Owner};
use crate::fault::{Fault, Outcome};
use crate::output;
use input::Input;
use journal::{Done, Journal};
use progress::Progress;
use row::{Row, quoted};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Bytes of one call's rows; the service takes 1 MiB.
const CALL_BYTES_MAX: usize = 900 * 1024;
/// A service that is busy or restarts is asked again after this long …
const PAUSE: Duration = Duration::from_secs(2);
/// … so many times, before it is left to the operator to go on later.
const TRIES_MAX: u32 = 15;

/// A row that waits for its answer.
struct Waiting {
    /// 1-based, among the rows of the whole input.
    number: u64,
    token: String,
    tags: String,
}

/// One call to be made, and the rows that cannot be sent.
#[derive(Default)]
struct Call {
    body: String,
    waiting: Vec<Waiting>,
    bad: Vec<(Waiting, String)>,
}

/// `sectag claim --from FILE`
pub(crate) async fn claim_from(owner: &Owner, args: &Claim, as_json: bool) -> Outcome {
    let begun = Instant::now();
    let from = args.from.clone().unwrap_or_else(|| PathBuf::from("-"));
    let mut input = Input::open(&from)?;
    let mut journal = Journal::open(&from, args.failed.clone())?;
    if let Some(done) = journal.found() {
        input.skip(&done, journal.path())?;
        eprintln!(
            "goes on behind row {} (as `{}` remembers)",
            done.rows,
            journal.path().display()
        );
    }
    let mut done = journal.begin()?;
    let resumed_behind = done.rows;
    let mut progress = Progress::new(input.bytes_total(), done);
    loop {
        let call = next_call(&mut input, &mut done, args)?;
        if call.waiting.is_empty() && call.bad.is_empty() {
            break;
        }
        let failed = answered(owner, call, &mut done)
            .await
            .map_err(|fault| stopped(fault, &progress, journal.is_kept()))?;
        input.note(&mut done);
        journal.record(&mut done, &failed)?;
        progress.show(done);
    }
    progress.end();
    if done.rows == 0 {
        return Err(Fault::untried(format!("`{}` has no rows", from.display()))
            .hint("a row is `token` or `token,tags`, or what gather_attestation_tokens writes: `imei,uuid,token,time`"));
    }
    let failed_path = journal.finish(done)?;
    let peak = progress::peak_bytes();
    if as_json {
        output::json(&json!({
            "rows": done.rows,
            "claimed": done.claimed,
            "failed": done.failed,
            "resumedBehindRow": resumed_behind,
            "failedFile": failed_path.as_ref().map(|path| path.display().to_string()),
            "peakMemoryBytes": peak,
        }));
    }
    eprintln!("{}", summary(done, begun.elapsed(), peak));
    match failed_path {
        None => Ok(()),
        Some(path) => Err(Fault::no(format!(
            "{} of {} rows were refused",
            done.failed, done.rows
        ))
        .hint(format!(
            "`{}` has them with the reasons; corrected, it can be given to `sectag claim --from`",
            path.display()
        ))),
    }
}

/// As many rows as fit one call.
fn next_call(input: &mut Input, done: &mut Done, args: &Claim) -> Outcome<Call> {
    let mut call = Call::default();
    while call.waiting.len() + call.bad.len() < usize::from(args.rows_per_call)
        && call.body.len() < CALL_BYTES_MAX
        && let Some(line) = input.line()?
    {
        let row = row::read(line, done.rows == 0 && call.is_empty());
        let mut waiting = |token, tags: Vec<String>| {
            done.rows += 1;
            Waiting {
                number: done.rows,
                token,
                tags: tags.join(","),
            }
        };
        match row {
            Row::Nothing => {}
            Row::Claim { token, tags } => {
                let all = tags.into_iter().chain(args.tags.iter().cloned()).collect();
                let waiting = waiting(token, all);
                let _ = writeln!(
                    call.body,
                    "{},{}",
                    quoted(&waiting.token),
                    quoted(&waiting.tags)
                );
                call.waiting.push(waiting);
            }
            Row::Bad { text, reason } => {
                let waiting = waiting(text, Vec::new());
                call.bad.push((waiting, reason));
            }
        }
    }
    Ok(call)
}

impl Call {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.bad.is_empty()
    }
}

/// Makes the call and counts; gives the rows that failed as they are kept: token, tags, row and reason.
async fn answered(owner: &Owner, call: Call, done: &mut Done) -> Outcome<String> {
    let mut failed: Vec<(Waiting, String)> = call.bad;
    if !call.waiting.is_empty() {
        let answer = asked(owner, &call.body).await?;
        let mut refused = vec![None; call.waiting.len()];
        for one in answer["failed"].as_array().into_iter().flatten() {
            let at = one["row"].as_u64().and_then(|row| row.checked_sub(1));
            let place = at
                .and_then(|at| usize::try_from(at).ok())
                .and_then(|at| refused.get_mut(at))
                .ok_or_else(|| strange(&format!("a failed row that was not sent: {one}")))?;
            *place = Some(one["message"].as_str().unwrap_or("no reason").to_owned());
        }
        let claimed = answer["claimedIds"].as_array().map_or(0, Vec::len);
        let expected = refused.iter().filter(|reason| reason.is_none()).count();
        if claimed != expected {
            return Err(strange(&format!(
                "{claimed} claimed devices for {expected} rows"
            )));
        }
        done.claimed += claimed as u64;
        let refused = call.waiting.into_iter().zip(refused);
        failed.extend(refused.filter_map(|(row, reason)| Some((row, reason?))));
        failed.sort_by_key(|(row, _)| row.number);
    }
    done.failed += failed.len() as u64;
    let mut text = String::new();
    for (row, reason) in failed {
        let reason = format!("row {}: {reason}", row.number);
        let _ = writeln!(
            text,
            "{},{},{}",
            quoted(&row.token),
            quoted(&row.tags),
            quoted(&reason)
        );
    }
    Ok(text)
}

/// One call; a service that is busy, or starts again, is asked again.
async fn asked(owner: &Owner, body: &str) -> Outcome<Value> {
    let mut tries = 0;
    loop {
        tries += 1;
        let answer = owner.post_csv("/v1/claimed-devices", body.to_owned()).await;
        let fault = match answer {
            Ok(Answer {
                status: 200..=299,
                body,
            }) => return Ok(body),
            Ok(Answer { status, body }) => {
                let fault = owner.refusal(status, &body);
                if !matches!(status, 429 | 500 | 502 | 503) {
                    return Err(fault);
                }
                fault
            }
            Err(fault) if tries == 1 => return Err(fault),
            Err(fault) => fault,
        };
        if tries >= TRIES_MAX {
            return Err(fault);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn strange(what: &str) -> Fault {
    Fault::untried(format!("the service answered with {what}"))
}

/// What to say about an end in the middle.
fn stopped(fault: Fault, progress: &Progress, kept: bool) -> Fault {
    progress.end();
    let rows = progress.rows();
    if rows == 0 {
        return fault;
    }
    eprintln!("stopped behind row {rows}");
    if kept {
        fault.hint("the same command again goes on there")
    } else {
        fault.hint("rows from stdin are not remembered; give all of them again, which claims nothing twice")
    }
}

fn summary(done: Done, took: Duration, peak: Option<u64>) -> String {
    let mut text = format!(
        "{} rows: {} claimed, {} refused, in {:.1} s",
        done.rows,
        done.claimed,
        done.failed,
        took.as_secs_f64()
    );
    if let Some(peak) = peak {
        let _ = write!(text, ", peak memory {:.1} MB", peak as f64 / 1e6);
    }
    text
}
