//! One delivery: a POST, and whether it was taken. Every wait and every byte read has an end.
//!
//! A connection is kept for the next delivery as long as the other end likes; a redirect is not followed, since nobody judged
//! where it leads.

use super::address::{choose, judge};
use crate::settings::Webhooks as Settings;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// From the name to a finished handshake.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// A name that leads nowhere is told no earlier: how soon a resolver answers says whether it knows the name.
const NOWHERE_AFTER: Duration = Duration::from_secs(1);
/// From the request to the end of its answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Bytes read of an answer, of which nothing is used.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Characters of a URL.
pub(crate) const URL_CHARS_MAX: usize = 1024;

/// Files where systems keep the certificate authorities that they trust; the first one that is there.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where a webhook leads, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) tls: bool,
    /// Without brackets.
    pub(crate) host: String,
    port: u16,
    authority: String,
    path: String,
}

impl Target {
    /// # Errors
    /// In words, for whoever gave the URL.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        if url.len() > URL_CHARS_MAX {
            return Err(format!("more than {URL_CHARS_MAX} characters"));
        }
        let uri: Uri = url.parse().map_err(|_| "not a URL".to_owned())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("neither `https` nor `http`".to_owned()),
        };
        let authority = uri.authority().ok_or("no host")?;
        if authority.as_str().contains('@') {
            return Err(
                "user names and passwords in a URL end up in logs; the signature says who sends"
                    .to_owned(),
            );
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err("no host".to_owned());
        }
        Ok(Self {
            tls,
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            host,
            authority: authority.to_string(),
            path: uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), ToString::to_string),
        })
    }
}

/// What is sent.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// For the header `sectag-delivery`, the same each time that this is sent.
    pub(crate) id: String,
    /// For `sectag-event`.
    pub(crate) kind: String,
    /// For `sectag-signature`.
    pub(crate) signature: String,
    pub(crate) body: Bytes,
}

/// A connection that may be used again.
#[derive(Debug, Default)]
pub(crate) struct Line(Option<(Target, http1::SendRequest<Full<Bytes>>)>);

/// Whose webhook it is, and what it may.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners<'a> {
    pub(crate) settings: &'a Settings,
    /// Of the home's own team.
    pub(crate) is_home: bool,
}

impl Line {
    /// Sends, and waits for the status; 2xx is taken.
    ///
    /// # Errors
    /// In words, for the log and for whoever looks at the webhook.
    pub(crate) async fn deliver(
        &mut self,
        target: &Target,
        delivery: &Delivery,
        manners: Manners<'_>,
    ) -> Result<u16, String> {
        let (mut sender, is_old) = match self.0.take() {
            Some((known, sender)) if known == *target && !sender.is_closed() => (sender, true),
            _ => (connect(target, manners).await?, false),
        };
        let sent = tokio::time::timeout(ANSWER_MAX, send(&mut sender, target, delivery)).await;
        let (status, whole) = match sent {
            Ok(Ok(answer)) => answer,
            // The other end closed what it had kept for long enough; that says nothing about the delivery.
            Ok(Err(_)) if is_old => {
                sender = connect(target, manners).await?;
                tokio::time::timeout(ANSWER_MAX, send(&mut sender, target, delivery))
                    .await
                    .map_err(|_| late())??
            }
            Ok(Err(e)) => return Err(e),
            Err(_) => return Err(late()),
        };
        if whole {
            self.0 = Some((target.clone(), sender));
        }
        match status {
            200..=299 => Ok(status),
            300..=399 => Err(format!("answered {status}: redirects are not followed")),
            status => Err(format!("answered {status}")),
        }
    }
}

fn late() -> String {
    format!("no answer within {} s", ANSWER_MAX.as_secs())
}

