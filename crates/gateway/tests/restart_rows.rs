//! Who restarts after which change: one test for each row of spec/gateway-config §10, then the order of all.
#![allow(clippy::unwrap_used)]

mod cases;

use sectag_gateway::restart::{
    Action, Broker, Content, Keys, ROWS, Regenerate, Services, Step, ThirdParties, consequences,
    one_line_for, row,
};
use sectag_gateway::{External, Settings};

use Action::{
    AdaptThirdParties, AwaitListeners, CheckServices, EndSessions, GiveClientsAuthority,
    GiveClientsCertificates, Probe, ReloadBroker, RestartBroker, RestartRemoteServices,
    RestartServices, TestConfiguration, TrustBothAuthorities, WriteFiles,
};

const AROUND: [Action; 3] = [TestConfiguration, AwaitListeners, Probe];

/// A mutual listener that our own clients do not use.
fn mutual() -> Settings {
    Settings {
        external: Some(External {
            ca_path: Some("/s/ca.crt".into()),
            ..server_listener()
        }),
        ..cases::settings()
    }
}

fn server_listener() -> External {
    External {
        cert_file: Some("/s/server.crt".into()),
        key_file: Some("/s/server.key".into()),
        ..cases::external(8883)
    }
}

fn after(change: impl FnOnce(&mut Settings)) -> Vec<Step> {
    let before = mutual();
    let mut settings = before.clone();
    change(&mut settings);
    consequences(&before, &settings, &[])
}

fn after_content(content: Content) -> Vec<Step> {
    consequences(&mutual(), &mutual(), &[content])
}

fn actions(steps: &[Step]) -> Vec<Action> {
    for step in steps {
        assert!(
            !step.reason.is_empty() && !step.because.is_empty(),
            "{step}"
        );
    }
    steps.iter().map(|step| step.action).collect()
}

/// These and what belongs to a restart of the broker, in order.
fn with_broker(others: &[Action]) -> Vec<Action> {
    let mut all = [others, &AROUND, &[WriteFiles, RestartBroker]].concat();
    all.sort_unstable();
    all
}

#[test]
fn nothing_follows_from_nothing() {
    assert_eq!(actions(&after(|_| {})), []);
}

#[test]
fn the_internal_listener_moves_and_everybody_with_it() {
    let expected = with_broker(&[
        RestartServices,
        CheckServices,
        RestartRemoteServices,
        AdaptThirdParties,
    ]);
    assert_eq!(
        actions(&after(|s| s.internal.port = cases::port(1884))),
        expected
    );
    assert_eq!(
        actions(&after(|s| s.internal.address = "0.0.0.0".parse().unwrap())),
        expected
    );
}

#[test]
fn the_internal_listener_comes_or_goes_with_the_broker_only() {
    assert_eq!(
        actions(&after(|s| s.internal.enabled = false)),
        with_broker(&[])
    );
}

#[test]
fn the_external_listener_moves_and_those_who_use_it_follow() {
    let expected = with_broker(&[RestartRemoteServices, AdaptThirdParties]);
    let change = |s: &mut Settings| s.external.as_mut().unwrap().port.value = cases::port(8884);
    assert_eq!(actions(&after(change)), expected);
    let change = |s: &mut Settings| s.external.as_mut().unwrap().interface = Some("eth0".into());
    assert_eq!(actions(&after(change)), expected);
    let change = |s: &mut Settings| {
        s.external.as_mut().unwrap().address = Some("127.0.0.1".parse().unwrap());
    };
    assert_eq!(actions(&after(change)), expected);

    // Our own clients use it.
    let mut before = mutual();
    before.client.port.value = cases::port(8883);
    let mut settings = before.clone();
    settings.external.as_mut().unwrap().interface = Some("eth0".into());
    let steps = consequences(&before, &settings, &[]);
    let expected = with_broker(&[
        RestartServices,
        CheckServices,
        RestartRemoteServices,
        AdaptThirdParties,
    ]);
    assert_eq!(actions(&steps), expected);
}

