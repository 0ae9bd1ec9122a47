//! The border to C: structures, pointers, and the functions of the header. All `unsafe` for pointers is here.
//!
//! One contract holds for every function and is not repeated: a pointer that is not NULL points to a valid object of its
//! type for the time of the call, a handle was made by its `_new` and is not freed yet, and callbacks keep the rules in the
//! header. NULL, wrong sizes, text that is not UTF-8 and numbers out of range are checked.

pub(crate) mod carrier;
pub(crate) mod client;
pub(crate) mod event;
pub(crate) mod library;
pub(crate) mod options;
pub(crate) mod session;

use core::ffi::{CStr, c_char, c_int};
use core::time::Duration;

use crate::errno::Code;

/// Runs the body of a function of the header: no panic leaves it.
fn guard(body: impl FnOnce() -> Result<c_int, Code>) -> c_int {
    #[cfg(feature = "std")]
    let outcome =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(Err(Code::IO));
    // Without `std` a panic aborts (`bare`).
    #[cfg(not(feature = "std"))]
    let outcome = body();
    outcome.unwrap_or_else(Code::get)
}

/// # Safety
/// `text` is NULL or a string that ends in NUL and lives as long as the result.
unsafe fn text<'a>(text: *const c_char) -> Result<Option<&'a str>, Code> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, and the caller vouches for its NUL.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(Some).map_err(|_| Code::INVAL)
}

/// # Safety
/// `place` is NULL or may be written.
unsafe fn put<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: not NULL, and the caller vouches that it may be written; nothing is read or dropped there.
        unsafe { place.write(value) };
    }
}

/// SECTAG_FOREVER
const FOREVER: u32 = u32::MAX;

/// `None`: without end.
fn limit(ms: u32) -> Option<Duration> {
    (ms != FOREVER).then(|| Duration::from_millis(u64::from(ms)))
}

/// Whole milliseconds, rounded up, so that nobody comes too early.
fn millis(duration: Option<Duration>) -> u32 {
    duration.map_or(FOREVER, |duration| {
        let ms = duration.as_micros().div_ceil(1000);
        u32::try_from(ms).unwrap_or(FOREVER).min(FOREVER - 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "std")]
    #[test]
    #[allow(clippy::panic)]
    fn a_panic_does_not_cross_the_border() {
        assert_eq!(guard(|| panic!("a defect")), Code::IO.get());
    }

    #[test]
    fn milliseconds_are_rounded_up_and_never_mean_forever_by_chance() {
        assert_eq!(millis(None), FOREVER);
        assert_eq!(millis(Some(Duration::ZERO)), 0);
        assert_eq!(millis(Some(Duration::from_micros(1))), 1);
        assert_eq!(millis(Some(Duration::from_secs(1 << 40))), FOREVER - 1);
        assert_eq!(limit(FOREVER), None);
        assert_eq!(limit(0), Some(Duration::ZERO));
    }
}
