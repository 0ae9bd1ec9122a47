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
    // Whoever stays away for half of the time that a renewal has is told, and nothing else is.
    for alarm in audit(&year, "expiry-alarm").await {
        let detail = &alarm.event.detail;
        assert!(detail.contains("its device was not seen since"), "{detail}");
    }
    let failures = audit(&year, "renewal-alarm").await;
    assert!(failures.is_empty(), "{failures:#?}");
    let done = audit(&year, "renewal-done").await.len();
    let begun = audit(&year, "renewal-started").await.len();
    assert!(begun >= done && done >= 300, "{begun} begun, {done} done");
    println!(
        "{done} renewals ({begun} attempts) of {FLEET} devices in {:?}",
        started.elapsed()
    );
}

/// Days from the start at which alarms with this action were raised about a device.
async fn alarm_days(year: &Year, action: &str, member: usize) -> Vec<u32> {
    let id = year.fleet[member].id();
    let alarms = audit(year, action).await.into_iter();
    let mine = alarms.filter(|alarm| alarm.event.device == Some(id));
    mine.map(|alarm| day_of(alarm.event.at)).collect()
}

#[tokio::test]
async fn failing_renewals_are_told_before_anything_expires() {
    let mut year = Year::begin(11).await;
    // Renewal is due on day 40, the end is on day 60.
    rule(&year, "alternate", 60, alternate()).await;
    rule(&year, "in-place", 60, json!("inPlace")).await;
    let root = year.root_pem();
    year.rule(json!({
        "name": "without renewal", "active": true, "tags": ["plain"],
        "commands": [
            {"request": {"serverCertificate": {"secTag": TAG, "content": root}}},
            {"request": {"certificateSigningRequest": {"secTag": TAG, "issue": {"validityDays": 60}}}},
        ],
    }))
    .await;
    const WELL: usize = 0;
    const WEEK: usize = 1;
    const FOR_EVER: usize = 2;
    const PLAIN: usize = 3;
    const GONE: usize = 4;
    const IN_PLACE: usize = 5;
    year.join("alternate", 1).await;
    year.join("alternate", 1).await.keyless = 38..48;
    year.join("alternate", 1).await.keyless = 38..365;
    year.join("plain", 1).await;
    year.join("alternate", 1).await.away.push(30..365);
    year.join("in-place", 1).await.keyless = 38..48;
    let outlooks = async |year: &Year, days: u32| {
        let made = year.app().forecast(&year.owner, &windows(&[days])).await;
        let made = made.unwrap();
        let named = made.items.into_iter().map(|item| {
            let at = year
                .fleet
                .iter()
                .position(|m| m.id() == item.ending.life.device);
            (at.unwrap(), item.outlook.as_str())
        });
        let mut named: Vec<_> = named.collect();
        named.sort_unstable();
        (named, made.sums.unwrap(), made.failing.len())
    };
    while year.day() < 30 {
        year.live_a_day().await;
    }
    let (named, sums, failing) = outlooks(&year, 60).await;
    assert_eq!(named, [(PLAIN, "no-rule")], "a month before");
    assert_eq!(sums.windows[0].sum.certificates, 6);
    assert_eq!((sums.windows[0].sum.risks(), failing), (1, 0));
    while year.day() < 45 {
        year.live_a_day().await;
    }
    let (named, _, failing) = outlooks(&year, 30).await;
    let expected = [
        (WEEK, "failing"),
        (FOR_EVER, "failing"),
        (PLAIN, "no-rule"),
        (GONE, "not-seen"),
        (IN_PLACE, "failing"),
    ];
    assert_eq!(named, expected);
    assert_eq!(failing, 3);
    for member in [WEEK, FOR_EVER, IN_PLACE] {
        let told = alarm_days(&year, "renewal-alarm", member).await;
        assert!(matches!(told[..], [41 | 42]), "{member}: {told:?}, once");
    }
    assert!(year.fleet[WEEK].outages.is_empty(), "the old pair works");
    let outages = &year.fleet[IN_PLACE].outages;
    assert!(!outages.is_empty(), "in place the old key is gone");
    while year.day() < 70 {
        year.live_a_day().await;
    }
    for member in [WELL, WEEK] {
        let member = &year.fleet[member];
        assert!(member.outages.is_empty(), "{:?}", member.outages);
        assert_eq!(member.connected.len(), 2);
    }
    let last_outage = year.fleet[IN_PLACE].outages.last().unwrap().0;
    assert!(
        last_outage <= 48,
        "a new key at the first fetch that makes one"
    );
    for member in [FOR_EVER, PLAIN, GONE] {
        let told = alarm_days(&year, "expiry-alarm", member).await;
        assert_eq!(told.len(), 6, "{member}: {told:?}");
        assert!(told[..5].iter().all(|day| *day < 60), "{told:?}");
        assert!(
            (40..=53).contains(&told[1]),
            "a week before at the latest: {told:?}"
        );
        assert_eq!(told[5], 60, "the end itself");
    }
    for member in [WELL, IN_PLACE] {
        let told = alarm_days(&year, "expiry-alarm", member).await;
        assert!(told.iter().all(|day| *day < 50), "{member}: {told:?}");
    }
    let (named, ..) = outlooks(&year, 30).await;
    let expired = [FOR_EVER, PLAIN, GONE].map(|member| (member, "expired"));
    assert_eq!(named, expired);
}
