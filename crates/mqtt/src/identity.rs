//! Who a connection is: what [`sectag_pki`] reads from its verified certificate, or nobody in particular, in the shape
//! sessions are keyed by.

use std::sync::Arc;

use sectag_pki::topics::{Client, Rights, Rules};
use sectag_pki::{ClientIdentity, PkiError, Role};

use crate::gate::Admission;

/// Identity of one connection, and its rights by the rules of its listener ([`sectag_pki::topics`]).
#[derive(Debug)]
pub struct Identity {
    /// The certificate's CN, which is the user name. `anonymous/<number of the listener>` without a certificate; no CN
    /// that is accepted here has a slash.
    pub name: Arc<str>,
    /// The issuer's distinguished name, or the [`Admission::realm`] that stands for it; empty without a certificate.
    pub issuer: Arc<str>,
    /// Before every topic, with a `/`; see [`Admission::prefix`].
    prefix: Option<Arc<str>>,
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
        Self::admitted(der, rules, &Admission::default())
    }

    /// As [`Identity::from_certificate`], on the terms of a gate.
    ///
    /// # Errors
    /// As [`Identity::from_certificate`].
    pub fn admitted(der: &[u8], rules: Arc<Rules>, terms: &Admission) -> Result<Self, PkiError> {
        let mut certificate = sectag_pki::identity(der)?;
        if !terms.may_operate {
            certificate.role = Role::Device;
        }
        if let Some(realm) = &terms.realm {
            certificate.issuer = realm.to_string();
        }
        let mut identity = Self::new(certificate, rules);
        identity.prefix = terms.prefix.clone();
        Ok(identity)
    }

    /// A client that was asked for no certificate, on listener `number`. A user name or client id that nobody proved opens no
    /// session of another listener, and none of a certificate.
    pub fn anonymous(number: usize, rules: Arc<Rules>) -> Self {
        Self {
            name: format!("anonymous/{number}").into(),
            issuer: "".into(),
            prefix: None,
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
            prefix: None,
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
            prefix: self.prefix.clone(),
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
        self.own(topic)
            .is_some_and(|topic| self.rights.may_publish(topic))
    }

    /// May it subscribe to `filter`?
    pub fn may_subscribe(&self, filter: &str) -> bool {
        self.own(filter)
            .is_some_and(|filter| self.rights.may_subscribe(filter))
    }

    /// What follows the prefix of this client; `None` outside of it. The prefix is plain text, so what a filter matches
    /// behind it stays behind it.
    fn own<'a>(&self, topic: &'a str) -> Option<&'a str> {
        match &self.prefix {
            None => Some(topic),
            Some(prefix) => topic.strip_prefix(&**prefix)?.strip_prefix('/'),
        }
    }
}

impl From<ClientIdentity> for Identity {
    /// With the default rules.
    fn from(certificate: ClientIdentity) -> Self {
        Self::new(certificate, Arc::default())
    }
}
