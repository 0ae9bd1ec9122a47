//! Any inputs in any order.

use super::*;
use proptest::prelude::*;

fn any_error() -> impl Strategy<Value = TransportError> {
    prop_oneof![
        Just(TransportError::Timeout),
        Just(TransportError::Closed),
        Just(TransportError::Refused),
        Just(TransportError::Tls),
        Just(TransportError::TooLarge),
        Just(TransportError::Garbage),
    ]
}

fn any_conduct() -> impl Strategy<Value = LinkConduct> {
    prop_oneof![
        Just(LinkConduct::Ours),
        Just(LinkConduct::Firmware { keep_open: true }),
        Just(LinkConduct::Firmware { keep_open: false }),
    ]
}

fn any_grant() -> impl Strategy<Value = Option<Grant>> {
    prop_oneof![
        Just(None),
        Just(Some(Grant::UntilRefused)),
        any::<u64>().prop_map(|secs| Some(Grant::For(Duration::from_secs(secs)))),
    ]
}

fn any_input() -> impl Strategy<Value = LinkInput> {
    let jwt = || SecretText::new("a.b.c".to_string());
    let query = || FetchQuery {
        after: String::new(),
        rx_bytes_max: 1024,
        tx_bytes_max: 2048,
        modem_version: None,
        client_version: None,
        limit: None,
    };
    let code = prop_oneof![
        Just(CREATED),
        Just(CHANGED),
        Just(CONTENT),
        Just(UNAUTHORIZED),
        any::<u8>()
    ];
    prop_oneof![
        2 => Just(LinkInput::Fetch { jwt: jwt(), query: query() }),
        2 => Just(LinkInput::Report { jwt: jwt(), body: vec![0x80] }),
        1 => Just(LinkInput::Stopped),
        3 => any::<bool>().prop_map(|cid| LinkInput::Connected { cid }),
        1 => any_error().prop_map(LinkInput::NotConnected),
        6 => (code, any::<Option<u32>>(), proptest::collection::vec(any::<u8>(), 0..3)).prop_map(
            |(code, max_age_s, payload)| LinkInput::Answered { code, max_age_s, payload }
        ),
        2 => any_error().prop_map(LinkInput::NotAnswered),
        1 => Just(LinkInput::Lost),
        1 => Just(LinkInput::Moved),
        1 => (any::<bool>(), any_grant())
            .prop_map(|(cid, granted)| LinkInput::Restored { cid, granted }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Each fetch and report gets one answer of its kind, at most one ask is out, requests travel on a connection only, and
    /// no exchange takes more than two connections.
    #[test]
    fn one_ask_at_a_time_and_one_answer(
        conduct in any_conduct(),
        steps in proptest::collection::vec((any_input(), 0_u64..100_000), 0..200),
    ) {
        let mut link = CoapLink::new(conduct, &Config::default());
        let mut now = Uptime(0);
        let mut owed: Option<&'static str> = None;
        let mut ask: Option<&'static str> = None;
        let mut connected = false;
        let mut connects = 0;
        for (input, later) in steps {
            now = now.plus(Duration::from_millis(later));
            match (&input, ask) {
                (LinkInput::Fetch { .. }, _) if owed.is_none() => { owed = Some("fetch"); connects = 0; }
                (LinkInput::Report { .. }, _) if owed.is_none() => { owed = Some("report"); connects = 0; }
                (LinkInput::Stopped, _) => { owed = None; ask = None; }
                (LinkInput::Connected { .. }, Some("connect")) => { ask = None; connected = true; }
                (LinkInput::NotConnected(_), Some("connect")) => ask = None,
                (LinkInput::Answered { .. } | LinkInput::NotAnswered(_) | LinkInput::Lost, Some("request")) => ask = None,
                (LinkInput::Lost, None) => connected = false,
                (LinkInput::Restored { .. }, None) if owed.is_none() => connected = true,
                _ => {}
            }
            link.handle(input, now);
            let mut polls = 0;
            loop {
                polls += 1;
                prop_assert!(polls < 20);
                match link.poll() {
                    LinkOutput::Wait => {
                        prop_assert_eq!(link.poll(), LinkOutput::Wait, "the wait is last");
                        break;
                    }
                    LinkOutput::Connect => {
                        prop_assert!(ask.replace("connect").is_none());
                        connected = false;
                        connects += 1;
                        prop_assert!(connects <= 2);
                    }
                    LinkOutput::Request(request) => {
                        prop_assert!(ask.replace("request").is_none());
                        prop_assert!(connected, "{}", request);
                        prop_assert!(request.query.iter().all(|option| option.len() <= 255));
                    }
                    LinkOutput::Close => {
                        prop_assert!(ask.is_none());
                        connected = false;
                    }
                    LinkOutput::Rebind => prop_assert!(connected),
                    LinkOutput::Answer(Input::Hint(_)) => prop_assert!(owed.is_some()),
                    LinkOutput::Answer(answer) => {
                        prop_assert!(ask.is_none());
                        let fits = match owed.take() {
                            Some("fetch") => matches!(answer, Input::Fetched { .. } | Input::NotAdmitted { .. } | Input::Failed(_)),
                            Some("report") => matches!(answer, Input::Reported { .. } | Input::NotAdmitted { .. } | Input::Failed(_)),
                            _ => false,
                        };
                        prop_assert!(fits, "{answer:?}");
                    }
                }
            }
            prop_assert_eq!(owed.is_some(), ask.is_some(), "whoever waits waits for something");
            if owed.is_none() && ask.is_none() {
                prop_assert_eq!(link.is_connected(), connected);
            }
        }
    }

    /// Whatever the service and the path do, a session of ours ends, and what it did not report it keeps.
    #[test]
    fn ours_ends_and_loses_no_report(
        answers in proptest::collection::vec(prop_oneof![
            3 => Just(Ok((CHANGED, None, Vec::new()))),
            1 => Just(Ok((UNAUTHORIZED, Some(3), Vec::new()))),
            1 => Just(Ok((BUSY, None, Vec::new()))),
            1 => any_error().prop_map(Err),
        ], 0..30),
        auths in proptest::collection::vec(prop_oneof![
            3 => any::<u32>().prop_map(|age| Ok((CREATED, Some(age), Vec::new()))),
            1 => any::<u8>().prop_map(|code| Ok((code, None, Vec::new()))),
            1 => any_error().prop_map(Err),
        ], 0..30),
        connects in proptest::collection::vec(prop_oneof![3 => any::<bool>().prop_map(Ok), 1 => any_error().prop_map(Err)], 0..30),
        moves in any::<bool>(),
    ) {
        let mut table = Table::new(LinkConduct::Ours)
            .batches([vec![at("u.1"), finished("u.2")]])
            .answers("rsp", answers)
            .answers("auth-jwt", auths);
        table.connects = connects.into();
        table.moves = moves;
        for _ in 0..60 {
            table.run();
            let executed = table.session.after() == "u.2";
            let acknowledged = table.session.ending() == Some(Ending::Done);
            if executed && acknowledged {
                break;
            }
            prop_assert!(!executed || table.session.has_unacknowledged_report());
            table.now = table.now.plus(Duration::from_secs(3600));
        }
        prop_assert_eq!(table.session.ending(), Some(Ending::Done));
    }
}
