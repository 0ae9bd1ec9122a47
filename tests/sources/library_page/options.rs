//! L2: the options of the page.

use crate::desk::Desk;
use crate::support::Home;
use serde_json::{Value, json};

/// Options of the page: Kconfig name, our name, a value that is not the default.
const OPTIONS: [(&str, &str, &str); 23] = [
    ("AUTO_START_ON_INIT", "auto-start", "n"),
    ("SCHEDULED", "scheduled", "n"),
    ("VALID_DATE_TIME_TIMEOUT_SECONDS", "time-wait-s", "7"),
    ("INTERVAL_S", "interval-s", "3600"),
    ("SPREAD_S", "spread-s", "5"),
    ("INITIAL_BACKOFF", "backoff-s", "30"),
    ("ROOT_CA_SEC_TAG", "root-ca-sec-tag", "51"),
    ("SAVE_CMD_ID", "save-cmd-id", "n"),
    ("CUSTOM_AT", "custom-at", "y"),
    ("WITH_CERT", "with-cert", "n"),
    ("RX_BUF_SZ", "rx-bytes", "2048"),
    ("TX_BUF_SZ", "tx-bytes", "4096"),
    ("JWT_SEC_TAG", "jwt-sec-tag", "17"),
    ("JWT_MAX_VALID_TIME_S", "jwt-validity-s", "60"),
    (
        "PROVIDE_ATTESTATION_TOKEN",
        "provide-attestation-token",
        "n",
    ),
    ("SHELL", "shell", "y"),
    ("SETTINGS_STORAGE_PATH", "settings-path", "mine"),
    ("HTTP_HOSTNAME", "http-hostname", "device.example"),
    ("HTTP_PORT", "http-port", "444"),
    ("HTTP_TIMEOUT_MS", "http-timeout-ms", "1500"),
    ("COAP_HOSTNAME", "coap-hostname", "coap.example"),
    ("COAP_PORT", "coap-port", "5685"),
    ("COAP_DTLS_SESSION_CACHE", "coap-session-cache", "n"),
];
/// The one of the page without effect: the stack is the operating system's.
const WITHOUT_EFFECT: [(&str, &str); 1] = [("STACK_SIZE", "4096")];

/// Every option of the page by its own name and in a `prj.conf`.
#[test]
fn l2_each_option_works_by_both_names() {
    let home = Home::new();
    let mut by_name = vec!["device".to_owned(), "options".to_owned()];
    let mut project = String::new();
    for (kconfig, name, value) in OPTIONS {
        by_name.extend(["-o".to_owned(), format!("{name}={value}")]);
        let text = matches!(
            kconfig,
            "SETTINGS_STORAGE_PATH" | "HTTP_HOSTNAME" | "COAP_HOSTNAME" | "COAP_PORT"
        );
        let quote = if text { "\"" } else { "" };
        project += &format!("CONFIG_NRF_PROVISIONING_{kconfig}={quote}{value}{quote}\n");
    }
    for (kconfig, value) in WITHOUT_EFFECT {
        project += &format!("CONFIG_NRF_PROVISIONING_{kconfig}={value}\n");
    }
    let prj = home.beside("prj.conf");
    std::fs::write(&prj, project).unwrap();
    let prj = prj.to_str().unwrap();

    let by_name: Vec<&str> = by_name.iter().map(String::as_str).collect();
    let named = home.json(&by_name);
    let from_project = home.json(&["device", "options", "--kconfig", prj]);
    assert_eq!(
        from_project["withoutEffect"],
        json!([]),
        "all names are known"
    );
    for (line, (kconfig, name, value)) in OPTIONS.into_iter().enumerate() {
        let of = |list: &Value| {
            let items = list["items"].as_array().unwrap();
            let item = items.iter().find(|item| item["name"] == name).unwrap();
            let text = match &item["value"] {
                Value::Bool(on) => if *on { "y" } else { "n" }.to_owned(),
                Value::String(text) => text.clone(),
                number => number.to_string(),
            };
            (text, item["source"].as_str().unwrap().to_owned())
        };
        assert_eq!(
            of(&named),
            (value.to_owned(), format!("-o {name}={value}")),
            "{kconfig}"
        );
        let place = format!("{prj}:{}", line + 1);
        assert_eq!(of(&from_project), (value.to_owned(), place), "{kconfig}");
    }
}

/// What is without effect may stay in a `prj.conf`, and whoever types one is told why.
#[test]
fn l2_an_option_without_effect_says_why() {
    let home = Home::new();
    for (kconfig, value) in WITHOUT_EFFECT {
        let option = format!("CONFIG_NRF_PROVISIONING_{kconfig}={value}");
        let refused = home.sectag(&["device", "options", "-o", &option]);
        let why = "threads here have the stack that the operating system gives them";
        let sentence = format!("CONFIG_NRF_PROVISIONING_{kconfig} has no effect here: {why}");
        let refused = refused.expect_code(2);
        assert!(refused.stderr.contains(&sentence), "{refused:#?}");
    }
}

/// The table says effect and default of each.
#[test]
fn l2_the_reference_has_a_row_for_each_option() {
    let table = include_str!("../../../docs/reference/options.md");
    let row = |kconfig: &str| {
        let name = format!("`NRF_PROVISIONING_{kconfig}`");
        let row = table.lines().find(|line| line.contains(&name));
        row.unwrap_or_else(|| panic!("no row for {kconfig}"))
    };
    for (kconfig, name, _) in OPTIONS {
        assert!(row(kconfig).starts_with(&format!("| `{name}` |")));
    }
    let begun = |text: &str| table.find(text).unwrap();
    for (kconfig, _) in WITHOUT_EFFECT {
        assert!(begun(row(kconfig)) > begun("## Accepted, without effect"));
    }
}

/// WITH_CERT writes the root CA of *our* service, and only when the hostname is ours.
#[test]
fn l2_with_cert_writes_our_root_ca_for_our_host_only() {
    let desk = Desk::new();
    let under = |tag: &str| {
        let read = ["creds", "read", tag, "ca"];
        desk.home.sectag(&read).stdout
    };
    let vendor = "provisioning-http.nrfcloud.com";
    let refused = desk.session(&["--host", vendor, "-o", "root-ca-sec-tag=51"]);
    assert!(
        refused.stderr.contains(
            "is the vendor's, so nothing of this home is written under sec tag 51\n\
             error: no root CA lies under sec tag 51"
        ),
        "{refused:#?}"
    );
    let off = ["-o", "root-ca-sec-tag=51", "-o", "with-cert=n"];
    let refused = desk.session(&off).expect_code(2);
    assert!(
        refused.stderr.contains("and `with-cert` is n"),
        "{refused:#?}"
    );
    assert_eq!(under("51"), "");

    desk.session(&["-o", "root-ca-sec-tag=51"]).expect_code(0);
    assert_eq!(under("51").trim(), desk.home.read("ca/root.crt").trim());
}
