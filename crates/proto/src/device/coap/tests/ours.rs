//! Our conduct: one session, one authentication, for as long as both last.

use super::*;

const HOUR: u32 = 3600;

fn table() -> Table {
    Table::new(LinkConduct::Ours)
}

fn granted(max_age_s: u32) -> Answer {
    Ok((CREATED, Some(max_age_s), Vec::new()))
}

#[test]
fn one_session_and_one_authentication_serve_everything() {
    let mut table = table().batches(two_rounds());
    table.moves = true;
    assert_eq!(
        table.run(),
        [
            "START",
            "sign jwt-1",
            "connect",
            "auth jwt-1",
            "cmd after=",
            "NEED_LTE_DEACTIVATED",
            "NEED_LTE_ACTIVATED",
            "rebind",
            "rsp",
            "cmd after=u.1",
            "NEED_LTE_DEACTIVATED",
            "NEED_LTE_ACTIVATED",
            "rebind",
            "rsp",
            "DONE",
            "STOP",
        ]
    );
}

#[test]
fn the_next_run_is_one_round_trip() {
    let mut table = table();
    table.run();
    let next = table.run();
    assert_eq!(
        next,
        ["START", "sign jwt-2", "cmd after=", "NO_COMMANDS", "STOP"]
    );
}

#[test]
fn a_network_that_comes_and_goes_is_one_new_address() {
    let mut table = table();
    table.run();
    for _ in 0..1000 {
        table.link.handle(LinkInput::Moved, table.now);
    }
    assert_eq!(table.link.poll(), LinkOutput::Rebind);
    assert_eq!(table.link.poll(), LinkOutput::Wait);
}

#[test]
fn a_grant_that_ran_out_is_asked_for_again() {
    let mut table = table().answers("auth-jwt", [granted(HOUR), granted(HOUR)]);
    table.run();
    table.now = table.now.plus(Duration::from_secs(3599));
    assert_eq!(count(&table.run(), "auth jwt-2"), 0);
    table.now = table.now.plus(Duration::from_secs(1));
    assert_eq!(
        table.run(),
        [
            "START",
            "sign jwt-3",
            "auth jwt-3",
            "cmd after=",
            "NO_COMMANDS",
            "STOP"
        ]
    );
}

#[test]
fn a_grant_that_the_service_forgot_is_asked_for_again() {
    let refused = || Ok((UNAUTHORIZED, None, Vec::new()));
    let mut table = table().answers("auth-jwt", [granted(HOUR)]);
    table.run();
    let mut table = table.answers("cmd", [refused()]);
    assert_eq!(
        table.run(),
        [
            "START",
            "sign jwt-2",
            "cmd after=",
            "auth jwt-2",
            "cmd after=",
            "NO_COMMANDS",
            "STOP"
        ]
    );
    table.scripts.clear();
    let mut table = table
        .batches([vec![at("u.1"), finished("u.2")]])
        .answers("rsp", [refused()]);
    let seen = table.run();
    assert_eq!(
        seen[seen.len() - 5..],
        ["rsp", "auth jwt-3", "rsp", "DONE", "STOP"]
    );
}

#[test]
fn a_device_that_was_unclaimed_learns_it_and_keeps_its_session() {
    let refused = || Ok((UNAUTHORIZED, Some(5), Vec::new()));
    let mut table = table();
    table.run();
    let mut table = table
        .answers("cmd", [refused()])
        .answers("auth-jwt", [refused()]);
    assert_eq!(
        table.run(),
        [
            "START",
            "sign jwt-2",
            "cmd after=",
            "auth jwt-2",
            "FAILED_DEVICE_NOT_CLAIMED",
            "STOP"
        ]
    );
    assert_eq!(
        table.hints,
        [Duration::from_secs(5)],
        "the last word's hint, once"
    );
    assert_eq!(table.link.granted(table.now), None);
    let again = table.run();
    assert_eq!(again[2], "auth jwt-3", "no handshake");
}

