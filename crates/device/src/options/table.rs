//! Every option of the provisioning library, the MQTT helper, the sample and the exercise, with its effect here
//! (spec/device-protocol §15, spec/mqtt-tls-sample §1.6, §2, §3). `docs/reference/options.md` is this table.

use super::value::Kind;

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Kconfig name without `CONFIG_`.
    pub kconfig: &'static str,
    /// Names of earlier releases.
    pub former: &'static [&'static str],
    /// Where the same thing is set here.
    pub here: Here,
    /// Type and range.
    pub kind: Kind,
    /// Unit; empty when it is none.
    pub unit: &'static str,
    /// The firmware's default as in `prj.conf`; empty for none.
    pub firmware: &'static str,
    /// Our default, likewise; empty for none.
    pub ours: &'static str,
    /// What it does here; for [`Here::Nothing`], why it does nothing.
    pub effect: &'static str,
}

/// Where an option is set here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Here {
    /// Key of `device.toml` and of `-o`.
    Device(&'static str),
    /// Flag of `sectag mqtt sample`; empty: only through `--kconfig`.
    Sample(&'static str),
    /// It is accepted and has no effect.
    Nothing,
}

const U32: Kind = Kind::Number(0, 0xffff_ffff);
const SECONDS: Kind = Kind::Number(0, 315_360_000);
const TAG: Kind = Kind::Number(0, 2_147_483_647);
const TAG_OR_NONE: Kind = Kind::Number(-1, 2_147_483_647);
const PORT: Kind = Kind::Number(1, 65_535);
const TEXT: Kind = Kind::Text(255);
const BYTES: &str = "bytes";

const fn device(
    kconfig: &'static str,
    key: &'static str,
    kind: Kind,
    unit: &'static str,
    firmware: &'static str,
    ours: &'static str,
    effect: &'static str,
) -> Known {
    Known {
        kconfig,
        former: &[],
        here: Here::Device(key),
        kind,
        unit,
        firmware,
        ours,
        effect,
    }
}

const fn sample(
    kconfig: &'static str,
    flag: &'static str,
    kind: Kind,
    unit: &'static str,
    firmware: &'static str,
    ours: &'static str,
    effect: &'static str,
) -> Known {
    Known {
        kconfig,
        former: &[],
        here: Here::Sample(flag),
        kind,
        unit,
        firmware,
        ours,
        effect,
    }
}

const fn nothing(
    kconfig: &'static str,
    kind: Kind,
    unit: &'static str,
    firmware: &'static str,
    why: &'static str,
) -> Known {
    Known {
        kconfig,
        former: &[],
        here: Here::Nothing,
        kind,
        unit,
        firmware,
        ours: "",
        effect: why,
    }
}

impl Known {
    const fn formerly(mut self, names: &'static [&'static str]) -> Self {
        self.former = names;
        self
    }

    /// Key of `device.toml`, when this option has one.
    pub const fn key(&self) -> Option<&'static str> {
        match self.here {
            Here::Device(key) => Some(key),
            _ => None,
        }
    }
}

const THREADS: &str = "threads here have the stack that the operating system gives them";
const LOG: &str = "`-v`, `-vv` and SECTAG_LOG choose what is logged";
const QUEUES: &str = "messages between the parts of the sample do not pass a queue of fixed size";

