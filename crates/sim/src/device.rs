//! One device: client library, virtual modem, settings store. What a driver does, with method calls for wires.

use sectag_modem::{Identity, Options, VirtualModem, seeded};
use sectag_proto::at::{Answer, Verdict};
use sectag_proto::device::{
    Client, ClientConfig, FunctionalMode, Input, Output, RadioState, RadioWish,
};
use sectag_proto::{DeviceId, Secret, Timestamp, Uptime};
use std::collections::BTreeMap;

/// A device that can lose power: the modem's credentials and the settings survive, the client does not.
#[derive(Debug)]
pub struct Device {
    /// The client; the town polls it.
    pub client: Client,
    /// The modem.
    pub modem: VirtualModem,
    /// The settings store.
    pub settings: BTreeMap<String, String>,
    config: ClientConfig,
}

impl Device {
    /// The same device for the same seed.
    pub fn new(seed: u64, mut config: ClientConfig, mut options: Options) -> Self {
        options.boot_mode = 1;
        let identity = Identity::from_seed(seed);
        config
            .session
            .modem_version
            .clone_from(&identity.firmware_name);
        config.seed = ClientConfig::seed_of(&identity.device);
        Self {
            client: boot(&config, Uptime(0)),
            modem: VirtualModem::new(identity, options, seeded(!seed)),
            settings: BTreeMap::new(),
            config,
        }
    }

    /// Who it is.
    pub fn id(&self) -> DeviceId {
        self.modem.identity().device
    }

    /// What its owner would be given: the claim token.
    pub fn claim_token(&mut self) -> String {
        self.ask("AT%ATTESTTOKEN", "%ATTESTTOKEN:")
    }

    /// The network tells the time.
    pub fn time_is(&mut self, now: Timestamp, uptime: Uptime) {
        self.modem.advance(uptime);
        self.modem.set_time(now);
    }

    /// Power is lost and comes back.
    pub fn reboot(&mut self, now: Uptime) {
        self.client = boot(&self.config, now);
        for line in ["AT+CMEE=0", "AT+CFUN=1"] {
            self.modem.line(line);
        }
    }

    /// Answers what the modem or the settings store can answer; `None` for everything else.
    pub fn answer(&mut self, output: &Output) -> Option<Input> {
        Some(match output {
            Output::Sign { sec_tag, validity } => {
                let tag = match sec_tag {
                    0 => String::new(),
                    tag => format!(",{tag},2"),
                };
                let line = format!("AT%JWT=0,{},\"\",\"\"{tag}", validity.as_secs());
                Input::Signed(Secret::new(self.ask(&line, "%JWT:")))
            }
            Output::Radio(wish) => {
                match wish {
                    RadioWish::Query => {}
                    RadioWish::Offline => self.must("AT+CFUN=4"),
                    RadioWish::Online => self.must("AT+CFUN=1"),
                }
                let mode = self.ask("AT+CFUN?", "+CFUN:");
                Input::RadioIs(RadioState {
                    mode: FunctionalMode(mode.parse().expect("a modem prints a number")),
                    pdn_active: self.modem.is_attached(),
                })
            }
            Output::Line(line) => Input::ModemSaid(self.modem.line(line.expose())),
            Output::Load { key } => Input::Loaded(self.settings.get(key).cloned()),
            Output::Save { key, value } => {
                self.settings.insert(key.clone(), value.clone());
                Input::Stored
            }
            Output::Fetch { .. } | Output::Report { .. } | Output::Event(_) | Output::Wait(_) => {
                return None;
            }
        })
    }

    /// What the modem prints for `line` behind `prefix`, without quotes. Panics when it refuses.
    pub fn ask(&mut self, line: &str, prefix: &str) -> String {
        let text = self.modem.line(line);
        let answer = Answer::parse(&text).expect("a modem ends with a result line");
        answer
            .info_text(prefix)
            .unwrap_or_else(|| panic!("`{line}` was answered with {text:?}"))
            .to_owned()
    }

    fn must(&mut self, line: &str) {
        let text = self.modem.line(line);
        let verdict = Answer::parse(&text).map(|answer| answer.verdict);
        assert_eq!(verdict, Ok(Verdict::Ok), "{line}");
    }
}

fn boot(config: &ClientConfig, now: Uptime) -> Client {
    let mut client = Client::new(config.clone()).expect("a town's options fit each other");
    client.init(now).expect("it is new");
    client
}
