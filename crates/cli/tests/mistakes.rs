//! What a new user types wrong, and what the terminal answers: both streams and the exit code, word for word.
//! 1: the answer is no. 2: it could not be tried.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;
mod witness;

use support::{Home, Output, Up, run, sectag};
use witness::Witness;

const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// A home whose service runs, and the words that differ from run to run.
struct Desk {
    home: Home,
    up: Up,
}

impl Desk {
    fn new() -> Self {
        let home = Home::new();
        let up = home.up(&[]);
        Self { home, up }
    }

    fn sectag(&self, args: &[&str]) -> Output {
        self.home.sectag(args)
    }

    /// Compares a refusal, with this run's paths, ports and process id named.
    fn refuses(&self, args: &[&str], code: i32, stderr: &str) {
        let output = self.sectag(args);
        let seen = self.named(&output.stderr);
        assert_eq!(seen, stderr, "{args:?}");
        assert_eq!(output.stdout, "", "{args:?}: data only where there is some");
        assert_eq!(output.code, Some(code), "{args:?}");
    }

    fn named(&self, text: &str) -> String {
        let listeners = self.up.listeners;
        in_home(&self.home, text)
            .replace(&format!(":{}", listeners.loopback.port()), ":LOOPBACK")
            .replace(&format!(":{}", listeners.device.port()), ":DEVICE")
            .replace(&format!(":{}", listeners.mqtt.port()), ":MQTT")
            .replace(&format!("process {}", self.up.child.id()), "process PID")
    }
}

/// The text with `HOME` for the home and `BESIDE` for the folder it is in.
fn in_home(home: &Home, text: &str) -> String {
    text.replace(home.path().to_str().unwrap(), "HOME")
        .replace(home.path().parent().unwrap().to_str().unwrap(), "BESIDE")
}

fn refuses(home: &Home, args: &[&str], code: i32, stderr: &str) {
    let output = home.sectag(args);
    assert_eq!(in_home(home, &output.stderr), stderr, "{args:?}");
    assert_eq!(output.stdout, "", "{args:?}");
    assert_eq!(output.code, Some(code), "{args:?}");
}

#[test]
fn without_a_verb_the_help_is_shown() {
    let home = Home::new();
    let mut command = sectag(&home.path());
    command.env("COLUMNS", "100").env_remove("SECTAG_HOME");
    let output = run(command);
    assert_eq!(output.code, Some(2));
    assert_eq!(output.stdout, "");
    assert_eq!(
        output.stderr,
        "\
Takes a device from blank to a mutually authenticated MQTT session over TLS, and keeps it there

Usage: sectag [OPTIONS] <COMMAND>

Commands:
  up          Run the service: owner API, device API, CA and MQTT broker, in one process with one
              home
  demo        Tell the whole story in one command: a blank device ends in an MQTT session over
              mutual TLS
  status      Show what runs and where it listens
  claim       Claim a device by its attestation token
  devices     The claimed devices
  commands    The command queue of a device
  rules       What devices with a tag get when they show up
  tags        The registry of tags: groups of devices
  plan        What a device, a tag's devices, or the devices of a rule will get: the exact commands,
              before anything runs
  forecast    What will stop working in 30, 60, 90 days: certificates that end and are not renewed
              as things stand
  renewals    Renewals under way, or everything about one device's certificates
  keys        API keys of people and programs
  teams       Teams: people who share devices, keys, an allow-list and an issuing CA
  allow-list  Which devices may be claimed, and under which key, where the policy is allow-list
  events      What happens, as it happens: claims, fetches, results, certificates, alarms
  alarms      What somebody should look at: keys that changed, twins, reports that make no sense,
              renewals that fail
  webhooks    Where events are sent
  audit       Who did what, and the proof that nobody changed the record of it
  openapi     The owner API as an OpenAPI document; a running service shows it at /docs
  device      Be a device: a virtual modem and the provisioning client
  modem       A virtual modem on a pty or TCP; one AT line to any modem
  nrf91       What a real nRF91's firmware needs to reach this service
  creds       Credentials under security tags: over AT serial, a virtual modem, or files
  mqtt        Publish or subscribe over MQTT; the SDK's sample; a broker
  ca          The home's certificate authorities: make, import, show and export them
  config      What the broker and its clients must know: keys in thin-edge.io's names
  gateway     The broker of this machine: plan, apply and prove what the keys ask for
  cert        Certificates: issue, renew, revoke, show, lint, fetch a chain, write headers
  help        Print this message or the help of the given subcommand(s)

Options:
  -h, --help     Print help
  -V, --version  Print version

Options of every verb:
      --home <DIR>               Where everything lives [default: the XDG data directory, e.g.
                                 ~/.local/share/sectag] [env: SECTAG_HOME=]
      --json                     Print data as JSON
  -v, --verbose...               Say more on stderr (-v: info, -vv: debug)
      --url <URL>                The service, e.g. http://127.0.0.1:8441 [default: the one running
                                 in this home] [env: SECTAG_URL=]
      --key-file <FILE>          File with the API key [default: HOME/owner.key] [env:
                                 SECTAG_KEY_FILE=]
      --config-dir <CONFIG_DIR>  Where tedge.toml is [default: TEDGE_CONFIG_DIR, else the home]

Exit code 0: done; 1: the answer is no; 2: it could not be tried. A verb that has others says so.
"
    );
}

