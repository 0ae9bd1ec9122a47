//! What CoAP over DTLS costs: requests, handshakes, memory, and conduct under a flood, each beside a peer or a floor of the
//! same run.
//!
//! `cargo bench -p sectag-server --bench coap_load [-- plain dtls handshakes memory flood]`. Servers are processes of their
//! own, so their memory and CPU time are theirs alone; this process is the load. Rates are per second of the server's CPU:
//! on two shared cores the clock on the wall also measures the load.
//!
//! Peers: `coap-server-notls` (libcoap) for requests, `openssl s_server` for handshakes. A part whose peer is missing says so.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]
#![expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]

mod load;
mod process;
mod servers;

use load::{Device, Load, Papers};
use process::Child;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long each rate is measured.
const TIME: Duration = Duration::from_secs(4);
/// Requests out at once, as many as would come from as many devices.
const WINDOW: usize = 64;
/// Sessions that share them over DTLS.
const SESSIONS: usize = 16;
/// Concurrent sessions of the memory part.
const CROWD: usize = 10_000;
/// Handshakes under way at once when their rate is measured.
const AT_ONCE: usize = 32;
/// The flood against the rate of full handshakes.
const FLOOD: f64 = 10.0;

const PLAIN_MIN: f64 = 0.5;
const DTLS_MIN: f64 = 0.5;
const GOOD_PUT_MIN: f64 = 0.8;
const SESSION_BYTES_MAX: f64 = 10_000.0;

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    if let [role, rest @ ..] = words.as_slice()
        && let Some(role) = role.strip_prefix("serve-")
    {
        return servers::serve(role, rest);
    }
    let wanted = |part: &str| words.is_empty() || words.iter().any(|word| word == part);
    let folder = tempfile::tempdir().unwrap();
    let papers = Papers::new(folder.path());
    if wanted("plain") {
        requests_plain();
    }
    if wanted("dtls") {
        requests_dtls(&papers);
    }
    if wanted("handshakes") {
        handshakes(&papers, folder.path());
    }
    if wanted("memory") {
        memory(&papers);
    }
    if wanted("flood") {
        flood(&papers);
    }
}

fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "missed" }
}

/// A port that was free a moment ago, for a server that cannot say which it got.
fn free_port() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.local_addr().unwrap().port()
}

fn have(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    found.map(|mut child| child.wait()).is_ok()
}

