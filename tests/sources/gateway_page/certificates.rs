//! Which certificates do, and the page's script: G10, G16.

use crate::gateway_desk::{Broker, Gateway};
use crate::stranger::have;
use crate::support::run;
use std::process::Command;

/// Version 3 with alternative names, or a reason.
#[test]
fn g10_a_servers_certificate_has_version_3_and_the_hosts_name() {
    let gateway = Gateway::new();
    gateway.sectag(&["ca", "init"]).expect_code(0);
    gateway
        .sectag(&["cert", "issue", "server", "--san", "gateway.example"])
        .expect_code(0);
    let file = gateway.home.path().join("pki/server.crt");
    let shown = gateway.home.json(&["cert", "show", file.to_str().unwrap()]);
    let leaf = &shown["items"][0];
    assert_eq!(leaf["version"], 3, "{leaf:#}");
    let names = leaf["names"].to_string();
    for name in ["DNS:gateway.example", "DNS:localhost", "IP:127.0.0.1"] {
        assert!(names.contains(name), "{name}: {leaf:#}");
    }

    // Without the host's name: refused before anybody connects, and by our client with both names.
    gateway.papers.server("elsewhere", &["elsewhere.example"]);
    gateway.level("server");
    gateway.set(&[
        (
            "mqtt.external.cert_file",
            &gateway.papers.text("elsewhere.crt"),
        ),
        (
            "mqtt.external.key_file",
            &gateway.papers.text("elsewhere.key"),
        ),
    ]);
    let finding = gateway.finding("E9");
    let sentence = finding["sentence"].as_str().unwrap();
    assert!(
        sentence.contains("elsewhere.example") && sentence.contains("localhost"),
        "{finding:#}"
    );
    let _broker = Broker::start(&gateway);
    let refused = gateway.publish();
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(
        refused.stderr.contains("elsewhere.example") && refused.stderr.contains("localhost"),
        "{refused:#?}"
    );
}

/// What the page's script does: a CA, a server certificate for this host, and a client certificate that is signed without
/// extensions, which makes it version 1.
const SCRIPT: &str = r#"
subject=/C=US/ST=Denial/L=Springfield/O=Dis
openssl req -x509 -new -nodes -days 365 -extensions v3_ca -subj $subject/CN=ca -keyout ca.key -out ca.crt
openssl genrsa -out server.key 2048
openssl req -new -key server.key -subj $subject/CN=$(hostname) -out server.csr
{
    echo authorityKeyIdentifier=keyid
    echo basicConstraints=CA:FALSE
    echo keyUsage = digitalSignature, keyAgreement
    echo subjectAltName=DNS:$(hostname), DNS:localhost
} > v3.ext
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile v3.ext -days 365 -out server.crt
openssl genrsa -out client.key 2048
openssl req -new -key client.key -subj $subject/CN=client1 -out client.csr
openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out client.crt
"#;

#[test]
fn g16_the_pages_script_and_what_becomes_of_its_client_certificate() {
    if !have(&["openssl", "hostname"]) {
        return;
    }
    let gateway = Gateway::new();
    let folder = gateway.home.beside("script");
    std::fs::create_dir(&folder).unwrap();
    let mut script = Command::new("sh");
    script.args(["-e", "-c", SCRIPT]).current_dir(&folder);
    run(script).expect_code(0);
    let file = |name: &str| crate::gateway_desk::text(&folder.join(name));

    // CA and server part: accepted as they are, by the listener and by a client that goes to `localhost`.
    let port = gateway.external.to_string();
    gateway.set(&[
        ("mqtt.external.bind.port", &port),
        ("mqtt.external.bind.address", "127.0.0.1"),
        ("mqtt.external.cert_file", &file("server.crt")),
        ("mqtt.external.key_file", &file("server.key")),
        ("mqtt.client.host", "localhost"),
        ("mqtt.client.port", &port),
        ("mqtt.client.auth.ca_file", &file("ca.crt")),
    ]);
    let errors = |gateway: &Gateway| {
        let found = gateway.findings().into_iter();
        let errors = found.filter(|(_, severity)| severity == "error");
        errors.map(|(id, _)| id).collect::<Vec<String>>()
    };
    assert_eq!(errors(&gateway), Vec::<String>::new());
    let broker = Broker::start(&gateway);
    gateway.publish().expect_code(0);
    drop(broker);

    // Its client certificate: version 1, said before anybody connects, with the command that helps.
    gateway.set(&[
        ("mqtt.external.ca_path", &file("ca.crt")),
        ("mqtt.client.auth.cert_file", &file("client.crt")),
        ("mqtt.client.auth.key_file", &file("client.key")),
    ]);
    let finding = gateway.finding("E12");
    assert_eq!(finding["severity"], "error", "{finding:#}");
    assert!(
        finding["fix"].as_str().unwrap().contains("cert reissue"),
        "{finding:#}"
    );
    let lint = gateway.sectag(&["cert", "lint", "--client", &file("client.crt")]);
    assert_eq!(lint.code, Some(1), "{lint:#?}");
    assert!(format!("{lint:?}").contains("version 1"), "{lint:#?}");
    let broker = Broker::start(&gateway);
    let refused = gateway.publish();
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(refused.stderr.contains("version 1"), "{refused:#?}");

    // One command, from its request, by the script's own CA: same key, same CN, version 3.
    gateway
        .sectag(&[
            "cert",
            "reissue",
            &file("client.csr"),
            "--client",
            "--ca",
            &file("ca.crt"),
            "--ca-key",
            &file("ca.key"),
            "--output",
            &file("client-v3.crt"),
        ])
        .expect_code(0);
    gateway.set(&[("mqtt.client.auth.cert_file", &file("client-v3.crt"))]);
    assert_eq!(errors(&gateway), Vec::<String>::new());
    let shown = gateway.home.json(&["cert", "show", &file("client-v3.crt")]);
    assert_eq!(shown["items"][0]["version"], 3, "{shown:#}");
    assert!(
        shown["items"][0]["subject"]
            .as_str()
            .unwrap()
            .contains("CN=client1"),
        "{shown:#}"
    );
    gateway.publish_to("client1/hello").expect_code(0);
    drop(broker);
}
