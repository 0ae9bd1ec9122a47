//! A C program in Rust: callbacks that play from scripts and write down what they were asked. Time is a number that only
//! `wait` moves.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses its part

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use core::slice;
use std::collections::{BTreeMap, VecDeque};
use std::mem::MaybeUninit;
use std::sync::Mutex;

use sectag_capi::{
    Handle, nrf_provisioning_callback_data, sectag_answer, sectag_carrier, sectag_carrier_init,
    sectag_client_free, sectag_client_init, sectag_client_new, sectag_client_run, sectag_config,
    sectag_config_init, sectag_request,
};
use sectag_proto::CorrelationId;
use sectag_proto::wire::{
    Action, DecodeLimits, WireCommand, WireResponse, decode_responses, encode_commands,
};

// include/uapi/asm-generic/errno*.h
pub(crate) const IO: c_int = -5;
pub(crate) const AGAIN: c_int = -11;
pub(crate) const ENOENT: c_int = -2;
pub(crate) const TOO_BIG: c_int = -7;
pub(crate) const NOMEM: c_int = -12;
pub(crate) const ACCES: c_int = -13;
pub(crate) const FAULT: c_int = -14;
pub(crate) const BUSY: c_int = -16;
pub(crate) const INVAL: c_int = -22;
pub(crate) const NOSTR: c_int = -60;
pub(crate) const NODATA: c_int = -61;
pub(crate) const TIME: c_int = -62;
pub(crate) const BADMSG: c_int = -74;
pub(crate) const MSGSIZE: c_int = -90;
pub(crate) const NOTSUP: c_int = -95;
pub(crate) const SHUTDOWN: c_int = -108;
pub(crate) const TIMEDOUT: c_int = -110;
pub(crate) const CONNREFUSED: c_int = -111;
pub(crate) const HOSTUNREACH: c_int = -113;
pub(crate) const ALREADY: c_int = -114;

pub(crate) const START: c_int = 1;
pub(crate) const STOP: c_int = 2;
pub(crate) const DONE: c_int = 3;
pub(crate) const FAILED: c_int = 4;
pub(crate) const NO_COMMANDS: c_int = 5;
pub(crate) const TOO_MANY: c_int = 6;
pub(crate) const NOT_CLAIMED: c_int = 7;
pub(crate) const WRONG_ROOT_CA: c_int = 8;
pub(crate) const NO_TIME: c_int = 9;
pub(crate) const LTE_OFF: c_int = 10;
pub(crate) const LTE_ON: c_int = 11;
pub(crate) const SCHEDULED: c_int = 12;
pub(crate) const FATAL: c_int = 13;

pub(crate) const FOREVER: u32 = u32::MAX;

/// What a callback answers to a fetch or report.
pub(crate) enum Exchange {
    Status(c_int),
    Body(Vec<u8>),
    RetryAfter(c_int, i64),
    Returns(c_int),
    /// Claims more bytes than there is room for.
    Lies,
}

/// One request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) authorization: String,
    pub(crate) accept: String,
    pub(crate) content_type: String,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) room: usize,
}

/// One event as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) number: c_int,
    pub(crate) result: c_int,
    pub(crate) token: Option<(String, String)>,
    pub(crate) seconds: Option<i64>,
}

type Hook = Box<dyn FnMut(&Told) + Send>;

#[derive(Default)]
pub(crate) struct Script {
    pub(crate) fetches: VecDeque<Exchange>,
    pub(crate) reports: VecDeque<Exchange>,
    /// Lines that begin so are answered so, each once, before the modem's own answer.
    pub(crate) answers: VecDeque<(&'static str, Result<Vec<u8>, c_int>)>,
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) save_returns: c_int,
    /// Negative: the settings cannot be read.
    pub(crate) load_returns: c_int,
    pub(crate) mode: u8,
    pub(crate) now: u64,

    pub(crate) asked: Vec<Asked>,
    pub(crate) lines: Vec<String>,
    pub(crate) told: Vec<Told>,
    pub(crate) saved: Vec<(String, String)>,
    pub(crate) logged: Vec<String>,
    pub(crate) waits: Vec<u32>,
}

