//! Connecting, and what follows from how it went.

use std::time::Duration;

use sectag_mqtt::Qos;
use sectag_proto::Uptime;

use super::{SUBACK_FAILURE, Sample, Transport};
use crate::sample::config::{Edition, Program};
use crate::sample::errno::{ECONNREFUSED, EOPNOTSUPP};
use crate::sample::events::{Output, SUBSCRIBE_ID_ACADEMY, SUBSCRIBE_ID_SAMPLE};
use crate::sample::helper::{HelperCall, HelperState};
use crate::sample::words;

impl Sample {
    pub(super) fn connect(&mut self) {
        let id = match self.config.client_id_of(&self.names) {
            Ok(id) => id,
            Err(errno) => {
                let text = match self.config.program {
                    Program::Sample => format!("client_id_get, error: {errno}"),
                    Program::Academy(_) => format!("Failed to get client ID, error: {errno}"),
                };
                self.log(words::error(self.module(), text));
                return self.fatal();
            }
        };
        self.client_id = id;
        self.attempts += 1;
        if !self.may(HelperCall::Connect) {
            let text = format!("Failed connecting to MQTT, error code: -{EOPNOTSUPP}");
            return self.log(words::error(self.module(), text));
        }
        self.become_state(HelperState::TransportConnecting);
        self.attempting = true;
        self.outputs.push_back(Output::Connect {
            client_id: self.client_id.clone(),
        });
    }

    pub(super) fn connected(&mut self, now: Uptime) {
        self.become_state(HelperState::TransportConnected);
        self.become_state(HelperState::Connecting);
        self.become_state(HelperState::Connected);
        self.enter_connected(now);
    }

    pub(super) fn enter_connected(&mut self, now: Uptime) {
        self.attempting = false;
        self.state = Transport::Connected;
        self.connected_since = now;
        self.connect_at = None;
        let module = self.module();
        let v2_2 = self.config.program == Program::Academy(Edition::V2_2);
        if v2_2 {
            self.info(module, "MQTT client connected");
        }
        if !(v2_2 && self.config.faithful) {
            let place = words::Place {
                host: &self.config.host,
                port: self.config.port,
                tls: self.config.tls,
                client_id: &self.client_id,
            };
            for line in words::connected(module, place) {
                self.outputs.push_back(Output::Log(line));
            }
        }
        self.subscribe();
    }

    pub(super) fn subscribe(&mut self) {
        let topic = self.config.topic_to_hear(&self.client_id, &self.names);
        let (text, qos, message_id) = match self.config.program {
            Program::Sample => (
                format!("Subscribing to: {topic}"),
                Qos::AtMostOnce,
                SUBSCRIBE_ID_SAMPLE,
            ),
            Program::Academy(Edition::V2_2) if self.config.faithful => (
                format!("Subscribing to: {topic} len {}", topic.len()),
                Qos::AtLeastOnce,
                SUBSCRIBE_ID_ACADEMY,
            ),
            Program::Academy(_) => (
                format!("Subscribing to {topic}"),
                Qos::AtLeastOnce,
                SUBSCRIBE_ID_ACADEMY,
            ),
        };
        self.info(self.module(), text);
        if self.may(HelperCall::Subscribe) {
            self.outputs.push_back(Output::Subscribe {
                topic,
                qos,
                message_id,
            });
        } else {
            self.log(words::not_subscribed(self.module(), -EOPNOTSUPP));
        }
    }

    pub(super) fn subscribed(&mut self, code: u8) {
        let topic = self.config.topic_to_hear(&self.client_id, &self.names);
        let module = self.module();
        if i32::from(code) == SUBACK_FAILURE {
            return self.log(words::subscription_failed(module, SUBACK_FAILURE));
        }
        match self.config.program {
            Program::Sample => self.info(module, format!("Subscribed to topic {topic}")),
            Program::Academy(Edition::V2_2) if self.config.faithful => {
                self.info(module, format!("SUBACK packet id: {SUBSCRIBE_ID_ACADEMY}"));
            }
            Program::Academy(_) => {
                self.info(module, format!("Subscribed to {topic} with QoS {code}"));
            }
        }
    }

