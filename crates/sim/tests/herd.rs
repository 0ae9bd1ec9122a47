//! Ten thousand clients powered up together do not come together, and do not come back together.

use sectag_proto::Uptime;
use sectag_proto::device::ClientConfig;
use sectag_sim::herd::{Arrival, arrivals, peak, peak_over_mean};
use std::time::Duration;

const CLIENTS: u64 = 10_000;
const SPREAD: Duration = Duration::from_secs(100);
const BUSY: Duration = Duration::from_secs(60);
const RATIO_MAX: f64 = 1.5;

fn herd(config: ClientConfig, hint: Option<Duration>) -> (Vec<Arrival>, Vec<Arrival>) {
    let config = ClientConfig {
        auto_start: true,
        scheduled: true,
        ..config
    };
    let time = Duration::from_secs(600);
    let all = arrivals(CLIENTS, &config, time, hint, |now| {
        now < Uptime(0).plus(BUSY)
    });
    all.into_iter().partition(|arrival| !arrival.again)
}

#[test]
fn the_first_wave_and_the_retries_are_flat() {
    let (first, retries) = herd(ClientConfig::default(), None);
    assert_eq!(first.len(), 10_000);
    let ratio = peak_over_mean(&first, SPREAD);
    assert!(ratio <= RATIO_MAX, "first wave: {ratio:.2}");
    let turned_away = first.iter().filter(|arrival| arrival.turned_away).count();
    assert!((5500..6200).contains(&turned_away), "{turned_away}");
    assert_eq!(retries.len(), turned_away, "nobody comes back twice");
    let ratio = peak_over_mean(&retries, BUSY);
    assert!(ratio <= RATIO_MAX, "retries: {ratio:.2}");
    let mut all = first;
    all.extend(retries);
    assert!(peak(&all) <= 150, "never more than the spread allows");
}

#[test]
fn a_hint_for_everybody_is_no_appointment() {
    let (first, retries) = herd(ClientConfig::default(), Some(Duration::from_secs(30)));
    let earliest = retries.iter().map(|arrival| arrival.at).min();
    assert!(earliest > first.iter().map(|arrival| arrival.at).min());
    let ratio = peak_over_mean(&retries, BUSY);
    assert!(ratio <= RATIO_MAX, "retries: {ratio:.2}");
}

#[test]
fn the_firmware_comes_all_at_once_and_back_all_at_once() {
    let (first, retries) = herd(ClientConfig::faithful(), None);
    assert!(peak_over_mean(&first, SPREAD) > 40.0);
    assert_eq!(retries.len(), 10_000);
    assert!(peak_over_mean(&retries, BUSY) > 25.0);
}
