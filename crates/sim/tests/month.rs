//! A month on air costs what docs/performance.md says: ours against the firmware's, which resumes its sessions.
#![cfg(feature = "coap")]

use sectag_sim::month::{Carrier, RUNS, month};

/// Ours over the firmware's without keep-open.
const BYTES_RATIO_MAX: f64 = 0.55;
const HANDSHAKES_RATIO_MAX: f64 = 0.1;

#[test]
fn a_month_of_ours_is_at_most_half_of_the_firmwares() {
    let (firmware, ours) = (month(Carrier::Firmware), month(Carrier::Ours));
    assert_eq!((firmware.runs, ours.runs), (RUNS.into(), RUNS.into()));
    assert_eq!(ours.handshakes, 1, "one session for a month");
    assert_eq!(
        firmware.resumed,
        firmware.handshakes - 1,
        "its cache works, so it is judged at its best"
    );
    let bytes = ours.on_air() as f64 / firmware.on_air() as f64;
    let handshakes = ours.handshakes as f64 / firmware.handshakes as f64;
    assert!(bytes <= BYTES_RATIO_MAX, "{ours:?} against {firmware:?}");
    assert!(handshakes <= HANDSHAKES_RATIO_MAX, "{handshakes}");
}

#[test]
fn https_costs_more_than_either() {
    let https = month(Carrier::Https);
    for carrier in [Carrier::Firmware, Carrier::FirmwareKeepOpen, Carrier::Ours] {
        assert!(month(carrier).on_air() < https.on_air(), "{carrier:?}");
    }
}
