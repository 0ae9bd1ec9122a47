//! Options from C, with their defaults and ranges.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use core::ffi::{c_char, c_int};
use core::mem::size_of;
use core::ptr;
use core::time::Duration;

use sectag_proto::device::{Client, ClientConfig, Conduct, Config};

use crate::config::Options;
use crate::errno::Code;
use crate::ffi::carrier::{Carrier, sectag_carrier};
use crate::ffi::text;
use crate::handle::Handle;

/// See the header.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the header says what they mean, once")]
pub struct sectag_config {
    pub size: usize,
    pub modem_version: *const c_char,
    pub client_version: *const c_char,
    pub settings_path: *const c_char,
    pub rx_bytes_max: u32,
    pub tx_bytes_max: u32,
    pub records_max: u32,
    pub at_bytes: u32,
    pub answer_bytes_start: u32,
    pub jwt_sec_tag: u32,
    pub jwt_validity_s: u32,
    pub time_wait_s: u32,
    pub radio_wait_s: u32,
    pub radio_rest_ms: u32,
    pub save_command_id: c_int,
    pub provide_attestation_token: c_int,
    pub lte_by_program: c_int,
    pub faithful: c_int,
    pub auto_start: c_int,
    pub scheduled: c_int,
    pub interval_s: u32,
    pub spread_s: u32,
    pub initial_backoff_s: u32,
    pub seed: u64,
}

/// Longest text option, in bytes: far above any version, and the service takes no longer one.
const TEXT_BYTES_MAX: usize = 128;
/// No device has a buffer of a mebibyte; a larger number is a mistake.
const BUFFER_BYTES_MAX: u32 = 1 << 20;

/// Sets the size and the defaults.
///
/// # Safety
/// `config` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_config_init(config: *mut sectag_config) {
    if config.is_null() {
        return;
    }
    // SAFETY: not NULL, and the caller vouches that it may be written.
    unsafe { config.write(defaults()) };
}

/// Sets the size, everything else to NULL.
///
/// # Safety
/// `carrier` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sectag_carrier_init(carrier: *mut sectag_carrier) {
    if carrier.is_null() {
        return;
    }
    let empty = sectag_carrier {
        size: size_of::<sectag_carrier>(),
        user: ptr::null_mut(),
        fetch: None,
        report: None,
        at_line: None,
        load: None,
        save: None,
        network: None,
        uptime_ms: None,
        wait: None,
        log: None,
    };
    // SAFETY: not NULL, and the caller vouches that it may be written.
    unsafe { carrier.write(empty) };
}

fn defaults() -> sectag_config {
    let client = ClientConfig::default();
    let session = &client.session;
    let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    sectag_config {
        size: size_of::<sectag_config>(),
        modem_version: ptr::null(),
        client_version: ptr::null(),
        settings_path: ptr::null(),
        rx_bytes_max: session.rx_bytes_max,
        tx_bytes_max: session.tx_bytes_max,
        records_max: session.records_max,
        at_bytes: session.at_bytes,
        answer_bytes_start: u32::try_from(session.answer_bytes_start).unwrap_or(u32::MAX),
        jwt_sec_tag: session.jwt_sec_tag,
        jwt_validity_s: seconds(session.jwt_validity),
        time_wait_s: seconds(session.time_wait),
        radio_wait_s: seconds(session.radio_wait),
        radio_rest_ms: seconds(session.radio_rest).saturating_mul(1000),
        save_command_id: c_int::from(session.save_command_id),
        provide_attestation_token: c_int::from(session.provide_attestation_token),
        lte_by_program: 0,
        faithful: 0,
        auto_start: c_int::from(client.auto_start),
        scheduled: c_int::from(client.scheduled),
        interval_s: seconds(client.interval),
        spread_s: seconds(client.spread),
        initial_backoff_s: seconds(client.initial_backoff),
        seed: 0,
    }
}

