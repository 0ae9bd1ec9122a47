//! A month on air: thirty daily runs of one device, the first of which provisions it, and what each way of carrying them
//! costs in bytes and handshakes. In fair weather, so that nothing is sent twice and the figures are the same everywhere.

use crate::air;
use crate::coap::{CoapRoad, CoapStreet};
use crate::cuts::Cuts;
use crate::job;
use crate::meter::Https;
use crate::road::{Road, Street};
use crate::town::Town;
use sectag_modem::Options;
use sectag_proto::device::{ClientConfig, Event};
use std::time::Duration;

/// Runs of a month.
pub const RUNS: u32 = 30;
const DAY: Duration = Duration::from_secs(86_400);

/// Who carries a month, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// HTTPS: a connection for each request. Ours and the firmware's are the same here.
    Https,
    /// The firmware's CoAP without keep-open: a DTLS session for each fetch and each report, resumed from its cache by
    /// session id after the first.
    Firmware,
    /// The firmware's CoAP with keep-open: one DTLS session for each run, resumed the same way.
    FirmwareKeepOpen,
    /// Ours: one DTLS session with Connection ID for all of it.
    Ours,
}

impl Carrier {
    /// All of them, the dearest first.
    pub const ALL: [Self; 4] = [
        Self::Https,
        Self::Firmware,
        Self::FirmwareKeepOpen,
        Self::Ours,
    ];

    /// For tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Https => "HTTPS",
            Self::Firmware => "CoAP, firmware",
            Self::FirmwareKeepOpen => "CoAP, firmware, keep-open",
            Self::Ours => "CoAP, ours",
        }
    }

    fn road(self) -> Road {
        let coap = |keep_open| {
            Road::Coap(CoapRoad {
                keep_open,
                // The firmware at its best: its cache is by session id, tickets would cost it more, and the service's
                // default of seven days would not always find it in time.
                tickets: false,
                resumable: DAY * (RUNS + 1),
                ..CoapRoad::FAIR
            })
        };
        match self {
            Self::Https => Road::MeteredHttps,
            Self::Firmware => coap(false),
            Self::FirmwareKeepOpen | Self::Ours => coap(true),
        }
    }

    fn client(self) -> ClientConfig {
        let client = match self {
            Self::Ours => ClientConfig::default(),
            _ => ClientConfig::faithful(),
        };
        ClientConfig {
            auto_start: true,
            scheduled: true,
            interval: DAY,
            ..client
        }
    }
}

/// What some runs have cost. Bytes are both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bill {
    /// Runs.
    pub runs: u64,
    /// Handshakes, resumed ones included.
    pub handshakes: u64,
    /// Of these: resumed.
    pub resumed: u64,
    /// Datagrams or segments.
    pub packets: u64,
    /// IP and UDP, or IP and TCP.
    pub header_bytes: u64,
    /// TLS or DTLS until a session is there, and when it is closed.
    pub handshake_bytes: u64,
    /// What TLS or DTLS adds to HTTP or CoAP.
    pub record_bytes: u64,
    /// HTTP or CoAP without token and body, acknowledgements included.
    pub words_bytes: u64,
    /// Tokens and CBOR.
    pub payload_bytes: u64,
}

impl Bill {
    /// All of it.
    pub const fn on_air(&self) -> u64 {
        self.header_bytes
            + self.handshake_bytes
            + self.record_bytes
            + self.words_bytes
            + self.payload_bytes
    }

    fn of_https(https: &Https) -> Self {
        Self {
            runs: 0,
            handshakes: https.connections,
            resumed: 0,
            packets: https.segments,
            header_bytes: https.header_bytes,
            handshake_bytes: https.handshake_bytes,
            record_bytes: https.record_bytes,
            words_bytes: https.http_bytes,
            payload_bytes: https.payload_bytes,
        }
    }

    /// Panics when the ends and the air do not count the same.
    fn of_coap(street: &CoapStreet) -> Self {
        let (tally, up, down) = (street.tally(), street.air.up, street.air.down);
        let packets = up.datagrams + down.datagrams;
        let (sent, received) = (tally.dtls.sent, tally.dtls.received);
        let coap_bytes = tally.coap.bytes_sent + tally.coap.bytes_received;
        let payload_bytes = tally.coap.payload_bytes_sent + tally.coap.payload_bytes_received;
        // What reaches nobody is the service's word for the end of a session that the device has left.
        let farewells = tally.stray_bytes + down.lost_bytes;
        let bill = Self {
            runs: 0,
            handshakes: tally.dtls.handshakes,
            resumed: tally.dtls.resumed,
            packets,
            header_bytes: packets * air::HEADER_BYTES,
            handshake_bytes: sent.handshake_bytes + received.handshake_bytes + farewells,
            record_bytes: sent.record_bytes + received.record_bytes - coap_bytes,
            words_bytes: coap_bytes - payload_bytes,
            payload_bytes,
        };
        assert_eq!(bill.on_air(), up.on_air() + down.on_air(), "{street:?}");
        bill
    }
}

/// A whole month.
pub fn month(carrier: Carrier) -> Bill {
    run(carrier, RUNS, true)
}

/// One run of a device that has just been switched on: it is provisioned, or there is nothing to do.
pub fn cold_run(carrier: Carrier, provisions: bool) -> Bill {
    run(carrier, 1, provisions)
}

fn run(carrier: Carrier, runs: u32, provisions: bool) -> Bill {
    let options = Options::default();
    let mut town = Town::with_client(carrier.road(), 1, carrier.client(), options, Cuts::none());
    if provisions {
        // What makes a blank device usable.
        let job = vec![job::ca(&town), job::csr(""), job::finished()];
        let now = town.now();
        town.desk.add(job, now);
    }
    // The last run begins a day before the end.
    let time = DAY * runs - DAY / 2;
    town.live(time);
    assert!(town.desk.is_settled() && town.told_done == provisions);
    let begun = |event: &&Event| **event == Event::Start;
    let begun = town.events.iter().filter(begun).count() as u64;
    assert_eq!(begun, u64::from(runs), "one run a day");
    let bill = match &town.street {
        Street::Https(meter) => Bill::of_https(meter.as_ref().expect("a metered road")),
        Street::Coap(street) => Bill::of_coap(street),
    };
    Bill {
        runs: begun,
        ..bill
    }
}
