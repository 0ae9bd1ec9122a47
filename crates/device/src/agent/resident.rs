//! The library, resident: init, schedule and sessions, until it is told to stop.

use std::io;
use std::pin::pin;
use std::sync::mpsc as answers;
use std::time::{Duration, SystemTime};

use sectag_modem::Modem;
use sectag_proto::device::{
    CallError, Client, ClientConfig, ConfigRefusal, Ending, Event, Input, Output,
};
use sectag_proto::{DeviceId, SecTag};
use tokio::sync::{mpsc, oneshot};

use super::carry::Carrier;
use super::journal::Journal;
use super::modem_thread::ModemThread;
use super::told::{self, Happening, Observer};
use crate::budget::Budget;
use crate::settings::Settings;
use crate::verbs::{self, AskError};
use crate::way::Way;

/// Between two looks at what the modem said on its own, while nothing else goes on.
const LISTEN_EVERY: Duration = Duration::from_secs(1);
/// Calls that wait; whoever comes then is told to come later.
const CALLS_MAX: usize = 64;
/// How long a blocking call waits for its answer.
const BLOCKING_WAIT: Duration = Duration::from_secs(10);

/// A device that comes back by itself. Made by [`Resident::new`], talked to through a [`Handle`].
pub struct Resident {
    /// What a client begins with.
    config: ClientConfig,
    client: Client,
    carrier: Carrier,
    modem: ModemThread,
    settings: Box<dyn Settings + Send>,
    calls: mpsc::Receiver<Call>,
    journal: Journal,
    /// Who waits until the interval is stored.
    storing: Vec<Reply<Result<(), CallError>>>,
    /// Where the service's root CA lies, and what lay there the last time.
    root_ca: Option<(SecTag, Option<String>)>,
}

/// Why there is no [`Resident`] for these values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Options that contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigRefusal),
    /// No thread for the modem.
    #[error("no thread for the modem")]
    Thread(#[source] io::Error),
}

/// A running device ended because its modem is gone.
#[derive(Debug, thiserror::Error)]
#[error("the modem is gone: {why}")]
pub struct ModemLost {
    /// In the operating system's words.
    pub why: String,
}

/// Talks to a running device. Clones talk to the same one.
#[derive(Debug, Clone)]
pub struct Handle {
    calls: mpsc::Sender<Call>,
    modem: ModemThread,
    journal: Journal,
}

/// Why a running device did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskFailure {
    /// The library's own result.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The modem's part.
    #[error(transparent)]
    Modem(#[from] AskError),
    /// It has stopped, or is stopping.
    #[error("the device has stopped (-ESHUTDOWN)")]
    Stopped,
    /// Too many calls wait, or no answer came in time.
    #[error("the device is busy (-EBUSY)")]
    Busy,
}

impl AskFailure {
    /// The negative errno, e.g. `-EINVAL`.
    pub const fn errno(&self) -> &'static str {
        match self {
            Self::Call(CallError::NotInitialised) => "-EFAULT",
            Self::Call(CallError::Already) => "-EALREADY",
            Self::Call(CallError::Invalid) => "-EINVAL",
            Self::Call(CallError::NotScheduled) => "-ENOTSUP",
            Self::Call(CallError::NotStored) => "-ENOSTR",
            Self::Call(_) | Self::Modem(_) => "-EIO",
            Self::Stopped => "-ESHUTDOWN",
            Self::Busy => "-EBUSY",
        }
    }
}

/// The polling interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntervalState {
    /// In effect.
    pub interval: Duration,
    /// Until the next session begins by itself; `None` while one runs, and when none will.
    pub next: Option<Duration>,
}

/// How a device stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// A session runs.
    pub running: bool,
    /// How the last one ended; `None` while one runs and before the first.
    pub ending: Option<Ending>,
    /// Correlation id of the last command executed.
    pub after: String,
    /// When the next one comes.
    pub interval: IntervalState,
}

type Reply<T> = Box<dyn FnOnce(T) + Send>;

enum Call {
    Now(Reply<Result<(), CallError>>),
    SetInterval(i64, Reply<Result<(), CallError>>),
    Standing(Reply<Standing>),
    Rebooted(Reply<()>),
}

/// What a turn of [`Resident::run`] ended in.
enum Turn {
    Inputs(Vec<Input>),
    Rebooted(Reply<()>),
    Stopped,
}

