#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use sectag_pki::{Authority, PrivateKey, Purpose};

const NOW_S: u64 = 1_800_000_000;

fn rules() -> RowRules {
    RowRules::of_the_home(Timestamp::from_secs(NOW_S))
}

fn issued(cn: &str) -> String {
    let root = Authority::root("Theirs", NOW_S).unwrap();
    let key = PrivateKey::generate().unwrap();
    let made = root.issue_device(&key.spki_der(), cn, NOW_S).unwrap();
    made.pem()
}

fn fields(id: &str, pem: &str) -> Vec<String> {
    [id, "gateway", "a|b", "APP|MODEM", pem]
        .map(str::to_owned)
        .to_vec()
}

#[test]
fn a_good_row_is_read() {
    let pem = issued("nrf-351358811124484");
    let read = row(&fields("nrf-351358811124484", &pem), &rules()).unwrap();
    assert_eq!(read.subject, Subject::Named("nrf-351358811124484".into()));
    assert_eq!((read.tags.len(), read.firmware_types.len()), (2, 2));
    let new = NewRegistration::from(read);
    assert_eq!(new.certificate.issuer, "CN=Theirs");
    // A script that wrote two characters where a line ends.
    let flat = pem.replace('\n', "\\n");
    assert!(row(&fields("nrf-351358811124484", &flat), &rules()).is_ok());
    // A device id in other letters is the same device; its certificate has our spelling.
    let device = DeviceId::from_bytes([0xab; 16]);
    let pem = issued(&device.to_string());
    let read = row(&fields(&device.to_string().to_uppercase(), &pem), &rules());
    assert_eq!(read.unwrap().subject, Subject::Device(device));
}

#[test]
fn each_mistake_has_its_words() {
    let good = issued("dev-1");
    let root = Authority::root("Theirs", NOW_S).unwrap();
    let key = PrivateKey::generate().unwrap();
    let spki = key.spki_der();
    let operator = root.issue_operator(&spki, "dev-1", NOW_S).unwrap().pem();
    let server = root
        .issuing(Purpose::Servers, NOW_S)
        .unwrap()
        .issue_server(&spki, &["dev-1".parse().unwrap()], NOW_S)
        .unwrap()
        .pem();
    let old = root
        .issue_device_for(&spki, "dev-1", NOW_S, 1)
        .unwrap()
        .pem();
    let two = format!("{good}{good}");
    let long = sectag_pki::pem::encode("CERTIFICATE", &[0x30; 17 * 1024]);
    let later = RowRules::of_the_home(Timestamp::from_secs(NOW_S + 2));
    for (fields, rules, words) in [
        (vec!["dev-1".to_owned()], rules(), "1 columns; 5"),
        (fields("", &good), rules(), "device id has 1 to 64"),
        (fields("a/b", &good), rules(), "device id has 1 to 64"),
        (fields("operator", &good), rules(), "operator's own"),
        (fields("dev-1", "nothing"), rules(), "not a certificate"),
        (fields("dev-1", &two), rules(), "the row has 2"),
        (fields("dev-1", &long), rules(), "17408 bytes, limit 16384"),
        (fields("dev-2", &good), rules(), "is for CN=dev-1"),
        (fields("dev-1", &operator), rules(), "operator"),
        (fields("dev-1", &server), rules(), "not for clients"),
        (fields("dev-1", &old), later, "expired at 2027-01-15"),
    ] {
        let said = row(&fields, &rules).unwrap_err();
        assert!(said.contains(words), "{words}: {said}");
    }
    let mut tags = fields("dev-1", &good);
    tags[2] = (0..30).map(|n| format!("t{n}|")).collect();
    assert!(row(&tags, &rules()).unwrap_err().contains("30 tags"));
}

#[test]
fn an_id_that_is_no_device_needs_a_place_for_its_topics() {
    let good = issued("dev-1");
    let theirs = |has_prefix, is_scoped| RowRules {
        is_home: false,
        has_prefix,
        is_scoped,
        ..rules()
    };
    assert!(row(&fields("dev-1", &good), &theirs(true, false)).is_ok());
    for (rules, words) in [
        (theirs(false, false), "no topic prefix"),
        (theirs(true, true), "limited to tags"),
    ] {
        let said = row(&fields("dev-1", &good), &rules).unwrap_err();
        assert!(said.contains(words), "{said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_row_is_read_or_refused_in_words(fields in proptest::collection::vec(".{0,40}", 0..8)) {
        if let Err(reason) = row(&fields, &rules()) {
            prop_assert!(!reason.is_empty());
        }
    }

    #[test]
    fn what_is_quoted_comes_back(
        rows in proptest::collection::vec(proptest::collection::vec("[a-z \",\n|]{0,12}", 1..6), 1..6)
    ) {
        let text: String = rows
            .iter()
            .map(|row| {
                let quoted: Vec<String> =
                    row.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
                quoted.join(",") + "\r\n"
            })
            .collect();
        prop_assert_eq!(crate::owner_api::csv_rows(&text).unwrap(), rows);
    }
}
