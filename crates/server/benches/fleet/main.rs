//! What a question costs in a large fleet against a small one: the next commands of a device, and a page of the list.
//!
//! `cargo bench -p sectag-server --bench fleet`. Two homes, of a thousand and of a million devices with ten commands each, of
//! which three are open; made once through the store (a few minutes, about 4 GB) and kept in `target/bench`. Each is asked
//!
//! | where | what | target |
//! |---|---|---|
//! | at the store, warm | `queue` of a device, a page of ten by cursor, the same by tag | at most 2 × the small fleet |
//! | in SQLite | virtual machine steps of the same statements | equal |
//! | over HTTPS | a page over a connection kept alive, warm; `GET …/provisioning/commands` with a new one each | at most 1.2 × |
//! | from cold | opening home and service, up to the first page | under 2 s with the large fleet |
//!
//! The two are asked in turn, so that a busy machine slows both. `FLEET=10000` makes the large fleet smaller.
#![allow(clippy::unwrap_used, missing_docs)]

mod ask;
mod fleet;
mod steps;

use ask::Live;
use fleet::Fleet;
use std::time::{Duration, Instant};

/// Questions of a kind to each fleet.
const ROUNDS: usize = 2000;
/// Fetches over TLS, each with a handshake and a durable commit; the small fleet has no more devices that were never asked.
const FETCHES: usize = 400;
const COLD_TARGET: Duration = Duration::from_secs(2);

fn main() {
    let large = std::env::var("FLEET").map_or(1_000_000, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let fleets = [Fleet::of(1_000).await, Fleet::of(large).await];
        println!(
            "devices:   {:>12} {:>12}     commands: {} each",
            fleets[0].devices.len(),
            fleets[1].devices.len(),
            fleet::COMMANDS
        );
        println!("                small        large  ratio");
        at_the_store(&fleets).await;
        in_sqlite(&fleets);
        over_https(&fleets).await;
        from_cold(&fleets[1]).await;
    });
}

/// Asks both in turn, twice each device: the first time warms.
async fn at_the_store(fleets: &[Fleet; 2]) {
    let stores = [fleets[0].open(), fleets[1].open()];
    for what in fleet::QUESTIONS {
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            for (n, (fleet, store)) in fleets.iter().zip(&stores).enumerate() {
                fleet.ask(store, what, round).await;
                let begun = Instant::now();
                fleet.ask(store, what, round).await;
                times[n].push(begun.elapsed());
            }
        }
        judge(&format!("store, {what}"), times, 2.0);
    }
}

fn in_sqlite(fleets: &[Fleet; 2]) {
    for (what, statements) in steps::STATEMENTS {
        let [small, large] = [0, 1].map(|n| steps::of(&fleets[n], statements));
        let verdict = if small == large {
            "equal: reached"
        } else {
            "equal: missed"
        };
        println!(
            "{:<28} {small:>6} {large:>12}  steps ({verdict})",
            format!("SQLite, {what}")
        );
    }
}

async fn over_https(fleets: &[Fleet; 2]) {
    let services = [Live::start(&fleets[0]).await, Live::start(&fleets[1]).await];
    let mut times = [Vec::new(), Vec::new()];
    let mut owners = [services[0].owner().await, services[1].owner().await];
    for round in 0..ROUNDS {
        for n in [0, 1] {
            owners[n].page(&fleets[n], round).await;
            let begun = Instant::now();
            owners[n].page(&fleets[n], round).await;
            times[n].push(begun.elapsed());
        }
    }
    judge("HTTPS, list devices", times, 1.2);
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..FETCHES {
        for n in [0, 1] {
            let jwt = fleets[n].jwt(round);
            let begun = Instant::now();
            services[n].fetch(&jwt).await;
            times[n].push(begun.elapsed());
        }
    }
    judge("HTTPS, fetch next commands", times, 1.2);
    for service in services {
        service.end().await;
    }
}

async fn from_cold(fleet: &Fleet) {
    let how = match std::fs::write("/proc/sys/vm/drop_caches", "3") {
        Ok(()) => "from disk",
        Err(_) => "from the page cache",
    };
    let begun = Instant::now();
    let service = Live::start(fleet).await;
    let mut owner = service.owner().await;
    owner.page(fleet, 1).await;
    let took = begun.elapsed();
    service.end().await;
    println!(
        "cold start to the first page, {how}: {:.2} s (target {} s: {})",
        took.as_secs_f64(),
        COLD_TARGET.as_secs(),
        verdict(took < COLD_TARGET)
    );
}

/// Medians, and whether the large fleet's is near enough.
fn judge(what: &str, mut times: [Vec<Duration>; 2], target: f64) {
    let [small, large] = [0, 1].map(|n| {
        times[n].sort_unstable();
        times[n][times[n].len() / 2].as_secs_f64() * 1e6
    });
    let ratio = large / small;
    println!(
        "{what:<28} {small:>6.0} {large:>12.0}  {ratio:.2}  µs (target {target}: {})",
        verdict(ratio <= target)
    );
}

const fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "missed" }
}
