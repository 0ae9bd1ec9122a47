//! E4, E5, E6, E16.

use sectag_gateway::Source;
use sectag_gateway::findings::FindingId::{E4, E5, E6, E16};
use sectag_gateway::findings::Severity;

use crate::scene::{Scene, port, says};

#[test]
fn e4_two_listeners_on_one_port() {
    for (internal, external) in [
        ("127.0.0.1", Some("127.0.0.1")),
        ("127.0.0.1", Some("0.0.0.0")),
        ("127.0.0.1", None),
        ("0.0.0.0", Some("192.0.2.7")),
        ("::", Some("192.0.2.7")),
    ] {
        let mut scene = Scene::plain(1883);
        scene.settings.internal.address = internal.parse().unwrap();
        scene.external().address = external.map(|text| text.parse().unwrap());
        let found = scene.one(E4);
        says(&found, Severity::Error, "both listeners want port 1883");
        assert!(
            found
                .fix
                .starts_with("sectag config set mqtt.external.bind.port 1884"),
            "{found}"
        );
    }
    let mut scene = Scene::plain(1883);
    scene.external().address = Some("192.0.2.7".parse().unwrap());
    assert!(
        scene.found().iter().all(|one| one.id != E4),
        "other addresses"
    );
    let mut scene = Scene::plain(1883);
    scene.settings.internal.enabled = false;
    assert!(
        scene.found().iter().all(|one| one.id != E4),
        "no internal listener"
    );
    Scene::plain(1884).is_clean();
}

#[test]
fn e4_by_name_and_by_interface() {
    let mut scene = Scene::plain(1883);
    scene.external().address = Some("gw".parse().unwrap());
    assert!(scene.found().iter().all(|one| one.id != E4), "not resolved");
    scene
        .machine
        .resolved
        .insert("gw".to_owned(), vec!["127.0.0.1".parse().unwrap()]);
    says(&scene.only(E4), Severity::Error, "both listeners");
    scene.external().address = None;
    scene.external().interface = Some("lo".to_owned());
    says(&scene.only(E4), Severity::Error, "both listeners");
    scene.external().interface = Some("eth0".to_owned());
    assert!(scene.found().iter().all(|one| one.id != E4));
}

#[test]
fn e5_an_address_beside_an_interface_is_dropped() {
    let mut scene = Scene::mutual();
    scene.external().interface = Some("eth0".to_owned());
    scene.client_side().host = "192.0.2.7".parse().unwrap();
    scene.is_clean();
    for wildcard in ["0.0.0.0", "::"] {
        scene.external().address = Some(wildcard.parse().unwrap());
        says(&scene.only(E5), Severity::Note, "is dropped, because");
    }
    scene.external().address = Some("192.0.2.7".parse().unwrap());
    scene.is_clean();
    scene.external().address = Some("192.0.2.8".parse().unwrap());
    says(&scene.only(E5), Severity::Warn, "is not an address of eth0");
}

#[test]
fn e6_an_interface_that_is_not_there() {
    let mut scene = Scene::mutual();
    scene.external().interface = Some("wlan0".to_owned());
    let found = scene.only(E6);
    says(&found, Severity::Warn, "this host has no interface `wlan0`");
    assert!(
        found
            .fix
            .starts_with("sectag config set mqtt.external.bind.interface eth0"),
        "{found}"
    );
    scene.machine.interfaces = None;
    scene.is_clean();
    let mut scene = Scene::mutual();
    scene.external().interface = Some("eth0".to_owned());
    scene.client_side().host = "192.0.2.7".parse().unwrap();
    scene.is_clean();
}

#[test]
fn e6_an_address_that_is_not_there() {
    let mut scene = Scene::mutual();
    scene.external().address = Some("192.0.2.8".parse().unwrap());
    scene.client_side().host = "192.0.2.8".parse().unwrap();
    let found = scene.only(E6);
    says(&found, Severity::Warn, "this host has no address 192.0.2.8");
    assert!(
        found
            .fix
            .starts_with("sectag config set mqtt.external.bind.address 192.0.2.7"),
        "{found}"
    );
    for address in ["192.0.2.7", "::", "127.0.0.1"] {
        scene.external().address = Some(address.parse().unwrap());
        assert!(scene.found().iter().all(|one| one.id != E6));
    }
    scene.external().address = Some("gw".parse().unwrap());
    assert!(scene.found().iter().all(|one| one.id != E6), "not resolved");
    scene
        .machine
        .resolved
        .insert("gw".to_owned(), vec!["192.0.2.8".parse().unwrap()]);
    says(
        &scene.one(E6),
        Severity::Warn,
        "this host has no address gw",
    );
}

#[test]
fn e16_a_plaintext_port_for_the_network_is_loud() {
    let mut scene = Scene::plain(1884);
    for address in [
        None,
        Some("0.0.0.0"),
        Some("192.0.2.7"),
        Some("unknown.example"),
    ] {
        scene.external().address = address.map(|text| text.parse().unwrap());
        let found = scene.only(E16);
        says(
            &found,
            Severity::Warn,
            "is open without TLS and without a user name",
        );
        assert!(
            found.is_loud() && found.to_string().contains("EVERYONE"),
            "{found}"
        );
    }
    scene.external().interface = Some("eth0".to_owned());
    scene.external().address = None;
    says(
        &scene.only(E16),
        Severity::Warn,
        "port 1884 of interface eth0",
    );
    for (interface, address) in [
        (Some("lo"), None),
        (None, Some("127.0.0.1")),
        (None, Some("::1")),
    ] {
        scene.external().interface = interface.map(str::to_owned);
        scene.external().address = address.map(|text| text.parse().unwrap());
        scene.is_clean();
    }
    Scene::mutual().is_clean();
}

#[test]
fn e16_the_internal_listener_can_be_open_too() {
    let mut scene = Scene::empty();
    scene.settings.internal.address = "0.0.0.0".parse().unwrap();
    says(&scene.only(E16), Severity::Warn, "mqtt.bind.*");
    scene.settings.internal.enabled = false;
    scene.settings.client.port = port(1883, Source::File);
    assert!(scene.found().iter().all(|one| one.id != E16));
}