#[test]
fn a_second_refusal_in_one_exchange_is_final() {
    let refused = || Ok((UNAUTHORIZED, None, Vec::new()));
    let mut table = table().answers("cmd", [refused(), refused()]);
    assert_eq!(
        table.run(),
        [
            "START",
            "sign jwt-1",
            "connect",
            "auth jwt-1",
            "cmd after=",
            "FAILED_DEVICE_NOT_CLAIMED",
            "STOP"
        ]
    );
}

#[test]
fn a_kept_session_that_does_not_answer_is_replaced_once() {
    for (path, failures) in [("cmd", 1), ("rsp", 1)] {
        let mut table = table();
        table.run();
        table.scripts.clear();
        let mut table = table
            .answers(path, vec![Err(TransportError::Timeout); failures])
            .batches([vec![at("u.1"), finished("u.2")]]);
        if path == "cmd" {
            // The timeout first, then the batch.
            let (_, batch) = table.scripts.pop().unwrap();
            table.scripts[0].1.extend(batch);
        }
        let seen = table.run();
        let at = seen.iter().position(|seen| seen == "close").unwrap();
        let step = seen[at - 1].clone();
        assert!(step.starts_with(path), "{seen:?}");
        assert_eq!(seen[at + 1..at + 4], ["connect", "auth jwt-2", &*step]);
        assert_eq!(count(&seen, "connect"), 1);
        assert!(seen.contains(&"DONE".to_string()));
    }
}

#[test]
fn a_fresh_session_that_does_not_answer_is_not_replaced() {
    for path in ["auth-jwt", "cmd"] {
        let mut table = table().answers(path, [Err(TransportError::Timeout)]);
        let seen = table.run();
        assert_eq!(
            seen[seen.len() - 3..],
            ["close", "FAILED -ETIMEDOUT", "STOP"]
        );
        assert_eq!(count(&seen, "connect"), 1);
        assert_eq!(
            count(&table.run(), "connect"),
            1,
            "the next run begins anew"
        );
    }
}

#[test]
fn the_replacement_gets_no_replacement() {
    let mut table = table();
    table.run();
    let timeouts = [Err(TransportError::Timeout), Err(TransportError::Closed)];
    let mut table = table.answers("cmd", timeouts);
    let seen = table.run();
    assert_eq!(count(&seen, "connect"), 1);
    assert!(seen.contains(&"FAILED -ESHUTDOWN".to_string()), "{seen:?}");
}

#[test]
fn a_busy_service_keeps_its_session() {
    let mut table = table().answers("cmd", [Ok((BUSY, None, Vec::new()))]);
    let seen = table.run();
    assert_eq!(count(&seen, "close"), 0, "{seen:?}");
    assert_eq!(count(&table.run(), "connect"), 0);
}

#[test]
fn a_report_is_kept_until_it_is_acknowledged() {
    let busy = || Ok((BUSY, None, Vec::new()));
    let mut table = table()
        .batches([vec![at("u.1"), finished("u.2")]])
        .answers("rsp", [busy(), busy()]);
    let seen = table.run();
    assert_eq!(count(&seen, "again -EBUSY"), 2, "{seen:?}");
    assert_eq!(count(&seen, "rsp"), 3);
    assert_eq!(count(&seen, "connect"), 1);
    assert!(seen.contains(&"DONE".to_string()));
}

/// A refused authentication says nothing about the report behind it, whatever its code.
#[test]
fn a_report_survives_a_refused_authentication() {
    for code in [0x80, 0x8d, 0x8f, FORBIDDEN, UNAUTHORIZED] {
        let refused = || Ok((code, None, Vec::new()));
        let mut table = table()
            .batches([vec![at("u.1"), finished("u.2")]])
            .answers("rsp", [Ok((UNAUTHORIZED, None, Vec::new()))])
            .answers("auth-jwt", {
                // The first opens the session, the later ones are refused.
                let mut answers = vec![granted(HOUR)];
                answers.extend(vec![refused(); 10]);
                answers
            });
        let seen = table.run();
        let tries = if code == UNAUTHORIZED { 2 } else { 6 };
        assert_eq!(count(&seen, "auth jwt-1"), tries, "{code:#x}: {seen:?}");
        assert!(seen.iter().any(|seen| seen.starts_with("kept")), "{seen:?}");
        assert!(table.session.has_unacknowledged_report());
    }
}

