//! How a sample reaches its broker.

use std::time::Duration;

use sectag_mqtt::client::Will;

use super::config::{Config, Program};
use super::credentials::Folder;
use crate::link::{LinkOptions, Security};

/// Everything that is not the machine's.
#[derive(Debug, Clone)]
pub struct Options {
    /// Names, times and limits.
    pub config: Config,
    /// Connect there in place of [`Config::host`], whose name the broker must still have. Default `None`.
    pub address: Option<String>,
    /// TLS with sec tags, or plain TCP.
    pub security: Security,
    /// Default 60 s, with TLS 30 s as in the sample's overlay.
    pub keep_alive: Duration,
    /// Let the broker keep the session. Default `false`.
    pub keep_session: bool,
    /// Default none.
    pub will: Option<Will>,
    /// For each stage of connecting and each acknowledgement, a ping's included. Default 60 s, the library's send timeout.
    pub timeout: Duration,
    /// Files to put under the tags before connecting; `None`: what is under the tags is used as it is.
    pub folder: Option<Folder>,
}

impl Options {
    /// The defaults for this configuration.
    pub fn new(config: Config, security: Security) -> Self {
        let keep_alive = if security.is_tls() && config.program == Program::Sample {
            Duration::from_secs(30)
        } else {
            Duration::from_secs(60)
        };
        Self {
            config,
            address: None,
            security,
            keep_alive,
            keep_session: false,
            will: None,
            timeout: Duration::from_secs(60),
            folder: None,
        }
    }

    pub(super) fn link(&self, client_id: String) -> LinkOptions {
        let host = self.address.as_deref().unwrap_or(&self.config.host);
        LinkOptions {
            port: self.config.port,
            client_id: Some(client_id),
            keep_alive: self.keep_alive,
            clean: !self.keep_session,
            will: self.will.clone(),
            timeout: self.timeout,
            ..LinkOptions::new(host)
        }
    }

    /// With an address of its own, the name to verify is still the host's.
    pub(super) fn security(&self) -> Security {
        match &self.security {
            Security::Tls(tls) if tls.server_name.is_none() => {
                let mut tls = tls.clone();
                tls.server_name = Some(self.config.host.clone());
                Security::Tls(tls)
            }
            other => other.clone(),
        }
    }
}
