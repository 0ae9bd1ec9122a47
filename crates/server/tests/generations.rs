//! The request shapes of each generation of the firmware's client (spec/device-protocol §1, §5): the oldest ones in the
//! field are served like the newest.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_proto::wire::{Action, WireResponse, WireResult, encode_responses};
use serde_json::json;
use support::device::FakeDevice;
use support::{Road, Town, on_every_road};

on_every_road! {
    each_generation_gets_its_commands_and_reports_them,
    without_a_limit_ten_commands_come_at_once,
    an_unclaimed_device_of_any_generation_hears_401,
    an_attestation_token_is_no_authorization,
    a_config_that_an_old_client_could_not_store_failed_with_its_words,
}

/// A client generation, as its requests were recorded.
struct Generation {
    name: &'static str,
    /// Behind `after=<id>`.
    query: &'static str,
    /// The same over CoAP, where the versions come with the token.
    coap_query: &'static str,
    /// Header fields of the fetch beside `Authorization`, each with its line end.
    fetch_headers: &'static str,
    report_headers: &'static str,
}

const G1: Generation = Generation {
    name: "G1",
    // Third token of the firmware string, cut at `_` and `-`; no limit.
    query: "&rxMaxSize=1024&txMaxSize=2048&mver=1.3.2&cver=1",
    coap_query: "&rxMaxSize=1024&txMaxSize=2048",
    fetch_headers: "Accept: application/cbor\r\nUser-Agent: Zephyr/3.2 (v2.3.0 nrf9160dk_nrf9160_ns)\r\nConnection: close\r\n",
    report_headers: "Content-Type: application/cbor\r\nUser-Agent: Zephyr/3.2 (v2.3.0 nrf9160dk_nrf9160_ns)\r\nConnection: close\r\n",
};
const G2: Generation = Generation {
    name: "G2",
    query: "&rxMaxSize=1024&txMaxSize=2048&mver=2.0.1&cver=1",
    coap_query: "&rxMaxSize=1024&txMaxSize=2048",
    fetch_headers: "Accept: application/cbor\r\nContent-Type: */*\r\nUser-Agent: Zephyr/3.7 (v2.9.0 nrf9151dk_nrf9151_ns)\r\nConnection: close\r\n",
    report_headers: "Content-Type: application/cbor\r\nAccept: */*\r\nUser-Agent: Zephyr/3.7 (v2.9.0 nrf9151dk_nrf9151_ns)\r\nConnection: close\r\n",
};
const G3: Generation = Generation {
    name: "G3",
    query: "&rxMaxSize=1024&txMaxSize=2048&mver=mfw_nrf91x1_2.0.2&cver=3.1.0&limit=10",
    coap_query: "&rxMaxSize=1024&txMaxSize=2048&limit=10",
    ..G2
};
/// What no client sends, and a service that reads parameters by name serves all the same.
const BARE: Generation = Generation {
    name: "bare",
    query: "",
    coap_query: "",
    fetch_headers: "Connection: close\r\n",
    report_headers: "Content-Type: application/cbor\r\nConnection: close\r\n",
};

impl Generation {
    async fn fetch(&self, town: &Town, token: &str, after: &str) -> support::Reply {
        let of_road = match town.road {
            Road::Https => self.query,
            Road::Coap => self.coap_query,
        };
        let query = match (of_road, after) {
            ("", "") => String::new(),
            (query, after) => format!("after={after}{query}"),
        };
        if town.road == Road::Coap {
            return town.fetch_as(token, &query).await;
        }
        let query = match query.as_str() {
            "" => query,
            query => format!("?{query}"),
        };
        let headers = self.fetch_headers;
        let request = format!(
            "GET /v1/provisioning/commands{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{headers}\r\n"
        );
        town.device_raw(request.as_bytes()).await.unwrap()
    }

