//! A month on air: what thirty daily runs of a device cost over HTTPS and over CoAP, the firmware's way and ours.
//!
//! `cargo bench -p sectag-sim --bench month`. The clock is virtual and nothing is lost, so the figures are the same on every
//! machine but for a few bytes of signatures. Bytes on air are both ways, with IP and UDP headers (28 bytes a datagram) or
//! IP and TCP headers; link layers are not counted. Fails when ours is above a target.
#![allow(missing_docs)]

use sectag_sim::month::{Bill, Carrier, RUNS, cold_run, month};
use std::process::ExitCode;

const BYTES_TARGET: f64 = 0.55;
const HANDSHAKES_TARGET: f64 = 0.1;

fn main() -> ExitCode {
    println!("{RUNS} daily runs, the first of which provisions (root, closed loop, finished)");
    let [_, firmware, _, ours] = table(month);
    println!();
    println!("one cold run that provisions");
    table(|carrier| cold_run(carrier, true));
    println!();
    println!("one cold run that finds nothing");
    table(|carrier| cold_run(carrier, false));
    println!();
    let bytes = ours.on_air() as f64 / firmware.on_air() as f64;
    let handshakes = ours.handshakes as f64 / firmware.handshakes as f64;
    let reached = [
        judge("bytes, ours / firmware", bytes, BYTES_TARGET),
        judge("handshakes, ours / firmware", handshakes, HANDSHAKES_TARGET),
    ];
    ExitCode::from(u8::from(reached.contains(&false)))
}

fn table(run: impl Fn(Carrier) -> Bill) -> [Bill; 4] {
    println!(
        "                             bytes  packets  handshakes  resumed    headers  handshakes  records    words  payload"
    );
    Carrier::ALL.map(|carrier| {
        let bill = run(carrier);
        println!(
            "{:26} {:7} {:8} {:11} {:8} {:10} {:11} {:8} {:8} {:8}",
            carrier.name(),
            bill.on_air(),
            bill.packets,
            bill.handshakes,
            bill.resumed,
            bill.header_bytes,
            bill.handshake_bytes,
            bill.record_bytes,
            bill.words_bytes,
            bill.payload_bytes
        );
        bill
    })
}

fn judge(name: &str, ratio: f64, target: f64) -> bool {
    let reached = ratio <= target;
    let word = if reached { "reached" } else { "missed" };
    println!("{name}: {ratio:.3} (target {target}: {word})");
    reached
}
