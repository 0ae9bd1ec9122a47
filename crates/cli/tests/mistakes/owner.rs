//! Keys, claims and commands of an owner.

use crate::desk::{Desk, NOBODY};

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
    for verb in ["devices", "events"] {
        desk.refuses(
            &[verb, "--url", &loopback],
            2,
            "error: what answers at https://127.0.0.1:LOOPBACK/ does not speak TLS\n\n\
             hint: the owner API listens on two ports; over the loopback one the URL begins with http://\n",
        );
    }
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
        &["commands", "add", id, "finished"],
        2,
        "error: `finished` is no command, which is a JSON object\n\nhint: for example '{\"finished\":{}}'\n",
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
