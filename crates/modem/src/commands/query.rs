//! Error reporting, functional mode, subscriptions, clock, identity (spec/modem-at §1–§3).

use super::Lines;
use super::arguments::Arguments;
use crate::Cme;
use crate::cme::{Failure, Reporting};
use crate::functional::Functional;
use crate::network::clock_text;
use crate::virtual_modem::VirtualModem;

const NOTHING: Vec<String> = Vec::new();

pub(super) fn set_error_reporting(modem: &mut VirtualModem, arguments: Arguments<'_>) -> Lines {
    arguments.at_most(1)?;
    modem.reporting = Reporting::from_number(arguments.required(0)?).ok_or(Cme::PARAMETERS)?;
    Ok(NOTHING)
}

pub(super) fn set_functional_mode(modem: &mut VirtualModem, arguments: Arguments<'_>) -> Lines {
    arguments.at_most(1)?;
    let change = modem
        .functional
        .set(arguments.required(0)?)
        .ok_or(Cme::PARAMETERS)?;
    modem.network.link(change, &modem.options);
    Ok(NOTHING)
}

/// `+CGEREP=<0|1>[,…]`, `%XTIME=<0|1>`, `+CEREG=<0…5>`.
pub(super) fn subscribe(modem: &mut VirtualModem, name: &str, arguments: Arguments<'_>) -> Lines {
    arguments.at_most(2)?;
    let n = arguments.required(0)?;
    match (name, n) {
        ("+CGEREP", 0..=1) => modem.network.packet_events = n == 1,
        ("%XTIME", 0..=1) => modem.network.time_events = n == 1,
        ("+CEREG", 0..=5) => modem.network.registration_events = n as u8,
        _ => return Err(Cme::PARAMETERS.into()),
    }
    Ok(NOTHING)
}

pub(super) fn serial_number(modem: &VirtualModem, arguments: Arguments<'_>) -> Lines {
    arguments.at_most(1)?;
    let imei = &modem.identity.imei;
    match arguments.required(0)? {
        0 => Ok(vec![imei.clone()]),
        1 => Ok(vec![format!("+CGSN: \"{imei}\"")]),
        _ => Err(Cme::PARAMETERS.into()),
    }
}

/// Commands without parameters that print who the modem is.
pub(super) fn identity(modem: &VirtualModem, name: &str) -> Lines {
    let identity = &modem.identity;
    let firmware = &identity.firmware_name;
    Ok(vec![match name {
        "+CGSN" => identity.imei.clone(),
        "+CGMI" => "Nordic Semiconductor ASA".to_owned(),
        "+CGMM" => identity.model().to_owned(),
        "+CGMR" => firmware.clone(),
        "%SHORTSWVER" => format!(
            "%SHORTSWVER: {}",
            firmware.strip_prefix("mfw_").unwrap_or(firmware)
        ),
        "%HWVERSION" => format!("%HWVERSION: {} A0A", identity.model().replace('-', " ")),
        "%XMODEMUUID" => format!("%XMODEMUUID: {}", identity.firmware),
        "%DEVICEUUID" => format!("%DEVICEUUID: {}", identity.device),
        _ => return Err(Failure::Plain),
    }])
}

pub(super) fn read(modem: &mut VirtualModem, name: &str) -> Lines {
    modem.network.settle(&modem.options);
    let network = &modem.network;
    Ok(vec![match name {
        "+CMEE" => format!("+CMEE: {}", modem.reporting.number()),
        "+CFUN" if modem.options.reads_back_literally => {
            format!("+CFUN: {}", modem.functional.last())
        }
        "+CFUN" => format!("+CFUN: {}", modem.functional.number()),
        "+CGEREP" => format!("+CGEREP: {},0", u8::from(network.packet_events)),
        "+CEREG" => format!(
            "+CEREG: {},{}",
            network.registration_events,
            if network.attached() { 5 } else { 0 }
        ),
        "%CCLK" | "+CCLK" => {
            let time = network.time().ok_or(Failure::Plain)?;
            let text = clock_text(time, modem.options.zone_quarter_hours);
            if name == "%CCLK" {
                format!("%CCLK: \"{text}\",{}", modem.options.daylight_saving)
            } else {
                format!("+CCLK: \"{text}\"")
            }
        }
        _ => return Err(Failure::Plain),
    }])
}

pub(super) fn test(name: &str) -> Lines {
    Ok(vec![match name {
        "+CMEE" => "+CMEE: (0,1,2)".to_owned(),
        "+CFUN" => format!(
            "+CFUN: ({})",
            Functional::NUMBERS.map(|n| n.to_string()).join(",")
        ),
        _ => return Err(Failure::Plain),
    }])
}