/// The `user` of every callback.
pub(crate) struct Desk {
    script: Mutex<Script>,
    hook: Mutex<Option<Hook>>,
}

impl Desk {
    pub(crate) fn new() -> Box<Self> {
        let script = Script {
            mode: 1,
            ..Script::default()
        };
        Box::new(Self {
            script: Mutex::new(script),
            hook: Mutex::new(None),
        })
    }

    /// Looks at the script, or writes it. Not while a callback runs.
    pub(crate) fn script<R>(&self, work: impl FnOnce(&mut Script) -> R) -> R {
        work(&mut self.script.lock().unwrap())
    }

    /// Called with each event, after it was written down.
    pub(crate) fn on_event(&self, hook: impl FnMut(&Told) + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    pub(crate) fn fetch(&self, exchange: Exchange) -> &Self {
        self.script(|script| script.fetches.push_back(exchange));
        self
    }

    pub(crate) fn batch(&self, commands: &[WireCommand]) -> &Self {
        self.fetch(Exchange::Body(encode_commands(commands)))
    }

    pub(crate) fn report(&self, exchange: Exchange) -> &Self {
        self.script(|script| script.reports.push_back(exchange));
        self
    }

    pub(crate) fn answer(&self, line: &'static str, answer: Result<&[u8], c_int>) -> &Self {
        let answer = answer.map(<[u8]>::to_vec);
        self.script(|script| script.answers.push_back((line, answer)));
        self
    }

    pub(crate) fn user(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// All callbacks.
    pub(crate) fn carrier(&self) -> sectag_carrier {
        let mut carrier = MaybeUninit::uninit();
        // SAFETY: may be written, and is afterwards.
        let mut carrier = unsafe {
            sectag_carrier_init(carrier.as_mut_ptr());
            carrier.assume_init()
        };
        carrier.user = self.user();
        carrier.fetch = Some(fetch);
        carrier.report = Some(report);
        carrier.at_line = Some(at_line);
        carrier.load = Some(load);
        carrier.save = Some(save);
        carrier.uptime_ms = Some(uptime_ms);
        carrier.wait = Some(wait);
        carrier.log = Some(log);
        carrier
    }

    /// Numbers of the events so far.
    pub(crate) fn story(&self) -> Vec<c_int> {
        self.script(|script| script.told.iter().map(|told| told.number).collect())
    }

    /// The results in the report number `index`.
    pub(crate) fn reported(&self, index: usize) -> Vec<WireResponse> {
        let limits = DecodeLimits {
            records_max: 100,
            config_pairs_max: 10,
            bytes_max: 8192,
        };
        let bodies: Vec<Vec<u8>> =
            self.script(|script| script.asked.iter().filter_map(|a| a.body.clone()).collect());
        decode_responses(&bodies[index], limits).unwrap()
    }
}

/// The defaults.
pub(crate) fn config() -> sectag_config {
    let mut config = MaybeUninit::uninit();
    // SAFETY: may be written, and is afterwards.
    unsafe {
        sectag_config_init(config.as_mut_ptr());
        config.assume_init()
    }
}

/// An initialised client that is freed at the end.
pub(crate) struct Client(pub(crate) *mut Handle);

// SAFETY: the header lets any thread call.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl Client {
    pub(crate) fn new(desk: &Desk, config: &sectag_config) -> Self {
        let client = Self::blank(desk, config);
        // SAFETY: a live handle; the desk outlives it.
        let code = unsafe { sectag_client_init(client.0, Some(event), desk.user()) };
        assert_eq!(code, 0);
        client
    }

    /// Not initialised.
    pub(crate) fn blank(desk: &Desk, config: &sectag_config) -> Self {
        let mut client = ptr::null_mut();
        // SAFETY: the structures are the header's; the desk outlives the handle.
        let code = unsafe { sectag_client_new(config, &desk.carrier(), &mut client) };
        assert_eq!(code, 0);
        Self(client)
    }

    /// `_run`: what it returned, and the session's result.
    pub(crate) fn run(&self, timeout_ms: u32) -> (c_int, c_int) {
        let mut result = 99;
        // SAFETY: a live handle.
        let code = unsafe { sectag_client_run(self.0, timeout_ms, &mut result) };
        (code, result)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: a live handle, whose use ends here.
        let code = unsafe { sectag_client_free(self.0) };
        assert!(code == 0 || std::thread::panicking());
    }
}

pub(crate) fn at(id: &str, set_command: &str, parameters: &str) -> WireCommand {
    let action = Action::At {
        set_command: set_command.to_owned(),
        parameters: parameters.to_owned(),
        ignore: vec![],
    };
    command(id, action)
}

pub(crate) fn stores(id: &str, key: &str, value: &str) -> WireCommand {
    command(id, Action::Config(vec![(key.to_owned(), value.to_owned())]))
}

pub(crate) fn finished(id: &str) -> WireCommand {
    command(id, Action::Finished)
}

fn command(id: &str, action: Action) -> WireCommand {
    WireCommand {
        correlation: CorrelationId::new(id).unwrap(),
        action,
    }
}

pub(crate) extern "C" fn event(user: *mut c_void, data: *const nrf_provisioning_callback_data) {
    // SAFETY: the library hands over what is valid until this returns; the union is read as the type says.
    let told = unsafe {
        let data = &*data;
        Told {
            number: data.r#type,
            result: data.result,
            token: (data.r#type == NOT_CLAIMED).then(|| {
                let token = &*data.data.token;
                let part = |text: *mut c_char, chars: usize| {
                    let text = CStr::from_ptr(text).to_str().unwrap().to_owned();
                    assert_eq!(text.len(), chars);
                    text
                };
                (
                    part(token.attest, token.attest_sz),
                    part(token.cose, token.cose_sz),
                )
            }),
            seconds: match data.r#type {
                SCHEDULED => Some(data.data.next_attempt_time_seconds),
                _ => None,
            },
        }
    };
    let desk = desk(user);
    desk.script(|script| script.told.push(told.clone()));
    if let Some(hook) = &mut *desk.hook.lock().unwrap() {
        hook(&told);
    }
}

