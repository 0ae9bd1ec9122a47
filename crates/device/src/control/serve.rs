//! The device's side of the socket.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use super::{CONNECTIONS_MAX, REQUEST_BYTES_MAX, REQUEST_WAIT, Request, SOCKET, address};
use crate::agent::{AskFailure, Handle, IntervalState, Standing};

/// A served control socket. Dropping it ends its connections and removes the socket.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    serving: JoinHandle<()>,
}

/// Why the socket is not there.
#[derive(Debug, thiserror::Error)]
#[error("the control socket `{}` could not be made", path.display())]
pub struct ServeError {
    /// The socket.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Control {
    /// Serves in the device's folder `dir`. The caller holds the device's lock, so a socket that lies there already was
    /// left behind by somebody who is gone, and is replaced.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn serve(dir: &Path, handle: Handle) -> Result<Self, ServeError> {
        let path = dir.join(SOCKET);
        let listener = listen(dir, &path).map_err(|source| ServeError {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            path,
            serving: tokio::spawn(accept(listener, handle)),
        })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.serving.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

fn listen(dir: &Path, path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (address, _open) = address(dir)?;
    let listener = UnixListener::bind(address)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn accept(listener: UnixListener, handle: Handle) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Ends them all when it is dropped.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let handle = handle.clone();
                    connections.spawn(async move {
                        // Whoever hangs up in the middle harms nobody.
                        let _ = talk(stream, &handle).await;
                        drop(place);
                    });
                }
                Err(_) => turn_away(stream),
            },
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "control connection not accepted"
                );
                // Out of file descriptors: they come back when somebody leaves.
                tokio::time::sleep(REQUEST_WAIT / 10).await;
            }
        }
    }
}

/// Says why without waiting; a new socket has room for one line.
fn turn_away(stream: UnixStream) {
    let message = format!("{CONNECTIONS_MAX} connections are open already");
    let _ = stream.try_write(failed("-EBUSY", &message).as_bytes());
}

async fn talk(stream: UnixStream, handle: &Handle) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut reading).take(REQUEST_BYTES_MAX as u64);
        let Ok(read) =
            tokio::time::timeout(REQUEST_WAIT, limited.read_until(b'\n', &mut line)).await
        else {
            let text = format!("no request within {} s", REQUEST_WAIT.as_secs());
            return say(&mut writing, &failed("-ETIMEDOUT", &text)).await;
        };
        if read? == 0 {
            return Ok(());
        }
        if line.pop() != Some(b'\n') {
            let text =
                format!("a request has at most {REQUEST_BYTES_MAX} bytes and ends in a line feed");
            return say(&mut writing, &failed("-EMSGSIZE", &text)).await;
        }
        match Request::parse(&line) {
            Ok(Request::Events { after, follow }) => {
                return events(&mut reading, &mut writing, handle, after, follow).await;
            }
            Ok(request) => say(&mut writing, &answer(handle, request).await).await?,
            Err(error) => say(&mut writing, &failed("-EINVAL", &error.to_string())).await?,
        }
    }
}

async fn say(writing: &mut OwnedWriteHalf, line: &str) -> io::Result<()> {
    writing.write_all(line.as_bytes()).await
}

async fn answer(handle: &Handle, request: Request) -> String {
    let outcome = match request {
        Request::Now => handle.now().await.map(|()| json!({ "ok": true })),
        Request::Token => handle
            .token()
            .await
            .map(|token| json!({ "ok": true, "claimToken": token })),
        Request::Uuid => handle
            .uuid()
            .await
            .map(|id| json!({ "ok": true, "id": id.to_string() })),
        Request::Interval => handle.interval().await.map(interval),
        Request::SetInterval(seconds) => match handle.set_interval(seconds).await {
            Ok(()) => handle.interval().await.map(interval),
            Err(failure) => Err(failure),
        },
        Request::Status => handle.standing().await.map(standing),
        Request::Events { .. } => Ok(json!({ "ok": true })),
    };
    match outcome {
        Ok(value) => format!("{value}\n"),
        Err(failure) => failed(failure.errno(), &chain(&failure)),
    }
}

fn interval(state: IntervalState) -> Value {
    json!({
        "ok": true,
        "seconds": state.interval.as_secs(),
        "nextSeconds": state.next.map(|next| next.as_secs()),
    })
}

fn standing(standing: Standing) -> Value {
    use sectag_proto::device::Ending;
    let mut value = interval(standing.interval);
    value["running"] = json!(standing.running);
    value["after"] = json!(standing.after);
    value["ending"] = match standing.ending {
        None => Value::Null,
        Some(Ending::Done) => json!("DONE"),
        Some(Ending::Failed(errno)) => json!(errno.name()),
    };
    value["pid"] = json!(std::process::id());
    value
}

async fn events(
    reading: &mut BufReader<OwnedReadHalf>,
    writing: &mut OwnedWriteHalf,
    handle: &Handle,
    mut after: u64,
    follow: bool,
) -> io::Result<()> {
    let journal = handle.journal();
    loop {
        for entry in journal.after(after) {
            after = entry.seq;
            say(writing, &format!("{}\n", entry.json())).await?;
        }
        if !follow {
            return writing.shutdown().await;
        }
        let mut byte = [0];
        tokio::select! {
            () = journal.beyond(after) => {}
            // A follower has nothing more to say: it hung up.
            _ = reading.read(&mut byte) => return Ok(()),
        }
    }
}

fn failed(errno: &str, message: &str) -> String {
    format!(
        "{}\n",
        json!({ "ok": false, "errno": errno, "message": message })
    )
}

fn chain(failure: &AskFailure) -> String {
    let mut text = failure.to_string();
    let mut source = std::error::Error::source(failure);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
