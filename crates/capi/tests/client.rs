//! A client by handle, from the C side of the border.
#![allow(clippy::unwrap_used, unsafe_code)]

mod desk;

use core::ptr;
use desk::*;
use sectag_capi::*;
use sectag_proto::wire::WireResult;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

#[test]
fn a_batch_is_carried_to_done() {
    let desk = Desk::new();
    desk.batch(&[
        at("u.1", "%CMNG", "0,42,0,\"-----BEGIN\nsecret\""),
        stores("u.2", "app/name", "x"),
        finished("u.3"),
    ]);
    let client = Client::new(&desk, &config());
    // SAFETY: a live handle.
    assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
    assert_eq!(client.run(600_000), (0, 1));

    assert_eq!(desk.story(), [START, LTE_OFF, LTE_ON, DONE, STOP]);
    let results: Vec<i32> =
        desk.script(|script| script.told.iter().map(|told| told.result).collect());
    assert_eq!(results, [0, 0, 0, 1, 1]);
    let asked = desk.script(|script| script.asked.clone());
    assert_eq!(
        asked[0],
        Asked {
            method: "GET".into(),
            target: "/v1/provisioning/commands?after=&rxMaxSize=1024&txMaxSize=2048\
                     &mver=mfw_nrf91x1_2.0.2&cver=3.1.0&limit=10"
                .into(),
            authorization: "Bearer h.p.s".into(),
            accept: "application/cbor".into(),
            content_type: "*/*".into(),
            body: None,
            room: 1024,
        }
    );
    assert_eq!(
        (
            &*asked[1].method,
            &*asked[1].target,
            &*asked[1].authorization
        ),
        ("POST", "/v1/provisioning/response", "Bearer h.p.s")
    );
    assert_eq!(
        (&*asked[1].accept, &*asked[1].content_type),
        ("*/*", "application/cbor")
    );
    assert_eq!(asked.len(), 2);
    let results: Vec<WireResult> = desk.reported(0).into_iter().map(|r| r.result).collect();
    let message = "OK\r\n".to_owned();
    assert_eq!(
        results,
        [
            WireResult::AtDone { message },
            WireResult::ConfigStored,
            WireResult::Finished
        ]
    );
    desk.script(|script| {
        assert_eq!(script.saved, [("app/name".to_owned(), "x".to_owned())]);
        let pem = "AT%CMNG=0,42,0,\"-----BEGIN\nsecret\"";
        let lines: Vec<&str> = script.lines.iter().map(String::as_str).collect();
        assert_eq!(
            lines,
            [
                "AT+CGMR",
                "AT%DEVICEUUID",
                "AT%CCLK?",
                "AT%JWT=0,300,\"\",\"\"",
                "AT+CMEE?",
                "AT+CMEE=1",
                "AT+CFUN?",
                "AT+CFUN=4",
                "AT+CFUN?",
                pem,
                "AT+CMEE=0",
                "AT+CGEREP=1",
                "AT%XTIME=1",
                "AT+CFUN=1",
                "AT+CFUN?",
                "AT%JWT=0,300,\"\",\"\"",
            ]
        );
        assert_eq!(script.waits, [2000], "the rest after the network came back");
        let log = script.logged.join("\n");
        assert!(
            log.contains("command 0 (u.1) done: AT%CMNG=0,42,0,…"),
            "{log}"
        );
        assert!(!log.contains("secret") && !log.contains("h.p.s"), "{log}");
    });
}

#[test]
fn a_failed_command_names_itself_in_the_log_and_in_the_report() {
    let desk = Desk::new();
    desk.batch(&[at("u.1", "%CMNG", "3,42,0"), finished("u.2")])
        .answer("AT%CMNG=3", Ok(b"+CME ERROR: 513\r\n\0"));
    let client = Client::new(&desk, &config());
    // SAFETY: a live handle.
    assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
    assert_eq!(client.run(600_000), (0, NODATA));
    let results = desk.reported(0);
    assert_eq!(results.len(), 1);
    let message = "+CME ERROR: 513\r\n".to_owned();
    let cme_error = 513;
    assert_eq!(
        results[0].result,
        WireResult::Failed { cme_error, message },
        "without the NUL"
    );
    let log = desk.script(|script| script.logged.join("\n"));
    assert!(
        log.contains("command 0 (u.1) failed: AT%CMNG=3,42,0: +CME ERROR: 513 (513)"),
        "{log}"
    );
}