/// The status, and whether the answer was read to its end.
async fn send(
    sender: &mut http1::SendRequest<Full<Bytes>>,
    target: &Target,
    delivery: &Delivery,
) -> Result<(u16, bool), String> {
    sender
        .ready()
        .await
        .map_err(|e| format!("cannot send: {e}"))?;
    let request = Request::post(target.path.as_str())
        .header(HOST, &target.authority)
        .header(USER_AGENT, concat!("sectag/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header("sectag-delivery", &delivery.id)
        .header("sectag-event", &delivery.kind)
        .header(super::sign::HEADER, &delivery.signature)
        .body(Full::new(delivery.body.clone()))
        .map_err(|e| format!("cannot send: {e}"))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|e| format!("cannot send: {}", crate::listen::Chain(&e)))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    Ok((status, body.collect().await.is_ok()))
}

async fn connect(
    target: &Target,
    manners: Manners<'_>,
) -> Result<http1::SendRequest<Full<Bytes>>, String> {
    let begun = Instant::now();
    let addresses = addresses(target, manners, begun).await?;
    let connecting = async {
        let mut refusal = String::new();
        for address in addresses {
            // The address that was judged, not the name again.
            match TcpStream::connect(address).await {
                Ok(socket) => return begin(socket, target, manners.settings).await,
                Err(e) => refusal = format!("{}: {e}", target.authority),
            }
        }
        Err(refusal)
    };
    timeout_at(begun + CONNECT_MAX, connecting)
        .await
        .unwrap_or_else(|_| Err(format!("no connection within {} s", CONNECT_MAX.as_secs())))
}

/// Where the target is, as far as this webhook may go there; never empty.
async fn addresses(
    target: &Target,
    manners: Manners<'_>,
    begun: Instant,
) -> Result<Vec<SocketAddr>, String> {
    let (name, private) = (&target.host, manners.settings.private);
    let judge = |address| judge(address, target.tls, private, manners.is_home);
    if let Ok(address) = name.parse() {
        judge(address).map_err(|e| e.to_string())?;
        return Ok(vec![SocketAddr::new(address, target.port)]);
    }
    let looking = tokio::net::lookup_host((name.as_str(), target.port));
    let found = match timeout_at(begun + CONNECT_MAX, looking).await {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(reason)) => {
            tracing::info!(name, %reason, "the name of a webhook's receiver is not found");
            Vec::new()
        }
        Err(_) => {
            tracing::info!(
                name,
                "the name of a webhook's receiver is not found in time"
            );
            Vec::new()
        }
    };
    let chosen = choose(name, &found, judge);
    if chosen.is_err() {
        tokio::time::sleep_until(begun + NOWHERE_AFTER).await;
    }
    chosen
}

async fn begin(
    socket: TcpStream,
    target: &Target,
    settings: &Settings,
) -> Result<http1::SendRequest<Full<Bytes>>, String> {
    let _ = socket.set_nodelay(true);
    if !target.tls {
        return talk(socket).await;
    }
    let name = ServerName::try_from(target.host.clone())
        .map_err(|_| format!("`{}` is not a name for a certificate", target.host))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls(settings)?));
    let stream = connector
        .connect(name, socket)
        .await
        .map_err(|e| format!("no TLS session: {e}"))?;
    talk(stream).await
}

async fn talk<S>(stream: S) -> Result<http1::SendRequest<Full<Bytes>>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| format!("no HTTP: {e}"))?;
    tokio::spawn(async move {
        // Ends with its sender; what goes wrong is told there.
        let _ = connection.await;
    });
    Ok(sender)
}

/// What the system trusts, and what the setting adds. Read anew for each connection, so that a new authority counts at once.
fn tls(settings: &Settings) -> Result<rustls::ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = SYSTEM_ROOTS
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
    {
        for certificate in certificates(path)? {
            // Systems carry some that no verifier takes.
            let _ = roots.add(certificate);
        }
    }
    if let Some(path) = &settings.ca_file {
        for certificate in certificates(path)? {
            roots
                .add(certificate)
                .map_err(|e| format!("`{}`: {e}", path.display()))?;
        }
    }
    if roots.is_empty() {
        return Err(
            "this system trusts no certificate authority; name one by `webhooks.ca-file`"
                .to_owned(),
        );
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let cannot = |e: rustls_pki_types::pem::Error| format!("`{}`: {e}", path.display());
    let file = CertificateDer::pem_file_iter(path).map_err(cannot)?;
    file.collect::<Result<_, _>>().map_err(cannot)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target = Target::parse("https://[::1]:8443/a?b=c").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("::1", 8443));
        assert_eq!(target.path, "/a?b=c");
        assert_eq!(Target::parse("http://x").unwrap().port, 80);
        for wrong in [
            "",
            "ftp://x/",
            "//x/",
            "https:///",
            "https://u:p@x/",
            "x",
            "https://x y/",
        ] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Target::parse(&format!("https://x/{}", "a".repeat(1024))).is_err());
    }
}
