//! What can be watched while a device runs, and what its log says.

use std::time::{Duration, Instant};

use sectag_modem::LineError;
use sectag_proto::device::{Event, Input};

use crate::budget::Budget;
use crate::https::ExchangeError;
use crate::verbs::AskError;
use crate::way::{Handshake, Outcome};

/// What happened. Nothing here holds a secret.
#[derive(Debug)]
#[non_exhaustive]
pub enum Happening<'a> {
    /// The session says so.
    Event(&'a Event),
    /// A line went to the modem.
    Line {
        /// Without quoted parameters.
        head: &'a str,
        /// The final result line.
        verdict: &'a str,
        /// How long the modem took.
        took: Duration,
    },
    /// A line brought no whole answer.
    LineFailed {
        /// Without quoted parameters.
        head: &'a str,
        /// Why.
        error: &'a LineError,
    },
    /// A request was answered.
    Answered {
        /// `GET` or `POST`.
        method: &'static str,
        /// `after` of a fetch.
        after: Option<&'a str>,
        /// HTTP status, or its equivalent: 2.05 with a payload is 200, without one 204, 4.01 is 401.
        status: u16,
        /// Bytes of CBOR sent.
        sent_bytes: usize,
        /// Bytes of CBOR received.
        received_bytes: usize,
        /// With connecting and handshake.
        took: Duration,
    },
    /// A request was not answered.
    Unanswered {
        /// `GET` or `POST`.
        method: &'static str,
        /// Why; its sources say more.
        error: &'a ExchangeError,
        /// Until then.
        took: Duration,
    },
    /// A DTLS session came about, before the answer that it brought.
    Connected(&'a Handshake),
    /// The modem would not sign.
    NotSigned(&'a AskError),
    /// What the session cost on the air, before [`Event::Stop`].
    Spent(&'a Budget),
}

/// Watches a device.
pub type Observer<'a> = dyn FnMut(Happening<'_>) + Send + 'a;

/// The facts of one exchange, until it is known how it ended.
pub(super) struct Exchange {
    method: &'static str,
    after: Option<String>,
    sent_bytes: usize,
    begun: Instant,
}

impl Exchange {
    pub(super) fn fetch(after: String) -> Self {
        tracing::info!(after, "Requesting commands");
        Self {
            method: "GET",
            after: Some(after),
            sent_bytes: 0,
            begun: Instant::now(),
        }
    }

    pub(super) fn report(sent_bytes: usize) -> Self {
        tracing::info!(sent_bytes, "Sending response to server");
        Self {
            method: "POST",
            after: None,
            sent_bytes,
            begun: Instant::now(),
        }
    }

    /// Tells what came of it; the inputs for the machine.
    pub(super) fn ended(self, outcome: Outcome, observe: &mut Observer<'_>) -> Vec<Input> {
        let took = self.begun.elapsed();
        for handshake in &outcome.handshakes {
            observe(Happening::Connected(handshake));
        }
        if let Some(error) = &outcome.error {
            let source = error as &dyn std::error::Error;
            tracing::info!(error = source, "request not answered");
            observe(Happening::Unanswered {
                method: self.method,
                error,
                took,
            });
        }
        let answered = match outcome.inputs.last() {
            Some(Input::Fetched { status, body }) => Some((*status, body.len())),
            Some(Input::Reported { status } | Input::NotAdmitted { status }) => Some((*status, 0)),
            _ => None,
        };
        if let Some((status, received_bytes)) = answered {
            observe(Happening::Answered {
                method: self.method,
                after: self.after.as_deref(),
                status,
                sent_bytes: self.sent_bytes,
                received_bytes,
                took,
            });
        }
        outcome.inputs
    }
}

/// The device's log: its life in about ten lines at INFO, in the firmware's words where it has some
/// (spec/device-protocol §14). A failed command is named with its number and the modem's words.
pub(super) fn log(event: &Event) {
    match event {
        Event::BatchReceived { commands } => tracing::info!(commands, "Processing commands"),
        Event::NoCommands => tracing::info!("No commands to process on server side"),
        Event::FailedDeviceNotClaimed { .. } => {
            tracing::info!("Unauthorized access: device is not yet claimed.");
        }
        Event::CommandFailed {
            index,
            correlation,
            command,
            number,
            answer,
        } => {
            let answer = answer.trim();
            tracing::warn!(index, %correlation, command, number, answer, "command failed");
        }
        Event::CommandDone {
            index,
            correlation,
            command,
            ..
        } => tracing::info!(index, %correlation, command, "command done"),
        other => tracing::info!(event = ?other, "session"),
    }
}
