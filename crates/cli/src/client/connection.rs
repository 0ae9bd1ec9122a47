//! One connection to the service, plain or over TLS, and what it says when there is none.

use super::Owner;
use crate::fault::{Fault, Outcome};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Longest answer read from a service: a page of 100 devices with certificates stays far below.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Either kind of connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Owner {
    pub(super) async fn connect(&self) -> Outcome<Box<dyn Stream>> {
        let tls = self.url.scheme_str() == Some("https");
        let host = self.url.host().unwrap_or_default();
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = self.url.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let socket = TcpStream::connect((host.as_str(), port)).await;
        let socket = socket.map_err(|error| {
            Fault::untried(format!("no service answers at {}: {error}", self.url))
                .hint("start one with `sectag up`, or say where it is with --url")
        })?;
        if !tls {
            return Ok(Box::new(socket));
        }
        let name = ServerName::try_from(host)
            .map_err(|_| Fault::untried("the URL has no valid host name"))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(self.tls()?));
        let stream = connector.connect(name, socket).await.map_err(|error| {
            if is_no_tls(&error) {
                return Fault::untried(format!("what answers at {} does not speak TLS", self.url))
                    .hint("the owner API listens on two ports; over the loopback one the URL begins with http://");
            }
            Fault::untried(format!("no TLS session with {}: {error}", self.url))
                .hint("the service's root CA is read from HOME/ca/root.crt; copy it there from the service's home")
        })?;
        Ok(Box::new(stream))
    }

    fn tls(&self) -> Outcome<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        if let Some(path) = &self.ca {
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| {
                Fault::untried(format!("no root CA at `{}`: {error}", path.display()))
                    .hint("copy ca/root.crt from the home of that service, or use its loopback URL (http) on its machine")
            })? {
                roots.add(
                    certificate.map_err(|error| {
                        Fault::untried(format!("`{}`: {error}", path.display()))
                    })?,
                )?;
            }
        }
        Ok(rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
    }

    /// A request without content type and body.
    pub(super) fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let authority = self.url.authority().map(ToString::to_string);
        http::Request::builder()
            .method(method)
            .uri(path)
            .header("Host", authority.unwrap_or_default())
            .header("User-Agent", concat!("sectag/", env!("CARGO_PKG_VERSION")))
            .header("Authorization", format!("Bearer {}", self.key))
    }

    /// What a request that got no answer means.
    pub(super) fn no_answer(&self, error: &hyper::Error) -> Fault {
        if !error.is_parse() {
            let what = format!(
                "{} ended the connection without an answer: {error}",
                self.url
            );
            return Fault::untried(what).hint(
                "whether it was done is not known; `sectag status` tells whether the service is up",
            );
        }
        let what = format!("what answers at {} does not speak HTTP: {error}", self.url);
        let fault = Fault::untried(what);
        match self.url.scheme_str() {
            Some("http") => fault
                .hint("over TLS the URL begins with https://; `sectag status` shows both ports"),
            _ => fault,
        }
    }

    /// The body of an answer that ends.
    pub(super) async fn whole(
        &self,
        response: http::Response<hyper::body::Incoming>,
    ) -> Outcome<Bytes> {
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let read = body.collect().await.map_err(|error| {
            Fault::untried(format!("the answer of {} broke off: {error}", self.url))
        })?;
        Ok(read.to_bytes())
    }
}

/// Whether the first bytes that came were no record of TLS: mostly the answer of a plain HTTP server.
fn is_no_tls(error: &std::io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(
        tls,
        Some(rustls::Error::InvalidMessage(
            rustls::InvalidMessage::InvalidContentType
        ))
    )
}
