//! AT lines as devices, hosts and modems really write them.
#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;
use sectag_proto::at::{Answer, AtError, Command, Form, Parameter, Verdict, quote};

fn set(line: &str) -> Vec<Parameter> {
    match Command::parse(line).unwrap().form {
        Form::Set(parameters) => parameters,
        other => panic!("{line}: {other:?}"),
    }
}

fn bare(text: &str) -> Parameter {
    Parameter::Bare(text.into())
}

#[test]
fn a_name_is_case_insensitive_and_has_four_forms() {
    for (line, name, form) in [
        ("AT", "", Form::Execute),
        ("at+cfun?", "+CFUN", Form::Read),
        ("AT+CFUN=?", "+CFUN", Form::Test),
        ("AT%attesttoken", "%ATTESTTOKEN", Form::Execute),
        ("\nAT+CFUN=4\r", "+CFUN", Form::Set(vec![bare("4")])),
        ("AT+CFUN=", "+CFUN", Form::Set(vec![])),
    ] {
        let command = Command::parse(line).unwrap();
        assert_eq!(
            (command.name.as_str(), command.form),
            (name, form),
            "{line}"
        );
    }
}

#[test]
fn spaces_after_commas_and_omitted_parameters_are_tolerated() {
    assert_eq!(set("AT%CMNG=1, 42"), [bare("1"), bare("42")]);
    assert_eq!(
        set("AT%JWT=0,300, \"\" ,,"),
        [
            bare("0"),
            bare("300"),
            Parameter::Text(String::new()),
            Parameter::Omitted,
            Parameter::Omitted
        ]
    );
}

#[test]
fn a_pem_travels_with_its_line_breaks() {
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB,=?\r\n-----END CERTIFICATE-----\n";
    let line = format!("AT%CMNG=0,42,0,{}", quote(pem).unwrap());
    assert_eq!(
        set(&line),
        [
            bare("0"),
            bare("42"),
            bare("0"),
            Parameter::Text(pem.into())
        ]
    );
}

#[test]
fn what_is_no_command_is_refused_by_name() {
    for (line, error) in [
        ("", AtError::NotAt),
        ("A", AtError::NotAt),
        ("ä", AtError::NotAt),
        ("hello", AtError::NotAt),
        ("AT+CFUN?4", AtError::Name),
        ("AT%CM NG=1", AtError::Name),
        ("AT%CMNG=0,1,0,\"abc", AtError::OpenQuote),
        ("AT%CMNG=0,1,0,\"abc\"def", AtError::AfterQuote),
        ("AT%CMNG=0,1,0,abc\"def\"", AtError::StrayQuote),
    ] {
        assert_eq!(Command::parse(line), Err(error), "{line}");
    }
}

#[test]
fn a_quoted_text_that_spans_lines_is_one_line_of_the_answer() {
    let text = "%CMNG: 42,0,\"AB12\",\"-----BEGIN CERTIFICATE-----\nOK\r\nERROR\r\n\
                -----END CERTIFICATE-----\n\"\r\n%CMNG: 42,1,\"CD\"\r\nOK\r\n";
    let answer = Answer::parse(text).unwrap();
    assert_eq!(answer.lines.len(), 2);
    assert_eq!(answer.verdict, Verdict::Ok);
    assert!(
        answer
            .info("%CMNG:")
            .unwrap()
            .ends_with("CERTIFICATE-----\n\"")
    );
    assert_eq!(answer.print(), text);
}

#[test]
fn verdicts_with_and_without_numbers() {
    for (text, verdict) in [
        ("OK\r\n", Verdict::Ok),
        ("\r\nOK\r\n", Verdict::Ok),
        ("OK", Verdict::Ok),
        ("ERROR\r\n", Verdict::Error),
        ("+CME ERROR: 513\r\n", Verdict::Cme(Some(513))),
        ("+CME ERROR: not found\r\n", Verdict::Cme(None)),
        ("+CME ERROR: 99999999999\r\n", Verdict::Cme(None)),
        ("+CME ERROR: +5\r\n", Verdict::Cme(None)),
        ("+CMS ERROR: 500\r\n", Verdict::Cms(Some(500))),
    ] {
        assert_eq!(Answer::parse(text).unwrap().verdict, verdict, "{text:?}");
    }
}

