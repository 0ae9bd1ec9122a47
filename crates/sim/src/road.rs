//! The road between device and service: over HTTPS a request is a method call, over CoAP it is datagrams.

#[cfg(feature = "coap")]
use crate::coap::{CoapRoad, CoapStreet};
use crate::cuts::Cut;
use crate::desk::Desk;
use crate::meter::Https;
use crate::town::BEGIN;
use sectag_proto::Uptime;
#[cfg(feature = "coap")]
use sectag_proto::device::coap::LinkInput;
use sectag_proto::device::{Config, Input, Transport, TransportError};
use sectag_proto::query::FetchQuery;
use sectag_proto::secret::SecretText;
use std::time::Duration;

/// HTTP_TIMEOUT_MS: what a lost request or answer costs over HTTPS.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Which road a town has.
#[derive(Debug, Clone, Copy)]
pub enum Road {
    /// One connection for each request, which arrives or does not.
    Https,
    /// The same, and its bytes are counted.
    MeteredHttps,
    /// CoAP over DTLS.
    #[cfg(feature = "coap")]
    Coap(CoapRoad),
}

impl Road {
    /// What the session has to know of it.
    pub const fn transport(self) -> Transport {
        match self {
            Self::Https | Self::MeteredHttps => Transport::Https,
            #[cfg(feature = "coap")]
            Self::Coap(_) => Transport::Coap,
        }
    }
}

/// A town's road, with whatever is under way on it.
#[derive(Debug)]
pub enum Street {
    /// See [`Road::Https`].
    Https(Option<Https>),
    /// See [`Road::Coap`].
    #[cfg(feature = "coap")]
    Coap(Box<CoapStreet>),
}

impl Street {
    /// The same for the same seed.
    pub fn new(road: Road, _session: &Config, _seed: u64) -> Self {
        match road {
            Road::Https => Self::Https(None),
            Road::MeteredHttps => Self::Https(Some(Https::default())),
            #[cfg(feature = "coap")]
            Road::Coap(road) => Self::Coap(Box::new(CoapStreet::new(_session, road, _seed))),
        }
    }

    /// A fetch and its answer.
    pub fn fetch(
        &mut self,
        jwt: &SecretText,
        query: &FetchQuery,
        cut: Option<Cut>,
        desk: &mut Desk,
        now: &mut Uptime,
    ) -> Input {
        match self {
            Self::Https(meter) => exchange(cut, now, |now| {
                let now = BEGIN.plus(Duration::from_millis(now.0));
                let query = query.print();
                let (status, body) = desk.fetch(jwt.expose(), &query, now);
                if let Some(meter) = meter {
                    meter.fetch(jwt.expose(), &query, status, &body);
                }
                Input::Fetched { status, body }
            }),
            #[cfg(feature = "coap")]
            Self::Coap(street) => {
                let (jwt, query) = (jwt.clone(), query.clone());
                street.carry(LinkInput::Fetch { jwt, query }, cut, desk, now)
            }
        }
    }

    /// A report and its acknowledgement.
    pub fn report(
        &mut self,
        jwt: &SecretText,
        body: &[u8],
        cut: Option<Cut>,
        desk: &mut Desk,
        now: &mut Uptime,
    ) -> Input {
        match self {
            Self::Https(meter) => exchange(cut, now, |now| {
                let now = BEGIN.plus(Duration::from_millis(now.0));
                let status = desk.report(jwt.expose(), body, now);
                if let Some(meter) = meter {
                    meter.report(jwt.expose(), body, status);
                }
                Input::Reported { status }
            }),
            #[cfg(feature = "coap")]
            Self::Coap(street) => {
                let (jwt, body) = (jwt.clone(), body.to_vec());
                street.carry(LinkInput::Report { jwt, body }, cut, desk, now)
            }
        }
    }

    /// Time goes by, until now, and nobody waits for an answer.
    pub fn live(&mut self, _desk: &mut Desk, _now: Uptime) {
        match self {
            Self::Https(_) => {}
            #[cfg(feature = "coap")]
            Self::Coap(street) => street.live(_desk, _now),
        }
    }

    /// The device's session ended.
    pub fn stopped(&mut self, _desk: &mut Desk, _now: Uptime) {
        match self {
            Self::Https(_) => {}
            #[cfg(feature = "coap")]
            Self::Coap(street) => street.stopped(_desk, _now),
        }
    }

    /// The device is on the network, or in flight mode.
    pub fn set_attached(&mut self, _attached: bool) {
        match self {
            Self::Https(_) => {}
            #[cfg(feature = "coap")]
            Self::Coap(street) => street.set_attached(_attached),
        }
    }

    /// The device loses power, and with it all that it knew of its connections.
    pub fn lose_power(&mut self) {
        match self {
            Self::Https(_) => {}
            #[cfg(feature = "coap")]
            Self::Coap(street) => street.lose_power(),
        }
    }
}

/// One table of scenarios, each a function of its [`Road`], becomes a test over every road there is.
#[macro_export]
macro_rules! over_every_road {
    ($($scenario:ident),+ $(,)?) => {
        mod over_https {
            $(#[test]
            fn $scenario() {
                super::$scenario($crate::road::Road::Https);
            })+
        }

        #[cfg(feature = "coap")]
        mod over_coap {
            $(#[test]
            fn $scenario() {
                super::$scenario($crate::road::Road::Coap($crate::coap::CoapRoad::FAIR));
            })+
        }

        #[cfg(feature = "coap")]
        mod over_coap_without_keep_open {
            $(#[test]
            fn $scenario() {
                let road = $crate::coap::CoapRoad {
                    keep_open: false,
                    ..$crate::coap::CoapRoad::FAIR
                };
                super::$scenario($crate::road::Road::Coap(road));
            })+
        }
    };
}

/// One request over HTTPS, or a timeout.
fn exchange(cut: Option<Cut>, now: &mut Uptime, serve: impl FnOnce(Uptime) -> Input) -> Input {
    let answer = match cut {
        Some(Cut::There) => None,
        _ => Some(serve(*now)),
    };
    match (cut, answer) {
        (None, Some(answer)) => answer,
        _ => {
            *now = now.plus(TIMEOUT);
            Input::Failed(TransportError::Timeout)
        }
    }
}
