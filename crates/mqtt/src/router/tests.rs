#![allow(clippy::unwrap_used)]

use super::*;
use mqtt_protocol_core::mqtt::IntoPayload;
use sectag_pki::{ClientIdentity, Role};

const NOW: Duration = Duration::from_secs(1000);

fn identity(cn: &str, role: Role) -> Arc<Identity> {
    Arc::new(
        ClientIdentity {
            cn: cn.into(),
            role,
            serial: "01".into(),
            issuer: "CN=ca".into(),
        }
        .into(),
    )
}

fn router(change: impl FnOnce(&mut RouterLimits)) -> (Router, Arc<Counters>) {
    let mut limits = RouterLimits::default();
    change(&mut limits);
    let counters = Arc::new(Counters::default());
    (Router::new(limits, counters.clone()), counters)
}

fn ask(cn: &str, client_id: &str, keep_for_s: u64) -> Attach {
    Attach {
        identity: identity(cn, Role::Device),
        client_id: client_id.into(),
        clean_start: false,
        keep_for: Duration::from_secs(keep_for_s),
        will: None,
        can_release: true,
    }
}

fn message(topic: &str, text: &str) -> Message {
    Message {
        topic: topic.into(),
        payload: text.into_payload(),
        qos: Qos::AtLeastOnce,
        retain: false,
        properties: Arc::from([]),
        expires_at: None,
    }
}

fn heard(router: &mut Router, link: LinkId) -> Vec<String> {
    let mut id = 0;
    let mut texts = Vec::new();
    loop {
        id += 1;
        match router.next(link, usize::MAX, || Some(id), NOW) {
            Some(Delivery::Publish { message, .. }) => {
                texts.push(String::from_utf8(message.payload.as_slice().to_vec()).unwrap());
            }
            Some(Delivery::Release { .. }) => {}
            None => return texts,
        }
    }
}

#[test]
fn a_link_that_lost_its_session_cannot_act_in_its_name() {
    let (mut router, _) = router(|_| {});
    let old = router.attach(ask("dev", "a", 60), NOW).unwrap().link;
    let new = router.attach(ask("dev", "a", 60), NOW).unwrap();
    assert_eq!(new.displaced, Some(old));
    assert!(new.session_present);
    assert_eq!(
        router.publish(old, message("dev/x", "x"), NOW),
        Err(PublishError::Gone)
    );
    let plain = Subscription::plain(Qos::AtMostOnce);
    assert_eq!(
        router.subscribe(old, "dev/x", plain, NOW),
        Err(SubscribeError::Gone)
    );
    router.detach(old, Ending::Lost, NOW);
    router
        .publish(new.link, message("dev/x", "x"), NOW)
        .unwrap();
}

#[test]
fn sessions_are_kept_apart_by_issuer_as_well() {
    let (mut router, _) = router(|_| {});
    router.attach(ask("dev", "a", 60), NOW).unwrap();
    let mut other = ask("dev", "a", 60);
    other.identity = Arc::new(
        ClientIdentity {
            cn: "dev".into(),
            role: Role::Device,
            serial: "01".into(),
            issuer: "CN=other ca".into(),
        }
        .into(),
    );
    let other = router.attach(other, NOW).unwrap();
    assert_eq!(other.displaced, None);
    assert!(!other.session_present);
}

#[test]
fn a_session_ends_when_its_time_is_over_and_its_subscriptions_with_it() {
    let (mut router, counters) = router(|_| {});
    let reader = router.attach(ask("dev", "reader", 60), NOW).unwrap().link;
    let plain = Subscription::plain(Qos::AtLeastOnce);
    router.subscribe(reader, "dev/#", plain, NOW).unwrap();
    router.detach(reader, Ending::Disconnected, NOW);
    router.sweep(NOW + Duration::from_secs(59));
    assert_eq!(counters.snapshot().sessions, 1);
    router.sweep(NOW + Duration::from_secs(60));
    assert_eq!(counters.snapshot().sessions, 0);
    assert!(router.filters.is_empty());
    assert!(router.by_key.is_empty() && router.by_identity.is_empty());
}

#[test]
fn an_overdue_session_is_not_resumed_even_before_the_sweep() {
    let (mut router, _) = router(|_| {});
    let first = router.attach(ask("dev", "a", 60), NOW).unwrap().link;
    router.detach(first, Ending::Disconnected, NOW);
    let late = NOW + Duration::from_secs(61);
    assert!(
        !router
            .attach(ask("dev", "a", 60), late)
            .unwrap()
            .session_present
    );
}

