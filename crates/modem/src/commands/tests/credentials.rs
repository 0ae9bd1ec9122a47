//! `%CMNG` (§4).

use super::*;

#[test]
fn an_empty_tag_lists_as_ok_and_not_as_an_error() {
    assert_eq!(modem().line("AT%CMNG=1,42"), OK);
    assert_eq!(modem().line("AT%CMNG=1, 42"), OK);
}

#[test]
fn a_list_line_has_tag_type_and_upper_case_digest() {
    let mut modem = modem();
    assert_eq!(modem.line(&write(16, 4, "abc")), OK);
    assert_eq!(
        modem.line("AT%CMNG=1,16"),
        "%CMNG: 16,4,\"BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD\"\r\nOK\r\n"
    );
    assert_eq!(modem.line("AT%CMNG=1,16,4"), modem.line("AT%CMNG=1,16"));
    assert_eq!(modem.line("AT%CMNG=1,16,3"), OK);
    assert_eq!(modem.line("AT%CMNG=1,17"), OK);
}

#[test]
fn a_complete_list_is_in_order_and_ends_with_the_modems_own_tags() {
    let mut modem = modem();
    for (tag, kind) in [(20, 4), (3, 4), (20, 0)] {
        let content = if kind == 0 { CA } else { "x" };
        ok(&mut modem, &write(tag, kind, content));
    }
    let tags = |answer: Answer| -> Vec<String> {
        let head = |line: &String| line.split(",\"").next().unwrap().to_owned();
        answer.lines.iter().map(head).collect()
    };
    assert_eq!(
        tags(ok(&mut modem, "AT%CMNG=1")),
        [
            "%CMNG: 3,4",
            "%CMNG: 20,0",
            "%CMNG: 20,4",
            "%CMNG: 4294967292,11",
            "%CMNG: 4294967293,10",
            "%CMNG: 4294967294,6"
        ]
    );
    cme(&mut modem, "AT%CMNG=3,4294967294,6", 514);
    let mut quiet = modem_with(Options {
        lists_own_tags: false,
        ..Options::default()
    });
    assert_eq!(quiet.line("AT%CMNG=1"), OK);
}

#[test]
fn a_type_without_a_tag_is_no_list() {
    cme(&mut modem(), "AT%CMNG=1,,2", 50);
}

#[test]
fn what_is_read_is_what_was_written_byte_for_byte() {
    let mut modem = modem();
    let crlf = CA.replace('\n', "\r\n");
    let mut digests = Vec::new();
    for content in [CA, crlf.as_str(), CA.trim_end()] {
        ok(&mut modem, &write(42, 0, content));
        let text = modem.line("AT%CMNG=2,42,0");
        let (head, rest) = text.split_at("%CMNG: 42,0,\"".len() + 64);
        assert!(head.starts_with("%CMNG: 42,0,\""));
        assert_eq!(rest, format!("\",\"{content}\"\r\nOK\r\n"));
        digests.push(head.to_owned());
    }
    digests.dedup();
    assert_eq!(digests.len(), 3, "line ends change the digest");
}

#[test]
fn private_keys_and_psks_are_never_read() {
    let mut modem = modem();
    ok(&mut modem, &write(42, 2, "private"));
    ok(&mut modem, &write(42, 3, "c0ffee"));
    ok(&mut modem, "AT%KEYGEN=42,8,1");
    for kind in [2, 3, 8] {
        cme(&mut modem, &format!("AT%CMNG=2,42,{kind}"), 514);
    }
    cme(&mut modem, "AT%CMNG=2,42,0", 513);
}

#[test]
fn writing_overwrites_and_deleting_deletes() {
    let mut modem = modem();
    ok(&mut modem, &write(1, 4, "one"));
    ok(&mut modem, &write(1, 4, "two"));
    assert!(modem.line("AT%CMNG=2,1,4").contains("\"two\""));
    ok(&mut modem, "AT%CMNG=3,1,4");
    cme(&mut modem, "AT%CMNG=3,1,4", 513);
    assert_eq!(modem.line("AT%CMNG=1,1"), OK);
    assert_eq!(modem.flash_writes(), 3);
}

#[test]
fn storage_changes_only_offline_but_lists_and_reads_at_any_time() {
    let mut modem = modem();
    ok(&mut modem, &write(1, 4, "one"));
    for mode in [1, 2, 21] {
        ok(&mut modem, &format!("AT+CFUN={mode}"));
        cme(&mut modem, &write(1, 4, "two"), 518);
        cme(&mut modem, "AT%CMNG=3,1,4", 518);
        cme(&mut modem, "AT%KEYGEN=2,2,0", 518);
        assert!(modem.line("AT%CMNG=1,1").starts_with("%CMNG: 1,4,"));
        assert!(modem.line("AT%CMNG=2,1,4").contains("\"one\""));
        ok(&mut modem, "AT%ATTESTTOKEN");
    }
    for mode in [0, 4, 20, 30, 31, 40, 41, 44] {
        ok(&mut modem, "AT+CFUN=4");
        ok(&mut modem, &format!("AT+CFUN={mode}"));
        ok(&mut modem, &write(1, 4, "two"));
    }
}

