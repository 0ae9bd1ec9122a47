//! Who a connection is: what [`sectag_pki`] reads from its verified certificate, or nobody in particular, in the shape
//! sessions are keyed by.

use std::sync::Arc;

use sectag_pki::topics::{Client, Rights, Rules};
use sectag_pki::{ClientIdentity, PkiError, Role};

/// Identity of one connection, and its rights by the rules of its listener ([`sectag_pki::topics`]).
#[derive(Debug)]
pub struct Identity {
    /// The certificate's CN, which is the user name. `anonymous/<number of the listener>` without a certificate; no CN
    /// that is accepted here has a slash.
    pub name: Arc<str>,
    /// The issuer's distinguished name; empty without a certificate.
    pub issuer: Arc<str>,
    certificate: Option<ClientIdentity>,
    rules: Arc<Rules>,
    rights: Rights,
}

impl Identity {
    /// Reads the identity from a client certificate (DER) whose chain was verified.
    ///
    /// # Errors
    /// [`PkiError`] when the certificate has no single CN that can be a topic level.
    pub fn from_certificate(der: &[u8], rules: Arc<Rules>) -> Result<Self, PkiError> {
        Ok(Self::new(sectag_pki::identity(der)?, rules))
    }

    /// A client that was asked for no certificate, on listener `number`. A user name or client id that nobody proved opens no
    /// session of another listener, and none of a certificate.
    pub fn anonymous(number: usize, rules: Arc<Rules>) -> Self {
        Self {
            name: format!("anonymous/{number}").into(),
            issuer: "".into(),
            certificate: None,
            rights: rules.rights(&Client::default()),
            rules,
        }
    }

    fn new(certificate: ClientIdentity, rules: Arc<Rules>) -> Self {
        let rights = rules.rights(&Client {
            certificate: Some(&certificate),
            client_id: None,
        });
        Self {
            name: certificate.cn.as_str().into(),
            issuer: certificate.issuer.as_str().into(),
            certificate: Some(certificate),
            rules,
            rights,
        }
    }

    /// The same identity with the rights that depend on the client identifier.
    pub(crate) fn with_client_id(self: &Arc<Self>, client_id: &str) -> Arc<Self> {
        if !self.rules.ask_client_id() {
            return self.clone();
        }
        let rights = self.rules.rights(&Client {
            certificate: self.certificate.as_ref(),
            client_id: Some(client_id),
        });
        Arc::new(Self {
            name: self.name.clone(),
            issuer: self.issuer.clone(),
            certificate: self.certificate.clone(),
            rules: self.rules.clone(),
            rights,
        })
    }

    /// Connected without a certificate.
    pub fn is_anonymous(&self) -> bool {
        self.certificate.is_none()
    }

    /// Device or operator, by certificate.
    pub fn role(&self) -> Option<Role> {
        self.certificate.as_ref().map(|found| found.role)
    }

    /// Serial number of the certificate, lower-case hexadecimal.
    pub fn serial(&self) -> Option<&str> {
        self.certificate.as_ref().map(|found| found.serial.as_str())
    }

    /// May it publish to `topic`?
    pub fn may_publish(&self, topic: &str) -> bool {
        self.rights.may_publish(topic)
    }

    /// May it subscribe to `filter`?
    pub fn may_subscribe(&self, filter: &str) -> bool {
        self.rights.may_subscribe(filter)
    }
}

impl From<ClientIdentity> for Identity {
    /// With the default rules.
    fn from(certificate: ClientIdentity) -> Self {
        Self::new(certificate, Arc::default())
    }
}
