//! What the authorities issue: the right extensions, the right lifetimes, and chains that verifiers take.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use sectag_pki::chain::{self, Check, VerifyError};
use sectag_pki::{
    Authority, Certificate, DeviceTerms, PkiError, PrivateKey, Purpose, Role, ServerName, identity,
    show,
};

const NOW_S: u64 = 1_780_000_000;
const DAY_S: u64 = 86_400;

struct Town {
    root: Authority,
    servers: Authority,
    devices: Authority,
}

impl Town {
    fn new() -> Self {
        let root = Authority::root("Town", NOW_S).unwrap();
        let servers = root.issuing(Purpose::Servers, NOW_S).unwrap();
        let devices = root.issuing(Purpose::Devices, NOW_S).unwrap();
        Self {
            root,
            servers,
            devices,
        }
    }

    fn device(&self, cn: &str) -> Certificate {
        let key = PrivateKey::generate().unwrap();
        self.devices
            .issue_device(&key.spki_der(), cn, NOW_S)
            .unwrap()
    }

    fn server(&self, names: &[&str]) -> Certificate {
        let names: Vec<ServerName> = names.iter().map(|n| n.parse().unwrap()).collect();
        let key = PrivateKey::generate().unwrap();
        self.servers
            .issue_server(&key.spki_der(), &names, NOW_S)
            .unwrap()
    }

    fn check<'a>(&'a self, between: &'a [&'a [u8]], purpose: Purpose) -> Check<'a> {
        Check {
            root: self.root.certificate_der(),
            intermediates: between,
            purpose,
            now_s: NOW_S,
            crl: None,
            name: None,
        }
    }
}

#[test]
fn the_authorities_have_their_profiles() {
    let town = Town::new();
    let root = show(town.root.certificate_der()).unwrap();
    let devices = show(town.devices.certificate_der()).unwrap();
    assert_eq!(
        (root.version, root.is_ca, root.path_length),
        (3, true, Some(1))
    );
    assert_eq!((devices.is_ca, devices.path_length), (true, Some(0)));
    assert_eq!(root.subject, "CN=Town");
    assert_eq!(devices.subject, "CN=Town devices");
    assert_eq!(devices.issuer, "CN=Town");
    assert_eq!(root.key_usages, ["keyCertSign", "cRLSign"]);
    assert_eq!(devices.key_usages, ["keyCertSign", "cRLSign"]);
    assert_eq!(devices.extended_key_usages, ["clientAuth"]);
    assert_eq!(devices.authority_key_id, root.subject_key_id);
    assert!(devices.subject_key_id.is_some());
    assert_eq!(root.not_before_s, NOW_S - 3600);
    assert!(root.not_after_s > NOW_S + 19 * 365 * DAY_S);
}

#[test]
fn a_server_certificate_names_what_it_serves() {
    let town = Town::new();
    let facts = show(town.server(&["localhost", "127.0.0.1", "[::1]"]).der()).unwrap();
    assert_eq!(facts.names, ["DNS:localhost", "IP:127.0.0.1", "IP:::1"]);
    assert_eq!(facts.extended_key_usages, ["serverAuth"]);
    assert_eq!(facts.key_usages, ["digitalSignature", "keyAgreement"]);
    assert_eq!(facts.not_after_s, NOW_S + 397 * DAY_S);
    assert!(!facts.is_ca);
    let key = PrivateKey::generate().unwrap();
    let nameless = town.servers.issue_server(&key.spki_der(), &[], NOW_S);
    assert!(matches!(nameless, Err(PkiError::NoNames)));
    assert!("not a name".parse::<ServerName>().is_err());
}

#[test]
fn a_device_certificate_has_a_cn_and_nothing_more() {
    let town = Town::new();
    let made = town.device("50503041-3031-4a42-8003-0102030405a6");
    let facts = show(made.der()).unwrap();
    assert_eq!(facts.subject, "CN=50503041-3031-4a42-8003-0102030405a6");
    assert_eq!(facts.key_usages, ["digitalSignature"]);
    assert_eq!(facts.extended_key_usages, ["clientAuth"]);
    assert!(facts.names.is_empty() && !facts.is_ca);
    assert_eq!(made.serial_hex.len(), 32);
    let who = identity(made.der()).unwrap();
    assert_eq!(who.role, Role::Device);
    assert_eq!(who.serial, made.serial_hex);
    assert_eq!(who.issuer, "CN=Town devices");
    assert_eq!(Certificate::from_pem(&made.pem()).unwrap(), made);
}

