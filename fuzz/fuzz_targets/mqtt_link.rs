//! Bytes from an MQTT client, in pieces: no panic, no message outside the client's own topics, output stays bounded.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sectag_mqtt::link::{Link, LinkLimits};
use sectag_mqtt::router::{Attach, Router, RouterLimits};
use sectag_mqtt::{Counters, Delivery, Identity, Qos, Subscription};
use sectag_pki::{ClientIdentity, Role};

fuzz_target!(|pieces: Vec<&[u8]>| {
    let identity = |cn: &str, role| -> Arc<Identity> {
        Arc::new(
            ClientIdentity { cn: cn.into(), role, serial: "01".into(), issuer: "CN=ca".into() }.into(),
        )
    };
    let now = Duration::from_secs(1);
    let mut router = Router::new(RouterLimits::default(), Arc::new(Counters::default()));
    let witness = router
        .attach(
            Attach {
                identity: identity("operator", Role::Operator),
                client_id: "witness".into(),
                clean_start: true,
                keep_for: Duration::ZERO,
                will: None,
                can_release: true,
            },
            now,
        )
        .expect("an empty router takes a session")
        .link;
    router
        .subscribe(witness, "#", Subscription::plain(Qos::AtMostOnce), now)
        .expect("an operator reads all");
    let mut link = Link::new(identity("a", Role::Device), LinkLimits::default(), "auto".into());
    for piece in pieces {
        link.received(piece, &mut router, now);
        link.output().clear();
        link.pump(&mut router, now);
        if link.ended().is_some() {
            break;
        }
    }
    link.closed(&mut router, now);
    while let Some(delivery) = router.next(witness, 1, || Some(1), now) {
        if let Delivery::Publish { message, .. } = delivery {
            assert!(&*message.topic == "a" || message.topic.starts_with("a/"), "{}", message.topic);
        }
    }
});
