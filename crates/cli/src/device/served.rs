//! The library beside a served modem: `sectag modem serve`'s console, and with `--provision` a running device behind it.

use super::{Ready, kept_between_runs, prepare, resident, tuning};
use crate::args::{Tuning, Which};
use crate::fault::Outcome;
use crate::home::Place;
use sectag_device::agent::{Handle, Happening, Resident};
use sectag_device::console::Console;
use sectag_device::control::Control;
use sectag_device::hosted::HostedModem;
use sectag_device::settings::{Settings, VolatileSettings};
use sectag_device::state::DeviceState;
use sectag_device::verbs;
use sectag_modem::host::LineHandler;
use sectag_modem::{Modem, SharedModem};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A served modem, as the library sees it.
pub(crate) struct Beneath<'a> {
    pub(crate) modem: &'a SharedModem,
    /// Whether it is told the time.
    pub(crate) has_time: bool,
    /// The device's folder, where it is one of the home's.
    pub(crate) state: Option<&'a DeviceState>,
    pub(crate) which: Which,
}

/// A running device beside a served modem.
pub(crate) struct Beside {
    handle: Handle,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    _control: Option<Control>,
}

impl Beneath<'_> {
    fn modem(&self) -> Box<dyn Modem + Send> {
        if self.has_time {
            Box::new(HostedModem::new(self.modem.clone()))
        } else {
            Box::new(self.modem.clone())
        }
    }

    /// The console's lines for this modem, without a running device.
    pub(crate) fn console(&self) -> Box<dyn LineHandler> {
        Box::new(Console::without_client(self.modem()))
    }

    /// Starts the library.
    pub(crate) fn provision(&self, place: &Place, tuning: &Tuning) -> Outcome<Beside> {
        let options = tuning::options(place, &self.which, tuning)?;
        let service = tuning::service(place, tuning, &options);
        let mut modem = self.modem();
        let Ready { mut way, identity } = prepare(
            &mut *modem,
            &options,
            &service,
            tuning.ca.is_some(),
            Duration::ZERO,
        )?;
        if let Some(state) = self.state {
            way = kept_between_runs(way, state, &verbs::uuid(&mut *modem)?);
        }
        let settings: Box<dyn Settings + Send> = match self.state {
            Some(state) => Box::new(state.settings()?),
            None => Box::<VolatileSettings>::default(),
        };
        let (device, handle) =
            Resident::new(options.client_config(&identity), way, modem, settings)
                .map_err(resident::start_fault)?;
        let device = device.rooted_in(service.root_ca_tag);
        let control = self
            .state
            .map(|state| Control::serve(state.dir(), handle.clone()))
            .transpose()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let token = options.print_attestation_token();
        let task = tokio::spawn(async move {
            let stopped = async move {
                let _ = stopped.await;
            };
            let mut say = |happening: Happening<'_>| resident::say(&happening, token);
            if let Err(lost) = device.run(stopped, &mut say).await {
                eprintln!("the device has stopped: {lost}");
            }
        });
        eprintln!("the device asks {}:{}", service.host, service.port);
        Ok(Beside {
            handle,
            stop,
            task,
            _control: control,
        })
    }
}

impl Beside {
    /// The console's lines for the running device.
    pub(crate) fn console(&self) -> Box<dyn LineHandler> {
        Box::new(Console::new(self.handle.clone()))
    }

    /// Stops the device; what an unfinished session changed on the modem is put back.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}