#[test]
fn a_devices_lifetime_and_key_usage_can_be_chosen_and_nothing_else() {
    let town = Town::new();
    let key = PrivateKey::generate().unwrap();
    let terms = DeviceTerms {
        lifetime_s: 90 * DAY_S,
        key_agreement: true,
    };
    let made = town
        .devices
        .issue_device_on(&key.spki_der(), "d", NOW_S, &terms)
        .unwrap();
    let facts = show(made.der()).unwrap();
    assert_eq!(facts.not_after_s, NOW_S + 90 * DAY_S);
    assert_eq!(facts.key_usages, ["digitalSignature", "keyAgreement"]);
    assert_eq!(facts.extended_key_usages, ["clientAuth"]);
    assert_eq!((facts.subject.as_str(), facts.is_ca), ("CN=d", false));
}

#[test]
fn only_an_operator_certificate_makes_an_operator() {
    let town = Town::new();
    let key = PrivateKey::generate().unwrap();
    let made = town
        .devices
        .issue_operator(&key.spki_der(), "operator", NOW_S)
        .unwrap();
    assert_eq!(identity(made.der()).unwrap().role, Role::Operator);
    // A device that is called operator is a device.
    assert_eq!(
        identity(town.device("operator").der()).unwrap().role,
        Role::Device
    );
}

#[test]
fn names_that_would_open_other_topics_are_never_signed() {
    let town = Town::new();
    let key = PrivateKey::generate().unwrap();
    for cn in ["", "+", "#", "a/b", "$SYS", "a\n", &"x".repeat(65)] {
        let refused = town.devices.issue_device(&key.spki_der(), cn, NOW_S);
        assert!(matches!(refused, Err(PkiError::BadName { .. })), "{cn:?}");
    }
}

#[test]
fn each_authority_issues_only_what_it_is_for() {
    let town = Town::new();
    let spki = PrivateKey::generate().unwrap().spki_der();
    let names = ["localhost".parse().unwrap()];
    let wrong = [
        town.devices.issue_server(&spki, &names, NOW_S).map(|_| ()),
        town.servers.issue_device(&spki, "dev-1", NOW_S).map(|_| ()),
        town.devices.issuing(Purpose::Servers, NOW_S).map(|_| ()),
    ];
    for result in wrong {
        assert!(matches!(result, Err(PkiError::WrongAuthority { .. })));
    }
    assert!(matches!(
        town.devices.issue_device(&spki[..90], "dev-1", NOW_S),
        Err(PkiError::NotP256 { bytes: 90 })
    ));
}

#[test]
fn nothing_outlives_its_issuer() {
    let town = Town::new();
    let spki = PrivateKey::generate().unwrap().spki_der();
    let made = town
        .devices
        .issue_device_for(&spki, "dev-1", NOW_S, u64::MAX)
        .unwrap();
    assert_eq!(made.not_after_s, town.devices.certificate().not_after_s);
    let late = town.devices.certificate().not_after_s + 1;
    assert!(matches!(
        town.devices.issue_device(&spki, "dev-1", late),
        Err(PkiError::AuthorityNotValid { .. })
    ));
}

#[test]
fn an_authority_survives_its_files_and_refuses_a_foreign_key() {
    let town = Town::new();
    let (cert, key) = (town.devices.certificate_pem(), town.devices.key().to_pem());
    let loaded = Authority::from_pem(&cert, &key).unwrap();
    let spki = PrivateKey::generate().unwrap().spki_der();
    let made = loaded.issue_device(&spki, "dev-1", NOW_S).unwrap();
    let between = [loaded.certificate_der()];
    chain::verify(made.der(), &town.check(&between, Purpose::Devices)).unwrap();

    let foreign = Authority::from_pem(&cert, &town.servers.key().to_pem());
    assert!(matches!(foreign, Err(PkiError::KeyMismatch { .. })));
    let device_key = PrivateKey::generate().unwrap();
    let leaf = town
        .devices
        .issue_device(&device_key.spki_der(), "d", NOW_S)
        .unwrap();
    let no_ca = Authority::from_pem(&leaf.pem(), &device_key.to_pem());
    assert!(matches!(no_ca, Err(PkiError::NotAnAuthority { .. })));
    assert!(!format!("{:?}", town.devices).contains("PRIVATE"));
}

