//! The firmware's conduct, step by step as in spec/device-protocol §6.3.

use super::*;

const KEEP: LinkConduct = LinkConduct::Firmware { keep_open: true };
const CLOSE: LinkConduct = LinkConduct::Firmware { keep_open: false };

#[test]
fn with_keep_open_one_session_serves_all_rounds() {
    let mut table = Table::new(KEEP).batches(two_rounds());
    assert_eq!(
        table.run(),
        [
            "START",
            "sign jwt-1",
            "connect",
            "auth jwt-1",
            "cmd after=",
            "suspend",
            "NEED_LTE_DEACTIVATED",
            "NEED_LTE_ACTIVATED",
            "rsp",
            "auth jwt-1",
            "cmd after=u.1",
            "suspend",
            "NEED_LTE_DEACTIVATED",
            "NEED_LTE_ACTIVATED",
            "rsp",
            "DONE",
            "STOP",
            "close",
        ]
    );
}

#[test]
fn without_keep_open_fetch_and_report_have_a_session_each() {
    let mut table = Table::new(CLOSE).batches(two_rounds());
    assert_eq!(
        table.run(),
        [
            "START",
            "sign jwt-1",
            "connect",
            "auth jwt-1",
            "cmd after=",
            "close",
            "NEED_LTE_DEACTIVATED",
            "NEED_LTE_ACTIVATED",
            "connect",
            "auth jwt-1",
            "rsp",
            "auth jwt-1",
            "cmd after=u.1",
            "close",
            "NEED_LTE_DEACTIVATED",
            "NEED_LTE_ACTIVATED",
            "connect",
            "auth jwt-1",
            "rsp",
            "DONE",
            "STOP",
            "close",
        ]
    );
}

#[test]
fn without_commands_nothing_is_suspended() {
    let mut table = Table::new(KEEP);
    let expected = [
        "START",
        "sign jwt-1",
        "connect",
        "auth jwt-1",
        "cmd after=",
        "NO_COMMANDS",
        "STOP",
        "close",
    ];
    assert_eq!(table.run(), expected);
    let again = table.run();
    assert_eq!(again[1], "sign jwt-2", "each run makes its own token");
    assert_eq!(again[2], "connect", "and its own session");
}

#[test]
fn any_answer_to_suspend_will_do() {
    for code in [CHANGED, NOT_FOUND, UNAUTHORIZED, BUSY] {
        let mut table = Table::new(KEEP)
            .batches([vec![at("u.1"), finished("u.2")]])
            .answers("suspend", [Ok((code, None, Vec::new()))]);
        let seen = table.run();
        assert_eq!(count(&seen, "connect"), 1, "{code:#x}: {seen:?}");
        assert!(seen.contains(&"DONE".to_string()));
    }
}

#[test]
fn a_suspend_without_an_answer_costs_keep_open() {
    let mut table = Table::new(KEEP)
        .batches(two_rounds())
        .answers("suspend", [Err(TransportError::Timeout)]);
    assert_eq!(
        table.run(),
        [
            "START",
            "sign jwt-1",
            "connect",
            "auth jwt-1",
            "cmd after=",
            "suspend",
            "close",
            "NEED_LTE_DEACTIVATED",
            "NEED_LTE_ACTIVATED",
            "connect",
            "auth jwt-1",
            "rsp",
            "auth jwt-1",
            "cmd after=u.1",
            "close",
            "NEED_LTE_DEACTIVATED",
            "NEED_LTE_ACTIVATED",
            "connect",
            "auth jwt-1",
            "rsp",
            "DONE",
            "STOP",
            "close",
        ]
    );
    assert_eq!(count(&table.run(), "suspend"), 0, "nothing is queued");
    table.scripts.clear();
    let mut table = table.batches([vec![at("u.4"), finished("u.5")]]);
    assert_eq!(count(&table.run(), "suspend"), 1, "the next run keeps open");
}

#[test]
fn a_report_that_fails_is_sent_once_more_on_a_fresh_session() {
    let failures: [Answer; 5] = [
        Err(TransportError::Timeout),
        Err(TransportError::Closed),
        Ok((UNAUTHORIZED, None, Vec::new())),
        Ok((BUSY, None, Vec::new())),
        Ok((CONTENT, None, Vec::new())),
    ];
    for failure in failures {
        let mut table = Table::new(KEEP)
            .batches([vec![at("u.1"), finished("u.2")]])
            .answers("rsp", [failure.clone()]);
        assert_eq!(
            table.run(),
            [
                "START",
                "sign jwt-1",
                "connect",
                "auth jwt-1",
                "cmd after=",
                "suspend",
                "NEED_LTE_DEACTIVATED",
                "NEED_LTE_ACTIVATED",
                "rsp",
                "close",
                "connect",
                "auth jwt-1",
                "rsp",
                "DONE",
                "STOP",
                "close",
            ],
            "{failure:?}"
        );
        let reports = table.payloads.iter().filter(|(path, _)| path == "rsp");
        let reports: Vec<_> = reports.collect();
        assert_eq!(reports[0], reports[1], "the same bytes");
    }
}

#[test]
fn a_report_that_fails_twice_ends_the_session_and_is_lost() {
    let mut table = Table::new(KEEP)
        .batches([vec![at("u.1"), finished("u.2")]])
        .answers(
            "rsp",
            [Err(TransportError::Timeout), Ok((BUSY, None, Vec::new()))],
        );
    let seen = table.run();
    assert_eq!(
        seen[seen.len() - 5..],
        ["rsp", "lost -EBUSY", "FAILED -EBUSY", "STOP", "close"]
    );
    assert!(!table.session.has_unacknowledged_report());
    assert_eq!(table.session.after(), "u.2", "the next fetch says so");
}

#[test]
fn without_keep_open_a_report_has_one_try() {
    let mut table = Table::new(CLOSE)
        .batches([vec![at("u.1"), finished("u.2")]])
        .answers("rsp", [Err(TransportError::Timeout)]);
    let seen = table.run();
    assert_eq!(
        seen[seen.len() - 5..],
        [
            "rsp",
            "close",
            "lost -ETIMEDOUT",
            "FAILED -ETIMEDOUT",
            "STOP"
        ]
    );
}

/// Offline work outlives the token; the library has no remedy and presents it all the same.
#[test]
fn an_expired_token_is_presented_as_it_is() {
    let mut table = Table::new(CLOSE).batches([vec![at("u.1"), finished("u.2")]]);
    table.radio_takes = Duration::from_secs(200);
    let seen = table.run();
    assert!(table.now > Uptime(300_000));
    assert_eq!(count(&seen, "auth jwt-1"), 2, "{seen:?}");
    assert_eq!(table.signed, 1);
}

#[test]
fn a_session_that_moves_keeps_its_connection_id() {
    let mut table = Table::new(KEEP).batches([vec![at("u.1"), finished("u.2")]]);
    table.moves = true;
    let seen = table.run();
    assert_eq!(count(&seen, "rebind"), 1);
    assert_eq!(count(&seen, "connect"), 1);
}