#[test]
fn a_device_that_nobody_claimed_shows_its_token() {
    for (answer, token) in [
        (None, ("2dn3", "0oRD")),
        (Some(Ok(&b"ERROR\r\n"[..])), ("", "")),
        (Some(Err(IO)), ("", "")),
    ] {
        let desk = Desk::new();
        desk.fetch(Exchange::Status(401));
        if let Some(answer) = answer {
            desk.answer("AT%ATTESTTOKEN", answer);
        }
        let client = Client::new(&desk, &config());
        // SAFETY: a live handle.
        assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
        assert_eq!(client.run(600_000), (0, ACCES));
        assert_eq!(desk.story(), [START, NOT_CLAIMED, STOP]);
        let told = desk.script(|script| script.told[1].token.clone());
        assert_eq!(told, Some((token.0.to_owned(), token.1.to_owned())));
    }
}

#[test]
fn each_way_a_fetch_can_fail_has_its_result_and_event() {
    for (exchange, result, number) in [
        (Exchange::Status(204), NODATA, NO_COMMANDS),
        (Exchange::Status(400), INVAL, FAILED),
        (Exchange::Status(403), -1, FAILED),
        (Exchange::Status(415), -42, FAILED),
        (Exchange::RetryAfter(500, 3), BUSY, FAILED),
        (Exchange::Status(503), NOTSUP, FAILED),
        (Exchange::Body(vec![0x8b]), NOMEM, TOO_MANY),
        (Exchange::Body(vec![]), INVAL, FAILED),
        (Exchange::Returns(CONNREFUSED), CONNREFUSED, WRONG_ROOT_CA),
        (Exchange::Returns(HOSTUNREACH), HOSTUNREACH, FAILED),
        (Exchange::Returns(TIMEDOUT), TIMEDOUT, FAILED),
        (Exchange::Returns(MSGSIZE), NOMEM, TOO_MANY),
        (Exchange::Returns(NOMEM), NOMEM, TOO_MANY),
        (Exchange::Returns(BADMSG), BADMSG, FAILED),
        (Exchange::Returns(IO), SHUTDOWN, FAILED),
        // What no HTTP answer is.
        (Exchange::Status(0), BADMSG, FAILED),
        (Exchange::Status(70_000), BADMSG, FAILED),
        (Exchange::Status(-5), BADMSG, FAILED),
        (Exchange::Lies, NOMEM, TOO_MANY),
    ] {
        let desk = Desk::new();
        desk.fetch(exchange);
        let client = Client::new(&desk, &config());
        // SAFETY: a live handle.
        assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
        assert_eq!(client.run(600_000), (0, result));
        assert_eq!(desk.story(), [START, number, STOP]);
        desk.script(|script| {
            assert_eq!(
                (script.told[1].result, script.told[2].result),
                (result, result)
            );
        });
    }
}

#[test]
fn a_report_is_kept_until_it_is_acknowledged() {
    let desk = Desk::new();
    desk.batch(&[finished("u.1")])
        .report(Exchange::Returns(TIMEDOUT))
        .report(Exchange::Status(500));
    let client = Client::new(&desk, &config());
    // SAFETY: a live handle.
    assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
    assert_eq!(client.run(600_000), (0, 1));
    assert_eq!(desk.reported(0), desk.reported(2));
    desk.script(|script| assert_eq!(script.waits, [2000, 4000]));
}

