//! Two clients talk, in both versions and all qualities of service.
#![allow(clippy::unwrap_used)]

mod town;

use sectag_mqtt::{ClientError, Qos, Version, Will};
use town::{Town, next, options, text, until};

#[tokio::test]
async fn a_message_arrives_in_every_version_and_quality() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let papers = town.device("dev-1");
    for version in [Version::V311, Version::V5] {
        let (reader, mut messages) = town
            .connect(&broker, &papers, options(version, "reader"))
            .await;
        let granted = reader.subscribe("dev-1/#", Qos::ExactlyOnce).await.unwrap();
        assert_eq!(granted, Qos::ExactlyOnce);
        for sender_version in [Version::V311, Version::V5] {
            let (sender, _none) = town
                .connect(&broker, &papers, options(sender_version, "sender"))
                .await;
            for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
                let said = format!("{qos:?} to {version:?}");
                sender
                    .publish("dev-1/a/b", said.as_str(), qos, false)
                    .await
                    .unwrap();
                let message = next(&mut messages).await;
                assert_eq!(text(&message), said);
                assert_eq!((message.qos, message.retain), (qos, false));
            }
            sender.disconnect().await.unwrap();
        }
        reader.disconnect().await.unwrap();
    }
    let counters = broker.counters();
    assert_eq!((counters.published, counters.delivered), (12, 12));
    assert_eq!((counters.denied_publish, counters.dropped), (0, 0));
    broker.shutdown().await;
}

#[tokio::test]
async fn many_messages_in_flight_arrive_in_order() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let papers = town.device("dev-1");
    let (reader, mut messages) = town
        .connect(&broker, &papers, options(Version::V311, "reader"))
        .await;
    reader.subscribe("dev-1/n", Qos::AtLeastOnce).await.unwrap();
    let (sender, _none) = town
        .connect(&broker, &papers, options(Version::V5, "sender"))
        .await;
    let sending = tokio::spawn(async move {
        for number in 0..300 {
            let sender = sender.clone();
            sender
                .publish("dev-1/n", number.to_string(), Qos::AtLeastOnce, false)
                .await
                .unwrap();
        }
    });
    for number in 0..300 {
        assert_eq!(text(&next(&mut messages).await), number.to_string());
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn a_large_message_passes_and_a_too_large_one_ends_the_connection() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let papers = town.device("dev-1");
    let (client, mut messages) = town
        .connect(&broker, &papers, options(Version::V311, "a"))
        .await;
    client.subscribe("dev-1/#", Qos::AtLeastOnce).await.unwrap();
    let large = vec![7; 200_000];
    client
        .publish("dev-1/large", large.clone(), Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(next(&mut messages).await.payload, large);
    let outcome = client
        .publish("dev-1/huge", vec![7; 300_000], Qos::AtLeastOnce, false)
        .await;
    assert!(
        matches!(outcome, Err(ClientError::Closed { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_retained_message_waits_for_the_subscriber_until_it_is_cleared() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let papers = town.device("dev-1");
    let (sender, _none) = town
        .connect(&broker, &papers, options(Version::V5, "sender"))
        .await;
    for word in ["old", "new"] {
        sender
            .publish("dev-1/state", word, Qos::AtLeastOnce, true)
            .await
            .unwrap();
    }
    let (reader, mut messages) = town
        .connect(&broker, &papers, options(Version::V311, "reader"))
        .await;
    reader.subscribe("dev-1/+", Qos::AtLeastOnce).await.unwrap();
    let kept = next(&mut messages).await;
    assert_eq!((text(&kept).as_str(), kept.retain), ("new", true));
    sender
        .publish("dev-1/state", "", Qos::AtLeastOnce, true)
        .await
        .unwrap();
    assert_eq!(text(&next(&mut messages).await), "");
    // The next subscription brings nothing: the fence is the first to arrive.
    reader.subscribe("dev-1/#", Qos::AtLeastOnce).await.unwrap();
    sender
        .publish("dev-1/fence", "fence", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(next(&mut messages).await.topic, "dev-1/fence");
}

#[tokio::test]
async fn the_will_is_published_when_a_client_vanishes_and_not_after_a_goodbye() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let mut witness = town.witness(&broker).await;
    let papers = town.device("dev-1");
    for version in [Version::V311, Version::V5] {
        let with_will = |word: &str| {
            let mut options = options(version, "mortal");
            options.will = Some(Will {
                topic: "dev-1/will".into(),
                payload: word.into(),
                qos: Qos::AtLeastOnce,
                retain: false,
            });
            options
        };
        let (polite, _none) = town.connect(&broker, &papers, with_will("polite")).await;
        polite.disconnect().await.unwrap();
        // The same client id again: whatever the broker does with the earlier connection happens before this CONNACK.
        let port = broker.local_addr().port();
        let killed = town::doomed(port, town.tls(Some(&papers)), with_will("killed")).await;
        killed.abort();
        let message = next(&mut witness.messages).await;
        assert_eq!(
            (message.topic.as_str(), text(&message).as_str()),
            ("dev-1/will", "killed")
        );
    }
    assert_eq!(witness.seen().await, []);
}

#[tokio::test]
async fn a_will_outside_its_own_topics_is_refused_with_the_connection() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let mut options = options(Version::V5, "a");
    options.will = Some(Will {
        topic: "dev-2/will".into(),
        payload: b"x".to_vec(),
        qos: Qos::AtMostOnce,
        retain: false,
    });
    let papers = town.device("dev-1");
    let refused = town.try_connect(&broker, Some(&papers), options).await;
    assert!(
        matches!(refused, Err(ClientError::Connack { code: 0x87, .. })),
        "{refused:?}"
    );
    until(&broker, |counters| counters.refused_connect == 1).await;
    assert_eq!(broker.counters().denied_publish, 1);
}
