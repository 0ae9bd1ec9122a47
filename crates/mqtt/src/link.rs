//! One connection's conversation, bytes in and bytes out; the [`Router`] decides. No sockets, no clock.
//!
//! ```text
//!        received(bytes) ─┐                        ┌─► output()   bytes to write
//!   kick(reason), timer ──┤  Link ◄──► Router      ├─► timer_at() when to call timer()
//!        pump() ──────────┘                        └─► ended()    close once output is written
//! ```
//!
//! The order of a life: `AwaitConnect` (one CONNECT, else refused) → `Open` → `Ended`. The user name and password of CONNECT are ignored: the
//! certificate says who it is, as with `use_identity_as_username` in mosquitto, and where none is asked for, nobody is
//! told apart.

mod answers;
mod hello;
mod out;
mod words;

use std::sync::Arc;
use std::time::Duration;

use mqtt_protocol_core::mqtt::Version;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{Connection, ConnectionOptions, Event, TimerKind, role};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet, Property, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{
    DisconnectReasonCode, MqttError, PubrecReasonCode, UnsubackReasonCode,
};

use hello::{Hello, forwarded};

use crate::identity::Identity;
use crate::message::Message;
use crate::router::{Ending, LinkId, Router};
use crate::session::Acknowledgement;

/// First byte of CONNECT in all versions. Checked before anything is buffered: what is no MQTT is refused at once.
const CONNECT_HEADER: u8 = 0x10;

/// First byte of a TLS handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Bounds of one connection.
#[derive(Debug, Clone, Copy)]
pub struct LinkLimits {
    /// Largest MQTT packet taken, in bytes; a larger one ends the connection. Told to MQTT 5 clients.
    pub packet_bytes_max: u32,
    /// QoS 1 and 2 messages a client may have unacknowledged (MQTT 5 receive maximum).
    pub receive_max: u16,
    /// Bytes that may wait for the socket before the link stops fetching from its queue.
    pub output_bytes_max: usize,
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self {
            packet_bytes_max: 256 * 1024,
            receive_max: 64,
            output_bytes_max: 64 * 1024,
        }
    }
}

/// Why the broker ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kick {
    /// Another connection of the same identity took the session.
    TakenOver,
    /// The broker stops.
    Stopping,
    /// The certificate is trusted no more.
    TrustWithdrawn,
    /// The client certificate has come to its end.
    Expired,
    /// The certificate is trusted on other terms: other topics are its own.
    TermsChanged,
}

/// How a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The client said DISCONNECT.
    Disconnected,
    /// CONNECT was refused; the reason in words.
    Refused(String),
    /// The client broke the protocol or its keep-alive; the reason in words.
    Broke(String),
    /// The broker ended it.
    Kicked(Kick),
    /// The transport closed.
    Closed,
}

/// Server side of one MQTT connection.
pub struct Link {
    connection: Connection<role::Server>,
    identity: Arc<Identity>,
    limits: LinkLimits,
    /// Client id for a client that sends none.
    assigned_id: Arc<str>,
    client_id: Arc<str>,
    session: Option<LinkId>,
    /// At least one byte arrived.
    has_heard: bool,
    output: Vec<u8>,
    timer_at: Option<Duration>,
    /// Session expiry of CONNECT was zero: DISCONNECT may not raise it.
    expiry_was_zero: bool,
    ended: Option<Ended>,
}

impl Link {
    /// A link for a client that is `identity`. `assigned_id` must be unique in the broker.
    pub fn new(identity: Arc<Identity>, limits: LinkLimits, assigned_id: Arc<str>) -> Self {
        let options = ConnectionOptions::new()
            .maximum_packet_size_recv(limits.packet_bytes_max)
            .receive_maximum(limits.receive_max);
        let mut connection = Connection::with_options(Version::Undetermined, options);
        connection.set_auto_ping_response(true);
        Self {
            connection,
            identity,
            limits,
            assigned_id: assigned_id.clone(),
            client_id: assigned_id,
            session: None,
            has_heard: false,
            output: Vec::new(),
            timer_at: None,
            expiry_was_zero: true,
            ended: None,
        }
    }

    /// Handle in the router once CONNECT was accepted.
    pub fn session(&self) -> Option<LinkId> {
        self.session
    }

    /// Client identifier, the assigned one until CONNECT names another.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Bytes to write; the caller removes what it wrote.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// When [`Link::timer`] wants to be called (keep-alive × 1.5).
    pub fn timer_at(&self) -> Option<Duration> {
        self.timer_at
    }

