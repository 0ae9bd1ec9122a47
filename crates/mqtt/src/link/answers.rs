//! How a link answers: CONNECT, PUBLISH, SUBSCRIBE and their kin, after asking the router.

use std::time::Duration;

use mqtt_protocol_core::mqtt::packet::{self, Property, Qos, SubEntry, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, MqttError, PubackReasonCode,
    PubcompReasonCode, PubrecReasonCode, SubackReasonCode, SubackReturnCode,
};

use super::hello::{Hello, session_expiry};
use super::{Ended, Kick, Link, words};
use crate::message::Message;
use crate::router::{Attach, AttachError, Attached, LinkId, PublishError, Router, SubscribeError};
use crate::session::{Acknowledgement, Subscription};

impl Link {
    pub(super) fn connect(
        &mut self,
        hello: Hello,
        router: &mut Router,
        now: Duration,
    ) -> Option<LinkId> {
        if hello.authentication {
            self.refuse(ConnectReasonCode::BadAuthenticationMethod, router, now);
            return None;
        }
        let is_assigned = hello.client_id.is_empty();
        if is_assigned && !hello.clean_start && !hello.is_v5 {
            // MQTT 3.1.1 §3.1.3.1: no client id is only possible with clean session 1.
            self.refuse(ConnectReasonCode::ClientIdentifierNotValid, router, now);
            return None;
        }
        if hello.client_id.len() > crate::topic::TOPIC_BYTES_MAX {
            self.refuse(ConnectReasonCode::ClientIdentifierNotValid, router, now);
            return None;
        }
        self.client_id = match is_assigned {
            true => self.assigned_id.clone(),
            false => hello.client_id.as_str().into(),
        };
        self.identity = self.identity.with_client_id(&self.client_id);
        self.expiry_was_zero = hello.keep_for.is_zero();
        let will = hello.will.map(|mut will| {
            will.expires_at = will.expires_at.map(|after| now + after);
            will
        });
        let asked = router.attach(
            Attach {
                identity: self.identity.clone(),
                client_id: self.client_id.clone(),
                clean_start: hello.clean_start,
                keep_for: hello.keep_for,
                will,
                can_release: !hello.is_v5,
            },
            now,
        );
        match asked {
            Ok(attached) => {
                let displaced = attached.displaced;
                self.accept(attached, is_assigned, router, now);
                displaced
            }
            Err(AttachError::WillDenied) => {
                self.refuse(ConnectReasonCode::NotAuthorized, router, now);
                None
            }
            Err(AttachError::SessionsFull | AttachError::IdentityFull) => {
                self.refuse(ConnectReasonCode::QuotaExceeded, router, now);
                None
            }
        }
    }

    fn accept(
        &mut self,
        attached: Attached,
        is_assigned: bool,
        router: &mut Router,
        now: Duration,
    ) {
        self.session = Some(attached.link);
        for packet_id in attached.packet_ids {
            // Cannot fail: a connection before CONNACK has handed out nothing.
            let _ = self.connection.register_packet_id(packet_id);
        }
        self.connection
            .restore_qos2_publish_handled(attached.received.into_iter().collect());
        if self.is_v5() {
            let mut props = vec![
                packet::SubscriptionIdentifierAvailable::new(0).map(Property::from),
                packet::SharedSubscriptionAvailable::new(0).map(Property::from),
            ];
            if is_assigned {
                let id = packet::AssignedClientIdentifier::new(&*self.client_id);
                props.push(id.map(Property::from));
            }
            let connack = v5_0::Connack::builder()
                .session_present(attached.session_present)
                .reason_code(ConnectReasonCode::Success)
                .props(props.into_iter().flatten().collect::<Vec<_>>());
            self.reply(connack.build(), router, now);
        } else {
            let connack = v3_1_1::Connack::builder()
                .session_present(attached.session_present)
                .return_code(ConnectReturnCode::Accepted);
            self.reply(connack.build(), router, now);
        }
    }

    fn refuse(&mut self, code: ConnectReasonCode, router: &mut Router, now: Duration) {
        if self.is_v5() {
            let connack = v5_0::Connack::builder()
                .session_present(false)
                .reason_code(code);
            self.reply(connack.build(), router, now);
        } else {
            let connack = v3_1_1::Connack::builder()
                .session_present(false)
                .return_code(words::v3_refusal(code));
            self.reply(connack.build(), router, now);
        }
        self.end(Ended::Refused(words::connect_refusal(code)), router, now);
    }

