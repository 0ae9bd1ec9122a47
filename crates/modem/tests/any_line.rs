//! Whatever comes in, the modem ends its answer properly and keeps its secrets.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sectag_modem::{Identity, Modem, Options, SharedModem, VirtualModem, seeded};
use sectag_proto::at::Answer;
use sectag_proto::{Timestamp, Uptime};

const WRITTEN_SECRET: &str = "5ec2e75ec2e75ec2e7aa";

/// Lines that are nearly right find more than noise does.
fn line() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("%CMNG"),
        Just("%KEYGEN"),
        Just("%JWT"),
        Just("%ATTESTTOKEN"),
        Just("+CFUN"),
        Just("+CMEE"),
        Just("+CGEREP"),
        Just("%CCLK"),
        Just("+CGSN"),
        Just("%KEYINJECT"),
        Just("%CLAIMTOKEN"),
        Just("#SECTAGSIGN"),
    ];
    let parameter = prop_oneof![
        4 => (0_u32..10).prop_map(|n| n.to_string()),
        2 => Just("42".to_owned()),
        1 => any::<u64>().prop_map(|n| n.to_string()),
        2 => "\"[ -~\r\n]{0,40}\"",
        1 => Just(String::new()),
        1 => "[ -~]{0,6}",
    ];
    let form = prop_oneof![
        Just(String::new()),
        Just("?".to_owned()),
        Just("=?".to_owned()),
        prop::collection::vec(parameter, 0..7).prop_map(|list| format!("={}", list.join(","))),
    ];
    prop_oneof![
        9 => (name, form).prop_map(|(name, form)| format!("AT{name}{form}")),
        1 => any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_answer_ends_in_a_final_result_and_holds_no_private_key(
        lines in prop::collection::vec(line(), 1..24),
        seed in any::<u64>(),
    ) {
        let options = Options {
            remote_signing: true,
            ..Options::default()
        };
        let mut modem = VirtualModem::new(Identity::from_seed(seed), options, seeded(seed));
        modem.set_time(Timestamp::from_secs(seed % 5_000_000_000));
        modem.line("AT+CMEE=1");
        prop_assert_eq!(modem.line(&format!("AT%CMNG=0,42,3,\"{WRITTEN_SECRET}\"")), "OK\r\n");
        modem.line("AT%KEYGEN=42,8,1");
        for (at, line) in lines.iter().enumerate() {
            modem.advance(Uptime(at as u64 * 1000));
            let text = modem.line(line);
            prop_assert!(text.ends_with("\r\n"));
            prop_assert!(Answer::parse(&text).is_ok(), "{line:?} answered {text:?}");
            prop_assert!(!text.contains("PRIVATE KEY") || line.contains("PRIVATE KEY"), "{text}");
            prop_assert!(!text.contains(WRITTEN_SECRET), "{text}");
            for notification in modem.notifications() {
                prop_assert!(!notification.contains(['\r', '\n']));
            }
        }
        let shown = format!("{:?}", SharedModem::new(modem));
        prop_assert!(!shown.contains("PRIVATE") && !shown.contains(WRITTEN_SECRET));
    }
}

#[test]
fn a_content_that_looks_like_an_answer_does_not_end_one() {
    let mut modem = VirtualModem::from_seed(1);
    let content = "first\r\nOK\r\n+CME ERROR: 5\r\nlast";
    assert_eq!(
        modem.line(&format!("AT%CMNG=0,1,4,\"{content}\"")),
        "OK\r\n"
    );
    let answer = Answer::parse(&modem.line("AT%CMNG=2,1,4")).unwrap();
    assert_eq!(answer.lines.len(), 1);
    assert!(answer.lines[0].ends_with(&format!("\"{content}\"")));
}
