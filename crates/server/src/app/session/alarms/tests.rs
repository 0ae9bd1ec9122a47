use super::*;
use sectag_proto::service::{NewCommand, Queue};
use sectag_proto::token::DeviceType;
use sectag_proto::{CommandRequest, CorrelationId, DeviceId, FirmwareId};
use sectag_store::Device;

fn id(n: u8) -> CommandId {
    CommandId::from_bytes([n; 16])
}

/// A device with commands that it has not fetched.
fn loaded(commands: u8) -> Loaded {
    let device = DeviceId::from_bytes([1; 16]);
    let mut queue = Queue::new(device, Vec::new(), 1);
    let new = (1..=commands).map(|n| NewCommand::by_hand(id(n), CommandRequest::Finished {}));
    let added = queue.add(new.collect(), 100, Timestamp(1)).unwrap();
    queue.apply(&added);
    Loaded {
        device: Device {
            id: device,
            version: 1,
            candidates: Vec::new(),
            pin: None,
            device_type: DeviceType::NRF9151_LACA,
            firmware: FirmwareId::from_bytes([0; 16]),
            owner: "ours".to_owned(),
            tags: Vec::new(),
            blocked: false,
            claimed_at: Timestamp(0),
            last_seen_at: None,
            finished_at: None,
            next_sequence: 1,
            reserved: false,
        },
        queue,
        rules_generation: 0,
        rules_seen: true,
    }
}

fn change(event: &AuditEvent) -> (&Value, &Value) {
    (
        event.before.as_ref().unwrap(),
        event.after.as_ref().unwrap(),
    )
}

#[test]
fn a_report_full_of_strange_ids_is_one_line_of_the_audit_trail() {
    let changed = |reported: usize| Alarm::KeyChanged {
        command: id(2),
        known: Some("first".to_owned()),
        reported: reported.to_string(),
    };
    let strange = |n: usize| Alarm::NeverDelivered {
        correlation: format!("id-{n}"),
    };
    let changes = Changes {
        alarms: (0..100).map(strange).chain((0..100).map(changed)).collect(),
        ..Changes::default()
    };
    let report = [WireResponse {
        correlation: CorrelationId::new("id-0").unwrap(),
        result: WireResult::AtDone {
            message: "my own words".to_owned(),
        },
    }];
    let events = of_report(&loaded(3), &changes, &report, Timestamp(1));
    assert_eq!(events.len(), 2, "{events:?}");
    let details: Vec<&str> = events.iter().map(|event| event.detail.as_str()).collect();
    assert!(details[0].contains("the key on the device changed"));
    assert!(details[1].contains("`id-0`") && details[1].ends_with("99 more"));

    let (before, after) = change(&events[0]);
    assert_eq!(before["kind"], "finished");
    assert_eq!(
        (&before["reportDigest"], &after["reportDigest"]),
        (&json!("first"), &json!("0"))
    );
    let (before, after) = change(&events[1]);
    assert_eq!(
        before,
        &json!({"count": 0, "awaited": []}),
        "nothing was delivered"
    );
    assert_eq!(after["count"], 100);
    assert_eq!(after["reported"].as_array().unwrap().len(), IDS_MAX);
    assert_eq!(
        after["reported"][0],
        json!({"id": "id-0", "kind": "atCommand"})
    );
    assert!(!after.to_string().contains("words"), "{after}");
}