    pub(super) fn publish(
        &mut self,
        link: LinkId,
        message: Message,
        packet_id: Option<u16>,
        router: &mut Router,
        now: Duration,
    ) {
        let qos = message.qos;
        let outcome = router.publish(link, message, now);
        if outcome == Err(PublishError::Gone) {
            self.end(Ended::Kicked(Kick::TakenOver), router, now);
            return;
        }
        let denied = outcome.is_err();
        let Some(id) = packet_id else { return };
        match (qos, self.is_v5()) {
            (Qos::AtMostOnce, _) => {}
            // 3.1.1 has no way to say no: acknowledged and dropped, as mosquitto does.
            (Qos::AtLeastOnce, false) => {
                self.reply(v3_1_1::Puback::builder().packet_id(id).build(), router, now);
            }
            (Qos::ExactlyOnce, false) => {
                self.reply(v3_1_1::Pubrec::builder().packet_id(id).build(), router, now);
            }
            (Qos::AtLeastOnce, true) => {
                let mut puback = v5_0::Puback::builder().packet_id(id);
                if denied {
                    puback = puback.reason_code(PubackReasonCode::NotAuthorized);
                }
                self.reply(puback.build(), router, now);
            }
            (Qos::ExactlyOnce, true) => {
                let mut pubrec = v5_0::Pubrec::builder().packet_id(id);
                if denied {
                    pubrec = pubrec.reason_code(PubrecReasonCode::NotAuthorized);
                }
                self.reply(pubrec.build(), router, now);
            }
        }
    }

    pub(super) fn pubrec(
        &mut self,
        link: LinkId,
        packet_id: u16,
        refused: bool,
        router: &mut Router,
        now: Duration,
    ) {
        if refused {
            router.acknowledge(link, packet_id, Acknowledgement::Over);
        } else if router.acknowledge(link, packet_id, Acknowledgement::Received) {
            self.send_release(packet_id, router, now);
        }
    }

    pub(super) fn pubcomp(&mut self, packet_id: u16, router: &mut Router, now: Duration) {
        if self.is_v5() {
            let pubcomp = v5_0::Pubcomp::builder()
                .packet_id(packet_id)
                .reason_code(PubcompReasonCode::Success);
            self.reply(pubcomp.build(), router, now);
        } else {
            self.reply(
                v3_1_1::Pubcomp::builder().packet_id(packet_id).build(),
                router,
                now,
            );
        }
    }

    pub(super) fn subscribe(
        &mut self,
        link: LinkId,
        packet_id: u16,
        entries: &[SubEntry],
        router: &mut Router,
        now: Duration,
    ) {
        let is_v5 = self.is_v5();
        let granted: Vec<Result<Qos, SubscribeError>> = entries
            .iter()
            .map(|entry| {
                let options = entry.sub_opts();
                let wanted = match is_v5 {
                    true => Subscription {
                        qos: options.qos().min(self.granted_max()),
                        no_local: options.nl(),
                        retain_as_published: options.rap(),
                        retain_handling: options.rh(),
                    },
                    false => Subscription::plain(options.qos()),
                };
                router.subscribe(link, entry.topic_filter(), wanted, now)
            })
            .collect();
        if granted.contains(&Err(SubscribeError::Gone)) {
            self.end(Ended::Kicked(Kick::TakenOver), router, now);
            return;
        }
        if is_v5 {
            let codes: Vec<SubackReasonCode> = granted.into_iter().map(words::suback).collect();
            let suback = v5_0::Suback::builder()
                .packet_id(packet_id)
                .reason_codes(codes);
            self.reply(suback.build(), router, now);
        } else {
            let codes: Vec<SubackReturnCode> = granted.into_iter().map(words::suback_v3).collect();
            let suback = v3_1_1::Suback::builder()
                .packet_id(packet_id)
                .return_codes(codes);
            self.reply(suback.build(), router, now);
        }
    }

    pub(super) fn disconnect(
        &mut self,
        link: LinkId,
        disconnect: &v5_0::Disconnect,
        router: &mut Router,
        now: Duration,
    ) {
        let expiry = disconnect.props().as_deref().and_then(session_expiry);
        match expiry {
            // MQTT 5 §3.14.2.2.2: a session that ended with its connection cannot be revived here.
            Some(keep_for) if self.expiry_was_zero && !keep_for.is_zero() => {
                self.send_disconnect(DisconnectReasonCode::ProtocolError, router, now);
                self.broke(MqttError::ProtocolError, router, now);
                return;
            }
            Some(keep_for) => router.keep_for(link, keep_for),
            None => {}
        }
        let with_will =
            disconnect.reason_code() == Some(DisconnectReasonCode::DisconnectWithWillMessage);
        self.end(
            if with_will {
                Ended::Closed
            } else {
                Ended::Disconnected
            },
            router,
            now,
        );
    }

    /// Highest QoS of a MQTT 5 subscription. The protocol core miscounts the client's receive maximum when a QoS 2 exchange
    /// is completed on another connection than it began, so a MQTT 5 session that outlives its connection gets QoS 1.
    // until mqtt-protocol-core counts restored exchanges (0.7.9 subtracts what it never added).
    fn granted_max(&self) -> Qos {
        match self.expiry_was_zero {
            true => Qos::ExactlyOnce,
            false => Qos::AtLeastOnce,
        }
    }
}
