//! How requests reach the service: the same face for HTTPS and CoAP, so that whoever drives a session does not care.

use std::time::Instant;

use sectag_proto::Uptime;
use sectag_proto::device::{Config, Input, Transport};
use sectag_proto::query::FetchQuery;
use sectag_proto::secret::SecretText;

use crate::budget::Budget;
#[cfg(feature = "coap")]
use crate::coap::Coap;
use crate::https::{ExchangeError, Https, Response, RootsError};

/// A way to the service.
#[derive(Debug)]
pub enum Way {
    /// HTTP over TLS.
    Https(Https),
    /// CoAP over DTLS.
    #[cfg(feature = "coap")]
    Coap(Box<Coap>),
}

impl From<Https> for Way {
    fn from(https: Https) -> Self {
        Self::Https(https)
    }
}

#[cfg(feature = "coap")]
impl From<Coap> for Way {
    fn from(coap: Coap) -> Self {
        Self::Coap(Box::new(coap))
    }
}

/// A DTLS session came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// By a short handshake, from an earlier one.
    pub resumed: bool,
    /// With a Connection ID: it survives a change of address.
    pub cid: bool,
    /// IANA name of the cipher suite.
    pub suite: &'static str,
}

/// What came of a fetch or a report.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// For the session, in order; the answer is last.
    pub(crate) inputs: Vec<Input>,
    /// Why there was no answer.
    pub(crate) error: Option<ExchangeError>,
    /// Sessions that came about on the way.
    pub(crate) handshakes: Vec<Handshake>,
}

impl Way {
    /// Which it is.
    pub const fn transport(&self) -> Transport {
        match self {
            Self::Https(_) => Transport::Https,
            #[cfg(feature = "coap")]
            Self::Coap(_) => Transport::Coap,
        }
    }

    /// `host:port`, for people.
    pub fn peer(&self) -> String {
        match self {
            Self::Https(https) => https.peer(),
            #[cfg(feature = "coap")]
            Self::Coap(coap) => coap.peer(),
        }
    }

    /// Takes over what a session may assume, and tells the session which way its requests go.
    pub(crate) fn agree(&mut self, config: &mut Config) {
        config.transport = self.transport();
        match self {
            Self::Https(https) => https.limit(usize_of(config.rx_bytes_max)),
            #[cfg(feature = "coap")]
            Self::Coap(coap) => coap.agree(config),
        }
    }

    /// See [`Https::trust`].
    pub(crate) fn trust(&mut self, root_ca_pem: Option<&str>) -> Result<(), RootsError> {
        match self {
            Self::Https(https) => https.trust(root_ca_pem),
            #[cfg(feature = "coap")]
            Self::Coap(coap) => coap.trust(root_ca_pem),
        }
    }

    pub(crate) async fn fetch(
        &mut self,
        jwt: SecretText,
        query: FetchQuery,
        clock: Clock,
    ) -> Outcome {
        match self {
            Self::Https(https) => {
                let _ = clock;
                let outcome = https.fetch(jwt.expose(), &query).await;
                outcome_of(outcome, |response| Input::Fetched {
                    status: response.status,
                    body: response.body,
                })
            }
            #[cfg(feature = "coap")]
            Self::Coap(coap) => coap.fetch(jwt, query, clock).await,
        }
    }

    pub(crate) async fn report(&mut self, jwt: SecretText, body: Vec<u8>, clock: Clock) -> Outcome {
        match self {
            Self::Https(https) => {
                let _ = clock;
                let outcome = https.report(jwt.expose(), &body).await;
                outcome_of(outcome, |response| Input::Reported {
                    status: response.status,
                })
            }
            #[cfg(feature = "coap")]
            Self::Coap(coap) => coap.report(jwt, body, clock).await,
        }
    }

    /// The session ended.
    pub(crate) async fn stopped(&mut self, clock: Clock) {
        match self {
            Self::Https(_) => {
                let _ = clock;
            }
            #[cfg(feature = "coap")]
            Self::Coap(coap) => coap.stopped(clock).await,
        }
    }

    /// The network came back, perhaps with another address.
    pub(crate) fn moved(&mut self, clock: Clock) {
        match self {
            Self::Https(_) => {
                let _ = clock;
            }
            #[cfg(feature = "coap")]
            Self::Coap(coap) => coap.moved(clock),
        }
    }

    /// The driver ends: what can be kept for its next life is written down.
    pub(crate) async fn finish(&mut self, clock: Clock) {
        match self {
            Self::Https(_) => {
                let _ = clock;
            }
            #[cfg(feature = "coap")]
            Self::Coap(coap) => coap.finish(clock).await,
        }
    }

    /// Everything since the beginning.
    pub(crate) fn spent(&self) -> Budget {
        match self {
            Self::Https(https) => https.spent(),
            #[cfg(feature = "coap")]
            Self::Coap(coap) => coap.spent(),
        }
    }
}

fn outcome_of(
    outcome: Result<Response, ExchangeError>,
    input: impl FnOnce(Response) -> Input,
) -> Outcome {
    let (inputs, error) = match outcome {
        Ok(response) => {
            let hint = response.retry_after.map(Input::Hint);
            (hint.into_iter().chain([input(response)]).collect(), None)
        }
        Err(error) => (vec![Input::Failed(error.kind)], Some(error)),
    };
    Outcome {
        inputs,
        error,
        handshakes: Vec::new(),
    }
}

/// Uptime of a driver.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    #[cfg(feature = "coap")]
    pub(crate) fn elapsed(self) -> std::time::Duration {
        self.0.elapsed()
    }

    pub(crate) fn now(self) -> Uptime {
        Uptime(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) async fn sleep_until(self, until: Uptime) {
        tokio::time::sleep(until.since(self.now())).await;
    }
}

pub(crate) fn usize_of(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
