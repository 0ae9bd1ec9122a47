//! The query of a command fetch, from each generation of clients and from nobody.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sectag_proto::query::{FetchQuery, QueryError};

#[test]
fn each_generation_is_understood() {
    let first =
        FetchQuery::parse("after=&rxMaxSize=1024&txMaxSize=2048&mver=1.3.2&cver=1").unwrap();
    assert_eq!(first.after, "");
    assert_eq!(first.limit, None);
    assert_eq!(first.client_version.as_deref(), Some("1"));
    let text = "after=9685ef84-8cac-4257-b5cc-94bc416a1c1d.d&rxMaxSize=2304&txMaxSize=2304\
                &mver=mfw_nrf91x1_2.0.2&cver=3.1.0&limit=10";
    let third = FetchQuery::parse(text).unwrap();
    assert_eq!(third.limit, Some(10));
    assert_eq!(third.modem_version.as_deref(), Some("mfw_nrf91x1_2.0.2"));
    assert_eq!(third.print(), text);
}

#[test]
fn missing_unknown_and_disordered_parameters_are_tolerated() {
    let query = FetchQuery::parse("").unwrap();
    assert_eq!((query.rx_bytes_max, query.tx_bytes_max), (1024, 2048));
    let query = FetchQuery::parse("limit=3&dver=2&flag&rxMaxSize=&after=a.1&&").unwrap();
    assert_eq!(query.limit, Some(3));
    assert_eq!(query.after, "a.1");
    assert_eq!(query.rx_bytes_max, 1024);
}

#[test]
fn percent_encoding_is_undone_and_control_characters_do_not_reach_a_log() {
    let query = FetchQuery::parse("after=a%2E1&mver=m%0Ax%ff%&cver=1+2").unwrap();
    assert_eq!(query.after, "a.1");
    assert_eq!(query.modem_version.as_deref(), Some("m?x\u{fffd}%"));
    assert_eq!(query.client_version.as_deref(), Some("1+2"));
}

#[test]
fn numbers_out_of_range_and_texts_too_long_are_refused_by_name() {
    for (text, name) in [
        ("rxMaxSize=0", "rxMaxSize"),
        ("rxMaxSize=99999999999", "rxMaxSize"),
        ("txMaxSize=-1", "txMaxSize"),
        ("txMaxSize=+1", "txMaxSize"),
        ("limit=0", "limit"),
        ("limit=ten", "limit"),
    ] {
        assert!(
            matches!(FetchQuery::parse(text), Err(QueryError::Number { name: given, .. }) if given == name),
            "{text}"
        );
    }
    assert_eq!(
        FetchQuery::parse(&format!("after={}", "a".repeat(46))),
        Err(QueryError::TooLong {
            name: "after",
            chars: 46
        })
    );
    assert!(FetchQuery::parse(&format!("after={}", "a".repeat(45))).is_ok());
    assert!(matches!(
        FetchQuery::parse(&"x".repeat(3000)),
        Err(QueryError::TooLong { name: "query", .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_device_prints_is_read_back(
        after in "[a-z0-9.-]{0,45}",
        rx in 1_u32..=1_048_576,
        tx in 1_u32..=1_048_576,
        modem in proptest::option::of("[a-zA-Z0-9._-]{0,40}"),
        client in proptest::option::of("[a-zA-Z0-9._-]{0,40}"),
        limit in proptest::option::of(1_u32..=1000),
    ) {
        let query = FetchQuery {
            after,
            rx_bytes_max: rx,
            tx_bytes_max: tx,
            modem_version: modem,
            client_version: client,
            limit,
        };
        prop_assert_eq!(FetchQuery::parse(&query.print()), Ok(query));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,100}|(%|[0-9a-f=&]){0,60}") {
        let _ = FetchQuery::parse(&text);
    }
}
