//! `struct sectag_session`.

use alloc::boxed::Box;
use core::ffi::{c_char, c_int, c_void};
use core::ptr;

use crate::errno::Code;
use crate::ffi::carrier::sectag_carrier;
use crate::ffi::client::{free, known};
use crate::ffi::event::{EventFn, Listener};
use crate::ffi::options::{self, sectag_config};
use crate::ffi::{guard, limit, millis, put};
use crate::handle::Handle;

/// See the header.
///
/// # Safety
/// The contract of `ffi`; `session` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_session_new(
    config: *const sectag_config,
    carrier: *const sectag_carrier,
    callback: Option<EventFn>,
    user: *mut c_void,
    session: *mut *mut Handle,
) -> c_int {
    guard(|| {
        if session.is_null() {
            return Err(Code::INVAL);
        }
        // SAFETY: not NULL, may be written; the structures are the header's.
        unsafe {
            put(session, ptr::null_mut());
            let made = options::handle(config, carrier)?;
            made.init_session(callback.map(|callback| Listener::Handle(callback, user)))?;
            put(session, Box::into_raw(Box::new(made)));
        }
        Ok(0)
    })
}

/// See the header.
///
/// # Safety
/// The contract of `ffi`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_session_start(session: *mut Handle) -> c_int {
    // SAFETY: a handle of C.
    guard(|| unsafe { known(session) }?.trigger().map(|()| 0))
}

/// See the header.
///
/// # Safety
/// The contract of `ffi`; `result` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_session_run(
    session: *mut Handle,
    timeout_ms: u32,
    result: *mut c_int,
) -> c_int {
    guard(|| {
        // SAFETY: a handle of C; the place may be written.
        unsafe { put(result, known(session)?.run(limit(timeout_ms))?) };
        Ok(0)
    })
}

/// See the header.
///
/// # Safety
/// The contract of `ffi`; `wait_ms` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_session_step(session: *mut Handle, wait_ms: *mut u32) -> c_int {
    guard(|| {
        // SAFETY: a handle of C; the place may be written.
        unsafe { put(wait_ms, millis(known(session)?.step()?)) };
        Ok(0)
    })
}

/// See the header.
///
/// # Safety
/// The contract of `ffi`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_session_network(session: *mut Handle, active: c_int) -> c_int {
    // SAFETY: a handle of C.
    guard(|| unsafe { known(session) }?.network(active != 0).map(|()| 0))
}

/// See the header.
///
/// # Safety
/// The contract of `ffi`; `id` is NULL or `size` bytes from it may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_session_after(
    session: *mut Handle,
    id: *mut c_char,
    size: usize,
) -> c_int {
    guard(|| {
        // SAFETY: a handle of C.
        let after = unsafe { known(session) }?.after()?;
        if id.is_null() {
            return Err(Code::INVAL);
        }
        if after.len() >= size {
            return Err(Code::TOO_BIG);
        }
        // SAFETY: not NULL, and text and NUL fit into the bytes that the caller vouches for; the text is ours, so the
        // two do not overlap.
        unsafe {
            ptr::copy_nonoverlapping(after.as_ptr().cast(), id, after.len());
            id.add(after.len()).write(0);
        }
        c_int::try_from(after.len()).map_err(|_| Code::TOO_BIG)
    })
}

/// See the header.
///
/// # Safety
/// The contract of `ffi`; no other thread is inside a function of this session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_session_free(session: *mut Handle) -> c_int {
    // SAFETY: a handle of C, whose use ends here.
    guard(|| unsafe { free(session) })
}
