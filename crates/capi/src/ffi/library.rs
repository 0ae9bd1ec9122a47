//! The three functions of the firmware library, on one client per process.

use alloc::sync::Arc;
use core::ffi::c_int;

use crate::errno::Code;
use crate::ffi::carrier::sectag_carrier;
use crate::ffi::event::{EventCallback, Listener};
use crate::ffi::options::{self, sectag_config};
use crate::ffi::{guard, limit, millis, put};
use crate::handle::Handle;
use crate::lock::Lock;

static LIBRARY: Lock<Option<Arc<Handle>>> = Lock::new(None);

/// The process's client; `-EFAULT` when there is none.
fn client() -> Result<Arc<Handle>, Code> {
    LIBRARY.with(|client| client.clone())?.ok_or(Code::FAULT)
}

/// See the header.
///
/// # Safety
/// The contract of `ffi`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_configure(
    config: *const sectag_config,
    carrier: *const sectag_carrier,
) -> c_int {
    guard(|| {
        // SAFETY: the structures are the header's.
        let made = Arc::new(unsafe { options::handle(config, carrier) }?);
        let before = LIBRARY.with(|client| {
            if let Some(client) = client
                && (client.is_initialised()? || !client.is_idle()?)
            {
                return Err(Code::ALREADY);
            }
            Ok(client.replace(made))
        })??;
        drop(before);
        Ok(0)
    })
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn nrf_provisioning_init(callback: Option<EventCallback>) -> c_int {
    guard(|| {
        let callback = callback.ok_or(Code::INVAL)?;
        client()?.init_client(Listener::Library(callback))?;
        Ok(0)
    })
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn nrf_provisioning_trigger_manually() -> c_int {
    guard(|| client()?.trigger().map(|()| 0))
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn nrf_provisioning_set_interval(interval_s: c_int) -> c_int {
    guard(|| client()?.set_interval(interval_s).map(|()| 0))
}

/// See the header.
///
/// # Safety
/// `result` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_run(timeout_ms: u32, result: *mut c_int) -> c_int {
    guard(|| {
        let ended = client()?.run(limit(timeout_ms))?;
        // SAFETY: the place may be written.
        unsafe { put(result, ended) };
        Ok(0)
    })
}

/// See the header.
///
/// # Safety
/// `wait_ms` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_step(wait_ms: *mut u32) -> c_int {
    guard(|| {
        let wait = millis(client()?.step()?);
        // SAFETY: the place may be written.
        unsafe { put(wait_ms, wait) };
        Ok(0)
    })
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn sectag_network(active: c_int) -> c_int {
    guard(|| client()?.network(active != 0).map(|()| 0))
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn sectag_release() -> c_int {
    guard(|| {
        let gone = LIBRARY.with(|client| match client {
            Some(known) if known.is_idle() == Ok(false) => Err(Code::BUSY),
            client => Ok(client.take()),
        })??;
        drop(gone);
        Ok(0)
    })
}