impl Resident {
    /// A device at rest; [`Resident::run`] initialises it.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(
        mut config: ClientConfig,
        way: impl Into<Way>,
        modem: Box<dyn Modem + Send>,
        settings: Box<dyn Settings + Send>,
    ) -> Result<(Self, Handle), StartError> {
        let carrier = Carrier::new(way.into(), &mut config.session);
        let client = Client::new(config.clone())?;
        let modem = ModemThread::start(modem).map_err(StartError::Thread)?;
        let (sender, calls) = mpsc::channel(CALLS_MAX);
        let journal = Journal::default();
        let handle = Handle {
            calls: sender,
            modem: modem.clone(),
            journal: journal.clone(),
        };
        let resident = Self {
            config,
            client,
            carrier,
            modem,
            settings,
            calls,
            journal,
            storing: Vec::new(),
            root_ca: None,
        };
        Ok((resident, handle))
    }

    /// Looks under `tag` at the beginning of each session: a root CA that was provisioned there counts without a restart,
    /// and one that was removed does not.
    #[must_use]
    pub fn rooted_in(mut self, tag: SecTag) -> Self {
        self.root_ca = Some((tag, None));
        self
    }

    /// Lives until `stop` is ready, then puts back what an unfinished session has changed on the modem. A line that the
    /// modem is working on is waited for. Dropping the future leaves the modem as it is.
    ///
    /// # Errors
    /// [`ModemLost`]: it could only fail from now on; whoever started it opens the modem anew.
    pub async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        observe: &mut Observer<'_>,
    ) -> Result<(), ModemLost> {
        let mut stop = pin!(stop);
        let clock = self.carrier.clock;
        // A fresh client is not initialised.
        let _ = self.client.init(clock.now());
        loop {
            let turn = match self.client.poll() {
                Output::Event(event) => {
                    let spent = match event {
                        Event::Stop => Some(self.carrier.stopped(observe).await),
                        _ => None,
                    };
                    self.tell(&event, spent, observe);
                    if let (Event::Start, Some((tag, known))) = (&event, &mut self.root_ca) {
                        self.carrier
                            .refresh_trust(&mut self.modem, *tag, known)
                            .await;
                    }
                    continue;
                }
                Output::Wait(until) => {
                    let due = async {
                        match until {
                            Some(until) => clock.sleep_until(until).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = &mut stop => Turn::Stopped,
                        Some(call) = self.calls.recv() => {
                            match answer(&mut self.client, &mut self.storing, call, clock.now()) {
                                Some(reply) => Turn::Rebooted(reply),
                                None => continue,
                            }
                        }
                        () = due => Turn::Inputs(vec![Input::Tick]),
                        () = tokio::time::sleep(LISTEN_EVERY) => {
                            let heard = self.carrier.listen(&mut self.modem).await;
                            Turn::Inputs(heard.into_iter().collect())
                        }
                    }
                }
                output => {
                    let carried =
                        self.carrier
                            .carry(output, &mut self.modem, &mut *self.settings, observe);
                    let mut carried = pin!(carried);
                    loop {
                        tokio::select! {
                            inputs = &mut carried => break Turn::Inputs(inputs),
                            () = &mut stop => break Turn::Stopped,
                            Some(call) = self.calls.recv() => {
                                if let Some(reply) =
                                    answer(&mut self.client, &mut self.storing, call, clock.now())
                                {
                                    break Turn::Rebooted(reply);
                                }
                            }
                        }
                    }
                }
            };
            match turn {
                Turn::Inputs(inputs) => {
                    for input in inputs {
                        self.client.handle(input, clock.now());
                    }
                }
                Turn::Rebooted(reply) => {
                    self.begin_anew().await;
                    reply(());
                }
                Turn::Stopped => break,
            }
            if let Some(why) = self.carrier.lost() {
                let why = why.to_owned();
                return Err(ModemLost { why });
            }
        }
        self.calls.close();
        self.carrier.put_back(&mut self.modem, observe).await;
        self.carrier.finish().await;
        Ok(())
    }

    /// The board's memory is empty: a session that was under way is gone without a word, settings and credentials are there.
    async fn begin_anew(&mut self) {
        // A line that the modem is working on belongs to the life before.
        let _ = self.modem.with(|_| ()).await;
        self.carrier.begin_anew(&mut self.config.session);
        self.client = Client::new(self.config.clone()).expect("the same values made a client");
        self.storing.clear();
        tracing::info!("the board was rebooted");
        let _ = self.client.init(self.carrier.clock.now());
    }

    fn tell(&mut self, event: &Event, spent: Option<Budget>, observe: &mut Observer<'_>) {
        told::log(event);
        self.journal
            .record(event, spent.as_ref(), SystemTime::now());
        let stored = match event {
            Event::IntervalChanged(_) => Some(Ok(())),
            Event::IntervalNotStored(_) => Some(Err(CallError::NotStored)),
            _ => None,
        };
        if let Some(stored) = stored {
            for reply in self.storing.drain(..) {
                reply(stored);
            }
        }
        observe(Happening::Event(event));
    }
}

