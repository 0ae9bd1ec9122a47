//! The control socket: what it answers, what it refuses, who can reach it, and what is left behind.
#![allow(clippy::unwrap_used)]

mod service;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use sectag_device::agent::{Handle, Resident};
use sectag_device::control::{
    CONNECTIONS_MAX, Connection, Control, ControlError, REQUEST_BYTES_MAX, Request, SOCKET,
};
use sectag_device::hosted::HostedModem;
use sectag_device::options::{Identity, Options};
use sectag_device::settings::VolatileSettings;
use sectag_modem::{SharedModem, VirtualModem};
use service::Service;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

struct Running {
    handle: Handle,
    task: JoinHandle<()>,
    _service: Service,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A manual device, so that nothing happens by itself.
async fn running() -> Running {
    let service = Service::start(vec![]).await;
    let mut options = Options::ours();
    options.apply_flag("scheduled=n").unwrap();
    options.apply_flag("auto-start=n").unwrap();
    let config = options.client_config(&Identity {
        modem_version: "m".to_owned(),
        seed: 1,
        radio_rest: Duration::ZERO,
    });
    let modem = HostedModem::new(SharedModem::new(VirtualModem::from_seed(31)));
    let (resident, handle) = Resident::new(
        config,
        service.https(),
        Box::new(modem),
        Box::<VolatileSettings>::default(),
    )
    .unwrap();
    let task = tokio::spawn(async move {
        let _ = resident.run(std::future::pending(), &mut |_| {}).await;
    });
    Running {
        handle,
        task,
        _service: service,
    }
}

fn refused(error: ControlError) -> (String, String) {
    match error {
        ControlError::Refused { errno, message } => (errno, message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_verb_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let device = running().await;
    let _control = Control::serve(dir.path(), device.handle.clone()).unwrap();
    let mut connection = Connection::open(dir.path()).await.unwrap();

    let token = connection.ask(Request::Token).await.unwrap();
    let id = connection.ask(Request::Uuid).await.unwrap();
    assert!(token["claimToken"].as_str().unwrap().contains('.'));
    assert_eq!(id["id"].as_str().unwrap().len(), 36);
    assert_eq!(
        connection.ask(Request::Interval).await.unwrap(),
        serde_json::json!({ "ok": true, "seconds": 86_400, "nextSeconds": null })
    );
    let status = connection.ask(Request::Status).await.unwrap();
    assert_eq!(status["running"], false);

    let error = connection.ask(Request::SetInterval(60)).await.unwrap_err();
    assert_eq!(
        refused(error),
        (
            "-ENOTSUP".to_owned(),
            "the client is not scheduled, so it has no interval (-ENOTSUP)".to_owned()
        )
    );
    let error = connection.ask(Request::SetInterval(-5)).await.unwrap_err();
    assert_eq!(refused(error).0, "-EINVAL");

    let mut follower = Connection::open(dir.path()).await.unwrap();
    follower.follow(0, true).await.unwrap();
    assert_eq!(
        connection.ask(Request::Now).await.unwrap(),
        serde_json::json!({ "ok": true })
    );
    let mut seen = Vec::new();
    for seq in 1..=3 {
        let event = follower.next_event().await.unwrap().unwrap();
        assert_eq!(event["seq"], seq);
        seen.push(event["event"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["START", "NO_COMMANDS", "STOP"]);

    let mut late = Connection::open(dir.path()).await.unwrap();
    late.follow(2, false).await.unwrap();
    assert_eq!(late.next_event().await.unwrap().unwrap()["event"], "STOP");
    assert_eq!(late.next_event().await.unwrap(), None);
}

#[tokio::test]
async fn only_the_owner_reaches_it_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let device = running().await;
    let control = Control::serve(dir.path(), device.handle.clone()).unwrap();
    let mode = std::fs::metadata(control.path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(control);
    assert!(!dir.path().join(SOCKET).exists());
    assert!(matches!(
        Connection::open(dir.path()).await,
        Err(ControlError::NotRunning { stale: false, .. })
    ));
}

#[tokio::test]
async fn a_socket_that_was_left_behind_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    drop(std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET)).unwrap());
    assert!(matches!(
        Connection::open(dir.path()).await,
        Err(ControlError::NotRunning { stale: true, .. })
    ));
    let device = running().await;
    let _control = Control::serve(dir.path(), device.handle.clone()).unwrap();
    let mut connection = Connection::open(dir.path()).await.unwrap();
    assert!(connection.ask(Request::Uuid).await.is_ok());
}

#[tokio::test]
async fn a_long_path_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let device = running().await;
    let control = Control::serve(&deep, device.handle.clone()).unwrap();
    let mut connection = Connection::open(&deep).await.unwrap();
    assert!(connection.ask(Request::Uuid).await.is_ok());
    drop(control);
    assert!(!deep.join(SOCKET).exists());
}

async fn raw(dir: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(dir.join(SOCKET)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn rude_callers_are_told_and_others_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let device = running().await;
    let _control = Control::serve(dir.path(), device.handle.clone()).unwrap();
    assert_eq!(
        raw(dir.path(), b"\xff\n").await,
        "{\"errno\":\"-EINVAL\",\"message\":\"a request is one JSON object on a line, like {\\\"verb\\\":\\\"now\\\"}\",\"ok\":false}\n"
    );
    assert!(
        raw(dir.path(), b"{\"verb\":\"now\"}")
            .await
            .contains("-EMSGSIZE"),
        "no line feed"
    );
    assert!(
        raw(dir.path(), &[b' '; REQUEST_BYTES_MAX + 1])
            .await
            .contains("-EMSGSIZE")
    );
    assert_eq!(raw(dir.path(), b"").await, "");

    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        idle.push(Connection::open(dir.path()).await.unwrap());
    }
    // Each place is taken once its task has started; the answer of the last one proves it.
    for connection in &mut idle {
        connection.ask(Request::Uuid).await.unwrap();
    }
    let mut one_more = Connection::open(dir.path()).await.unwrap();
    let error = one_more.ask(Request::Uuid).await.unwrap_err();
    assert_eq!(
        refused(error),
        (
            "-EBUSY".to_owned(),
            "16 connections are open already".to_owned()
        )
    );
    drop(idle);
}

proptest::proptest! {
    #[test]
    fn any_line_is_a_request_or_a_sentence(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)
    ) {
        if let Ok(request) = Request::parse(&bytes) {
            proptest::prop_assert_eq!(Request::parse(request.print().trim_end().as_bytes()), Ok(request));
        }
    }

    #[test]
    fn an_object_with_other_members_is_refused(
        verb in "now|token|uuid|status|interval|events|nwo",
        name in "[a-z]{1,8}",
        value in "(-?[0-9]{1,20}|true|null|\"x\"|\\[\\]|\\{\\})",
    ) {
        let line = format!("{{\"verb\":\"{verb}\",\"{name}\":{value}}}");
        match Request::parse(line.as_bytes()) {
            Ok(request) => {
                let takes = matches!(request, Request::SetInterval(_) | Request::Events { .. });
                proptest::prop_assert!(takes || name == "verb", "{}", line);
            }
            Err(error) => proptest::prop_assert!(!error.to_string().is_empty()),
        }
    }
}
