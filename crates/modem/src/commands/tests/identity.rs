//! Who the modem is (§3).

use super::*;

#[test]
fn identity_queries_print_the_lines_tools_look_for() {
    let mut modem = modem();
    let identity = modem.identity().clone();
    for (line, printed) in [
        ("AT+CGSN", identity.imei.clone()),
        ("AT+CGSN=1", format!("+CGSN: \"{}\"", identity.imei)),
        ("AT+CGMI", "Nordic Semiconductor ASA".to_owned()),
        ("AT+CGMM", "nRF9151-LACA".to_owned()),
        ("AT+CGMR", "mfw_nrf91x1_2.0.2".to_owned()),
        ("AT%SHORTSWVER", "%SHORTSWVER: nrf91x1_2.0.2".to_owned()),
        ("AT%HWVERSION", "%HWVERSION: nRF9151 LACA A0A".to_owned()),
        (
            "AT%XMODEMUUID",
            format!("%XMODEMUUID: {}", identity.firmware),
        ),
        ("AT%DEVICEUUID", format!("%DEVICEUUID: {}", identity.device)),
    ] {
        assert_eq!(modem.line(line), format!("{printed}\r\nOK\r\n"), "{line}");
    }
    cme(&mut modem, "AT+CGSN=7", 50);
}
