//! What one idle session costs, all included. On its own, since it looks at the memory of the whole process.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod desk;

use desk::Table;

/// Resident bytes of this process; `None` where there is no `/proc`.
fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    statm
        .split_whitespace()
        .nth(1)?
        .parse::<usize>()
        .ok()
        .map(|pages| pages * 4096)
}

#[test]
fn an_idle_session_costs_less_than_ten_kilobytes() {
    const SESSIONS: usize = 400;
    let mut table = Table::new(1);
    let config = table.pki.client();
    let visit = |table: &mut Table, n: usize| {
        let guest = table.connected(&config);
        table.guests[guest].address = desk::address(10 + n as u64);
        table.connect(guest);
        table.exchange(guest, b"hello");
        // The client goes; its memory is used for the next one.
        table.guests.clear();
        table.wire.clear();
        table.events.clear();
        table.records.clear();
    };
    // The first ones warm up whatever is allocated once.
    (0..100).for_each(|n| visit(&mut table, n));
    let before = table.endpoint().sessions();
    let Some(start) = resident() else {
        return println!("skipped: no /proc/self/statm");
    };
    (100..100 + SESSIONS).for_each(|n| visit(&mut table, n));
    let (end, sessions) = (resident().unwrap(), table.endpoint().sessions() - before);
    let each = (end - start) / sessions;
    println!("{each} bytes per idle session, over {sessions} sessions");
    assert!(sessions >= SESSIONS);
    assert!(each <= 10_000, "{each} bytes per session");
}