/// Answers a call; gives the reply of one that the client itself does not survive.
fn answer(
    client: &mut Client,
    storing: &mut Vec<Reply<Result<(), CallError>>>,
    call: Call,
    now: sectag_proto::Uptime,
) -> Option<Reply<()>> {
    match call {
        Call::Rebooted(reply) => return Some(reply),
        Call::Now(reply) => reply(client.trigger(now)),
        Call::SetInterval(seconds, reply) => match client.set_interval(seconds, now) {
            Ok(()) => storing.push(reply),
            Err(error) => reply(Err(error)),
        },
        Call::Standing(reply) => reply(Standing {
            running: client.is_running(),
            ending: client.ending(),
            after: client.after(),
            interval: IntervalState {
                interval: client.interval(),
                next: client.next_session().map(|next| next.since(now)),
            },
        }),
    }
    None
}

impl Handle {
    /// `nrf_provisioning_trigger_manually`.
    ///
    /// # Errors
    /// [`AskFailure`].
    pub async fn now(&self) -> Result<(), AskFailure> {
        Ok(self.ask(Call::Now).await??)
    }

    /// The interval in effect.
    ///
    /// # Errors
    /// [`AskFailure`].
    pub async fn interval(&self) -> Result<IntervalState, AskFailure> {
        Ok(self.standing().await?.interval)
    }

    /// `nrf_provisioning_set_interval`; returns when it is stored. 0 is the default.
    ///
    /// # Errors
    /// [`AskFailure`], with -EINVAL, -ENOTSUP and -ENOSTR as the firmware has them.
    pub async fn set_interval(&self, seconds: i64) -> Result<(), AskFailure> {
        Ok(self
            .ask(|reply| Call::SetInterval(seconds, reply))
            .await??)
    }

    /// How the device stands.
    ///
    /// # Errors
    /// [`AskFailure`].
    pub async fn standing(&self) -> Result<Standing, AskFailure> {
        self.ask(Call::Standing).await
    }

    /// The attestation token.
    ///
    /// # Errors
    /// [`AskFailure::Modem`].
    pub async fn token(&self) -> Result<String, AskFailure> {
        let asked = self.modem.with(|modem| verbs::token(modem)).await;
        Ok(asked.map_err(|source| AskError::no_answer("AT%ATTESTTOKEN", source))??)
    }

    /// The device UUID.
    ///
    /// # Errors
    /// [`AskFailure::Modem`].
    pub async fn uuid(&self) -> Result<DeviceId, AskFailure> {
        let asked = self.modem.with(|modem| verbs::uuid(modem)).await;
        Ok(asked.map_err(|source| AskError::no_answer("AT%DEVICEUUID", source))??)
    }

    /// What it has told.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The way to its modem.
    pub const fn modem(&self) -> &ModemThread {
        &self.modem
    }

    /// As [`Handle::now`], for callers that may wait.
    ///
    /// # Errors
    /// [`AskFailure`].
    pub fn now_blocking(&self) -> Result<(), AskFailure> {
        Ok(self.ask_blocking(Call::Now)??)
    }

    /// As [`Handle::set_interval`], for callers that may wait.
    ///
    /// # Errors
    /// [`AskFailure`].
    pub fn set_interval_blocking(&self, seconds: i64) -> Result<(), AskFailure> {
        Ok(self.ask_blocking(|reply| Call::SetInterval(seconds, reply))??)
    }

    /// As [`Handle::standing`], for callers that may wait.
    ///
    /// # Errors
    /// [`AskFailure`].
    pub fn standing_blocking(&self) -> Result<Standing, AskFailure> {
        self.ask_blocking(Call::Standing)
    }

    /// The board was rebooted: the library begins anew, as at [`Resident::run`]. Returns when the life before is over.
    ///
    /// # Errors
    /// [`AskFailure::Stopped`], [`AskFailure::Busy`].
    pub fn rebooted_blocking(&self) -> Result<(), AskFailure> {
        self.ask_blocking(Call::Rebooted)
    }

    async fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(Reply<T>) -> Call,
    ) -> Result<T, AskFailure> {
        let (sender, receiver) = oneshot::channel();
        let reply: Reply<T> = Box::new(move |answer| {
            let _ = sender.send(answer);
        });
        self.calls.try_send(call(reply)).map_err(not_taken)?;
        receiver.await.map_err(|_| AskFailure::Stopped)
    }

    fn ask_blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(Reply<T>) -> Call,
    ) -> Result<T, AskFailure> {
        let (sender, receiver) = answers::sync_channel(1);
        let reply: Reply<T> = Box::new(move |answer| {
            let _ = sender.try_send(answer);
        });
        self.calls.try_send(call(reply)).map_err(not_taken)?;
        receiver
            .recv_timeout(BLOCKING_WAIT)
            .map_err(|error| match error {
                answers::RecvTimeoutError::Timeout => AskFailure::Busy,
                answers::RecvTimeoutError::Disconnected => AskFailure::Stopped,
            })
    }
}

fn not_taken(error: mpsc::error::TrySendError<Call>) -> AskFailure {
    match error {
        mpsc::error::TrySendError::Full(_) => AskFailure::Busy,
        mpsc::error::TrySendError::Closed(_) => AskFailure::Stopped,
    }
}
