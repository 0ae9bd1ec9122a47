//! Datagrams of any server into the client: no panic, and every request ends once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_coap::{BlockSize, Client, ClientConfig, ClientOutput, ClientRequest, Method};
use std::time::Duration;

fuzz_target!(|script: (u8, u16, Vec<(bool, u16, Vec<u8>)>)| {
    let (requests, length, datagrams) = script;
    let config = ClientConfig {
        block_size: BlockSize::B32,
        body_bytes_max: 1000,
        token_bytes: 1,
        ..ClientConfig::default()
    };
    let mut client = Client::new(config, 1);
    let mut now = Duration::ZERO;
    let asked = requests % 4;
    for number in 0..asked {
        client.request(
            ClientRequest {
                confirmable: number != 3,
                block2: number == 1,
                ..ClientRequest::new(Method::POST, &["p", "rsp"])
                    .query("after=")
                    .payload(60, vec![number; usize::from(length % 500)])
            },
            now,
        );
    }
    let mut ended = 0;
    let mut last = Vec::new();
    for (fitting, pause, mut bytes) in datagrams {
        loop {
            match client.poll(now) {
                ClientOutput::Send(bytes) => last = bytes,
                ClientOutput::Response(response) => {
                    assert!(response.payload.len() <= 1000);
                    ended += 1;
                }
                ClientOutput::Failed { .. } => ended += 1,
                ClientOutput::Wait(_) => break,
            }
        }
        // Id and token of the message under way, or little gets past the door.
        if fitting && bytes.len() > 4 && last.len() > 4 {
            bytes[2..5].copy_from_slice(&last[2..5]);
            bytes[0] = bytes[0] & 0xf0 | 1;
        }
        client.feed(&bytes, now);
        now += Duration::from_millis(pause.into());
    }
    loop {
        match client.poll(now) {
            ClientOutput::Send(_) => {}
            ClientOutput::Wait(Some(when)) => now = when,
            ClientOutput::Wait(None) => break,
            _ => ended += 1,
        }
    }
    assert_eq!(ended, asked);
});
