//! A new operator's: keys of others, teams, rules, registrations, webhooks, alarms, the audit trail.

use crate::desk::Desk;

impl Desk {
    /// Writes a file beside the home: its path.
    fn file(&self, name: &str, content: &str) -> String {
        let path = self.home.beside(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A key that was made for somebody, as a file.
    fn key(&self, args: &[&str]) -> String {
        let made = self.sectag(&[&["keys", "create"], args].concat());
        self.file("made.key", &made.expect_code(0).stdout)
    }

    /// A device that was claimed: its id.
    fn device(&self, key: &str) -> String {
        let token = self.home.json(&["device", "token"])["claimToken"].clone();
        let claimed = self.sectag(&["claim", token.as_str().unwrap(), "--key-file", key]);
        claimed.expect_code(0).stdout.trim().to_owned()
    }
}

#[test]
fn a_key_file_that_holds_something_else_is_told_from_a_wrong_key() {
    let desk = Desk::new();
    let hint = "\nhint: an owner makes one: `sectag keys create NAME > FILE`\n";
    let noted = desk.file("noted.key", "key `ada`, role editor:\nsectag_0000\n");
    desk.refuses(
        &["devices", "--key-file", &noted],
        2,
        &format!(
            "error: no API key: `BESIDE/noted.key` holds more than one word, and a key is one\n{hint}"
        ),
    );
    let folder = desk.home.beside("");
    let folder = folder.to_str().unwrap().trim_end_matches('/');
    desk.refuses(
        &["devices", "--key-file", folder],
        2,
        "error: no API key: `BESIDE`: Is a directory (os error 21)\n",
    );
}

#[test]
fn what_a_role_or_a_tag_does_not_allow_is_said() {
    let desk = Desk::new();
    let ada = desk.key(&["ada", "--role", "editor"]);
    let role = "error: the service said no (403): this API key has the role `editor`, which does not allow this\n";
    desk.refuses(&["keys", "--key-file", &ada], 1, role);
    let line = desk.key(&["line-1", "--tag", "hall-a"]);
    desk.refuses(
        &["rules", "--key-file", &line],
        1,
        "error: the service said no (403): this API key is limited to devices with certain tags, and this concerns more\n",
    );
    let token = desk.home.json(&["device", "token"])["claimToken"].clone();
    desk.refuses(
        &["claim", token.as_str().unwrap(), "--key-file", &line],
        1,
        "error: the service said no (422): tags: this API key is limited to the tags `hall-a`; the device must have one of them\n",
    );
    desk.refuses(
        &["keys", "revoke", "owner"],
        1,
        "error: the service said no (409): this is the team's last API key with the role `owner`; revoking it would lock everyone out\n",
    );
    desk.refuses(
        &["keys", "create", "bob", "--expires", "90"],
        2,
        "error: `90` is no time\n\nhint: for example 2027-01-31, 2027-01-31T12:00:00Z, 90d or 12h\n",
    );
}

#[test]
fn a_rule_that_cannot_be_is_refused_with_the_place() {
    let desk = Desk::new();
    desk.refuses(
        &["rules", "create", "--name", "x"],
        2,
        "error: the rule has no `commands`\n\n\
         hint: `sectag rules create --name N --tag T --onboard`, or a file: `sectag rules example`\n",
    );
    let rule = |parameters: &str| {
        format!(
            r#"{{"name":"x","tags":["farm"],"commands":[{{"request":{{"atCommand":{{"command":"%CMNG","parameters":"{parameters}"}}}}}}]}}"#
        )
    };
    let misspelt = desk.file("misspelt.json", &rule("{{device.imie}}"));
    desk.refuses(
        &["rules", "create", &misspelt],
        1,
        "error: the service said no (422): commands[0].request.parameters: `{{device.imie}}` is not a variable; \
         there are device.id, device.imei, device.type, team.prefix and tag.NAME\n",
    );
    desk.refuses(
        &["plan", "--rule", "nosuch"],
        1,
        "error: there is neither a file nor a rule `nosuch`\n\n\
         hint: `sectag rules` lists names; `sectag rules example` prints a file to begin with\n",
    );
    let active = ["--name", "farm", "--tag", "farm", "--onboard"];
    desk.sectag(&[&["rules", "create"], &active[..]].concat())
        .expect_code(0);
    desk.sectag(&["rules", "activate", "farm"]).expect_code(0);
    desk.refuses(
        &["rules", "change", "farm", "--description", "x"],
        1,
        "error: the service said no (409): rule `farm` is ACTIVE; an active rule is not edited: delete it and create another one\n",
    );
}

#[test]
fn a_number_or_an_id_that_nobody_has_says_where_they_are_listed() {
    let desk = Desk::new();
    let key = desk.home.path().join("owner.key");
    let device = desk.device(key.to_str().unwrap());
    for (args, what, hint) in [
        (
            &["webhooks", "test", "nosuch"][..],
            "no webhook `nosuch`",
            "`sectag webhooks` lists their ids",
        ),
        (
            &["alarms", "ack", "99999"],
            "no alarm `99999`",
            "`sectag alarms --all` lists their numbers",
        ),
        (
            &["tags", "delete", "nosuch"],
            "no tag `nosuch`",
            "`sectag tags` lists the registered ones; a device's own change with `sectag devices tag`",
        ),
        (
            &["devices", "revoke", &device, "1234"],
            "no certificate of this device `1234`",
            "`sectag renewals DEVICE` lists those that this service issued",
        ),
        (
            &["teams", "show", "nowhere"],
            "no team `nowhere`",
            "`sectag teams` lists those that this key may know of",
        ),
    ] {
        let said = format!("error: the service said no (404): {what}\n\nhint: {hint}\n");
        desk.refuses(args, 1, &said);
    }
    let none = desk.sectag(&["alarms", "--all"]).expect_code(0);
    assert_eq!(
        none.stderr,
        "no alarm has been raised that this key may see\n"
    );
}

#[test]
fn one_certificate_that_is_not_registered_is_no_list_of_rows() {
    let desk = Desk::new();
    let no = "error: the certificate is not registered for `nrf-1`: ";
    let root = desk.home.path().join("ca/root.crt");
    desk.refuses(
        &["devices", "register", "nrf-1", root.to_str().unwrap()],
        1,
        &format!(
            "{no}the certificate is for CN=Sectag root, and the row is for nrf-1: on the broker the CN is the device\n"
        ),
    );
    let key = desk.file("its.key", "-----BEGIN PRIVATE KEY-----\n");
    desk.refuses(
        &["devices", "register", "nrf-1", &key],
        1,
        &format!("{no}the last column is not a certificate in PEM\n"),
    );
}

#[test]
fn a_webhook_without_a_scheme_is_shown_a_whole_one() {
    Desk::new().refuses(
        &["webhooks", "add", "ops.example.org"],
        1,
        "error: the service said no (422): url: neither `https` nor `http`\n\n\
         hint: give the whole address, like https://ops.example.org/sectag\n",
    );
}
