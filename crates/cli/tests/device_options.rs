//! What configures a device: the order of its sources, their mistakes, and whose root CA goes where.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

use sectag_device::options::{Here, OPTIONS};
use serde_json::Value;
use support::Home;

fn value<'a>(options: &'a Value, name: &str) -> (&'a Value, &'a str) {
    let items = options["items"].as_array().unwrap();
    let item = items.iter().find(|item| item["name"] == name).unwrap();
    (&item["value"], item["source"].as_str().unwrap())
}

#[test]
fn each_source_is_named_and_the_last_one_wins() {
    let home = Home::new();
    let folder = home.path().join("devices/device-1");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(
        folder.join("device.toml"),
        "interval-s = 10\nspread-s = 20\nrecords = 3\nhttp-hostname = \"a.example\"\n",
    )
    .unwrap();
    let prj = home.beside("prj.conf");
    std::fs::write(
        &prj,
        "CONFIG_NRF_PROVISIONING_SPREAD_S=30\nCONFIG_NRF_PROVISIONING_CBOR_RECORDS=4\nCONFIG_LOG=y\n",
    )
    .unwrap();
    let prj = prj.to_str().unwrap();
    let options = home.json(&[
        "device",
        "options",
        "--kconfig",
        prj,
        "-o",
        "records=5",
        "--host",
        "b.example",
    ]);
    let toml = folder.join("device.toml").display().to_string();
    assert_eq!(
        value(&options, "interval-s"),
        (&10.into(), format!("{toml}:1").as_str())
    );
    assert_eq!(
        value(&options, "spread-s"),
        (&30.into(), format!("{prj}:1").as_str())
    );
    assert_eq!(value(&options, "records"), (&5.into(), "-o records=5"));
    assert_eq!(
        value(&options, "http-hostname"),
        (&"b.example".into(), "--host b.example")
    );
    assert_eq!(value(&options, "rx-bytes"), (&1024.into(), "default"));
    assert_eq!(options["withoutEffect"][0]["kconfig"], "CONFIG_LOG");
    let faithful = home.json(&["device", "options", "--faithful", "--name", "other"]);
    assert_eq!(value(&faithful, "scheduled"), (&false.into(), "--faithful"));
}

#[test]
fn the_port_is_that_of_the_service_unless_somebody_says_otherwise() {
    let home = Home::new();
    let options = home.json(&["device", "options"]);
    assert_eq!(value(&options, "http-port"), (&8443.into(), "default"));
    let up = home.up(&[]);
    let options = home.json(&["device", "options"]);
    let port = up.listeners.device.port();
    assert_eq!(
        value(&options, "http-port"),
        (&port.into(), "the service of this home")
    );
    let options = home.json(&["device", "options", "--port", "7"]);
    assert_eq!(value(&options, "http-port"), (&7.into(), "--port 7"));
}

#[track_caller]
fn refuses(home: &Home, args: &[&str], stderr: &str) {
    let output = home.sectag(args).expect_code(2);
    let folder = home.path().parent().unwrap().display().to_string();
    assert_eq!(output.stderr.replace(&folder, "BESIDE"), stderr);
    assert_eq!(output.stdout, "");
}

/// With the feature nobody listens, without it nobody could.
#[cfg(not(feature = "coap"))]
#[test]
fn without_coap_the_transport_is_refused_with_its_place() {
    let home = Home::new();
    let prj = home.beside("prj.conf");
    let prj = prj.to_str().unwrap();
    std::fs::write(prj, "CONFIG_NRF_PROVISIONING_COAP=y\n").unwrap();
    for (flags, place) in [
        (["--kconfig", prj], "BESIDE/prj.conf:1"),
        (["--transport", "coap"], "--transport coap"),
    ] {
        refuses(
            &home,
            &[&["device", "run"][..], &flags].concat(),
            &format!(
                "error: {place}: CoAP is not built into this program\n\n\
                 hint: leave the transport out or give --transport https; or build with the feature `coap`, \
                 which needs clang, libclang and cmake\n"
            ),
        );
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    let home = Home::new();
    let prj = home.beside("prj.conf");
    let prj = prj.to_str().unwrap();
    std::fs::write(prj, "CONFIG_NRF_PROVISIONING_INTERVAL_S=\"60\"\n").unwrap();
    refuses(
        &home,
        &["device", "run", "--kconfig", prj],
        "error: BESIDE/prj.conf:1: CONFIG_NRF_PROVISIONING_INTERVAL_S: \"60\" is a text, not a number\n\n\
         hint: write the number without quotes: CONFIG_NRF_PROVISIONING_INTERVAL_S=60\n",
    );
    refuses(
        &home,
        &["device", "run", "-o", "coap-port=coaps"],
        "error: -o coap-port=coaps: `coap-port`: \"coaps\" is not a port from 1 to 65535\n\n\
         hint: write it as a text: coap-port = \"5684\"\n",
    );
    refuses(
        &home,
        &["device", "run", "-o", "https=n"],
        "error: -o https=n: no transport is left: `https` is n, and so is `coap`\n\n\
         hint: give --transport https, or --transport coap\n",
    );
    refuses(
        &home,
        &["device", "run", "-o", "intervall-s=60"],
        "error: -o intervall-s=60: there is no option `intervall-s`\n\nhint: did you mean `interval-s`?\n",
    );
    refuses(
        &home,
        &["device", "run", "-o", "jwt-validity-s=361"],
        "error: -o jwt-validity-s=361: `jwt-validity-s`: 361 is not within 0 to 360\n",
    );
    let folder = home.path().join("devices/device-1");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("device.toml"), "\nshel = true\n").unwrap();
    refuses(
        &home,
        &["device", "run"],
        "error: BESIDE/home/devices/device-1/device.toml:2: there is no option `shel`\n\nhint: did you mean `shell`?\n",
    );
}

