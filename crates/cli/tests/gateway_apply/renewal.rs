//! Certificates that change while the broker runs: renewal by reload, revocation by reload, and what a reload cannot do.

use super::desk::{As, Desk, have_mosquitto};
use sectag_mqtt::{Client, ClientError, ConnectOptions, Qos, Transport};
use serde_json::Value;

fn serial(desk: &Desk) -> String {
    let status = desk.sectag(&["gateway", "status", "--json"]);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    status["served"]["serial"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

async fn connect(desk: &Desk, name: &str) -> Result<Client, ClientError> {
    let roots = desk.read("home/pki/servers-ca.crt");
    let (chain, key) = (
        desk.read(&format!("home/pki/{name}.crt")),
        desk.read(&format!("home/pki/{name}.key")),
    );
    let config = sectag_mqtt::client::tls_config(&roots, Some((&chain, &key))).unwrap();
    let transport = Transport::tls("localhost", config);
    let mut options = ConnectOptions::new(name);
    options.timeout = std::time::Duration::from_secs(5);
    let (client, mut incoming) =
        Client::connect("localhost", desk.external, transport, options).await?;
    tokio::spawn(async move { while incoming.recv().await.is_some() {} });
    Ok(client)
}

#[test]
fn a_renewed_pair_is_served_after_a_reload_and_no_session_is_lost() {
    if !have_mosquitto() {
        return;
    }
    for user in [As::Us, As::Mosquitto] {
        let desk = Desk::mutual(user);
        let pid = desk.pid();
        let old = serial(&desk);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let open = runtime.block_on(connect(&desk, "gw-1")).unwrap();
        desk.ok(&["cert", "renew", "server"]);
        assert!(desk.path("home/pki/server.crt.new").exists());
        desk.ok(&["gateway", "plan"])
            .says("reload the broker")
            .says("the renewed one, once it is proved");
        desk.ok(&["gateway", "apply"]).says("reload the broker");
        let new = serial(&desk);
        assert!(!new.is_empty() && new != old, "{new}");
        assert_eq!(desk.pid(), pid, "a reload is no restart");
        assert!(!desk.path("home/pki/server.crt.new").exists());
        assert!(!desk.path("home/pki/server.key.new").exists());
        runtime
            .block_on(open.publish("still/there", "", Qos::AtLeastOnce, false))
            .unwrap();
        desk.ok(&["gateway", "apply"]).says("nothing to do");
    }
}

#[test]
fn a_renewed_pair_that_is_not_served_gives_way_to_the_old_one() {
    if !have_mosquitto() {
        return;
    }
    let desk = Desk::mutual(As::Us);
    let old = serial(&desk);
    desk.ok(&["cert", "renew", "server"]);
    let before = (
        desk.read("home/pki/server.crt"),
        desk.read("home/pki/server.crt.new"),
    );
    // A reload that reaches nobody.
    let done = desk
        .sectag(&[
            "gateway",
            "apply",
            "--reload-command",
            "true",
            "--timeout",
            "2",
        ])
        .expect(1);
    done.says("serves the certificate with serial")
        .says("undone: ");
    assert_eq!(serial(&desk), old);
    assert_eq!(
        (
            desk.read("home/pki/server.crt"),
            desk.read("home/pki/server.crt.new")
        ),
        before
    );
    // By the way of the process it is.
    desk.ok(&["gateway", "apply"]);
    assert_ne!(serial(&desk), old);
}

#[test]
fn a_renewed_client_certificate_is_proved_by_a_connection() {
    if !have_mosquitto() {
        return;
    }
    let desk = Desk::mutual(As::Us);
    let old = desk.read("home/pki/gw-1.crt");
    desk.ok(&["cert", "renew", "gw-1"]);
    desk.ok(&["gateway", "apply"]).says("good-certificate");
    assert_ne!(desk.read("home/pki/gw-1.crt"), old);
    assert!(!desk.path("home/pki/gw-1.crt.new").exists());
    // One that nobody can use stays where it waits.
    desk.ok(&["cert", "renew", "gw-1"]);
    let key = desk.read("home/pki/server.key");
    desk.write("home/pki/gw-1.key.new", &key);
    desk.ok(&["gateway", "apply"])
        .says("is not taken: the key beside it is another's");
    assert!(desk.path("home/pki/gw-1.crt.new").exists());
}

#[test]
fn a_revoked_client_is_refused_after_a_reload_and_its_open_session_stays() {
    if !have_mosquitto() {
        return;
    }
    let desk = Desk::mutual(As::Mosquitto);
    let pid = desk.pid();
    desk.ok(&["cert", "issue", "client", "lost"]);
    desk.ok(&["cert", "issue", "client", "kept"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lost = runtime.block_on(connect(&desk, "lost")).unwrap();
    let kept = runtime.block_on(connect(&desk, "kept")).unwrap();
    desk.ok(&["cert", "revoke", "lost"]);
    desk.ok(&["gateway", "apply"])
        .says("reload the broker")
        .says("open sessions stay until a restart");
    assert_eq!(desk.pid(), pid);
    let refused = runtime.block_on(connect(&desk, "lost")).unwrap_err();
    assert!(
        matches!(refused, ClientError::CertificateRefused { .. }),
        "{refused}"
    );
    for open in [&lost, &kept] {
        runtime
            .block_on(open.publish("still/there", "", Qos::AtLeastOnce, false))
            .unwrap();
    }
    runtime.block_on(connect(&desk, "kept")).unwrap();
}
