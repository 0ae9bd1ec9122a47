//! A device made from `proto` and a key: what a modem would answer, and what a liar would.

use sectag_pki::{PrivateKey, csr};
use sectag_proto::cose::Convention;
use sectag_proto::es256::{PublicKey, SignEs256, Signature};
use sectag_proto::jwt::{self, Claims};
use sectag_proto::token::{AttestationToken, DeviceType, KeygenBody, KeygenOutput};
use sectag_proto::wire::{self, Action, DecodeLimits, WireCommand, WireResponse, WireResult};
use sectag_proto::{DeviceId, FirmwareId, Timestamp};
use std::collections::HashMap;
use std::time::Duration;

pub struct Key(pub PrivateKey);

impl Key {
    pub fn new() -> Self {
        Self(PrivateKey::generate().unwrap())
    }
}

impl SignEs256 for Key {
    fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).unwrap())
    }

    fn public_key(&self) -> PublicKey {
        PublicKey::from_spki_der(&self.0.spki_der()).unwrap()
    }
}

pub struct FakeDevice {
    pub id: DeviceId,
    pub identity: Key,
    pub convention: Convention,
    /// What is stored: (tag, type) → content.
    pub stored: HashMap<(u32, u8), String>,
    /// Keys made by `%KEYGEN`: tag → PEM.
    pub keys: HashMap<u32, String>,
}

pub const FIRMWARE: FirmwareId = FirmwareId::from_bytes([7; 16]);

impl FakeDevice {
    pub fn new(n: u8) -> Self {
        Self {
            id: DeviceId::from_bytes([n; 16]),
            identity: Key::new(),
            convention: Convention::BodyIsAad,
            stored: HashMap::new(),
            keys: HashMap::new(),
        }
    }

    pub fn claim_token(&self) -> String {
        AttestationToken::sign(
            self.id,
            DeviceType::NRF9151_LACA,
            FIRMWARE,
            [9; 16],
            self.convention,
            &self.identity,
        )
        .text()
    }

    pub fn jwt(&self, now: Timestamp) -> String {
        self.jwt_with(&self.identity, Some((now, Duration::from_secs(300))))
    }

    pub fn jwt_with(&self, key: &dyn SignEs256, validity: Option<(Timestamp, Duration)>) -> String {
        jwt::sign(
            &Claims {
                chip: "nRF9151",
                device: self.id,
                firmware: FIRMWARE,
                nonce: [1; 16],
                validity,
                subject: "",
                audience: "",
            },
            key,
        )
    }

    /// An honest KEYGEN answer: a new key at `tag`, its CSR, attested by the identity key.
    pub fn csr_output(&self, tag: u32, subject: &str, key: &Key) -> KeygenOutput {
        self.attested(self.id, tag, csr_of(subject, key), &self.identity)
    }

    pub fn attested(
        &self,
        device: DeviceId,
        tag: u32,
        body: Vec<u8>,
        signer: &dyn SignEs256,
    ) -> KeygenOutput {
        let nonce = {
            let mut nonce = [0; 16];
            getrandom::fill(&mut nonce).unwrap();
            nonce
        };
        KeygenOutput::sign(
            KeygenBody::Csr,
            device,
            tag,
            nonce,
            body,
            self.convention,
            signer,
        )
    }

    pub fn decode(batch: &[u8]) -> Vec<WireCommand> {
        let limits = DecodeLimits {
            records_max: 10,
            config_pairs_max: 10,
            bytes_max: 4096,
        };
        wire::decode_commands(batch, limits).unwrap()
    }

    /// Runs a batch. Gives `after`, the report, and whether `finished` was in it.
    pub fn run(&mut self, batch: &[u8]) -> (String, Vec<u8>, bool) {
        let commands = Self::decode(batch);
        let mut responses = Vec::new();
        let mut finished = None;
        for command in &commands {
            let result = match &command.action {
                Action::At {
                    set_command,
                    parameters,
                    ..
                } => WireResult::AtDone {
                    message: self.at(set_command, parameters),
                },
                Action::Config(_) => WireResult::ConfigStored,
                Action::Finished => {
                    finished = Some(command.correlation.clone());
                    continue;
                }
            };
            responses.push(WireResponse {
                correlation: command.correlation.clone(),
                result,
            });
        }
        let done = finished.is_some();
        if let Some(correlation) = finished {
            responses.push(WireResponse {
                correlation,
                result: WireResult::Finished,
            });
        }
        let after = commands.last().unwrap().correlation.to_string();
        (after, wire::encode_responses(&responses), done)
    }

    fn at(&mut self, name: &str, parameters: &str) -> String {
        let mut fields = parameters.splitn(4, ',');
        match name {
            "%KEYGEN" => {
                let tag: u32 = fields.next().unwrap().parse().unwrap();
                let key = Key::new();
                self.keys.insert(tag, key.0.to_pem().to_string());
                let subject = parameters
                    .split('"')
                    .nth(1)
                    .filter(|text| !text.is_empty())
                    .map_or_else(|| format!("CN={}", self.id), str::to_owned);
                keygen_answer(&self.csr_output(tag, &subject, &key))
            }
            "%CMNG" => {
                let operation = fields.next().unwrap();
                let tag: u32 = fields.next().unwrap().parse().unwrap();
                let kind: u8 = fields.next().unwrap().parse().unwrap();
                if operation == "0" {
                    let content = fields.next().unwrap().trim_matches('"').to_owned();
                    self.stored.insert((tag, kind), content);
                }
                "OK\r\n".to_owned()
            }
            _ => "OK\r\n".to_owned(),
        }
    }
}

pub fn keygen_answer(output: &KeygenOutput) -> String {
    format!("%KEYGEN: \"{}\"\r\nOK\r\n", output.text())
}

pub fn csr_of(subject: &str, key: &Key) -> Vec<u8> {
    let attributes = csr::attributes(subject).unwrap();
    let request = csr::Request {
        attributes: &attributes,
        key_usage_bits: "111010000",
        null_parameters: true,
    };
    csr::build::<csr::CsrError>(&request, &key.0.spki_der(), |bytes| {
        Ok(key.0.sign(bytes).unwrap())
    })
    .unwrap()
}

/// `%KEYGEN` of the batch.
pub fn keygen_correlation(batch: &[u8]) -> sectag_proto::CorrelationId {
    FakeDevice::decode(batch)
        .into_iter()
        .find(|c| matches!(&c.action, Action::At { set_command, .. } if set_command == "%KEYGEN"))
        .unwrap()
        .correlation
}