#[test]
fn an_identity_at_its_limit_loses_its_oldest_absent_session() {
    let (mut router, counters) = router(|limits| limits.sessions_per_identity_max = 2);
    for (client_id, at) in [("old", 0), ("newer", 10)] {
        let link = router.attach(ask("dev", client_id, 600), NOW).unwrap().link;
        router.detach(link, Ending::Disconnected, NOW + Duration::from_secs(at));
    }
    router.attach(ask("dev", "third", 600), NOW).unwrap();
    assert_eq!(counters.snapshot().sessions, 2);
    let newer = router.attach(ask("dev", "newer", 600), NOW).unwrap();
    assert!(newer.session_present);
    // Both are connected: there is nobody to give way.
    assert_eq!(
        router.attach(ask("dev", "fourth", 600), NOW).unwrap_err(),
        AttachError::IdentityFull
    );
    router.attach(ask("other", "fourth", 600), NOW).unwrap();
}

fn nobody(listener: usize, rules: &str) -> Arc<Identity> {
    let rules = sectag_pki::topics::Rules::parse(rules).unwrap();
    Arc::new(Identity::anonymous(listener, Arc::new(rules)))
}

#[test]
fn clients_without_a_certificate_share_wider_bounds_of_their_listener() {
    let (mut router, counters) = router(|limits| {
        limits.sessions_per_identity_max = 1;
        limits.sessions_anonymous_max = 3;
        limits.retained.messages_per_publisher_max = 1;
        limits.retained.messages_anonymous_max = 2;
    });
    let come = |router: &mut Router, listener, client_id: &str| {
        let identity = nobody(listener, "allow both #");
        router.attach(
            Attach {
                identity,
                ..ask("x", client_id, 0)
            },
            NOW,
        )
    };
    let first = come(&mut router, 1, "a").unwrap();
    for client_id in ["b", "c"] {
        come(&mut router, 1, client_id).unwrap();
    }
    assert_eq!(
        come(&mut router, 1, "d").unwrap_err(),
        AttachError::IdentityFull
    );
    // Another listener has bounds and sessions of its own.
    assert!(come(&mut router, 2, "a").unwrap().displaced.is_none());
    assert_eq!(
        come(&mut router, 1, "a").unwrap().displaced,
        Some(first.link)
    );
    let link = come(&mut router, 2, "b").unwrap().link;
    for number in 0..3 {
        let topic = format!("t/{number}");
        let retained = Message {
            retain: true,
            ..message(&topic, "x")
        };
        router.publish(link, retained, NOW).unwrap();
    }
    assert_eq!(counters.snapshot().retained_refused, 1);
}

#[test]
fn a_client_identifier_opens_topics_once_it_is_known() {
    let identity = nobody(1, "allow both {client_id}/#\nallow both {cn}/#");
    assert!(!identity.may_publish("a/x") && identity.is_anonymous());
    let known = identity.with_client_id("a");
    assert!(known.may_publish("a/x") && known.may_subscribe("a/#"));
    assert!(!known.may_publish("b/x") && !known.may_subscribe("#"));
    assert!(!identity.with_client_id("+").may_subscribe("+/x"));
    assert_eq!(
        (&known.name, &known.issuer),
        (&identity.name, &identity.issuer)
    );
    assert!(known.role().is_none() && known.serial().is_none());
}

#[test]
fn overlapping_filters_deliver_once_at_the_highest_quality() {
    let (mut router, _) = router(|_| {});
    let link = router.attach(ask("dev", "a", 0), NOW).unwrap().link;
    for (filter, qos) in [("dev/#", Qos::AtMostOnce), ("dev/+", Qos::AtLeastOnce)] {
        let plain = Subscription::plain(qos);
        router.subscribe(link, filter, plain, NOW).unwrap();
    }
    router.publish(link, message("dev/x", "once"), NOW).unwrap();
    match router.next(link, 9, || Some(7), NOW) {
        Some(Delivery::Publish { qos, packet_id, .. }) => {
            assert_eq!((qos, packet_id), (Qos::AtLeastOnce, Some(7)));
        }
        other => panic!("{other:?}"),
    }
    assert!(heard(&mut router, link).is_empty());
}

