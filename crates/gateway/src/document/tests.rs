use super::*;
use proptest::prelude::*;

fn after(text: &str, change: impl FnOnce(&mut Document)) -> String {
    let mut document = Document::parse(text).unwrap();
    change(&mut document);
    document.text().to_owned()
}

fn set(text: &str, name: &str, value: impl Into<Value>) -> String {
    after(text, |document| document.set(name, &value.into()).unwrap())
}

fn unset(text: &str, name: &str) -> String {
    after(text, |document| assert!(document.unset(name).unwrap()))
}

#[test]
fn a_new_file_gets_one_table() {
    assert_eq!(
        set("", "mqtt.external.bind.port", 8883),
        "[mqtt.external.bind]\nport = 8883\n"
    );
    assert_eq!(
        set("# my file\n", "mqtt.bind.port", 1884),
        "# my file\n[mqtt.bind]\nport = 1884\n"
    );
    assert_eq!(set("", "policy", "allow-list"), "policy = \"allow-list\"\n");
}

#[test]
fn a_changed_value_keeps_the_layout_around_it() {
    assert_eq!(
        set(
            "# a\n[mqtt]\n  # b\n  bind . port=1883 # c\n\n[x]\ny = 1\n",
            "mqtt.bind.port",
            1884
        ),
        "# a\n[mqtt]\n  # b\n  bind . port=1884 # c\n\n[x]\ny = 1\n"
    );
    assert_eq!(
        set("mqtt = { bind = { port = 1 } } # c\n", "mqtt.bind.port", 2),
        "mqtt = { bind = { port = 2 } } # c\n"
    );
}

#[test]
fn a_new_key_is_written_in_the_style_of_its_table() {
    assert_eq!(
        set(
            "[mqtt]\ntopic_root = \"te\"\n\n[http]\n# last\n",
            "mqtt.bind.port",
            2
        ),
        "[mqtt]\ntopic_root = \"te\"\n\n[mqtt.bind]\nport = 2\n\n[http]\n# last\n"
    );
    assert_eq!(
        set("mqtt.bind.port = 1\n", "mqtt.client.port", 2),
        "mqtt.bind.port = 1\nmqtt.client.port = 2\n"
    );
    let inline = set("mqtt = { bind = { port = 1 } }\n", "mqtt.client.port", 2);
    let document = Document::parse(&inline).unwrap();
    assert_eq!(document.values().len(), 2);
}

#[test]
fn comments_stay_when_a_value_goes() {
    assert_eq!(
        unset("[a]\n# above\nb = 1 # behind\nc = 2\n", "a.b"),
        "[a]\n# above\n# behind\nc = 2\n"
    );
    assert_eq!(unset("a.b = [\n 1,\n 2,\n]\nc = 2", "a.b"), "c = 2");
    assert_eq!(unset("a = { b = 1, c = 2 }\n", "a.b"), "a = { c = 2 }\n");
    assert_eq!(unset("[a.b]\nc = 1\n", "a.b"), "");
}

#[test]
fn a_renamed_key_takes_its_comments_along() {
    let text = "[mqtt]\n# for the children\nexternal_port = 8883 # since May\nport = 1\n";
    let renamed = after(text, |document| {
        document
            .rename(
                "mqtt.external_port",
                "mqtt.external.bind.port",
                &8883.into(),
            )
            .unwrap();
    });
    assert_eq!(
        renamed,
        "[mqtt]\nport = 1\n\n[mqtt.external.bind]\n# for the children\n# since May\nport = 8883\n"
    );
}

#[test]
fn a_dot_inside_quotes_separates_nothing() {
    let document = Document::parse("\"mqtt.bind\".port = 1\n").unwrap();
    assert_eq!(document.values()[0].0, "\"mqtt.bind\".port");
    let text = set("\"mqtt.bind\".port = 1\n", "mqtt.bind.port", 2);
    assert!(text.contains("\"mqtt.bind\".port = 1\n"), "{text}");
}

#[test]
fn lines_end_as_they_did() {
    assert_eq!(
        set(
            "# a\r\n[mqtt.bind]\r\nport = 1\r\n",
            "mqtt.bind.address",
            "::1"
        ),
        "# a\r\n[mqtt.bind]\r\nport = 1\r\naddress = \"::1\"\r\n"
    );
}

#[test]
fn a_value_in_the_place_of_a_table_is_an_error_and_nothing_changes() {
    let mut document = Document::parse("mqtt = 1\n").unwrap();
    let e = document.set("mqtt.bind.port", &2.into()).unwrap_err();
    assert!(
        e.to_string().starts_with("`mqtt` is a value in the file"),
        "{e}"
    );
    assert_eq!(document.text(), "mqtt = 1\n");
}

