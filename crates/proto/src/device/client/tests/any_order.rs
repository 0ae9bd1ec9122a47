//! Any inputs and calls in any order.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Input(Input),
    Answer(u8),
    Trigger,
    SetInterval(i64),
    Init,
}

fn any_step() -> impl Strategy<Value = Step> {
    let text = prop_oneof![
        Just("OK\r\n".to_string()),
        Just("ERROR\r\n".to_string()),
        Just("%CCLK: \"26/11/20\"\r\nOK\r\n".to_string()),
        any::<String>(),
    ];
    let input = prop_oneof![
        Just(Input::Triggered),
        Just(Input::Signed(String::from("a.b.c").into())),
        Just(Input::SignFailed(String::new())),
        any::<u16>().prop_map(|status| Input::Fetched {
            status,
            body: Vec::new()
        }),
        any::<u16>().prop_map(|status| Input::Reported { status }),
        Just(Input::Failed(TransportError::Timeout)),
        text.clone().prop_map(Input::ModemSaid),
        text.clone().prop_map(Input::ModemFailed),
        any::<u64>().prop_map(|secs| Input::Hint(Duration::from_secs(secs))),
        any::<bool>().prop_map(Input::Network),
        proptest::option::of(text).prop_map(Input::Loaded),
        Just(Input::TimeKnown),
        Just(Input::Stored),
        Just(Input::StoreFailed(StoreFailure::Io)),
        Just(Input::Tick),
        Just(Input::Tick),
        Just(Input::Tick),
    ];
    prop_oneof![
        2 => input.prop_map(Step::Input),
        6 => any::<u8>().prop_map(Step::Answer),
        1 => Just(Step::Trigger),
        1 => prop_oneof![any::<i64>(), 0..100_i64].prop_map(Step::SetInterval),
        1 => Just(Step::Init),
    ]
}