#[test]
fn a_modem_that_answers_nonsense_ends_a_session_not_the_program() {
    let line_of = |bytes: usize| vec![b'x'; bytes];
    for answer in [
        Ok(vec![]),
        Ok(vec![0]),
        Ok(vec![0xff, 0xfe, b'\r', b'\n']),
        Ok(b"%CCLK: \"never closed".to_vec()),
        Ok(line_of(4096)),
        Err(IO),
        Err(TOO_BIG),
        // More than there was room for.
        Err(4097),
    ] {
        let desk = Desk::new();
        let client = Client::new(&desk, &config());
        for _ in 0..100 {
            desk.answer("AT%CCLK?", answer.as_deref().map_err(|code| *code));
        }
        // SAFETY: a live handle.
        assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
        assert_eq!(client.run(600_000), (0, TIME));
        assert_eq!(desk.story(), [START, NO_TIME, STOP]);
    }
    for answer in [
        Ok(&b"%JWT: \"a.b.c\"\r\n"[..]),
        Ok(b"%JWT: \"a b\"\r\nOK\r\n"),
        Ok(b"+CME ERROR: 523\r\n"),
        Err(IO),
    ] {
        let desk = Desk::new();
        desk.answer("AT%JWT", answer);
        let client = Client::new(&desk, &config());
        // SAFETY: a live handle.
        assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
        assert_eq!(client.run(600_000), (0, -8), "-ENOEXEC");
        assert_eq!(desk.story(), [START, FAILED, STOP]);
        let log = desk.script(|script| script.logged.join("\n"));
        assert!(log.contains("AT%JWT") && !log.contains("a.b.c"), "{log}");
    }
}

#[test]
fn init_says_what_the_modem_would_not() {
    for (line, answer, code) in [
        ("AT+CGMR", Err(TIMEDOUT), TIMEDOUT),
        ("AT+CGMR", Ok(&b"ERROR\r\n"[..]), IO),
        ("AT+CGMR", Ok(b"OK\r\n"), IO),
        ("AT%DEVICEUUID", Ok(b"+CME ERROR: 0\r\n"), IO),
    ] {
        let desk = Desk::new();
        desk.answer(line, answer);
        let client = Client::blank(&desk, &config());
        // SAFETY: a live handle.
        unsafe {
            assert_eq!(sectag_client_init(client.0, Some(event), desk.user()), code);
            assert_eq!(sectag_client_trigger(client.0), FAULT, "still none");
            assert_eq!(
                sectag_client_init(client.0, Some(event), desk.user()),
                0,
                "the modem is back"
            );
            assert_eq!(
                sectag_client_init(client.0, Some(event), desk.user()),
                ALREADY
            );
        }
    }
    // Nothing is asked that the options say.
    let desk = Desk::new();
    let mut config = config();
    config.modem_version = c"mfw x\r\n".as_ptr();
    config.seed = 7;
    let client = Client::new(&desk, &config);
    assert_eq!(desk.script(|script| script.lines.len()), 0);
    // SAFETY: a live handle.
    assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
    assert_eq!(client.run(600_000), (0, NODATA));
    let target = desk.script(|script| script.asked[0].target.clone());
    assert!(target.contains("&mver=mfw%20x%0D%0A&"), "{target}");
}

#[test]
fn null_is_an_argument_and_is_refused() {
    let desk = Desk::new();
    let (config, carrier) = (config(), desk.carrier());
    let mut client = ptr::null_mut();
    let mut session = ptr::null_mut();
    let (nobody, nothing) = (ptr::null_mut::<Handle>(), ptr::null_mut());
    // SAFETY: NULL is what this is about; all else is valid.
    unsafe {
        assert_eq!(sectag_client_new(ptr::null(), &carrier, &mut client), INVAL);
        assert_eq!(sectag_client_new(&config, ptr::null(), &mut client), INVAL);
        assert_eq!(sectag_client_new(&config, &carrier, ptr::null_mut()), INVAL);
        assert!(client.is_null());
        assert_eq!(sectag_client_init(nobody, Some(event), nothing), INVAL);
        assert_eq!(sectag_client_trigger(nobody), INVAL);
        assert_eq!(sectag_client_set_interval(nobody, 1), INVAL);
        assert_eq!(sectag_client_network(nobody, 1), INVAL);
        assert_eq!(sectag_client_run(nobody, 1, ptr::null_mut()), INVAL);
        assert_eq!(sectag_client_step(nobody, ptr::null_mut()), INVAL);
        assert_eq!(sectag_client_free(nobody), 0);
        sectag_config_init(ptr::null_mut());
        sectag_carrier_init(ptr::null_mut());

        let new = sectag_session_new;
        assert_eq!(
            new(ptr::null(), &carrier, None, nothing, &mut session),
            INVAL
        );
        assert_eq!(
            new(&config, ptr::null(), None, nothing, &mut session),
            INVAL
        );
        assert_eq!(
            new(&config, &carrier, None, nothing, ptr::null_mut()),
            INVAL
        );
        assert!(session.is_null());
        assert_eq!(sectag_session_start(nobody), INVAL);
        assert_eq!(sectag_session_run(nobody, 1, ptr::null_mut()), INVAL);
        assert_eq!(sectag_session_step(nobody, ptr::null_mut()), INVAL);
        assert_eq!(sectag_session_network(nobody, 1), INVAL);
        assert_eq!(sectag_session_after(nobody, ptr::null_mut(), 0), INVAL);
        assert_eq!(sectag_session_free(nobody), 0);
    }
    let client = Client::blank(&desk, &config);
    // SAFETY: a live handle.
    unsafe {
        assert_eq!(sectag_client_init(client.0, None, nothing), INVAL);
        assert_eq!(sectag_client_init(client.0, Some(event), desk.user()), 0);
        assert_eq!(sectag_client_trigger(client.0), 0);
        assert_eq!(sectag_client_run(client.0, 600_000, ptr::null_mut()), 0);
        assert_eq!(sectag_client_step(client.0, ptr::null_mut()), 0);
    }
}

