//! Who a connection is: what [`sectag_pki`] reads from its verified certificate, in the shape sessions are keyed by.

use std::sync::Arc;

use sectag_pki::{ClientIdentity, PkiError, Role};

/// Identity of one connection. Its rights are [`sectag_pki::topics`]: publish and subscribe `<CN>/#`; an operator reads all.
#[derive(Debug)]
pub struct Identity {
    /// The certificate's CN: user name and first topic level.
    pub name: Arc<str>,
    /// The issuer's distinguished name.
    pub issuer: Arc<str>,
    client: ClientIdentity,
}

impl Identity {
    /// Reads the identity from a client certificate (DER) whose chain was verified.
    ///
    /// # Errors
    /// [`PkiError`] when the certificate has no single CN that can be a topic level.
    pub fn from_certificate(der: &[u8]) -> Result<Self, PkiError> {
        Ok(sectag_pki::identity(der)?.into())
    }

    /// Device or operator.
    pub fn role(&self) -> Role {
        self.client.role
    }

    /// Serial number of the certificate, lower-case hexadecimal.
    pub fn serial(&self) -> &str {
        &self.client.serial
    }

    /// May it publish to `topic`?
    pub fn may_publish(&self, topic: &str) -> bool {
        self.client.may_publish(topic)
    }

    /// May it subscribe to `filter`?
    pub fn may_subscribe(&self, filter: &str) -> bool {
        self.client.may_subscribe(filter)
    }
}

impl From<ClientIdentity> for Identity {
    fn from(client: ClientIdentity) -> Self {
        Self {
            name: client.cn.as_str().into(),
            issuer: client.issuer.as_str().into(),
            client,
        }
    }
}
