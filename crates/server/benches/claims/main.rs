//! Claims per second against what this machine allows, and what an owner's write over HTTPS costs, in one run.
//!
//! `cargo bench -p sectag-server --bench claims`. A claim tries four keys (two conventions, two candidates each) and is durable
//! before it is answered. The bound is the smaller of what the cores recover and what the store commits of the same rows,
//! each measured alone. The owner's writes are commands queued over TLS connections that are kept alive; client and
//! service share the machine. Where valgrind is installed, a service in a process of its own is run under callgrind, and the
//! three functions that take most of such a write are named.
#![allow(clippy::unwrap_used, missing_docs)]

mod owner;
mod profile;

use owner::{Door, Writes};
use sectag_pki::PrivateKey;
use sectag_proto::cose::Convention;
use sectag_proto::es256::{PublicKey, SignEs256, Signature};
use sectag_proto::token::{AttestationToken, DeviceType};
use sectag_proto::{DeviceId, FirmwareId};
use sectag_server::app::{BULK_ROWS_MAX, Caller, ClaimRequest, recovery_cores};
use sectag_server::{Config, Home, Service, system_clock};
use sectag_store::{NewClaim, Role, SealKey, SqliteStore, Store, View};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Devices claimed, and of them those whose keys are recovered alone.
const DEVICES: u32 = 10_000;
const RECOVERED: u32 = 1_500;
/// Claims at the store's door at the same time.
const WRITERS: usize = 256;
const TARGET: f64 = 0.6;
/// How long owner's writes are measured.
const TIME: Duration = Duration::from_secs(4);

struct Key(PrivateKey);

impl SignEs256 for Key {
    fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).unwrap())
    }

    fn public_key(&self) -> PublicKey {
        PublicKey::from_spki_der(&self.0.spki_der()).unwrap()
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, home] = &arguments[..]
        && word == profile::SERVE
    {
        return profile::serve(Path::new(home));
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let key = Key(PrivateKey::generate().unwrap());
    let tokens: Arc<Vec<AttestationToken>> =
        Arc::new((0..DEVICES).map(|n| token(n, &key)).collect());

    let recoveries = recoveries(&tokens);
    let commits = commits(&folder.path().join("store"), &tokens).await;
    let home = folder.path().join("home");
    let service = start(&home).await;
    let claims = claims(&service, &tokens).await;
    let cores = recovery_cores();
    let bound = (recoveries * cores as f64).min(commits);
    println!("four keys recovered, one core:    {recoveries:>9.0} /s");
    println!(
        "the same, {cores} cores:               {:>9.0} /s",
        recoveries * cores as f64
    );
    println!("durable claims, keys known:       {commits:>9.0} /s");
    println!("bound, claims:                    {bound:>9.0} /s");
    println!("claims in calls of {BULK_ROWS_MAX}:          {claims:>9.0} /s");
    let ratio = claims / bound;
    let verdict = if ratio >= TARGET { "reached" } else { "missed" };
    println!("ratio: {ratio:.2} (target {TARGET}: {verdict})\n");

    let door = Door::of(&home);
    let writes = Writes::new(door, tokens.iter().map(|token| token.device).collect());
    let (rate, connections) = writes.for_a_while(TIME).await;
    println!("owner's writes over HTTPS, {connections} connections kept alive: {rate:>6.0} /s");
    service.shutdown().await;
    for line in profile::of_writes(&home, writes).await {
        println!("{line}");
    }
}

fn token(n: u32, key: &Key) -> AttestationToken {
    let mut id = [0x40; 16];
    // Devices do not come in the order of their ids.
    id[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_be_bytes());
    AttestationToken::sign(
        DeviceId::from_bytes(id),
        DeviceType::NRF9151_LACA,
        FirmwareId::from_bytes([7; 16]),
        [9; 16],
        Convention::BodyIsAad,
        key,
    )
}

async fn start(home: &Path) -> Service {
    let mut config = Config::new(Home::open(home, system_clock()()).unwrap());
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    (config.owner, config.loopback, config.device, config.mqtt) = (any, any, any, any);
    config.coap = any;
    Service::start(config).await.unwrap()
}

/// Tokens whose four keys one core recovers in a second.
fn recoveries(tokens: &[AttestationToken]) -> f64 {
    let begun = Instant::now();
    for token in &tokens[..RECOVERED as usize] {
        assert!(token.candidates().unwrap().len() >= 2);
    }
    f64::from(RECOVERED) / begun.elapsed().as_secs_f64()
}

/// Claims that the store commits in a second when the keys are known.
async fn commits(folder: &Path, tokens: &Arc<Vec<AttestationToken>>) -> f64 {
    std::fs::create_dir(folder).unwrap();
    let store = SqliteStore::open(&folder.join("sectag.db"), SealKey::new(&[7; 32])).unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    // The same keys for all: what is stored has the same size.
    let candidates = tokens[0].candidates().unwrap();
    let begun = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, tokens, candidates) = (store.clone(), tokens.clone(), candidates.clone());
        writers.spawn(async move {
            for token in tokens.iter().skip(writer).step_by(WRITERS) {
                let claim = NewClaim {
                    device: token.device,
                    candidates: candidates.clone(),
                    device_type: token.device_type,
                    firmware: token.firmware,
                    tags: Vec::new(),
                    view: View::of("bench"),
                    reserved: true,
                    by: "bench".to_owned(),
                    accept_new_key: false,
                    claimed_at: system_clock()(),
                };
                store.claim(claim).await.unwrap();
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    f64::from(DEVICES) / begun.elapsed().as_secs_f64()
}

/// Claims of a second, through the use case of a bulk call.
async fn claims(service: &Service, tokens: &[AttestationToken]) -> f64 {
    let caller = Caller {
        name: "owner".to_owned(),
        role: Role::Owner,
        team: service.home().owner_id(),
        scope: Vec::new(),
        sees_reserved: true,
    };
    let calls: Vec<Vec<ClaimRequest>> = tokens
        .chunks(BULK_ROWS_MAX)
        .map(|rows| {
            let row = |token: &AttestationToken| ClaimRequest {
                token: token.text(),
                tags: Vec::new(),
                accept_new_key: false,
            };
            rows.iter().map(row).collect()
        })
        .collect();
    let begun = Instant::now();
    for rows in calls {
        for answer in service.app().claim_many(rows, &caller).await.unwrap() {
            answer.unwrap();
        }
    }
    f64::from(DEVICES) / begun.elapsed().as_secs_f64()
}
