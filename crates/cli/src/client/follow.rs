//! Following a stream of events: line by line, as they come.

use super::Owner;
use crate::fault::{Fault, Outcome};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::Duration;

/// A service says something at least every 15 s; one that says nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// From the name to the head of the answer.
const BEGIN_MAX: Duration = Duration::from_secs(30);
/// Bytes of one line at most.
const LINE_BYTES_MAX: usize = 1024 * 1024;

impl Owner {
    /// Gives each line of an answer that goes on to `each`, until it says `false`, or the answer ends.
    ///
    /// # Errors
    /// The service said no, or could not be reached.
    pub(crate) async fn follow(
        &self,
        path: &str,
        mut each: impl FnMut(&str) -> bool,
    ) -> Outcome<()> {
        let begun = tokio::time::timeout(BEGIN_MAX, self.begin(path)).await;
        let mut body = begun.map_err(|_| {
            Fault::untried(format!(
                "{} did not answer within {} s",
                self.url,
                BEGIN_MAX.as_secs()
            ))
        })??;
        let mut rest = Vec::new();
        loop {
            let frame = tokio::time::timeout(SILENCE_MAX, body.frame()).await;
            // An end, whoever made it, is no failure: the caller comes back with the last number.
            let Ok(Some(Ok(frame))) = frame else {
                return Ok(());
            };
            rest.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&rest[..end]).into_owned();
                rest.drain(..=end);
                if !each(line.trim_end_matches('\r')) {
                    return Ok(());
                }
            }
            if rest.len() > LINE_BYTES_MAX {
                return Err(Fault::untried(format!(
                    "{} sends a line without an end",
                    self.url
                )));
            }
        }
    }

    async fn begin(&self, path: &str) -> Outcome<hyper::body::Incoming> {
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = self
            .request("GET", path)
            .header("Accept", "text/event-stream")
            .body(Empty::<Bytes>::new())
            .map_err(|error| Fault::untried(format!("this request cannot travel: {error}")))?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| self.no_answer(&error))?;
        let status = response.status().as_u16();
        if status == 200 {
            // The connection lives as long as its body is read.
            return Ok(response.into_body());
        }
        let bytes = self.whole(response).await?;
        Err(self.refusal(status, &self.parsed(&bytes)?))
    }
}
