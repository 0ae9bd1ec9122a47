//! A year with renewal on: nobody is ever without a certificate; and a week of failing renewals that was told in time.
#![allow(clippy::unwrap_used)]

use sectag_proto::Timestamp;
use sectag_server::app::ForecastQuery;
use sectag_sim::town::BEGIN;
use sectag_sim::year::{DAY, OTHER_TAG, TAG, Year};
use sectag_store::AuditRecord;
use serde_json::json;
use std::time::Instant;

const DAYS: u32 = 365;

/// Root CA, key and certificate under [`TAG`], and renewal.
async fn rule(year: &Year, tag: &str, validity_days: u32, into: serde_json::Value) {
    let root = year.root_pem();
    year.rule(json!({
        "name": tag,
        "active": true,
        "tags": [tag],
        "commands": [
            {"request": {"serverCertificate": {"secTag": TAG, "content": root}}},
            {"request": {"certificateSigningRequest": {"secTag": TAG, "attributes": "CN={{device.id}}", "keyUsage": "101010000", "issue": {"validityDays": validity_days}}}},
        ],
        "renewal": {"into": into},
    }))
    .await;
}

fn alternate() -> serde_json::Value {
    json!({"alternate": {"secTag": OTHER_TAG}})
}

async fn audit(year: &Year, action: &str) -> Vec<AuditRecord> {
    let store = year.app().store();
    let mut found = Vec::new();
    let mut before = None;
    loop {
        let page = store.audit(None, before, 1000).await.unwrap();
        found.extend(page.items.into_iter().filter(|r| r.event.action == action));
        match page.next {
            Some(next) => before = Some(next),
            None => {
                found.reverse();
                return found;
            }
        }
    }
}

fn windows(days: &[u32]) -> ForecastQuery {
    ForecastQuery {
        windows: days.to_vec(),
        all: false,
        after: None,
        limit: 100,
    }
}

fn day_of(at: Timestamp) -> u32 {
    u32::try_from(at.since(BEGIN).as_secs() / DAY.as_secs()).unwrap()
}

#[tokio::test]
async fn in_a_year_of_losses_and_absences_nobody_is_without_a_certificate() {
    let started = Instant::now();
    let mut year = Year::begin(7).await;
    year.lost = 12;
    rule(&year, "in-place", 60, json!("inPlace")).await;
    rule(&year, "alternate", 90, alternate()).await;
    const FLEET: u32 = 60;
    for n in 0..FLEET {
        let tag = if n % 2 == 0 { "in-place" } else { "alternate" };
        let member = year.join(tag, 1 + n % 5).await;
        // Two absences of up to ten days, at times of its own.
        for part in 0..2 {
            let from = 20 + part * 170 + (n * 37) % 150;
            member.away.push(from..from + 1 + (n * 7) % 10);
        }
    }
    for _ in 0..DAYS {
        year.live_a_day().await;
    }
    for member in &year.fleet {
        let id = member.id();
        assert!(member.settled, "{id} never connected");
        assert!(member.outages.is_empty(), "{id}: {:?}", member.outages);
        let history = year.app().store().life_history(id).await.unwrap();
        let renewed = member.connected.len() - 1;
        let due = if history.renewals[0].in_place { 7 } else { 5 };
        assert!(renewed >= due, "{id}: {renewed} renewals");
        let counting: Vec<_> = history.lives.iter().filter(|l| l.state.counts()).collect();
        assert!(counting.len() <= 2, "{id}: {counting:#?}");
        let commands = year.app().store().commands(id).await.unwrap();
        let open = commands.iter().filter(|c| !c.status.is_terminal()).count();
        assert_eq!(open, 0, "{id}");
    }
    let alarms = audit(&year, "expiry-alarm").await;
    let of_devices = alarms.iter().filter(|r| r.event.device.is_some());
    for alarm in of_devices {
        println!("{} {}", day_of(alarm.event.at), alarm.event.detail);
    }
    let done = audit(&year, "renewal-done").await.len();
    let begun = audit(&year, "renewal-started").await.len();
    assert!(begun >= done && done >= 300, "{begun} begun, {done} done");
    println!(
        "{done} renewals ({begun} attempts) of {FLEET} devices in {:?}",
        started.elapsed()
    );
}
