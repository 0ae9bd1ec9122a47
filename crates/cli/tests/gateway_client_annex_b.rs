//! spec/gateway-config Annex B, row by row: what a client by keys makes of each situation, with Debian's mosquitto at the
//! other end. Upstream falls back to plaintext in rows 16 and 17, sends an empty password in row 34, and repeats for the
//! whole timeout what cannot get better; here each failure is one message with the key, and nothing is sent in vain.
//!
//! "At once" is told by events: how many connections came, and whether patience was announced.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod gateway_bench;
mod support;

use gateway_bench::{Mosquitto, Papers, Relay, free_port, free_ports, have, is_plaintext_connect};
use std::collections::BTreeMap;
use std::process::Command;
use support::{Home, Output};

/// Where a situation's client goes.
#[derive(Clone, Copy)]
enum At {
    /// A listener of the broker.
    Listener(&'static str),
    /// Nothing listens at this address and port.
    Nothing(&'static str, Option<u16>),
}

/// How it ends.
enum Ends {
    /// The message is published.
    Published,
    /// Nothing is sent: a finding names the key.
    Finding(&'static [&'static str]),
    /// One attempt, one message.
    AtOnce(&'static [&'static str]),
    /// Tried again, then one message.
    InTheEnd(&'static [&'static str]),
}

struct Row {
    number: &'static str,
    at: At,
    /// `KEY VALUE` words below `mqtt.client.`; `@NAME` is one of the papers.
    keys: &'static str,
    ends: Ends,
}

const fn row(number: &'static str, at: At, keys: &'static str, ends: Ends) -> Row {
    Row {
        number,
        at,
        keys,
        ends,
    }
}

use At::{Listener, Nothing};
use Ends::{AtOnce, Finding, InTheEnd, Published};

