//! Mbed TLS's time hooks are process-wide; this makes them answer with the time of the call under way on this thread, so that
//! endpoints with clocks of their own live in one process.

use std::cell::Cell;
use std::sync::Once;
use std::time::Duration;

use mbedtls_rs_sys as sys;
use sys::hook::timer::{MbedtlsTimer, hook_timer};
use sys::hook::wall_clock::{MbedtlsWallClock, hook_wall_clock};

use crate::config::Now;
use crate::date::Date;

thread_local! {
    static NOW: Cell<Now> = const { Cell::new(Now { uptime: Duration::ZERO, unix_s: 0 }) };
}

/// The time, for all that Mbed TLS does on this thread until the next call.
pub(crate) fn at(now: Now) {
    install();
    NOW.set(now);
}

/// The time of the call under way.
pub(super) fn now() -> Now {
    NOW.get()
}

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: before the first call into Mbed TLS that asks for the time, since every public function of this crate that leads
        // there comes through `at` first; the clock is a constant without state.
        unsafe {
            hook_timer(Some(&ThreadClock));
            hook_wall_clock(Some(&ThreadClock));
        }
    });
}

struct ThreadClock;

impl MbedtlsTimer for ThreadClock {
    /// The calendar in milliseconds: Mbed TLS keeps the start of a session in it, which is compared after a restart.
    fn now(&self) -> sys::mbedtls_ms_time_t {
        i64::try_from(now().unix_s)
            .unwrap_or(i64::MAX / 1_000)
            .saturating_mul(1_000)
    }
}

impl MbedtlsWallClock for ThreadClock {
    fn instant(&self) -> Option<sys::tm> {
        let date = Date::of(now().unix_s)?;
        Some(sys::tm {
            tm_sec: date.second,
            tm_min: date.minute,
            tm_hour: date.hour,
            tm_mday: date.day,
            tm_mon: date.month - 1,
            tm_year: date.year - 1900,
            tm_wday: 0,
            tm_yday: 0,
            tm_isdst: 0,
        })
    }
}
