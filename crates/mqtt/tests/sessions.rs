//! What a session keeps while its client is away, and who may take it over.
#![allow(clippy::unwrap_used)]

mod town;

use sectag_mqtt::{ClientError, ConnectOptions, Qos, Version};
use town::{Town, next, options, text, until};

fn lasting(version: Version, client_id: &str) -> ConnectOptions {
    ConnectOptions {
        clean: false,
        ..options(version, client_id)
    }
}

#[tokio::test]
async fn messages_wait_for_a_client_that_comes_back() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let papers = town.device("dev-1");
    for version in [Version::V311, Version::V5] {
        let (reader, _none) = town
            .connect(&broker, &papers, lasting(version, "reader"))
            .await;
        assert!(!reader.session_present());
        reader.subscribe("dev-1/#", Qos::AtLeastOnce).await.unwrap();
        reader.disconnect().await.unwrap();
        until(&broker, |counters| counters.connected == 0).await;
        let (sender, _none) = town
            .connect(&broker, &papers, options(version, "sender"))
            .await;
        sender
            .publish("dev-1/lost", "best effort", Qos::AtMostOnce, false)
            .await
            .unwrap();
        for word in ["one", "two"] {
            sender
                .publish("dev-1/kept", word, Qos::AtLeastOnce, false)
                .await
                .unwrap();
        }
        let (reader, mut messages) = town
            .connect(&broker, &papers, lasting(version, "reader"))
            .await;
        assert!(reader.session_present());
        assert_eq!(text(&next(&mut messages).await), "one");
        assert_eq!(text(&next(&mut messages).await), "two");
        reader.disconnect().await.unwrap();
        // A clean start forgets it.
        let (reader, _none) = town
            .connect(&broker, &papers, options(version, "reader"))
            .await;
        assert!(!reader.session_present());
        reader.disconnect().await.unwrap();
        sender.disconnect().await.unwrap();
        until(&broker, |counters| counters.sessions == 0).await;
    }
}

#[tokio::test]
async fn the_same_identity_takes_its_session_over() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let papers = town.device("dev-1");
    let (first, _none) = town
        .connect(&broker, &papers, lasting(Version::V5, "same"))
        .await;
    first.subscribe("dev-1/#", Qos::AtLeastOnce).await.unwrap();
    let (second, mut messages) = town
        .connect(&broker, &papers, lasting(Version::V5, "same"))
        .await;
    assert!(second.session_present());
    let reason = first.closed().await;
    assert!(
        matches!(&reason, ClientError::Closed { reason, .. } if reason.contains("taken over")),
        "{reason:?}"
    );
    second
        .publish("dev-1/x", "mine", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(text(&next(&mut messages).await), "mine");
    assert_eq!(broker.counters().connected, 1);
}

#[tokio::test]
async fn another_identity_with_the_same_client_id_gets_a_session_of_its_own() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let (mine, mut messages) = town
        .connect(
            &broker,
            &town.device("dev-1"),
            lasting(Version::V5, "shared-id"),
        )
        .await;
    mine.subscribe("dev-1/#", Qos::AtLeastOnce).await.unwrap();
    let (thief, mut thief_hears) = town
        .connect(
            &broker,
            &town.device("dev-2"),
            lasting(Version::V5, "shared-id"),
        )
        .await;
    assert!(!thief.session_present());
    mine.publish("dev-1/x", "still mine", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(text(&next(&mut messages).await), "still mine");
    thief.subscribe("dev-2/#", Qos::AtLeastOnce).await.unwrap();
    thief
        .publish("dev-2/fence", "fence", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(next(&mut thief_hears).await.topic, "dev-2/fence");
    assert_eq!(broker.counters().connected, 2);
}

#[tokio::test]
async fn a_client_without_an_id_is_given_one() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let papers = town.device("dev-1");
    for version in [Version::V311, Version::V5] {
        let (_one, _none) = town.connect(&broker, &papers, options(version, "")).await;
        let (_two, _none) = town.connect(&broker, &papers, options(version, "")).await;
    }
    let (one_more, _none) = town
        .connect(&broker, &papers, options(Version::V5, "named"))
        .await;
    one_more.disconnect().await.unwrap();
    let refused = town
        .try_connect(&broker, Some(&papers), lasting(Version::V311, ""))
        .await;
    assert!(
        matches!(refused, Err(ClientError::Connack { code: 2, .. })),
        "{refused:?}"
    );
}
