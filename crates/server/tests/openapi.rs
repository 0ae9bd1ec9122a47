//! The OpenAPI document: what is committed is what the handlers declare, it is whole, and everybody can read it.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_server::owner_api::access::TABLE;
use sectag_server::owner_api::document;
use serde_json::Value;
use std::collections::BTreeSet;
use support::Town;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/owner.openapi.json");
/// In the table of roles, and no part of the API.
const PAGES: [&str; 1] = ["/docs"];

fn generated() -> Value {
    serde_json::from_str(document()).unwrap()
}

/// Method, path and operation.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push((method.to_uppercase(), path.clone(), operation));
        }
    }
    operations
}

#[test]
fn the_committed_document_is_what_the_handlers_declare() {
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    let differs = committed
        .lines()
        .zip(document().lines())
        .position(|(committed, generated)| committed != generated)
        .map_or("its length".to_owned(), |at| format!("line {}", at + 1));
    assert!(
        committed == document(),
        "spec/owner.openapi.json is not what the handlers declare ({differs} differs): run `make openapi`, and look at the difference"
    );
}

#[test]
fn every_row_of_the_table_of_roles_is_in_the_document_and_the_reverse() {
    let document = generated();
    let declared: BTreeSet<_> = operations(&document)
        .into_iter()
        .map(|(method, path, _)| (method, path.replace("/v1/identities/", "/v1/")))
        .collect();
    let rows: BTreeSet<_> = TABLE
        .iter()
        .filter(|row| !PAGES.contains(&row.path))
        .map(|row| (row.method.to_owned(), row.path.to_owned()))
        .collect();
    let only =
        |of: &BTreeSet<_>, other: &BTreeSet<_>| of.difference(other).cloned().collect::<Vec<_>>();
    assert_eq!(only(&rows, &declared), [], "in the table, not declared");
    assert_eq!(only(&declared, &rows), [], "declared, not in the table");
}

#[test]
fn every_operation_has_a_name_of_its_own_a_chapter_words_and_an_answer() {
    let document = generated();
    let chapters: BTreeSet<&str> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag["name"].as_str().unwrap())
        .collect();
    let mut names = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name), "{method} {path}: {name} is taken");
        let tag = operation["tags"][0].as_str().unwrap_or_default();
        assert!(chapters.contains(tag), "{method} {path}: chapter {tag:?}");
        assert!(
            operation["summary"].as_str().is_some_and(|s| !s.is_empty()),
            "{method} {path}"
        );
        let responses = operation["responses"].as_object().unwrap();
        assert!(
            responses
                .keys()
                .any(|status| status.starts_with('2') || status == "501"),
            "{method} {path}"
        );
        for (status, response) in responses {
            let described = response["description"]
                .as_str()
                .is_some_and(|words| !words.is_empty());
            assert!(
                described || response["$ref"].is_string(),
                "{method} {path} {status}"
            );
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_refusal_is_a_problem() {
    fn walk(value: &Value, document: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(path)) = members.get("$ref") {
                    let pointer = path.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{path}");
                }
                members.values().for_each(|value| walk(value, document));
            }
            Value::Array(items) => items.iter().for_each(|value| walk(value, document)),
            _ => {}
        }
    }
    let document = generated();
    walk(&document, &document);
    for (method, path, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            if status.starts_with(['4', '5']) {
                let named = response["$ref"].as_str().unwrap_or_default();
                let problem = &response["content"]["application/problem+json"];
                assert!(
                    named.starts_with("#/components/responses/")
                        || problem["schema"]["$ref"] == "#/components/schemas/Problem",
                    "{method} {path} {status}"
                );
            }
        }
    }
}

#[tokio::test]
async fn document_and_page_are_served_to_everybody_and_bring_nothing_along() {
    let town = Town::start().await;
    let served = town.owner_raw("GET", "/v1/openapi.json", "", "").await;
    assert_eq!(served.status, 200);
    assert_eq!(served.body, document().as_bytes());
    let page = town.owner_raw("GET", "/docs", "", "").await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!policy.contains("script-src") && !policy.contains("unsafe"));
    let html = String::from_utf8(page.body).unwrap();
    for (method, path, _) in operations(&generated()) {
        let shown = format!("<code>{method} {path}</code>");
        let is_second = path.starts_with("/v1/identities/");
        assert!(is_second || html.contains(&shown), "{shown}");
    }
}

#[tokio::test]
async fn a_refusal_says_where_its_code_is_explained() {
    let town = Town::start().await;
    let page = town.owner_raw("GET", "/docs", "", "").await;
    let html = String::from_utf8(page.body).unwrap();
    let refused = town.owner_raw("GET", "/v1/status", "", "").await;
    assert_eq!(
        refused.header("content-type"),
        Some("application/problem+json")
    );
    let problem = refused.json();
    assert_eq!(problem["detail"], problem["message"]);
    let kind = problem["type"].as_str().unwrap();
    let anchor = kind.strip_prefix("/docs#").unwrap();
    assert!(html.contains(&format!("id=\"{anchor}\"")), "{kind}");
}
