//! The first town: a session beside a queue, on a virtual clock, with whatever is lost between them.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sectag_modem::{Fault, Options};
use sectag_proto::CommandId;
use sectag_proto::command::CommandRequest;
use sectag_proto::device::{ClientConfig, Conduct, Config, Ending, Errno};
use sectag_proto::service::{Failure, Status};
use sectag_sim::cuts::{Arrow, Cuts};
use sectag_sim::job::{
    self, KEY, KEY_BODY, PASSWORD, PSK, ca, csr, finished, key, setting, tag_is_usable,
};
use sectag_sim::over_every_road;
use sectag_sim::road::Road;
use sectag_sim::town::Town;

fn town(road: Road, seed: u64, conduct: Conduct, cuts: Cuts) -> Town {
    town_with(road, seed, conduct, Options::default(), cuts)
}

fn town_with(road: Road, seed: u64, conduct: Conduct, options: Options, cuts: Cuts) -> Town {
    let session = Config {
        conduct,
        ..Config::default()
    };
    let config = ClientConfig {
        session,
        ..ClientConfig::default()
    };
    Town::with_client(road, seed, config, options, cuts)
}

fn add(town: &mut Town, requests: Vec<CommandRequest>) -> Vec<CommandId> {
    let now = town.now();
    town.desk.add(requests, now)
}

fn whole_job(town: &mut Town) -> Vec<CommandId> {
    let requests = job::whole(town);
    add(town, requests)
}

fn statuses(town: &Town) -> Vec<Status> {
    town.desk.commands().iter().map(|c| c.status).collect()
}

over_every_road! {
    from_blank_to_a_usable_tag_in_one_session,
    the_firmware_conduct_succeeds_as_well,
    the_command_that_fails_is_shown_and_the_rest_never_runs,
    a_session_without_finished_ends_with_no_commands_and_the_next_goes_on,
    a_device_of_another_key_is_turned_away,
    cutting_any_arrow_once_changes_nothing_in_the_end,
    a_report_that_the_firmware_forgets_ends_as_outcome_unknown,
    an_owner_who_looks_sees_the_unknown_outcome_while_the_device_is_away,
    a_closed_loop_whose_report_is_forgotten_runs_again_and_ends_well,
    no_secret_is_in_anything_that_could_be_printed,
    a_careful_device_succeeds_under_any_losses,
    every_command_of_a_forgetful_device_ends,
}

fn from_blank_to_a_usable_tag_in_one_session(road: Road) {
    let mut town = town(road, 1, Conduct::Careful, Cuts::none());
    whole_job(&mut town);
    assert_eq!(town.session(), Some(Ending::Done));
    assert_eq!(
        statuses(&town),
        [Status::Succeeded; 8],
        "seven and a certificate"
    );
    assert!(town.told_done && town.desk.alarms.is_empty());
    assert_eq!(town.device.settings["provisioning/interval-sec"], "3600");
    assert!(tag_is_usable(town));
}

fn the_firmware_conduct_succeeds_as_well(road: Road) {
    let mut town = town(road, 2, Conduct::Firmware, Cuts::none());
    whole_job(&mut town);
    assert_eq!(town.session(), Some(Ending::Done));
    assert_eq!(statuses(&town), [Status::Succeeded; 8]);
    assert!(tag_is_usable(town));
}

fn the_command_that_fails_is_shown_and_the_rest_never_runs(road: Road) {
    let options = Options {
        faults: vec![Fault::cme("AT%KEYGEN=7", 1, 523)],
        ..Options::default()
    };
    let mut town = town_with(road, 3, Conduct::Careful, options, Cuts::none());
    let requests = vec![
        ca(&town),
        key(7),
        setting("provisioning/interval-sec", "3600"),
        finished(),
    ];
    let ids = add(&mut town, requests);
    assert_eq!(town.session(), Some(Ending::Failed(Errno::NoData)));
    let commands = town.desk.commands();
    assert_eq!(commands[0].status, Status::Succeeded);
    let failed = commands[1].response.as_ref().unwrap();
    assert_eq!(failed.failure, Some(Failure::RefusedByDevice));
    assert_eq!(failed.cme_error, Some(523));
    assert_eq!(failed.message, "+CME ERROR: 523");
    for dropped in &commands[2..] {
        let response = dropped.response.as_ref().unwrap();
        assert_eq!(response.failure, Some(Failure::NotExecuted));
        assert!(
            response.message.contains(&ids[1].to_string()),
            "{}",
            response.message
        );
    }
    assert!(town.device.settings.is_empty() && !town.told_done);
    let stored = town.device.modem.line("AT%CMNG=1,42");
    assert!(
        stored.contains("%CMNG: 42,0,"),
        "what succeeded stays: {stored}"
    );
}

fn a_session_without_finished_ends_with_no_commands_and_the_next_goes_on(road: Road) {
    let mut town = town(road, 4, Conduct::Careful, Cuts::none());
    add(&mut town, vec![csr("")]);
    assert_eq!(town.session(), Some(Ending::Failed(Errno::NoData)));
    assert_eq!(statuses(&town), [Status::Succeeded; 2]);
    add(&mut town, vec![finished()]);
    assert_eq!(town.session(), Some(Ending::Done));
}