const ROWS: &[Row] = &[
    row(
        "1",
        Nothing("127.0.0.1", None),
        "",
        InTheEnd(&[
            "nothing listens at 127.0.0.1:",
            "mqtt.client.host is 127.0.0.1",
            "mqtt.client.port is",
            "sectag --config-dir",
        ]),
    ),
    row(
        "2",
        Listener("tls"),
        "auth.ca_file @ca.crt",
        AtOnce(&[
            "the broker's certificate is for DNS:localhost and DNS:gw.example; mqtt.client.host is 127.0.0.1",
            "config set mqtt.client.host localhost",
            "sectag cert issue server --force --san 127.0.0.1",
        ]),
    ),
    row(
        "2, with the address in the certificate",
        Listener("tls-ip"),
        "auth.ca_file @ca.crt",
        Published,
    ),
    row(
        "2, with the name by its own key",
        Listener("tls"),
        "auth.ca_file @ca.crt server_name gw.example",
        Published,
    ),
    row(
        "3",
        Listener("tls"),
        "host localhost auth.ca_file @ca.crt",
        Published,
    ),
    row(
        "4",
        Listener("tls"),
        "host localhost auth.ca_dir @dir-good",
        Published,
    ),
    row(
        "5",
        Listener("tls"),
        "host localhost auth.ca_dir @dir-backup",
        Finding(&["mqtt.client.auth.ca_dir", "dir-backup"]),
    ),
    row(
        "6",
        Listener("tls"),
        "host localhost auth.ca_dir @dir-broken",
        Finding(&["mqtt.client.auth.ca_dir", "bad.pem"]),
    ),
    row(
        "7",
        Listener("tls"),
        "host localhost auth.ca_dir /etc/ssl/certs",
        AtOnce(&[
            "issued by `CN=Test Root,O=House`",
            "certificates of mqtt.client.auth.ca_dir `/etc/ssl/certs`",
            "config set mqtt.client.auth.ca_file root.crt",
        ]),
    ),
    row(
        "8",
        Listener("tls"),
        "host localhost auth.ca_file @nope.crt",
        Finding(&["mqtt.client.auth.ca_file", "nope.crt", "does not exist"]),
    ),
    row(
        "9",
        Listener("tls"),
        "host localhost auth.ca_file @dir-good",
        Finding(&["mqtt.client.auth.ca_file", "is a directory"]),
    ),
    row(
        "10",
        Listener("tls"),
        "host localhost auth.ca_dir @ca.crt",
        Finding(&["mqtt.client.auth.ca_dir", "is a file"]),
    ),
    row(
        "11",
        Listener("tls"),
        "host localhost auth.ca_file @ca.key",
        Finding(&["mqtt.client.auth.ca_file", "private key"]),
    ),
    row(
        "12",
        Listener("tls"),
        "host localhost auth.ca_file @other.crt",
        AtOnce(&[
            "issued by `CN=Test Root,O=House`",
            "trusted is `CN=Elsewhere,O=House` (1 certificate of mqtt.client.auth.ca_file",
        ]),
    ),
    row(
        "13",
        Listener("tls"),
        "host localhost auth.ca_file @other.crt auth.ca_dir @dir-good",
        Published,
    ),
    row(
        "14",
        Listener("tls"),
        "host localhost",
        AtOnce(&[
            "speaks TLS",
            "neither mqtt.client.auth.ca_file nor mqtt.client.auth.ca_dir is set",
        ]),
    ),
    row(
        "15",
        Listener("plain"),
        "host localhost auth.ca_file @ca.crt",
        AtOnce(&[
            "speaks no TLS",
            "mqtt.client.port is",
            "mqtt.client.auth.ca_file asks for TLS",
        ]),
    ),
    row(
        "16",
        Listener("plain"),
        "auth.ca_dir @dir-empty",
        Finding(&["mqtt.client.auth.ca_dir", "dir-empty"]),
    ),
    row(
        "17",
        Listener("plain"),
        "auth.cert_file @client.crt auth.key_file @client.key",
        Finding(&["mqtt.client.auth.cert_file", "mqtt.client.auth.ca_file"]),
    ),
    row(
        "18",
        Listener("mutual"),
        "host localhost auth.ca_file @ca.crt auth.cert_file @client-v1.crt auth.key_file @client.key",
        Finding(&["version 1", "sectag cert reissue "]),
    ),
    row(
        "19",
        Listener("mutual"),
        "host localhost auth.ca_file @ca.crt auth.cert_file @client.crt auth.key_file @client.key",
        Published,
    ),
    row(
        "19, with a key in PKCS#8",
        Listener("mutual"),
        "host localhost auth.ca_file @ca.crt auth.cert_file @client.crt auth.key_file @client-pkcs8.key",
        Published,
    ),
    row(
        "19, with an RSA key in PKCS#1",
        Listener("mutual"),
        "host localhost auth.ca_file @ca.crt auth.cert_file @client-rsa.crt auth.key_file @client-rsa.key",
        Published,
    ),
    row(
        "20",
        Listener("mutual"),
        "host localhost auth.ca_file @ca.crt auth.cert_file @client.crt",
        Finding(&[
            "mqtt.client.auth.key_file is not set, but mqtt.client.auth.cert_file is",
            "both are needed for a client certificate; neither for none",
            "config set mqtt.client.auth.key_file <path>",
        ]),
    ),
    row(
        "21",
        Listener("mutual"),
        "host localhost auth.ca_file @ca.crt auth.key_file @client.key",
        Finding(&["mqtt.client.auth.cert_file is not set, but mqtt.client.auth.key_file is"]),
    ),
    row(
        "22",
        Listener("mutual"),
        "host localhost auth.ca_file @ca.crt",
        AtOnce(&[
            "requires a client certificate",
            "neither mqtt.client.auth.cert_file nor mqtt.client.auth.key_file is set",
        ]),
    ),
    row(
        "23",
        Listener("mutual"),
        "host localhost auth.ca_file @ca.crt auth.cert_file @client-foreign.crt auth.key_file @client-foreign.key",
        AtOnce(&[
            "does not trust the issuer of mqtt.client.auth.cert_file",
            "which is `CN=Elsewhere,O=House`",
        ]),
    ),
    row(
        "24",
        Listener("mutual"),
        "host localhost auth.ca_file @ca.crt auth.cert_file @client.crt auth.key_file @client-rsa.key",
        Finding(&[
            "mqtt.client.auth.key_file",
            "client-rsa.key",
            "is not that of the certificate",
        ]),
    ),
    row(
        "25",
        Listener("mutual"),
        "host localhost auth.ca_file @ca.crt auth.cert_file @nope.crt auth.key_file @client.key",
        Finding(&["mqtt.client.auth.cert_file", "nope.crt", "does not exist"]),
    ),
    row(
        "26",
        Listener("mutual"),
        "host localhost auth.ca_file @ca.crt auth.cert_file @client.crt auth.key_file @client.crt",
        Finding(&[
            "mqtt.client.auth.key_file",
            "holds a certificate, and no private key",
        ]),
    ),
    row(
        "27",
        Listener("mutual"),
        "host localhost auth.ca_file @ca.crt auth.cert_file @client.crt auth.key_file @client-encrypted.key",
        Finding(&["mqtt.client.auth.key_file", "is encrypted"]),
    ),
    row(
        "27, in PKCS#8",
        Listener("mutual"),
        "host localhost auth.ca_file @ca.crt auth.cert_file @client.crt auth.key_file @client-encrypted8.key",
        Finding(&["mqtt.client.auth.key_file", "is encrypted"]),
    ),
    row(
        "28",
        Listener("old"),
        "host localhost auth.ca_file @ca.crt",
        AtOnce(&["expired", "valid until 20", "the clock here says 20"]),
    ),
    row(
        "29",
        Listener("mutual-unmapped"),
        "host localhost auth.ca_file @ca.crt auth.cert_file @client.crt auth.key_file @client.key",
        AtOnce(&[
            "accepted the client certificate",
            "maps no user name to it (`use_identity_as_username`)",
            "gateway apply",
        ]),
    ),
    row(
        "30",
        Listener("tls13"),
        "host localhost auth.ca_file @ca.crt",
        Published,
    ),
    row(
        "31",
        Listener("tls12"),
        "host localhost auth.ca_file @ca.crt",
        Published,
    ),
    row(
        "32",
        Nothing("127.83.18.1", Some(8883)),
        "",
        InTheEnd(&[
            "warning: mqtt.client.port is 8883",
            "nothing listens at 127.83.18.1:8883",
        ]),
    ),
    row(
        "33",
        Nothing("127.83.18.1", Some(1883)),
        "auth.ca_file @ca.crt",
        InTheEnd(&[
            "warning: mqtt.client.port is 1883",
            "nothing listens at 127.83.18.1:1883",
        ]),
    ),
    row(
        "34",
        Listener("plain"),
        "auth.username gw-1 auth.password_file @nope",
        Finding(&["mqtt.client.auth.password_file", "does not exist"]),
    ),
    row(
        "34, without a user name",
        Listener("plain"),
        "auth.password_file @password",
        Finding(&["mqtt.client.auth.password_file is set, but mqtt.client.auth.username is not"]),
    ),
    row(
        "34, with an empty file",
        Listener("plain"),
        "auth.username gw-1 auth.password_file @password-empty",
        Finding(&["mqtt.client.auth.password_file", "empty first line"]),
    ),
    // RULE 19 beyond the annex.
    row(
        "password: the first line",
        Listener("password"),
        "auth.username gw-1 auth.password_file @password",
        Published,
    ),
    row(
        "MQTT 5 with a password",
        Listener("password"),
        "auth.username gw-1 auth.password_file @password-wrong",
        AtOnce(&["refused the user name or the password of mqtt.client.auth.username `gw-1`"]),
    ),
    row(
        "MQTT 5 without a login",
        Listener("password"),
        "",
        AtOnce(&["takes no anonymous client: mqtt.client.auth.username is not set"]),
    ),
    row(
        "MQTT 4",
        Listener("identity-unrequired"),
        "host localhost auth.ca_file @ca.crt",
        AtOnce(&["takes user names from certificates without requiring one"]),
    ),
];

