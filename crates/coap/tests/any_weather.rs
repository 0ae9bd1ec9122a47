//! Any body, any block size, any loss that retransmission can survive: the body arrives once, whole.
#![allow(clippy::unwrap_used)]

mod table;

use proptest::prelude::*;
use sectag_coap::*;
use std::time::Duration;
use table::*;

fn weather() -> impl Strategy<Value = Weather> {
    (0..80u64, 0..50u64, 0..1000u64, 0..4000u64, 0..=4u32).prop_map(
        |(loss_percent, duplicate_percent, delay, jitter, losses_in_a_round)| Weather {
            loss_percent,
            duplicate_percent,
            delay: Duration::from_millis(delay),
            jitter: Duration::from_millis(jitter),
            losses_in_a_round,
        },
    )
}

fn block_size() -> impl Strategy<Value = BlockSize> {
    (0..=6u8).prop_map(|szx| BlockSize::from_szx(szx).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_body_arrives_once_and_so_does_its_answer(
        weather in weather(),
        ours in block_size(),
        theirs in block_size(),
        up in 0..2000usize,
        down in 0..2000usize,
        pause in prop_oneof![Just(0), 0..5000u64],
        block2: bool,
        seed: u64,
    ) {
        let mut dice = Dice(seed);
        // Twelve round trips of blocks at the smallest size keep a case short.
        let most = 12 * ours.min(theirs).bytes();
        let (body, answer) = (dice.bytes(up.min(most)), dice.bytes(down.min(most)));
        let config = ClientConfig {
            block_size: ours,
            // Retransmissions are the limit here, at both ends.
            exchange_timeout: Duration::from_secs(400),
            ..ClientConfig::default()
        };
        let limits = Limits { block_size: theirs, ..Limits::default() };
        let app = {
            let answer = answer.clone();
            move |_: &Request| {
                (Response::new(Code::CONTENT).payload(60, answer.clone()), Duration::from_millis(pause))
            }
        };
        let mut table = Table::new(config, limits, weather, seed, app);
        let request = ClientRequest { block2, ..ClientRequest::new(Method::POST, &["p", "rsp"]).payload(60, body.clone()) };
        let response = table.ask(request);
        table.drive_until_quiet();
        let response = response.unwrap();
        prop_assert_eq!(response.code, Code::CONTENT);
        prop_assert_eq!(response.payload, answer);
        prop_assert_eq!(&table.delivered, &[("POST p/rsp".to_string(), body)]);
        prop_assert_eq!(table.answers.len(), 1);
        prop_assert_eq!(table.server.bytes_held(), 0);
    }
}