fn a_device_of_another_key_is_turned_away(road: Road) {
    let mut stranger = town(road, 5, Conduct::Careful, Cuts::none());
    let other = town(road, 6, Conduct::Careful, Cuts::none());
    stranger.desk = other.desk;
    whole_job(&mut stranger);
    assert_eq!(stranger.session(), Some(Ending::Failed(Errno::Access)));
    assert_eq!(statuses(&stranger), [Status::Pending; 7]);
}

fn cutting_any_arrow_once_changes_nothing_in_the_end(road: Road) {
    for arrow in Arrow::ALL {
        let passes = if arrow == Arrow::Power { 90 } else { 6 };
        for pass in 1..=passes {
            let mut town = town(
                road,
                100 + u64::from(pass),
                Conduct::Careful,
                Cuts::one(arrow, pass),
            );
            whole_job(&mut town);
            town.settle(4);
            let all = statuses(&town);
            assert!(
                all.iter().all(|s| *s == Status::Succeeded),
                "{arrow:?} {pass}: {all:?}"
            );
            assert!(tag_is_usable(town), "{arrow:?} {pass}");
        }
    }
}

fn a_report_that_the_firmware_forgets_ends_as_outcome_unknown(road: Road) {
    let mut town = town(road, 9, Conduct::Firmware, Cuts::one(Arrow::Report, 1));
    add(&mut town, vec![key(7), finished()]);
    town.settle(4);
    for command in town.desk.commands() {
        let response = command.response.as_ref().unwrap();
        assert_eq!(response.failure, Some(Failure::OutcomeUnknown));
        assert_eq!(response.message, "outcome unknown: executed, report lost");
    }
}

fn an_owner_who_looks_sees_the_unknown_outcome_while_the_device_is_away(road: Road) {
    let mut town = town(road, 10, Conduct::Firmware, Cuts::one(Arrow::Report, 1));
    add(&mut town, vec![key(7)]);
    // Over CoAP a lost report ends the session, and the next one's fetch tells that the command ran.
    town.session();
    town.session();
    town.pass(std::time::Duration::from_secs(601));
    let now = town.now();
    town.desk.look(now);
    assert_eq!(statuses(&town), [Status::Failed]);
}

fn a_closed_loop_whose_report_is_forgotten_runs_again_and_ends_well(road: Road) {
    let mut town = town(road, 11, Conduct::Firmware, Cuts::one(Arrow::Report, 1));
    let requests = vec![ca(&town), csr(""), finished()];
    add(&mut town, requests);
    town.settle(4);
    let [root, rest @ ..] = &statuses(&town)[..] else {
        panic!("an empty queue");
    };
    assert_eq!(
        (*root, rest.len()),
        (Status::Failed, 3),
        "it ran, and nobody knows"
    );
    assert!(rest.iter().all(|s| *s == Status::Succeeded));
    assert!(tag_is_usable(town));
}

fn no_secret_is_in_anything_that_could_be_printed(road: Road) {
    let mut town = town(
        road,
        12,
        Conduct::Careful,
        Cuts::one(Arrow::Acknowledgement, 1),
    );
    whole_job(&mut town);
    town.settle(4);
    let key_line = format!("{:?}", KEY);
    assert_eq!(
        town.leaks(&[PSK, PASSWORD, KEY_BODY, &key_line, "PRIVATE KEY"]),
        [""; 0]
    );
    assert_eq!(
        town.leaks(&["%CMNG"]),
        ["%CMNG"],
        "the check itself sees what is printed"
    );
}

/// A careful device loses nothing, whatever the network and the power do.
fn a_careful_device_succeeds_under_any_losses(road: Road) {
    proptest!(cases(40), |(seed in any::<u64>(), most in 0u32..8)| {
        let mut town = town(road, seed, Conduct::Careful, Cuts::chance(seed, most));
        whole_job(&mut town);
        town.settle(12);
        prop_assert!(statuses(&town).iter().all(|s| *s == Status::Succeeded), "seed {}: {:?}", seed, statuses(&town));
        prop_assert!(town.desk.alarms.is_empty(), "seed {}: {:?}", seed, town.desk.alarms);
        prop_assert!(town.leaks(&[PSK, PASSWORD, KEY_BODY, "PRIVATE KEY"]).is_empty(), "seed {}", seed);
        prop_assert!(tag_is_usable(town), "seed {}", seed);
    });
}

/// The firmware forgets reports: some outcomes stay unknown, every command ends, and done means done.
fn every_command_of_a_forgetful_device_ends(road: Road) {
    proptest!(cases(40), |(seed in any::<u64>(), most in 0u32..8)| {
        let mut town = town(road, seed, Conduct::Firmware, Cuts::chance(seed, most));
        let ids = whole_job(&mut town);
        town.settle(12);
        prop_assert!(town.desk.alarms.is_empty(), "seed {}: {:?}", seed, town.desk.alarms);
        let last = town.desk.commands().iter().find(|c| Some(&c.id) == ids.last()).unwrap();
        if last.status == Status::Succeeded {
            prop_assert!(tag_is_usable(town), "seed {}: done without a usable tag", seed);
        }
    });
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}
