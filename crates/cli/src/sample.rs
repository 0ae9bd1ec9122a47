//! `sectag mqtt sample`: the SDK's MQTT sample and the Academy's exercise. The log is its data and goes to stdout; what
//! we have to say about it goes to stderr.

mod buttons;
mod choose;
mod press;
mod report;

use crate::args::Sample;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::modem_choice;
use crate::up::StopSignal;
use choose::Chosen;
use report::Report;
use sectag_device::link::Security;
use sectag_device::sample::{self, Board, Ending, Handle};
use sectag_device::state::DeviceState;
use sectag_modem::credentials::{AtStore, CredentialStore};
use sectag_modem::{SignerError, TagSigner};
use sectag_proto::{CredentialType, SecTag};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// `sectag mqtt sample`
pub(crate) async fn sample(place: &Place, args: Sample, as_json: bool) -> Outcome {
    if let Some(button) = args.press {
        return press::press(place, &args.which.name, button).await;
    }
    let chosen = choose::choose(place, &args)?;
    let mut stop = StopSignal::listen()?;
    let mut tools = Tools::open(place, &args, &chosen)?;
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

    let mut report = Report::new(as_json, chosen.own_broker);
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
            Err(report.fault("there was no connection"))
        }
        Ending::Counted | Ending::Stopped => Ok(()),
        // What stood in the way has been said.
        Ending::NotProvisioned => Err(Fault::no(
            "the credentials could not be written, so nothing was connected",
        )),
        Ending::Fatal => Err(report.fault("a fatal error ended it")),
    }
}

/// The board, and what holds its parts for as long as it runs.
struct Tools {
    board: Board,
    _state: Option<DeviceState>,
}

impl Tools {
    fn open(place: &Place, args: &Sample, chosen: &Chosen) -> Outcome<Self> {
        if let Some(mut store) = modem_choice::files(place, &args.modem)? {
            look_under_tags(chosen, &store.clone(), &mut store)?;
            return Ok(Self {
                board: Board::files(store),
                _state: None,
            });
        }
        let tls = chosen.options.security.is_tls();
        let mut opened = modem_choice::open(place, &args.modem, &args.which)?;
        let signer: Arc<dyn TagSigner> = match &opened.virtual_modem {
            Some(modem) => Arc::new(modem.shared().clone()),
            None if tls => modem_choice::signer(place, &args.modem, &args.which)?,
            None => Arc::new(NoTags),
        };
        look_under_tags(chosen, &*signer, &mut AtStore::new(&mut *opened.modem))?;
        Ok(Self {
            board: Board::modem(opened.modem, signer),
            _state: opened.state,
        })
    }
}

/// Plain MQTT asks nobody for a signature.
#[derive(Debug)]
struct NoTags;

impl TagSigner for NoTags {
    fn sign(&self, tag: SecTag, _message: &[u8]) -> Result<[u8; 64], SignerError> {
        Err(SignerError::UnusableKey { tag })
    }

    fn public_key(&self, tag: SecTag) -> Result<sectag_proto::es256::PublicKey, SignerError> {
        Err(SignerError::UnusableKey { tag })
    }

    fn certificate_chain(&self, tag: SecTag) -> Result<String, SignerError> {
        let credential = CredentialType::CLIENT_CERTIFICATE;
        Err(SignerError::Missing { tag, credential })
    }

    fn root_ca(&self, tag: SecTag) -> Result<String, SignerError> {
        let credential = CredentialType::ROOT_CA;
        Err(SignerError::Missing { tag, credential })
    }
}

/// Empty tags and nothing to write into them: the sample would try for ever. The firmware does.
fn look_under_tags(
    chosen: &Chosen,
    signer: &dyn TagSigner,
    store: &mut dyn CredentialStore,
) -> Outcome {
    let options = &chosen.options;
    let Security::Tls(tls) = &options.security else {
        return Ok(());
    };
    let empty = tls
        .tags
        .iter()
        .all(|tag| matches!(signer.root_ca(*tag), Err(SignerError::Missing { .. })));
    let unverified = tls.peer_verify.number() == 0;
    if !empty || unverified || options.folder.is_some() || options.config.faithful {
        return Ok(());
    }
    let tags: Vec<String> = tls.tags.iter().map(ToString::to_string).collect();
    let fault = Fault::untried(format!(
        "there is no root CA under sec tag {}",
        tags.join(" nor ")
    ));
    let others = tags_with_a_ca(store);
    Err(match others.as_slice() {
        [] => fault.hint(
            "write one before connecting: --certs FOLDER with ca-cert.pem in it; or provision the device, see `sectag commands onboard --help`",
        ),
        [tag, ..] => fault.hint(format!("sec tag {tag} has one: --sec-tag {tag}")),
    })
}

/// Those with a client certificate first: with it comes what is needed for our broker.
fn tags_with_a_ca(store: &mut dyn CredentialStore) -> Vec<u32> {
    let entries = store.list(None, None).unwrap_or_default();
    let has = |tag, kind| {
        let mut found = entries.iter();
        found.any(|entry| entry.tag == tag && entry.kind == kind)
    };
    let mut tags: Vec<u32> = entries
        .iter()
        .filter(|entry| entry.kind == CredentialType::ROOT_CA)
        .filter(|entry| SecTag::new(u64::from(entry.tag)).is_ok())
        .map(|entry| entry.tag)
        .collect();
    tags.sort_by_key(|tag| !has(*tag, CredentialType::CLIENT_CERTIFICATE));
    tags
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
