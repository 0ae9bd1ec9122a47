//! What comes in any order does no harm.

use proptest::prelude::*;

use super::*;

/// Inputs in any order, also such as no driver would give.
fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::Boot),
        Just(Input::Provisioned(Ok(()))),
        Just(Input::Network(true)),
        Just(Input::Network(false)),
        (1..4_u8).prop_map(Input::Pressed),
        Just(Input::Tick),
        Just(Input::Connected),
        Just(Input::Refused { code: 5 }),
        Just(Input::ConnectFailed { errno: -111 }),
        Just(Input::Subscribed { code: 0 }),
        Just(Input::Disconnected { errno: -104 }),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(|payload| Input::Received {
            topic: "t".to_owned(),
            payload
        }),
    ]
}

fn config() -> impl Strategy<Value = Config> {
    let all = [sample(), academy(Edition::V2_2), academy(Edition::Current)];
    (0..all.len(), any::<bool>()).prop_map(move |(which, to_the_letter)| {
        let config = all[which].clone();
        if to_the_letter {
            config.to_the_letter()
        } else {
            config
        }
    })
}

proptest! {
    /// What a driver does: answers follow questions. One question of a kind is open at a time, the library goes no
    /// illegal way, and nothing comes after the end.
    #[test]
    fn the_machine_asks_for_one_connection_at_a_time(
        config in config(),
        inputs in proptest::collection::vec((input(), 0..70_000_u64), 0..60),
    ) {
        let mut machine = Sample::new(config);
        let mut now = Uptime(0);
        let (mut connecting, mut connected, mut ended) = (false, false, false);
        for (input, passes) in std::iter::once((Input::Boot, 0)).chain(inputs) {
            // An answer that nobody asked for is no answer.
            let possible = match input {
                Input::Connected | Input::Refused { .. } | Input::ConnectFailed { .. } => connecting,
                Input::Subscribed { .. } | Input::Disconnected { .. } | Input::Received { .. } => connected,
                Input::Boot => now == Uptime(0),
                _ => true,
            };
            if !possible {
                continue;
            }
            match input {
                Input::Connected => (connecting, connected) = (false, true),
                Input::Refused { .. } | Input::ConnectFailed { .. } => connecting = false,
                Input::Disconnected { .. } => connected = false,
                _ => {}
            }
            now = now.plus(Duration::from_millis(passes + 1));
            machine.handle(input, now);
            loop {
                let output = machine.poll();
                prop_assert!(!ended || matches!(output, Output::Wait(None)), "{output:?} after the end");
                match output {
                    Output::Wait(_) => break,
                    Output::Log(line) => {
                        prop_assert!(!line.text.contains("Invalid state"), "{}", line);
                        prop_assert!(!line.text.contains('\n'), "{:?}", line);
                    }
                    Output::Connect { .. } => {
                        prop_assert!(!connecting && !connected);
                        connecting = true;
                    }
                    Output::Abandon => {
                        prop_assert!(connecting);
                        connecting = false;
                    }
                    Output::Publish(_) | Output::Subscribe { .. } | Output::Disconnect => {
                        prop_assert!(connected);
                    }
                    Output::End(_) | Output::Reboot => ended = true,
                    Output::Provision | Output::Online | Output::Led { .. } => {}
                }
            }
        }
    }
}
