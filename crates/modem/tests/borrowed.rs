//! A host borrows signatures over a line: AT host, shell, TCP; and is told when the modem lends none.

#![allow(clippy::unwrap_used)]

use sectag_modem::host::{Hosts, Mode, RemoteSigner, ShellOptions, Terminator};
use sectag_modem::serial::{SerialModem, SerialOptions};
use sectag_modem::{
    Identity, Modem, Options, SharedModem, SignerError, TagSigner, VirtualModem, seeded,
};
use sectag_proto::SecTag;
use sectag_proto::es256::{P256, Signature, VerifyEs256};

const PEM: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n";

fn modem(lends: bool) -> SharedModem {
    let options = Options {
        remote_signing: lends,
        boot_mode: 4,
        ..Options::default()
    };
    let mut modem = VirtualModem::new(Identity::from_seed(1), options, seeded(2));
    assert!(modem.line("AT%KEYGEN=42,2,1").ends_with("OK\r\n"));
    assert_eq!(modem.line(&format!("AT%CMNG=0,42,0,\"{PEM}\"")), "OK\r\n");
    SharedModem::new(modem)
}

fn signer(hosts: &mut Hosts, over_tcp: bool) -> RemoteSigner {
    let port = if over_tcp {
        let address = hosts.tcp("127.0.0.1:0".parse().unwrap(), false).unwrap();
        format!("tcp:{address}")
    } else {
        hosts
            .pty(None)
            .unwrap()
            .into_os_string()
            .into_string()
            .unwrap()
    };
    let modem = SerialModem::open(&port, SerialOptions::default()).unwrap();
    RemoteSigner::new(Box::new(modem))
}

#[test]
fn signatures_travel_over_every_line() {
    let tag = SecTag::new(42).unwrap();
    for mode in [
        Mode::At(Terminator::Cr),
        Mode::At(Terminator::CrLf),
        Mode::Shell(ShellOptions::default()),
    ] {
        for over_tcp in [false, true] {
            let modem = modem(true);
            let mut hosts = Hosts::new(modem.clone(), mode.clone());
            let signer = signer(&mut hosts, over_tcp);
            let key = signer.public_key(tag).unwrap();
            assert_eq!(key, TagSigner::public_key(&modem, tag).unwrap());
            for message in [&b"short"[..], &[0; 10_000]] {
                let signature = Signature(signer.sign(tag, message).unwrap());
                assert!(P256.verify(&key, message, &signature), "{mode:?}");
            }
            assert_eq!(signer.root_ca(tag).unwrap(), PEM, "{mode:?}");
            assert!(matches!(
                signer.certificate_chain(tag),
                Err(SignerError::Missing { .. })
            ));
        }
    }
}

#[test]
fn a_modem_that_lends_none_says_so_over_every_line() {
    let tag = SecTag::new(42).unwrap();
    for mode in [
        Mode::At(Terminator::Cr),
        Mode::Shell(ShellOptions::default()),
    ] {
        let mut hosts = Hosts::new(modem(false), mode);
        let signer = signer(&mut hosts, false);
        assert_eq!(
            signer.sign(tag, b"x"),
            Err(SignerError::NoRemoteSigning { tag })
        );
        assert!(signer.lock().line("AT").is_ok(), "the line still works");
    }
}

#[test]
fn a_line_that_is_gone_is_an_error_with_its_reason() {
    let tag = SecTag::new(42).unwrap();
    let mut hosts = Hosts::new(modem(true), Mode::At(Terminator::Cr));
    let signer = signer(&mut hosts, true);
    assert!(signer.sign(tag, b"x").is_ok());
    hosts.shutdown().now();
    drop(hosts);
    let error = signer.sign(tag, b"x").unwrap_err();
    assert!(matches!(&error, SignerError::Unreachable { .. }), "{error}");
}