    /// Set when the connection is over: write [`Link::output`], then close.
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// Takes bytes from the client. Returns the link that lost its session to this one, to be kicked.
    pub fn received(&mut self, bytes: &[u8], router: &mut Router, now: Duration) -> Option<LinkId> {
        let mut displaced = None;
        if let Some(first) = bytes.first()
            && !std::mem::replace(&mut self.has_heard, true)
            && *first != CONNECT_HEADER
        {
            let reason = match *first {
                TLS_HANDSHAKE => "it speaks TLS, and this listener is plaintext",
                _ => "the first packet was not CONNECT",
            };
            self.end(Ended::Refused(reason.into()), router, now);
        }
        let mut cursor = Cursor::new(bytes);
        while (cursor.position() as usize) < bytes.len() && self.ended.is_none() {
            let events = self.connection.recv(&mut cursor);
            displaced = self.apply(events, router, now).or(displaced);
        }
        self.pump(router, now);
        displaced
    }

    /// Moves messages from the session into the output, as far as the output and the client's window allow.
    pub fn pump(&mut self, router: &mut Router, now: Duration) {
        let Some(link) = self.session else { return };
        while self.ended.is_none() && self.output.len() < self.limits.output_bytes_max {
            let window = self
                .connection
                .get_receive_maximum_vacancy_for_send()
                .map_or(usize::MAX, usize::from);
            let connection = &mut self.connection;
            let acquire = || connection.acquire_packet_id().ok();
            let Some(delivery) = router.next(link, window, acquire, now) else {
                break;
            };
            self.send_delivery(delivery, router, now);
        }
    }

    /// The keep-alive ran out.
    pub fn timer(&mut self, router: &mut Router, now: Duration) {
        if self.timer_at.is_none_or(|at| at > now) || self.ended.is_some() {
            return;
        }
        self.timer_at = None;
        let events = self.connection.notify_timer_fired(TimerKind::PingreqRecv);
        self.apply(events, router, now);
        self.end(
            Ended::Broke("nothing received for 1.5 times the keep-alive".into()),
            router,
            now,
        );
    }

    /// The broker ends the connection; an MQTT 5 client is told why.
    pub fn kick(&mut self, kick: Kick, router: &mut Router, now: Duration) {
        let reason = match kick {
            Kick::TakenOver => DisconnectReasonCode::SessionTakenOver,
            Kick::Stopping => DisconnectReasonCode::ServerShuttingDown,
            Kick::TrustWithdrawn | Kick::Expired => DisconnectReasonCode::NotAuthorized,
            Kick::TermsChanged => DisconnectReasonCode::AdministrativeAction,
        };
        if self.ended.is_none() {
            self.send_disconnect(reason, router, now);
            self.end(Ended::Kicked(kick), router, now);
        }
    }

    /// The transport closed or failed.
    pub fn closed(&mut self, router: &mut Router, now: Duration) {
        self.end(Ended::Closed, router, now);
    }

    fn end(&mut self, ended: Ended, router: &mut Router, now: Duration) {
        self.timer_at = None;
        if let Some(link) = self.session.take() {
            let received = self.connection.get_qos2_publish_handled();
            router.remember_received(link, received.into_iter());
            let ending = match ended {
                Ended::Disconnected => Ending::Disconnected,
                Ended::Kicked(Kick::Stopping) => Ending::Stopping,
                _ => Ending::Lost,
            };
            router.detach(link, ending, now);
        }
        self.ended.get_or_insert(ended);
    }