#[test]
fn scheduled_needs_auto_start() {
    let home = Home::new();
    let _up = home.up(&[]);
    refuses(
        &home,
        &["device", "run", "--keep-running", "-o", "auto-start=n"],
        "error: SCHEDULED needs AUTO_START_ON_INIT\n\n\
         hint: set both, or neither: -o auto-start=y -o scheduled=y; `sectag device options` shows where each comes from\n",
    );
}

#[test]
fn a_near_miss_in_a_project_is_pointed_at() {
    let home = Home::new();
    let _up = home.up(&[]);
    let prj = home.beside("prj.conf");
    std::fs::write(
        &prj,
        "CONFIG_LOG=y\nCONFIG_NRF_PROVISIONING_INTERVAL=60\nCONFIG_NETWORKING=y\n",
    )
    .unwrap();
    let prj = prj.to_str().unwrap();
    let output = home
        .sectag(&["device", "run", "--kconfig", prj])
        .expect_code(1);
    let notes: Vec<&str> = output
        .stderr
        .lines()
        .filter(|line| line.starts_with("note:"))
        .collect();
    assert_eq!(
        notes,
        [
            format!("note: {prj}:2: CONFIG_NRF_PROVISIONING_INTERVAL is not known here and has no effect; did you mean CONFIG_NRF_PROVISIONING_INTERVAL_S?"),
            "note: 2 other option(s) of --kconfig are not known here and have no effect; `sectag device options` with the same flags lists them".to_owned(),
        ]
    );
}

#[test]
fn nothing_of_ours_is_written_for_the_vendors_service() {
    let home = Home::new();
    let _up = home.up(&[]);
    refuses(
        &home,
        &[
            "device",
            "run",
            "--host",
            "provisioning-http.nrfcloud.com",
            "--port",
            "1",
        ],
        "note: `provisioning-http.nrfcloud.com` is the vendor's, so nothing of this home is written under sec tag 50\n\
         error: no root CA lies under sec tag 50, and the root CA of this home is not the one of `provisioning-http.nrfcloud.com`\n\n\
         hint: give the service's root CA with --ca FILE, or write it there with `sectag creds write`\n",
    );
    refuses(
        &home,
        &["device", "run", "-o", "with-cert=n"],
        "error: no root CA lies under sec tag 50, and `with-cert` is n\n\n\
         hint: give the service's root CA with --ca FILE, or write it there with `sectag creds write`\n",
    );
    // Our own host: written into the empty tag, and from then on `with-cert` does not matter.
    home.sectag(&["device", "run"]).expect_code(1);
    home.sectag(&["device", "run", "-o", "with-cert=n"])
        .expect_code(1);
}

#[test]
fn every_flag_of_the_reference_page_exists() {
    let home = Home::new();
    let help = home
        .sectag(&["mqtt", "sample", "--help"])
        .expect_code(0)
        .stdout;
    for known in OPTIONS {
        if let Here::Sample(flags) = known.here {
            for flag in flags.split(", ").filter(|flag| !flag.is_empty()) {
                let there = help
                    .split(|c: char| c.is_whitespace() || c == ',')
                    .any(|word| word == flag);
                assert!(there, "CONFIG_{}: {flag}", known.kconfig);
            }
        }
    }
}
