//! The town's certificate authority: one for all towns of a process, since making keys takes longer than a town's life.

use crate::town::BEGIN;
use sectag_pki::{Authority, PrivateKey, Purpose, ServerName};
use std::sync::OnceLock;

/// The name that the service's certificate is for.
pub const SERVICE: &str = "service.town.example";

/// A root, and what it has signed.
#[derive(Debug)]
pub struct Ca {
    /// What devices trust.
    pub root: Authority,
    /// Signs device certificates.
    pub devices: Authority,
    /// The service's own: its certificate and the issuing CA's, without the root.
    pub service_chain_pem: String,
    /// The key of it.
    pub service_key_pem: String,
}

/// The town's.
pub fn ca() -> &'static Ca {
    static CA: OnceLock<Ca> = OnceLock::new();
    CA.get_or_init(|| {
        let now_s = BEGIN.as_secs();
        let root = Authority::root("Town Root", now_s).expect("a root");
        let issuing = |purpose| root.issuing(purpose, now_s).expect("an issuing CA");
        let (devices, servers) = (issuing(Purpose::Devices), issuing(Purpose::Servers));
        let key = PrivateKey::generate().expect("a key");
        let names = [ServerName::Dns(SERVICE.into())];
        let service = servers
            .issue_server(&key.spki_der(), &names, now_s)
            .expect("a server certificate");
        Ca {
            devices,
            service_chain_pem: service.pem() + &servers.certificate_pem(),
            service_key_pem: key.to_pem().to_string(),
            root,
        }
    })
}
