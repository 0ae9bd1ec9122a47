//! What presses buttons besides the verb: keys on a terminal, and signals.

use crate::fault::Outcome;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use sectag_device::sample::Handle;
use std::io::{IsTerminal as _, Read as _};
use tokio::signal::unix::{SignalKind, signal};

/// `SIGUSR1` is button 1, `SIGUSR2` reads the credential files again.
pub(super) fn signals(handle: &Handle) -> Outcome {
    let mut button = signal(SignalKind::user_defined1())?;
    let mut files = signal(SignalKind::user_defined2())?;
    let handle = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = button.recv() => handle.press(1),
                _ = files.recv() => handle.provision(),
            };
        }
    });
    Ok(())
}

/// A terminal that gives each key at once; as before when this is dropped.
pub(super) struct Keys {
    before: Termios,
}

/// Listens to the keyboard, if there is one.
pub(super) fn keys(handle: &Handle) -> Option<Keys> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return None;
    }
    let before = tcgetattr(&stdin).ok()?;
    let mut raw = before.clone();
    // Ctrl-C stays a signal.
    raw.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Now, &raw).ok()?;
    eprintln!(
        "keys: b or 1, 2 press a button · n network off and on · r credential files again · q quit"
    );
    let handle = handle.clone();
    // A thread of its own: a read from a terminal cannot be taken back, and ends with the process.
    std::thread::spawn(move || {
        let mut network = true;
        for key in std::io::stdin().lock().bytes().map_while(Result::ok) {
            let there = match key {
                b'b' | b'1' => handle.press(1),
                b'2' => handle.press(2),
                b'n' => {
                    network = !network;
                    handle.radio(network)
                }
                b'r' => handle.provision(),
                // 4: Ctrl-D
                b'q' | 4 => handle.stop(),
                _ => true,
            };
            if !there {
                break;
            }
        }
    });
    Some(Keys { before })
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}
