//! The client over plain TCP, and what it counts.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use sectag_mqtt::client::{Ending, HandshakeFailure, tls_config};
use sectag_mqtt::{Client, ClientError, ConnectOptions, Qos, Traffic, Transport};
use sectag_pki::Authority;
use sectag_proto::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Answers each packet with the next of these; everything it was sent goes into the channel.
async fn server(answers: &'static [&'static [u8]]) -> (u16, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen, packets) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 4096];
        let mut answers = answers.iter();
        while let Ok(count @ 1..) = tcp.read(&mut buffer).await {
            let _ = seen.send(buffer[..count].to_vec());
            if let Some(answer) = answers.next() {
                tcp.write_all(answer).await.unwrap();
            }
        }
    });
    (port, packets)
}

fn options() -> ConnectOptions {
    ConnectOptions {
        timeout: Duration::from_secs(10),
        ..ConnectOptions::new("dev")
    }
}

const ACCEPTED: &[u8] = &[0x20, 2, 0, 0];

#[tokio::test]
async fn bytes_are_counted_as_they_are_on_the_wire() {
    const MESSAGE: &[u8] = b"\x30\x06\0\x01tabc";
    let (port, mut packets) = server(&[ACCEPTED, b"\x40\x02\0\x01", MESSAGE]).await;
    let (client, mut incoming) = Client::connect("127.0.0.1", port, Transport::Plain, options())
        .await
        .unwrap();
    client
        .publish("t", "hello", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    client
        .publish("t", "x", Qos::AtMostOnce, false)
        .await
        .unwrap();
    assert_eq!(&incoming.recv().await.unwrap().payload[..], b"abc");
    client.disconnect().await.unwrap();
    let mut sent = 0;
    while let Some(bytes) = packets.recv().await {
        sent += bytes.len() as u64;
    }
    let received = (ACCEPTED.len() + 4 + MESSAGE.len()) as u64;
    assert_eq!(
        client.traffic(),
        Traffic {
            sent,
            received,
            packets_sent: sent,
            packets_received: received,
            payload_sent: 6,
            payload_received: 3,
            ..Traffic::default()
        }
    );
}

/// The keep-alive is shorter than the patience: pings go on while the first is unanswered.
#[tokio::test]
async fn a_server_that_is_gone_is_noticed_however_often_it_is_pinged() {
    let (port, _packets) = server(&[ACCEPTED]).await;
    let options = ConnectOptions {
        keep_alive: Duration::from_secs(1),
        timeout: Duration::from_secs(3),
        ..options()
    };
    let (client, _incoming) = Client::connect("127.0.0.1", port, Transport::Plain, options)
        .await
        .unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), client.closed());
    assert!(matches!(
        ended.await.unwrap(),
        ClientError::Closed {
            ending: Ending::PingUnanswered { .. },
            ..
        }
    ));
}

#[tokio::test]
async fn user_name_and_password_travel_and_are_not_printed() {
    let (port, mut packets) = server(&[ACCEPTED]).await;
    let options = ConnectOptions {
        user_name: Some("thing".into()),
        password: Some(Secret::new(b"hunter2".to_vec())),
        ..options()
    };
    assert!(!format!("{options:?}").contains("hunter2"));
    let (client, _incoming) = Client::connect("127.0.0.1", port, Transport::Plain, options)
        .await
        .unwrap();
    let connect = packets.recv().await.unwrap();
    assert!(
        connect.ends_with(b"\0\x05thing\0\x07hunter2"),
        "{connect:?}"
    );
    client.disconnect().await.unwrap();
}

#[tokio::test]
async fn what_is_no_mqtt_is_said_at_once() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\n"[..],
        b"SSH-2.0-OpenSSH_9\r\n",
        b"\x15\x03\x03\0\x02\x02\x32",
    ] {
        let answers: &'static [&'static [u8]] = Box::leak(Box::new([&*Box::leak(answer.into())]));
        let (port, _packets) = server(answers).await;
        match Client::connect("127.0.0.1", port, Transport::Plain, options()).await {
            Err(ClientError::Closed {
                ending: Ending::Protocol,
                heard: Some(heard),
                ..
            }) => {
                assert_eq!(heard.first, answer);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn tls_never_becomes_plain() {
    // This server would take a CONNECT.
    let (port, mut packets) = server(&[ACCEPTED]).await;
    let root = Authority::root("Root", 1_800_000_000).unwrap();
    let tls = tls_config(&root.certificate_pem(), None).unwrap();
    let refused = Client::connect(
        "127.0.0.1",
        port,
        Transport::tls("localhost", Arc::clone(&tls)),
        options(),
    )
    .await;
    assert!(
        matches!(
            &refused,
            Err(ClientError::Tls {
                failure: HandshakeFailure::Refused(_),
                ..
            })
        ),
        "{refused:?}"
    );
    let hello = packets.recv().await.unwrap();
    assert_eq!(hello[..2], [0x16, 3], "a ClientHello");
    // What follows is at most an alert.
    if let Some(more) = packets.recv().await {
        assert_eq!(more[..2], [0x15, 3]);
    }
    assert_eq!(packets.recv().await, None);
}
