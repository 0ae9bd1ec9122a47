//! Rules as owners write them: no panic, and a rule that is accepted with sample values is made or refused for a device, whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_proto::DeviceId;
use sectag_proto::rules::RuleDraft;
use sectag_proto::rules::template::Binding;
use sectag_proto::service::planned;
use sectag_proto::token::DeviceType;

fuzz_target!(|bytes: &[u8]| {
    let Ok(draft) = serde_json::from_slice::<RuleDraft>(bytes) else {
        return;
    };
    if draft.check(Some("acme"), 100).is_err() {
        return;
    }
    let tags = ["x=a\"b,c".to_owned(), "imei=350123456789012".to_owned()];
    let binding = Binding {
        device: DeviceId::from_bytes([1; 16]),
        device_type: DeviceType::NRF9151_LACA,
        tags: &tags,
        team_prefix: Some("acme"),
    };
    for command in &draft.commands {
        if let Ok(bound) = command.bind(&binding) {
            planned(&bound.request);
        }
    }
});
