//! What one device session may assume, with the firmware's names and defaults (spec/device-protocol §15).

use alloc::string::String;
use core::time::Duration;

use crate::wire::CONFIG_PAIRS_MAX;

/// Options of a [`Session`](super::Session). The defaults are those of the firmware library.
#[derive(Debug, Clone)]
pub struct Config {
    /// Modem firmware, sent as `mver` (e.g. `mfw_nrf91x1_2.0.2`).
    pub modem_version: String,
    /// Client version, sent as `cver`.
    pub client_version: String,
    /// RX_BUF_SZ: bytes of one answer, over HTTP with status line and headers. Default 1024, sent as `rxMaxSize`.
    pub rx_bytes_max: u32,
    /// TX_BUF_SZ: bytes of one report. Default 2048, sent as `txMaxSize`.
    pub tx_bytes_max: u32,
    /// CBOR_RECORDS: commands in one batch. Default 10, sent as `limit`; a larger batch is refused whole.
    pub records_max: u32,
    /// Pairs of one config command. Default 10.
    pub config_pairs_max: usize,
    /// CODEC_AT_CMD_LEN: bytes of the AT text. Default 1792; the larger of it and `tx_bytes_max` counts, less one.
    pub at_bytes: u32,
    /// CODEC_RX_SZ_START: first size of the buffer for a modem answer. Default 1024; doubles up to
    /// [`ANSWER_BYTES_MAX`](super::ANSWER_BYTES_MAX).
    pub answer_bytes_start: usize,
    /// JWT_SEC_TAG: 0 is the identity key. Default 0.
    pub jwt_sec_tag: u32,
    /// JWT_MAX_VALID_TIME_S. Default 300 s; a service refuses more than 360 s.
    pub jwt_validity: Duration,
    /// VALID_DATE_TIME_TIMEOUT_SECONDS: how long to wait for the modem's clock. Default 60 s.
    pub time_wait: Duration,
    /// MODEM_STATE_WAIT_TIMEOUT_SECONDS: how long to wait for offline, and for the network. Default 120 s.
    pub radio_wait: Duration,
    /// Rest after the network came back. Default 2 s; zero for a modem without a radio.
    pub radio_rest: Duration,
    /// SAVE_CMD_ID: save `after` when a session ends with `finished`. Default false.
    pub save_command_id: bool,
    /// SETTINGS_STORAGE_PATH. Default `provisioning`.
    pub settings_path: String,
    /// The saved `after` of an earlier life, `None` when nothing was saved. Used for the first fetch only.
    pub after: Option<String>,
    /// PROVIDE_ATTESTATION_TOKEN: read the claim token when the service answers 401. Default true.
    pub provide_attestation_token: bool,
    /// Where our own conduct differs from the firmware's. Default [`Conduct::Careful`].
    pub conduct: Conduct,
    /// How requests travel. Default [`Transport::Https`].
    pub transport: Transport,
}

/// How fetch and report travel. What differs for the session: over CoAP one token serves all its requests, a status is the
/// equivalent of a response code (2.05 with a payload 200, without one 204, 4.04 404), and a lost report ends the
/// firmware's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// HTTP over TLS: a token and a connection for each request (spec/device-protocol §5).
    #[default]
    Https,
    /// CoAP over DTLS, see [`coap`](super::coap) (spec/device-protocol §6).
    Coap,
}

/// What to do where the firmware loses something that need not be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conduct {
    /// A report is kept until the service acknowledged it, radio and CMEE are restored after a timeout too, and the
    /// radio is only brought back when this session took it down.
    #[default]
    Careful,
    /// As the event-API generation of the firmware: a lost report is forgotten and the next fetch follows,
    /// NEED_LTE_ACTIVATED is emitted for every batch, a radio timeout leaves CMEE as it is.
    Firmware,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            modem_version: String::new(),
            client_version: String::from("3.1.0"),
            rx_bytes_max: 1024,
            tx_bytes_max: 2048,
            records_max: 10,
            config_pairs_max: CONFIG_PAIRS_MAX,
            at_bytes: 1792,
            answer_bytes_start: 1024,
            jwt_sec_tag: 0,
            jwt_validity: Duration::from_secs(300),
            time_wait: Duration::from_secs(60),
            radio_wait: Duration::from_secs(120),
            radio_rest: Duration::from_secs(2),
            save_command_id: false,
            settings_path: String::from("provisioning"),
            after: None,
            provide_attestation_token: true,
            conduct: Conduct::Careful,
            transport: Transport::Https,
        }
    }
}

impl Config {
    /// Longest `AT…=…` text that the device can build, in bytes: 2047 by default (spec/device-protocol §4).
    pub fn at_bytes_max(&self) -> usize {
        usize::try_from(self.at_bytes.max(self.tx_bytes_max))
            .unwrap_or(usize::MAX)
            .saturating_sub(1)
    }

    /// Settings key of the saved `after` (spec/device-protocol §13).
    pub fn after_key(&self) -> String {
        alloc::format!("{}/after-correlation-id", self.settings_path)
    }

    /// Settings key of the polling interval in seconds (spec/device-protocol §13).
    pub fn interval_key(&self) -> String {
        alloc::format!("{}/interval-sec", self.settings_path)
    }
}