#[test]
fn each_row_ends_as_it_should() {
    if !have(&["mosquitto", "mosquitto_passwd", "openssl"]) {
        return;
    }
    let papers = Papers::new();
    let house = House::new(&papers);
    // The waits of rows that only need patience overlap.
    std::thread::scope(|scope| {
        for some in ROWS.chunks(ROWS.len().div_ceil(4)) {
            let (papers, house) = (&papers, &house);
            scope.spawn(move || {
                for row in some {
                    if row.keys.contains("/etc/ssl")
                        && !std::path::Path::new("/etc/ssl/certs").is_dir()
                    {
                        continue;
                    }
                    check(row, papers, house);
                }
            });
        }
    });
}

fn check(row: &Row, papers: &Papers, house: &House) {
    let home = Home::new();
    let relay = match row.at {
        Listener(name) => Some(Relay::to(house.ports[name])),
        Nothing(..) => None,
    };
    let (host, port) = match row.at {
        Listener(_) => ("127.0.0.1", relay.as_ref().unwrap().port),
        Nothing(host, port) => (host, port.unwrap_or_else(free_port)),
    };
    let mut text = format!("mqtt.client.port = {port}\n");
    let words: Vec<_> = row.keys.split_whitespace().collect();
    if !words.contains(&"host") {
        text += &format!("mqtt.client.host = '{host}'\n");
    }
    for pair in words.chunks(2) {
        let value = match pair[1].strip_prefix('@') {
            Some(name) => papers.path(name).display().to_string(),
            None => pair[1].to_owned(),
        };
        text += &format!("mqtt.client.{} = '{value}'\n", pair[0]);
    }
    std::fs::create_dir(home.path()).unwrap();
    std::fs::write(home.path().join("tedge.toml"), &text).unwrap();
    let said = publish(&home);
    let heard = relay.map(|relay| relay.take());
    let number = row.number;
    let context = || format!("row {number}\n{text}{said:#?}\n{heard:?}");
    let (code, words): (_, &[&str]) = match row.ends {
        Published => (0, &["published to t/x"]),
        Finding(words) | AtOnce(words) | InTheEnd(words) => (1, words),
    };
    assert_eq!(said.code, Some(code), "{}", context());
    assert_eq!(said.stdout, "", "{}", context());
    let odd = matches!(number, "32" | "33");
    assert_eq!(said.stderr.contains("warning: "), odd, "{}", context());
    for word in words {
        assert!(said.stderr.contains(word), "`{word}`: {}", context());
    }
    let waited = said.stderr.contains("waiting: ");
    assert_eq!(waited, matches!(row.ends, InTheEnd(_)), "{}", context());
    let Some(heard) = &heard else { return };
    match row.ends {
        Finding(_) => assert!(heard.is_empty(), "{}", context()),
        // After a refused CONNECT in plaintext a ClientHello asks whether the port speaks TLS.
        _ if number == "14" => assert_eq!(heard.len(), 2, "{}", context()),
        _ => assert_eq!(heard.len(), 1, "{}", context()),
    }
    if text.contains("ca_") || text.contains("cert_file") {
        let plain = heard.iter().any(|bytes| is_plaintext_connect(bytes));
        assert!(!plain, "{}", context());
    }
}

