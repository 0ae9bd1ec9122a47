//! The page of the nRF Cloud device provisioning library, its two charts on a virtual clock (tests/sources/README.md, L).
#![allow(clippy::unwrap_used)]

use sectag_modem::Options;
use sectag_proto::SecTag;
use sectag_proto::command::{CommandRequest, ConfigPairs};
use sectag_proto::device::{Config, Ending, Errno, Event};
use sectag_proto::service::Status;
use sectag_sim::cuts::Cuts;
use sectag_sim::town::Town;

/// A claimed device, and this command between one that works and the end.
fn town(seed: u64, command: CommandRequest) -> Town {
    let mut town = Town::new(seed, Config::default(), Options::default(), Cuts::none());
    let setting = ConfigPairs(vec![("greeting".into(), "hello".into())]);
    let requests = vec![
        CommandRequest::Config(setting),
        command,
        CommandRequest::Finished {},
    ];
    let now = town.now();
    town.desk.add(requests, now);
    town
}

/// The arrows of a chart: what the device told its application, and what it said of each command.
fn chart(town: &Town) -> Vec<String> {
    let arrows = town.events.iter().map(|event| match event {
        Event::BatchReceived { commands } => format!("{commands} commands"),
        Event::CommandDone { command, .. } => format!("{command}: OK"),
        Event::CommandFailed { command, .. } => format!("{command}: failed"),
        Event::Reported { .. } => "report".to_owned(),
        other => format!("{other:?}"),
    });
    arrows.collect()
}

fn statuses(town: &Town) -> Vec<Status> {
    let commands = town.desk.commands().iter();
    commands.map(|command| command.status).collect()
}

/// Request, offline, write, online, report: every command is answered for, and the queue is empty.
#[test]
fn l11_the_chart_of_success_in_the_town() {
    let sec_tag = SecTag::new(7).unwrap();
    let mut town = town(11, CommandRequest::ClientPrivateKeyGeneration { sec_tag });
    assert_eq!(town.session(), Some(Ending::Done));
    assert_eq!(
        chart(&town),
        [
            "Start",
            "4 commands",
            "config: OK",
            "NeedLteDeactivated",
            "AT%CMNG=3,7,2: OK",
            "AT%KEYGEN=7,2,1: OK",
            "finished: OK",
            "NeedLteActivated",
            "report",
            "Done",
            "Stop",
        ]
    );
    assert_eq!(statuses(&town), [Status::Succeeded; 3]);
}

/// The second command fails: the first is reported with it, the third was not executed, and all have left the queue.
#[test]
fn l12_the_chart_of_failure_in_the_town() {
    let nothing_there = CommandRequest::AtCommand {
        command: "%CMNG".into(),
        parameters: "3,99,1".into(),
        ignore_cme_errors: Vec::new(),
    };
    let mut town = town(12, nothing_there);
    assert_eq!(town.session(), Some(Ending::Failed(Errno::NoData)));
    assert_eq!(
        chart(&town),
        [
            "Start",
            "3 commands",
            "config: OK",
            "NeedLteDeactivated",
            "AT%CMNG=3,99,1: failed",
            "NeedLteActivated",
            "report",
            "NoCommands",
            "Stop",
        ]
    );
    assert_eq!(
        statuses(&town),
        [Status::Succeeded, Status::Failed, Status::Failed]
    );
    assert!(town.desk.is_settled());
}