/// spec/device-protocol §6.3: ours signs anew where the firmware has no remedy.
#[test]
fn a_token_that_expired_in_offline_work_is_made_anew() {
    let mut table = table()
        .answers("auth-jwt", [granted(10)])
        .batches([vec![at("u.1"), finished("u.2")]]);
    table.radio_takes = Duration::from_secs(200);
    let seen = table.run();
    assert_eq!(
        seen[seen.len() - 5..],
        ["sign jwt-2", "auth jwt-2", "rsp", "DONE", "STOP"]
    );
}

#[test]
fn a_live_token_is_used_again_as_the_same_string() {
    let mut table = table()
        .answers("auth-jwt", [granted(10)])
        .batches([vec![at("u.1"), finished("u.2")]]);
    table.radio_takes = Duration::from_secs(20);
    let seen = table.run();
    assert_eq!(count(&seen, "auth jwt-1"), 2, "{seen:?}");
    assert_eq!(table.signed, 1);
}

#[test]
fn without_a_connection_id_a_move_ends_the_session() {
    let mut table = table().batches([vec![at("u.1"), finished("u.2")]]);
    table.moves = true;
    table.connects.push_back(Ok(false));
    let seen = table.run();
    assert_eq!(count(&seen, "rebind"), 0);
    assert_eq!(count(&seen, "close"), 1);
    assert_eq!(count(&seen, "connect"), 2);
    assert_eq!(count(&seen, "rsp"), 1);
}

#[test]
fn a_session_that_the_peer_ended_is_not_missed_until_it_is_needed() {
    let mut table = table();
    table.run();
    table.link.handle(LinkInput::Lost, table.now);
    assert_eq!(table.link.poll(), LinkOutput::Wait);
    assert!(!table.link.is_connected());
    assert_eq!(count(&table.run(), "connect"), 1);
}

#[test]
fn an_earlier_life_hands_over_session_and_grant() {
    let mut table = table().answers("auth-jwt", [granted(HOUR)]);
    table.run();
    let grant = table.link.granted(table.now);
    assert_eq!(grant, Some(Grant::For(Duration::from_secs(3600))));
    let restored = |granted| {
        let mut table = self::table();
        let cid = true;
        table
            .link
            .handle(LinkInput::Restored { cid, granted }, table.now);
        table.run()
    };
    assert_eq!(restored(grant)[2], "cmd after=");
    assert_eq!(restored(Some(Grant::UntilRefused))[2], "cmd after=");
    assert_eq!(restored(None)[2], "auth jwt-1");
}

#[test]
fn a_run_that_was_cut_off_leaves_nothing_behind() {
    for after in 0..4 {
        let mut table = table();
        let fetch = LinkInput::Fetch {
            jwt: "jwt".to_string().into(),
            query: FetchQuery {
                after: String::new(),
                rx_bytes_max: 1,
                tx_bytes_max: 1,
                modem_version: None,
                client_version: None,
                limit: None,
            },
        };
        let steps = [
            LinkInput::Connected { cid: true },
            LinkInput::Answered {
                code: CREATED,
                max_age_s: None,
                payload: Vec::new(),
            },
            LinkInput::NotAnswered(TransportError::Timeout),
        ];
        let now = table.now;
        table.link.handle(fetch, now);
        for step in steps.into_iter().take(after) {
            while table.link.poll() != LinkOutput::Wait {}
            table.link.handle(step, now);
        }
        // Not polled any more: the driver was dropped.
        table.link.handle(LinkInput::Stopped, now);
        let mut wanted = Vec::new();
        loop {
            match table.link.poll() {
                LinkOutput::Wait => break,
                wants => wanted.push(wants),
            }
        }
        assert!(
            wanted
                .iter()
                .all(|wants| matches!(wants, LinkOutput::Close | LinkOutput::Answer(_))),
            "{after}: {wanted:?}"
        );
        assert!(!table.link.is_connected());
    }
}