#[test]
fn other_paths_of_certificate_or_key_restart_the_broker() {
    let expected = with_broker(&[AdaptThirdParties]);
    let change =
        |s: &mut Settings| s.external.as_mut().unwrap().cert_file = Some("/t/server.crt".into());
    let steps = after(change);
    assert_eq!(actions(&steps), expected);
    assert!(
        steps.last().unwrap().reason.contains("only if"),
        "{}",
        steps.last().unwrap()
    );
    let change =
        |s: &mut Settings| s.external.as_mut().unwrap().key_file = Some("/t/server.key".into());
    assert_eq!(actions(&after(change)), expected);
}

#[test]
fn a_renewed_pair_is_a_reload() {
    let expected = [
        WriteFiles,
        TestConfiguration,
        ReloadBroker,
        AwaitListeners,
        Probe,
    ];
    assert_eq!(actions(&after_content(Content::ServerPair)), expected);
}

#[test]
fn another_path_of_the_ca_restarts_and_both_are_trusted_first() {
    let change = |s: &mut Settings| s.external.as_mut().unwrap().ca_path = Some("/t/ca.crt".into());
    let steps = after(change);
    assert_eq!(
        actions(&steps),
        with_broker(&[TrustBothAuthorities, RestartRemoteServices])
    );
    assert_eq!(steps[0].action, TrustBothAuthorities);
}

#[test]
fn another_content_of_the_ca_restarts_since_a_reload_does_not_reread_it() {
    let expected = with_broker(&[TrustBothAuthorities]);
    assert_eq!(actions(&after_content(Content::ClientsAuthority)), expected);
}

#[test]
fn from_server_to_mutual_clients_get_their_certificates_first() {
    let mut before = mutual();
    before.external.as_mut().unwrap().ca_path = None;
    let steps = consequences(&before, &mutual(), &[]);
    let expected = with_broker(&[
        GiveClientsCertificates,
        RestartRemoteServices,
        AdaptThirdParties,
    ]);
    assert_eq!(actions(&steps), expected);
    assert_eq!(steps[0].action, GiveClientsCertificates);
    // The other way nobody needs anything first.
    assert!(!actions(&consequences(&mutual(), &before, &[])).contains(&GiveClientsCertificates));
}

#[test]
fn from_none_to_server_clients_get_the_ca_first() {
    let mut none = mutual();
    none.external = Some(cases::external(8883));
    let mut server = mutual();
    server.external = Some(server_listener());
    let steps = consequences(&none, &server, &[]);
    assert_eq!(steps[0].action, GiveClientsAuthority);
}

#[test]
fn a_revocation_is_a_reload_and_open_sessions_stay() {
    let expected = [
        WriteFiles,
        TestConfiguration,
        ReloadBroker,
        AwaitListeners,
        Probe,
        EndSessions,
    ];
    assert_eq!(actions(&after_content(Content::RevocationList)), expected);
    let change = |s: &mut Settings| s.external.as_mut().unwrap().crl_file = Some("/s/crl".into());
    assert_eq!(actions(&after(change)), with_broker(&[]));
}

#[test]
fn our_clients_go_elsewhere_by_a_restart() {
    let expected = [RestartServices, CheckServices];
    assert_eq!(
        actions(&after(|s| s.client.host = "gateway".parse().unwrap())),
        expected
    );
    assert_eq!(
        actions(&after(|s| s.client.port.value = cases::port(8883))),
        expected
    );
}

#[test]
fn credentials_of_our_clients_are_read_at_start() {
    let expected = [RestartServices, CheckServices, RestartRemoteServices];
    assert_eq!(
        actions(&after(|s| s.client.cert_file = Some("/c".into()))),
        expected
    );
    assert_eq!(
        actions(&after(|s| s.client.ca_file = Some("/c".into()))),
        expected
    );
    assert_eq!(
        actions(&after(|s| s.client.username = Some("amy".into()))),
        expected
    );
    let expected = [
        WriteFiles,
        RestartServices,
        CheckServices,
        RestartRemoteServices,
    ];
    assert_eq!(actions(&after_content(Content::ClientFiles)), expected);
}

#[test]
fn topics_change_for_everybody() {
    let steps = after(|s| s.topic_root = "other".to_owned());
    assert_eq!(
        actions(&steps),
        [
            RestartServices,
            CheckServices,
            RestartRemoteServices,
            AdaptThirdParties
        ]
    );
}

