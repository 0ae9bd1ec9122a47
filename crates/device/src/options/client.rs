//! From options to what the machines of `proto` take.

use std::time::Duration;

use sectag_proto::DeviceId;
use sectag_proto::device::{ClientConfig, Conduct, Config, Transport};

use super::Options;

/// What the options do not say: who the device is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `mver`; usually [`verbs::firmware`](crate::verbs::firmware).
    pub modem_version: String,
    /// Unique to the device, see [`ClientConfig::seed`].
    pub seed: u64,
    /// Rest after the network came back: 2 s for a modem with a radio, zero for a virtual one.
    pub radio_rest: Duration,
}

impl Identity {
    /// A seed for this device: FNV-1a over its UUID. Spread needs no secret, only that two devices differ.
    pub fn seed_of(id: &DeviceId) -> u64 {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let text = id.to_string();
        text.bytes().fold(OFFSET, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(PRIME)
        })
    }
}

/// The transport that was asked for is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransportRefusal {
    /// This program was built without the feature `coap`.
    #[error("CoAP is not built into this program")]
    CoapNotBuiltIn,
    /// HTTPS was switched off, and CoAP not on.
    #[error("no transport is left: `https` is n, and so is `coap`")]
    None,
}

impl TransportRefusal {
    /// What to do.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::CoapNotBuiltIn => {
                "leave the transport out or give --transport https; or build with the feature `coap`, which needs clang, libclang and cmake"
            }
            Self::None => "give --transport https, or --transport coap",
        }
    }
}

impl Options {
    /// How requests travel: over CoAP when `coap` says so, else over HTTPS.
    pub fn transport(&self) -> Transport {
        if self.flag("coap") {
            Transport::Coap
        } else {
            Transport::Https
        }
    }

    /// Whether the transport that was chosen is there.
    ///
    /// # Errors
    /// [`TransportRefusal`].
    pub fn check_transport(&self) -> Result<(), TransportRefusal> {
        match self.transport() {
            Transport::Coap if !crate::HAS_COAP => Err(TransportRefusal::CoapNotBuiltIn),
            Transport::Https if !self.flag("https") => Err(TransportRefusal::None),
            _ => Ok(()),
        }
    }

    /// What one session may assume. `after` is not loaded.
    pub fn session_config(&self, identity: &Identity) -> Config {
        let bytes = |key| u32::try_from(self.number(key)).unwrap_or(u32::MAX);
        Config {
            modem_version: identity.modem_version.clone(),
            rx_bytes_max: bytes("rx-bytes"),
            tx_bytes_max: bytes("tx-bytes"),
            records_max: bytes("records"),
            at_bytes: bytes("at-bytes"),
            answer_bytes_start: usize::try_from(self.number("answer-bytes-start"))
                .unwrap_or(usize::MAX),
            jwt_sec_tag: bytes("jwt-sec-tag"),
            jwt_validity: self.seconds("jwt-validity-s"),
            time_wait: self.seconds("time-wait-s"),
            radio_wait: self.seconds("radio-wait-s"),
            radio_rest: identity.radio_rest,
            save_command_id: self.flag("save-cmd-id"),
            settings_path: self.text("settings-path").to_owned(),
            provide_attestation_token: self.flag("provide-attestation-token"),
            conduct: if self.is_faithful() {
                Conduct::Firmware
            } else {
                Conduct::Careful
            },
            transport: self.transport(),
            ..Config::default()
        }
    }

    /// What the library may assume. SCHEDULED without AUTO_START_ON_INIT is refused by
    /// [`Client::new`](sectag_proto::device::Client::new).
    pub fn client_config(&self, identity: &Identity) -> ClientConfig {
        ClientConfig {
            session: self.session_config(identity),
            auto_start: self.flag("auto-start"),
            scheduled: self.flag("scheduled"),
            interval: self.seconds("interval-s"),
            spread: self.seconds("spread-s"),
            initial_backoff: self.seconds("backoff-s"),
            seed: identity.seed,
        }
    }
}
