//! A client whose service, modem and settings store say anything: no panic, and never two asks at once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_proto::Uptime;
use sectag_proto::device::{
    Client, ClientConfig, FunctionalMode, Input, Output, RadioState, StoreFailure, TransportError,
};
use std::time::Duration;

fuzz_target!(|script: (bool, u64, Vec<(u8, u16, Vec<u8>)>)| {
    let (firmware, seed, steps) = script;
    let mut config = if firmware {
        ClientConfig::faithful()
    } else {
        ClientConfig::default()
    };
    config.session.save_command_id = true;
    config.auto_start = true;
    config.scheduled = true;
    config.seed = seed;
    let mut client = Client::new(config).expect("options that fit each other");
    let mut now = Uptime(0);
    client.init(now).expect("it is new");
    let mut out = None;
    for (kind, number, bytes) in steps {
        loop {
            match client.poll() {
                Output::Wait(until) => {
                    if out.is_none() {
                        now = until.unwrap_or(now).max(now);
                    }
                    break;
                }
                Output::Event(_) => {}
                ask => assert!(out.replace(ask).is_none(), "two asks are out"),
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let input = match (kind % 8, out.take()) {
            (0, ask) => {
                out = ask;
                Input::Network(number % 2 == 0)
            }
            (1, ask) => {
                out = ask;
                Input::Hint(Duration::from_secs(u64::from(number)))
            }
            (2, ask) => {
                out = ask;
                let _ = client.set_interval(i64::from(number), now);
                Input::Triggered
            }
            (_, None) => Input::Tick,
            (_, Some(Output::Sign { .. })) => Input::Signed(text.into()),
            (3, Some(Output::Fetch { .. })) => Input::Failed(TransportError::Timeout),
            (_, Some(Output::Fetch { .. })) => Input::Fetched {
                status: if number > 999 { 200 } else { number },
                body: bytes,
            },
            (_, Some(Output::Report { .. })) => Input::Reported {
                status: if number > 999 { 200 } else { number },
            },
            (3, Some(Output::Line(_))) => Input::ModemFailed(text),
            (_, Some(Output::Line(_))) => Input::ModemSaid(text),
            (_, Some(Output::Radio(_))) => Input::RadioIs(RadioState {
                mode: FunctionalMode((number % 5) as u8),
                pdn_active: number > 999,
            }),
            (_, Some(Output::Load { .. })) => Input::Loaded(Some(text)),
            (3, Some(Output::Save { .. })) => Input::StoreFailed(StoreFailure::Io),
            (_, Some(Output::Save { .. })) => Input::Stored,
            (_, Some(Output::Event(_) | Output::Wait(_))) => unreachable!(),
        };
        client.handle(input, now);
    }
});