#[test]
fn no_local_keeps_a_client_from_hearing_itself() {
    let (mut router, _) = router(|_| {});
    let me = router.attach(ask("dev", "me", 0), NOW).unwrap().link;
    let twin = router.attach(ask("dev", "twin", 0), NOW).unwrap().link;
    let quiet = Subscription {
        no_local: true,
        ..Subscription::plain(Qos::AtLeastOnce)
    };
    router.subscribe(me, "dev/#", quiet, NOW).unwrap();
    router.publish(me, message("dev/x", "mine"), NOW).unwrap();
    router.publish(twin, message("dev/x", "its"), NOW).unwrap();
    assert_eq!(heard(&mut router, me), ["its"]);
}

#[test]
fn a_denied_message_is_counted_and_leaves_no_trace() {
    let (mut router, counters) = router(|_| {});
    let thief = router.attach(ask("dev-1", "a", 0), NOW).unwrap().link;
    let mut evil = message("dev-2/x", "evil");
    evil.retain = true;
    assert_eq!(router.publish(thief, evil, NOW), Err(PublishError::Denied));
    let victim = router.attach(ask("dev-2", "a", 0), NOW).unwrap().link;
    let plain = Subscription::plain(Qos::AtLeastOnce);
    router.subscribe(victim, "dev-2/#", plain, NOW).unwrap();
    assert!(heard(&mut router, victim).is_empty());
    let counters = counters.snapshot();
    assert_eq!((counters.denied_publish, counters.published), (1, 0));
}

#[test]
fn a_will_is_published_on_takeover_and_loss_but_not_at_shutdown() {
    let (mut router, counters) = router(|_| {});
    let with_will = || Attach {
        will: Some(message("dev/will", "gone")),
        ..ask("dev", "mortal", 0)
    };
    let reader = router.attach(ask("dev", "reader", 0), NOW).unwrap().link;
    let plain = Subscription::plain(Qos::AtLeastOnce);
    router.subscribe(reader, "dev/will", plain, NOW).unwrap();
    router.attach(with_will(), NOW).unwrap();
    let second = router.attach(with_will(), NOW).unwrap().link;
    assert_eq!(heard(&mut router, reader).len(), 1, "takeover");
    router.detach(second, Ending::Lost, NOW);
    assert_eq!(heard(&mut router, reader).len(), 1, "loss");
    for ending in [Ending::Disconnected, Ending::Stopping] {
        let link = router.attach(with_will(), NOW).unwrap().link;
        router.detach(link, ending, NOW);
    }
    assert!(heard(&mut router, reader).is_empty());
    assert_eq!(counters.snapshot().published, 2);
}

#[test]
fn a_slow_reader_drops_its_own_messages_only() {
    let (mut router, counters) = router(|limits| limits.session.queue_messages_max = 2);
    let slow = router.attach(ask("dev", "slow", 0), NOW).unwrap().link;
    let quick = router.attach(ask("dev", "quick", 0), NOW).unwrap().link;
    for link in [slow, quick] {
        let plain = Subscription::plain(Qos::AtMostOnce);
        router.subscribe(link, "dev/#", plain, NOW).unwrap();
    }
    let mut quick_heard = Vec::new();
    for number in 0..5 {
        router
            .publish(quick, message("dev/n", &number.to_string()), NOW)
            .unwrap();
        quick_heard.extend(heard(&mut router, quick));
    }
    assert_eq!(quick_heard, ["0", "1", "2", "3", "4"]);
    assert_eq!(heard(&mut router, slow), ["0", "1"]);
    assert_eq!(counters.snapshot().dropped, 3);
}

#[test]
fn a_half_released_exchange_is_finished_by_those_who_can_or_forgotten_with_its_session() {
    for can_release in [true, false] {
        let (mut router, _) = router(|_| {});
        let link = router.attach(ask("dev", "a", 60), NOW).unwrap().link;
        let plain = Subscription::plain(Qos::ExactlyOnce);
        router.subscribe(link, "dev/x", plain, NOW).unwrap();
        let mut sure = message("dev/x", "x");
        sure.qos = Qos::ExactlyOnce;
        router.publish(link, sure, NOW).unwrap();
        router.next(link, 1, || Some(7), NOW).unwrap();
        router.acknowledge(link, 7, Acknowledgement::Received);
        router.detach(link, Ending::Lost, NOW);
        let again = Attach {
            can_release,
            ..ask("dev", "a", 60)
        };
        let again = router.attach(again, NOW).unwrap();
        assert_eq!(again.session_present, can_release);
        let next = router.next(again.link, 1, || Some(8), NOW);
        assert_eq!(
            matches!(next, Some(Delivery::Release { packet_id: 7 })),
            can_release
        );
    }
}
