//! Any inputs in any order.

use super::*;
use proptest::prelude::*;

fn any_input() -> impl Strategy<Value = Input> {
    let text = prop_oneof![
        Just("OK\r\n".to_string()),
        Just("ERROR\r\n".to_string()),
        Just("+CME ERROR: 513\r\n".to_string()),
        Just("%CCLK: \"26/11/20\"\r\nOK\r\n".to_string()),
        Just("+CMEE: 0\r\nOK\r\n".to_string()),
        Just("k".repeat(5000)),
        any::<String>(),
    ];
    let batch = encode_commands(&[
        config("u.1", &[("a", "1"), ("b", "2")]),
        at("u.2", "%KEYGEN", "42,2,0", &[513]),
        finished("u.3"),
    ]);
    let body = prop_oneof![
        4 => Just(batch),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ];
    let status = prop_oneof![3 => Just(200_u16), 1 => any::<u16>(), 1 => Just(401), 1 => Just(500)];
    prop_oneof![
        2 => Just(Input::Triggered),
        3 => Just(Input::Signed(String::from("a.b.c").into())),
        1 => Just(Input::SignFailed(String::new())),
        3 => (status.clone(), body).prop_map(|(status, body)| Input::Fetched { status, body }),
        3 => status.prop_map(|status| Input::Reported { status }),
        1 => Just(Input::Failed(TransportError::Closed)),
        6 => text.clone().prop_map(Input::ModemSaid),
        1 => text.prop_map(Input::ModemFailed),
        3 => (any::<bool>(), any::<bool>()).prop_map(|(offline, pdn_active)| {
            Input::RadioIs(RadioState {
                mode: FunctionalMode(if offline { 4 } else { 1 }),
                pdn_active,
            })
        }),
        1 => Just(Input::TimeKnown),
        3 => Just(Input::Stored),
        1 => Just(Input::StoreFailed(StoreFailure::Io)),
        4 => Just(Input::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_inputs_panics_and_every_poll_ends_with_a_wait(
        inputs in proptest::collection::vec((any_input(), 0_u64..200_000), 0..120),
        firmware in any::<bool>(),
    ) {
        let conduct = if firmware { Conduct::Firmware } else { Conduct::Careful };
        let mut session = Session::new(Config { conduct, save_command_id: true, ..Config::default() });
        let mut now = Uptime(0);
        let mut running = false;
        for (input, later) in inputs {
            now = now.plus(Duration::from_millis(later));
            session.handle(input, now);
            let mut asked = 0;
            let mut polls = 0;
            loop {
                polls += 1;
                prop_assert!(polls < 64);
                match session.poll() {
                    Output::Wait(_) => break,
                    Output::Event(Event::Start) => { prop_assert!(!running); running = true; }
                    Output::Event(Event::Stop) => { prop_assert!(running); running = false; }
                    Output::Event(_) => {}
                    _ => asked += 1,
                }
            }
            prop_assert!(asked <= 1, "one question at a time");
            prop_assert_eq!(running, !session.is_at_rest());
        }
    }
}
