//! What can be watched while a device runs, and what its log says.

use std::time::{Duration, Instant};

use sectag_modem::LineError;
use sectag_proto::device::{Event, Input};

use crate::https::{ExchangeError, Response};
use crate::verbs::AskError;

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
        /// HTTP status.
        status: u16,
        /// Bytes of CBOR sent.
        sent_bytes: usize,
        /// Bytes of CBOR received.
        received_bytes: usize,
        /// With TCP and TLS handshake.
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
    /// The modem would not sign.
    NotSigned(&'a AskError),
}

/// Watches a device.
pub type Observer<'a> = dyn FnMut(Happening<'_>) + Send + 'a;

/// The facts of one exchange, until it is known how it ended.
pub(super) struct Exchange<'a> {
    method: &'static str,
    after: Option<&'a str>,
    sent_bytes: usize,
    begun: Instant,
}

impl<'a> Exchange<'a> {
    pub(super) fn fetch(after: &'a str) -> Self {
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

    /// The inputs for the machine; `input` makes the last one from an answer.
    pub(super) fn ended(
        self,
        outcome: Result<Response, ExchangeError>,
        observe: &mut Observer<'_>,
        input: impl FnOnce(Response) -> Input,
    ) -> Vec<Input> {
        let took = self.begun.elapsed();
        match outcome {
            Ok(response) => {
                observe(Happening::Answered {
                    method: self.method,
                    after: self.after,
                    status: response.status,
                    sent_bytes: self.sent_bytes,
                    received_bytes: response.body.len(),
                    took,
                });
                let hint = response.retry_after.map(Input::Hint);
                hint.into_iter().chain([input(response)]).collect()
            }
            Err(error) => {
                tracing::info!(
                    error = &error as &dyn std::error::Error,
                    "request not answered"
                );
                observe(Happening::Unanswered {
                    method: self.method,
                    error: &error,
                    took,
                });
                vec![Input::Failed(error.kind)]
            }
        }
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