/// What a client or session is made from.
///
/// # Safety
/// Both are NULL or structures of this header, as large as their `size` says.
pub(crate) unsafe fn handle(
    config: *const sectag_config,
    carrier: *const sectag_carrier,
) -> Result<Handle, Code> {
    if config.is_null() || carrier.is_null() {
        return Err(Code::INVAL);
    }
    // SAFETY: `size` is the first member of both, and they are as large as it says; the rest is read only when that is
    // what this library knows.
    let (config, carrier) = unsafe {
        if (&raw const (*config).size).read() != size_of::<sectag_config>()
            || (&raw const (*carrier).size).read() != size_of::<sectag_carrier>()
        {
            return Err(Code::INVAL);
        }
        (config.read(), carrier.read())
    };
    let carrier = Carrier::new(carrier)?;
    // SAFETY: the strings of a structure of this header are NULL or end in NUL.
    let options = unsafe { options(&config) }.map_err(|words| {
        carrier.log(&words);
        Code::INVAL
    })?;
    Ok(Handle::new(carrier, options))
}

/// The options, or which one is out of its range.
///
/// # Safety
/// The strings are NULL or end in NUL.
unsafe fn options(config: &sectag_config) -> Result<Options, String> {
    let words = |name: &str, given| {
        // SAFETY: the caller vouches for it.
        match unsafe { text(given) } {
            Ok(Some(text)) if text.is_empty() || text.len() > TEXT_BYTES_MAX => Err(format!(
                "{name} has {} bytes, not 1 to {TEXT_BYTES_MAX}",
                text.len()
            )),
            Ok(text) => Ok(text.map(str::to_owned)),
            Err(_) => Err(format!("{name} is not UTF-8")),
        }
    };
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    let default = Config::default();
    let session = Config {
        modem_version: String::new(),
        client_version: words("client_version", config.client_version)?
            .unwrap_or(default.client_version),
        rx_bytes_max: within("rx_bytes_max", config.rx_bytes_max, 256, BUFFER_BYTES_MAX)?,
        tx_bytes_max: within("tx_bytes_max", config.tx_bytes_max, 64, BUFFER_BYTES_MAX)?,
        records_max: within("records_max", config.records_max, 1, 1000)?,
        config_pairs_max: default.config_pairs_max,
        at_bytes: within("at_bytes", config.at_bytes, 0, BUFFER_BYTES_MAX)?,
        answer_bytes_start: usize::try_from(within(
            "answer_bytes_start",
            config.answer_bytes_start,
            64,
            4096,
        )?)
        .unwrap_or(usize::MAX),
        jwt_sec_tag: config.jwt_sec_tag,
        jwt_validity: seconds(within("jwt_validity_s", config.jwt_validity_s, 1, 360)?),
        time_wait: seconds(config.time_wait_s),
        radio_wait: seconds(config.radio_wait_s),
        radio_rest: Duration::from_millis(u64::from(config.radio_rest_ms)),
        save_command_id: config.save_command_id != 0,
        settings_path: words("settings_path", config.settings_path)?
            .unwrap_or(default.settings_path),
        after: None,
        provide_attestation_token: config.provide_attestation_token != 0,
        conduct: match config.faithful {
            0 => Conduct::Careful,
            _ => Conduct::Firmware,
        },
        // The callbacks of this library are HTTP's.
        transport: default.transport,
    };
    let client = ClientConfig {
        session,
        auto_start: config.auto_start != 0,
        scheduled: config.scheduled != 0,
        interval: seconds(within("interval_s", config.interval_s, 1, u32::MAX)?),
        spread: seconds(config.spread_s),
        initial_backoff: seconds(within(
            "initial_backoff_s",
            config.initial_backoff_s,
            1,
            u32::MAX,
        )?),
        seed: config.seed,
    };
    // The machine has a say in what fits together.
    Client::new(client.clone()).map_err(|refusal| format!("{refusal}"))?;
    Ok(Options {
        client,
        modem_version: words("modem_version", config.modem_version)?,
        seed: (config.seed != 0).then_some(config.seed),
        lte_by_program: config.lte_by_program != 0,
    })
}

fn within(name: &str, given: u32, min: u32, max: u32) -> Result<u32, String> {
    if (min..=max).contains(&given) {
        return Ok(given);
    }
    Err(match max {
        u32::MAX => format!("{name} is {given}, not {min} or more"),
        _ => format!("{name} is {given}, not {min} to {max}"),
    })
}
