//! Carries what [`Sample`] decides: credentials to the modem, the radio, the link, real time. It decides nothing.
//!
//! Every connection reads the sec tags anew, so credentials that were written meanwhile are used at the next one.

mod hardware;

use std::time::{Duration, Instant};

use sectag_mqtt::client::Client;
use sectag_mqtt::{ClientError, Incoming, Qos};
use sectag_proto::Uptime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::board::{Board, Happening, Observer, Parts, Session};
use super::errno;
use super::events::{Ending, Input, Output};
use super::machine::Sample;
use super::options::Options;
use super::remote::{Command, Remote};
use crate::failures::Explanation;
use crate::link::{LinkError, MqttLink};

/// Between two looks at what the modem says on its own.
const LISTEN_EVERY: Duration = Duration::from_millis(100);

/// Between two questions to a modem that should be on the network and says nothing on its own.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What a device is silent for while it boots.
const REBOOT_PAUSE: Duration = Duration::from_secs(5);

/// Results of tasks that wait.
const RESULTS_MAX: usize = 256;

/// Runs it until it ends: by [`Handle::stop`](super::Handle::stop), by [`Config::count`](super::Config::count), or because it cannot go on. Dropping the future ends
/// it without a goodbye.
pub async fn run(
    board: &mut Board,
    options: &Options,
    remote: &mut Remote,
    observe: &mut Observer<'_>,
) -> Ending {
    loop {
        let mut run = Run::new(board, options, observe);
        if let Some(ending) = run.life(remote).await {
            return ending;
        }
        if !boots(remote).await {
            return Ending::Stopped;
        }
    }
}

/// Buttons are not felt while a device boots, but it can be switched off: `false`.
async fn boots(remote: &mut Remote) -> bool {
    let begun = tokio::time::Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(begun + REBOOT_PAUSE) => return true,
            command = remote.0.recv() => if matches!(command, Some(Command::Stop) | None) {
                return false;
            },
        }
    }
}

/// One life, from power on to the end or a reboot.
struct Run<'a, 'b> {
    board: &'a mut Board,
    options: &'a Options,
    observe: &'a mut Observer<'b>,
    sample: Sample,
    started: Instant,
    results: mpsc::Sender<TaskResult>,
    receiver: mpsc::Receiver<TaskResult>,
    link: Option<Open>,
    attempt: Option<JoinHandle<()>>,
    attempts: u64,
    sessions: u64,
    /// `AT+CFUN` before this run changed it.
    mode_before: Option<u8>,
    /// Credentials shall be written again, once the connection is over.
    must_provision: bool,
    /// The network was asked for and has not come: when to ask for it again.
    ask_at: Option<Instant>,
}

/// What a task came to.
enum TaskResult {
    Opened(u64, Result<Box<MqttLink>, Box<LinkError>>),
    Arrived(u64, Incoming),
    Closed(u64, ClientError, Option<Explanation>),
    Refused(ClientError, Option<Explanation>),
    Answered(Input),
}

/// A link in use.
struct Open {
    number: u64,
    since: Instant,
    client: Client,
    /// For the reader of the link, which can explain them.
    refusals: mpsc::Sender<ClientError>,
}

impl<'a, 'b> Run<'a, 'b> {
    fn new(board: &'a mut Board, options: &'a Options, observe: &'a mut Observer<'b>) -> Self {
        let (results, receiver) = mpsc::channel(RESULTS_MAX);
        Self {
            board,
            options,
            observe,
            sample: Sample::new(options.config.clone()),
            started: Instant::now(),
            results,
            receiver,
            link: None,
            attempt: None,
            attempts: 0,
            sessions: 0,
            mode_before: None,
            must_provision: false,
            ask_at: None,
        }
    }