/// The table, in the order of the specification. One row is one or two lines.
#[rustfmt::skip]
pub const OPTIONS: &[Known] = &[
    nothing("NRF_PROVISIONING", Kind::Flag, "", "n", "the library is always there"),
    device("NRF_PROVISIONING_HTTP", "https", Kind::Flag, "", "y", "y", "HTTPS carries fetch and report, unless `coap` does"),
    device("NRF_PROVISIONING_COAP", "coap", Kind::Flag, "", "n", "n",
        "CoAP over DTLS carries fetch and report; goes before `https`. Refused by a program without the feature `coap`"),
    device("NRF_PROVISIONING_AUTO_START_ON_INIT", "auto-start", Kind::Flag, "", "n", "y",
        "the running device (`device run --keep-running`) begins by itself; `n`: it waits for `device now`"),
    device("NRF_PROVISIONING_SCHEDULED", "scheduled", Kind::Flag, "", "n", "y",
        "the running device comes back after the interval; needs `auto-start`"),
    nothing("NRF_PROVISIONING_AUTO_INIT", Kind::Flag, "", "n", "the client is initialised when the device runs"),
    device("NRF_PROVISIONING_VALID_DATE_TIME_TIMEOUT_SECONDS", "time-wait-s", SECONDS, "s", "60", "60",
        "how long to wait for the modem's clock before a session fails with -ETIME"),
    device("NRF_PROVISIONING_MODEM_STATE_WAIT_TIMEOUT_SECONDS", "radio-wait-s", SECONDS, "s", "120", "120",
        "how long to wait for offline, and for the network"),
    device("NRF_PROVISIONING_INTERVAL_S", "interval-s", Kind::Number(1, 315_360_000), "s", "86400", "86400",
        "from one session to the next; `provisioning/interval-sec` in the settings goes first"),
    device("NRF_PROVISIONING_SPREAD_S", "spread-s", SECONDS, "s", "0", "100",
        "sessions of many devices are spread over this time by a device-unique seed; 0: no spread"),
    device("NRF_PROVISIONING_INITIAL_BACKOFF", "backoff-s", Kind::Number(1, 86_400), "s", "60", "60",
        "pause after busy or timeout; doubles up to 86400 s, with jitter unless `--faithful`"),
    device("NRF_PROVISIONING_SHELL", "shell", Kind::Flag, "", "n", "n",
        "as `--shell`: the firmware's console on the terminal, for tests only"),
    device("NRF_PROVISIONING_CUSTOM_AT", "custom-at", Kind::Flag, "", "n", "n",
        "the console answers `at AT#PROVSTART` and `at AT#PROVCFG`"),
    device("NRF_PROVISIONING_WITH_CERT", "with-cert", Kind::Flag, "", "y", "y",
        "the service's root CA is written into an empty root CA tag; never for the vendor's host"),
    device("NRF_PROVISIONING_ROOT_CA_SEC_TAG", "root-ca-sec-tag", TAG, "sec tag", "189298", "50",
        "root CAs that the service's certificate must chain to; over CoAP 42 when nobody sets it, as in the firmware's samples"),
    device("NRF_PROVISIONING_SAVE_CMD_ID", "save-cmd-id", Kind::Flag, "", "n", "y",
        "the last correlation id is saved when a session ends with `finished`, and asked after in the next one"),
    device("NRF_PROVISIONING_SETTINGS_STORAGE_PATH", "settings-path", Kind::Text(40), "", "\"provisioning\"",
        "\"provisioning\"", "first part of the settings keys `interval-sec` and `after-correlation-id`"),
    device("NRF_PROVISIONING_RX_BUF_SZ", "rx-bytes", Kind::Number(256, 65_536), BYTES, "1024", "1024",
        "largest answer of the service, over HTTPS with status line and headers; sent as `rxMaxSize`")
        .formerly(&["NRF_PROVISIONING_HTTP_RX_BUF_SZ"]),
    device("NRF_PROVISIONING_TX_BUF_SZ", "tx-bytes", Kind::Number(64, 65_536), BYTES, "2048", "2048",
        "largest report; sent as `txMaxSize`").formerly(&["NRF_PROVISIONING_HTTP_TX_BUF_SZ"]),
    device("NRF_PROVISIONING_JWT_SEC_TAG", "jwt-sec-tag", TAG, "sec tag", "0", "0",
        "the key that signs the JWT; 0 is the identity key, the only one that a service knows by the claim"),
    device("NRF_PROVISIONING_JWT_MAX_VALID_TIME_S", "jwt-validity-s", Kind::Number(0, 360), "s", "300", "300",
        "lifetime of each JWT, one for each request or, over CoAP, one for each session; 0 makes one without `iat` and `exp`, which the service refuses"),
    device("NRF_PROVISIONING_PROVIDE_ATTESTATION_TOKEN", "provide-attestation-token", Kind::Flag, "", "y", "y",
        "the not-claimed event carries the attestation token"),
    device("NRF_PROVISIONING_PRINT_ATTESTATION_TOKEN", "print-attestation-token", Kind::Flag, "", "y", "y",
        "the terminal shows the attestation token of an unclaimed device"),
    nothing("NRF_PROVISIONING_STACK_SIZE", U32, BYTES, "2048", THREADS),
    device("NRF_PROVISIONING_HTTP_HOSTNAME", "http-hostname", TEXT, "", "\"provisioning-http.nrfcloud.com\"",
        "\"localhost\"", "host of the device API: resolved, sent as SNI, demanded of the certificate"),
    device("NRF_PROVISIONING_HTTP_PORT", "http-port", PORT, "", "443", "8443",
        "port of the device API; when nobody sets it, the one of the service that runs in this home"),
    device("NRF_PROVISIONING_HTTP_TIMEOUT_MS", "http-timeout-ms", Kind::Number(1, 3_600_000), "ms", "30000", "30000",
        "from the first packet of a request to the last byte of its answer"),
    device("NRF_PROVISIONING_COAP_HOSTNAME", "coap-hostname", TEXT, "", "\"coap.nrfcloud.com\"", "\"localhost\"",
        "as `http-hostname`, over CoAP"),
    device("NRF_PROVISIONING_COAP_PORT", "coap-port", Kind::Text(5), "", "\"5684\"", "\"5684\"",
        "UDP port of the device API over CoAP; when nobody sets it, the one of the service that runs in this home"),
    device("NRF_PROVISIONING_COAP_DTLS_SESSION_CACHE", "coap-session-cache", Kind::Flag, "", "y", "y",
        "a DTLS session that ended is resumed by a short handshake; `n`: each handshake is a full one")
        .formerly(&["NRF_PROVISIONING_COAP_TLS_SESSION_CACHE"]),
    device("NRF_PROVISIONING_COAP_TIMEOUT_SECONDS", "coap-timeout-s", Kind::Number(1, 3600), "s", "30", "30",
        "limit for one exchange over CoAP, retransmissions included, and for one handshake"),
    device("NRF_PROVISIONING_CODEC_AT_CMD_LEN", "at-bytes", Kind::Number(64, 65_536), BYTES, "1792", "1792",
        "longest AT command; the larger of it and `tx-bytes` counts, less one"),
    device("NRF_PROVISIONING_CODEC_RX_SZ_START", "answer-bytes-start", Kind::Number(64, 4096), BYTES, "1024", "1024",
        "first buffer for a modem answer; a command whose answer does not fit is run again with twice as much, up to 4096"),
    device("NRF_PROVISIONING_CBOR_RECORDS", "records", Kind::Number(1, 1000), "commands", "10", "10",
        "largest batch; sent as `limit`"),
    nothing("NRF_PROVISIONING_LOG_LEVEL_OFF", Kind::Flag, "", "", LOG),
    nothing("NRF_PROVISIONING_LOG_LEVEL_ERR", Kind::Flag, "", "", LOG),
    nothing("NRF_PROVISIONING_LOG_LEVEL_WRN", Kind::Flag, "", "", LOG),
    nothing("NRF_PROVISIONING_LOG_LEVEL_INF", Kind::Flag, "", "", LOG),
    nothing("NRF_PROVISIONING_LOG_LEVEL_DBG", Kind::Flag, "", "", LOG),
    nothing("NRF_PROVISIONING_LOG_LEVEL", Kind::Number(0, 4), "", "", LOG),
    sample("MQTT_LIB_TLS", "--tls, --plain", Kind::Flag, "", "n", "y",
        "MQTT over TLS with the credentials of the sec tag"),
    sample("MQTT_KEEPALIVE", "--keep-alive", Kind::Number(0, 65_535), "s", "60", "30",
        "time between two signs of life; 60 without TLS and in the exercise"),
    sample("MQTT_CLEAN_SESSION", "--keep-session", Kind::Flag, "", "n", "y", "`n`: the broker keeps the session"),
    sample("MODEM_KEY_MGMT", "--no-provision", Kind::Flag, "", "n", "y",
        "credential files are written into the tag before connecting; `n`: only what is under the tag already is used"),
    sample("MQTT_HELPER_PORT", "--port", PORT, "", "8883", "8883", "port of the broker; 1883 without TLS"),
    sample("MQTT_HELPER_SEC_TAG", "--sec-tag", TAG_OR_NONE, "sec tag", "-1", "955", "tag of CA, certificate and key"),
    sample("MQTT_HELPER_SECONDARY_SEC_TAG", "--secondary-sec-tag", TAG_OR_NONE, "sec tag", "-1", "-1",
        "a second tag; -1: none"),
    sample("MQTT_HELPER_PROVISION_CERTIFICATES", "--no-provision", Kind::Flag, "", "y", "y",
        "as MODEM_KEY_MGMT, for boards without modem"),
    sample("MQTT_HELPER_CERTIFICATES_FOLDER", "--certs", TEXT, "", "\"certs\"", "", "folder of the credential files"),
    sample("MQTT_HELPER_LAST_WILL", "--will-topic", Kind::Flag, "", "n", "n",
        "the broker publishes a last will when the device is lost"),
    sample("MQTT_HELPER_LAST_WILL_TOPIC", "--will-topic", TEXT, "", "\"lastwilltopic\"", "\"lastwilltopic\"",
        "its topic"),
    sample("MQTT_HELPER_LAST_WILL_MESSAGE", "--will-message", TEXT, "", "\"{\\\"lastwill\\\": \\\"offline\\\"}\"",
        "\"{\\\"lastwill\\\": \\\"offline\\\"}\"", "its payload"),
    sample("MQTT_HELPER_SEND_TIMEOUT", "--timeout", Kind::Flag, "", "y", "y",
        "a send that takes longer than the timeout ends the connection"),
    sample("MQTT_HELPER_SEND_TIMEOUT_SEC", "--timeout", Kind::Number(1, 3600), "s", "60", "60", "that timeout"),
    sample("MQTT_HELPER_STATIC_IP_ADDRESS", "--address", TEXT, "", "\"\"", "",
        "connect there; the host name is still verified"),
    nothing("MQTT_HELPER", Kind::Flag, "", "n", "the helper's states are always there"),
    nothing("MQTT_HELPER_NATIVE_TLS", Kind::Flag, "", "n",
        "TLS runs on this host in any case; the key stays under its tag"),
    nothing("MQTT_HELPER_STACK_SIZE", U32, BYTES, "2560", THREADS),
    nothing("MQTT_HELPER_RX_TX_BUFFER_SIZE", U32, BYTES, "256", "the client's buffers grow with the packet"),
    nothing("MQTT_HELPER_PAYLOAD_BUFFER_LEN", U32, BYTES, "2048",
        "the client takes payloads up to the broker's packet limit"),
    sample("MQTT_SAMPLE_TRIGGER_TIMEOUT_SECONDS", "--interval", Kind::Number(1, 315_360_000), "s", "60", "60",
        "from one message to the next"),
    nothing("MQTT_SAMPLE_PAYLOAD_CHANNEL_STRING_MAX_SIZE", U32, "characters", "100", "the sampler's text is shorter"),
    sample("MQTT_SAMPLE_TRANSPORT_BROKER_HOSTNAME", "--host", TEXT, "", "\"test.mosquitto.org\"", "\"localhost\"",
        "host of the broker"),
    sample("MQTT_SAMPLE_TRANSPORT_CLIENT_ID", "--client-id", TEXT, "", "\"\"", "\"\"",
        "client id; empty: the certificate's name, else the IMEI"),
    nothing("MQTT_SAMPLE_TRANSPORT_CLIENT_ID_BUFFER_SIZE", U32, BYTES, "50",
        "client ids may have up to 65535 bytes, as MQTT says"),
    sample("MQTT_SAMPLE_TRANSPORT_PUBLISH_TOPIC", "--publish-topic", TEXT, "", "\"my/publish/topic\"",
        "\"my/publish/topic\"", "topic behind `<client id>/`"),
    sample("MQTT_SAMPLE_TRANSPORT_SUBSCRIBE_TOPIC", "--subscribe-topic", TEXT, "", "\"my/subscribe/topic\"",
        "\"my/subscribe/topic\"", "topic behind `<client id>/`"),
    sample("MQTT_SAMPLE_TRANSPORT_RECONNECTION_TIMEOUT_SECONDS", "--reconnect", Kind::Number(1, 86_400), "s", "60",
        "60", "from one attempt to connect to the next"),
    nothing("MQTT_SAMPLE_TRANSPORT_MESSAGE_QUEUE_SIZE", U32, "messages", "5", QUEUES),
    nothing("MQTT_SAMPLE_SAMPLER_MESSAGE_QUEUE_SIZE", U32, "messages", "5", QUEUES),
    nothing("MQTT_SAMPLE_TRIGGER_THREAD_STACK_SIZE", U32, BYTES, "512", THREADS),
    nothing("MQTT_SAMPLE_SAMPLER_THREAD_STACK_SIZE", U32, BYTES, "1024", THREADS),
    nothing("MQTT_SAMPLE_NETWORK_THREAD_STACK_SIZE", U32, BYTES, "4096", THREADS),
    nothing("MQTT_SAMPLE_TRANSPORT_THREAD_STACK_SIZE", U32, BYTES, "2048", THREADS),
    nothing("MQTT_SAMPLE_TRANSPORT_WORKQUEUE_STACK_SIZE", U32, BYTES, "4096", THREADS),
    sample("MQTT_SAMPLE_ERROR_REBOOT_ON_FATAL", "", Kind::Flag, "", "y", "y",
        "a fatal error starts the sample anew; `n`: it ends"),
    sample("MQTT_SAMPLE_BROKER_HOSTNAME", "--host", TEXT, "", "\"mqtt.nordicsemi.academy\"", "\"localhost\"",
        "host of the broker in the exercise"),
    sample("MQTT_SAMPLE_CLIENT_ID", "--client-id", TEXT, "", "\"\"", "\"\"",
        "client id in the exercise; empty: `nrf-<IMEI>`"),
    sample("MQTT_SAMPLE_PUB_TOPIC", "--publish-topic", TEXT, "", "\"devacademy/publish/topic\"",
        "\"devacademy/publish/topic\"", "whole topic in the exercise"),
    sample("MQTT_SAMPLE_SUB_TOPIC", "--subscribe-topic", TEXT, "", "\"devacademy/subscribe/topic\"",
        "\"devacademy/subscribe/topic\"", "whole topic in the exercise"),
    sample("MQTT_SAMPLE_PUBLISH_MSG", "--message", TEXT, "", "\"Hi from nRF9151 SiP\"", "\"Hi from nRF9151 SiP\"",
        "what button 1 publishes").formerly(&["BUTTON_EVENT_PUBLISH_MSG"]),
    sample("MQTT_BROKER_HOSTNAME", "--host", TEXT, "", "\"mqtt.nordicsemi.academy\"", "\"localhost\"",
        "host of the broker in the older exercise"),
    sample("MQTT_BROKER_PORT", "--port", PORT, "", "1883", "8883",
        "port of the broker in the older exercise; 8883 with TLS"),
    sample("MQTT_TLS_SEC_TAG", "--sec-tag", TAG_OR_NONE, "sec tag", "24", "24", "tag of the CA in the older exercise"),
    sample("MQTT_TLS_PEER_VERIFY", "--dangerously-accept-any-broker", Kind::Number(0, 2), "", "2", "2",
        "2: the broker is verified; 1 and 0 only together with the long flag that says so"),
    sample("MQTT_TLS_SESSION_CACHING", "--session-cache", Kind::Flag, "", "n", "n", "resume TLS sessions"),
    sample("MQTT_CLIENT_ID", "--client-id", TEXT, "", "\"\"", "\"\"",
        "client id in the older exercise; empty: `nrf-<IMEI>`"),
    sample("MQTT_PUB_TOPIC", "--publish-topic", TEXT, "", "\"devacademy/publish/topic\"",
        "\"devacademy/publish/topic\"", "whole topic in the older exercise"),
    sample("MQTT_SUB_TOPIC", "--subscribe-topic", TEXT, "", "\"devacademy/subscribe/topic\"",
        "\"devacademy/subscribe/topic\"", "whole topic in the older exercise"),
    sample("MQTT_RECONNECT_DELAY_S", "--reconnect", Kind::Number(1, 86_400), "s", "60", "60",
        "from one attempt to connect to the next"),
    nothing("MQTT_MESSAGE_BUFFER_SIZE", U32, BYTES, "128", "the client's buffers grow with the packet"),
    nothing("MQTT_PAYLOAD_BUFFER_SIZE", U32, BYTES, "128", "the client's buffers grow with the packet"),
    nothing("MODEM_JWT_MAX_LEN", U32, BYTES, "850", "a JWT may be as long as the modem makes it"),
    device("COAP_CLIENT_BLOCK_SIZE", "coap-block-bytes", Kind::Number(16, 1024), BYTES, "256", "1024",
        "largest block in either direction, rounded down to a power of two; larger ones are fewer round trips"),
    nothing("HEAP_MEM_POOL_SIZE", U32, BYTES, "", "memory comes from the operating system"),
    nothing("MAIN_STACK_SIZE", U32, BYTES, "", THREADS),
];

/// The option of this Kconfig name, present or former (without `CONFIG_`).
pub fn known(kconfig: &str) -> Option<&'static Known> {
    OPTIONS
        .iter()
        .find(|known| known.kconfig == kconfig || known.former.contains(&kconfig))
}

/// The option of this key of `device.toml`.
pub fn keyed(key: &str) -> Option<&'static Known> {
    OPTIONS.iter().find(|known| known.key() == Some(key))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_default_is_of_its_kind() {
        for known in OPTIONS {
            for text in [known.firmware, known.ours] {
                if !text.is_empty() {
                    known.kind.read(text).unwrap();
                }
            }
        }
    }

    #[test]
    fn no_name_and_no_key_is_there_twice() {
        let mut names = BTreeSet::new();
        for known in OPTIONS {
            for name in known.former.iter().chain([&known.kconfig]) {
                assert!(names.insert(*name), "{name}");
            }
        }
        let keys: Vec<_> = OPTIONS.iter().filter_map(Known::key).collect();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    }
}