#[test]
fn a_typo_gets_a_suggestion() {
    let home = Home::new();
    refuses(
        &home,
        &["sttus"],
        2,
        "error: unrecognized subcommand 'sttus'\n\n  tip: a similar subcommand exists: 'status'\n\n\
         Usage: sectag [OPTIONS] <COMMAND>\n\nFor more information, try '--help'.\n",
    );
    refuses(
        &home,
        &["commands", "onbord", NOBODY],
        2,
        "error: unrecognized subcommand 'onbord'\n\n  tip: a similar subcommand exists: 'onboard'\n\n\
         Usage: sectag commands [OPTIONS] <COMMAND>\n\nFor more information, try '--help'.\n",
    );
    refuses(
        &home,
        &["up", "--listen-owner", "8440"],
        2,
        "error: invalid value '8440' for '--listen-owner <ADDR:PORT>': give an address and a port, like 127.0.0.1:8443\n\n\
         For more information, try '--help'.\n",
    );
}

#[test]
fn a_service_that_does_not_run_is_said_to_not_run() {
    let home = Home::new();
    refuses(
        &home,
        &["devices"],
        2,
        "error: no API key: `HOME/owner.key`: No such file or directory (os error 2)\n\n\
         hint: `sectag up` writes it when it first starts; for a service elsewhere give --key-file\n",
    );
    refuses(
        &home,
        &["ca"],
        1,
        "error: no CA in `HOME/ca`\n\n\
         hint: `sectag ca init` makes one, and `sectag up` does when it first starts; another home is chosen with --home\n",
    );
    refuses(
        &home,
        &["mqtt", "sub", "--operator", "-t", "#"],
        2,
        "error: failed to read `HOME/ca/root.crt`: No such file or directory (os error 2)\n\n\
         hint: `sectag up` makes the root CA and the operator certificate when it first starts; others are given with --ca, --cert and --key\n",
    );
    // It has been up and is gone. A port that was just free stands for the default ones, which may be taken here.
    assert!(home.up(&[]).stop().success());
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let output = home.sectag(&["status", "--url", &url]);
    assert_eq!(
        output.stderr,
        format!(
            "error: no service answers at {url}/: Connection refused (os error 111)\n\n\
             hint: start one with `sectag up`, or say where it is with --url\n"
        )
    );
    assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""));
    let port = port.to_string();
    let output = home.sectag(&["mqtt", "sub", "--operator", "-t", "#", "--port", &port]);
    assert_eq!(
        output.stderr,
        format!(
            "error: nothing listens at 127.0.0.1:{port}: port {port} was asked for at `localhost`, usual is 8883 for MQTT over TLS\n\n\
             hint: start the broker, or correct host and port\n"
        )
    );
    assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""));
    let output = home.sectag(&["device", "run", "--port", &port]);
    assert_eq!(
        output.stderr,
        format!(
            "  modem    AT%CCLK? → OK\n  \
             GET      no answer: fetching commands from localhost:{port}: the connection was refused: Connection refused (os error 111)\n\
             error: no TLS session with localhost:{port}: nothing listens there, or its certificate does not chain to the root CA under sec tag 50\n\n\
             hint: is the service up (`sectag status`)? is `--ca` the file of that service's home?\n"
        )
    );
    assert_eq!((output.code, output.stdout.as_str()), (Some(1), "FAILED\n"));
}