/// An answer that fits what is out, of a kind chosen by `chance`.
fn fitting(ask: &Output, chance: u8) -> Input {
    let good = !chance.is_multiple_of(4);
    let batch = encode_commands(&[
        config("u.1", "provisioning/interval-sec", "7"),
        at("u.2", "%KEYGEN", "42,2,0"),
        finished("u.3"),
    ]);
    match ask {
        Output::Sign { .. } if good => Input::Signed(String::from("a.b.c").into()),
        Output::Sign { .. } => Input::SignFailed(String::new()),
        Output::Fetch { .. } => match chance % 5 {
            0 => Input::Failed(TransportError::Closed),
            1 => Input::Fetched {
                status: [204, 401, 500, 503][usize::from(chance / 64)],
                body: Vec::new(),
            },
            _ => Input::Fetched {
                status: 200,
                body: batch,
            },
        },
        Output::Report { .. } if good => Input::Reported { status: 200 },
        Output::Report { .. } => Input::Reported { status: 500 },
        Output::Radio(_) => Input::RadioIs(RadioState {
            mode: FunctionalMode(if good { 4 } else { 1 }),
            pdn_active: true,
        }),
        Output::Line(_) if good => Input::ModemSaid("%CCLK: \"26\"\r\nOK\r\n".to_string()),
        Output::Line(_) => Input::ModemSaid("+CME ERROR: 5\r\n".to_string()),
        Output::Load { .. } => Input::Loaded(good.then(|| chance.to_string())),
        Output::Save { .. } if good => Input::Stored,
        Output::Save { .. } => Input::StoreFailed(StoreFailure::Io),
        Output::Event(_) | Output::Wait(_) => unreachable!(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_never_two_asks_are_out(
        steps in proptest::collection::vec((any_step(), 0_u64..100_000), 0..200),
        firmware in any::<bool>(),
        is_scheduled in any::<bool>(),
        auto_start in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let conduct = if firmware { Conduct::Firmware } else { Conduct::Careful };
        let mut client = Client::new(ClientConfig {
            session: Config { conduct, save_command_id: true, ..Config::default() },
            auto_start: auto_start || is_scheduled,
            scheduled: is_scheduled,
            seed,
            ..ClientConfig::default()
        }).unwrap();
        let mut now = Uptime(0);
        let mut out: Option<Output> = None;
        let mut running = false;
        let mut events_after_stop = Vec::new();
        for (step, later) in steps {
            now = now.plus(Duration::from_millis(later));
            let input = match step {
                Step::Input(input) => Some(input),
                Step::Answer(chance) => Some(out.as_ref().map_or(Input::Tick, |ask| fitting(ask, chance))),
                Step::Trigger => { let _ = client.trigger(now); None }
                Step::SetInterval(seconds) => { let _ = client.set_interval(seconds, now); None }
                Step::Init => { let _ = client.init(now); None }
            };
            if let Some(input) = input {
                let kind = out.as_ref().and_then(Kind::of);
                if kind.is_some_and(|kind| kind.is_answered_by(&input)) {
                    out = None;
                }
                client.handle(input, now);
            }
            let mut polls = 0;
            loop {
                polls += 1;
                prop_assert!(polls < 200);
                match client.poll() {
                    Output::Wait(wake) => {
                        prop_assert!(out.is_some() || wake.is_some() || !client.is_running(), "stuck");
                        prop_assert_eq!(client.poll(), Output::Wait(wake), "the wait is last");
                        break;
                    }
                    Output::Event(Event::Start) => { prop_assert!(!running); running = true; }
                    Output::Event(Event::Stop) => { prop_assert!(running); running = false; events_after_stop.clear(); }
                    Output::Event(event) => events_after_stop.push(event),
                    ask => {
                        prop_assert!(out.is_none(), "{ask:?} while {out:?} is out");
                        out = Some(ask);
                    }
                }
            }
            prop_assert!(!running || client.is_running());
            prop_assert!(client.next_session().is_none() || !client.is_running());
        }
    }

    /// Whatever the service says, a scheduled client of ours comes back, and never at once.
    #[test]
    fn ours_always_comes_back(
        statuses in proptest::collection::vec(prop_oneof![Just(200_u16), Just(204), Just(401), Just(500), Just(503), any::<u16>()], 1..20),
        no_time in any::<bool>(),
        hint in proptest::option::of(0..200_000_u64),
        seed in any::<u64>(),
    ) {
        let mut world = World::new(ClientConfig {
            spread: Duration::from_secs(100),
            seed,
            ..scheduled(ClientConfig::default())
        });
        world.no_time = no_time;
        world.hint = hint.map(Duration::from_secs);
        for status in &statuses {
            world = world.status(*status);
        }
        let world = world.until(30 * 86_400);
        prop_assert!(world.client.next_session().is_some() || world.client.is_running());
        prop_assert!(no_time || world.fetched.len() > 5);
        for pair in world.fetched.windows(2) {
            prop_assert!(pair[1] - pair[0] >= 60_000 || pair[1] == pair[0], "{pair:?}");
        }
    }

    /// Whatever happened before: with a network and a service that answers, a scheduled client of ours fetches within the
    /// longest back-off, hint or interval, each with its chance and its slot.
    #[test]
    fn ours_comes_back_in_time_from_anything(
        happens in proptest::collection::vec((0_u8..9, 0_u64..200_000), 1..25),
        seed in any::<u64>(),
        spread in prop_oneof![Just(0_u64), Just(100), 0..10_000_u64],
    ) {
        let mut world = World::new(ClientConfig {
            spread: Duration::from_secs(spread),
            seed,
            ..scheduled(ClientConfig::default())
        });
        world.client.init(world.now).unwrap();
        for (what, number) in happens {
            match what {
                0 => world.client.trigger(world.now).unwrap(),
                1 => world.client.set_interval(i64::try_from(3600 + number).unwrap(), world.now).unwrap(),
                2 => world.client.handle(Input::Network(number % 2 == 0), world.now),
                3 => world.hint = (number % 2 == 0).then(|| Duration::from_secs(number * 1000)),
                4 => world.fetches.push_back(Ok(([500, 401, 503, 204][usize::try_from(number % 4).unwrap()], Vec::new()))),
                5 => world.fetches.push_back(Err(TransportError::Timeout)),
                6 => world.no_time = number % 2 == 0,
                7 => world.store_fails = (number % 2 == 0).then_some(StoreFailure::Io),
                _ => world.go_on_until(world.now.0 / 1000 + number),
            }
        }
        (world.hint, world.no_time, world.store_fails) = (None, false, None);
        world.fetches.clear();
        world.client.handle(Input::Network(true), world.now);
        let fetched = world.fetched.len();
        let interval = world.client.interval().as_secs().max(203_600);
        let longest = interval.max(86_400 * 3 / 2) + spread + 200;
        world.go_on_until(world.now.0 / 1000 + longest);
        prop_assert!(world.fetched.len() > fetched, "{:?} {longest}", world.client);
    }
}
