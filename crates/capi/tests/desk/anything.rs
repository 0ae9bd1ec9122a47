//! A C program whose service, modem and settings say anything, and whose callbacks lie about lengths.
#![allow(clippy::unwrap_used)]

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::MaybeUninit;

use sectag_capi::*;

/// What one callback does: a way, a number, bytes.
pub(crate) type Step = (u8, u16, Vec<u8>);

struct Program {
    steps: RefCell<VecDeque<Step>>,
    now: Cell<u64>,
    client: Cell<*mut Handle>,
    depth: Cell<u32>,
}

/// Plays `steps` to a client; what comes after them is a quiet service and a modem that works.
pub(crate) fn play(faithful: bool, steps: Vec<Step>) {
    let program = Program {
        steps: RefCell::new(steps.into()),
        now: Cell::new(0),
        client: Cell::new(ptr::null_mut()),
        depth: Cell::new(0),
    };
    let (mut config, mut carrier) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: both may be written, and are afterwards.
    let (mut config, mut carrier) = unsafe {
        sectag_config_init(config.as_mut_ptr());
        sectag_carrier_init(carrier.as_mut_ptr());
        (config.assume_init(), carrier.assume_init())
    };
    config.faithful = c_int::from(faithful);
    config.save_command_id = 1;
    (config.auto_start, config.scheduled) = (1, 1);
    carrier.user = ptr::from_ref(&program).cast_mut().cast();
    carrier.fetch = Some(exchange);
    carrier.report = Some(exchange);
    carrier.at_line = Some(at_line);
    carrier.load = Some(load);
    carrier.save = Some(save);
    carrier.uptime_ms = Some(uptime_ms);
    carrier.wait = Some(wait);
    carrier.log = Some(log);
    let mut client = ptr::null_mut();
    // SAFETY: the structures are the header's, and the program outlives the client, which is freed once.
    unsafe {
        assert_eq!(sectag_client_new(&config, &carrier, &mut client), 0);
        program.client.set(client);
        let code = sectag_client_init(client, Some(event), carrier.user);
        assert!(code <= 0);
        if code == 0 {
            for round in 0..8 {
                let mut result = 99;
                assert_eq!(sectag_client_trigger(client), 0);
                let code = sectag_client_run(client, 3_600_000, &mut result);
                assert!(code == 0 && result <= 1 || code == -11, "{code} {result}");
                let _ = sectag_client_set_interval(client, round * 60);
            }
        }
        assert_eq!(sectag_client_free(client), 0);
    }
}

fn program<'a>(user: *mut c_void) -> &'a Program {
    // SAFETY: every `user` here is a program that outlives its client.
    unsafe { &*user.cast::<Program>() }
}

fn next(user: *mut c_void) -> Option<Step> {
    let program = program(user);
    let step = program.steps.borrow_mut().pop_front();
    if let Some((way, number, _)) = &step
        && way & 0x80 != 0
        && program.depth.get() == 0
    {
        program.depth.set(1);
        let client = program.client.get();
        // SAFETY: a live client. Callbacks may call back, but not drive.
        unsafe {
            sectag_client_network(client, c_int::from(number % 2));
            sectag_client_trigger(client);
            sectag_client_set_interval(client, c_int::from(*number));
            assert!(sectag_client_run(client, 0, ptr::null_mut()) < 0);
            assert!(sectag_client_free(client) < 0);
        }
        program.depth.set(0);
    }
    step.map(|(way, number, bytes)| (way & 0x7f, number, bytes))
}

/// Copies what fits.
fn put(bytes: &[u8], place: *mut u8, size: usize) -> usize {
    let len = bytes.len().min(size);
    // SAFETY: the library gives a buffer of that size.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, len) };
    len
}