fn desk<'a>(user: *mut c_void) -> &'a Desk {
    // SAFETY: every `user` is a desk that outlives its handles.
    unsafe { &*user.cast::<Desk>() }
}

fn text(text: *const c_char) -> String {
    // SAFETY: the library's strings end in NUL.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned()
}

extern "C" fn fetch(
    user: *mut c_void,
    request: *const sectag_request,
    answer: *mut sectag_answer,
) -> c_int {
    let next = desk(user)
        .script(|script| script.fetches.pop_front())
        .unwrap_or(Exchange::Status(204));
    exchange(user, request, answer, next)
}

extern "C" fn report(
    user: *mut c_void,
    request: *const sectag_request,
    answer: *mut sectag_answer,
) -> c_int {
    let next = desk(user)
        .script(|script| script.reports.pop_front())
        .unwrap_or(Exchange::Status(200));
    exchange(user, request, answer, next)
}

fn exchange(
    user: *mut c_void,
    request: *const sectag_request,
    answer: *mut sectag_answer,
    next: Exchange,
) -> c_int {
    // SAFETY: both are valid until this returns.
    let (request, answer) = unsafe { (&*request, &mut *answer) };
    assert_eq!(
        (answer.status, answer.body_len, answer.retry_after_s),
        (0, 0, -1)
    );
    let body = (!request.body.is_null())
        // SAFETY: so many bytes are there.
        .then(|| unsafe { slice::from_raw_parts(request.body, request.body_len) }.to_vec());
    let asked = Asked {
        method: text(request.method),
        target: text(request.target),
        authorization: text(request.authorization),
        accept: text(request.accept),
        content_type: text(request.content_type),
        body,
        room: answer.body_size,
    };
    desk(user).script(|script| script.asked.push(asked));
    match next {
        Exchange::Returns(code) => return code,
        Exchange::Status(status) => answer.status = status,
        Exchange::RetryAfter(status, seconds) => {
            (answer.status, answer.retry_after_s) = (status, seconds);
        }
        Exchange::Lies => (answer.status, answer.body_len) = (200, answer.body_size + 1),
        Exchange::Body(body) => {
            assert!(body.len() <= answer.body_size);
            // SAFETY: so much room is there.
            unsafe { ptr::copy_nonoverlapping(body.as_ptr(), answer.body, body.len()) };
            (answer.status, answer.body_len) = (200, body.len());
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
    let line = text(line);
    let said = desk(user).script(|script| {
        script.lines.push(line.clone());
        let scripted = script
            .answers
            .iter()
            .position(|(start, _)| line.starts_with(start));
        if let Some((_, answer)) = scripted.and_then(|at| script.answers.remove(at)) {
            return answer;
        }
        let said = match line.as_str() {
            "AT%CCLK?" => "%CCLK: \"26/11/20,22:00:00+00\",1\r\nOK\r\n".to_owned(),
            "AT+CMEE?" => "+CMEE: 0\r\nOK\r\n".to_owned(),
            "AT+CGMR" => "mfw_nrf91x1_2.0.2\r\nOK\r\n".to_owned(),
            "AT%DEVICEUUID" => {
                "%DEVICEUUID: 50343956-3531-4a3b-8029-0a1a2b3c4d5e\r\nOK\r\n".to_owned()
            }
            "AT%ATTESTTOKEN" => "%ATTESTTOKEN: \"2dn3.0oRD\"\r\nOK\r\n".to_owned(),
            "AT+CFUN?" => format!("+CFUN: {}\r\nOK\r\n", script.mode),
            _ if line.starts_with("AT%JWT=") => "%JWT: \"h.p.s\"\r\nOK\r\n".to_owned(),
            _ => {
                if let Some(mode) = line.strip_prefix("AT+CFUN=") {
                    script.mode = mode.parse().unwrap();
                }
                "OK\r\n".to_owned()
            }
        };
        Ok(said.into_bytes())
    });
    match said {
        Err(code) => code,
        Ok(said) if said.len() > size => TOO_BIG,
        Ok(said) => {
            // SAFETY: so much room is there.
            unsafe { ptr::copy_nonoverlapping(said.as_ptr().cast(), answer, said.len()) };
            c_int::try_from(said.len()).unwrap()
        }
    }
}

extern "C" fn load(
    user: *mut c_void,
    key: *const c_char,
    value: *mut c_char,
    size: usize,
) -> c_int {
    let broken = desk(user).script(|script| script.load_returns);
    if broken < 0 {
        return broken;
    }
    match desk(user).script(|script| script.settings.get(&text(key)).cloned()) {
        None => ENOENT,
        Some(found) => {
            assert!(found.len() <= size);
            // SAFETY: so much room is there.
            unsafe { ptr::copy_nonoverlapping(found.as_ptr().cast(), value, found.len()) };
            c_int::try_from(found.len()).unwrap()
        }
    }
}

extern "C" fn save(
    user: *mut c_void,
    key: *const c_char,
    value: *const c_char,
    len: usize,
) -> c_int {
    assert!(value.addr() > 4096, "no page is there");
    // SAFETY: so many bytes are there.
    let value = unsafe { slice::from_raw_parts(value.cast::<u8>(), len) };
    let (key, value) = (text(key), String::from_utf8(value.to_vec()).unwrap());
    desk(user).script(|script| {
        if script.save_returns == 0 {
            script.settings.insert(key.clone(), value.clone());
        }
        script.saved.push((key, value));
        script.save_returns
    })
}

extern "C" fn uptime_ms(user: *mut c_void) -> u64 {
    desk(user).script(|script| script.now)
}

extern "C" fn wait(user: *mut c_void, ms: u32) {
    desk(user).script(|script| {
        assert_ne!(ms, FOREVER, "a test that would hang");
        script.waits.push(ms);
        script.now += u64::from(ms);
    });
}

extern "C" fn log(user: *mut c_void, line: *const c_char) {
    let line = text(line);
    desk(user).script(|script| script.logged.push(line));
}
