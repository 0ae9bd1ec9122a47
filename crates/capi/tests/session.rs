//! The bare session: one conversation, no schedule, no init.
#![allow(clippy::unwrap_used, unsafe_code)]

mod desk;

use core::ffi::{CStr, c_int};
use core::ptr;
use desk::*;
use sectag_capi::*;

struct Session(*mut Handle);

impl Session {
    fn new(desk: &Desk, config: &sectag_config, heard: bool) -> Self {
        let mut session = ptr::null_mut();
        let callback: Option<EventFn> = if heard { Some(event) } else { None };
        // SAFETY: the structures are the header's; the desk outlives the handle.
        let code = unsafe {
            sectag_session_new(config, &desk.carrier(), callback, desk.user(), &mut session)
        };
        assert_eq!(code, 0);
        Self(session)
    }

    fn run(&self, timeout_ms: u32) -> (c_int, c_int) {
        let mut result = 99;
        // SAFETY: a live handle.
        let code = unsafe { sectag_session_run(self.0, timeout_ms, &mut result) };
        (code, result)
    }

    fn after(&self, size: usize) -> Result<String, c_int> {
        let mut id = [b'?'.cast_signed(); 64];
        // SAFETY: a live handle, and at least so many bytes.
        let chars = unsafe { sectag_session_after(self.0, id.as_mut_ptr().cast(), size) };
        let chars = usize::try_from(chars).map_err(|_| chars)?;
        // SAFETY: the library ended it with a NUL.
        let id = unsafe { CStr::from_ptr(id.as_ptr().cast()) }
            .to_str()
            .unwrap();
        assert_eq!(id.len(), chars);
        Ok(id.to_owned())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: a live handle, whose use ends here.
        assert_eq!(unsafe { sectag_session_free(self.0) }, 0);
    }
}

#[test]
fn a_session_runs_again_and_remembers_what_was_executed() {
    let desk = Desk::new();
    desk.batch(&[at("u.1", "%CMNG", "1"), finished("u.2")]);
    let session = Session::new(&desk, &config(), true);
    assert_eq!(session.after(46), Ok(String::new()));
    assert_eq!(session.run(600_000), (0, 1));
    assert_eq!(session.after(46), Ok("u.2".to_owned()));
    assert_eq!(session.after(4), Ok("u.2".to_owned()));
    assert_eq!(session.after(3), Err(TOO_BIG), "no room for the NUL");
    assert_eq!(session.after(0), Err(TOO_BIG));
    assert_eq!(session.run(600_000), (0, NODATA));
    let target = desk.script(|script| script.asked.last().unwrap().target.clone());
    assert!(target.contains("?after=u.2&"), "{target}");
    assert_eq!(
        desk.story(),
        [START, LTE_OFF, LTE_ON, DONE, STOP, START, NO_COMMANDS, STOP]
    );
}

#[test]
fn a_session_is_begun_once_and_stepped() {
    let desk = Desk::new();
    desk.answer("AT%CCLK?", Ok(b"ERROR\r\n"));
    let session = Session::new(&desk, &config(), false);
    let mut wait_ms = 0;
    // SAFETY: a live handle.
    unsafe {
        assert_eq!(sectag_session_step(session.0, &mut wait_ms), 0);
        assert_eq!(wait_ms, FOREVER, "stepping does not begin one");
        assert_eq!(sectag_session_start(session.0), 0);
        assert_eq!(sectag_session_start(session.0), ALREADY);
        assert_eq!(sectag_session_step(session.0, &mut wait_ms), 0);
        assert_eq!(wait_ms, 1000);
        assert_eq!(sectag_session_network(session.0, 1), 0);
    }
    assert_eq!(session.run(600_000), (0, NODATA), "run goes on with it");
    assert_eq!(desk.script(|script| script.asked.len()), 1);
    assert_eq!(desk.story(), [0; 0], "nobody listens, and that is fine");
}

#[test]
fn a_saved_id_is_where_a_session_begins() {
    let desk = Desk::new();
    desk.script(|script| {
        let key = "provisioning/after-correlation-id".to_owned();
        script.settings.insert(key, "u.7\0".to_owned())
    });
    let mut config = config();
    config.save_command_id = 1;
    let session = Session::new(&desk, &config, true);
    assert_eq!(
        session.after(46),
        Ok("u.7".to_owned()),
        "older firmware stored a NUL"
    );
    assert_eq!(session.run(600_000), (0, NODATA));
}

#[test]
fn a_modem_that_does_not_answer_makes_no_session() {
    let desk = Desk::new();
    desk.answer("AT+CGMR", Err(TIMEDOUT));
    let mut session = ptr::null_mut();
    // SAFETY: the structures are the header's.
    let code = unsafe {
        let (config, carrier) = (config(), desk.carrier());
        sectag_session_new(&config, &carrier, Some(event), desk.user(), &mut session)
    };
    assert_eq!(code, TIMEDOUT);
    assert!(session.is_null());
}