#[test]
fn a_structure_of_another_header_or_without_a_callback_is_refused() {
    let desk = Desk::new();
    let tried = |config: &sectag_config, carrier: &sectag_carrier| {
        let mut client = ptr::null_mut();
        // SAFETY: the structures are at least as large as they say.
        let code = unsafe { sectag_client_new(config, carrier, &mut client) };
        assert_eq!(code, INVAL);
        assert!(client.is_null());
    };
    for size in [0, 8, size_of::<sectag_config>() - 8] {
        let mut older = config();
        older.size = size;
        tried(&older, &desk.carrier());
    }
    for miss in 0..4 {
        let mut carrier = desk.carrier();
        match miss {
            0 => carrier.fetch = None,
            1 => carrier.report = None,
            2 => carrier.at_line = None,
            _ => carrier.size -= 8,
        }
        tried(&config(), &carrier);
    }
}

#[test]
fn an_option_out_of_its_range_is_named() {
    type Spoil = fn(&mut sectag_config);
    let cases: [(Spoil, &str); 14] = [
        (
            |c| c.rx_bytes_max = 255,
            "rx_bytes_max is 255, not 256 to 1048576",
        ),
        (|c| c.tx_bytes_max = 0, "tx_bytes_max is 0"),
        (|c| c.records_max = 0, "records_max is 0"),
        (
            |c| c.records_max = 1001,
            "records_max is 1001, not 1 to 1000",
        ),
        (|c| c.at_bytes = u32::MAX, "at_bytes is 4294967295"),
        (
            |c| c.answer_bytes_start = 63,
            "answer_bytes_start is 63, not 64 to 4096",
        ),
        (
            |c| c.jwt_validity_s = 361,
            "jwt_validity_s is 361, not 1 to 360",
        ),
        (|c| c.jwt_validity_s = 0, "jwt_validity_s is 0"),
        (|c| c.interval_s = 0, "interval_s is 0, not 1 or more"),
        (|c| c.initial_backoff_s = 0, "initial_backoff_s is 0"),
        (|c| c.scheduled = 1, "SCHEDULED needs AUTO_START_ON_INIT"),
        (
            |c| c.client_version = c"".as_ptr(),
            "client_version has 0 bytes, not 1 to 128",
        ),
        (
            |c| c.modem_version = c"\xff".as_ptr(),
            "modem_version is not UTF-8",
        ),
        (
            |c| c.settings_path = c"".as_ptr(),
            "settings_path has 0 bytes",
        ),
    ];
    for (spoil, words) in cases {
        let desk = Desk::new();
        let mut config = config();
        spoil(&mut config);
        let mut client = ptr::null_mut();
        // SAFETY: the structures are the header's.
        let code = unsafe { sectag_client_new(&config, &desk.carrier(), &mut client) };
        assert_eq!(code, INVAL, "{words}");
        let log = desk.script(|script| script.logged.join("\n"));
        assert!(log.contains(words), "{log}");
    }
}

