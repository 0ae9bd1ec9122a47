//! The vendor's own tools (nrfcloud-utils, unmodified but for how a serial port is found) against our service under the
//! vendor's host names: claim, bulk claim, rule onboarding, unclaim, claim-and-provision, and the registration of certificates
//! that the operator's own CA signed. The device is a virtual one on a pty, over HTTPS and over CoAP.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "nrfcloud/desk.rs"]
mod desk;
#[path = "../../crates/cli/tests/support/mod.rs"]
mod support;

use desk::{Desk, inside};
use serde_json::Value;
use support::Home;

/// The tools' default.
const SEC_TAG: &str = "16842753";

#[test]
fn claim_and_provision_over_https_ends_in_mqtt_with_a_certificate_of_our_own_ca() {
    inside(
        "claim_and_provision_over_https_ends_in_mqtt_with_a_certificate_of_our_own_ca",
        |desk| claim_and_provision(desk, "https"),
    );
}

#[cfg(feature = "coap")]
#[test]
fn claim_and_provision_over_coap_ends_in_mqtt_with_a_certificate_of_our_own_ca() {
    inside(
        "claim_and_provision_over_coap_ends_in_mqtt_with_a_certificate_of_our_own_ca",
        |desk| claim_and_provision(desk, "coap"),
    );
}

#[test]
fn rule_onboarding_by_tag() {
    inside("rule_onboarding_by_tag", onboarding);
}

#[test]
fn bulk_claim_from_gathered_tokens() {
    inside("bulk_claim_from_gathered_tokens", bulk_claim);
}

#[test]
fn onboarding_from_the_installer_s_csv() {
    inside("onboarding_from_the_installer_s_csv", onboard_from_csv);
}

fn uuid(home: &Home, name: &str) -> String {
    let printed = home
        .sectag(&["device", "uuid", "--name", name])
        .expect_code(0);
    printed.stdout.trim().to_owned()
}

/// Kinds and statuses of a device's commands.
fn commands(home: &Home, device: &str) -> Vec<(String, String)> {
    let list = home.json(&["commands", "list", device]);
    let kind = |item: &Value| {
        let request = item["request"].as_object().unwrap();
        request
            .keys()
            .find(|key| *key != "requestedAt")
            .unwrap()
            .clone()
    };
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| (kind(item), item["status"].as_str().unwrap().to_owned()))
        .collect()
}

fn all(status: &str, kinds: &[&str]) -> Vec<(String, String)> {
    let pair = |kind: &&str| ((*kind).to_owned(), status.to_owned());
    kinds.iter().map(pair).collect()
}

/// Publishes by the key and certificate under the tools' tag; the tools put the vendor's root CAs there, and our broker has
/// another.
fn publishes(desk: &Desk, name: &str) -> support::Output {
    let root = desk.home.path().join("ca/root.crt");
    desk.home
        .sectag(&[
            "creds",
            "--name",
            name,
            "write",
            SEC_TAG,
            "ROOT_CA_CERT",
            root.to_str().unwrap(),
        ])
        .expect_code(0);
    desk.home.sectag(&[
        "mqtt",
        "pub",
        "--name",
        name,
        "--sec-tag",
        SEC_TAG,
        "-t",
        "~/hello",
        "-m",
        "from a device of our own CA",
    ])
}

fn claim_and_provision(desk: &mut Desk, transport: &str) {
    desk.device("device-1", transport);
    let (ca, ca_key) = desk.own_ca();
    let key = desk.key();
    let said = desk.tool(
        "claim_and_provision_device",
        &[
            "--cmd-type",
            "at_shell",
            "--ca",
            &ca,
            "--ca-key",
            &ca_key,
            "--api-key",
            &key,
            "--unclaim",
            "-P",
            "--log-level",
            "debug",
        ],
    );
    for line in [
        "Device may not have been claimed before",
        "Claim device response: 201",
        "Onboarding API call response: 202",
        "Done.",
    ] {
        assert!(said.contains(line), "`{line}` is missing in\n{said}");
    }
    let device = uuid(&desk.home, "device-1");
    assert_eq!(
        commands(&desk.home, &device),
        all(
            "SUCCEEDED",
            &[
                "certificateSigningRequest",
                "clientCertificate",
                "serverCertificate",
                "finished"
            ]
        )
    );
    desk.off_the_ptys();
    let published = publishes(desk, "device-1");
    assert_eq!(published.code, Some(0), "{published:#?}\n{}", desk.log());

    // Once more from the beginning: this time there is something to unclaim.
    desk.device("device-1", transport);
    let said = desk.tool(
        "claim_and_provision_device",
        &[
            "--cmd-type",
            "at_shell",
            "--provisioning-tags",
            "somewhere",
            "--api-key",
            &key,
            "--unclaim",
            "-P",
        ],
    );
    assert!(said.contains("...success"), "{said}");
    assert_eq!(
        desk.home.json(&["devices", "show", &device])["tags"],
        serde_json::json!(["somewhere"])
    );
}