/// Confirmable GETs of a small text over plain UDP, beside libcoap's example server, which has the text at its root.
fn requests_plain() {
    println!(
        "CoAP requests, plain UDP, {WINDOW} at once, {} bytes of answer",
        servers::TEXT.len()
    );
    let ours = Child::ours("plain", &[]);
    let (mine, wall) = measured(&ours, || {
        load::plain(ours.address, load::ROOT, WINDOW, TIME)
    });
    println!("  sectag-coap                    {mine:>9.0} /CPU s   {wall:>9.0} /s");
    if !have("coap-server-notls") {
        println!("  libcoap: no coap-server-notls here (Debian: libcoap3-bin)");
        return;
    }
    let port = free_port();
    let mut command = Command::new("coap-server-notls");
    command.args(["-A", "127.0.0.1", "-p", &port.to_string()]);
    let libcoap = Child::foreign(command, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    load::wait_for_coap(libcoap.address);
    let (theirs, wall) = measured(&libcoap, || {
        load::plain(libcoap.address, load::ROOT, WINDOW, TIME)
    });
    println!("  coap-server-notls              {theirs:>9.0} /CPU s   {wall:>9.0} /s");
    let ratio = mine / theirs;
    println!(
        "  ratio: {ratio:.2} (target {PLAIN_MIN}: {})",
        verdict(ratio >= PLAIN_MIN)
    );
}

/// What a device asks, with and without DTLS: the same request, the same answer.
fn requests_dtls(papers: &Papers) {
    for (what, role, answer) in [
        ("an empty answer, as when nothing is queued", "idle", 0),
        ("an answer with a text", "text", servers::TEXT.len()),
    ] {
        println!("GET p/cmd?after=, {what} ({answer} bytes), {WINDOW} at once");
        let plain = Child::ours("plain", &[role]);
        let (bare, wall) = measured(&plain, || {
            load::plain(plain.address, load::COMMANDS, WINDOW, TIME)
        });
        println!("  plain UDP                      {bare:>9.0} /CPU s   {wall:>9.0} /s");
        let dtls = Child::ours("dtls", &[papers.folder(), role]);
        let mut load = Load::connect(papers, dtls.address, SESSIONS, &[]);
        let (rate, wall) = measured(&dtls, || load.requests(WINDOW, TIME));
        println!("  DTLS, CID, {SESSIONS} sessions          {rate:>9.0} /CPU s   {wall:>9.0} /s");
        let ratio = rate / bare;
        println!(
            "  ratio: {ratio:.2} (target {DTLS_MIN}: {})",
            verdict(ratio >= DTLS_MIN)
        );
    }
}

/// Full handshakes in a row, ECDHE-ECDSA-AES128-GCM, P-256, cookie exchange included.
fn handshakes(papers: &Papers, folder: &Path) {
    println!("full handshakes, one after the other");
    let ours = Child::ours("dtls", &[papers.folder()]);
    let (mine, wall) = measured(&ours, || load::handshakes(papers, ours.address, TIME));
    println!("  sectag-dtls (Mbed TLS)         {mine:>9.0} /CPU s   {wall:>9.0} /s");
    if !have("openssl") {
        println!("  OpenSSL: not here");
        return;
    }
    let port = free_port();
    let mut command = Command::new("openssl");
    command
        .args([
            "s_server",
            "-dtls1_2",
            "-quiet",
            "-accept",
            &format!("127.0.0.1:{port}"),
        ])
        .args([
            "-cert",
            "chain.pem",
            "-key",
            "server.key",
            "-cert_chain",
            "chain.pem",
            "-no_ticket",
        ])
        .current_dir(folder)
        .stdin(Stdio::piped());
    let theirs = Child::foreign(command, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    std::thread::sleep(Duration::from_millis(300));
    let (rate, wall) = measured(&theirs, || load::handshakes(papers, theirs.address, TIME));
    println!("  openssl s_server               {rate:>9.0} /CPU s   {wall:>9.0} /s");
    println!("  ratio: {:.2}", mine / rate);
}

/// What 10,000 idle sessions with Connection ID add to the resident memory of the whole service.
fn memory(papers: &Papers) {
    println!("{CROWD} concurrent sessions with Connection ID at the service");
    let service = Child::ours("service", &[papers.folder()]);
    let papers = papers.of_service(&service);
    // What the first few allocate for all is not theirs.
    let tokens = Papers::tokens(&service);
    let warm = Load::connect(&papers, service.address, 200, &tokens);
    let before = service.resident_bytes();
    let began = Instant::now();
    let crowd = Load::connect(&papers, service.address, CROWD, &tokens);
    let took = began.elapsed();
    let after = service.resident_bytes();
    let each = (after - before) as f64 / CROWD as f64;
    println!(
        "  resident before {} kB, with {CROWD} more {} kB, in {:.1} s",
        before / 1000,
        after / 1000,
        took.as_secs_f64()
    );
    println!(
        "  per session: {each:.0} bytes (target {SESSION_BYTES_MAX}: {})",
        verdict(each <= SESSION_BYTES_MAX)
    );
    drop((warm, crowd));
}

/// Devices at work, alone and while ten times as many ClientHellos as the service can complete come from invented addresses.
fn flood(papers: &Papers) {
    println!("spoofed ClientHellos at {FLOOD} times the rate of full handshakes");
    let service = Child::ours("service", &[papers.folder()]);
    let papers = papers.of_service(&service);
    let full = load::handshakes_at_once(&papers, service.address, AT_ONCE, TIME);
    // Half of what the service can do, so that good clients are limited by the flood and not by themselves.
    let offered = full / 2.0;
    let mut device = Device::new(&papers, service.address);
    device.work(offered, Duration::from_secs(1));
    let alone = device.work(offered, TIME);
    let resident = service.resident_bytes();
    let hellos = load::Flood::start(service.address, full * FLOOD);
    std::thread::sleep(Duration::from_millis(500));
    let flooded = device.work(offered, TIME);
    let under = service.resident_bytes();
    let sent = hellos.stop();
    println!("  full handshakes, alone         {full:>9.0} /s");
    println!("  offered by good clients        {offered:>9.0} /s, each a handshake and a request");
    println!("  ClientHellos of the flood      {:>9.0} /s", sent);
    println!("  good-put alone                 {alone:>9.0} /s");
    println!("  good-put in the flood          {flooded:>9.0} /s");
    let ratio = flooded / alone;
    println!(
        "  ratio: {ratio:.2} (target {GOOD_PUT_MIN}: {})",
        verdict(ratio >= GOOD_PUT_MIN)
    );
    println!(
        "  resident before {} kB, in the flood {} kB",
        resident / 1000,
        under / 1000
    );
}

/// What `work` completed per second of the server's CPU, and per second.
fn measured(server: &Child, work: impl FnOnce() -> usize) -> (f64, f64) {
    let (cpu, began) = (server.cpu(), Instant::now());
    let done = work() as f64;
    let wall = began.elapsed().as_secs_f64();
    let cpu = (server.cpu() - cpu).as_secs_f64();
    (done / cpu.max(0.01), done / wall)
}