fn publish(home: &Home) -> Output {
    let dir = home.path();
    home.sectag(&[
        "--config-dir",
        dir.to_str().unwrap(),
        "mqtt",
        "pub",
        "--gateway",
        "--connection-timeout",
        "1",
        "-t",
        "t/x",
        "-m",
        "hello",
    ])
}

/// One broker with a listener for each situation.
struct House {
    ports: BTreeMap<&'static str, u16>,
    _broker: Mosquitto,
}

impl House {
    fn new(papers: &Papers) -> Self {
        let dir = papers.dir().display();
        let made = Command::new("mosquitto_passwd")
            .args(["-b", "-c", "passwords", "gw-1", "right"])
            .current_dir(papers.dir())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let tls = |server: &str| format!("certfile {dir}/{server}.crt\nkeyfile {dir}/server.key\n");
        let open = "allow_anonymous true\n";
        let mutual = format!(
            "allow_anonymous false\n{}cafile {dir}/clients.crt\nrequire_certificate true\n",
            tls("server")
        );
        let listeners = [
            ("plain", open.to_owned()),
            ("tls", format!("{open}{}", tls("server"))),
            ("tls-ip", format!("{open}{}", tls("server-ip"))),
            ("old", format!("{open}{}", tls("server-old"))),
            (
                "tls13",
                format!("{open}{}tls_version tlsv1.3\n", tls("server")),
            ),
            (
                "tls12",
                format!("{open}{}tls_version tlsv1.2\n", tls("server")),
            ),
            ("mutual", format!("{mutual}use_identity_as_username true\n")),
            ("mutual-unmapped", mutual.clone()),
            (
                "identity-unrequired",
                format!(
                    "allow_anonymous false\n{}cafile {dir}/clients.crt\nuse_identity_as_username true\n",
                    tls("server")
                ),
            ),
            (
                "password",
                format!("allow_anonymous false\npassword_file {dir}/passwords\n"),
            ),
        ];
        let mut config = "per_listener_settings true\nuser root\npersistence false\n".to_owned();
        let mut ports = BTreeMap::new();
        let free = free_ports(listeners.len());
        for ((name, lines), port) in listeners.into_iter().zip(free) {
            config += &format!("listener {port} 127.0.0.1\n{lines}");
            ports.insert(name, port);
        }
        let all: Vec<u16> = ports.values().copied().collect();
        let broker = Mosquitto::start(papers.dir(), "broker", &config, &all);
        Self {
            ports,
            _broker: broker.unwrap_or_else(|said| panic!("{said}")),
        }
    }
}