#[test]
fn broken_toml_says_where_but_never_shows_a_secret() {
    let Broken(words) = Document::parse("[mqtt.external.bind\n").unwrap_err();
    assert_eq!(
        words,
        "TOML parse error at line 1, column 20\n  |\n1 | [mqtt.external.bind\n  |                    ^\nunclosed table, expected `]`"
    );
    let Broken(words) = Document::parse("[proxy]\npassword = hunter2\n").unwrap_err();
    assert!(
        words.contains("line 2") && !words.contains("hunter2"),
        "{words}"
    );
    for text in [
        "[proxy]\npassword = \"\"\"hunter1\nhunter2\\q\"\"\"\n",
        "[proxy]\npassword = \'\'\'hunter1\nhunter2",
    ] {
        let Broken(words) = Document::parse(text).unwrap_err();
        assert!(
            words.contains("line 3") && !words.contains("hunter"),
            "{words}"
        );
    }
}

#[test]
fn an_unreadable_file_is_not_an_empty_one() {
    let home = tempfile::tempdir().unwrap();
    assert!(Document::read(home.path()).is_err());
    let path = home.path().join("a");
    assert_eq!(Document::read(&path).unwrap().text(), "");
    std::fs::write(&path, b"\xff").unwrap();
    assert!(matches!(
        Document::read(&path),
        Err(DocumentError::NoText(_))
    ));
    let changed = edit::<(), DocumentError>(&path, |_| Ok(()));
    assert!(changed.is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"\xff");
}

/// A line of somebody's file: under `mqtt.…` ours, under `plugin` theirs.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "# [a-z ]{0,12}",
        (0_usize..6, 0_u16..99, any::<bool>()).prop_map(|(at, number, comment)| {
            let behind = if comment { " # why" } else { "" };
            format!("{} = {number}{behind}", LEAVES[at])
        }),
        (0_usize..6).prop_map(|at| TABLES[at].to_owned()),
        (0_usize..4).prop_map(|at| WHOLE[at].to_owned()),
    ]
}

const LEAVES: [&str; 6] = [
    "port",
    "address",
    "external.port",
    "\"odd key\"",
    "x.y.z",
    "list",
];
const TABLES: [&str; 6] = [
    "[mqtt]",
    "[mqtt.bind]",
    "[mqtt.external]",
    "[plugin.deep]",
    "[[plugin.many]]",
    "[mqtt.external.bind] # where",
];
const WHOLE: [&str; 4] = [
    "bind = { address = 7, port = 1 } # inline",
    "client = { auth = {} }",
    "many = [\n  1, # one\n  2,\n]",
    "mqtt.client . auth.ca_file = 1",
];
const NAMES: [&str; 6] = [
    "mqtt.bind.port",
    "mqtt.port",
    "mqtt.external.port",
    "mqtt.external.bind.address",
    "policy",
    "mqtt.client.auth.ca_file",
];

proptest! {
    #[test]
    fn random_edits_change_what_they_should_and_keep_every_comment(
        lines in prop::collection::vec(line(), 0..14),
        edits in prop::collection::vec((0_usize..6, prop::option::of(0_i64..9999)), 1..8),
    ) {
        let text = lines.join("\n");
        let Ok(mut document) = Document::parse(&text) else { return Ok(()) };
        for (at, value) in edits {
            let name = NAMES[at];
            let before = document.clone();
            let done = match value {
                Some(value) => document.set(name, &value.into()),
                None => document.unset(name).map(|_| ()),
            };
            if let Err(e) = done {
                let blocked = matches!(e, DocumentError::Blocked(_));
                prop_assert!(blocked, "{name} {value:?}: {e}\n{}", before.text());
                prop_assert_eq!(document.text(), before.text());
                continue;
            }
            prop_assert_eq!(document.get(name).and_then(Item::as_integer), value);
            let below = format!("{name}.");
            for (other, item) in before.values() {
                if other != name && !other.starts_with(&below) {
                    let kept = document.values().into_iter().find(|(name, _)| *name == other);
                    prop_assert_eq!(kept.map(|(_, item)| plain(item)), Some(plain(item)));
                }
            }
            // A table that a value replaces goes with its comments.
            if before.get(name).is_none_or(|item| item.is_value()) {
                let comments = |document: &Document| document.text().matches('#').count();
                prop_assert_eq!(comments(&document), comments(&before), "{}", document.text());
            }
        }
    }

    #[test]
    fn no_text_is_a_panic(text in "[ -~\n]{0,80}") {
        if let Ok(mut document) = Document::parse(&text) {
            let _ = document.values();
            let _ = document.set("mqtt.bind.port", &1.into());
            let _ = document.unset("mqtt.bind.port");
        }
    }
}
