//! Names, times and limits of the sample and the exercise (spec/mqtt-tls-sample §1.3, §1.6, §3).

use std::time::Duration;

use sectag_mqtt::client::PACKET_BYTES_MAX;

use super::errno::EMSGSIZE;

/// Which of Nordic's two programs is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Program {
    /// `samples/net/mqtt` of the SDK.
    #[default]
    Sample,
    /// Developer Academy, Cellular Fundamentals, lesson 4 exercise 2.
    Academy(Edition),
}

/// Which edition of the exercise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Edition {
    /// For SDK v2.2 to v2.4: the bare MQTT library, waits 60 s and connects again.
    V2_2,
    /// With the `mqtt_helper` library; does not connect again by itself.
    #[default]
    Current,
}

/// The machine's configuration. [`Config::sample`] and [`Config::academy`] have the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Which program.
    pub program: Program,
    /// Do as the firmware does, flaws and limits included ([`Config::to_the_letter`]). Default `false`.
    pub faithful: bool,
    /// Broker, for the log.
    pub host: String,
    /// Port, for the log.
    pub port: u16,
    /// Whether TLS is used, for the log.
    pub tls: bool,
    /// Default `None`. In the sample: the name in the client certificate, whose owner's topics begin with it; without
    /// one the hardware's id, as in the firmware. In the exercise: the hardware's id with `nrf-` before it.
    pub client_id: Option<String>,
    /// Bytes for the client id and its terminating NUL; a longer id is fatal. Default 65536, what MQTT has room for;
    /// in the firmware 50, in the current exercise 20.
    pub client_id_buffer: usize,
    /// In the sample the part behind `<client id>/`, in the exercise the whole topic.
    pub publish_topic: String,
    /// As [`Config::publish_topic`].
    pub subscribe_topic: String,
    /// Put the exercise's topics below the name in the client certificate, for brokers that allow nothing else.
    /// Default `false`.
    pub below_name: bool,
    /// From trigger to trigger. Default 60 s; `None` in the exercise: only the button publishes.
    pub interval: Option<Duration>,
    /// From network up to the first attempt. Default 5 s; zero in the exercise.
    pub connect_delay: Duration,
    /// From a failed attempt to the next. Default 60 s.
    pub reconnect: Duration,
    /// Longest text of the sampler. Default 100.
    pub payload_bytes_max: usize,
    /// Longest payload that is taken from the broker. Default 1 MiB, the client's limit; in the firmware 2048.
    pub received_bytes_max: usize,
    /// What button 1 publishes in the exercise.
    pub button_message: String,
    /// After a fatal error begin anew. Default `true`; else it ends.
    pub reboot_on_fatal: bool,
    /// End after so many acknowledged messages. Default `None`: never.
    pub count: Option<u64>,
}

impl Config {
    /// Characters of an IMEI, all that the exercise takes of the hardware's id.
    const IMEI_CHARS: usize = 15;

    /// The SDK's sample.
    pub fn sample(host: &str, port: u16, tls: bool) -> Self {
        Self {
            program: Program::Sample,
            faithful: false,
            host: host.to_owned(),
            port,
            tls,
            client_id: None,
            client_id_buffer: 65_536,
            publish_topic: "my/publish/topic".to_owned(),
            subscribe_topic: "my/subscribe/topic".to_owned(),
            below_name: false,
            interval: Some(Duration::from_secs(60)),
            connect_delay: Duration::from_secs(5),
            reconnect: Duration::from_secs(60),
            payload_bytes_max: 100,
            received_bytes_max: PACKET_BYTES_MAX as usize,
            button_message: String::new(),
            reboot_on_fatal: true,
            count: None,
        }
    }

    /// The exercise.
    pub fn academy(edition: Edition, host: &str, port: u16, tls: bool) -> Self {
        let button_message = match edition {
            Edition::V2_2 => "Hi from nRF91 Series device",
            Edition::Current => "Hi from nRF9151 SiP",
        };
        Self {
            program: Program::Academy(edition),
            publish_topic: "devacademy/publish/topic".to_owned(),
            subscribe_topic: "devacademy/subscribe/topic".to_owned(),
            interval: None,
            connect_delay: Duration::ZERO,
            button_message: button_message.to_owned(),
            ..Self::sample(host, port, tls)
        }
    }

    /// The same as the firmware does it, with its flaws and its buffers.
    pub fn to_the_letter(self) -> Self {
        let client_id_buffer = match self.program {
            Program::Academy(Edition::Current) => 20,
            Program::Sample | Program::Academy(Edition::V2_2) => 50,
        };
        Self {
            faithful: true,
            client_id_buffer,
            below_name: false,
            received_bytes_max: match self.program {
                Program::Academy(Edition::V2_2) => 128,
                _ => 2048,
            },
            ..self
        }
    }

    /// The client id, or the negative errno why there is none.
    pub(super) fn client_id_of(&self, names: &Names) -> Result<String, i32> {
        let certificate = names.certificate.as_ref().filter(|_| !self.faithful);
        let id = match (&self.client_id, self.program, certificate) {
            (Some(id), ..) => id.clone(),
            (None, Program::Sample, Some(name)) => name.clone(),
            (None, Program::Sample, None) => names.hardware.clone()?,
            (None, Program::Academy(_), _) => {
                let hardware = names.hardware.clone()?;
                let imei: String = hardware.chars().take(Self::IMEI_CHARS).collect();
                format!("nrf-{imei}")
            }
        };
        if id.len() < self.client_id_buffer {
            Ok(id)
        } else {
            Err(-EMSGSIZE)
        }
    }

    pub(super) fn topic_to_publish(&self, client_id: &str, names: &Names) -> String {
        self.topic(client_id, names, &self.publish_topic)
    }

    pub(super) fn topic_to_hear(&self, client_id: &str, names: &Names) -> String {
        self.topic(client_id, names, &self.subscribe_topic)
    }

    fn topic(&self, client_id: &str, names: &Names, rest: &str) -> String {
        match (self.program, &names.certificate) {
            (Program::Sample, _) => format!("{client_id}/{rest}"),
            (Program::Academy(_), Some(name)) if self.below_name => format!("{name}/{rest}"),
            (Program::Academy(_), _) => rest.to_owned(),
        }
    }
}

/// What a device can be called, besides what it is told.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// IMEI, or the negative errno of asking for it.
    pub(super) hardware: Result<String, i32>,
    /// CN of the client certificate.
    pub(super) certificate: Option<String>,
}
