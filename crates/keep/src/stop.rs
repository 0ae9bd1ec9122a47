//! For tests: the world stops at the n-th step, and everything after it fails, cleaning up included.

use std::cell::Cell;
use std::io;

thread_local! {
    /// Steps that still succeed; `None` for a world without an end.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Called before each change to the file system.
pub(crate) fn check() -> io::Result<()> {
    LEFT.with(|left| match left.get() {
        None => Ok(()),
        Some(0) => Err(io::Error::other("the power went out")),
        Some(n) => {
            left.set(Some(n - 1));
            Ok(())
        }
    })
}

/// Runs `work` and lets `steps` of its steps happen.
pub(crate) fn after<T>(steps: u32, work: impl FnOnce() -> T) -> T {
    LEFT.with(|left| left.set(Some(steps)));
    let result = work();
    LEFT.with(|left| left.set(None));
    result
}
