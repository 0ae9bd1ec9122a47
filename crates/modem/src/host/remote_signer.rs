//! Borrowed signatures from a modem that is reached by AT lines: a virtual one on a pty or a TCP port.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sectag_proto::at::{Answer, Verdict};
use sectag_proto::es256::PublicKey;
use sectag_proto::{CredentialType, SecTag};
use sha2::{Digest, Sha256};

use crate::{Modem, SignerError, TagSigner};

/// A [`TagSigner`] over any modem that knows `AT#SECTAGSIGN`.
///
/// A real modem does not: its AT surface has no raw signature. [`SignerError::NoRemoteSigning`] says so, and what works.
pub struct RemoteSigner {
    modem: Mutex<Box<dyn Modem + Send>>,
}

impl RemoteSigner {
    /// Asks nothing yet.
    pub fn new(modem: Box<dyn Modem + Send>) -> Self {
        Self {
            modem: Mutex::new(modem),
        }
    }

    /// The modem, alone for as long as the guard lives.
    pub fn lock(&self) -> MutexGuard<'_, Box<dyn Modem + Send>> {
        self.modem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a line with numeric errors, whatever the modem was set to, and puts that setting back.
    fn ask(&self, tag: SecTag, line: &str) -> Result<Answer, SignerError> {
        let mut modem = self.lock();
        let mut say = |line: &str| {
            let text = modem.line(line).map_err(|error| SignerError::Unreachable {
                tag,
                reason: chain(&error),
            })?;
            Answer::parse(&text).map_err(|error| SignerError::Unreachable {
                tag,
                reason: error.to_string(),
            })
        };
        let before = say("AT+CMEE?")?.info("+CMEE:").map(str::to_owned);
        say("AT+CMEE=1")?;
        let answer = say(line);
        if let Some(before) = before.filter(|before| before != "1") {
            say(&format!("AT+CMEE={before}"))?;
        }
        answer
    }

    fn lent(&self, tag: SecTag, line: &str) -> Result<Vec<u8>, SignerError> {
        let answer = self.ask(tag, line)?;
        match answer.verdict {
            Verdict::Ok => answer
                .info_text("#SECTAGSIGN:")
                .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
                .ok_or_else(|| unreadable(tag)),
            Verdict::Cme(Some(513)) => Err(SignerError::Missing {
                tag,
                credential: CredentialType::CLIENT_PRIVATE_KEY,
            }),
            Verdict::Cme(Some(514)) => Err(SignerError::UnusableKey { tag }),
            _ => Err(SignerError::NoRemoteSigning { tag }),
        }
    }

    fn pem(&self, tag: SecTag, credential: CredentialType) -> Result<String, SignerError> {
        let answer = self.ask(tag, &format!("AT%CMNG=2,{tag},{}", credential.0))?;
        match answer.verdict {
            Verdict::Ok => {}
            Verdict::Cme(Some(513)) => return Err(SignerError::Missing { tag, credential }),
            other => {
                return Err(SignerError::Unreachable {
                    tag,
                    reason: format!("reading the {credential} answered `{other}`"),
                });
            }
        }
        // tag,type,"digest","content"
        answer
            .info("%CMNG:")
            .and_then(|info| info.split('"').nth(3))
            .map(str::to_owned)
            .ok_or_else(|| unreadable(tag))
    }
}

impl TagSigner for RemoteSigner {
    fn sign(&self, tag: SecTag, message: &[u8]) -> Result<[u8; 64], SignerError> {
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(message));
        let bytes = self.lent(tag, &format!("AT#SECTAGSIGN={tag},\"{digest}\""))?;
        bytes.try_into().map_err(|_| unreadable(tag))
    }

    fn public_key(&self, tag: SecTag) -> Result<PublicKey, SignerError> {
        let bytes = self.lent(tag, &format!("AT#SECTAGSIGN={tag}"))?;
        PublicKey::from_spki_der(&bytes).map_err(|_| unreadable(tag))
    }

    fn certificate_chain(&self, tag: SecTag) -> Result<String, SignerError> {
        self.pem(tag, CredentialType::CLIENT_CERTIFICATE)
    }

    fn root_ca(&self, tag: SecTag) -> Result<String, SignerError> {
        self.pem(tag, CredentialType::ROOT_CA)
    }
}

impl fmt::Debug for RemoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteSigner")
    }
}

fn unreadable(tag: SecTag) -> SignerError {
    SignerError::Unreachable {
        tag,
        reason: "the answer does not have the form of its command".to_owned(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
