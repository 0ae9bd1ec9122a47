//! `sectag modem at` and `sectag modem record`: lines to any modem, as they are.

use crate::args::{AtLine, Record};
use crate::creds::{Session, with_session};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use sectag_modem::credentials::StoreError;
use sectag_modem::{LineError, Modem};
use sectag_proto::at::{Answer, Verdict};
use serde_json::json;
use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Longest line from stdin.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// How often a recording looks for what the modem says on its own.
const LOOK: Duration = Duration::from_millis(200);

/// `sectag modem at`
pub(crate) async fn at(place: &Place, args: AtLine, as_json: bool) -> Outcome {
    let line = match args.line.as_str() {
        "-" => {
            let mut text = String::new();
            std::io::stdin()
                .take(LINE_BYTES_MAX + 1)
                .read_to_string(&mut text)?;
            if text.len() as u64 > LINE_BYTES_MAX {
                return Err(Fault::untried(format!(
                    "stdin has more than {LINE_BYTES_MAX} bytes; nothing was sent"
                ))
                .hint("a modem takes lines of 4096 bytes"));
            }
            text.trim_end().to_owned()
        }
        line => line.to_owned(),
    };
    if !line
        .trim_start()
        .get(..2)
        .is_some_and(|at| at.eq_ignore_ascii_case("AT"))
    {
        let shown: String = line.chars().take(40).collect();
        return Err(Fault::untried(format!("`{shown}` is no AT command"))
            .hint("it begins with AT, for example `AT+CGSN` or `AT%CMNG=1`"));
    }
    with_session(place, args.modem, move |session| {
        one(session, &line, as_json)
    })
    .await
}

fn one(session: &mut Session, line: &str, as_json: bool) -> Outcome {
    let modem = session.lines()?;
    let text = modem.line(line).map_err(line_fault)?;
    let notifications = modem.notifications();
    let (lines, verdict) = match Answer::parse(&text) {
        Ok(answer) => (answer.lines, answer.verdict),
        Err(_) => {
            return Err(Fault::no(format!(
                "the modem's answer has no end: `{}`",
                text.trim().chars().take(120).collect::<String>()
            )));
        }
    };
    if as_json {
        output::json(&json!({
            "lines": lines,
            "result": verdict.to_string(),
            "notifications": notifications,
        }));
    } else {
        output::print(&text);
        for line in &notifications {
            eprintln!("the modem also said: {line}");
        }
    }
    match verdict {
        Verdict::Ok => Ok(()),
        Verdict::Error => {
            Err(Fault::no("the modem answered ERROR").hint("`AT+CMEE=1` makes it say a number"))
        }
        refused => {
            let fault = Fault::no(format!("the modem answered `{refused}`"));
            Err(
                match StoreError::from_answer(Some(&refused), &text).hint() {
                    Some(hint) => fault.hint(hint),
                    None => fault,
                },
            )
        }
    }
}

/// `sectag modem record`
pub(crate) async fn record(place: &Place, args: Record) -> Outcome {
    let mut modem = args.modem;
    modem.transcript = Some(args.file);
    with_session(place, modem, pass).await
}

/// Until stdin ends. Lines are joined while a quote is open.
fn pass(session: &mut Session) -> Outcome {
    let (to_us, from_stdin) = mpsc::channel();
    // Nobody can interrupt a read from a terminal, so the thread is left to itself at the end.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if to_us.send(line).is_err() {
                break;
            }
        }
    });
    if std::io::stdin().is_terminal() {
        eprintln!("type AT lines; Ctrl-D ends");
    }
    let mut command = String::new();
    while !session.is_stopped() {
        let modem = session.lines()?;
        match from_stdin.recv_timeout(LOOK) {
            Ok(line) => {
                if !command.is_empty() {
                    command.push('\n');
                }
                command += &line;
                if command.matches('"').count() % 2 == 1 && (command.len() as u64) < LINE_BYTES_MAX
                {
                    continue;
                }
                let line = std::mem::take(&mut command);
                if !line.trim().is_empty() {
                    answer(modem, &line)?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        for line in modem.notifications() {
            output::print(&format!("{line}\n"));
        }
    }
    if !command.is_empty() {
        return Err(Fault::no(
            "stdin ended inside quotes; the last line was not sent",
        ));
    }
    Ok(())
}

fn answer(modem: &mut (dyn Modem + Send), line: &str) -> Outcome {
    match modem.line(line) {
        Ok(text) => {
            output::print(&text);
            Ok(())
        }
        // The recording goes on: the next line may be answered.
        Err(error @ (LineError::Timeout { .. } | LineError::Unsendable { .. })) => {
            eprintln!("{error}");
            Ok(())
        }
        Err(error) => Err(line_fault(error)),
    }
}

fn line_fault(error: LineError) -> Fault {
    let said = error.said().trim().to_owned();
    let fault = Fault::from(error);
    if said.is_empty() {
        fault
    } else {
        let said: String = said.chars().take(120).collect();
        fault.hint(format!("until then it had said `{said}`"))
    }
}
