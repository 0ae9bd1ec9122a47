//! A real project's files, and any bytes at all.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sectag_device::kconfig::Kconfig;
use sectag_device::options::{Here, Kind, OPTIONS, Options, Value};

/// In the form of the vendor's sample of the provisioning library, with an overlay for another service.
const PRJ: &str = "\
#
# Application
#
CONFIG_REBOOT=y

# Modem library
CONFIG_NRF_MODEM_LIB=y
CONFIG_MODEM_KEY_MGMT=y
CONFIG_MODEM_JWT=y

# Provisioning
CONFIG_NRF_PROVISIONING=y
CONFIG_NRF_PROVISIONING_HTTP=y
CONFIG_NRF_PROVISIONING_AUTO_START_ON_INIT=y
CONFIG_NRF_PROVISIONING_SCHEDULED=y
CONFIG_NRF_PROVISIONING_ROOT_CA_SEC_TAG=50
CONFIG_NRF_PROVISIONING_CBOR_RECORDS=20
CONFIG_NRF_PROVISIONING_RX_BUF_SZ=2048
CONFIG_NRF_PROVISIONING_SPREAD_S=5
CONFIG_NRF_PROVISIONING_STACK_SIZE=4096

CONFIG_HEAP_MEM_POOL_SIZE=16384
CONFIG_MAIN_STACK_SIZE=8192
";
const OVERLAY: &str = "\
CONFIG_NRF_PROVISIONING_HTTP_HOSTNAME=\"sectag.example\"
CONFIG_NRF_PROVISIONING_HTTP_PORT=8443
# CONFIG_NRF_PROVISIONING_WITH_CERT is not set
";

#[test]
fn a_project_with_an_overlay_configures_a_device() {
    let dir = tempfile::tempdir().unwrap();
    let (prj, overlay) = (dir.path().join("prj.conf"), dir.path().join("ours.conf"));
    std::fs::write(&prj, PRJ).unwrap();
    std::fs::write(&overlay, OVERLAY).unwrap();
    let kconfig = Kconfig::read(&[&prj, &overlay]).unwrap();
    let mut options = Options::ours();
    options.apply_kconfig(&kconfig);
    assert_eq!(options.http_hostname(), "sectag.example");
    assert_eq!(options.http_port(), Some(8443));
    assert!(!options.with_cert());
    assert_eq!(options.root_ca_tag().get(), 50);
    assert_eq!(options.get("records").unwrap().value, Value::Number(20));
    assert_eq!(
        options.get("spread-s").unwrap().source.to_string(),
        format!("{}:19", prj.display())
    );
    let unknown: Vec<_> = kconfig.unknown().map(|unknown| unknown.name).collect();
    assert_eq!(
        unknown,
        ["CONFIG_MODEM_JWT", "CONFIG_NRF_MODEM_LIB", "CONFIG_REBOOT"]
    );
}

#[test]
fn the_names_of_the_source_pages_are_all_known() {
    // The library's page, the exercise, the sample with its helper.
    let names = "AUTO_START_ON_INIT SCHEDULED VALID_DATE_TIME_TIMEOUT_SECONDS INTERVAL_S SPREAD_S INITIAL_BACKOFF \
                 ROOT_CA_SEC_TAG SAVE_CMD_ID CUSTOM_AT WITH_CERT RX_BUF_SZ TX_BUF_SZ JWT_SEC_TAG JWT_MAX_VALID_TIME_S \
                 PROVIDE_ATTESTATION_TOKEN STACK_SIZE SHELL SETTINGS_STORAGE_PATH HTTP_HOSTNAME HTTP_PORT HTTP_TIMEOUT_MS \
                 COAP_HOSTNAME COAP_PORT COAP_DTLS_SESSION_CACHE";
    for name in names.split_whitespace() {
        let name = format!("NRF_PROVISIONING_{name}");
        assert!(sectag_device::options::known(&name).is_some(), "{name}");
    }
    for name in [
        "MQTT_LIB_TLS",
        "MQTT_BROKER_PORT",
        "MQTT_BROKER_HOSTNAME",
        "MODEM_KEY_MGMT",
        "MQTT_TLS_SEC_TAG",
        "MQTT_HELPER_SEC_TAG",
        "MQTT_HELPER_PROVISION_CERTIFICATES",
    ] {
        let known = sectag_device::options::known(name).unwrap();
        assert!(matches!(known.here, Here::Sample(_)), "{name}");
    }
}

#[test]
fn what_has_no_effect_says_why() {
    for known in OPTIONS {
        assert!(known.effect.len() > 5, "{}", known.kconfig);
        assert!(!known.effect.ends_with('.'), "{}", known.kconfig);
    }
    let stack = sectag_device::options::known("NRF_PROVISIONING_STACK_SIZE").unwrap();
    assert_eq!(stack.here, Here::Nothing);
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Flag),
        any::<i64>().prop_map(Value::Number),
        "[ -~äß]{0,40}".prop_map(Value::Text),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Kconfig::default().add_bytes("prj.conf", &bytes);
    }

    #[test]
    fn almost_right_lines_are_read_or_refused(
        text in "((# )?(CONFIG_)?[A-Z_]{1,6}( is not set|=)?[\"\\\\yn0x-]{0,6}\r?\n){0,8}"
    ) {
        if let Err(error) = Kconfig::default().add("prj.conf", &text) {
            prop_assert!(error.to_string().starts_with("prj.conf:"));
        }
    }

    #[test]
    fn what_is_written_is_read_back(values in prop::collection::vec(value(), 0..12)) {
        let text: String = values
            .iter()
            .enumerate()
            .map(|(index, value)| format!("CONFIG_X_{index}={value}\n"))
            .collect();
        let mut kconfig = Kconfig::default();
        kconfig.add("prj.conf", &text).unwrap();
        for (index, value) in values.iter().enumerate() {
            let read = &kconfig.get(&format!("X_{index}")).unwrap().value;
            prop_assert_eq!(read, value);
        }
    }

    #[test]
    fn no_known_option_ever_holds_a_value_of_another_kind(
        index in 0..OPTIONS.len(),
        value in value(),
    ) {
        let known = &OPTIONS[index];
        let line = format!("CONFIG_{}={value}\n", known.kconfig);
        let mut kconfig = Kconfig::default();
        match kconfig.add("prj.conf", &line) {
            Ok(()) => prop_assert_eq!(known.kind.check(&value), Ok(())),
            Err(_) => prop_assert!(known.kind.check(&value).is_err()),
        }
        let mut options = Options::ours();
        options.apply_kconfig(&kconfig);
        for (known, chosen) in options.rows() {
            prop_assert_eq!(known.kind.check(&chosen.value), Ok(()));
            prop_assert!(!matches!(known.kind, Kind::Number(_, most) if most < 0));
        }
    }
}
