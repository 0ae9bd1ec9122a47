//! When ten thousand clients come that are powered up together, and when those come back whom a busy service turned away.
//!
//! `cargo bench -p sectag-sim --bench herd`. The clock is virtual, so the figures are the same on every machine. A mean is
//! arrivals over the window in which a flat wave would come: the spread for the first wave, and for the retries the
//! time that it took to turn them away. Fails when ours is above the target.
#![allow(missing_docs)]

use sectag_proto::Uptime;
use sectag_proto::device::ClientConfig;
use sectag_sim::herd::{Arrival, arrivals, peak, peak_over_mean};
use std::process::ExitCode;
use std::time::Duration;

const CLIENTS: u64 = 10_000;
const SPREAD: Duration = Duration::from_secs(100);
const BUSY: Duration = Duration::from_secs(60);
const TARGET: f64 = 1.5;

fn main() -> ExitCode {
    println!("{CLIENTS} clients powered up together, 500 to everybody in the first 60 s");
    println!("                                        first wave       retries          both");
    println!("                                     peak/s  ratio    peak/s  ratio     peak/s");
    let ours = [
        row("spread 100 s (default)", ClientConfig::default(), None),
        row(
            "spread 100 s, Retry-After: 30",
            ClientConfig::default(),
            Some(Duration::from_secs(30)),
        ),
        row(
            "spread 100 s, Retry-After: 300",
            ClientConfig::default(),
            Some(Duration::from_secs(300)),
        ),
    ];
    row(
        "firmware (default, no spread)",
        ClientConfig::faithful(),
        None,
    );
    let spread = ClientConfig {
        spread: SPREAD,
        ..ClientConfig::faithful()
    };
    row("firmware, SPREAD_S=100", spread, None);
    let worst = ours.into_iter().fold(0.0, f64::max);
    let reached = worst <= TARGET;
    let word = if reached { "reached" } else { "missed" };
    println!("ratio: {worst:.2} (target {TARGET}: {word})");
    ExitCode::from(u8::from(!reached))
}

/// Prints one line; returns the larger ratio.
fn row(name: &str, config: ClientConfig, hint: Option<Duration>) -> f64 {
    let config = ClientConfig {
        auto_start: true,
        scheduled: true,
        ..config
    };
    let time = Duration::from_secs(1200);
    let is_busy = |now| now < Uptime(0).plus(BUSY);
    let all = arrivals(CLIENTS, &config, time, hint, is_busy);
    let (first, retries): (Vec<Arrival>, Vec<Arrival>) = all.iter().partition(|a| !a.again);
    let ratios = [
        peak_over_mean(&first, SPREAD),
        peak_over_mean(&retries, BUSY),
    ];
    println!(
        "{name:34}  {:7} {:6.2}   {:7} {:6.2}    {:7}",
        peak(&first),
        ratios[0],
        peak(&retries),
        ratios[1],
        peak(&all)
    );
    ratios[0].max(ratios[1])
}
