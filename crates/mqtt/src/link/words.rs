//! Protocol codes and the words for them, decided once.

use mqtt_protocol_core::mqtt::packet::Qos;
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, MqttError, SubackReasonCode, SubackReturnCode,
};
use mqtt_protocol_core::mqtt::{ArcPayload, IntoPayload};

use crate::router::SubscribeError;

pub(super) fn payload(bytes: &[u8]) -> ArcPayload {
    bytes.into_payload()
}

pub(super) fn suback(granted: Result<Qos, SubscribeError>) -> SubackReasonCode {
    match granted {
        Ok(Qos::AtMostOnce) => SubackReasonCode::GrantedQos0,
        Ok(Qos::AtLeastOnce) => SubackReasonCode::GrantedQos1,
        Ok(Qos::ExactlyOnce) => SubackReasonCode::GrantedQos2,
        Err(SubscribeError::Denied) => SubackReasonCode::NotAuthorized,
        Err(SubscribeError::Invalid) => SubackReasonCode::TopicFilterInvalid,
        Err(SubscribeError::Shared) => SubackReasonCode::SharedSubscriptionsNotSupported,
        Err(SubscribeError::Full) => SubackReasonCode::QuotaExceeded,
        Err(SubscribeError::Gone) => SubackReasonCode::UnspecifiedError,
    }
}

pub(super) fn suback_v3(granted: Result<Qos, SubscribeError>) -> SubackReturnCode {
    match granted {
        Ok(Qos::AtMostOnce) => SubackReturnCode::SuccessMaximumQos0,
        Ok(Qos::AtLeastOnce) => SubackReturnCode::SuccessMaximumQos1,
        Ok(Qos::ExactlyOnce) => SubackReturnCode::SuccessMaximumQos2,
        Err(_) => SubackReturnCode::Failure,
    }
}

pub(super) fn v3_refusal(code: ConnectReasonCode) -> ConnectReturnCode {
    match code {
        ConnectReasonCode::ClientIdentifierNotValid => ConnectReturnCode::IdentifierRejected,
        ConnectReasonCode::QuotaExceeded => ConnectReturnCode::ServerUnavailable,
        _ => ConnectReturnCode::NotAuthorized,
    }
}

pub(super) fn connect_refusal(code: ConnectReasonCode) -> String {
    match code {
        ConnectReasonCode::ClientIdentifierNotValid => {
            "client identifier empty without clean session, or too long"
        }
        ConnectReasonCode::BadAuthenticationMethod => "enhanced authentication is not offered",
        ConnectReasonCode::NotAuthorized => "the will's topic is not allowed for this identity",
        ConnectReasonCode::QuotaExceeded => "too many sessions",
        _ => "refused",
    }
    .into()
}

pub(super) fn broken_protocol(error: MqttError) -> String {
    match error {
        MqttError::PacketTooLarge => "a packet larger than the broker takes".into(),
        MqttError::UnsupportedProtocolVersion => "neither MQTT 3.1.1 nor MQTT 5".into(),
        MqttError::ReceiveMaximumExceeded => "more unacknowledged messages than announced".into(),
        MqttError::MalformedPacket => "malformed packet".into(),
        MqttError::ProtocolError => "a packet that is not allowed here".into(),
        other => format!("protocol violation ({other})"),
    }
}
