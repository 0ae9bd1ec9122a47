//! What a link sends: deliveries, replies, the farewell.

use std::time::Duration;

use mqtt_protocol_core::mqtt::connection::Event;
use mqtt_protocol_core::mqtt::packet::{
    MessageExpiryInterval, Packet, Property, Qos, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};

use super::{Ended, Link};
use crate::message::Message;
use crate::router::Router;
use crate::session::{Acknowledgement, Delivery};

impl Link {
    pub(super) fn send_delivery(&mut self, delivery: Delivery, router: &mut Router, now: Duration) {
        let (message, qos, retain, dup, packet_id) = match delivery {
            Delivery::Release { packet_id } => {
                self.send_release(packet_id, router, now);
                return;
            }
            Delivery::Publish {
                message,
                qos,
                retain,
                dup,
                packet_id,
            } => (message, qos, retain, dup, packet_id),
        };
        let packet = match self.is_v5() {
            true => publish_v5(&message, qos, retain, dup, packet_id, now),
            false => publish_v3(&message, qos, retain, dup, packet_id),
        };
        let sent = packet.is_ok_and(|packet| self.send(packet, router, now));
        if sent {
            router.count_delivered();
            return;
        }
        // Larger than the client takes (MQTT 5 §3.1.2.11.4): as if it had been delivered.
        router.count_dropped();
        if let (Some(id), Some(link)) = (packet_id, self.session) {
            self.connection.release_packet_id(id);
            router.acknowledge(link, id, Acknowledgement::Over);
        }
    }

    pub(super) fn send_release(&mut self, packet_id: u16, router: &mut Router, now: Duration) {
        if self.is_v5() {
            self.reply(
                v5_0::Pubrel::builder().packet_id(packet_id).build(),
                router,
                now,
            );
        } else {
            self.reply(
                v3_1_1::Pubrel::builder().packet_id(packet_id).build(),
                router,
                now,
            );
        }
    }

    pub(super) fn send_disconnect(
        &mut self,
        reason: DisconnectReasonCode,
        router: &mut Router,
        now: Duration,
    ) {
        // 3.1.1 has no DISCONNECT from the server, and before CONNACK nobody has.
        if self.is_v5() && self.session.is_some() {
            let disconnect = v5_0::Disconnect::builder().reason_code(reason);
            self.reply(disconnect.build(), router, now);
        }
    }

    /// Sends a packet the link built itself; that it cannot be built or sent ends the link.
    pub(super) fn reply<P: Into<Packet>>(
        &mut self,
        packet: Result<P, MqttError>,
        router: &mut Router,
        now: Duration,
    ) {
        let sent = packet.is_ok_and(|packet| self.send(packet.into(), router, now));
        if !sent && self.ended.is_none() {
            let reason = "a reply is larger than the client takes".into();
            self.end(Ended::Broke(reason), router, now);
        }
    }

    /// Hands a packet to the protocol core; false if it may not be sent.
    fn send(&mut self, packet: Packet, router: &mut Router, now: Duration) -> bool {
        let events = self.connection.send(packet);
        let refused = events
            .iter()
            .any(|event| matches!(event, Event::NotifyError(_)));
        if !refused {
            self.apply(events, router, now);
        }
        !refused
    }
}

fn publish_v3(
    message: &Message,
    qos: Qos,
    retain: bool,
    dup: bool,
    packet_id: Option<u16>,
) -> Result<Packet, MqttError> {
    let mut publish = v3_1_1::Publish::builder()
        .topic_name(&*message.topic)?
        .qos(qos)
        .retain(retain)
        .dup(dup)
        .payload(message.payload.clone());
    if let Some(id) = packet_id {
        publish = publish.packet_id(id);
    }
    Ok(publish.build()?.into())
}

fn publish_v5(
    message: &Message,
    qos: Qos,
    retain: bool,
    dup: bool,
    packet_id: Option<u16>,
    now: Duration,
) -> Result<Packet, MqttError> {
    let mut props = message.properties.to_vec();
    if let Some(at) = message.expires_at {
        // What is left of the interval (MQTT 5 §3.3.2.3.3), at least one second.
        let left_s = at.saturating_sub(now).as_secs().clamp(1, u32::MAX.into());
        let left_s = u32::try_from(left_s).unwrap_or(u32::MAX);
        props.push(Property::from(MessageExpiryInterval::new(left_s)?));
    }
    let mut publish = v5_0::Publish::builder()
        .topic_name(&*message.topic)?
        .qos(qos)
        .retain(retain)
        .dup(dup)
        .payload(message.payload.clone())
        .props(props);
    if let Some(id) = packet_id {
        publish = publish.packet_id(id);
    }
    Ok(publish.build()?.into())
}