#[test]
fn a_wrong_or_missing_key_says_which_file_is_right() {
    let desk = Desk::new();
    let wrong = desk.home.beside("wrong.key");
    std::fs::write(&wrong, "sectag_0000\n").unwrap();
    desk.refuses(
        &["devices", "--key-file", wrong.to_str().unwrap()],
        1,
        "error: the service at http://127.0.0.1:LOOPBACK/ does not know this API key\n\n\
         hint: use the key file of that service's home: --key-file HOME/owner.key; whether a key has expired or was revoked, \
         an owner sees in `sectag keys`\n",
    );
    let absent = desk.home.beside("absent.key");
    desk.refuses(
        &["devices", "--key-file", absent.to_str().unwrap()],
        2,
        "error: no API key: `BESIDE/absent.key`: No such file or directory (os error 2)\n\n\
         hint: an owner makes one: `sectag keys create NAME > FILE`\n",
    );
    std::fs::write(&absent, "\n").unwrap();
    desk.refuses(
        &["devices", "--key-file", absent.to_str().unwrap()],
        2,
        "error: no API key: `BESIDE/absent.key` is empty\n\n\
         hint: an owner makes one: `sectag keys create NAME > FILE`\n",
    );
}

#[test]
fn the_wrong_scheme_for_a_port_is_told_from_a_wrong_certificate() {
    let desk = Desk::new();
    let loopback = format!("https://{}", desk.up.listeners.loopback);
    desk.refuses(
        &["devices", "--url", &loopback],
        2,
        "error: what answers at https://127.0.0.1:LOOPBACK/ does not speak TLS\n\n\
         hint: the owner API listens on two ports; over the loopback one the URL begins with http://\n",
    );
    let device = format!("http://{}", desk.up.listeners.device);
    let output = desk.sectag(&["devices", "--url", &device]);
    let said = desk.named(&output.stderr);
    assert!(
        said.starts_with("error: what answers at http://127.0.0.1:DEVICE/ does not speak HTTP: "),
        "{said}"
    );
    assert!(
        said.ends_with(
            "hint: over TLS the URL begins with https://; `sectag status` shows both ports\n"
        ),
        "{said}"
    );
    assert_eq!(output.code, Some(2));
}

#[test]
fn a_token_cut_short_or_mistyped_claims_nothing() {
    let desk = Desk::new();
    let token = desk.home.json(&["device", "token"])["claimToken"]
        .as_str()
        .unwrap()
        .to_owned();
    let hint = "\nhint: `sectag device token` and AT%ATTESTTOKEN print one; copy the whole line\n";
    let no = "error: the service said no (400): not a claim token: ";
    let part = "a token has two parts with one dot between them; this has 1";
    desk.refuses(&["claim", &token[..60]], 1, &format!("{no}{part}\n{hint}"));
    desk.refuses(
        &["claim", &token[..98]], // no base64 text has 4n + 1 characters
        1,
        &format!(
            "{no}the signature part is not base64url without padding: a character is wrong, or the text was cut short\n{hint}"
        ),
    );
    let shape = "the signature part is not what a modem prints";
    let cut = format!("{no}{shape}: it was cut short\n{hint}");
    desk.refuses(&["claim", &token[..101]], 1, &cut);
    let long = format!("{no}{shape}: there is more text behind its end\n{hint}");
    desk.refuses(&["claim", &format!("{token}AAAA")], 1, &long);
    // The first part begins with a fixed tag.
    let typo = format!("3{}", &token[1..]);
    let said = desk.sectag(&["claim", &typo]).expect_code(1);
    assert!(
        said.stderr.starts_with(no) && said.stderr.ends_with(hint),
        "{said:?}"
    );
    assert_eq!(desk.home.json(&["devices"])["items"], serde_json::json!([]));
    // The whole one is good.
    desk.sectag(&["claim", &token]).expect_code(0);
}