fn onboarding(desk: &mut Desk) {
    let key = desk.key();
    let roads = if cfg!(feature = "coap") {
        &["https", "coap"][..]
    } else {
        &["https"]
    };
    for (at, transport) in roads.iter().enumerate() {
        let name = format!("device-{transport}");
        desk.device(&name, transport);
        let said = desk.tool(
            "claim_and_provision_device",
            &[
                "--cmd-type",
                "at_shell",
                "--provisioning-tags",
                "nrf-cloud-onboarding",
                "--api-key",
                &key,
                "-P",
            ],
        );
        // The rule is made with the first device, and found with the second.
        assert_eq!(
            said.contains("Create provisioning rule response: 201"),
            at == 0,
            "{said}"
        );
        let device = uuid(&desk.home, &name);
        let expected = all(
            "SUCCEEDED",
            &[
                "clientPrivateKeyGeneration",
                "cloudAccessKeyGeneration",
                "serverCertificate",
                "finished",
            ],
        );
        desk.until("the rule's commands are done", |home| {
            commands(home, &device) == expected
        });
    }
}

fn bulk_claim(desk: &mut Desk) {
    let tokens = desk.path("tokens.csv");
    let mut ids = Vec::new();
    for name in ["device-1", "device-2", "device-3"] {
        desk.device(name, "https");
        desk.tool("gather_attestation_tokens", &["--csv", &tokens, "-P"]);
        ids.push(uuid(&desk.home, name));
    }
    desk.off_the_ptys();
    // A row that was damaged on the way does not spoil the others.
    let gathered = std::fs::read_to_string(&tokens).unwrap();
    let damaged = gathered.lines().next().unwrap().replace("2dn3", "2dn4");
    std::fs::write(&tokens, format!("{damaged}\n{gathered}")).unwrap();
    let key = desk.key();
    let said = desk.tool(
        "claim_devices",
        &[
            "--csv",
            &tokens,
            "--provisioning-tags",
            "north,cold",
            "--api-key",
            &key,
            "-P",
        ],
    );
    assert!(said.contains("3 of 4 devices claimed"), "{said}");
    let list = desk.home.json(&["devices", "list"]);
    let items = list["items"].as_array().unwrap();
    let mut claimed: Vec<&str> = items
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    claimed.sort_unstable();
    ids.sort();
    assert_eq!(claimed, ids);
    assert!(
        items
            .iter()
            .all(|item| item["tags"] == serde_json::json!(["north", "cold"])),
        "{items:?}"
    );
    // Ours reads the same file.
    let ours = desk.home.sectag(&["claim", "--json", "--from", &tokens]);
    assert_eq!(
        (ours.code, &ours.json()["claimed"]),
        (Some(1), &3.into()),
        "{ours:#?}"
    );
}

fn onboard_from_csv(desk: &mut Desk) {
    desk.device("device-1", "https");
    let (ca, ca_key) = desk.own_ca();
    let csv = desk.path("onboard.csv");
    let installed = desk.tool(
        "device_credentials_installer",
        &[
            "--ca",
            &ca,
            "--ca-key",
            &ca_key,
            "-S",
            SEC_TAG,
            "-d",
            "--verify",
            "--csv",
            &csv,
            "--cmd-type",
            "at_shell",
            "-P",
        ],
    );
    assert!(
        installed.contains("Credential verification: PASS"),
        "{installed}"
    );
    let key = desk.key();
    let tokens = desk.path("tokens.csv");
    desk.tool("gather_attestation_tokens", &["--csv", &tokens, "-P"]);
    desk.off_the_ptys();
    // A chain that ends in a stranger's CA opens nothing until the certificate is registered.
    let refused = publishes(desk, "device-1");
    assert_ne!(refused.code, Some(0), "{refused:#?}");
    let results = desk.path("results.csv");
    let said = desk.tool(
        "nrf_cloud_onboard",
        &["--csv", &csv, "--res", &results, "--api-key", &key, "-P"],
    );
    assert!(said.contains("Onboarding status: SUCCEEDED"), "{said}");
    let device = uuid(&desk.home, "device-1");
    let result = std::fs::read_to_string(&results).unwrap();
    assert!(result.contains(&device), "{result}");
    let published = publishes(desk, "device-1");
    assert_eq!(published.code, Some(0), "{published:#?}\n{}", desk.log());
    // Nobody has claimed it so far. Whoever registered it does, and its certificate stays good.
    desk.tool(
        "claim_devices",
        &["--csv", &tokens, "--api-key", &key, "-P"],
    );
    let published = publishes(desk, "device-1");
    assert_eq!(published.code, Some(0), "{published:#?}\n{}", desk.log());
    // For one device it looks first, and finds it.
    let known = desk.tool(
        "nrf_cloud_onboard",
        &[
            "--csv",
            &csv,
            "--chk",
            "--api-key",
            &key,
            "-P",
            "--log-level",
            "debug",
        ],
    );
    assert!(
        known.contains(&format!("GET /v1/devices/{device} HTTP/1.1\" 200")),
        "{known}"
    );
}