    /// `None`: it wants to begin anew.
    async fn life(&mut self, remote: &mut Remote) -> Option<Ending> {
        let id = self.hardware_id();
        self.tell(Input::HardwareId(id));
        self.tell(Input::Boot);
        let ending = loop {
            let wake = match self.carry_out() {
                Next::Wait(wake) => wake,
                Next::End(ending) => break ending,
            };
            if self.must_provision && self.link.is_none() {
                self.must_provision = false;
                // What came of it is for the observer; the sample hears of the network.
                let _ = self.provision();
                self.look_at_name();
                self.online();
                continue;
            }
            let wake = wake.map(|wake| self.started + wake.since(Uptime(0)));
            let input = tokio::select! {
                result = self.receiver.recv() => match result {
                    Some(result) => self.result(result),
                    // We hold a sender ourselves.
                    None => None,
                },
                command = remote.0.recv() => match command {
                    Some(command) => self.command(command),
                    None => Some(Input::Stop),
                },
                () = sleep_until(wake) => {
                    self.look_at_name();
                    Some(Input::Tick)
                }
                () = tokio::time::sleep(LISTEN_EVERY), if self.has_modem() => None,
            };
            if let Some(input) = input {
                self.tell(input);
            }
            self.listen();
        };
        if let Some(mode) = self.mode_before {
            self.line(&format!("AT+CFUN={mode}"));
        }
        ending
    }

    fn tell(&mut self, input: Input) {
        let now = Uptime(millis(self.started.elapsed()));
        self.sample.handle(input, now);
    }

    fn carry_out(&mut self) -> Next {
        loop {
            match self.sample.poll() {
                Output::Wait(wake) => return Next::Wait(wake),
                Output::Log(line) => (self.observe)(Happening::Line(&line)),
                Output::Led { number, on } => (self.observe)(Happening::Led { number, on }),
                Output::Provision => {
                    let outcome = self.provision();
                    self.look_at_name();
                    self.tell(Input::Provisioned(outcome));
                }
                Output::Online => self.online(),
                Output::Connect { client_id } => self.connect(client_id),
                Output::Abandon => self.abandon(),
                Output::Subscribe { topic, qos, .. } => self.subscribe(topic, qos),
                Output::Publish(message) => {
                    let client = self.link.as_ref().map(|link| link.client.clone());
                    self.spawn(async move {
                        let outcome = match client {
                            Some(client) => {
                                let (topic, payload) = (&message.topic, message.payload.clone());
                                let qos = Qos::AtLeastOnce;
                                client.publish(topic, payload, qos, false).await
                            }
                            None => Err(ClientError::Disconnected),
                        };
                        let outcome = outcome.map_err(|error| not_zero(errno::of_client(&error)));
                        Input::Published { message, outcome }
                    });
                }
                Output::Disconnect => self.disconnect(),
                Output::Reboot => return Next::End(None),
                Output::End(ending) => return Next::End(Some(ending)),
            }
        }
    }

    fn result(&mut self, result: TaskResult) -> Option<Input> {
        match result {
            TaskResult::Answered(input) => Some(input),
            TaskResult::Refused(error, explanation) => {
                (self.observe)(Happening::Refused(&error, explanation.as_ref()));
                None
            }
            TaskResult::Opened(number, _) if number != self.attempts => None,
            TaskResult::Opened(_, Ok(link)) => Some(self.opened(*link)),
            TaskResult::Opened(_, Err(error)) => {
                (self.observe)(Happening::NotConnected(&error));
                Some(match *error {
                    LinkError::Session {
                        error: ClientError::Connack { code, .. },
                        ..
                    } => Input::Refused { code },
                    ref other => Input::ConnectFailed {
                        errno: errno::of_link(other),
                    },
                })
            }
            TaskResult::Arrived(number, message) => {
                let current = self.link.as_ref().is_some_and(|link| link.number == number);
                current.then(|| Input::Received {
                    topic: message.topic,
                    payload: message.payload.to_vec(),
                })
            }
            TaskResult::Closed(number, error, explanation) => {
                let link = self.link.take_if(|link| link.number == number)?;
                let errno = errno::of_client(&error);
                let lost = !matches!(error, ClientError::Disconnected);
                (self.observe)(Happening::Session(&Session {
                    number,
                    lasted: link.since.elapsed(),
                    traffic: link.client.traffic(),
                    lost: lost.then_some((error, explanation)),
                }));
                Some(Input::Disconnected { errno })
            }
        }
    }

