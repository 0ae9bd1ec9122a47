//! Too many at once: a device in a loop, handshakes that come to nothing, strangers who talk, one address with all the connections.
//! Everybody else is served, and whoever is told to come later is told when.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_server::admission::{
    DEVICE_REQUESTS_PER_MINUTE, RETURN_MIN_S, RETURN_SPREAD_S, STRANGER_LINES_PER_MINUTE,
};
use std::time::Duration;
use support::Town;
use support::device::FakeDevice;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];

fn is_a_time_to_return(seconds: u32) -> bool {
    (RETURN_MIN_S..=RETURN_MIN_S + RETURN_SPREAD_S).contains(&seconds)
}

/// Two devices; the first has asked as often as one may in a minute.
async fn town_with_a_loop() -> (Town, FakeDevice, FakeDevice) {
    let town = Town::start().await;
    let (looping, other) = (FakeDevice::new(1), FakeDevice::new(2));
    for device in [&looping, &other] {
        assert_eq!(town.claim(device).await.status, 201);
    }
    for _ in 0..DEVICE_REQUESTS_PER_MINUTE {
        let admission = town.service().app().admission();
        drop(admission.enter(looping.id, town.now()).unwrap());
    }
    (town, looping, other)
}

#[tokio::test]
async fn a_device_in_a_loop_hears_500_and_when_to_return_and_others_are_served() {
    let (town, looping, other) = town_with_a_loop().await;
    let refused = town.fetch(&looping, "").await;
    assert_eq!((refused.status, refused.body.len()), (500, 0));
    let after: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(is_a_time_to_return(after), "{after}");
    assert_eq!(town.report(&looping, b"\x80").await.status, 500);
    assert_eq!(town.fetch(&other, "").await.status, 204);
    town.wait(Duration::from_secs(60));
    assert_eq!(town.fetch(&looping, "").await.status, 204);
}

#[tokio::test]
async fn nobody_uses_up_a_device_s_share_but_the_device() {
    let town = Town::start().await;
    let device = FakeDevice::new(1);
    assert_eq!(town.claim(&device).await.status, 201);
    let jwt = device.jwt(town.now());
    let (signed, _) = jwt.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", "A".repeat(86));
    for _ in 0..3 {
        assert_eq!(town.fetch_as(&forged, "after=").await.status, 401);
    }
    let turned = town.service().app().admission().turned_away();
    assert_eq!((turned.devices, turned.in_hand), (0, 0));
    assert_eq!(town.fetch(&device, "").await.status, 204);
}

#[tokio::test]
async fn strangers_cause_so_many_lines_and_no_more() {
    let town = Town::start().await;
    let from = town.log.len();
    for _ in 0..STRANGER_LINES_PER_MINUTE + 20 {
        assert_eq!(town.fetch_as("garbage", "after=").await.status, 401);
    }
    let lines = town.log.since(from);
    // Those, and the one that says that the rest is counted.
    assert_eq!(lines.len(), STRANGER_LINES_PER_MINUTE as usize + 1);
    assert!(lines.last().unwrap().contains("only counted"), "{lines:?}");
    town.wait(Duration::from_secs(60));
    assert_eq!(town.fetch_as("garbage", "after=").await.status, 401);
    let later = town.log.since(from).split_off(lines.len());
    assert!(later[0].contains("left_out=20"), "{later:?}");
    assert!(later[1].contains("not a JWT"), "{later:?}");
}

/// A ClientHello of TLS 1.2 with these suites and these curves.
fn hello(suites: &[u16], curves: &[u16]) -> Vec<u8> {
    let len16 = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let list = |numbers: &[u16]| -> Vec<u8> {
        len16(
            &numbers
                .iter()
                .flat_map(|n| n.to_be_bytes())
                .collect::<Vec<_>>(),
        )
    };
    let extension = |number: u16, body: &[u8]| [&number.to_be_bytes()[..], &len16(body)].concat();
    let extensions = [
        extension(10, &list(curves)),
        extension(11, &[1, 0]),
        extension(13, &list(&[0x0403])),
        extension(23, &[]),
    ]
    .concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &list(suites),
        &[1, 0],
        &len16(&extensions),
    ]
    .concat();
    let message = [&[1, 0][..], &len16(&body)].concat();
    [&[22, 3, 1][..], &len16(&message)].concat()
}

#[tokio::test]
async fn a_handshake_without_common_ground_is_logged_with_what_was_offered() {
    let town = Town::start().await;
    for (hello, words) in [
        (
            hello(&[0xc024, 0xc00a, 0xc023, 0xc009, 0x00ff], &[23]),
            "offers only CBC suites",
        ),
        (hello(&[0xc02f], &[23]), "offers only RSA suites"),
        (hello(&[0xc02b], &[25]), "no curve in common"),
    ] {
        let from = town.log.len();
        let mut socket = TcpStream::connect(town.service().addresses().device)
            .await
            .unwrap();
        let from_address = socket.local_addr().unwrap().to_string();
        socket.write_all(&hello).await.unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        assert_eq!(answer.first(), Some(&21), "an alert");
        while town.log.since(from).is_empty() {
            tokio::task::yield_now().await;
        }
        let lines = town.log.since(from);
        assert!(lines[0].contains(words), "{lines:?}");
        assert!(lines[0].contains(&from_address), "{lines:?}");
    }
}

#[tokio::test]
async fn bodies_without_a_token_are_read_and_thrown_away() {
    let town = Town::start().await;
    let mut stream = town.device_stream(TLS12).await;
    let head = "POST /v1/provisioning/response HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/cbor\r\nAuthorization: Bearer a.b.c\r\nContent-Length: 40000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![0x61; 40_000]).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 401"));
    assert_eq!(town.service().app().admission().turned_away().bodies, 0);
}

