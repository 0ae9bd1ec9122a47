//! A button that is pressed from another terminal: one private socket per device name, one line each way.

use crate::fault::{Fault, Outcome};
use crate::home::Place;
use sectag_device::sample::Handle;
use sectag_device::state::DeviceState;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// Longest line: `press 255`.
const LINE_BYTES_MAX: u64 = 64;

/// For a line and its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The socket; its file goes when this is dropped.
pub(super) struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Presses a button of the sample that runs for this device.
pub(super) async fn press(place: &Place, name: &str, button: u8) -> Outcome {
    let path = path(place, name)?;
    let nobody = |error: std::io::Error| {
        Fault::no(format!("no sample runs for device `{name}`: {error}"))
            .hint(format!("start one with `sectag mqtt sample --name {name}`"))
    };
    let asked = async {
        let mut stream = UnixStream::connect(&path).await?;
        stream
            .write_all(format!("press {button}\n").as_bytes())
            .await?;
        let mut answer = String::new();
        stream
            .take(LINE_BYTES_MAX)
            .read_to_string(&mut answer)
            .await?;
        Ok(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, asked)
        .await
        .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
        .map_err(nobody)?;
    match answer.trim() {
        "ok" => Ok(()),
        other => Err(Fault::no(format!("the sample answered `{other}`"))),
    }
}

/// Listens for [`press`].
pub(super) fn listen(place: &Place, name: &str, handle: &Handle) -> Outcome<Option<Socket>> {
    sectag_keep::private_dir(&place.home)?;
    sectag_keep::private_dir(&place.home.join("devices"))?;
    let path = path(place, name)?;
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        return Err(
            Fault::untried(format!("a sample runs already for device `{name}`"))
                .hint("stop it, or choose another name with --name"),
        );
    }
    let listener = match bind(&path) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!(
                "note: --press will not reach this sample: `{}`: {error}",
                path.display()
            );
            return Ok(None);
        }
    };
    let handle = handle.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handle = handle.clone();
            tokio::spawn(async move {
                let _ = tokio::time::timeout(PATIENCE, answer(stream, &handle)).await;
            });
        }
    });
    Ok(Some(Socket(path)))
}

/// The home is private, and so is what is in it. Nobody listens at a file that a killed sample left.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(path)
}

async fn answer(stream: UnixStream, handle: &Handle) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(LINE_BYTES_MAX))
        .read_line(&mut line)
        .await?;
    let button = line
        .trim_end()
        .strip_prefix("press ")
        .and_then(|n| n.parse::<u8>().ok());
    let word = match button {
        Some(button) if handle.press(button) => "ok\n",
        Some(_) => "it is ending\n",
        None => "say: press N\n",
    };
    writer.write_all(word.as_bytes()).await
}

/// Beside the device's folder: a device whose credentials are elsewhere has none.
fn path(place: &Place, name: &str) -> Outcome<PathBuf> {
    let folder = DeviceState::folder(&place.home, name)?;
    Ok(folder.with_file_name(format!("{name}.sample.sock")))
}
