//! Bytes as a saved DTLS session, as a cached session and as a client's resumption: refused, or loaded and used in peace.
#![no_main]

use std::cell::OnceCell;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sectag_dtls::{
    CachedSession, Client, ClientConfig, Endpoint, Identity, MasterSecret, Now, Output, Random,
    Resumption, SavedSession, ServerConfig,
};
use sectag_pki::{Authority, PrivateKey, ServerName};

/// 2026-11-21.
const TODAY_S: u64 = 1_795_219_200;

struct Zeros;

impl Random for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

thread_local!(static MADE: OnceCell<(Identity, String)> = const { OnceCell::new() });

fuzz_target!(|bytes: &[u8]| {
    MADE.with(|made| {
        let (identity, root) = made.get_or_init(|| {
            let authority = Authority::root("fuzz", TODAY_S - 1000).expect("a root");
            let key = PrivateKey::generate().expect("a key");
            let names = [ServerName::Dns("fuzz.example".to_owned())];
            let leaf = authority
                .issue_server(&key.spki_der(), &names, TODAY_S)
                .expect("a leaf");
            let identity = Identity::from_pem(&leaf.pem(), &key.to_pem()).expect("an identity");
            (identity, authority.certificate_pem())
        });
        let now = Now {
            uptime: Duration::from_secs(1),
            unix_s: TODAY_S + 1,
        };
        let config = ClientConfig::new(root.clone(), "fuzz.example");
        let mut endpoint = Endpoint::new(
            ServerConfig::new(identity.clone(), MasterSecret::new([7; 32])),
            Box::new(Zeros),
        )
        .expect("a usable configuration");
        endpoint.remember(bytes, &CachedSession::from_bytes(bytes));
        let resumed = ClientConfig {
            resume: Some(Resumption::from_bytes(bytes)),
            ..config.clone()
        };
        if let Ok(mut client) = Client::new(&resumed, Box::new(Zeros)) {
            client.connect(now);
        }
        if let Ok(saved) = SavedSession::from_bytes(bytes) {
            assert_eq!(saved.to_bytes().as_slice(), bytes);
            if let Ok(session) = endpoint.load(saved, now) {
                let _ = endpoint.send(session, b"hello", now);
                endpoint.close(session, now);
                while !matches!(endpoint.poll(now), Output::Wait(_)) {}
            }
        }
        if let Ok(saved) = SavedSession::from_bytes(bytes)
            && let Ok(mut client) = Client::load(&config, Box::new(Zeros), saved, now)
        {
            let _ = client.send(b"hello", now);
            client.close(now);
        }
    });
});
