//! One value, many threads; and a wait that a change of the value can end.

/// A thread panicked while it held the lock: the value is not to be trusted.
#[derive(Debug)]
pub(crate) struct Broken;

#[cfg(feature = "std")]
pub(crate) use threads::Lock;

#[cfg(not(feature = "std"))]
pub(crate) use one_thread::Lock;

#[cfg(feature = "std")]
mod threads {
    use super::Broken;
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    #[derive(Debug)]
    pub(crate) struct Lock<T> {
        value: Mutex<T>,
        changed: Condvar,
    }

    impl<T> Lock<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self {
                value: Mutex::new(value),
                changed: Condvar::new(),
            }
        }

        /// Works on the value. `work` must not call out.
        pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> Result<R, Broken> {
            self.value
                .lock()
                .map(|mut value| work(&mut value))
                .map_err(|_| Broken)
        }

        /// Ends the waits.
        pub(crate) fn wake(&self) {
            self.changed.notify_all();
        }

        /// Waits while `quiet` holds, at most `limit`.
        pub(crate) fn wait(
            &self,
            limit: Option<Duration>,
            quiet: impl Fn(&T) -> bool,
        ) -> Result<(), Broken> {
            let value = self.value.lock().map_err(|_| Broken)?;
            let still = |value: &mut T| quiet(value);
            match limit {
                None => self.changed.wait_while(value, still).map(drop).ok(),
                Some(limit) => self
                    .changed
                    .wait_timeout_while(value, limit, still)
                    .map(drop)
                    .ok(),
            }
            .ok_or(Broken)
        }
    }
}

#[cfg(not(feature = "std"))]
mod one_thread {
    use super::Broken;
    use core::cell::UnsafeCell;
    use core::sync::atomic::{AtomicBool, Ordering};

    /// Without `std` there is nothing to wait with: all calls come from one thread (the header says so), callbacks
    /// included, and a value that is in use is a mistake that is refused.
    #[derive(Debug)]
    pub(crate) struct Lock<T> {
        used: AtomicBool,
        value: UnsafeCell<T>,
    }

    // SAFETY: `with` hands out the value to one caller at a time, whatever thread it runs on: the flag is taken with
    // acquire and given back with release.
    unsafe impl<T: Send> Sync for Lock<T> {}

    impl<T> Lock<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self {
                used: AtomicBool::new(false),
                value: UnsafeCell::new(value),
            }
        }

        pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> Result<R, Broken> {
            if self.used.swap(true, Ordering::Acquire) {
                return Err(Broken);
            }
            // SAFETY: the flag was free and is ours until the store below, so no other reference exists.
            let done = work(unsafe { &mut *self.value.get() });
            self.used.store(false, Ordering::Release);
            Ok(done)
        }

        pub(crate) fn wake(&self) {}
    }
}