    fn command(&mut self, command: Command) -> Option<Input> {
        match command {
            Command::Press(button) => return Some(Input::Pressed(button)),
            Command::Stop => return Some(Input::Stop),
            Command::Radio(on) => match self.board.parts {
                Parts::Modem(_) if on => self.online(),
                Parts::Modem(_) => self.offline(),
                Parts::Files(_) => return Some(Input::Network(on)),
            },
            Command::Provision => {
                self.offline();
                self.must_provision = true;
            }
        }
        None
    }

    fn connect(&mut self, client_id: String) {
        self.attempts += 1;
        let number = self.attempts;
        let signer = self.board.signer.clone();
        let security = self.options.security();
        let options = self.options.link(client_id);
        let results = self.results.clone();
        self.attempt = Some(tokio::spawn(async move {
            let link = MqttLink::open(signer, &security, &options).await;
            let link = link.map(Box::new).map_err(Box::new);
            let _ = results.send(TaskResult::Opened(number, link)).await;
        }));
    }

    /// What the attempt has sent already is of no interest either.
    fn abandon(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            attempt.abort();
        }
        self.attempts += 1;
    }

    fn opened(&mut self, mut link: MqttLink) -> Input {
        self.sessions += 1;
        let number = self.sessions;
        for warning in link.warnings() {
            (self.observe)(Happening::Warning(warning));
        }
        let (refusals, mut refused) = mpsc::channel(1);
        self.link = Some(Open {
            number,
            since: Instant::now(),
            client: link.client().clone(),
            refusals,
        });
        let results = self.results.clone();
        tokio::spawn(async move {
            loop {
                let result = tokio::select! {
                    message = link.next() => match message {
                        Some(message) => TaskResult::Arrived(number, message),
                        None => break,
                    },
                    Some(error) = refused.recv() => {
                        let explanation = link.explain(&error);
                        TaskResult::Refused(error, explanation)
                    }
                };
                if results.send(result).await.is_err() {
                    return;
                }
            }
            let error = link.closed().await;
            let explanation = link.explain(&error);
            let _ = results
                .send(TaskResult::Closed(number, error, explanation))
                .await;
        });
        Input::Connected
    }

    fn subscribe(&mut self, topic: String, qos: Qos) {
        let client = self.link.as_ref().map(|link| link.client.clone());
        let refusals = self.link.as_ref().map(|link| link.refusals.clone());
        self.spawn(async move {
            let Some(client) = client else {
                return Input::SubscribeFailed {
                    errno: -errno::ENOTCONN,
                };
            };
            match client.subscribe(&topic, qos).await {
                Ok(granted) => Input::Subscribed {
                    code: granted as u8,
                },
                Err(error @ ClientError::SubscribeRefused { code, .. }) => {
                    if let Some(refusals) = refusals {
                        let _ = refusals.send(error).await;
                    }
                    Input::Subscribed { code }
                }
                Err(error) => Input::SubscribeFailed {
                    errno: not_zero(errno::of_client(&error)),
                },
            }
        });
    }

    /// The reader of the link hears of the end.
    fn disconnect(&mut self) {
        if let Some(client) = self.link.as_ref().map(|link| link.client.clone()) {
            tokio::spawn(async move {
                let _ = client.disconnect().await;
            });
        }
    }

    fn spawn(&self, work: impl Future<Output = Input> + Send + 'static) {
        let results = self.results.clone();
        tokio::spawn(async move {
            let input = work.await;
            let _ = results.send(TaskResult::Answered(input)).await;
        });
    }
}

enum Next {
    Wait(Option<Uptime>),
    End(Option<Ending>),
}

/// A call that failed because this side said goodbye has no number of its own.
fn not_zero(errno: i32) -> i32 {
    if errno == 0 { -errno::ENOTCONN } else { errno }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