#[test]
fn callbacks_may_call_back_but_not_drive() {
    let desk = Desk::new();
    let client = Client::new(&desk, &config());
    let handle = Arc::new(AtomicPtr::new(client.0));
    let sessions = Arc::new(AtomicI32::new(0));
    let count = sessions.clone();
    desk.on_event(move |told| {
        let client = handle.load(Ordering::Relaxed);
        let (mut result, mut wait) = (0, 0);
        // SAFETY: a live handle.
        unsafe {
            assert_eq!(sectag_client_run(client, 0, &mut result), BUSY);
            assert_eq!(sectag_client_step(client, &mut wait), BUSY);
            assert_eq!(sectag_client_free(client), BUSY);
            assert_eq!(sectag_client_set_interval(client, 5), NOTSUP);
            assert_eq!(sectag_client_network(client, 1), 0);
            if told.number == STOP && count.fetch_add(1, Ordering::Relaxed) == 0 {
                assert_eq!(sectag_client_trigger(client), 0);
            }
        }
    });
    // SAFETY: a live handle.
    assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
    assert_eq!(client.run(1000), (0, NODATA));
    assert_eq!(client.run(1000), (AGAIN, 99), "both were done in one go");
    assert_eq!(sessions.load(Ordering::Relaxed), 2);
    assert_eq!(
        desk.story(),
        [START, NO_COMMANDS, STOP, START, NO_COMMANDS, STOP]
    );
}

#[test]
fn run_gives_back_in_time_and_goes_on_where_it_was() {
    let desk = Desk::new();
    for _ in 0..5 {
        desk.answer("AT%CCLK?", Ok(b"ERROR\r\n"));
    }
    let client = Client::new(&desk, &config());
    assert_eq!(client.run(0), (AGAIN, 99), "nobody asked for a session");
    assert_eq!(client.run(250), (AGAIN, 99));
    // SAFETY: a live handle.
    assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
    assert_eq!(client.run(2500), (AGAIN, 99), "the clock is not valid yet");
    assert_eq!(desk.story(), [START]);
    desk.script(|script| assert_eq!(script.now, 2750));
    assert_eq!(client.run(60_000), (0, NODATA));
    assert_eq!(desk.story(), [START, NO_COMMANDS, STOP]);
}

#[test]
fn step_says_when_to_come_back() {
    let desk = Desk::new();
    desk.answer("AT%CCLK?", Ok(b"ERROR\r\n"));
    let client = Client::new(&desk, &config());
    let step = || {
        let mut wait_ms = 7;
        // SAFETY: a live handle.
        assert_eq!(unsafe { sectag_client_step(client.0, &mut wait_ms) }, 0);
        wait_ms
    };
    assert_eq!(step(), FOREVER);
    // SAFETY: a live handle.
    assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
    assert_eq!(step(), 1000);
    desk.script(|script| script.now += 400);
    assert_eq!(step(), 600, "too early is no matter");
    desk.script(|script| script.now += 600);
    assert_eq!(step(), FOREVER);
    assert_eq!(desk.story(), [START, NO_COMMANDS, STOP]);
    desk.script(|script| assert!(script.waits.is_empty()));
}

#[test]
fn an_interval_is_stored_before_the_call_returns() {
    let desk = Desk::new();
    let unscheduled = Client::blank(&desk, &config());
    let set = |client: &Client, seconds| {
        // SAFETY: a live handle.
        unsafe { sectag_client_set_interval(client.0, seconds) }
    };
    assert_eq!(set(&unscheduled, 60), FAULT);
    assert_eq!(set(&Client::new(&desk, &config()), 60), NOTSUP);

    let desk = Desk::new();
    let mut scheduled = config();
    (
        scheduled.auto_start,
        scheduled.scheduled,
        scheduled.spread_s,
    ) = (1, 1, 0);
    let client = Client::new(&desk, &scheduled);
    assert_eq!(set(&client, -1), INVAL);
    assert_eq!(set(&client, 600), 0);
    desk.script(|script| {
        let stored = ("provisioning/interval-sec".to_owned(), "600".to_owned());
        assert_eq!(script.saved, [stored]);
        script.save_returns = NOMEM;
    });
    assert_eq!(set(&client, 1200), NOSTR);
    desk.script(|script| script.save_returns = 0);

    // It comes by itself, and comes back after the interval that was stored.
    assert_eq!(client.run(3_600_000), (0, NODATA));
    assert_eq!(client.run(3_600_000), (0, NODATA));
    let waits: Vec<i64> =
        desk.script(|script| script.told.iter().filter_map(|told| told.seconds).collect());
    assert!(waits.contains(&600) && !waits.contains(&1200), "{waits:?}");

    // Without a store there is nothing to set it in.
    let mut carrier = desk.carrier();
    (carrier.save, carrier.load) = (None, None);
    let mut handle = ptr::null_mut();
    // SAFETY: the structures are the header's; the desk outlives the handle.
    unsafe {
        assert_eq!(sectag_client_new(&scheduled, &carrier, &mut handle), 0);
        let client = Client(handle);
        assert_eq!(sectag_client_init(client.0, Some(event), desk.user()), 0);
        assert_eq!(set(&client, 700), NOSTR);
    }
}

