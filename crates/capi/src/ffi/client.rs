//! `struct sectag_client`.

use alloc::boxed::Box;
use core::ffi::{c_int, c_void};
use core::ptr;

use crate::errno::Code;
use crate::ffi::carrier::sectag_carrier;
use crate::ffi::event::{EventFn, Listener};
use crate::ffi::options::{self, sectag_config};
use crate::ffi::{guard, limit, millis, put};
use crate::handle::Handle;

/// A handle of C.
///
/// # Safety
/// NULL, or made by its `_new` and not freed yet.
pub(crate) unsafe fn known<'a>(handle: *const Handle) -> Result<&'a Handle, Code> {
    // SAFETY: by the caller's word it is NULL or a live handle, which is only ever shared.
    unsafe { handle.as_ref() }.ok_or(Code::INVAL)
}

/// Frees a handle of C.
///
/// # Safety
/// NULL, or made by its `_new` and not freed yet; no other thread is inside a function of it.
pub(crate) unsafe fn free(handle: *mut Handle) -> Result<c_int, Code> {
    if handle.is_null() {
        return Ok(0);
    }
    // SAFETY: by the caller's word it is a live handle.
    match unsafe { known(handle) }?.is_idle() {
        Ok(false) => Err(Code::BUSY),
        // Also when its lock is broken: the memory is all that is left to give back.
        Ok(true) | Err(_) => {
            // SAFETY: `Box::into_raw` made it, and by the caller's word nobody else uses it.
            drop(unsafe { Box::from_raw(handle) });
            Ok(0)
        }
    }
}

/// See the header.
///
/// # Safety
/// The contract of `ffi`; `client` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_client_new(
    config: *const sectag_config,
    carrier: *const sectag_carrier,
    client: *mut *mut Handle,
) -> c_int {
    guard(|| {
        if client.is_null() {
            return Err(Code::INVAL);
        }
        // SAFETY: not NULL, may be written; the structures are the header's.
        unsafe {
            put(client, ptr::null_mut());
            let made = options::handle(config, carrier)?;
            put(client, Box::into_raw(Box::new(made)));
        }
        Ok(0)
    })
}

/// See the header.
///
/// # Safety
/// The contract of `ffi`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_client_init(
    client: *mut Handle,
    callback: Option<EventFn>,
    user: *mut c_void,
) -> c_int {
    guard(|| {
        // SAFETY: a handle of C.
        let client = unsafe { known(client) }?;
        let callback = callback.ok_or(Code::INVAL)?;
        client.init_client(Listener::Handle(callback, user))?;
        Ok(0)
    })
}

/// See the header.
///
/// # Safety
/// The contract of `ffi`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_client_trigger(client: *mut Handle) -> c_int {
    // SAFETY: a handle of C.
    guard(|| unsafe { known(client) }?.trigger().map(|()| 0))
}

/// See the header.
///
/// # Safety
/// The contract of `ffi`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_client_set_interval(
    client: *mut Handle,
    interval_s: c_int,
) -> c_int {
    // SAFETY: a handle of C.
    guard(|| {
        unsafe { known(client) }?
            .set_interval(interval_s)
            .map(|()| 0)
    })
}

/// See the header.
///
/// # Safety
/// The contract of `ffi`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_client_network(client: *mut Handle, active: c_int) -> c_int {
    // SAFETY: a handle of C.
    guard(|| unsafe { known(client) }?.network(active != 0).map(|()| 0))
}

/// See the header.
///
/// # Safety
/// The contract of `ffi`; `result` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_client_run(
    client: *mut Handle,
    timeout_ms: u32,
    result: *mut c_int,
) -> c_int {
    guard(|| {
        // SAFETY: a handle of C; the place may be written.
        unsafe { put(result, known(client)?.run(limit(timeout_ms))?) };
        Ok(0)
    })
}

/// See the header.
///
/// # Safety
/// The contract of `ffi`; `wait_ms` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_client_step(client: *mut Handle, wait_ms: *mut u32) -> c_int {
    guard(|| {
        // SAFETY: a handle of C; the place may be written.
        unsafe { put(wait_ms, millis(known(client)?.step()?)) };
        Ok(0)
    })
}

/// See the header.
///
/// # Safety
/// The contract of `ffi`; no other thread is inside a function of this client.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_client_free(client: *mut Handle) -> c_int {
    // SAFETY: a handle of C, whose use ends here.
    guard(|| unsafe { free(client) })
}
