//! Rules in the store: names, states, generations, secrets, and the commit that rests on them.
#![allow(clippy::unwrap_used)]

mod fixtures;

use fixtures::{adding, at, claimed, command, device_id, open};
use sectag_proto::RuleId;
use sectag_proto::command::{CommandRequest, SecretField};
use sectag_proto::rules::{ErrorPolicy, Rule, RuleCommand, RuleState};
use sectag_proto::secret::SecretText;
use sectag_store::{
    CommitError, DeviceChange, DevicePatch, RuleStoreError, Rules, RulesChange, SqliteStore, Store,
    Tag,
};

const TEAM: &str = "ada";

fn rule(n: u8, state: RuleState) -> Rule {
    Rule {
        id: RuleId::from_bytes([n; 16]),
        name: format!("rule {n}"),
        description: None,
        state,
        tags: vec!["farm".into()],
        commands: vec![RuleCommand {
            description: None,
            request: CommandRequest::PreSharedKey {
                sec_tag: sectag_proto::SecTag::new(7).unwrap(),
                identity: "{{device.id}}".into(),
                secret: SecretField::Given(SecretText::new(fixtures::SECRET.into())),
            },
        }],
        on_error: ErrorPolicy::Retry { times: 3 },
        renewal: None,
        created_at: at(u64::from(n)),
        activated_at: None,
    }
}

async fn seen(store: &SqliteStore, device: u32) -> (u64, bool) {
    let loaded = store.queue(device_id(device), &[]).await.unwrap().unwrap();
    (loaded.rules_generation, loaded.rules_seen)
}

fn applied(rules: &[u8], generation: u64, done: bool) -> DeviceChange {
    DeviceChange {
        rules: Some(RulesChange::Applied {
            rules: rules.iter().map(|n| RuleId::from_bytes([*n; 16])).collect(),
            generation,
            done,
        }),
        ..DeviceChange::default()
    }
}

#[tokio::test]
async fn a_rule_comes_back_with_its_secrets_and_is_listed_without() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let made = rule(1, RuleState::Draft);
    store.add_rule(TEAM, made.clone(), "key").await.unwrap();
    assert_eq!(store.rule(TEAM, made.id).await.unwrap(), Some(made.clone()));
    assert_eq!(
        store.rule("bob", made.id).await.unwrap(),
        None,
        "another team's"
    );
    let page = store.rules(TEAM, None, 10).await.unwrap();
    assert_eq!((page.items.len(), page.total), (1, 1));
    assert!(page.items[0].commands[0].request.secrets().is_empty());
    drop(store);
    let bytes = std::fs::read(home.path().join("sectag.db")).unwrap();
    let secret = fixtures::SECRET.as_bytes();
    assert!(!bytes.windows(secret.len()).any(|w| w == secret));
    let store = open(home.path());
    assert_eq!(store.rule(TEAM, made.id).await.unwrap(), Some(made));
}

#[tokio::test]
async fn names_are_unique_in_a_team_and_active_rules_stay_as_they_are() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let draft = rule(1, RuleState::Draft);
    store.add_rule(TEAM, draft.clone(), "key").await.unwrap();
    let same_name = Rule {
        name: draft.name.clone(),
        ..rule(2, RuleState::Draft)
    };
    let taken = store.add_rule(TEAM, same_name.clone(), "key").await;
    assert!(matches!(taken, Err(RuleStoreError::NameTaken { .. })));
    store.add_rule("bob", same_name, "key").await.unwrap();
    let active = Rule {
        state: RuleState::Active,
        ..draft.clone()
    };
    let replace = |known: &Rule, new: &Rule| {
        store.replace_rule(TEAM, known.clone(), new.clone(), "key", at(9))
    };
    let stale = Rule {
        description: Some("as somebody else saw it".into()),
        ..draft.clone()
    };
    let changed = replace(&stale, &active).await;
    assert!(matches!(changed, Err(RuleStoreError::Changed { .. })));
    replace(&draft, &active).await.unwrap();
    let late = replace(&active, &draft).await;
    assert!(matches!(late, Err(RuleStoreError::Active { .. })));
    let page = store.audit(None, None, 100).await.unwrap();
    let actions: Vec<String> = page
        .items
        .into_iter()
        .rev()
        .map(|r| r.event.action)
        .collect();
    assert_eq!(actions, ["rule-created", "rule-created", "rule-activated"]);
}

#[tokio::test]
async fn the_trail_tells_of_each_change_of_a_rule_and_not_what_is_in_it() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let saying = |n: u8, pin: &str| Rule {
        commands: vec![RuleCommand {
            description: None,
            request: CommandRequest::AtCommand {
                command: "+CPIN".into(),
                parameters: pin.into(),
                ignore_cme_errors: Vec::new(),
            },
        }],
        ..rule(n, RuleState::Draft)
    };
    let (before, after) = (saying(1, "\"1234\""), saying(1, "\"4321\""));
    store.add_rule(TEAM, before.clone(), "key").await.unwrap();
    for (known, new) in [(&before, &before), (&before, &after)] {
        let changed = store.replace_rule(TEAM, known.clone(), new.clone(), "key", at(9));
        changed.await.unwrap();
    }
    let page = store.audit(None, None, 100).await.unwrap();
    let actions: Vec<&str> = page.items.iter().map(|r| r.event.action.as_str()).collect();
    assert_eq!(actions, ["rule-changed", "rule-created"]);
    for said in page.items {
        let said = said.event.after.unwrap().to_string();
        assert!(said.contains("+CPIN") && said.contains("6 bytes"), "{said}");
        assert!(!said.contains("1234") && !said.contains("4321"), "{said}");
    }
}