#[test]
fn parameters_out_of_range_are_refused() {
    let mut modem = modem();
    for line in [
        "AT%CMNG=0,1,4",
        "AT%CMNG=0,1,4,\"\"",
        "AT%CMNG=0,1,4,bare",
        "AT%CMNG=0,4294967296,4,\"x\"",
        "AT%CMNG=0,1,7,\"x\"",
        "AT%CMNG=0,1,12,\"x\"",
        "AT%CMNG=0,1,256,\"x\"",
        "AT%CMNG=0,-1,4,\"x\"",
        "AT%CMNG=0,,4,\"x\"",
        "AT%CMNG=0,1,4,\"x\",\"012345678901234567890123456789012\"",
        "AT%CMNG=0,1,4,\"x\",\"p\",1",
        "AT%CMNG=0,1,3,\"nothex\"",
        "AT%CMNG=0,1,3,\"abc\"",
        "AT%CMNG=3,1",
        "AT%CMNG=2,1",
        "AT%CMNG=4",
        "AT%CMNG=\"1\"",
    ] {
        cme(&mut modem, line, 50);
    }
    cme(&mut modem, &write(1, 4, &"x".repeat(4097)), 50);
    ok(&mut modem, &write(1, 4, &"x".repeat(4096)));
}

#[test]
fn users_write_their_tags_and_types_and_the_modem_keeps_its_own() {
    let mut modem = modem();
    for tag in [0, 2_147_483_647, 2_147_483_648, 2_147_483_667] {
        ok(&mut modem, &write(tag, 4, "x"));
    }
    cme(&mut modem, &write(2_147_483_668, 4, "x"), 514);
    for kind in [5, 6, 8, 9, 10, 11] {
        cme(&mut modem, &write(1, kind, "x"), 514);
    }
    for kind in [6, 10, 11] {
        cme(&mut modem, &format!("AT%CMNG=3,1,{kind}"), 514);
    }
}

#[test]
fn certificates_must_parse_unless_the_firmware_is_old() {
    let mut modem = modem();
    for kind in [0, 1] {
        cme(&mut modem, &write(1, kind, "garbage"), 527);
        ok(&mut modem, &write(1, kind, CA));
    }
    let mut old = modem_with(Options {
        checks_certificates: false,
        ..Options::default()
    });
    ok(&mut old, &write(1, 0, "garbage"));
}

#[test]
fn a_full_storage_says_so_and_keeps_what_it_has() {
    let mut modem = modem_with(Options {
        storage_bytes_max: 200,
        ..Options::default()
    });
    ok(&mut modem, &write(1, 4, &"x".repeat(150)));
    cme(&mut modem, &write(2, 4, &"x".repeat(51)), 515);
    cme(&mut modem, "AT%KEYGEN=3,2,0", 515);
    assert_eq!(modem.line("AT%CMNG=1,3"), OK);
    ok(&mut modem, &write(1, 4, &"x".repeat(200)));
}

#[test]
fn a_failing_supply_refuses_changes_and_nothing_else() {
    let mut modem = modem_with(Options {
        power_off_warning: true,
        ..Options::default()
    });
    for line in [
        write(7, 4, "me").as_str(),
        "AT%CMNG=3,7,4",
        "AT%KEYGEN=7,2,1",
    ] {
        cme(&mut modem, line, 528);
    }
    ok(&mut modem, "AT%CMNG=1");
    ok(&mut modem, "AT%ATTESTTOKEN");
}

#[test]
fn entries_are_limited_as_well_as_bytes() {
    let mut modem = modem_with(Options {
        storage_entries_max: 2,
        ..Options::default()
    });
    ok(&mut modem, &write(1, 4, "a"));
    ok(&mut modem, &write(2, 4, "b"));
    cme(&mut modem, &write(3, 4, "c"), 515);
    cme(&mut modem, "AT%KEYGEN=3,2,1", 515);
    ok(&mut modem, &write(1, 4, "longer"));
    ok(&mut modem, "AT%CMNG=3,2,4");
    ok(&mut modem, &write(3, 4, "c"));
}

#[test]
fn a_claim_token_needs_an_ownership_key_that_is_not_there() {
    let mut modem = modem();
    cme(&mut modem, "AT%CLAIMTOKEN=22", 529);
    cme(
        &mut modem,
        "AT%CLAIMTOKEN=22,\"90115c20ac3f381b520b43c76bd5d99c\"",
        529,
    );
    cme(&mut modem, "AT%CLAIMTOKEN=22,\"90\"", 50);
    cme(&mut modem, "AT%CLAIMTOKEN=", 50);
}
