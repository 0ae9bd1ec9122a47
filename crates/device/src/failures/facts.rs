//! What is known about a connection when it is explained.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::CertificateError;
use sectag_gateway::Level;
use sectag_mqtt::Version;
use sectag_pki::CertificateFacts;

use crate::gateway_client::GatewayClient;
use crate::link::papers::{Anchor, Papers};
use crate::link::tls::{Prepared, target};
use crate::link::{CipherSuite, LinkOptions, PeerVerify, Place};

use super::words::name_text;

/// What was asked for, what the tags held, and what the server showed.
#[derive(Debug, Clone)]
pub struct Facts {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) version: Version,
    pub(super) client_id: String,
    pub(super) user_name: Option<String>,
    pub(super) has_password: bool,
    pub(super) keep_alive: Duration,
    pub(super) clean: bool,
    /// The clock here, Unix seconds.
    pub(super) now_s: u64,
    pub(super) tls: Option<TlsFacts>,
    /// What a server that is silent to plain MQTT answers to a TLS ClientHello.
    pub(super) answer_to_client_hello: Option<Vec<u8>>,
    /// The keys that all of this comes from, if it does.
    pub(super) keys: Option<GatewayClient>,
}

/// The part that only TLS has.
#[derive(Debug, Clone)]
pub(super) struct TlsFacts {
    pub(super) server_name: String,
    pub(super) verify: PeerVerify,
    pub(super) papers: Papers,
    /// What ClientHello offered.
    pub(super) suites: Vec<CipherSuite>,
    /// The server's chain as it was sent, as far as it can be read.
    pub(super) chain: Vec<CertificateFacts>,
    /// Certificates sent, readable or not, and their bytes in all.
    pub(super) sent_count: usize,
    pub(super) sent_bytes: usize,
    pub(super) verdict: Option<CertificateError>,
    pub(super) asked: bool,
    pub(super) presented: bool,
    /// Issuers whose client certificates the server takes, as text.
    pub(super) issuers: Vec<String>,
    pub(super) scheme_refused: bool,
}

impl Facts {
    pub(crate) fn gather(
        options: &LinkOptions,
        client_id: String,
        prepared: Option<&Prepared>,
    ) -> Self {
        let now_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Self {
            host: options.host.clone(),
            port: options.port,
            version: options.version,
            client_id,
            user_name: options.user_name.clone(),
            has_password: options.password.is_some(),
            keep_alive: options.keep_alive,
            clean: options.clean,
            now_s,
            tls: prepared.map(TlsFacts::gather),
            answer_to_client_hello: None,
            keys: None,
        }
    }

    /// Were sec tags asked for?
    pub fn has_tags(&self) -> bool {
        let places = self.tls.as_ref().map(|tls| &tls.papers.places);
        places.is_some_and(|places| places.iter().any(|place| matches!(place, Place::Tag(_))))
    }

    pub(crate) fn note_answer_to_client_hello(&mut self, first_bytes: Option<Vec<u8>>) {
        self.answer_to_client_hello = first_bytes;
    }

    pub(crate) fn note_keys(&mut self, client: GatewayClient) {
        self.keys = Some(client);
    }

    /// What protects the connection.
    pub(crate) fn level(&self) -> Level {
        match &self.tls {
            None => Level::None,
            Some(tls) if tls.presented => Level::Mutual,
            Some(_) => Level::Server,
        }
    }

    /// `host:port` as it was asked for.
    pub(super) fn target(&self) -> String {
        target(&self.host, self.port)
    }
}

/// The server writes these names, and a terminal may obey what is in them.
fn shown(mut certificate: CertificateFacts) -> CertificateFacts {
    for name in &mut certificate.names {
        *name = name.replace(char::is_control, "?");
    }
    certificate
}

impl TlsFacts {
    fn gather(prepared: &Prepared) -> Self {
        let seen = prepared.notes.lock().clone();
        let chosen = &prepared.options.cipher_suites;
        let chain: Vec<_> = seen.chain.iter().map(|der| sectag_pki::show(der)).collect();
        Self {
            server_name: prepared.server_name.clone(),
            verify: prepared.options.peer_verify,
            papers: prepared.papers.clone(),
            suites: match chosen.is_empty() {
                true => CipherSuite::known().collect(),
                false => chosen.clone(),
            },
            sent_count: seen.chain.len(),
            sent_bytes: seen.chain.iter().map(|der| der.len()).sum(),
            chain: chain.into_iter().map_while(Result::ok).map(shown).collect(),
            verdict: seen.verdict,
            asked: seen.asked,
            presented: seen.presented,
            issuers: seen.issuers.iter().map(|der| name_text(der)).collect(),
            scheme_refused: seen.scheme_refused,
        }
    }

    pub(super) fn anchors(&self) -> &[Anchor] {
        &self.papers.anchors
    }

    /// (TLS 1.2, TLS 1.3) are offered.
    pub(super) fn offered(&self) -> (bool, bool) {
        (
            self.suites.iter().any(|suite| !suite.is_tls13()),
            self.suites.iter().any(|suite| suite.is_tls13()),
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_command_the_terminal_by_its_names() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        let name = "a\x1b[2Jb".try_into().unwrap();
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name)];
        let der = params.self_signed(&key).unwrap();
        let facts = shown(sectag_pki::show(der.der()).unwrap());
        assert_eq!(facts.names, ["DNS:a?[2Jb"]);
    }
}
