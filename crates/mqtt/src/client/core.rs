//! The conversation of a client without its socket: the protocol core, and who waits for which acknowledgement.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{Connection, ConnectionOptions, Event, TimerKind, role};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet, Qos, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, MqttError, PubrecReasonCode,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::packets::{connect_v3, connect_v5, publish, subscribe, unsubscribe};
use super::wire::Meter;
use super::{Call, ClientError, ConnectOptions, Ending, Incoming, PACKET_BYTES_MAX, Version};

/// The conversation without the socket.
pub(super) struct Core {
    version: Version,
    pub(super) meter: Arc<Meter>,
    /// How long a server that was sent PINGREQ may stay silent.
    pub(super) ping_answer_max: Duration,
    connection: Connection<role::Client>,
    connect: Option<Packet>,
    pub(super) output: Vec<u8>,
    pub(super) arrived: VecDeque<Incoming>,
    publishes: HashMap<u16, (String, oneshot::Sender<Result<(), ClientError>>)>,
    subscribes: HashMap<u16, (String, oneshot::Sender<Result<Qos, ClientError>>)>,
    unsubscribes: HashMap<u16, oneshot::Sender<Result<(), ClientError>>>,
    /// Calls that wait for room in the server's receive maximum.
    held: VecDeque<Call>,
    pub(super) ping_at: Option<Instant>,
    pub(super) pong_by: Option<Instant>,
    pub(super) connack: Option<Result<bool, ClientError>>,
    pub(super) ended: Option<ClientError>,
}

impl Core {
    pub(super) fn new(options: &ConnectOptions, meter: Arc<Meter>) -> Result<Self, ClientError> {
        let version = options.version;
        let limits = ConnectionOptions::new().maximum_packet_size_recv(PACKET_BYTES_MAX);
        let core_version = match version {
            Version::V311 => mqtt_protocol_core::mqtt::Version::V3_1_1,
            Version::V5 => mqtt_protocol_core::mqtt::Version::V5_0,
        };
        let mut connection = Connection::with_options(core_version, limits);
        connection.set_auto_pub_response(true);
        connection.set_pingresp_recv_timeout(options.timeout.as_millis() as u64);
        let connect = match version {
            Version::V311 => connect_v3(options),
            Version::V5 => connect_v5(options),
        };
        Ok(Self {
            version,
            meter,
            ping_answer_max: options.timeout,
            connection,
            connect: Some(connect.map_err(invalid("CONNECT"))?),
            output: Vec::new(),
            arrived: VecDeque::new(),
            publishes: HashMap::new(),
            subscribes: HashMap::new(),
            unsubscribes: HashMap::new(),
            held: VecDeque::new(),
            ping_at: None,
            pong_by: None,
            connack: None,
            ended: None,
        })
    }

    pub(super) fn greet(&mut self) {
        if let Some(connect) = self.connect.take() {
            let events = self.connection.send(connect);
            self.apply(events);
        }
    }

    pub(super) fn received(&mut self, bytes: &[u8]) {
        self.meter.count_packets_received(bytes.len());
        let mut cursor = Cursor::new(bytes);
        while (cursor.position() as usize) < bytes.len() && self.ended.is_none() {
            let events = self.connection.recv(&mut cursor);
            self.apply(events);
        }
        for _ in 0..self.held.len() {
            if let Some(call) = self.held.pop_front() {
                self.call(call);
            }
        }
    }

    pub(super) fn ping(&mut self) {
        self.ping_at = None;
        let events = self.connection.notify_timer_fired(TimerKind::PingreqSend);
        self.apply(events);
    }

    pub(super) fn say_disconnect(&mut self) {
        let disconnect = match self.version {
            Version::V311 => v3_1_1::Disconnect::builder().build().map(Packet::from),
            Version::V5 => v5_0::Disconnect::builder().build().map(Packet::from),
        };
        if let Ok(disconnect) = disconnect {
            let events = self.connection.send(disconnect);
            self.apply(events);
        }
    }

