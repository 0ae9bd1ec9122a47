//! The firmware library's three functions. One client per process, so one story.
#![allow(clippy::unwrap_used, unsafe_code)]

mod desk;

use core::ptr;
use desk::*;
use sectag_capi::*;
use std::sync::Mutex;

static TOLD: Mutex<Vec<i32>> = Mutex::new(Vec::new());

extern "C" fn told(data: *const nrf_provisioning_callback_data) {
    // SAFETY: valid until this returns.
    let number = unsafe { (*data).r#type };
    TOLD.lock().unwrap().push(number);
}

#[test]
fn init_trigger_and_set_interval_work_on_the_process_client() {
    let desk = Desk::new();
    let (mut config, carrier) = (config(), desk.carrier());
    let mut result = 99;
    // SAFETY: the structures are the header's; the desk outlives the client.
    unsafe {
        assert_eq!(nrf_provisioning_init(None), INVAL);
        assert_eq!(nrf_provisioning_init(Some(told)), FAULT, "not configured");
        assert_eq!(nrf_provisioning_trigger_manually(), FAULT);
        assert_eq!(nrf_provisioning_set_interval(60), FAULT);
        assert_eq!(sectag_run(0, &mut result), FAULT);
        assert_eq!(sectag_step(ptr::null_mut()), FAULT);
        assert_eq!(sectag_network(1), FAULT);
        assert_eq!(sectag_release(), 0, "nothing to release");

        assert_eq!(sectag_configure(ptr::null(), &carrier), INVAL);
        assert_eq!(sectag_configure(&config, ptr::null()), INVAL);
        assert_eq!(sectag_configure(&config, &carrier), 0);
        assert_eq!(sectag_configure(&config, &carrier), 0, "nobody uses it yet");
        assert_eq!(
            nrf_provisioning_trigger_manually(),
            FAULT,
            "not initialised"
        );
        assert_eq!(sectag_run(0, &mut result), FAULT);

        assert_eq!(nrf_provisioning_init(None), INVAL);
        assert_eq!(nrf_provisioning_init(Some(told)), 0);
        assert_eq!(nrf_provisioning_init(Some(told)), ALREADY);
        assert_eq!(sectag_configure(&config, &carrier), ALREADY);
        assert_eq!(nrf_provisioning_set_interval(60), NOTSUP);
        assert_eq!(nrf_provisioning_trigger_manually(), 0);
        assert_eq!(sectag_network(1), 0);
        assert_eq!(sectag_run(60_000, &mut result), 0);
        assert_eq!(result, NODATA);
        assert_eq!(*TOLD.lock().unwrap(), [START, NO_COMMANDS, STOP]);
        assert_eq!(sectag_release(), 0);
        assert_eq!(nrf_provisioning_trigger_manually(), FAULT);

        // Again, with a schedule.
        (config.auto_start, config.scheduled) = (1, 1);
        assert_eq!(sectag_configure(&config, &carrier), 0);
        assert_eq!(nrf_provisioning_init(Some(told)), 0);
        assert_eq!(nrf_provisioning_set_interval(-1), INVAL);
        assert_eq!(nrf_provisioning_set_interval(60), 0);
        let mut wait_ms = 0;
        assert_eq!(sectag_step(&mut wait_ms), 0);
        assert!(wait_ms <= 160_000, "{wait_ms}");
        assert_eq!(sectag_release(), 0);
    }
}
