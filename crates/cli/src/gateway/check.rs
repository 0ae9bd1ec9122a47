//! `gateway check FILE`: a mosquitto file that somebody wrote.

use super::Desk;
use crate::fault::{Fault, Outcome};
use crate::output;
use sectag_gateway::check::{Report, check as judge};
use sectag_gateway::facts::Machine;
use sectag_gateway::mosquitto::{BrokerVersion, FILE_BYTES_MAX};
use sectag_host::broker::Broker;
use sectag_host::ground::Disk;
use sectag_host::machine;
use std::io::Read as _;
use std::path::Path;

/// Judged when no mosquitto is here and none was named: Debian's.
const USUAL: BrokerVersion = BrokerVersion::V2_0_11;

/// Instead of a file's name.
const STDIN: &str = "-";

/// Exit 0 when the file works as it is meant, 1 when it does not, 2 when it could not be read.
pub(super) fn check(desk: &Desk<'_>, file: &Path) -> Outcome {
    let text = read(file)?;
    if text.len() > FILE_BYTES_MAX {
        let file = file.display();
        let sentence = format!("`{file}` has more than the {FILE_BYTES_MAX} bytes that are read");
        return Err(Fault::untried(sentence)
            .hint("mosquitto's files are a few kilobytes; is it another file, such as its log?"));
    }
    let broker = Broker::find(&desk.options()?).ok();
    if broker.is_none() {
        eprintln!(
            "note: no mosquitto was found; judged as {USUAL} would read it (--broker-version)"
        );
    }
    let version = broker.as_ref().map_or(USUAL, |broker| broker.version);
    let user = broker.and_then(|broker| broker.user);
    let disk = Disk::new(user.clone());
    let machine = Machine {
        now_s: machine::now_s(),
        broker: Some(version),
        broker_user: user,
        ..Machine::default()
    };
    let name = if file.as_os_str() == STDIN {
        Path::new("stdin")
    } else {
        file
    };
    let report = judge(name, &text, &disk, version, &machine);
    if desk.global.json {
        output::json(&report.json());
    } else {
        output::print(&report.text());
    }
    verdict(name, &report)
}

fn read(file: &Path) -> Outcome<Vec<u8>> {
    let mut text = Vec::new();
    if file.as_os_str() == STDIN {
        let limit = FILE_BYTES_MAX as u64 + 1;
        std::io::stdin()
            .take(limit)
            .read_to_end(&mut text)
            .map_err(|e| Fault::untried(format!("stdin cannot be read: {e}")))?;
        return Ok(text);
    }
    match sectag_keep::read_public(file) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(Fault::untried(format!("`{}` does not exist", file.display()))
            .hint("mosquitto's own files are /etc/mosquitto/mosquitto.conf and those in /etc/mosquitto/conf.d")),
        Err(error) => {
            let hint = error.hint();
            let fault = Fault::from(error).or_code(2);
            Err(match hint {
                Some(hint) => fault.hint(hint),
                None => fault,
            })
        }
    }
}

fn verdict(file: &Path, report: &Report) -> Outcome {
    if report.is_fine() {
        return Ok(());
    }
    let stops = report
        .judged
        .judgements
        .iter()
        .any(|judgement| judgement.stops);
    let what = if stops {
        "would keep the broker from starting"
    } else {
        "does not do what it seems to be meant for"
    };
    Err(Fault::no(format!("`{}` {what}", file.display())))
}
