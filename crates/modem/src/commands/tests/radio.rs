//! Functional mode, clock, notifications (§2).

use super::*;

#[test]
fn the_mode_reads_back_and_other_numbers_are_refused() {
    let mut modem = modem();
    assert_eq!(modem.line("AT+CFUN?"), "+CFUN: 0\r\nOK\r\n");
    ok(&mut modem, "AT+CFUN=1");
    for bad in ["3", "5", "99", "4294967296", "-1", "\"1\"", ""] {
        cme(&mut modem, &format!("AT+CFUN={bad}"), 50);
    }
    assert_eq!(modem.line("AT+CFUN?"), "+CFUN: 1\r\nOK\r\n");
    assert!(modem.line("AT+CFUN=?").starts_with("+CFUN: (0,1,2,4,"));
}

#[test]
fn a_boot_mode_can_be_chosen() {
    let mut modem = modem_with(Options {
        boot_mode: 1,
        ..Options::default()
    });
    assert_eq!(modem.line("AT+CFUN?"), "+CFUN: 1\r\nOK\r\n");
    assert!(modem.is_attached());
}

#[test]
fn going_online_is_announced_after_the_delay_and_going_offline_at_once() {
    let mut modem = modem_with(Options {
        attach_delay: Duration::from_secs(3),
        ..Options::default()
    });
    modem.advance(Uptime(10_000));
    ok(&mut modem, "AT+CFUN=1");
    ok(&mut modem, "AT+CGEREP=1");
    modem.advance(Uptime(12_999));
    assert_eq!(modem.notifications(), Vec::<String>::new());
    modem.advance(Uptime(13_000));
    assert_eq!(modem.notifications(), ["+CGEV: ME PDN ACT 0"]);
    assert_eq!(modem.notifications(), Vec::<String>::new());
    ok(&mut modem, "AT+CFUN=4");
    assert_eq!(modem.notifications(), ["+CGEV: ME DETACH"]);
}

#[test]
fn nothing_is_announced_to_those_who_did_not_subscribe() {
    let mut modem = modem();
    ok(&mut modem, "AT+CFUN=21");
    assert!(modem.is_attached());
    ok(&mut modem, "AT+CFUN=20");
    assert_eq!(modem.notifications(), Vec::<String>::new());
}

#[test]
fn an_attach_that_was_called_off_is_never_announced() {
    let mut modem = modem_with(Options {
        attach_delay: Duration::from_secs(3),
        ..Options::default()
    });
    ok(&mut modem, "AT+CGEREP=1");
    ok(&mut modem, "AT+CFUN=1");
    ok(&mut modem, "AT+CFUN=4");
    modem.advance(Uptime(60_000));
    assert_eq!(modem.notifications(), Vec::<String>::new());
    assert!(!modem.is_attached());
}

#[test]
fn registration_and_time_are_announced_before_the_connection() {
    let mut modem = modem();
    modem.set_time(Timestamp::from_secs(1_517_239_044));
    for line in ["AT+CGEREP=1", "AT%XTIME=1", "AT+CEREG=5", "AT+CFUN=1"] {
        ok(&mut modem, line);
    }
    assert_eq!(
        modem.notifications(),
        [
            "+CEREG: 5",
            r#"%XTIME: "00","81109251714200","00""#,
            "+CGEV: ME PDN ACT 0"
        ]
    );
    cme(&mut modem, "AT+CGEREP=2", 50);
    cme(&mut modem, "AT%XTIME=2", 50);
}

#[test]
fn the_clock_is_an_error_until_time_is_known_and_survives_going_offline() {
    let mut modem = modem_with(Options {
        zone_quarter_hours: 8,
        daylight_saving: 1,
        ..Options::default()
    });
    assert_eq!(modem.line("AT%CCLK?"), "ERROR\r\n");
    modem.set_time(Timestamp::from_secs(1_745_917_353));
    ok(&mut modem, "AT+CFUN=1");
    ok(&mut modem, "AT+CFUN=4");
    assert_eq!(
        modem.line("AT%CCLK?"),
        "%CCLK: \"25/04/29,11:02:33+08\",1\r\nOK\r\n"
    );
    assert_eq!(
        modem.line("AT+CCLK?"),
        "+CCLK: \"25/04/29,11:02:33+08\"\r\nOK\r\n"
    );
}

#[test]
fn the_mode_reads_back_as_set_if_the_firmware_does_that() {
    let mut modem = modem_with(Options {
        reads_back_literally: true,
        ..Options::default()
    });
    for n in [1, 20, 31, 40] {
        ok(&mut modem, &format!("AT+CFUN={n}"));
        assert_eq!(modem.line("AT+CFUN?"), format!("+CFUN: {n}\r\nOK\r\n"));
    }
    cme(&mut modem, "AT+CFUN=99", 50);
    assert_eq!(modem.line("AT+CFUN?"), "+CFUN: 40\r\nOK\r\n");
}

#[test]
fn a_power_cycle_forgets_modes_subscriptions_and_time() {
    let mut modem = modem();
    modem.set_time(Timestamp::from_secs(1_700_000_000));
    for line in ["AT+CGEREP=1", "AT+CEREG=1", "AT+CFUN=1"] {
        ok(&mut modem, line);
    }
    assert!(modem.is_attached());
    modem.power_on();
    assert!(!modem.is_attached());
    assert_eq!(modem.line("AT+CMEE?"), "+CMEE: 0\r\nOK\r\n");
    assert_eq!(modem.line("AT+CGEREP?"), "+CGEREP: 0,0\r\nOK\r\n");
    assert_eq!(modem.line("AT+CEREG?"), "+CEREG: 0,0\r\nOK\r\n");
    assert_eq!(modem.line("AT%CCLK?"), "ERROR\r\n");
}