#[test]
fn a_chain_is_trusted_for_its_purpose_time_and_name_only() {
    let town = Town::new();
    let server = town.server(&["localhost", "127.0.0.1"]);
    let device = town.device("dev-1");
    let (servers, devices) = (
        [town.servers.certificate_der()],
        [town.devices.certificate_der()],
    );
    let for_servers = town.check(&servers, Purpose::Servers);
    let for_devices = town.check(&devices, Purpose::Devices);
    chain::verify(server.der(), &for_servers).unwrap();
    chain::verify(device.der(), &for_devices).unwrap();
    // The devices authority as anchor, as the broker has it.
    let anchored = Check {
        root: town.devices.certificate_der(),
        intermediates: &[],
        ..for_devices
    };
    chain::verify(device.der(), &anchored).unwrap();

    for (name, fits) in [
        ("localhost", true),
        ("127.0.0.1", true),
        ("::1", false),
        ("example.org", false),
    ] {
        let name = name.parse().unwrap();
        let check = Check {
            name: Some(&name),
            ..for_servers
        };
        assert_eq!(
            chain::verify(server.der(), &check).is_ok(),
            fits,
            "{name:?}"
        );
    }
    let wrong = [
        (
            server.der(),
            Check {
                purpose: Purpose::Devices,
                ..for_servers
            },
        ),
        (
            device.der(),
            Check {
                purpose: Purpose::Servers,
                ..for_devices
            },
        ),
        (
            device.der(),
            Check {
                intermediates: &[],
                ..for_devices
            },
        ),
        (
            device.der(),
            Check {
                root: town.servers.certificate_der(),
                ..for_devices
            },
        ),
        (
            device.der(),
            Check {
                now_s: NOW_S - 2 * 3600,
                ..for_devices
            },
        ),
    ];
    for (leaf, check) in &wrong {
        assert!(matches!(
            chain::verify(leaf, check),
            Err(VerifyError::NotTrusted(_))
        ));
    }
    let late = Check {
        now_s: NOW_S + 3 * 365 * DAY_S,
        ..for_devices
    };
    match chain::verify(device.der(), &late) {
        Err(VerifyError::NotTrusted(e)) => {
            assert!(e.is_expired() && e.to_string().contains("CN=dev-1"));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        chain::verify(b"x", &for_devices),
        Err(VerifyError::Unreadable(_))
    ));
}

#[test]
fn a_revoked_device_is_refused_and_its_neighbour_is_not() {
    let town = Town::new();
    let (bad, good) = (town.device("dev-1"), town.device("dev-2"));
    let list = town
        .devices
        .crl(&[(&bad.serial_hex, NOW_S - 10)], NOW_S, NOW_S + DAY_S)
        .unwrap();
    let between = [town.devices.certificate_der()];
    let check = Check {
        crl: Some(&list),
        ..town.check(&between, Purpose::Devices)
    };
    chain::verify(good.der(), &check).unwrap();
    match chain::verify(bad.der(), &check) {
        Err(VerifyError::NotTrusted(e)) => assert!(e.is_revoked()),
        other => panic!("{other:?}"),
    }
    let outdated = Check {
        now_s: NOW_S + 2 * DAY_S,
        ..check
    };
    assert!(chain::verify(good.der(), &outdated).is_err());
    assert!(town.devices.crl(&[], NOW_S, NOW_S).is_err());
    for serial in ["", "1", "xy", &"00".repeat(21)] {
        let refused = town.devices.crl(&[(serial, NOW_S)], NOW_S, NOW_S + 1);
        assert!(
            matches!(refused, Err(PkiError::BadSerial { .. })),
            "{serial}"
        );
    }
}

#[test]
fn serial_numbers_do_not_repeat() {
    let town = Town::new();
    let spki = PrivateKey::generate().unwrap().spki_der();
    let serials: HashSet<String> = (0..200)
        .map(|_| {
            town.devices
                .issue_device(&spki, "dev-1", NOW_S)
                .unwrap()
                .serial_hex
        })
        .collect();
    assert_eq!(serials.len(), 200);
    assert!(
        serials
            .iter()
            .all(|s| s.len() == 32 && s.as_bytes()[0] < b'8')
    );
}