    /// The sample does not look at the return code of CONNACK; everybody else takes a refusal for a failed attempt.
    pub(super) fn refused(&mut self, code: u8, now: Uptime) {
        self.become_state(HelperState::TransportConnected);
        self.become_state(HelperState::Connecting);
        self.become_state(HelperState::Disconnected);
        let module = self.module();
        match self.config.program {
            Program::Sample if self.config.faithful => {
                self.enter_connected(now);
                return self.disconnected(0, now);
            }
            Program::Sample => self.log(words::error(
                module,
                format!("Failed connecting to MQTT, error code: -{ECONNREFUSED}"),
            )),
            Program::Academy(Edition::Current) => self.log(words::warning(
                module,
                format!("Connection to broker not established, return_code: {code}"),
            )),
            Program::Academy(Edition::V2_2) => {
                self.log(words::error(module, format!("MQTT connect failed: {code}")))
            }
        }
        self.attempt_again(now);
    }

    pub(super) fn connect_failed(&mut self, errno: i32, now: Uptime) {
        self.become_state(HelperState::Disconnected);
        let text = match self.config.program {
            Program::Sample => format!("Failed connecting to MQTT, error code: {errno}"),
            Program::Academy(Edition::Current) => {
                format!("Failed to connect to MQTT, error code: {errno}")
            }
            Program::Academy(Edition::V2_2) => format!("Error in mqtt_connect: {errno}"),
        };
        self.log(words::error(self.module(), text));
        self.attempt_again(now);
    }

    pub(super) fn attempt_again(&mut self, now: Uptime) {
        self.attempting = false;
        if self.network && self.reconnects() {
            self.connect_at = Some(now.plus(self.config.reconnect));
            self.say_when();
        }
    }

    pub(super) fn disconnected(&mut self, errno: i32, now: Uptime) {
        self.become_state(HelperState::Disconnected);
        self.attempting = false;
        if self.state == Transport::Connected {
            self.state = Transport::Disconnected;
            let module = self.module();
            match self.config.program {
                Program::Sample => self.info(module, "Disconnected from MQTT broker"),
                Program::Academy(_) => {
                    self.info(module, format!("MQTT client disconnected: {errno}"));
                }
            }
        }
        if let Some(ending) = self.stopping {
            return self.end(ending);
        }
        if self.network && self.reconnects() {
            self.connect_at = Some(now.plus(self.pause_after_loss(errno, now)));
            self.say_when();
        }
    }

    /// At once; but whoever is thrown out as soon as it is in, for instance because another device uses its client id,
    /// waits, so that it does not hammer the broker.
    pub(super) fn pause_after_loss(&self, errno: i32, now: Uptime) -> Duration {
        let lasted = now.since(self.connected_since);
        let thrown_out = errno != 0 && lasted < self.config.connect_delay && !self.config.faithful;
        if thrown_out || self.config.program == Program::Academy(Edition::V2_2) {
            self.config.reconnect
        } else {
            Duration::ZERO
        }
    }

    pub(super) fn say_when(&mut self) {
        if self.config.program == Program::Academy(Edition::V2_2) {
            let seconds = self.config.reconnect.as_secs();
            self.info(
                self.module(),
                format!("Reconnecting in {seconds} seconds..."),
            );
        }
    }

    /// The current edition of the exercise gives up after its first connection.
    pub(super) fn reconnects(&self) -> bool {
        !(self.config.faithful && self.config.program == Program::Academy(Edition::Current))
    }

    pub(super) fn disconnect(&mut self) {
        if self.may(HelperCall::Disconnect) {
            self.become_state(HelperState::Disconnecting);
            self.outputs.push_back(Output::Disconnect);
        }
    }
}
