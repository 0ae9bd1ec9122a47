//! `sectag mqtt sample`: the SDK's MQTT sample and the Academy's exercise. The log is its data and goes to stdout; what
//! we have to say about it goes to stderr.

mod buttons;
mod choose;
mod press;
mod report;
mod tools;

use crate::args::{Global, Sample};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::up::StopSignal;
use report::Report;
use sectag_device::sample::{self, Ending, Handle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tools::Tools;

/// `sectag mqtt sample`
pub(crate) async fn sample(global: &Global, place: &Place, args: Sample) -> Outcome {
    if let Some(button) = args.press {
        return press::press(place, &args.which.name, button).await;
    }
    let chosen = choose::choose(global, place, &args)?;
    let mut tools = Tools::open(place, &args, &chosen)?;
    // Until here nothing was changed, and whoever waits for a silent modem may simply end it.
    let mut stop = StopSignal::listen()?;
    let (handle, mut remote) = sample::remote();
    let _socket = press::listen(place, &args.which.name, &handle)?;
    let _keys = buttons::keys(&handle);
    buttons::signals(&handle)?;
    let out_of_time = ends_after(args.seconds, &handle);
    let stopper = handle.clone();
    tokio::spawn(async move {
        loop {
            stop.came().await;
            stopper.stop();
        }
    });

    let mut report = Report::new(global.json, chosen.own_broker);
    let ending = sample::run(
        &mut tools.board,
        &chosen.options,
        &mut remote,
        &mut |happening| {
            report.tell(&happening);
        },
    )
    .await;
    report.sum();
    match ending {
        Ending::Stopped if out_of_time.load(Ordering::Relaxed) && report.sessions() == 0 => {
            let why = if report.failures() > 0 {
                "the lines above say why"
            } else {
                "time was over before an attempt: the network comes first, then --connect-delay; give --for more seconds"
            };
            Err(Fault::no("there was no connection").hint(why))
        }
        Ending::Counted | Ending::Stopped => Ok(()),
        // What stood in the way has been said.
        Ending::NotProvisioned => Err(Fault::no(
            "the credentials could not be written, so nothing was connected",
        )),
        Ending::Fatal => Err(Fault::no("a fatal error ended it")),
    }
}

/// Whether time was what ended it.
fn ends_after(seconds: Option<u64>, handle: &Handle) -> Arc<AtomicBool> {
    let over = Arc::new(AtomicBool::new(false));
    if let Some(seconds) = seconds {
        let (over, handle) = (over.clone(), handle.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            over.store(true, Ordering::Relaxed);
            handle.stop();
        });
    }
    over
}
