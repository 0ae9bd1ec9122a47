//! A wire between the sample and its broker: it can be cut, so that no packet comes through and nobody is told, and it
//! remembers what went over it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Between two looks whether the wire is cut.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub struct Wire {
    port: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    cut: AtomicBool,
    over: AtomicBool,
    seen: Mutex<Vec<u8>>,
}

impl Wire {
    pub fn to(broker: &str) -> Self {
        let broker: u16 = broker.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = state.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if shared.over.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", broker)) else {
                    continue;
                };
                for (from, to) in [
                    (near.try_clone().unwrap(), far.try_clone().unwrap()),
                    (far, near),
                ] {
                    let state = shared.clone();
                    std::thread::spawn(move || carry(from, to, &state));
                }
            }
        });
        Self {
            port: port.to_string(),
            state,
        }
    }

    pub fn port(&self) -> &str {
        &self.port
    }

    /// From now on bytes vanish; connections that stand are dead and do not know it.
    pub fn cut(&self) {
        self.state.cut.store(true, Ordering::Relaxed);
    }

    /// New connections live again.
    pub fn mend(&self) {
        self.state.cut.store(false, Ordering::Relaxed);
    }

    /// Both directions, as they came.
    pub fn seen(&self) -> Vec<u8> {
        self.state.seen.lock().unwrap().clone()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(format!("127.0.0.1:{}", self.port));
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, state: &State) {
    let _ = from.set_read_timeout(Some(LOOK_EVERY));
    let mut buffer = [0; 16 * 1024];
    let mut dead = false;
    loop {
        if state.over.load(Ordering::Relaxed) {
            break;
        }
        dead |= state.cut.load(Ordering::Relaxed);
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) if dead => {}
            Ok(length) => {
                state
                    .seen
                    .lock()
                    .unwrap()
                    .extend_from_slice(&buffer[..length]);
                if to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            Err(error) if is_pause(&error) => {}
            Err(_) => break,
        }
    }
    // A dead wire tells nobody.
    if !dead {
        let _ = to.shutdown(Shutdown::Both);
    }
}

fn is_pause(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}
