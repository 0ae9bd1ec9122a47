//! A certificate opens the topics below its own name and nothing else: the witness sees nothing, the counters move.
#![allow(clippy::unwrap_used)]

mod town;

use sectag_mqtt::{ClientError, Qos, Version};
use town::{Town, next, options};

#[tokio::test]
async fn a_foreign_topic_is_refused_and_nobody_hears_it() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let mut witness = town.witness(&broker).await;
    let (victim, mut victim_hears) = town
        .connect(
            &broker,
            &town.device("dev-2"),
            options(Version::V311, "dev-2"),
        )
        .await;
    victim.subscribe("dev-2/#", Qos::AtLeastOnce).await.unwrap();
    let papers = town.device("dev-1");

    let (v5, _none) = town
        .connect(&broker, &papers, options(Version::V5, "v5"))
        .await;
    for (topic, qos) in [
        ("dev-2/x", Qos::AtLeastOnce),
        ("dev-2/x", Qos::ExactlyOnce),
        ("dev-1x/y", Qos::AtLeastOnce),
        ("$SYS/x", Qos::AtLeastOnce),
        ("/dev-1/x", Qos::AtLeastOnce),
    ] {
        let refused = v5.publish(topic, "evil", qos, true).await;
        assert!(
            matches!(refused, Err(ClientError::PublishRefused { code: 0x87, .. })),
            "{topic}: {refused:?}"
        );
    }
    v5.publish("dev-2/x", "evil", Qos::AtMostOnce, false)
        .await
        .unwrap();

    // A 3.1.1 client is acknowledged all the same: the version has no word for no.
    let (v311, _none) = town
        .connect(&broker, &papers, options(Version::V311, "v311"))
        .await;
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        v311.publish("dev-2/x", "evil", qos, true).await.unwrap();
    }

    // Fences: allowed messages on the same connections.
    for client in [&v5, &v311] {
        client
            .publish("dev-1/fine", "fine", Qos::AtLeastOnce, false)
            .await
            .unwrap();
    }
    let fine = ("dev-1/fine".to_owned(), "fine".to_owned());
    assert_eq!(witness.seen().await, [fine.clone(), fine]);
    victim
        .publish("dev-2/fence", "fence", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(next(&mut victim_hears).await.topic, "dev-2/fence");
    assert_eq!(broker.counters().denied_publish, 8);

    // Nothing was retained either.
    let (late, mut late_hears) = town
        .connect(
            &broker,
            &town.device("dev-2"),
            options(Version::V311, "late"),
        )
        .await;
    late.subscribe("dev-2/#", Qos::AtLeastOnce).await.unwrap();
    victim
        .publish("dev-2/fence", "fence", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(next(&mut late_hears).await.topic, "dev-2/fence");
}

#[tokio::test]
async fn a_foreign_subscription_is_refused_and_hears_nothing() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let (speaker, _none) = town
        .connect(
            &broker,
            &town.device("dev-2"),
            options(Version::V5, "dev-2"),
        )
        .await;
    let papers = town.device("dev-1");
    let mut denied = 0;
    for (version, code) in [(Version::V311, 0x80), (Version::V5, 0x87)] {
        let (spy, mut spy_hears) = town
            .connect(&broker, &papers, options(version, "spy"))
            .await;
        for filter in ["#", "+/x", "dev-2/#", "dev-2/x", "dev-1x/#"] {
            let refused = spy.subscribe(filter, Qos::AtLeastOnce).await;
            assert!(
                matches!(&refused, Err(ClientError::SubscribeRefused { code: said, .. }) if *said == code),
                "{filter}: {refused:?}"
            );
            denied += 1;
            assert_eq!(broker.counters().denied_subscribe, denied);
        }
        spy.subscribe("dev-1/#", Qos::AtLeastOnce).await.unwrap();
        speaker
            .publish("dev-2/x", "secret", Qos::AtLeastOnce, false)
            .await
            .unwrap();
        spy.publish("dev-1/fence", "fence", Qos::AtLeastOnce, false)
            .await
            .unwrap();
        assert_eq!(next(&mut spy_hears).await.topic, "dev-1/fence");
        spy.disconnect().await.unwrap();
    }
}

#[tokio::test]
async fn an_operator_reads_all_and_writes_only_below_its_own_name() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let mut witness = town.witness(&broker).await;
    let (device, _none) = town
        .connect(
            &broker,
            &town.device("dev-7"),
            options(Version::V311, "dev-7"),
        )
        .await;
    device
        .publish("dev-7/hello", "hello", Qos::AtMostOnce, false)
        .await
        .unwrap();
    assert_eq!(next(&mut witness.messages).await.topic, "dev-7/hello");
    let (operator, _none) = town
        .connect(&broker, &town.operator(), options(Version::V5, "op"))
        .await;
    let refused = operator
        .publish("dev-7/x", "x", Qos::AtLeastOnce, false)
        .await;
    assert!(matches!(refused, Err(ClientError::PublishRefused { .. })));
}

#[tokio::test]
async fn shared_subscriptions_are_refused_by_name() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let papers = town.device("dev-1");
    let (client, _none) = town
        .connect(&broker, &papers, options(Version::V5, "a"))
        .await;
    let refused = client.subscribe("$share/g/dev-1/#", Qos::AtLeastOnce).await;
    assert!(
        matches!(
            refused,
            Err(ClientError::SubscribeRefused { code: 0x9e, .. })
        ),
        "{refused:?}"
    );
}