#[test]
fn an_interval_that_is_stored_already_is_not_written_again() {
    let desk = Desk::new();
    let mut config = config();
    (config.auto_start, config.scheduled) = (1, 1);
    for _boot in 0..5 {
        let client = Client::new(&desk, &config);
        // SAFETY: a live handle.
        unsafe {
            assert_eq!(sectag_client_set_interval(client.0, 600), 0);
            // Also with a session on its way: the call carries none of it.
            assert_eq!(sectag_client_trigger(client.0), 0);
            assert_eq!(sectag_client_set_interval(client.0, 600), 0);
        }
        assert!(!desk.story().contains(&START), "{:?}", desk.story());
    }
    assert_eq!(desk.script(|script| script.saved.len()), 1);
}

#[test]
fn a_client_that_cannot_go_on_does_not_let_its_program_wait_for_ever() {
    let desk = Desk::new();
    let mut config = config();
    (config.auto_start, config.scheduled, config.faithful) = (1, 1, 1);
    let client = Client::new(&desk, &config);
    desk.script(|script| script.load_returns = IO);
    assert_eq!(client.run(FOREVER), (0, IO));
    assert_eq!(desk.story(), [FATAL]);
}

#[test]
fn a_network_that_was_told_before_init_counts() {
    let desk = Desk::new();
    let mut config = config();
    (config.auto_start, config.scheduled, config.spread_s) = (1, 1, 0);
    let client = Client::blank(&desk, &config);
    // SAFETY: a live handle; the desk outlives it.
    unsafe {
        assert_eq!(sectag_client_network(client.0, 0), 0);
        assert_eq!(sectag_client_init(client.0, Some(event), desk.user()), 0);
    }
    assert_eq!(client.run(30_000), (AGAIN, 99));
    assert!(!desk.story().contains(&START), "{:?}", desk.story());
}

#[test]
fn run_gives_back_in_time_from_a_session_that_never_waits() {
    let desk = Desk::new();
    let client = Client::new(&desk, &config());
    let handle = AtomicPtr::new(client.0);
    let place = AtomicPtr::new(desk.user());
    desk.on_event(move |told| {
        // SAFETY: the desk is alive, and events come without its script being held.
        let desk = unsafe { &*place.load(Ordering::Relaxed).cast::<Desk>() };
        desk.script(|script| {
            script.now += 10;
            assert!(script.told.len() < 1000, "it never gives back");
        });
        if told.number == STOP {
            // SAFETY: a live handle.
            assert_eq!(
                unsafe { sectag_client_trigger(handle.load(Ordering::Relaxed)) },
                0
            );
        }
    });
    // SAFETY: a live handle.
    assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
    assert_eq!(client.run(2000), (0, NODATA));
    desk.script(|script| assert!(script.now < 2100, "{}", script.now));
}

#[test]
fn a_subscription_that_fails_does_not_leave_the_radio_off() {
    for line in ["AT+CGEREP", "AT%XTIME"] {
        let desk = Desk::new();
        desk.batch(&[at("u.1", "%CMNG", "1"), finished("u.2")])
            .answer(line, Err(TIMEDOUT));
        let client = Client::new(&desk, &config());
        // SAFETY: a live handle.
        assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
        assert_eq!(client.run(600_000), (0, 1));
        let log = desk.script(|script| script.logged.join("\n"));
        assert!(log.contains(line), "{log}");
    }
}

