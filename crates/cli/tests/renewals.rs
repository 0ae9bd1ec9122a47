//! A renewal from the command line: forecast, the device's next session, the switch to the other tag, the proof.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

use serde_json::Value;
use std::time::{Duration, Instant};
use support::Home;

/// States of a device's certificates, oldest first.
fn states(home: &Home, device: &str) -> Vec<String> {
    let found = home.json(&["renewals", device]);
    let lives = found["certificates"].as_array().unwrap().clone();
    let state = |life: &Value| format!("{} {}", life["secTag"], life["state"].as_str().unwrap());
    lives.iter().map(state).collect()
}

/// A connection is written down beside it, a moment later.
fn becomes(home: &Home, device: &str, expected: &[&str]) {
    let patience = Instant::now() + Duration::from_secs(20);
    while states(home, device) != expected {
        assert!(Instant::now() < patience, "{:?}", states(home, device));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_device_is_renewed_into_another_tag_and_connects_from_there() {
    let home = Home::new();
    let _up = home.up(&[]);
    let empty = home.sectag(&["renewals"]).expect_code(0);
    assert!(
        empty.stderr.starts_with("no renewal is under way"),
        "{empty:?}"
    );
    // A certificate of a day that is renewed after a hundredth of it, so at once: it begins an hour before it was made.
    home.sectag(&[
        "rules",
        "create",
        "--name",
        "field",
        "--tag",
        "field",
        "--onboard=42",
        "--validity-days",
        "1",
        "--renew=1",
        "--renew-into",
        "43",
        "--active",
    ])
    .expect_code(0);
    let token = home.sectag(&["device", "token"]).expect_code(0).stdout;
    let claimed = home.json(&["claim", token.trim(), "--tag", "field"]);
    let device = claimed["id"].as_str().unwrap();
    home.sectag(&["device", "run"]).expect_code(0);
    let publish = |tags: &[&str]| {
        let mut args = vec![
            "mqtt",
            "pub",
            "--name",
            "device-1",
            "--topic",
            "~/a",
            "--message",
            "x",
        ];
        args.extend(tags);
        home.sectag(&args).expect_code(0)
    };
    publish(&["--sec-tag", "42"]);
    becomes(&home, device, &["42 used"]);
    let forecast = home
        .sectag(&["forecast", "--all", "--check"])
        .expect_code(0);
    assert!(
        forecast
            .stdout
            .starts_with("WITHIN   END  AT RISK  WHY\n30 days  1    0        -\n"),
        "{forecast:?}"
    );
    assert!(forecast.stdout.contains("is renewed from "), "{forecast:?}");

    home.sectag(&["device", "run"]).expect_code(0);
    assert_eq!(states(&home, device), ["42 used", "43 written"]);
    let under_way = home.sectag(&["renewals"]).expect_code(0).stdout;
    assert!(
        under_way.contains(" connect ") && under_way.contains(device),
        "{under_way}"
    );
    // Without --sec-tag: where the renewal told the device to look.
    publish(&[]);
    becomes(&home, device, &["42 superseded", "43 used"]);
    let shown = home.sectag(&["renewals", device]).expect_code(0).stdout;
    assert!(shown.contains("alternate  done"), "{shown}");

    home.sectag(&["rules", "delete", "field"]).expect_code(0);
    let risk = home.sectag(&["forecast", "--check"]).expect_code(1);
    assert!(risk.stdout.contains("no rule renews it"), "{risk:?}");
    assert!(
        risk.stderr.contains("error: 1 certificates need somebody"),
        "{risk:?}"
    );
}

#[test]
fn mistakes_are_told_with_what_is_expected() {
    let home = Home::new();
    let _up = home.up(&[]);
    for days in ["60,30", "x", "0", ""] {
        let wrong = home.sectag(&["forecast", "--days", days]).expect_code(1);
        assert!(
            wrong.stderr.contains("such as 30,60,90"),
            "{days}: {wrong:?}"
        );
    }
    let unknown = home.sectag(&["renewals", "nobody"]).expect_code(1);
    assert!(
        unknown.stderr.contains("no claimed device `nobody`"),
        "{unknown:?}"
    );
}
