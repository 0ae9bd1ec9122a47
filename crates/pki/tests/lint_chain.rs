//! Chains as servers really send them: which root they end in, and what is said of the rest.
#![allow(clippy::unwrap_used)]

#[path = "lint/maker.rs"]
#[allow(dead_code)] // the lint's own test uses all of it
mod maker;

use maker::{Form, Key, NOW_S, UTC};
use sectag_pki::ServerName;
use sectag_pki::lint::chain::{Judgement, Root, judge};
use sectag_pki::lint::{Context, Position, lint_chain};

fn name() -> ServerName {
    ServerName::Dns("server.example".to_owned())
}

fn judged(sent: &[&Vec<u8>], roots: &[&Vec<u8>]) -> Judgement {
    let sent: Vec<Vec<u8>> = sent.iter().map(|der| (*der).clone()).collect();
    let roots: Vec<Vec<u8>> = roots.iter().map(|der| (*der).clone()).collect();
    judge(&sent, &roots, &name(), NOW_S).unwrap()
}

fn rules(judgement: &Judgement) -> Vec<&'static str> {
    judgement.findings.iter().map(|f| f.rule.id).collect()
}

struct Bench {
    root_key: Key,
    root: Vec<u8>,
    between: Vec<u8>,
    leaf: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let [root_key, between_key, leaf_key] = [(); 3].map(|()| Key::p256());
        Self {
            root: Form::ca("Root", "Root").signed(&root_key, &root_key),
            between: Form::ca("Between", "Root").signed(&between_key, &root_key),
            leaf: Form::server("server.example", "Between").signed(&leaf_key, &between_key),
            root_key,
        }
    }
}

/// A root that an older one has signed as well: whoever knows the new one needs the old one no longer.
#[test]
fn a_cross_signed_root_ends_in_the_root_that_is_known() {
    let bench = Bench::new();
    let old_key = Key::p256();
    let old = Form::ca("Old", "Old").signed(&old_key, &old_key);
    let crossed = Form::ca("Root", "Old").signed(&bench.root_key, &old_key);
    let sent = [&bench.leaf, &bench.between, &crossed];

    let new_known = judged(&sent, &[&bench.root]);
    assert!(matches!(&new_known.root, Root::Known(link) if link.der == bench.root));
    assert_eq!(new_known.verified, Ok(()));
    let old_known = judged(&sent, &[&old]);
    assert!(matches!(&old_known.root, Root::Known(link) if link.der == old));
    assert_eq!(old_known.path, [0, 1, 2]);
    let none_known = judged(&sent, &[]);
    assert!(matches!(&none_known.root, Root::Missing { issuer } if issuer == "CN=Old"));
}

#[test]
fn any_order_leads_to_the_root_and_the_order_is_said() {
    let bench = Bench::new();
    let judgement = judged(&[&bench.leaf, &bench.root, &bench.between], &[&bench.root]);
    assert_eq!(judgement.path, [0, 2, 1]);
    assert!(matches!(
        judgement.root,
        Root::Sent {
            link: 1,
            known: true
        }
    ));
    assert!(rules(&judgement).contains(&"order"));
    assert_eq!(judgement.verified, Ok(()));
}

/// The same name and another key: a CA that was made anew.
#[test]
fn a_root_of_the_same_name_with_another_key_is_not_the_root() {
    let bench = Bench::new();
    let other_key = Key::p256();
    let other = Form::ca("Root", "Root").signed(&other_key, &other_key);
    let judgement = judged(&[&bench.leaf, &bench.between], &[&other]);
    assert!(matches!(&judgement.root, Root::Missing { issuer } if issuer == "CN=Root"));
    assert!(judgement.verified.is_err());
    let sent = judged(&[&bench.leaf, &bench.between, &other], &[&other]);
    assert!(
        rules(&sent).contains(&"bad-signature"),
        "{:?}",
        rules(&sent)
    );
    assert!(matches!(sent.root, Root::Missing { .. }));
}

#[test]
fn authorities_that_issue_each_other_lead_nowhere_and_end() {
    let [a_key, b_key, leaf_key] = [(); 3].map(|()| Key::p256());
    let a = Form::ca("A", "B").signed(&a_key, &b_key);
    let b = Form::ca("B", "A").signed(&b_key, &a_key);
    let leaf = Form::server("server.example", "A").signed(&leaf_key, &a_key);
    let judgement = judged(&[&leaf, &a, &b], &[]);
    assert!(matches!(judgement.root, Root::Missing { .. }));
    assert_eq!(judgement.path, [0, 1, 2]);
}

/// The certificate of the exercise's broker: what is trusted itself needs no issuer; its date and its name still count.
#[test]
fn an_end_entity_that_is_trusted_itself_is_judged_by_date_and_name() {
    let key = Key::p384();
    let form = Form::ca("server.example", "server.example")
        .with(maker::san(&[maker::dns("server.example")]));
    let own = form.signed(&key, &key);
    assert!(judged(&[&own], &[]).verified.is_err());
    assert_eq!(judged(&[&own], &[&own]).verified, Ok(()));
    let mut old = form.clone();
    old.end = (UTC, "251001000000Z");
    let old = old.signed(&key, &key);
    assert!(judged(&[&old], &[&old]).verified.is_err());
    let elsewhere = form
        .without(maker::SAN)
        .with(maker::san(&[maker::dns("else.example")]))
        .signed(&key, &key);
    assert!(judged(&[&elsewhere], &[&elsewhere]).verified.is_err());
}

/// A file as distributions have it: no certificate of it is shown by anybody.
#[test]
fn roots_side_by_side_are_no_chain() {
    let keys = [(); 3].map(|()| Key::p256());
    let roots: Vec<Vec<u8>> = ["A", "B", "C"]
        .iter()
        .zip(&keys)
        .map(|(name, key)| {
            let form = Form::ca(name, name).with(maker::eku(&[maker::CLIENT_AUTH]));
            form.signed(key, key)
        })
        .collect();
    let context = Context {
        now_s: NOW_S,
        purpose: None,
        name: None,
        roots: &[],
    };
    let report = lint_chain(&roots, &context).unwrap();
    assert_eq!(report.findings, []);
    assert!(
        report
            .certificates
            .iter()
            .all(|(position, _)| *position == Position::Root)
    );
}

#[test]
fn an_empty_chain_is_an_error() {
    assert!(judge(&[], &[], &name(), NOW_S).is_err());
}
