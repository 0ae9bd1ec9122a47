//! What happens to a report on its way.

use super::*;

#[test]
fn a_lost_report_is_sent_again_before_the_next_fetch() {
    let mut table = Table::careful().batch(&[config("u.1", &[("a", "1")]), finished("u.2")]);
    table.reports = VecDeque::from([Err(TransportError::Closed), Ok(500), Ok(200)]);
    table.run();
    assert_eq!(table.sent.len(), 3);
    assert!(table.sent.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(table.afters, [""], "no fetch in between");
    assert_eq!(table.now, Uptime(6000), "2 s, then 4 s");
    assert_eq!(table.session.ending(), Some(Ending::Done));
}

#[test]
fn a_report_that_nobody_acknowledges_waits_for_the_next_session() {
    let mut table = Table::careful().batch(&[config("u.1", &[("a", "1")]), finished("u.2")]);
    table.reports = (0..REPORT_TRIES_MAX)
        .map(|_| Err(TransportError::Timeout))
        .collect();
    table.run();
    assert_eq!(
        table.session.ending(),
        Some(Ending::Failed(Errno::TimedOut))
    );
    assert!(table.session.has_unacknowledged_report());
    table.run();
    assert_eq!(table.sent.len() as u32, REPORT_TRIES_MAX + 1);
    assert_eq!(table.afters.len(), 1, "the second session did not fetch");
    assert_eq!(table.session.ending(), Some(Ending::Done));
}

#[test]
fn a_proxy_that_lost_its_service_does_not_cost_the_results() {
    for status in [403, 404, 429, 502, 503] {
        let mut table = Table::careful().batch(&[config("u.1", &[("a", "1")]), finished("u.2")]);
        table.reports.push_back(Ok(status));
        table.run();
        assert_eq!(table.sent.len(), 2, "{status}");
        assert_eq!(table.session.ending(), Some(Ending::Done), "{status}");
    }
}

#[test]
fn a_report_that_is_refused_for_good_is_not_sent_again() {
    let mut table = Table::careful().batch(&[config("u.1", &[("a", "1")]), finished("u.2")]);
    table.reports.push_back(Ok(400));
    table.run();
    assert_eq!(table.sent.len(), 1);
    assert_eq!(table.afters, ["", "u.2"]);
    assert_eq!(
        table.session.ending(),
        Some(Ending::Failed(Errno::NoData)),
        "finished is forgotten with it"
    );
}

#[test]
fn the_firmware_forgets_a_lost_report_and_fetches_on() {
    let mut table = Table::firmware().batch(&[config("u.1", &[("a", "1")]), finished("u.2")]);
    table.reports.push_back(Err(TransportError::Closed));
    table.run();
    assert_eq!(table.sent.len(), 1);
    assert_eq!(table.afters, ["", "u.2"]);
    assert_eq!(table.story().last(), Some(&Event::Stop));
    assert_eq!(table.session.ending(), Some(Ending::Failed(Errno::NoData)));
}

#[test]
fn results_that_do_not_fit_the_report_buffer_end_as_no_commands() {
    let mut table = Table::careful()
        .batch(&[
            at("u.1", "%KEYGEN", "1,2,0", &[]),
            at("u.2", "%KEYGEN", "2,2,0", &[]),
            at("u.3", "%KEYGEN", "3,2,0", &[]),
        ])
        .answer("AT%KEYGEN=1", &long_answer(900))
        .answer("AT%KEYGEN=2", &long_answer(900))
        .answer("AT%KEYGEN=3", &long_answer(900));
    table.run();
    assert!(table.sent.is_empty());
    assert_eq!(table.story().iter().rev().nth(1), Some(&Event::NoCommands));
}

#[test]
fn each_request_of_the_report_has_its_own_token_and_the_radio_rest_is_an_option() {
    let mut table = Table::new(Config {
        radio_rest: Duration::ZERO,
        ..Config::default()
    })
    .batch(&[at("u.1", "%X", "1", &[]), finished("u.2")]);
    table.run();
    assert_eq!((table.signatures, table.now), (2, Uptime(0)));
}