    async fn report(&self, town: &Town, token: &str, body: &[u8]) -> support::Reply {
        if town.road == Road::Coap {
            return town.report_as(token, body).await;
        }
        let headers = self.report_headers;
        let mut request = format!(
            "POST /v1/provisioning/response HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        town.device_raw(&request).await.unwrap()
    }
}

async fn claimed(town: &Town, number: u8) -> FakeDevice {
    let device = FakeDevice::new(number);
    assert_eq!(town.claim(&device).await.status, 201);
    device
}

fn statuses(commands: &[serde_json::Value]) -> Vec<&str> {
    commands
        .iter()
        .map(|command| command["status"].as_str().unwrap())
        .collect()
}

async fn each_generation_gets_its_commands_and_reports_them(road: Road) {
    let town = Town::on(road).await;
    for (number, generation) in [G1, G2, G3, BARE].iter().enumerate() {
        let mut device = claimed(&town, u8::try_from(number + 1).unwrap()).await;
        town.queue(
            &device,
            json!({"clientPrivateKeyGeneration": {"secTag": 42}}),
        )
        .await;
        town.queue(
            &device,
            json!({"config": {"provisioning/interval-sec": "3600"}}),
        )
        .await;
        town.queue(&device, json!({"finished": {}})).await;
        let mut after = String::new();
        loop {
            let reply = generation
                .fetch(&town, &device.jwt(town.now()), &after)
                .await;
            assert_eq!(reply.status, 200, "{}: {}", generation.name, reply.head);
            let head = match road {
                Road::Https => reply.head.len(),
                Road::Coap => 0,
            };
            assert!(
                head + reply.body.len() <= 1024,
                "{}: over HTTPS, headers count against rxMaxSize",
                generation.name
            );
            let (last, report, finished) = device.run(&reply.body);
            after = last;
            let reply = generation
                .report(&town, &device.jwt(town.now()), &report)
                .await;
            assert_eq!(reply.status, 200, "{}: {}", generation.name, reply.head);
            if finished {
                break;
            }
        }
        let commands = town.commands(&device).await;
        assert!(
            statuses(&commands)
                .iter()
                .all(|status| *status == "SUCCEEDED"),
            "{}: {commands:#?}",
            generation.name
        );
        let nothing = generation
            .fetch(&town, &device.jwt(town.now()), &after)
            .await;
        assert_eq!(nothing.status, 204, "{}", generation.name);
    }
}

async fn without_a_limit_ten_commands_come_at_once(road: Road) {
    let town = Town::on(road).await;
    let device = claimed(&town, 1).await;
    for number in 0..12 {
        town.queue(&device, json!({"config": {"k": number.to_string()}}))
            .await;
    }
    let jwt = device.jwt(town.now());
    for generation in [G1, G2, BARE] {
        let reply = generation.fetch(&town, &jwt, "").await;
        assert_eq!(FakeDevice::decode(&reply.body).len(), 10);
    }
}

async fn an_unclaimed_device_of_any_generation_hears_401(road: Road) {
    let town = Town::on(road).await;
    let jwt = FakeDevice::new(9).jwt(town.now());
    for generation in [G1, G2, G3] {
        let reply = generation.fetch(&town, &jwt, "").await;
        assert_eq!((reply.status, reply.body.len()), (401, 0));
    }
}

async fn an_attestation_token_is_no_authorization(road: Road) {
    // The claim token never changes: whoever saw it once could be the device for ever.
    let town = Town::on(road).await;
    let device = claimed(&town, 1).await;
    town.queue(&device, json!({"finished": {}})).await;
    let token = format!("att.{}", device.claim_token());
    assert_eq!(G1.fetch(&town, &token, "").await.status, 401);
    assert_eq!(G1.report(&town, &token, b"\x80").await.status, 401);
    assert_eq!(statuses(&town.commands(&device).await), ["PENDING"]);
}

async fn a_config_that_an_old_client_could_not_store_failed_with_its_words(road: Road) {
    let town = Town::on(road).await;
    let device = claimed(&town, 1).await;
    town.queue(&device, json!({"config": {"k": "v"}})).await;
    let jwt = device.jwt(town.now());
    let batch = FakeDevice::decode(&G2.fetch(&town, &jwt, "").await.body);
    assert!(matches!(batch[0].action, Action::Config(_)));
    let report = encode_responses(&[WireResponse {
        correlation: batch[0].correlation.clone(),
        result: WireResult::Failed {
            // -12 as an unsigned number, and the older spelling.
            cme_error: 4_294_967_284,
            message: "unable to store [0](0-indexed) key-value-pair".to_owned(),
        },
    }]);
    assert_eq!(G2.report(&town, &jwt, &report).await.status, 200);
    let commands = town.commands(&device).await;
    assert_eq!(statuses(&commands), ["FAILED"]);
    assert!(
        commands[0].to_string().contains("unable to store [0]"),
        "{commands:#?}"
    );
}
