//! What a CONNECT says, and what is read from MQTT 5 properties.

use std::sync::Arc;
use std::time::Duration;

use mqtt_protocol_core::mqtt::packet::{Property, v3_1_1, v5_0};

use crate::message::Message;

/// CONNECT in one shape for both versions.
pub(super) struct Hello {
    pub(super) is_v5: bool,
    pub(super) client_id: String,
    pub(super) clean_start: bool,
    pub(super) keep_for: Duration,
    /// Its `expires_at` counts from the moment it is published, so it is relative here.
    pub(super) will: Option<Message>,
    /// Enhanced authentication was asked for.
    pub(super) authentication: bool,
}

impl Hello {
    pub(super) fn v3(connect: &v3_1_1::Connect) -> Self {
        let will = connect.will_topic().map(|topic| Message {
            topic: topic.into(),
            payload: super::words::payload(connect.will_payload().unwrap_or_default()),
            qos: connect.will_qos(),
            retain: connect.will_retain(),
            properties: Arc::from([]),
            expires_at: None,
        });
        Self {
            is_v5: false,
            client_id: connect.client_id().into(),
            clean_start: connect.clean_session(),
            keep_for: match connect.clean_session() {
                true => Duration::ZERO,
                false => Duration::MAX,
            },
            will,
            authentication: false,
        }
    }

    pub(super) fn v5(connect: &v5_0::Connect) -> Self {
        let will = connect.will_topic().map(|topic| {
            let (properties, expires_at) = forwarded(connect.will_props(), Duration::ZERO);
            Message {
                topic: topic.into(),
                payload: super::words::payload(connect.will_payload().unwrap_or_default()),
                qos: connect.will_qos(),
                retain: connect.will_retain(),
                properties,
                expires_at,
            }
        });
        Self {
            is_v5: true,
            client_id: connect.client_id().into(),
            clean_start: connect.clean_start(),
            keep_for: session_expiry(connect.props()).unwrap_or_default(),
            will,
            authentication: connect
                .props()
                .iter()
                .any(|property| matches!(property, Property::AuthenticationMethod(_))),
        }
    }
}

pub(super) fn session_expiry(props: &[Property]) -> Option<Duration> {
    props.iter().find_map(|property| match property {
        Property::SessionExpiryInterval(value) => Some(Duration::from_secs(value.val().into())),
        _ => None,
    })
}

/// The properties that travel with a message (MQTT 5 §3.3.2.3), and its expiry on the router's clock.
pub(super) fn forwarded(props: &[Property], now: Duration) -> (Arc<[Property]>, Option<Duration>) {
    let expires_at = props.iter().find_map(|property| match property {
        Property::MessageExpiryInterval(value) => {
            Some(now + Duration::from_secs(value.val().into()))
        }
        _ => None,
    });
    let kept = props
        .iter()
        .filter(|property| {
            matches!(
                property,
                Property::PayloadFormatIndicator(_)
                    | Property::ContentType(_)
                    | Property::ResponseTopic(_)
                    | Property::CorrelationData(_)
                    | Property::UserProperty(_)
            )
        })
        .cloned()
        .collect();
    (kept, expires_at)
}