#[test]
fn notifications_are_not_the_verdict() {
    let before = Answer::parse("+CGEV: ME PDN ACT 0\r\n+CFUN: 1\r\nOK\r\n").unwrap();
    assert_eq!(before.info("+CFUN:"), Some("1"));
    assert_eq!(before.verdict, Verdict::Ok);
    let after = Answer::parse("+CFUN: 1\r\nOK\r\n%XTIME: \"08\"\r\n+CEREG: 5\r\n").unwrap();
    assert_eq!(after.verdict, Verdict::Ok);
    assert_eq!(after.lines, ["+CFUN: 1"]);
    assert_eq!(
        Answer::parse("OKAY\r\n%INFO: OK\r\n"),
        Err(AtError::NoVerdict)
    );
}

#[test]
fn an_answer_that_was_cut_has_no_verdict() {
    for text in [
        "",
        "\r\n",
        "%KEYGEN: \"abc\"\r\n",
        "%CMNG: 1,0,\"AB\nOK\r\n",
    ] {
        assert_eq!(Answer::parse(text), Err(AtError::NoVerdict), "{text:?}");
    }
}

#[test]
fn information_is_found_by_its_prefix_and_loses_its_quotes() {
    let answer = Answer::parse("%KEYGEN: \"abc.def\"\r\nOK\r\n").unwrap();
    assert_eq!(answer.info("%KEYGEN:"), Some("\"abc.def\""));
    assert_eq!(answer.info_text("%KEYGEN:"), Some("abc.def"));
    assert_eq!(answer.info("%JWT:"), None);
    let bare = Answer::parse("%DEVICEUUID: 5036\r\nOK\r\n").unwrap();
    assert_eq!(bare.info_text("%DEVICEUUID:"), Some("5036"));
}

#[test]
fn what_no_quote_can_carry_is_refused() {
    assert_eq!(quote("a\"b"), Err('"'));
    assert_eq!(quote("a\0b"), Err('\0'));
}

fn parameter() -> impl Strategy<Value = Parameter> {
    prop_oneof![
        "[^\"\\x00]{0,60}".prop_map(Parameter::Text),
        "[0-9A-Za-z]{1,12}".prop_map(Parameter::Bare),
        Just(Parameter::Omitted),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn written_parameters_are_read_back(parameters in vec(parameter(), 1..6)) {
        // A single omitted parameter is written as nothing, which is no parameter.
        prop_assume!(parameters != [Parameter::Omitted]);
        let written: Vec<_> = parameters
            .iter()
            .map(|parameter| match parameter {
                Parameter::Text(text) => quote(text).unwrap(),
                Parameter::Bare(text) => text.clone(),
                Parameter::Omitted => String::new(),
            })
            .collect();
        prop_assert_eq!(set(&format!("AT%X={}\r\n", written.join(","))), parameters);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        let _ = Command::parse(&text);
        let _ = Command::parse(&format!("AT{text}"));
        let _ = Answer::parse(&text);
    }

    #[test]
    fn a_parsed_answer_prints_and_parses_to_itself(
        lines in vec("[ -~]{0,30}|\"[ -!#-~\r\n]{0,30}\"", 0..5),
        verdict in prop::sample::select(vec!["OK", "ERROR", "+CME ERROR: 4"]),
    ) {
        let text = format!("{}\r\n{verdict}\r\n", lines.join("\r\n"));
        if let Ok(answer) = Answer::parse(&text) {
            prop_assert_eq!(Answer::parse(&answer.print()), Ok(answer));
        }
    }
}
