//! Files of any content are taken apart without a panic.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sectag_pki::material::material;
use sectag_pki::{Authority, pem};

const NOW_S: u64 = 1_750_000_000;

/// Something like a file of certificates: good sections, cut ones, turned bits, text.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let root = Authority::root("Root", NOW_S).unwrap();
    let list = root.crl(&[("0a", NOW_S)], NOW_S, NOW_S + 60).unwrap();
    let pieces = vec![
        root.certificate_pem(),
        root.key().to_pem().to_string(),
        pem::encode("X509 CRL", &list),
        "-----BEGIN ".to_owned(),
        "-----END CERTIFICATE-----\n".to_owned(),
        "-----BEGIN CERTIFICATE-----".to_owned(),
        "Proc-Type: 4,ENCRYPTED\n".to_owned(),
        "\u{feff}text\r\n".to_owned(),
    ];
    let whole = proptest::collection::vec(proptest::sample::select(pieces), 0..6);
    let spoil = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (whole, spoil).prop_map(|(pieces, spoil)| {
        let mut bytes = pieces.concat().into_bytes();
        for (at, byte) in spoil {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_file_is_taken_apart(bytes in file()) {
        let found = material(&bytes);
        for key in &found.keys {
            for held in &found.certificates {
                prop_assert!(key.belongs_to(&held.der).is_ok());
            }
        }
        prop_assert!(found.keys.iter().all(|key| !key.is_encrypted || key.public.is_none()));
    }

    #[test]
    fn any_bytes_are_taken_apart(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = material(&bytes);
    }
}