/// Half of the room for bodies is taken by one address that never ends what it began.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn slow_bodies_of_one_address_leave_room_for_those_of_others() {
    let town = Town::start().await;
    let jwt = FakeDevice::new(9).jwt(town.now());
    let head = format!(
        "POST /v1/provisioning/response HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/cbor\r\nAuthorization: Bearer {jwt}\r\nContent-Length: 6000\r\n\r\n"
    );
    let begun = [head.as_bytes(), &[0x61; 5000]].concat();
    let bodies = || town.service().app().admission().turned_away().bodies;
    let mut slow = Vec::new();
    while bodies() == 0 {
        let mut stream = town.device_stream(TLS12).await;
        stream.write_all(&begun).await.unwrap();
        slow.push(stream);
        assert!(slow.len() < 200, "one address has all the room");
    }
    let whole = [&begun[..], &[0x61; 1000]].concat();
    let answer = async |from: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let socket = socket.connect(town.service().addresses().device).await;
        let mut stream = town.device_stream_over(socket.unwrap(), TLS12).await;
        stream.write_all(&whole).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        support::reply_of(&answer).unwrap()
    };
    let refused = answer("127.0.0.1").await;
    assert_eq!(refused.status, 500);
    let after: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(is_a_time_to_return(after), "{after}");
    // It is heard, and nobody.
    assert_eq!(answer("127.0.0.2").await.status, 401);
}

#[cfg(feature = "coap")]
mod over_coap {
    use super::*;
    use sectag_coap::{ClientRequest, Code, Method};
    use support::coap::CoapSession;

    async fn status(town: &Town, member: &str) -> u64 {
        let status = town.owner("GET", "/v1/status", None).await.json();
        status["coap"][member].as_u64().unwrap()
    }

    #[tokio::test]
    async fn a_device_in_a_loop_hears_5_00_and_when_to_return() {
        let (town, looping, other) = town_with_a_loop().await;
        let mut session = CoapSession::open(&town).await;
        let refused = session.authenticate(&looping.jwt(town.now())).await;
        assert_eq!(refused.code, Code::INTERNAL);
        assert!(is_a_time_to_return(refused.max_age.unwrap()));
        // The same session may try again, and another device is served meanwhile.
        let mut served = CoapSession::open(&town).await;
        let jwt = other.jwt(town.now());
        assert_eq!(served.authenticate(&jwt).await.code, Code::CREATED);
        assert_eq!(served.fetch("after=").await.code, Code::CONTENT);
        town.wait(Duration::from_secs(60));
        let jwt = looping.jwt(town.now());
        assert_eq!(session.authenticate(&jwt).await.code, Code::CREATED);
    }

    #[tokio::test]
    async fn a_stranger_that_keeps_asking_is_shown_out() {
        let town = Town::start().await;
        let mut session = CoapSession::open(&town).await;
        assert_eq!(status(&town, "newcomers").await, 1);
        let mut refused = 0;
        while !session.is_closed() {
            assert_eq!(session.fetch("after=").await.code, Code::UNAUTHORIZED);
            refused += 1;
            if refused == 32 {
                session.settle().await;
            }
        }
        assert_eq!(refused, 32);
        assert_eq!(status(&town, "newcomers").await, 0);
    }

    #[tokio::test]
    async fn a_stranger_that_says_nothing_is_shown_out_and_a_device_stays() {
        let mut town = Town::start().await;
        let device = FakeDevice::new(1);
        town.claim(&device).await;
        town.down().await;
        town.coap_settings.stranger_time_max = Duration::from_millis(300);
        town.up().await;
        let jwt = device.jwt(town.now());
        let mut known = loop {
            let mut session = CoapSession::open(&town).await;
            // On a busy machine the time may be over before the token has left.
            if let Some(answer) = session.try_authenticate(&jwt).await {
                assert_eq!(answer.code, Code::CREATED);
                break session;
            }
        };
        let mut stranger = CoapSession::open(&town).await;
        stranger.settle().await;
        assert_eq!(status(&town, "newcomers").await, 0);
        assert_eq!(known.fetch("after=").await.code, Code::CONTENT);
        assert_eq!(known.handshakes(), 1);
    }

    #[tokio::test]
    async fn a_stranger_is_told_how_little_it_may_send_and_a_device_sends_what_it_has() {
        let town = Town::start().await;
        let device = FakeDevice::new(1);
        town.claim(&device).await;
        let mut session = CoapSession::open(&town).await;
        let body = |path: &[&str]| {
            ClientRequest::new(Method::POST, path).payload(60, vec![0x61; 8 * 1024])
        };
        let refused = session.ask(body(&["p", "rsp"])).await;
        assert_eq!(refused.code, Code::REQUEST_ENTITY_TOO_LARGE);
        let jwt = device.jwt(town.now());
        assert_eq!(session.authenticate(&jwt).await.code, Code::CREATED);
        assert_eq!(status(&town, "newcomers").await, 0);
        // Its body arrives whole, and is looked at.
        let read = session.ask(body(&["p", "rsp"])).await;
        assert_eq!(read.code, Code::BAD_REQUEST);
        // Unclaimed, it is a stranger again.
        let path = format!("/v1/claimed-devices/{}", device.id);
        assert_eq!(town.owner("DELETE", &path, None).await.status, 204);
        assert_eq!(session.fetch("after=").await.code, Code::UNAUTHORIZED);
        assert_eq!(status(&town, "newcomers").await, 1);
    }
}
