//! The machines of `proto::device`, carried: their outputs go to the modem, the service and the settings, the answers
//! go back.
//!
//! ```text
//!   Session ──Sign, Line, Radio──► modem         Session ──Fetch, Report──► https, coap
//!   Client  ──Save, Load─────────► settings      Client  ──Wait──────────► the clock
//! ```
//!
//! [`Agent`] carries one session and returns its ending. [`Resident`] carries the whole library, schedule included,
//! until it is told to stop; others talk to it through its [`Handle`].
//!
//! Nothing is decided here. Whoever finds an `if` about provisioning in this folder has found a bug.

mod carry;
pub mod journal;
mod modem_thread;
mod resident;
mod told;

pub use modem_thread::ModemThread;
pub use resident::{AskFailure, Handle, IntervalState, ModemLost, Resident, Standing, StartError};
pub use told::{Happening, Observer};

use sectag_modem::Modem;
use sectag_proto::device::{Config, Ending, Errno, Event, Input, Output, Session};

use crate::settings::Settings;
use crate::way::Way;
use carry::{Carrier, Here};

/// Drives one device's session. Keep it between sessions: it remembers `after` and an unacknowledged report.
#[derive(Debug)]
pub struct Agent {
    session: Session,
    carrier: Carrier,
}

impl Agent {
    /// `config.modem_version` is usually [`verbs::firmware`](crate::verbs::firmware); `config.after` comes from the
    /// settings ([`Config::after_key`]). The way to the service takes its receive limit from `config`, whose transport it
    /// decides.
    pub fn new(mut config: Config, way: impl Into<Way>) -> Self {
        let carrier = Carrier::new(way.into(), &mut config);
        Self {
            session: Session::new(config),
            carrier,
        }
    }

    /// The machine, for looking at it.
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Runs one session to its end. Dropping the future in between leaves the session where it was; a batch that was
    /// begun is then fetched again by a new [`Agent`], and [`Agent::put_back`] restores the modem.
    pub async fn run_once(
        &mut self,
        modem: &mut (dyn Modem + Send),
        settings: &mut (dyn Settings + Send),
        observe: &mut Observer<'_>,
    ) -> Ending {
        let mut modem = Here(modem);
        self.session
            .handle(Input::Triggered, self.carrier.clock.now());
        loop {
            let inputs = match self.session.poll() {
                Output::Event(event) => {
                    if event == Event::Stop {
                        self.carrier.stopped(observe).await;
                    }
                    told::log(&event);
                    observe(Happening::Event(&event));
                    continue;
                }
                Output::Wait(until) => match (self.session.ending(), until) {
                    (Some(ending), _) => return ending,
                    (None, Some(until)) => {
                        self.carrier.clock.sleep_until(until).await;
                        vec![Input::Tick]
                    }
                    // The machine asks for an answer before each wait without end, and got one.
                    (None, None) => return Ending::Failed(Errno::Invalid),
                },
                output => {
                    self.carrier
                        .carry(output, &mut modem, settings, observe)
                        .await
                }
            };
            for input in inputs {
                self.session.handle(input, self.carrier.clock.now());
            }
        }
    }

    /// The driver ends: a DTLS session that the next one can go on with is written down, where there is a place for it.
    pub async fn finish(&mut self) {
        self.carrier.finish().await;
    }

    /// Puts the modem back to where it was when a session that was cut off had changed it: functional mode and CMEE.
    pub async fn put_back(&mut self, modem: &mut (dyn Modem + Send), observe: &mut Observer<'_>) {
        self.carrier.put_back(&mut Here(modem), observe).await;
    }
}