    pub(super) fn call(&mut self, call: Call) {
        match call {
            Call::Publish { qos, .. }
                if qos != Qos::AtMostOnce
                    && self.connection.get_receive_maximum_vacancy_for_send() == Some(0) =>
            {
                self.held.push_back(call);
            }
            Call::Publish {
                topic,
                payload,
                qos,
                retain,
                answer,
            } => {
                let id = match self.packet_id(qos != Qos::AtMostOnce) {
                    Ok(id) => id,
                    Err(error) => return drop(answer.send(Err(error))),
                };
                let bytes = payload.len();
                let packet = publish(self.version, &topic, payload, qos, retain, id);
                let sent = self.send(packet, "PUBLISH", id);
                if sent.is_ok() {
                    self.meter.count_payload_sent(bytes);
                }
                match (sent, id) {
                    (Ok(()), Some(id)) => drop(self.publishes.insert(id, (topic, answer))),
                    (outcome, _) => drop(answer.send(outcome)),
                }
            }
            Call::Subscribe {
                filter,
                qos,
                answer,
            } => {
                let id = match self.packet_id(true) {
                    Ok(id) => id,
                    Err(error) => return drop(answer.send(Err(error))),
                };
                let packet = subscribe(self.version, &filter, qos, id.unwrap_or_default());
                match (self.send(packet, "SUBSCRIBE", id), id) {
                    (Ok(()), Some(id)) => drop(self.subscribes.insert(id, (filter, answer))),
                    (outcome, _) => drop(answer.send(outcome.map(|()| qos))),
                }
            }
            Call::Unsubscribe { filter, answer } => {
                let id = match self.packet_id(true) {
                    Ok(id) => id,
                    Err(error) => return drop(answer.send(Err(error))),
                };
                let packet = unsubscribe(self.version, &filter, id.unwrap_or_default());
                match (self.send(packet, "UNSUBSCRIBE", id), id) {
                    (Ok(()), Some(id)) => drop(self.unsubscribes.insert(id, answer)),
                    (outcome, _) => drop(answer.send(outcome)),
                }
            }
            Call::Disconnect { answer } => drop(answer.send(Ok(()))),
        }
    }

    fn packet_id(&mut self, needed: bool) -> Result<Option<u16>, ClientError> {
        match needed {
            false => Ok(None),
            true => self
                .connection
                .acquire_packet_id()
                .map(Some)
                .map_err(|_| ClientError::Invalid("too many unacknowledged packets".into())),
        }
    }

    fn send(
        &mut self,
        packet: Result<Packet, MqttError>,
        what: &'static str,
        id: Option<u16>,
    ) -> Result<(), ClientError> {
        let sent = packet.and_then(|packet| {
            let events = self.connection.send(packet);
            let refused = events.iter().find_map(|event| match event {
                Event::NotifyError(error) => Some(*error),
                _ => None,
            });
            match refused {
                Some(error) => Err(error),
                None => {
                    self.apply(events);
                    Ok(())
                }
            }
        });
        if sent.is_err()
            && let Some(id) = id
        {
            self.connection.release_packet_id(id);
        }
        sent.map_err(invalid(what))
    }

