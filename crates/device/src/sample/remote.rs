//! Buttons, the radio and the end of a running sample, from wherever they come.

use tokio::sync::mpsc;

/// Commands that wait.
const COMMANDS_MAX: usize = 64;

/// Reaches a running sample. Clones reach the same one.
#[derive(Debug, Clone)]
pub struct Handle(mpsc::Sender<Command>);

/// The other end of a [`Handle`].
#[derive(Debug)]
pub struct Remote(pub(super) mpsc::Receiver<Command>);

#[derive(Debug, Clone, Copy)]
pub(super) enum Command {
    Press(u8),
    Radio(bool),
    Provision,
    Stop,
}

/// A handle and its other end, which goes to [`run`](super::run()).
pub fn remote() -> (Handle, Remote) {
    let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
    (Handle(sender), Remote(receiver))
}

impl Handle {
    /// Presses a button; numbers begin at 1. Whether anybody was there to feel it.
    pub fn press(&self, button: u8) -> bool {
        self.send(Command::Press(button))
    }

    /// Switches the network off (`AT+CFUN=4`) or on (`AT+CFUN=1`).
    pub fn radio(&self, on: bool) -> bool {
        self.send(Command::Radio(on))
    }

    /// Reads the credential files again and puts what is different under the tags: offline, write, online.
    pub fn provision(&self) -> bool {
        self.send(Command::Provision)
    }

    /// Ends it, with a goodbye to the broker. A second time: at once.
    pub fn stop(&self) -> bool {
        self.send(Command::Stop)
    }

    /// A button that is pressed more often than anybody reads is felt less often.
    fn send(&self, command: Command) -> bool {
        !matches!(
            self.0.try_send(command),
            Err(mpsc::error::TrySendError::Closed(_))
        )
    }
}