#[test]
fn a_clock_that_stands_at_its_end_is_no_busy_loop() {
    let desk = Desk::new();
    let mut config = config();
    (config.auto_start, config.scheduled) = (1, 1);
    for _ in 0..5 {
        desk.fetch(Exchange::RetryAfter(500, i64::MAX));
    }
    let client = Client::new(&desk, &config);
    desk.script(|script| script.now = u64::MAX);
    // SAFETY: a live handle.
    unsafe {
        assert_eq!(sectag_client_trigger(client.0), 0);
        let mut wait_ms = 0;
        assert_eq!(sectag_client_step(client.0, &mut wait_ms), 0);
        assert_eq!(wait_ms, FOREVER);
    }
    assert_eq!(desk.script(|script| script.asked.len()), 1);
}

#[test]
fn an_empty_value_has_a_place_in_memory() {
    let desk = Desk::new();
    desk.batch(&[stores("u.1", "app/name", ""), finished("u.2")]);
    let client = Client::new(&desk, &config());
    // SAFETY: a live handle.
    assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
    assert_eq!(client.run(600_000), (0, 1));
    desk.script(|script| assert_eq!(script.saved, [("app/name".to_owned(), String::new())]));
}

#[test]
fn another_thread_ends_the_librarys_own_wait() {
    let desk = Desk::new();
    let mut carrier = desk.carrier();
    (carrier.wait, carrier.uptime_ms) = (None, None);
    let mut handle = ptr::null_mut();
    // SAFETY: the structures are the header's; the desk outlives the handle.
    unsafe {
        assert_eq!(sectag_client_new(&config(), &carrier, &mut handle), 0);
        assert_eq!(sectag_client_init(handle, Some(event), desk.user()), 0);
    }
    let client = Client(handle);
    std::thread::scope(|scope| {
        let driver = scope.spawn(|| client.run(FOREVER));
        // Whether the driver waits already or not: it must not miss this.
        // SAFETY: a live handle.
        assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
        assert_eq!(driver.join().unwrap(), (0, NODATA));
    });
}

#[test]
fn the_program_may_switch_lte_itself() {
    let desk = Desk::new();
    desk.batch(&[at("u.1", "%CMNG", "1"), finished("u.2")]);
    let mut config = config();
    config.lte_by_program = 1;
    let client = Client::new(&desk, &config);
    let place = AtomicPtr::new(desk.user());
    desk.on_event(move |told| {
        // SAFETY: the desk is alive, and events come without its script being held.
        let desk = unsafe { &*place.load(Ordering::Relaxed).cast::<Desk>() };
        match told.number {
            LTE_OFF => desk.script(|script| script.mode = 4),
            LTE_ON => desk.script(|script| script.mode = 1),
            _ => {}
        }
    });
    // SAFETY: a live handle.
    assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
    assert_eq!(client.run(600_000), (0, 1));
    desk.script(|script| {
        assert!(!script.lines.iter().any(|line| line.starts_with("AT+CFUN=")));
    });
}

#[test]
fn the_report_waits_for_the_network_that_the_program_tells_of() {
    let desk = Desk::new();
    desk.batch(&[at("u.1", "%CMNG", "1"), finished("u.2")]);
    let client = Client::new(&desk, &config());
    // SAFETY: a live handle.
    let network = |active| assert_eq!(unsafe { sectag_client_network(client.0, active) }, 0);
    network(0);
    // SAFETY: a live handle.
    assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
    assert_eq!(client.run(10_000), (AGAIN, 99));
    assert_eq!(desk.story(), [START, LTE_OFF, LTE_ON]);
    network(1);
    assert_eq!(client.run(10_000), (0, 1));
}

#[test]
fn the_last_command_id_is_saved_and_loaded() {
    let desk = Desk::new();
    desk.batch(&[finished("u.9")]);
    let mut config = config();
    config.save_command_id = 1;
    config.settings_path = c"elsewhere".as_ptr();
    let client = Client::new(&desk, &config);
    // SAFETY: a live handle.
    assert_eq!(unsafe { sectag_client_trigger(client.0) }, 0);
    assert_eq!(client.run(600_000), (0, 1));
    drop(client);
    let next = Client::new(&desk, &config);
    // SAFETY: a live handle.
    assert_eq!(unsafe { sectag_client_trigger(next.0) }, 0);
    assert_eq!(next.run(600_000), (0, NODATA));
    desk.script(|script| {
        let key = "elsewhere/after-correlation-id";
        assert_eq!(script.settings[key], "u.9");
        let target = &script.asked.last().unwrap().target;
        assert!(target.contains("?after=u.9&"), "{target}");
    });
}
