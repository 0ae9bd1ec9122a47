//! Trust changes while the broker runs.
#![allow(clippy::unwrap_used)]

mod town;

use rustls_pki_types::UnixTime;
use sectag_mqtt::{ClientError, Qos, Version};
use sectag_pki::{DeviceTerms, PrivateKey};
use town::{Town, next, options, text, until};

#[tokio::test]
async fn a_new_revocation_list_ends_the_live_session_and_spares_the_others() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let (good, bad) = (town.device("dev-1"), town.device("dev-2"));
    let (stays, mut messages) = town
        .connect(&broker, &good, options(Version::V5, "a"))
        .await;
    let (goes, _none) = town.connect(&broker, &bad, options(Version::V5, "a")).await;
    let roots = town.devices.certificate_pem();
    broker.set_trust(0, town.trust_with(&roots, &[town.crl(&[&bad.serial])]));
    let reason = goes.closed().await;
    assert!(
        matches!(&reason, ClientError::Closed { reason, .. } if reason.contains("not authorized")),
        "{reason:?}"
    );
    let again = town
        .try_connect(&broker, Some(&bad), options(Version::V5, "a"))
        .await;
    assert!(
        matches!(&again, Err(ClientError::CertificateRefused { reason, .. }) if reason.contains("revoked")),
        "{again:?}"
    );
    until(&broker, |counters| counters.refused_tls == 1).await;
    stays.subscribe("dev-1/#", Qos::AtLeastOnce).await.unwrap();
    stays
        .publish("dev-1/x", "here", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(text(&next(&mut messages).await), "here");
}

#[tokio::test]
async fn another_authority_comes_and_the_old_one_goes() {
    let (old, new) = (Town::new("Old"), Town::new("New"));
    let broker = old.broker().await;
    let (veteran, _none) = old
        .connect(&broker, &old.device("dev-1"), options(Version::V311, "a"))
        .await;
    // Both for a while: the new server certificate, both client authorities.
    let both = old.devices.certificate_pem() + &new.devices.certificate_pem();
    broker.set_trust(0, new.trust_with(&both, &[]));
    let (newcomer, _none) = new
        .connect(&broker, &new.device("dev-2"), options(Version::V311, "a"))
        .await;
    veteran
        .publish("dev-1/x", "x", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    // Then the new one alone.
    broker.set_trust(0, new.trust());
    veteran.closed().await;
    newcomer
        .publish("dev-2/x", "x", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(broker.counters().connected, 1);
}

#[tokio::test]
async fn shutdown_says_goodbye_and_publishes_no_will() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let papers = town.device("dev-1");
    let (client, _none) = town
        .connect(&broker, &papers, options(Version::V5, "a"))
        .await;
    let address = broker.local_addr();
    broker.shutdown().await;
    let reason = client.closed().await;
    assert!(
        matches!(&reason, ClientError::Closed { reason, .. } if reason.contains("shutting down")),
        "{reason:?}"
    );
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_session_ends_with_its_certificate_and_not_before() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let key = PrivateKey::generate().unwrap();
    let issue = |lifetime_s| {
        let terms = DeviceTerms {
            lifetime_s,
            ..DeviceTerms::default()
        };
        let spki = key.spki_der();
        let made = town
            .devices
            .issue_device_on(&spki, "dev-1", town::now_s(), &terms);
        made.unwrap()
    };
    let (short, long) = (issue(3_600), issue(7_200));
    let papers = |made| town::Papers::new(made, &town.devices, &key);
    let (goes, _none) = town
        .connect(&broker, &papers(&short), options(Version::V5, "a"))
        .await;
    let (stays, _none) = town
        .connect(&broker, &papers(&long), options(Version::V5, "b"))
        .await;
    let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    broker.end_expired(at(short.not_after_s));
    goes.publish("dev-1/x", "x", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    broker.end_expired(at(short.not_after_s + 1));
    let reason = goes.closed().await;
    assert!(
        matches!(&reason, ClientError::Closed { reason, .. } if reason.contains("not authorized")),
        "{reason:?}"
    );
    stays
        .publish("dev-1/x", "x", Qos::AtLeastOnce, false)
        .await
        .unwrap();
}