#[test]
fn a_typo_in_the_tokens_nonce_is_found_by_the_device_and_repaired_by_the_owner() {
    let desk = Desk::new();
    let token = desk.home.json(&["device", "token"])["claimToken"]
        .as_str()
        .unwrap()
        .to_owned();
    // Which key signed is computed from signature and text, so another nonce only means another key, if any; characters
    // 54 to 74 hold the nonce alone.
    let typo = (0..)
        .map(|n| format!("{}{n:03}{}", &token[..60], &token[63..]))
        .find(|typo| desk.sectag(&["claim", typo]).code == Some(0))
        .unwrap();
    assert_ne!(typo, token);
    let stranger = desk.sectag(&["device", "run"]).expect_code(1);
    assert_eq!(stranger.stdout, "NOT_CLAIMED\n");
    let id = desk.home.json(&["device", "uuid"])["id"].clone();
    desk.refuses(
        &["claim", &token],
        1,
        &format!(
            "error: the service said no (409): claim refused: device {} is known under another key; if that is intended, claim it with `acceptNewKey`: true\n\n\
             hint: after a typo in an earlier token, or when the device's modem was replaced: --accept-new-key\n",
            id.as_str().unwrap()
        ),
    );
    desk.sectag(&["claim", &token, "--accept-new-key"])
        .expect_code(0);
    let known = desk.sectag(&["device", "run"]).expect_code(0);
    assert_eq!(known.stdout, "NO_COMMANDS\n");
}

#[test]
fn a_taken_port_is_named_with_the_flag_that_changes_it() {
    let desk = Desk::new();
    let other = Home::new();
    let listeners = desk.up.listeners;
    for (what, taken) in [
        ("owner", listeners.owner),
        ("loopback", listeners.loopback),
        ("device", listeners.device),
        ("mqtt", listeners.mqtt),
    ] {
        let mut args = vec!["up".to_owned()];
        for listener in ["owner", "loopback", "device", "mqtt"] {
            args.push(format!("--listen-{listener}"));
            args.push(if listener == what {
                taken.to_string()
            } else {
                "127.0.0.1:0".to_owned()
            });
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = other.sectag_with(&args, &[("SECTAG_LOG", "off")]);
        let port = taken.port();
        assert_eq!(
            output.stderr,
            format!(
                "error: cannot listen on 127.0.0.1:{port} for {what}\n  caused by: Address already in use (os error 98)\n\n\
                 hint: another program has port {port}; is a service running already (`sectag status`)? \
                 Else set `listen.{what}` in sectag.toml, or `--listen-{what} 127.0.0.1:0` for any free port\n"
            )
        );
        assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""));
    }
}

