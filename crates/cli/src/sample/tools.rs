//! The modem or the files that the sample runs on, and who signs with their keys.

use super::choose::Chosen;
use crate::args::Sample;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::modem_choice;
use sectag_device::link::Security;
use sectag_device::sample::Board;
use sectag_device::state::DeviceState;
use sectag_modem::credentials::{AtStore, CredentialStore};
use sectag_modem::host::RemoteSigner;
use sectag_modem::{SignerError, TagSigner};
use sectag_proto::es256::PublicKey;
use sectag_proto::{CredentialType, SecTag};
use std::sync::Arc;

/// The board, and what holds its parts for as long as it runs.
pub(super) struct Tools {
    pub(super) board: Board,
    _state: Option<DeviceState>,
}

impl Tools {
    pub(super) fn open(place: &Place, args: &Sample, chosen: &Chosen) -> Outcome<Self> {
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
            None if tls => from_afar(place, args, chosen)?,
            None => Arc::new(NoTags),
        };
        look_under_tags(chosen, &*signer, &mut AtStore::new(&mut *opened.modem))?;
        Ok(Self {
            board: Board::modem(opened.modem, signer),
            _state: opened.state,
        })
    }
}

/// Over AT lines everything can be read but a private key. A tag with only a CA needs none; where a client certificate is,
/// the modem must lend signatures, which a real one cannot.
fn from_afar(place: &Place, args: &Sample, chosen: &Chosen) -> Outcome<Arc<dyn TagSigner>> {
    let options = &chosen.options;
    let Security::Tls(tls) = &options.security else {
        return Ok(Arc::new(NoTags));
    };
    // The port is open in this process already, and shared.
    let modem = modem_choice::open(place, &args.modem, &args.which)?.modem;
    let signer = ReadsOnly(RemoteSigner::new(modem));
    let brings_one = options.folder.as_ref().is_some_and(|folder| {
        folder
            .read()
            .is_ok_and(|credentials| credentials.private_keys().next().is_some())
    });
    let has_one = |tag: &SecTag| signer.certificate_chain(*tag).is_ok();
    if brings_one || tls.tags.iter().any(has_one) {
        return modem_choice::signer(place, &args.modem, &args.which);
    }
    Ok(Arc::new(signer))
}

/// A modem whose keys nobody can ask for: what has no certificate has no key for us.
#[derive(Debug)]
struct ReadsOnly(RemoteSigner);

impl TagSigner for ReadsOnly {
    fn sign(&self, tag: SecTag, message: &[u8]) -> Result<[u8; 64], SignerError> {
        self.0.sign(tag, message)
    }

    fn public_key(&self, tag: SecTag) -> Result<PublicKey, SignerError> {
        match self.0.certificate_chain(tag) {
            Err(SignerError::Missing { .. }) => Err(SignerError::Missing {
                tag,
                credential: CredentialType::CLIENT_PRIVATE_KEY,
            }),
            _ => self.0.public_key(tag),
        }
    }

    fn certificate_chain(&self, tag: SecTag) -> Result<String, SignerError> {
        self.0.certificate_chain(tag)
    }

    fn root_ca(&self, tag: SecTag) -> Result<String, SignerError> {
        self.0.root_ca(tag)
    }
}

/// Plain MQTT asks nobody for a signature.
#[derive(Debug)]
struct NoTags;

impl TagSigner for NoTags {
    fn sign(&self, tag: SecTag, _message: &[u8]) -> Result<[u8; 64], SignerError> {
        Err(SignerError::UnusableKey { tag })
    }

    fn public_key(&self, tag: SecTag) -> Result<PublicKey, SignerError> {
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
