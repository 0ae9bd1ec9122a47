//! The page of the nRF Cloud device provisioning library, rows about its functions, in C (tests/sources/README.md, L).
//!
//! `tests/peers/capi/provision.c` is a whole program in C against the service.
#![allow(clippy::unwrap_used, unreachable_pub, unsafe_code)]

#[path = "../../crates/capi/tests/desk/mod.rs"]
mod desk;

use desk::*;
use sectag_capi::*;
use std::sync::Mutex;

static TOLD: Mutex<Vec<i32>> = Mutex::new(Vec::new());

extern "C" fn callback(event: *const nrf_provisioning_callback_data) {
    // SAFETY: valid until this returns.
    let number = unsafe { (*event).r#type };
    TOLD.lock().unwrap().push(number);
}

/// Both functions have the firmware's shapes, and its results.
#[test]
fn l3_init_with_a_callback_and_a_manual_trigger_in_c() {
    let header = include_str!("../../crates/capi/include/sectag_provisioning.h");
    for shape in [
        "typedef void (*nrf_provisioning_event_cb_t)(const struct nrf_provisioning_callback_data *event);",
        "int nrf_provisioning_init(nrf_provisioning_event_cb_t callback);",
        "int nrf_provisioning_trigger_manually(void);",
    ] {
        assert!(header.contains(shape), "{shape}");
    }

    // What the firmware has below itself, a program brings: a modem and a network.
    let desk = Desk::new();
    desk.batch(&[at("id.1", "%CMNG", "3,7,0"), finished("id.2")]);
    let mut result = 0;
    // SAFETY: the structures are the header's; the desk outlives the client.
    unsafe {
        assert_eq!(sectag_configure(&config(), &desk.carrier()), 0);
        assert_eq!(nrf_provisioning_trigger_manually(), FAULT);
        assert_eq!(nrf_provisioning_init(None), INVAL);
        assert_eq!(nrf_provisioning_init(Some(callback)), 0);
        assert_eq!(nrf_provisioning_init(Some(callback)), ALREADY);
        assert_eq!(nrf_provisioning_trigger_manually(), 0);
        assert_eq!(sectag_run(FOREVER, &mut result), 0);
        assert_eq!(sectag_release(), 0);
    }
    assert!(result > 0, "done");
    assert_eq!(*TOLD.lock().unwrap(), [START, LTE_OFF, LTE_ON, DONE, STOP]);
}