    fn apply(&mut self, events: Vec<Event>, router: &mut Router, now: Duration) -> Option<LinkId> {
        let mut displaced = None;
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => self.write(&packet),
                Event::NotifyPacketReceived(packet) if self.ended.is_none() => {
                    displaced = self.handle(packet, router, now).or(displaced);
                }
                Event::RequestTimerReset {
                    kind: TimerKind::PingreqRecv,
                    duration_ms,
                } if self.ended.is_none() => {
                    self.timer_at = Some(now + Duration::from_millis(duration_ms));
                }
                Event::RequestTimerCancel(TimerKind::PingreqRecv) => self.timer_at = None,
                Event::NotifyError(error) => self.broke(error, router, now),
                _ => {}
            }
        }
        displaced
    }

    fn broke(&mut self, error: MqttError, router: &mut Router, now: Duration) {
        let awaiting_connect = self.session.is_none();
        if awaiting_connect
            && error == MqttError::UnsupportedProtocolVersion
            && self.output.is_empty()
        {
            // CONNACK "unacceptable protocol version" in the 3.1.1 form, the one an older client can read.
            self.output.extend_from_slice(&[0x20, 0x02, 0x00, 0x01]);
        }
        let reason = words::broken_protocol(error);
        let ended = if awaiting_connect {
            Ended::Refused(reason)
        } else {
            Ended::Broke(reason)
        };
        self.end(ended, router, now);
    }

    fn write(&mut self, packet: &Packet) {
        for buffer in packet.to_buffers() {
            self.output.extend_from_slice(&buffer);
        }
    }

    fn handle(&mut self, packet: Packet, router: &mut Router, now: Duration) -> Option<LinkId> {
        match packet {
            Packet::V3_1_1Connect(connect) => {
                return self.connect(Hello::v3(&connect), router, now);
            }
            Packet::V5_0Connect(connect) => return self.connect(Hello::v5(&connect), router, now),
            _ => {}
        }
        let Some(link) = self.session else {
            self.end(
                Ended::Refused("the first packet was not CONNECT".into()),
                router,
                now,
            );
            return None;
        };
        match packet {
            Packet::V3_1_1Publish(publish) => {
                let message = Message {
                    topic: publish.topic_name().into(),
                    payload: publish.payload().clone(),
                    qos: publish.qos(),
                    retain: publish.retain(),
                    properties: Arc::from([]),
                    expires_at: None,
                };
                self.publish(link, message, publish.packet_id(), router, now);
            }
            Packet::V5_0Publish(publish) => {
                let (properties, expires_at) = forwarded(publish.props(), now);
                let message = Message {
                    topic: publish.topic_name().into(),
                    payload: publish.payload().clone(),
                    qos: publish.qos(),
                    retain: publish.retain(),
                    properties,
                    expires_at,
                };
                self.publish(link, message, publish.packet_id(), router, now);
            }
            Packet::V3_1_1Puback(ack) => {
                router.acknowledge(link, ack.packet_id(), Acknowledgement::Over);
            }
            Packet::V5_0Puback(ack) => {
                router.acknowledge(link, ack.packet_id(), Acknowledgement::Over);
            }
            Packet::V3_1_1Pubrec(ack) => self.pubrec(link, ack.packet_id(), false, router, now),
            Packet::V5_0Pubrec(ack)
                if ack.reason_code() == Some(PubrecReasonCode::NoMatchingSubscribers) =>
            {
                // Only a server may say so (MQTT 5 §3.5.2.1).
                self.broke(MqttError::ProtocolError, router, now);
            }
            Packet::V5_0Pubrec(ack) => {
                let refused = ack.reason_code().is_some_and(|code| code.is_failure());
                self.pubrec(link, ack.packet_id(), refused, router, now);
            }
            Packet::V3_1_1Pubrel(release) => self.pubcomp(release.packet_id(), router, now),
            Packet::V5_0Pubrel(release) => self.pubcomp(release.packet_id(), router, now),
            Packet::V3_1_1Pubcomp(ack) => {
                router.acknowledge(link, ack.packet_id(), Acknowledgement::Over);
            }
            Packet::V5_0Pubcomp(ack) => {
                router.acknowledge(link, ack.packet_id(), Acknowledgement::Over);
            }
            Packet::V3_1_1Subscribe(subscribe) => {
                self.subscribe(
                    link,
                    subscribe.packet_id(),
                    subscribe.entries(),
                    router,
                    now,
                );
            }
            Packet::V5_0Subscribe(subscribe) => {
                let has_identifier = subscribe
                    .props()
                    .iter()
                    .any(|property| matches!(property, Property::SubscriptionIdentifier(_)));
                if has_identifier {
                    // CONNACK said they are not available (MQTT 5 §3.2.2.3.12).
                    let reason = DisconnectReasonCode::SubscriptionIdentifiersNotSupported;
                    self.send_disconnect(reason, router, now);
                    self.end(
                        Ended::Broke("used a subscription identifier".into()),
                        router,
                        now,
                    );
                } else {
                    self.subscribe(
                        link,
                        subscribe.packet_id(),
                        subscribe.entries(),
                        router,
                        now,
                    );
                }
            }
            Packet::V3_1_1Unsubscribe(unsubscribe) => {
                for filter in unsubscribe.entries() {
                    router.unsubscribe(link, filter.as_str());
                }
                let id = unsubscribe.packet_id();
                self.reply(
                    v3_1_1::Unsuback::builder().packet_id(id).build(),
                    router,
                    now,
                );
            }
            Packet::V5_0Unsubscribe(unsubscribe) => {
                let codes = unsubscribe
                    .entries()
                    .iter()
                    .map(|filter| match router.unsubscribe(link, filter.as_str()) {
                        true => UnsubackReasonCode::Success,
                        false => UnsubackReasonCode::NoSubscriptionExisted,
                    })
                    .collect();
                let id = unsubscribe.packet_id();
                let unsuback = v5_0::Unsuback::builder().packet_id(id).reason_codes(codes);
                self.reply(unsuback.build(), router, now);
            }
            Packet::V3_1_1Disconnect(_) => self.end(Ended::Disconnected, router, now),
            Packet::V5_0Disconnect(disconnect) => self.disconnect(link, &disconnect, router, now),
            Packet::V5_0Auth(_) => self.broke(MqttError::ProtocolError, router, now),
            _ => {}
        }
        None
    }

    fn is_v5(&self) -> bool {
        self.connection.get_protocol_version() == Version::V5_0
    }
}

#[cfg(test)]
mod tests;