#[test]
fn rules_and_passwords_are_reloaded() {
    let expected = [
        WriteFiles,
        TestConfiguration,
        ReloadBroker,
        AwaitListeners,
        Probe,
    ];
    assert_eq!(actions(&after_content(Content::Access)), expected);
}

/// Rows of keys that are not in [`Settings`].
#[test]
fn keys_beside_the_listeners_have_their_rows() {
    let built_in = row("mqtt.bridge.built_in").unwrap();
    assert_eq!(built_in.regenerate, Regenerate::Yes);
    assert_eq!(
        (built_in.broker, built_in.services),
        (Broker::Restart, Services::Reconnect)
    );
    let http = row("http.cert_path").unwrap();
    assert_eq!(
        (http.broker, http.third_parties),
        (Broker::No, ThirdParties::Adapt)
    );
    let Services::Some(services) = http.services else {
        panic!("{http:?}");
    };
    assert_eq!(services.len(), 3);
    for key in [
        "device.key_path",
        "c8y.device.cert_path",
        "az.url",
        "aws.url",
    ] {
        let row = row(key).unwrap();
        assert_eq!(row.regenerate, Regenerate::IfItBridges, "{key}");
        assert_eq!(
            (row.broker, row.services),
            (Broker::RestartIfItBridges, Services::Reconnect),
            "{key}"
        );
    }
    for key in [
        "certificate.organization",
        "certificate.validity.minimum_duration",
        "device.csr_path",
    ] {
        let row = row(key).unwrap();
        assert_eq!(
            (row.broker, row.services),
            (Broker::No, Services::No),
            "{key}"
        );
        assert_eq!(one_line_for(key), None, "{key}");
    }
    assert_eq!(row("proxy.address"), None);
}

#[test]
fn every_row_is_reached_and_has_a_reason() {
    for row in ROWS {
        assert!(!row.reason.is_empty());
        match row.keys {
            Keys::Content(content) => assert_eq!(content.row(), row),
            Keys::Named(names) => {
                for name in names {
                    let key = if name.ends_with('.') {
                        format!("{name}x")
                    } else {
                        (*name).to_owned()
                    };
                    assert_eq!(sectag_gateway::restart::row(&key), Some(row), "{key}");
                }
            }
        }
    }
}

/// Several changes at once: each thing once, in order, with all its reasons; a restart makes a reload superfluous.
#[test]
fn many_changes_are_one_list_in_order() {
    let before = mutual();
    let mut settings = before.clone();
    settings.internal.port = cases::port(1884);
    settings.client.port.value = cases::port(1884);
    settings.external.as_mut().unwrap().port.value = cases::port(8884);
    let steps = consequences(
        &before,
        &settings,
        &[Content::ServerPair, Content::RevocationList],
    );
    let order = actions(&steps);
    assert!(order.is_sorted(), "{order:?}");
    assert!(
        order.contains(&RestartBroker)
            && !order.contains(&ReloadBroker)
            && !order.contains(&EndSessions)
    );
    let broker = steps
        .iter()
        .find(|step| step.action == RestartBroker)
        .unwrap();
    assert!(broker.because.len() >= 3, "{broker}");
    let mine: Vec<Action> = steps
        .iter()
        .filter(|step| step.action.is_ours())
        .map(|step| step.action)
        .collect();
    assert_eq!(
        mine,
        [
            WriteFiles,
            TestConfiguration,
            RestartBroker,
            AwaitListeners,
            Probe,
            RestartServices,
            CheckServices
        ]
    );
}

#[test]
fn a_changed_key_says_in_one_line_who_restarts() {
    assert_eq!(
        one_line_for("mqtt.bind.port").unwrap(),
        "run `sectag gateway apply`: restart mosquitto, then restart every service"
    );
    assert_eq!(
        one_line_for("mqtt.client.auth.ca_file").unwrap(),
        "to take effect: restart every service"
    );
    assert_eq!(one_line_for("proxy.address"), None);
}

#[test]
fn the_page_of_restarts_is_the_table() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/gateway-restarts.md"
    );
    let table = sectag_gateway::restart::reference();
    if std::env::var_os("SECTAG_WRITE_REFERENCE").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == table,
        "docs/reference/gateway-restarts.md is not the table; run this test with SECTAG_WRITE_REFERENCE=1"
    );
}