extern "C" fn exchange(
    user: *mut c_void,
    request: *const sectag_request,
    answer: *mut sectag_answer,
) -> c_int {
    // SAFETY: both are valid until this returns.
    let (request, answer) = unsafe { (&*request, &mut *answer) };
    // SAFETY: the library's strings end in NUL.
    let target = unsafe { CStr::from_ptr(request.target) };
    assert!(target.to_bytes().iter().all(u8::is_ascii_graphic));
    let Some((way, number, bytes)) = next(user) else {
        answer.status = if request.body.is_null() { 204 } else { 200 };
        return 0;
    };
    match way % 5 {
        0 => return -c_int::from(number),
        1 => answer.status = c_int::from(number),
        2 => (answer.status, answer.body_len) = (200, usize::from(number)),
        way => {
            answer.status = 200;
            answer.body_len = put(&bytes, answer.body, answer.body_size);
            answer.retry_after_s = if way == 4 {
                i64::from(number)
            } else {
                i64::MIN
            };
        }
    }
    0
}

extern "C" fn at_line(
    user: *mut c_void,
    line: *const c_char,
    answer: *mut c_char,
    size: usize,
) -> c_int {
    // SAFETY: the library's strings end in NUL.
    let line = unsafe { CStr::from_ptr(line) }.to_str().unwrap();
    let said: &[u8] = match line {
        "AT%CCLK?" => b"%CCLK: \"26/11/20,22:00:00+00\",1\r\nOK\r\n",
        "AT%DEVICEUUID" => b"%DEVICEUUID: 50343956-3531-4a3b-8029-0a1a2b3c4d5e\r\nOK\r\n",
        "AT+CGMR" => b"mfw_nrf91x1_2.0.2\r\nOK\r\n",
        "AT+CFUN?" => b"+CFUN: 4\r\nOK\r\n",
        _ if line.starts_with("AT%JWT=") => b"%JWT: \"a.b.c\"\r\nOK\r\n",
        _ => b"OK\r\n",
    };
    match next(user).map(|(way, number, bytes)| (way % 6, number, bytes)) {
        Some((0, number, _)) => -c_int::from(number),
        Some((1, number, _)) => c_int::from(number),
        Some((2, _, bytes)) => put(&bytes, answer.cast(), size) as c_int,
        _ => put(said, answer.cast(), size) as c_int,
    }
}

extern "C" fn load(user: *mut c_void, _: *const c_char, value: *mut c_char, size: usize) -> c_int {
    match next(user) {
        Some((0, number, _)) => c_int::from(number),
        Some((1, number, _)) => -c_int::from(number),
        Some((_, _, bytes)) => put(&bytes, value.cast(), size) as c_int,
        None => -2,
    }
}

extern "C" fn save(user: *mut c_void, _: *const c_char, value: *const c_char, len: usize) -> c_int {
    // SAFETY: so many bytes are there.
    let _ = unsafe { core::slice::from_raw_parts(value.cast::<u8>(), len) }.to_vec();
    match next(user) {
        Some((0, number, _)) => -c_int::from(number),
        _ => 0,
    }
}

extern "C" fn uptime_ms(user: *mut c_void) -> u64 {
    program(user).now.get()
}

extern "C" fn wait(user: *mut c_void, ms: u32) {
    let program = program(user);
    program.now.set(program.now.get() + u64::from(ms));
}

extern "C" fn log(_: *mut c_void, text: *const c_char) {
    // SAFETY: the library's strings end in NUL.
    let text = unsafe { CStr::from_ptr(text) }.to_str().unwrap();
    assert!(!text.chars().any(char::is_control));
}

extern "C" fn event(_: *mut c_void, data: *const nrf_provisioning_callback_data) {
    // SAFETY: valid until this returns; the union is read as the type says.
    unsafe {
        let data = &*data;
        assert!((1..=13).contains(&data.r#type));
        assert!(data.result <= 1);
        if data.r#type == 7 {
            let token = &*data.data.token;
            assert_eq!(CStr::from_ptr(token.attest).count_bytes(), token.attest_sz);
            assert_eq!(CStr::from_ptr(token.cose).count_bytes(), token.cose_sz);
        }
    }
}
