//! The main job over CoAP: one DTLS session from the first token to `finished`, as a modem with keep-open lives it.
#![cfg(feature = "coap")]
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_coap::Code;
use sectag_pki::{identity, pem};
use serde_json::json;
use support::coap::CoapSession;
use support::device::FakeDevice;
use support::{Road, Town};

const TAG: u32 = 16_842_753;
const QUERY: &str = "rxMaxSize=2048&txMaxSize=2048&limit=10";

#[tokio::test]
async fn a_blank_device_gets_key_certificate_and_root_in_one_session() {
    let town = Town::on(Road::Coap).await;
    let mut device = FakeDevice::new(1);
    let mut session = CoapSession::open(&town).await;
    let jwt = device.jwt(town.now());
    town.log.forbid(&jwt);
    let refused = session.authenticate(&jwt).await;
    assert_eq!(refused.code, Code::UNAUTHORIZED, "not claimed yet");
    assert_eq!(town.claim(&device).await.status, 201);
    let admitted = session.authenticate(&jwt).await;
    assert_eq!(
        (admitted.code, admitted.max_age),
        (Code::CREATED, Some(2_592_000))
    );
    let nothing = session.fetch(&format!("after=&{QUERY}")).await;
    assert_eq!(
        (nothing.code, nothing.payload.len()),
        (Code::CONTENT, 0),
        "nothing queued yet"
    );
    let csr = json!({"certificateSigningRequest": {"secTag": TAG, "keyUsage": "101010000", "issue": true}});
    town.queue(&device, csr).await;
    let root = json!({"serverCertificate": {"secTag": TAG, "content": town.root}});
    town.queue(&device, root).await;
    town.queue(&device, json!({"finished": {}})).await;

    let mut after = String::new();
    loop {
        let batch = session.fetch(&format!("after={after}&{QUERY}")).await;
        assert_eq!(
            (batch.code, batch.content_format),
            (Code::CONTENT, Some(60))
        );
        assert_eq!(session.suspend().await.code, Code::CHANGED);
        // While the modem was offline, the network forgot its address.
        session.moves().await;
        let (last, report, finished) = device.run(&batch.payload);
        after = last;
        assert_eq!(session.report(&report).await.code, Code::CHANGED);
        if finished {
            break;
        }
    }
    assert_eq!(session.handshakes(), 1);
    let commands = town.commands(&device).await;
    assert_eq!(commands.len(), 4);
    assert!(commands.iter().all(|c| c["status"] == "SUCCEEDED"));
    let certificate = &pem::certificates(&device.stored[&(TAG, 1)]).unwrap()[0];
    assert_eq!(identity(certificate).unwrap().cn, device.id.to_string());
    assert_eq!(device.stored[&(TAG, 0)], town.root);

    // The bytes of each layer are in the log, with the device.
    session.close().await;
    let told = |words: &str| {
        let lines = town.log.lines();
        let of_device = lines
            .into_iter()
            .filter(|line| line.contains(words) && line.contains(&device.id.to_string()));
        of_device.collect::<Vec<_>>()
    };
    for _ in 0..100 {
        if !told("CoAP session ended").is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(told("CoAP session authorised").len(), 1);
    assert_eq!(told("CoAP session since its last report").len(), 2);
    let ended = told("CoAP session ended");
    assert_eq!(ended.len(), 1);
    let number = |field: &str| -> u64 {
        let (_, rest) = ended[0].split_once(&format!(" {field}=")).unwrap();
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    assert!(number("handshake_sent") > 500 && number("handshake_received") > 300);
    assert!(number("round_trips") >= 8);
    for way in ["sent", "received"] {
        let [record, coap, cbor] =
            ["record", "coap", "cbor"].map(|l| number(&format!("{l}_{way}")));
        assert!(record > coap && coap > cbor && cbor > 0, "{way}: {ended:?}");
    }
    let status = town.owner("GET", "/v1/status", None).await.json();
    assert_eq!(status["coap"]["handshakes"]["full"], 1, "{status:#}");
    assert!(
        status["listeners"]["coap"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:")
    );
    town.log.assert_clean();
}

#[tokio::test]
async fn a_device_without_keep_open_makes_a_session_for_each_request() {
    let town = Town::on(Road::Coap).await;
    let mut device = FakeDevice::new(2);
    town.claim(&device).await;
    let csr = json!({"certificateSigningRequest": {"secTag": TAG, "issue": true}});
    town.queue(&device, csr).await;
    town.queue(&device, json!({"finished": {}})).await;
    town.provision(&mut device).await;
    assert!(device.stored.contains_key(&(TAG, 1)));
    let commands = town.commands(&device).await;
    assert!(commands.iter().all(|c| c["status"] == "SUCCEEDED"));
}

#[tokio::test]
async fn a_batch_may_fill_the_whole_receive_buffer() {
    let town = Town::on(Road::Coap).await;
    let mut device = FakeDevice::new(3);
    town.claim(&device).await;
    for _ in 0..12 {
        let root = json!({"serverCertificate": {"secTag": 1, "content": town.root}});
        town.queue(&device, root).await;
    }
    let mut session = CoapSession::open(&town).await;
    session.authenticate(&device.jwt(town.now())).await;
    let mut after = String::new();
    for size in [1024, 1500, 2048] {
        let query = format!("after={after}&rxMaxSize={size}&txMaxSize=8192");
        let batch = session.fetch(&query).await.payload;
        // One more root certificate with its command would not fit.
        let one_more = town.root.len() + 100;
        assert!(
            batch.len() <= size && batch.len() + one_more > size,
            "{} of {size}",
            batch.len()
        );
        let (last, report, _) = device.run(&batch);
        after = last;
        assert_eq!(session.report(&report).await.code, Code::CHANGED);
    }
}

#[tokio::test]
async fn a_session_is_resumed_by_its_ticket_and_authenticates_anew() {
    let town = Town::on(Road::Coap).await;
    let device = FakeDevice::new(4);
    town.claim(&device).await;
    let mut session = CoapSession::open(&town).await;
    assert_eq!(session.connected(), (None, true));
    let jwt = device.jwt(town.now());
    assert_eq!(session.authenticate(&jwt).await.code, Code::CREATED);
    let kept = session.dtls.resumption().unwrap();
    session.close().await;
    let mut again = CoapSession::resume(&town, kept).await;
    assert!(matches!(again.connected(), (Some(_), true)));
    assert_eq!(again.fetch("after=").await.code, Code::UNAUTHORIZED);
    assert_eq!(again.authenticate(&jwt).await.code, Code::CREATED);
    assert_eq!(again.fetch("after=").await.code, Code::CONTENT);
}

#[tokio::test]
async fn a_crowd_is_let_in_one_after_the_other_and_those_inside_are_served() {
    const CROWD: usize = 120;
    let town = Town::on(Road::Coap).await;
    let device = FakeDevice::new(5);
    town.claim(&device).await;
    let mut inside = CoapSession::open(&town).await;
    let jwt = device.jwt(town.now());
    assert_eq!(inside.authenticate(&jwt).await.code, Code::CREATED);
    let crowd = async {
        let mut coming = tokio::task::JoinSet::new();
        let (address, clock) = (town.coap, town.clock.clone());
        for _ in 0..CROWD {
            let (config, clock) = (support::coap::config(&town), clock.clone());
            coming.spawn(async move {
                let opened = CoapSession::try_open_at(address, clock, &config).await;
                opened.map(drop)
            });
        }
        while let Some(came) = coming.join_next().await {
            came.unwrap().unwrap();
        }
    };
    let served = async {
        for _ in 0..10 {
            assert_eq!(inside.fetch("after=").await.code, Code::CONTENT);
        }
    };
    tokio::join!(crowd, served);
    let status = town.owner("GET", "/v1/status", None).await.json();
    let handshakes = &status["coap"]["handshakes"];
    assert_eq!(handshakes["full"], CROWD + 1, "{status:#}");
    assert_eq!(handshakes["waiting"], 0, "{status:#}");
}