#[test]
fn a_home_that_cannot_be_used_says_why() {
    let desk = Desk::new();
    desk.refuses(
        &["up"],
        2,
        "error: the home `HOME` is in use by process PID\n\n\
         hint: `sectag status` shows it; stop process PID first, or choose another home with `--home`\n",
    );
    std::fs::write(desk.home.beside("file"), "").unwrap();
    let below = desk.home.beside("file/home");
    let below = below.to_str().unwrap();
    desk.refuses(
        &["up", "--home", below],
        2,
        "error: cannot use the home `BESIDE/file/home`\n  caused by: cannot create directory `BESIDE/file/home`\n  \
         caused by: Not a directory (os error 20)\n\n\
         hint: choose a directory that you may write with `--home DIR`\n",
    );
    desk.refuses(
        &["device", "run", "--home", below],
        2,
        "error: cannot use a device of the home `BESIDE/file/home`\n  caused by: cannot create directory `BESIDE/file/home`\n  \
         caused by: Not a directory (os error 20)\n\n\
         hint: choose a directory that you may write with `--home DIR`\n",
    );
}

#[test]
fn a_wrong_setting_stops_the_start_and_gets_a_suggestion() {
    let home = Home::new();
    assert!(home.up(&[]).stop().success());
    let settings = home.path().join("sectag.toml");
    std::fs::write(&settings, "# mine\npolcy = \"first-claim\"\n").unwrap();
    refuses(
        &home,
        &["up"],
        2,
        "error: HOME/sectag.toml: line 2: unknown field `polcy`, expected one of `names`, `policy`, `open-commands-max`, `listen`, `coap`, `owner`, `webhooks`, `certificate`\n\n\
         hint: did you mean `policy`?\n",
    );
    std::fs::write(&settings, "policy = \"everybody\"\n").unwrap();
    refuses(
        &home,
        &["up"],
        2,
        "error: HOME/sectag.toml: line 1: unknown variant `everybody`, expected one of `auto`, `first-claim`, `allow-list`\n",
    );
    std::fs::remove_file(&settings).unwrap();
    refuses(
        &home,
        &[
            "up",
            "--listen-loopback",
            "0.0.0.0:0",
            "--listen-owner",
            "127.0.0.1:0",
        ],
        2,
        "error: 0.0.0.0:0 is not a loopback address, and this listener speaks plain HTTP\n\n\
         hint: use the owner listener (TLS) for other machines\n",
    );
}

#[test]
fn commands_that_cannot_be_are_refused_with_the_reason() {
    let desk = Desk::new();
    let token = desk.home.json(&["device", "token"])["claimToken"].clone();
    let id = desk.home.json(&["claim", token.as_str().unwrap()])["id"].clone();
    let id = id.as_str().unwrap();
    let unknown = format!(
        "error: the service said no (404): no claimed device `{NOBODY}`\n\nhint: `sectag devices` lists those that this key may see\n"
    );
    desk.refuses(&["commands", "list", NOBODY], 1, &unknown);
    desk.refuses(&["commands", "onboard", NOBODY], 1, &unknown);
    desk.refuses(&["devices", "show", NOBODY], 1, &unknown);
    desk.refuses(
        &["commands", "list", "what/ever"],
        1,
        "error: `what/ever` is not an id\n\nhint: `sectag devices` lists device ids\n",
    );
    desk.refuses(
        &["commands", "show", id, NOBODY],
        1,
        &format!(
            "error: the service said no (404): no command `{NOBODY}`\n\nhint: `sectag commands list DEVICE` lists a device's commands\n"
        ),
    );
    desk.refuses(
        &["commands", "add", id, "{finished}"],
        2,
        "error: `{finished}` is no JSON: key must be a string at line 1 column 2\n\nhint: for example '{\"finished\":{}}'\n",
    );
    desk.refuses(
        &["commands", "add", id, r#"{"serverCertificate":{"secTag":5,"content":"-----BEGIN \"C\""}}"#],
        1,
        "error: the service said no (422): content: holds a double quote, which an AT command cannot carry\n",
    );
    let range = "sec tag 2147483648 is out of range: 0 to 2147483647 are for users";
    for (request, words) in [
        (
            r#"{"serverCertificate":{"secTag":2147483648,"content":"x"}}"#,
            range,
        ),
        (
            r#"{"finnished":{}}"#,
            "unknown variant `finnished`, expected one of `clientPrivateKeyGeneration`, `cloudAccessKeyGeneration`, \
             `certificateSigningRequest`, `clientCertificate`, `serverCertificate`, `clientPrivateKey`, `preSharedKey`, \
             `endorsementKeyGeneration`, `config`, `atCommand`, `finished`",
        ),
        (
            r#"{"serverCertificate":{"sectag":5,"content":"x"}}"#,
            "unknown field `sectag`, expected `secTag` or `content`",
        ),
        (
            r#"{"finished":{},"config":{}}"#,
            "an object with exactly one member, named after the command, is expected (expected value)",
        ),
    ] {
        let said = format!("error: the service said no (422): {words}\n");
        desk.refuses(&["commands", "add", id, request], 1, &said);
    }
    desk.refuses(
        &["commands", "onboard", id, "--sec-tag", "2147483648"],
        2,
        &format!(
            "error: invalid value '2147483648' for '--sec-tag <SEC_TAG>': {range}\n\nFor more information, try '--help'.\n"
        ),
    );
    let output = desk.sectag(&[
        "commands",
        "add",
        id,
        r#"{"finished":{}}"#,
        r#"{"config":{}}"#,
    ]);
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (Some(1), ""),
        "all or none"
    );
    assert_eq!(
        desk.home.json(&["commands", "list", id])["items"],
        serde_json::json!([]),
        "none of them was queued"
    );
}

