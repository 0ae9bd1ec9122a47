//! The rules of spec/modem-at, a sentence each.

#![allow(clippy::unwrap_used)]

mod attestation;
mod credentials;
mod framing;
mod identity;
mod jwt;
mod keygen;
mod radio;
mod signer;

use sectag_pki::csr;
use sectag_proto::at::{Answer, Verdict};
use sectag_proto::cose::Convention;
use sectag_proto::es256::{P256, PublicKey};
use sectag_proto::jwt::UnverifiedJwt;
use sectag_proto::token::{AttestationToken, KeygenBody, KeygenOutput};
use sectag_proto::{SecTag, Timestamp, Uptime};
use std::time::Duration;

use crate::{
    Fault, FaultAnswer, Identity, Modem, Options, SharedModem, SignerError, TagSigner,
    VirtualModem, seeded,
};

const CA: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n";
const OK: &str = "OK\r\n";

/// A modem with numeric errors on, offline.
fn modem() -> VirtualModem {
    modem_with(Options::default())
}

fn modem_with(options: Options) -> VirtualModem {
    let mut modem = VirtualModem::new(Identity::from_seed(1), options, seeded(2));
    assert_eq!(modem.line("AT+CMEE=1"), OK);
    modem
}

#[track_caller]
fn cme(modem: &mut VirtualModem, line: &str, number: u32) {
    assert_eq!(
        modem.line(line),
        format!("+CME ERROR: {number}\r\n"),
        "{line}"
    );
}

#[track_caller]
fn ok(modem: &mut VirtualModem, line: &str) -> Answer {
    let answer = Answer::parse(&modem.line(line)).unwrap();
    assert_eq!(answer.verdict, Verdict::Ok, "{line}");
    answer
}

fn write(tag: u32, kind: u8, content: &str) -> String {
    format!("AT%CMNG=0,{tag},{kind},\"{content}\"")
}

fn identity_key(modem: &VirtualModem) -> PublicKey {
    modem.identity().public_key()
}
