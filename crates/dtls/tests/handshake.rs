//! Handshakes: every suite, with and without Connection ID, over good and bad networks, and what a client refuses.
#![allow(clippy::unwrap_used)]

mod desk;

use desk::{NAME, Table, Weather};
use sectag_dtls::{
    CertificateFault, ClientEvent, ClientFailure, Event, Identity, Refused, Suites, suite_name,
};

#[test]
fn a_client_and_the_endpoint_talk() {
    let mut table = Table::new(1);
    let config = table.pki.client();
    let guest = table.connected(&config);
    table.exchange(guest, b"hello");
    table.exchange(guest, &[7; 1100]);
    let [
        ClientEvent::Connected {
            resumed: None,
            cid: true,
            suite: 0xc02b,
            handshake,
        },
    ] = table.guests[guest].events[..]
    else {
        panic!("{:?}", table.guests[guest].events)
    };
    assert!(
        handshake.sent > 300 && handshake.received > 700 && handshake.retransmitted == 0,
        "{handshake:?}"
    );
    assert!(
        table.events.iter().any(|event| matches!(
            event,
            Event::Connected {
                cid: true,
                resumed: None,
                suite: 0xc02b,
                ..
            }
        )),
        "{:?}",
        table.events
    );
}