    fn apply(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    for buffer in packet.to_buffers() {
                        self.meter.count_packets_sent(buffer.len());
                        self.output.extend_from_slice(&buffer);
                    }
                }
                Event::NotifyPacketReceived(packet) => self.handle(packet),
                Event::RequestTimerReset { kind, duration_ms } => {
                    let at = Some(Instant::now() + Duration::from_millis(duration_ms));
                    match kind {
                        TimerKind::PingreqSend => self.ping_at = at,
                        // A further ping does not buy a dead server more time.
                        TimerKind::PingrespRecv => self.pong_by = self.pong_by.or(at),
                        TimerKind::PingreqRecv => {}
                    }
                }
                Event::RequestTimerCancel(TimerKind::PingreqSend) => self.ping_at = None,
                Event::RequestTimerCancel(TimerKind::PingrespRecv) => self.pong_by = None,
                Event::NotifyError(error) => {
                    let reason = format!("the server broke the protocol ({error})");
                    self.ended
                        .get_or_insert(ClientError::closed(reason, Ending::Protocol));
                }
                Event::RequestClose => {
                    let reason = "the connection had to be closed";
                    self.ended
                        .get_or_insert(ClientError::closed(reason, Ending::Protocol));
                }
                _ => {}
            }
        }
    }

    fn handle(&mut self, packet: Packet) {
        match packet {
            Packet::V3_1_1Connack(connack) => {
                self.connack = Some(match connack.return_code() {
                    ConnectReturnCode::Accepted => Ok(connack.session_present()),
                    code => Err(ClientError::Connack {
                        code: code as u8,
                        reason: words(&code.to_string()),
                    }),
                });
            }
            Packet::V5_0Connack(connack) => {
                self.connack = Some(match connack.reason_code() {
                    ConnectReasonCode::Success => Ok(connack.session_present()),
                    code => Err(ClientError::Connack {
                        code: code as u8,
                        reason: words(&code.to_string()),
                    }),
                });
            }
            Packet::V3_1_1Publish(publish) => self.arrived(Incoming {
                topic: publish.topic_name().into(),
                payload: Bytes::copy_from_slice(publish.payload().as_slice()),
                qos: publish.qos(),
                retain: publish.retain(),
                dup: publish.dup(),
            }),
            Packet::V5_0Publish(publish) => self.arrived(Incoming {
                topic: publish.topic_name().into(),
                payload: Bytes::copy_from_slice(publish.payload().as_slice()),
                qos: publish.qos(),
                retain: publish.retain(),
                dup: publish.dup(),
            }),
            Packet::V3_1_1Puback(ack) => self.published(ack.packet_id(), None),
            Packet::V3_1_1Pubcomp(ack) => self.published(ack.packet_id(), None),
            Packet::V5_0Puback(ack) => {
                let refused = ack.reason_code().filter(|code| code.is_failure());
                let refused = refused.map(|code| (code as u8, code.to_string()));
                self.published(ack.packet_id(), refused);
            }
            Packet::V5_0Pubrec(ack)
                if ack.reason_code() == Some(PubrecReasonCode::NoMatchingSubscribers) =>
            {
                // The server took it and nobody listens. The core ends the exchange here without PUBREL, so the server
                // still knows the identifier: it is not used again on this connection.
                // until mqtt-protocol-core (0.7.9) sends PUBREL after reason code 0x10.
                let _ = self.connection.register_packet_id(ack.packet_id());
                self.published(ack.packet_id(), None);
            }
            Packet::V5_0Pubrec(ack) => {
                if let Some(code) = ack.reason_code().filter(|code| code.is_failure()) {
                    self.published(ack.packet_id(), Some((code as u8, code.to_string())));
                }
            }
            Packet::V5_0Pubcomp(ack) => self.published(ack.packet_id(), None),
            Packet::V3_1_1Suback(suback) => {
                let code = suback.return_codes().first().map(|code| *code as u8);
                self.subscribed(suback.packet_id(), code, "refused".into());
            }
            Packet::V5_0Suback(suback) => {
                let first = suback.reason_codes().first().copied();
                let reason = first.map(|code| words(&code.to_string()));
                let code = first.map(|code| code as u8);
                self.subscribed(suback.packet_id(), code, reason.unwrap_or_default());
            }
            Packet::V3_1_1Unsuback(unsuback) => self.unsubscribed(unsuback.packet_id()),
            Packet::V5_0Unsuback(unsuback) => self.unsubscribed(unsuback.packet_id()),
            Packet::V5_0Disconnect(disconnect) => {
                let code = disconnect.reason_code();
                let reason =
                    code.map_or_else(|| "no reason given".into(), |code| words(&code.to_string()));
                // MQTT 5 §3.14.2.1: without a code it is normal disconnection.
                let code = code.map_or(0, |code| code as u8);
                self.ended.get_or_insert(ClientError::closed(
                    format!("the server disconnected: {reason}"),
                    Ending::Disconnect { code },
                ));
            }
            _ => {}
        }
    }

    fn arrived(&mut self, message: Incoming) {
        self.meter.count_payload_received(message.payload.len());
        self.arrived.push_back(message);
    }

    fn published(&mut self, packet_id: u16, refused: Option<(u8, String)>) {
        let Some((topic, answer)) = self.publishes.remove(&packet_id) else {
            return;
        };
        let outcome = match refused {
            None => Ok(()),
            Some((code, name)) => Err(ClientError::PublishRefused {
                topic,
                code,
                reason: words(&name),
            }),
        };
        let _ = answer.send(outcome);
    }

    fn subscribed(&mut self, packet_id: u16, code: Option<u8>, reason: String) {
        let Some((filter, answer)) = self.subscribes.remove(&packet_id) else {
            return;
        };
        let granted = code.and_then(|code| Qos::try_from(code).ok());
        let _ = answer.send(granted.ok_or(ClientError::SubscribeRefused {
            filter,
            code: code.unwrap_or(0x80),
            reason,
        }));
    }

    fn unsubscribed(&mut self, packet_id: u16) {
        if let Some(answer) = self.unsubscribes.remove(&packet_id) {
            let _ = answer.send(Ok(()));
        }
    }
}

fn invalid(what: &'static str) -> impl Fn(MqttError) -> ClientError {
    move |error| ClientError::Invalid(format!("{what}: {}", words(&error.to_string())))
}

/// `NotAuthorized` → `not authorized`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() && !words.ends_with(' ') {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}