#[tokio::test]
async fn a_device_has_seen_the_rules_until_they_or_its_tags_change() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    claimed(&store, 1).await;
    assert_eq!(
        seen(&store, 1).await,
        (0, true),
        "no rule, nothing to look for"
    );
    store
        .add_rule(TEAM, rule(1, RuleState::Draft), "key")
        .await
        .unwrap();
    assert_eq!(seen(&store, 1).await, (0, true), "a draft changes nothing");
    store
        .add_rule(TEAM, rule(2, RuleState::Active), "key")
        .await
        .unwrap();
    assert_eq!(seen(&store, 1).await, (1, false));
    store
        .commit(device_id(1), 1, applied(&[2], 1, true))
        .await
        .unwrap();
    assert_eq!(seen(&store, 1).await, (1, true));
    assert_eq!(
        store.applied_rules(device_id(1)).await.unwrap(),
        [rule(2, RuleState::Active).id]
    );
    let patch = DevicePatch {
        tags: Some(vec!["farm".into()]),
        ..DevicePatch::default()
    };
    store
        .change_device(device_id(1), 2, patch, "key", at(1))
        .await
        .unwrap();
    assert_eq!(seen(&store, 1).await, (1, false));
    store
        .commit(device_id(1), 3, applied(&[], 1, true))
        .await
        .unwrap();
    assert!(
        store
            .delete_rule(TEAM, rule(2, RuleState::Active).id, "key", at(2))
            .await
            .unwrap()
    );
    assert_eq!(seen(&store, 1).await, (2, false));
    assert_eq!(store.active_rules(TEAM).await.unwrap().rules, []);
    let forget = DeviceChange {
        rules: Some(RulesChange::Forgotten),
        ..DeviceChange::default()
    };
    store.commit(device_id(1), 4, forget).await.unwrap();
    assert_eq!(store.applied_rules(device_id(1)).await.unwrap(), []);
}

#[tokio::test]
async fn a_commit_that_rests_on_other_rules_is_decided_again() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    claimed(&store, 1).await;
    store
        .add_rule(TEAM, rule(1, RuleState::Active), "key")
        .await
        .unwrap();
    store
        .add_rule(TEAM, rule(2, RuleState::Active), "key")
        .await
        .unwrap();
    let change = DeviceChange {
        rules: applied(&[1], 1, true).rules,
        ..adding(vec![command(1, fixtures::csr())])
    };
    let refused = store.commit(device_id(1), 1, change).await;
    assert_eq!(refused, Err(CommitError::Conflict { current: 1 }));
    assert!(
        store.commands(device_id(1)).await.unwrap().is_empty(),
        "nothing half"
    );
    assert!(store.applied_rules(device_id(1)).await.unwrap().is_empty());
    store
        .commit(device_id(1), 1, applied(&[1], 2, false))
        .await
        .unwrap();
    assert_eq!(
        seen(&store, 1).await,
        (2, false),
        "not done: it is asked again"
    );
}

#[tokio::test]
async fn an_unclaimed_device_forgets_its_rules() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    claimed(&store, 1).await;
    store
        .add_rule(TEAM, rule(1, RuleState::Active), "key")
        .await
        .unwrap();
    store
        .commit(device_id(1), 1, applied(&[1], 1, true))
        .await
        .unwrap();
    store.unclaim(device_id(1), 2, "key", at(1)).await.unwrap();
    claimed(&store, 1).await;
    assert_eq!(seen(&store, 1).await, (1, false));
    assert!(store.applied_rules(device_id(1)).await.unwrap().is_empty());
}

#[tokio::test]
async fn error_policies_and_parked_commands_come_back_as_they_were() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    claimed(&store, 1).await;
    let parked = sectag_proto::service::Command {
        on_error: ErrorPolicy::Park,
        tries: 3,
        parked: true,
        ..command(1, fixtures::csr())
    };
    store
        .commit(device_id(1), 1, adding(vec![parked.clone()]))
        .await
        .unwrap();
    assert_eq!(store.commands(device_id(1)).await.unwrap(), [parked]);
}

#[tokio::test]
async fn tags_are_registered_once_and_listed_in_order() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let tag = |tag: &str| Tag {
        tag: tag.into(),
        description: None,
        created_at: at(1),
    };
    for name in ["b", "a", "c"] {
        store.add_tag(TEAM, tag(name), "key").await.unwrap();
    }
    let twice = store.add_tag(TEAM, tag("a"), "key").await;
    assert!(matches!(twice, Err(RuleStoreError::NameTaken { .. })));
    store.add_tag("bob", tag("a"), "key").await.unwrap();
    let page = store.tags(TEAM, None, 2).await.unwrap();
    assert_eq!(
        (page.items, page.next.clone(), page.total),
        (vec![tag("a"), tag("b")], Some("b".into()), 3)
    );
    let rest = store.tags(TEAM, page.next, 2).await.unwrap();
    assert_eq!((rest.items, rest.next), (vec![tag("c")], None));
    assert!(store.delete_tag(TEAM, "a", "key", at(2)).await.unwrap());
    assert!(!store.delete_tag(TEAM, "a", "key", at(2)).await.unwrap());
}
