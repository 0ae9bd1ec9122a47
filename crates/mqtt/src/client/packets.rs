//! The packets a client sends, in both versions.

use mqtt_protocol_core::mqtt::packet::{
    Packet, Property, Qos, SessionExpiryInterval, SubEntry, SubOpts, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::{ConnectOptions, Version};

pub(super) fn connect_v3(options: &ConnectOptions) -> Result<Packet, MqttError> {
    let mut connect = v3_1_1::Connect::builder()
        .client_id(options.client_id.as_str())?
        .clean_session(options.clean)
        .keep_alive(keep_alive_s(options));
    if let Some(will) = &options.will {
        let payload = will.payload.clone();
        connect = connect.will_message(will.topic.as_str(), payload, will.qos, will.retain)?;
    }
    if let Some(name) = &options.user_name {
        connect = connect.user_name(name.as_str())?;
    }
    if let Some(password) = &options.password {
        connect = connect.password(password.expose().clone())?;
    }
    Ok(connect.build()?.into())
}

pub(super) fn connect_v5(options: &ConnectOptions) -> Result<Packet, MqttError> {
    let mut connect = v5_0::Connect::builder()
        .client_id(options.client_id.as_str())?
        .clean_start(options.clean)
        .keep_alive(keep_alive_s(options));
    if !options.clean {
        // As long as the server keeps it: what clean session 0 means in 3.1.1.
        let forever = SessionExpiryInterval::new(u32::MAX)?;
        connect = connect.props(vec![Property::from(forever)]);
    }
    if let Some(will) = &options.will {
        let payload = will.payload.clone();
        connect = connect.will_message(will.topic.as_str(), payload, will.qos, will.retain)?;
    }
    if let Some(name) = &options.user_name {
        connect = connect.user_name(name.as_str())?;
    }
    if let Some(password) = &options.password {
        connect = connect.password(password.expose().clone())?;
    }
    Ok(connect.build()?.into())
}

fn keep_alive_s(options: &ConnectOptions) -> u16 {
    u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX)
}

pub(super) fn publish(
    version: Version,
    topic: &str,
    payload: Vec<u8>,
    qos: Qos,
    retain: bool,
    id: Option<u16>,
) -> Result<Packet, MqttError> {
    match version {
        Version::V311 => {
            let mut publish = v3_1_1::Publish::builder()
                .topic_name(topic)?
                .qos(qos)
                .retain(retain)
                .payload(payload);
            if let Some(id) = id {
                publish = publish.packet_id(id);
            }
            Ok(publish.build()?.into())
        }
        Version::V5 => {
            let mut publish = v5_0::Publish::builder()
                .topic_name(topic)?
                .qos(qos)
                .retain(retain)
                .payload(payload);
            if let Some(id) = id {
                publish = publish.packet_id(id);
            }
            Ok(publish.build()?.into())
        }
    }
}

pub(super) fn subscribe(
    version: Version,
    filter: &str,
    qos: Qos,
    id: u16,
) -> Result<Packet, MqttError> {
    let entries = vec![SubEntry::new(filter, SubOpts::new().set_qos(qos))?];
    Ok(match version {
        Version::V311 => v3_1_1::Subscribe::builder()
            .packet_id(id)
            .entries(entries)
            .build()?
            .into(),
        Version::V5 => v5_0::Subscribe::builder()
            .packet_id(id)
            .entries(entries)
            .build()?
            .into(),
    })
}

pub(super) fn unsubscribe(version: Version, filter: &str, id: u16) -> Result<Packet, MqttError> {
    Ok(match version {
        Version::V311 => v3_1_1::Unsubscribe::builder()
            .packet_id(id)
            .entries(vec![filter])?
            .build()?
            .into(),
        Version::V5 => v5_0::Unsubscribe::builder()
            .packet_id(id)
            .entries(vec![filter])?
            .build()?
            .into(),
    })
}
