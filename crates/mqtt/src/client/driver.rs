//! The task behind a [`Client`](super::Client): the socket, the timers, and the calls.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::core::Core;
use super::wire::{Meter, Socket};
use super::{Call, ClientError, ConnectOptions, Ending, INCOMING_MAX, Incoming};

/// How long the goodbye may take.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// Bytes that may wait for the socket before further calls wait.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

const READ_BYTES: usize = 8 * 1024;

pub(super) struct Driver {
    reader: ReadHalf<Socket>,
    writer: WriteHalf<Socket>,
    core: Core,
    incoming: mpsc::Sender<Incoming>,
}

impl Driver {
    pub(super) fn new(
        socket: Socket,
        meter: Arc<Meter>,
        incoming: mpsc::Sender<Incoming>,
        options: &ConnectOptions,
    ) -> Result<Self, ClientError> {
        let (reader, writer) = tokio::io::split(socket);
        Ok(Self {
            reader,
            writer,
            core: Core::new(options, meter)?,
            incoming,
        })
    }

    /// Sends CONNECT and waits for CONNACK; true if the server resumed a session.
    pub(super) async fn greet(&mut self) -> Result<bool, ClientError> {
        self.core.greet();
        let written = flush(&mut self.writer, &mut self.core.output).await;
        let mut input = vec![0; READ_BYTES];
        loop {
            // Even if writing failed: the server's reason may wait to be read.
            let count = match self.reader.read(&mut input).await {
                Ok(0) => {
                    let error = written.err().unwrap_or(io::ErrorKind::UnexpectedEof.into());
                    return Err(ClientError::before_connack(&error, self.core.meter.heard()));
                }
                Ok(count) => count,
                Err(error) => {
                    return Err(ClientError::before_connack(&error, self.core.meter.heard()));
                }
            };
            if !can_be_connack(self.core.meter.heard_packets(), input[0]) {
                let reason = "what the server says is no MQTT";
                let closed = ClientError::closed(reason, Ending::Protocol);
                return Err(closed.with_heard(self.core.meter.heard()));
            }
            self.core.received(&input[..count]);
            if let Some(answer) = self.core.connack.take() {
                return answer;
            }
            if let Some(reason) = self.core.ended.take() {
                return Err(reason.with_heard(self.core.meter.heard()));
            }
        }
    }

    /// Serves calls until the connection is over.
    pub(super) async fn run(
        mut self,
        mut calls: mpsc::Receiver<Call>,
        closed: watch::Sender<Option<Arc<ClientError>>>,
    ) {
        let mut input = vec![0; READ_BYTES];
        let mut goodbye = None;
        let reason = loop {
            if let Some(reason) = self.core.ended.take() {
                break reason;
            }
            let may_read = self.core.arrived.len() < INCOMING_MAX;
            let has_output = !self.core.output.is_empty();
            tokio::select! {
                call = calls.recv(), if self.core.output.len() < OUTPUT_BYTES_MAX => match call {
                    Some(Call::Disconnect { answer }) => {
                        goodbye = Some(answer);
                        break ClientError::Disconnected;
                    }
                    Some(call) => self.core.call(call),
                    None => break ClientError::Disconnected,
                },
                read = self.reader.read(&mut input), if may_read => match read {
                    Ok(0) => break ClientError::closed("the server closed the connection", Ending::Closed),
                    Ok(count) => self.core.received(&input[..count]),
                    Err(error) => break ClientError::lost(&error),
                },
                written = self.writer.write(&self.core.output), if has_output => match written {
                    Ok(count) => {
                        self.core.output.drain(..count);
                        if self.core.output.is_empty() && let Err(error) = self.writer.flush().await {
                            break ClientError::lost(&error);
                        }
                    }
                    Err(error) => break ClientError::lost(&error),
                },
                permit = self.incoming.reserve(), if !self.core.arrived.is_empty() => match (permit, self.core.arrived.pop_front()) {
                    (Ok(permit), Some(message)) => permit.send(message),
                    // Nobody listens: messages are discarded.
                    _ => self.core.arrived.clear(),
                },
                () = sleep_until(self.core.ping_at) => self.core.ping(),
                () = sleep_until(self.core.pong_by) => if may_read {
                    let after = self.core.ping_answer_max;
                    break ClientError::closed("the server did not answer a ping", Ending::PingUnanswered { after });
                } else {
                    self.core.pong_by = Some(Instant::now() + self.core.ping_answer_max);
                },
            }
        };
        if matches!(reason, ClientError::Disconnected) {
            self.core.say_disconnect();
        }
        let ending = async {
            flush(&mut self.writer, &mut self.core.output).await?;
            self.writer.shutdown().await
        };
        let _ = tokio::time::timeout(GOODBYE_MAX, ending).await;
        for message in self.core.arrived.drain(..) {
            let _ = self.incoming.try_send(message);
        }
        closed.send_replace(Some(Arc::new(reason)));
        if let Some(answer) = goodbye {
            let _ = answer.send(Ok(()));
        }
    }
}

/// Whether this byte, after so many, can stand in an answer to CONNECT: it begins with CONNACK or, in MQTT 5, DISCONNECT or AUTH. Other
/// protocols would be taken for a long packet that never ends.
fn can_be_connack(bytes_before: u64, byte: u8) -> bool {
    bytes_before > 0 || matches!(byte, 0x20 | 0xe0 | 0xf0)
}

async fn flush<W: AsyncWrite + Unpin>(writer: &mut W, output: &mut Vec<u8>) -> io::Result<()> {
    writer.write_all(output).await?;
    output.clear();
    writer.flush().await
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
