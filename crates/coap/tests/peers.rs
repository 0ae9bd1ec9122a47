//! Strangers judge: libcoap's client asks our server, libcoap's server answers our client, over plain UDP on this machine.
//! Without the programs one line is printed, unless `SECTAG_PEERS=require`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

use sectag_coap::*;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, Output as Finished, Stdio};
use std::time::{Duration, Instant};

const CLIENT: &str = "coap-client-notls";
const SERVER: &str = "coap-server-notls";

fn program(name: &str) -> Option<PathBuf> {
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
    });
    if found.is_none() {
        assert!(
            std::env::var("SECTAG_PEERS").as_deref() != Ok("require"),
            "{name} is not installed"
        );
        println!("skipped: {name} is not installed (Debian: libcoap3-bin)");
    }
    found
}

/// Our server on a socket of its own, until the foreign client has ended. The application echoes a body and repeats
/// `x` as often as the query says.
fn serve_one(arguments: &[&str], path: &str) -> Option<(Finished, Vec<(String, usize)>)> {
    let program = program(CLIENT)?;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(10)))
        .unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut child = Killed(
        Command::new(program)
            .args(["-B", "10", "-v", "3"])
            .args(arguments)
            .arg(format!("coap://127.0.0.1:{port}/{path}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut server = Server::new(Limits::default(), 1);
    let (began, mut buffer, mut peer, mut seen) = (Instant::now(), [0; 4096], None, Vec::new());
    while child.0.try_wait().unwrap().is_none() {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "the client does not end"
        );
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            peer = Some(from);
            server.feed(1, &buffer[..length], began.elapsed());
        }
        loop {
            match server.poll(began.elapsed()) {
                Output::Send { bytes, .. } => {
                    socket.send_to(&bytes, peer.unwrap()).unwrap();
                }
                Output::Request(request) => {
                    let line = format!(
                        "{} {}?{}",
                        request.method,
                        request.path.join("/"),
                        request.query.join("&")
                    );
                    seen.push((line, request.payload.len()));
                    let response = match request
                        .query
                        .iter()
                        .find_map(|query| query.strip_prefix("n="))
                    {
                        Some(times) => Response::new(Code::CONTENT)
                            .payload(0, vec![b'x'; times.parse().unwrap()]),
                        None => Response::new(Code::CHANGED).payload(0, request.payload),
                    };
                    server.respond(request.exchange, response, began.elapsed());
                }
                Output::Wait(_) => break,
            }
        }
    }
    let stdout = std::io::read_to_string(child.0.stdout.take().unwrap()).unwrap();
    let stderr = std::io::read_to_string(child.0.stderr.take().unwrap()).unwrap();
    let finished = Finished {
        status: child.0.wait().unwrap(),
        stdout: stdout.into(),
        stderr: stderr.into(),
    };
    Some((finished, seen))
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn libcoap_fetches_three_thousand_bytes_in_blocks_of_64() {
    let Some((finished, seen)) = serve_one(&["-b", "64"], "p/cmd?after=&n=3000") else {
        return;
    };
    let text = String::from_utf8_lossy(&finished.stdout);
    assert_eq!(text.matches('x').count(), 3000, "{finished:?}");
    assert_eq!(seen, [("GET p/cmd?after=&n=3000".to_string(), 0)]);
}

#[test]
fn libcoap_fetches_without_naming_a_size() {
    let Some((finished, seen)) = serve_one(&[], "p/cmd?n=3000") else {
        return;
    };
    assert_eq!(
        String::from_utf8_lossy(&finished.stdout)
            .matches('x')
            .count(),
        3000,
        "{finished:?}"
    );
    assert_eq!(seen.len(), 1);
}

#[test]
fn libcoap_posts_in_blocks_and_gets_the_answer_in_blocks() {
    let body = "y".repeat(2500);
    let arguments = ["-m", "post", "-b", "128", "-t", "0", "-e", &body];
    let Some((finished, seen)) = serve_one(&arguments, "p/rsp") else {
        return;
    };
    assert_eq!(seen, [("POST p/rsp?".to_string(), 2500)], "{finished:?}");
    assert_eq!(
        String::from_utf8_lossy(&finished.stdout)
            .matches('y')
            .count(),
        2500,
        "{finished:?}"
    );
}

#[test]
fn libcoap_sends_what_needs_no_acknowledgement() {
    let Some((finished, seen)) = serve_one(&["-m", "post", "-N", "-e", "now"], ".dtls/suspend")
    else {
        return;
    };
    assert_eq!(
        seen,
        [("POST .dtls/suspend?".to_string(), 3)],
        "{finished:?}"
    );
    assert!(
        String::from_utf8_lossy(&finished.stdout).contains("now"),
        "{finished:?}"
    );
}

/// Our client against libcoap's example server, until everything is answered.
fn ask(requests: Vec<ClientRequest>) -> Option<Vec<Result<ClientResponse, Failure>>> {
    let program = program(SERVER)?;
    let port = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let _server = Killed(
        Command::new(program)
            // One dynamic resource may be made by PUT.
            .args([
                "-A",
                "127.0.0.1",
                "-p",
                &port.to_string(),
                "-d",
                "1",
                "-v",
                "3",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(10)))
        .unwrap();
    let config = ClientConfig {
        ack_timeout: Duration::from_millis(100),
        max_retransmit: 8,
        ..ClientConfig::default()
    };
    let mut client = Client::new(config, 1);
    let (began, mut buffer, mut answers) = (Instant::now(), [0; 4096], Vec::new());
    let asked = requests.len();
    for request in requests {
        client.request(request, Duration::ZERO);
    }
    while answers.len() < asked {
        match client.poll(began.elapsed()) {
            // Refused while the server is not up yet; sent again by the clock.
            ClientOutput::Send(bytes) => drop(socket.send(&bytes)),
            ClientOutput::Response(response) => answers.push(Ok(response)),
            ClientOutput::Failed { why, .. } => answers.push(Err(why)),
            ClientOutput::Wait(_) => {
                if let Ok(length) = socket.recv(&mut buffer) {
                    client.feed(&buffer[..length], began.elapsed());
                }
            }
        }
    }
    Some(answers)
}

#[test]
fn libcoaps_server_takes_our_blocks_and_gives_them_back() {
    let body: Vec<u8> = (0..1500).map(|byte| b'a' + (byte % 26) as u8).collect();
    let put = ClientRequest::new(Method::PUT, &["kept"]).payload(0, body.clone());
    let get = ClientRequest {
        block2: true,
        ..ClientRequest::new(Method::GET, &["kept"])
    };
    let missing = ClientRequest::new(Method::GET, &["missing"]);
    let Some(answers) = ask(vec![put, get, missing]) else {
        return;
    };
    assert_eq!(
        answers[0].as_ref().unwrap().code,
        Code::CREATED,
        "{answers:?}"
    );
    let kept = answers[1].as_ref().unwrap();
    assert_eq!((kept.code, &kept.payload), (Code::CONTENT, &body));
    assert_eq!(answers[2].as_ref().unwrap().code, Code::NOT_FOUND);
}

#[test]
fn libcoaps_server_answers_separately_when_it_takes_its_time() {
    let slow = ClientRequest::new(Method::GET, &["async"]).query("1");
    let Some(answers) = ask(vec![slow]) else {
        return;
    };
    let answer = answers[0].as_ref().unwrap();
    assert_eq!(
        (answer.code, answer.payload.as_slice()),
        (Code::CONTENT, &b"done"[..]),
        "{answers:?}"
    );
}
