//! Messages out and in.

use super::Sample;
use crate::sample::config::{Edition, Program};
use crate::sample::errno::{EOPNOTSUPP, ETIMEDOUT};
use crate::sample::events::{Ending, Message, Output};
use crate::sample::helper::{HelperCall, HelperState};
use crate::sample::words;

impl Sample {
    pub(super) fn publish(&mut self, payload: String) {
        let topic = self.config.topic_to_publish(&self.client_id, &self.names);
        let message = Message { topic, payload };
        if !self.may(HelperCall::Publish) {
            return self.not_sent(-EOPNOTSUPP);
        }
        if self.config.faithful {
            self.say_published(&message);
        }
        self.outputs.push_back(Output::Publish(message));
    }

    pub(super) fn published_was(&mut self, message: &Message, outcome: Result<(), i32>) {
        match outcome {
            Ok(()) => {
                if !self.config.faithful {
                    self.say_published(message);
                }
                self.published += 1;
                if self
                    .config
                    .count
                    .is_some_and(|count| count == self.published)
                {
                    self.stop(Ending::Counted);
                }
            }
            Err(errno) => {
                self.not_sent(errno);
                // Whoever does not acknowledge is not there, long before a ping would tell.
                let silent = errno == -ETIMEDOUT && !self.config.faithful;
                if silent && self.helper.state() == HelperState::Connected {
                    self.disconnect();
                }
            }
        }
    }

    pub(super) fn say_published(&mut self, message: &Message) {
        let module = self.module();
        let (payload, topic) = (words::one_line(&message.payload), &message.topic);
        if self.config.faithful && self.config.program == Program::Academy(Edition::V2_2) {
            self.info(module, format!("Publishing: {payload}"));
            let text = format!("to topic: {topic} len: {}", topic.len());
            self.info(module, text);
        } else {
            self.log(words::published(module, &payload, topic));
        }
    }

    pub(super) fn not_sent(&mut self, errno: i32) {
        let module = self.module();
        if self.config.program != Program::Academy(Edition::V2_2) {
            self.log(words::not_sent(module, errno));
        }
        if matches!(self.config.program, Program::Academy(_)) {
            self.info(module, format!("Failed to send message, {errno}"));
        }
    }

    pub(super) fn received(&mut self, topic: &str, payload: &[u8]) {
        if payload.len() > self.config.received_bytes_max {
            return self.log(words::too_large());
        }
        let text = words::one_line(&String::from_utf8_lossy(payload));
        let module = self.module();
        if self.config.faithful && self.config.program == Program::Academy(Edition::V2_2) {
            let length = payload.len();
            self.info(module, format!("MQTT PUBLISH result=0 len={length}"));
            self.info(module, format!("Received: {text}"));
        } else {
            self.log(words::received(module, &text, &words::one_line(topic)));
        }
        if matches!(self.config.program, Program::Academy(_)) {
            for (word, number, on) in [
                ("LED1ON", 1, true),
                ("LED1OFF", 1, false),
                ("LED2ON", 2, true),
                ("LED2OFF", 2, false),
            ] {
                if payload.starts_with(word.as_bytes()) {
                    self.led(number, on);
                }
            }
        }
    }
}
