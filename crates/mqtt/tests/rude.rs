//! Whatever a client with a certificate sends, nothing panics and nothing leaves its own topics.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use sectag_mqtt::link::{Link, LinkLimits};
use sectag_mqtt::router::{Attach, Router, RouterLimits};
use sectag_mqtt::{Counters, Delivery, Identity, Qos, Subscription};
use sectag_pki::{ClientIdentity, Role};

fn identity(cn: &str, role: Role) -> Arc<Identity> {
    let client = ClientIdentity {
        cn: cn.into(),
        role,
        serial: "01".into(),
        issuer: "CN=ca".into(),
    };
    Arc::new(client.into())
}

const NOW: Duration = Duration::from_secs(1);

/// Well-formed packets of both versions, to be mixed and damaged.
const PACKETS: &[&[u8]] = &[
    b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c",
    b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01c",
    b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01c",
    // MQTT 5, session expiry, receive maximum 2.
    b"\x10\x16\x00\x04MQTT\x05\x00\x00\x3c\x08\x11\x00\x00\x00\xff\x21\x00\x02\x00\x01c",
    // With a will on a/w.
    b"\x10\x15\x00\x04MQTT\x04\x0e\x00\x3c\x00\x01c\x00\x03a/w\x00\x01w",
    b"\x30\x06\x00\x03a/xp",
    b"\x31\x07\x00\x03a/x\x00p",
    b"\x32\x08\x00\x03a/x\x00\x05p",
    b"\x32\x09\x00\x03a/x\x00\x05\x00p",
    b"\x34\x08\x00\x03a/x\x00\x06p",
    b"\x34\x09\x00\x03a/x\x00\x06\x00p",
    b"\x62\x02\x00\x06",
    b"\x82\x08\x00\x01\x00\x03a/#\x02",
    b"\x82\x09\x00\x01\x00\x00\x03a/#\x02",
    b"\x82\x06\x00\x01\x00\x01#\x02",
    b"\xa2\x07\x00\x01\x00\x03a/#",
    b"\x40\x02\x00\x01",
    b"\x50\x02\x00\x01",
    b"\x50\x03\x00\x01\x10",
    b"\x70\x02\x00\x01",
    b"\x40\x02\x00\x02",
    b"\x50\x02\x00\x02",
    b"\x70\x02\x00\x02",
    b"\xc0\x00",
    b"\xe0\x00",
    b"\xe0\x07\x00\x05\x11\x00\x00\x00\x09",
    b"\xf0\x00",
];

/// What one connection says: packets by number, some with one byte changed, all cut into pieces.
fn speech() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let packet = (
        0..PACKETS.len(),
        proptest::option::weighted(0.1, (any::<u8>(), any::<u8>())),
    )
        .prop_map(|(number, damage)| {
            let mut bytes = PACKETS[number].to_vec();
            if let Some((at, to)) = damage {
                let at = usize::from(at) % bytes.len();
                bytes[at] = to;
            }
            bytes
        });
    // Most speeches begin with a greeting, or nothing after it would be heard.
    let greeting = (0..5_usize).prop_map(|number| PACKETS[number].to_vec());
    (greeting, proptest::collection::vec(packet, 0..24)).prop_map(|(greeting, mut packets)| {
        packets.insert(0, greeting);
        packets
    })
}

proptest! {
    #[test]
    fn no_speech_panics_or_leaves_its_topics(connections in proptest::collection::vec(speech(), 1..4)) {
        let mut router = Router::new(RouterLimits::default(), Arc::new(Counters::default()));
        let witness = Attach {
            identity: identity("operator", Role::Operator),
            client_id: "witness".into(),
            clean_start: true,
            keep_for: Duration::ZERO,
            will: None,
            can_release: true,
        };
        let witness = router.attach(witness, NOW).unwrap().link;
        router.subscribe(witness, "#", Subscription::plain(Qos::AtMostOnce), NOW).unwrap();
        for packets in connections {
            let mut link = Link::new(identity("a", Role::Device), LinkLimits::default(), "auto".into());
            for packet in packets {
                link.received(&packet, &mut router, NOW);
                link.output().clear();
                link.pump(&mut router, NOW);
            }
            link.closed(&mut router, NOW);
        }
        while let Some(delivery) = router.next(witness, 9, || Some(1), NOW) {
            if let Delivery::Publish { message, .. } = delivery {
                prop_assert!(message.topic.starts_with("a/") || &*message.topic == "a", "{}", message.topic);
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), greeting in 0..5_usize) {
        let mut router = Router::new(RouterLimits::default(), Arc::new(Counters::default()));
        let mut link = Link::new(identity("a", Role::Device), LinkLimits::default(), "auto".into());
        link.received(PACKETS[greeting], &mut router, NOW);
        link.received(&bytes, &mut router, NOW);
        link.closed(&mut router, NOW);
    }
}
