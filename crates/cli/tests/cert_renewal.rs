//! A renewal on a gateway with mosquitto: beside the old pair, then in place; or as if nothing had been.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]

#[path = "gateway_apply/desk.rs"]
mod desk;

use desk::{As, Desk, have_mosquitto};
use sectag_pki::{Certificate, KeyPair, KeyType, Terms};
use std::time::{SystemTime, UNIX_EPOCH};

fn serial(desk: &Desk, file: &str) -> String {
    Certificate::from_pem(&desk.read(file)).unwrap().serial_hex
}

#[test]
fn a_renewed_pair_is_proved_and_put_in_place_without_a_restart() {
    if !have_mosquitto() {
        return;
    }
    for user in [As::Us, As::Mosquitto] {
        let desk = Desk::mutual(user);
        let before = serial(&desk, "home/pki/server.crt");
        let pid = desk.pid();
        desk.ok(&["cert", "renew", "server"]);
        assert_eq!(serial(&desk, "home/pki/server.crt"), before, "it waits");
        let plan = desk.sectag(&["gateway", "apply", "--dry-run"]);
        assert!(
            plan.stderr.contains("a renewed pair of `server` waits"),
            "{plan:#?}"
        );
        assert_eq!(
            serial(&desk, "home/pki/server.crt"),
            before,
            "a dry run changes nothing"
        );

        let done = desk.ok(&["gateway", "apply"]);
        let after = serial(&desk, "home/pki/server.crt");
        assert_ne!(after, before, "{done:#?}");
        assert!(!desk.path("home/pki/server.crt.new").exists());
        assert!(!desk.path("home/pki/server.key.new").exists());
        // The probe compares what is served with the file.
        let probed = desk.ok(&["gateway", "probe"]);
        assert!(probed.stdout.contains(&after), "{user:?}: {probed:#?}");
        assert_eq!(desk.pid(), pid, "{user:?}: a reload is enough");
    }
}

#[test]
fn a_renewed_pair_that_clients_would_refuse_is_not_put_in_place() {
    if !have_mosquitto() {
        return;
    }
    for user in [As::Us, As::Mosquitto] {
        let desk = Desk::mutual(user);
        let before = serial(&desk, "home/pki/server.crt");
        // Whole, valid, and by a CA that nobody here trusts.
        let now_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let foreign = sectag_pki::Authority::root("Elsewhere", now_s).unwrap();
        let key = KeyPair::generate(KeyType::P256).unwrap();
        let terms = Terms {
            now_s,
            lifetime_s: 86_400,
            crl_url: None,
        };
        let names = ["localhost".parse().unwrap()];
        let made = foreign
            .issue_local_server(&key.spki_der(), &names, &terms)
            .unwrap();
        sectag_keep::write_pair(
            &desk.path("home/pki/server.crt.new"),
            made.pem().as_bytes(),
            &desk.path("home/pki/server.key.new"),
            key.to_pem().as_bytes(),
        )
        .unwrap();

        let refused = desk.sectag(&["gateway", "apply"]);
        assert_eq!(refused.code, Some(1), "{user:?}: {refused:#?}");
        assert_eq!(serial(&desk, "home/pki/server.crt"), before);
        assert_eq!(
            serial(&desk, "home/pki/server.crt.new"),
            made.serial_hex,
            "it waits still"
        );
        // What waits is nobody's yet: the listener is proved by the pair in use.
        let probed = desk.ok(&["gateway", "probe"]);
        assert!(probed.stdout.contains(&before), "{user:?}: {probed:#?}");
    }
}
