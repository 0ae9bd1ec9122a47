//! Datagrams of any peers into the server, and answers of any kind back: no panic, no session over its bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_coap::server::SESSION_BYTES_MAX;
use sectag_coap::{Code, Limits, Output, Response, Server};
use std::time::Duration;

fuzz_target!(|script: Vec<(u8, u8, u16, Vec<u8>)>| {
    let limits = Limits {
        sessions_max: 3,
        total_bytes_max: 200_000,
        ..Limits::default()
    };
    let mut server = Server::new(limits, 1);
    let mut now = Duration::ZERO;
    let mut waiting = Vec::new();
    for (kind, session, number, bytes) in script {
        let session = u64::from(session % 4);
        match (kind % 8, waiting.pop()) {
            (0, Some(exchange)) => {
                let response = Response {
                    code: Code(number as u8),
                    content_format: Some(number),
                    max_age: Some(number.into()),
                    payload: bytes.repeat(1 + usize::from(kind)),
                };
                server.respond(exchange, response, now);
            }
            (1, _) => server.forget(session),
            (2, exchange) => {
                waiting.extend(exchange);
                now += Duration::from_millis(number.into()) * 8;
            }
            (_, exchange) => {
                waiting.extend(exchange);
                server.feed(session, &bytes, now);
            }
        }
        loop {
            match server.poll(now) {
                Output::Send { bytes, .. } => assert!(bytes.len() >= 4),
                Output::Request(request) => waiting.push(request.exchange),
                Output::Wait(when) => {
                    assert!(when.is_none_or(|when| when > now));
                    break;
                }
            }
        }
        assert!(server.session_bytes_held(session) <= SESSION_BYTES_MAX);
    }
    (0..4).for_each(|session| server.forget(session));
    assert_eq!((server.sessions(), server.bytes_held()), (0, 0));
});