#[test]
fn a_device_does_one_thing_at_a_time() {
    let desk = Desk::new();
    let token = desk.home.json(&["device", "token"])["claimToken"].clone();
    let claimed = desk
        .sectag(&["claim", token.as_str().unwrap(), "--onboard", "7"])
        .expect_code(0);
    let topics = format!("{}/#", claimed.stdout.trim_end());
    desk.sectag(&["device", "run"]).expect_code(0);
    let credentials = ["--name", "device-1", "--sec-tag", "7"];
    let _busy = Witness::start(&desk.home.path(), &credentials, &topics);
    let said = desk.sectag(&["device", "run"]).expect_code(2);
    let words: String = said
        .stderr
        .chars()
        .filter(|c| !c.is_ascii_digit())
        .collect();
    assert_eq!(
        words,
        "error: device `device-` is in use by process \n\n\
         hint: a device does one thing at a time: wait for it, stop it, or choose another device with --name\n"
    );
    desk.refuses(
        &["device", "token", "--name", "../x"],
        2,
        "error: `../x` is not a device name: 1 to 64 letters, digits, `-`, `_` and `.`, not beginning with `.`\n\n\
         hint: choose another with --name, for example --name device-2\n",
    );
}

#[test]
fn mqtt_says_which_credentials_are_missing_or_wrong() {
    let desk = Desk::new();
    let other = Home::new();
    assert!(other.up(&[]).stop().success());
    desk.refuses(
        &["mqtt", "sub", "-t", "#"],
        2,
        "error: no credentials to connect with\n\n\
         hint: --name DEVICE uses a device's sec tag, --operator the home's operator certificate, --cert and --key files; --ca alone is for brokers that ask for no certificate\n",
    );
    desk.refuses(
        &["mqtt", "pub", "--name", "device-1", "-t", "~/x", "-m", "x"],
        2,
        "error: no root CA (type 0) under sec tag 16842753 (on an nRF91: error code -111)\n\n\
         hint: write the root CA of the broker to sec tag 16842753: `sectag cert chain localhost:MQTT --name device-1 --to-tag 16842753` fetches and shows it, or provision the device first\n",
    );
    desk.refuses(
        &["mqtt", "pub", "--operator", "-t", "a/#", "-m", "x"],
        2,
        "error: `a/#` holds a wildcard; a message has one topic\n\nhint: wildcards are for `sectag mqtt sub`\n",
    );
    let at = |home: &Home, file: &str| home.path().join(file).to_str().unwrap().to_owned();
    // The other home's root has the same name and another key.
    let foreign = at(&other, "ca/root.crt");
    let said = desk
        .sectag(&["mqtt", "sub", "--operator", "-t", "#", "--ca", &foreign])
        .expect_code(1);
    for words in [
        "ca/root.crt` has the right name and another key",
        "hint: the authority was made again; put its new certificate there: `sectag cert chain localhost:",
        "give that file with `--ca`",
    ] {
        assert!(said.stderr.contains(words), "{said:?}");
    }
    let said = desk
        .sectag(&["device", "run", "--ca", &foreign])
        .expect_code(1);
    assert_eq!(said.stdout, "FAILED\n");
    assert!(
        said.stderr
            .contains("its certificate does not chain to the root CA under sec tag 50"),
        "{said:?}"
    );
    let papers = [
        "--cert",
        &at(&other, "operator/operator.crt"),
        "--key",
        &at(&other, "operator/operator.key"),
    ];
    let said = desk
        .sectag(&[&["mqtt", "sub", "-t", "#"][..], &papers].concat())
        .expect_code(1);
    for words in [
        "refused the client certificate `CN=operator,OU=sectag-operator` of `",
        "the server knows an authority of that name with another key",
        "hint: give the broker the present certificate of `CN=",
    ] {
        assert!(said.stderr.contains(words), "{said:?}");
    }
    let key = at(&desk.home, "ca/root.key");
    desk.refuses(
        &["mqtt", "sub", "--operator", "-t", "#", "--ca", &key],
        2,
        "error: `HOME/ca/root.key` holds no certificate\n\n\
         hint: a PEM file that begins with -----BEGIN CERTIFICATE----- is needed; is this the key?\n",
    );
    desk.refuses(
        &["device", "run", "--name", "device-2", "--ca", &key],
        2,
        "error: `HOME/ca/root.key` holds no certificate\n\n\
         hint: give the file that `sectag ca export` prints on the service's machine with --ca\n",
    );
    let certificate = at(&desk.home, "operator/operator.crt");
    let key = at(&desk.home, "tls/server.key");
    desk.refuses(
        &["mqtt", "sub", "-t", "#", "--cert", &certificate, "--key", &key],
        2,
        "error: `HOME/tls/server.key` is not the key of the certificate in `HOME/operator/operator.crt`\n",
    );
    let server = at(&desk.home, "tls/server.crt");
    let said = desk
        .sectag(&["mqtt", "sub", "-t", "#", "--cert", &server, "--key", &key])
        .expect_code(1);
    assert!(
        said.stderr
            .contains("it is for serverAuth (extended key usage), and clientAuth is needed"),
        "{said:?}"
    );
}

