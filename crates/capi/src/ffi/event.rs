//! Events on their way to C.

use alloc::vec::Vec;
use core::ffi::{c_char, c_int, c_void};
use core::fmt;
use core::ptr;

use sectag_proto::device::Event;

use crate::handle::result_of;

/// `nrf_provisioning_event_cb_t`
pub type EventCallback = extern "C" fn(*const nrf_provisioning_callback_data);
/// `sectag_event_fn`
pub type EventFn = extern "C" fn(*mut c_void, *const nrf_provisioning_callback_data);

/// See the header.
#[repr(C)]
#[derive(Debug)]
pub struct nrf_attestation_token {
    /// First part, with a NUL.
    pub attest: *mut c_char,
    /// Characters of it.
    pub attest_sz: usize,
    /// Second part, with a NUL.
    pub cose: *mut c_char,
    /// Characters of it.
    pub cose_sz: usize,
}

/// See the header; there it has no name.
#[repr(C)]
#[derive(Clone, Copy)]
pub union nrf_provisioning_callback_union {
    /// FAILED_DEVICE_NOT_CLAIMED
    pub token: *mut nrf_attestation_token,
    /// SCHEDULED_PROVISIONING
    pub next_attempt_time_seconds: i64,
}

/// See the header.
#[repr(C)]
pub struct nrf_provisioning_callback_data {
    /// `enum nrf_provisioning_event`. A compiler with short enums reads its first byte, which holds the number wherever
    /// those are in use (little endian), and lays the rest out the same.
    pub r#type: c_int,
    /// By type.
    pub data: nrf_provisioning_callback_union,
    /// The session's result where one is known, else 0.
    pub result: c_int,
}

impl fmt::Debug for nrf_provisioning_callback_data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("nrf_provisioning_callback_data")
            .field("type", &self.r#type)
            .field("result", &self.result)
            .finish_non_exhaustive()
    }
}

/// Who hears the events.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Listener {
    /// Of the process's client.
    Library(EventCallback),
    /// Of a handle.
    Handle(EventFn, *mut c_void),
}

// SAFETY: the pointer is never looked at, only handed back to the function it came with, and the header says that the
// function is called by whichever thread drives.
unsafe impl Send for Listener {}

impl Listener {
    /// Tells an event that C knows; the others are for the log. `stopped` is the result that goes with STOP.
    pub(crate) fn tell(self, event: &Event, stopped: c_int) {
        let Some(number) = number_of(event) else {
            return;
        };
        let mut parts = match event {
            Event::FailedDeviceNotClaimed { token } => Parts::of(token.as_deref()),
            _ => Parts::of(None),
        };
        let mut token = parts.token();
        let data = nrf_provisioning_callback_data {
            r#type: number,
            data: match event {
                Event::FailedDeviceNotClaimed { .. } => nrf_provisioning_callback_union {
                    token: &raw mut token,
                },
                Event::ScheduledProvisioning(after) => nrf_provisioning_callback_union {
                    next_attempt_time_seconds: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                },
                // Both members: a NULL pointer, and nothing beside it.
                _ => nrf_provisioning_callback_union {
                    next_attempt_time_seconds: 0,
                },
            },
            result: match event {
                Event::Stop => stopped,
                event => result_of(event).unwrap_or(0),
            },
        };
        match self {
            Self::Library(callback) => callback(ptr::from_ref(&data)),
            Self::Handle(callback, user) => callback(user, ptr::from_ref(&data)),
        }
    }
}

/// A claim token cut at its dot, both parts with a NUL.
struct Parts {
    attest: Vec<u8>,
    cose: Vec<u8>,
}

impl Parts {
    fn of(token: Option<&str>) -> Self {
        let (attest, cose) = token
            .and_then(|token| token.split_once('.'))
            .unwrap_or_default();
        let with_nul = |text: &str| text.bytes().chain([0]).collect();
        Self {
            attest: with_nul(attest),
            cose: with_nul(cose),
        }
    }

    fn token(&mut self) -> nrf_attestation_token {
        nrf_attestation_token {
            attest: self.attest.as_mut_ptr().cast(),
            attest_sz: self.attest.len() - 1,
            cose: self.cose.as_mut_ptr().cast(),
            cose_sz: self.cose.len() - 1,
        }
    }
}

/// The number of `enum nrf_provisioning_event` (spec/device-protocol §11); `None` for what it does not know.
const fn number_of(event: &Event) -> Option<c_int> {
    Some(match event {
        Event::Start => 1,
        Event::Stop => 2,
        Event::Done => 3,
        Event::Failed(_) => 4,
        Event::NoCommands => 5,
        Event::FailedTooManyCommands => 6,
        Event::FailedDeviceNotClaimed { .. } => 7,
        Event::FailedWrongRootCa => 8,
        Event::FailedNoValidDatetime => 9,
        Event::NeedLteDeactivated => 10,
        Event::NeedLteActivated => 11,
        Event::ScheduledProvisioning(_) => 12,
        Event::FatalError(_) => 13,
        _ => return None,
    })
}