#[test]
fn a_file_that_is_no_certificate_is_told_apart() {
    let desk = Desk::new();
    let show = |file: &str, code, stderr: &str| {
        let path = desk.home.path().join(file);
        desk.refuses(&["cert", "show", path.to_str().unwrap()], code, stderr);
    };
    show(
        "operator/operator.key",
        1,
        "error: `HOME/operator/operator.key` holds a private key, not a certificate\n\n\
         hint: the certificate lies beside it, in the file that ends in .crt\n",
    );
    show(
        "absent.crt",
        2,
        "error: failed to read `HOME/absent.crt`: No such file or directory (os error 2)\n",
    );
    show(
        "sectag.db",
        1,
        "error: `HOME/sectag.db` holds no certificate in PEM\n\n\
         hint: a PEM file begins with -----BEGIN CERTIFICATE-----; DER is converted by `openssl x509 -inform der`\n",
    );
    let whole = desk.home.read("ca/root.crt");
    std::fs::write(desk.home.beside("cut.crt"), &whole[..200]).unwrap();
    let said = desk
        .sectag(&[
            "cert",
            "show",
            desk.home.beside("cut.crt").to_str().unwrap(),
        ])
        .expect_code(1);
    assert!(said.stderr.contains("cut short, or changed?"), "{said:?}");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
