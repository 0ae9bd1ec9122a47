//! A day of sessions, tokens that run out, and a store that is full.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::FirmwareId;
use crate::es256::{P256, PublicKey, SignEs256, Signature};
use crate::jwt::{self, Claims};
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer;
use p256::pkcs8::EncodePublicKey;
use proptest::prelude::*;

const HOUR: Duration = Duration::from_secs(3600);
const START: Timestamp = Timestamp::from_secs(1_700_000_000);

struct Key(SigningKey);

impl SignEs256 for Key {
    fn sign(&self, message: &[u8]) -> Signature {
        let signature: p256::ecdsa::Signature = self.0.sign(message);
        Signature(signature.to_bytes().into())
    }

    fn public_key(&self) -> PublicKey {
        let der = self.0.verifying_key().to_public_key_der().unwrap();
        PublicKey::from_spki_der(der.as_bytes()).unwrap()
    }
}

fn key(number: u8) -> Key {
    Key(SigningKey::from_slice(&[number + 1; 32]).unwrap())
}

/// A token of device `number`, made at `issued` for 300 s.
fn token(number: u8, nonce: u8, issued: Timestamp) -> UnverifiedJwt {
    let text = jwt::sign(
        &Claims {
            chip: "nRF9161",
            device: DeviceId::from_bytes([number; 16]),
            firmware: FirmwareId::from_bytes([7; 16]),
            nonce: [nonce; 16],
            validity: Some((issued, Duration::from_secs(300))),
            subject: "",
            audience: "",
        },
        &key(number),
    );
    UnverifiedJwt::parse(&text).unwrap()
}

fn verified(number: u8, token: &UnverifiedJwt, now: Timestamp) -> Verified<DeviceId> {
    token.verify(&key(number).public_key(), now, &P256).unwrap()
}

fn grants() -> Grants {
    Grants::new(GrantLimits::default())
}

/// Authenticates as a service does.
fn authenticate(
    grants: &mut Grants,
    session: u64,
    number: u8,
    token: &UnverifiedJwt,
    now: Timestamp,
) -> Option<Granted> {
    match token.verify(&key(number).public_key(), now, &P256) {
        Ok(device) => Some(grants.grant(session, token, device, HOUR, now)),
        Err(jwt::JwtError::Expired { .. }) => grants.readmit(session, token, now),
        Err(_) => None,
    }
}

#[test]
fn a_grant_lasts_until_max_age_and_belongs_to_its_session() {
    let mut grants = grants();
    let token = token(1, 0, START);
    let granted = authenticate(&mut grants, 7, 1, &token, START).unwrap();
    assert_eq!(granted.max_age_s(START), 3600);
    assert!(granted.opens_fetch());
    assert_eq!(granted.device, verified(1, &token, START));
    assert_eq!(grants.lookup(7, START), Some(granted));
    assert_eq!(grants.lookup(8, START), None);
    let end = START.plus(HOUR);
    assert!(grants.lookup(7, Timestamp(end.0 - 1)).is_some());
    assert_eq!(grants.lookup(7, end), None);
    grants.forget(7);
    assert_eq!(grants.lookup(7, START), None);
}

#[test]
fn the_last_authentication_of_a_session_counts() {
    let mut grants = grants();
    for number in [1, 2] {
        authenticate(&mut grants, 7, number, &token(number, 0, START), START).unwrap();
    }
    let device = grants.lookup(7, START).unwrap().device.get();
    assert_eq!(device, DeviceId::from_bytes([2; 16]));
    assert_eq!(grants.sessions(), 1);
}

/// exp is at 300 s, the skew ends at 600 s, the grace at 780 s.
#[test]
fn an_expired_token_that_was_accepted_opens_the_report_only() {
    let mut grants = grants();
    let token = token(1, 0, START);
    authenticate(&mut grants, 7, 1, &token, START).unwrap();
    let at = |seconds| START.plus(Duration::from_secs(seconds));
    let in_time = authenticate(&mut grants, 8, 1, &token, at(600)).unwrap();
    assert!(in_time.opens_fetch(), "within the skew it is a token");
    let late = authenticate(&mut grants, 9, 1, &token, at(601)).unwrap();
    assert!(!late.opens_fetch());
    assert_eq!(late.max_age_s(at(601)), 179);
    assert_eq!(grants.lookup(9, at(779)), Some(late));
    assert_eq!(grants.lookup(9, at(780)), None);
    assert!(authenticate(&mut grants, 10, 1, &token, at(779)).is_some());
    assert_eq!(authenticate(&mut grants, 11, 1, &token, at(780)), None);
}

#[test]
fn other_bytes_have_no_grace() {
    let mut grants = grants();
    authenticate(&mut grants, 7, 1, &token(1, 0, START), START).unwrap();
    let late = START.plus(Duration::from_secs(650));
    for stranger in [
        token(1, 1, START),
        token(2, 0, START),
        token(1, 0, START.plus(Duration::from_secs(1))),
    ] {
        assert_eq!(grants.readmit(8, &stranger, late), None);
    }
    assert_eq!(grants.lookup(8, late), None);
}

#[test]
fn a_session_with_a_grant_keeps_it_when_its_token_has_expired() {
    let mut grants = grants();
    let first = token(1, 0, START);
    let granted = authenticate(&mut grants, 7, 1, &first, START).unwrap();
    let late = START.plus(Duration::from_secs(700));
    assert_eq!(
        authenticate(&mut grants, 7, 1, &first, late),
        Some(granted),
        "as it was, neither longer nor narrower"
    );
    // Of another device: that one's report, and nothing else.
    let second = token(2, 0, START);
    authenticate(&mut grants, 8, 2, &second, START).unwrap();
    let other = authenticate(&mut grants, 7, 2, &second, late).unwrap();
    assert!(!other.opens_fetch());
    assert_eq!(other.device.get(), DeviceId::from_bytes([2; 16]));
}

#[test]
fn a_restart_keeps_grant_and_grace() {
    let mut before = grants();
    let token = token(1, 0, START);
    let granted = authenticate(&mut before, 7, 1, &token, START).unwrap();
    let bytes = before.to_bytes(7, START).unwrap();
    assert_eq!(before.to_bytes(8, START), None);
    let mut after = grants();
    assert_eq!(after.from_bytes(3, &bytes, START), Some(granted));
    assert_eq!(after.lookup(3, START), Some(granted));
    assert_eq!(after.lookup(7, START), None);
    let late = START.plus(Duration::from_secs(650));
    let report = after.readmit(4, &token, late).unwrap();
    assert!(!report.opens_fetch());
    let report_only = after.to_bytes(4, late).unwrap();
    assert_eq!(grants().from_bytes(1, &report_only, late), Some(report));
    assert_eq!(
        grants().from_bytes(1, &bytes, START.plus(HOUR)),
        None,
        "expired meanwhile"
    );
}

#[test]
fn damaged_bytes_grant_nothing() {
    let mut before = grants();
    authenticate(&mut before, 7, 1, &token(1, 0, START), START).unwrap();
    let good = before.to_bytes(7, START).unwrap();
    let mut grants = grants();
    for end in 0..good.len() {
        assert_eq!(grants.from_bytes(1, &good[..end], START), None);
    }
    let longer: Vec<u8> = good.iter().copied().chain([0]).collect();
    assert_eq!(grants.from_bytes(1, &longer, START), None);
    for (place, value) in [(0, 2), (1, 2)] {
        let mut bytes = good.clone();
        bytes[place] = value;
        assert_eq!(grants.from_bytes(1, &bytes, START), None);
    }
    assert_eq!(grants.sessions(), 0);
}

#[test]
fn a_full_store_lets_those_go_that_end_first() {
    let mut grants = Grants::new(GrantLimits {
        sessions_max: 3,
        tokens_max: 2,
    });
    for number in 0..5_u8 {
        let now = START.plus(Duration::from_secs(number.into()));
        let token = token(number, 0, now);
        authenticate(&mut grants, number.into(), number, &token, now).unwrap();
    }
    let now = START.plus(Duration::from_secs(5));
    assert_eq!((grants.sessions(), grants.tokens()), (3, 2));
    let alive = [0, 1, 2, 3, 4].map(|session| grants.lookup(session, now).is_some());
    assert_eq!(alive, [false, false, true, true, true]);
    let late = START.plus(Duration::from_secs(650));
    let readmitted = [2_u8, 3, 4].map(|number| {
        let issued = START.plus(Duration::from_secs(number.into()));
        let session = 100 + u64::from(number);
        grants
            .readmit(session, &token(number, 0, issued), late)
            .is_some()
    });
    assert_eq!(readmitted, [false, true, true]);
}

#[test]
fn nothing_is_kept_for_those_who_are_gone() {
    let mut grants = grants();
    for number in 0..10 {
        authenticate(
            &mut grants,
            number.into(),
            number,
            &token(number, 0, START),
            START,
        )
        .unwrap();
    }
    let later = START.plus(Duration::from_secs(781));
    authenticate(&mut grants, 99, 42, &token(42, 0, later), later).unwrap();
    assert_eq!(grants.tokens(), 1);
}

#[test]
fn no_token_is_printed() {
    let mut grants = grants();
    let token = token(1, 0, START);
    authenticate(&mut grants, 7, 1, &token, START).unwrap();
    let printed = alloc::format!("{grants:?}");
    assert!(!printed.contains("eyJ"), "{printed}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 32, ..ProptestConfig::default() })]

    /// Against a model: nobody gets more than one of its own tokens, accepted once, explains; and sizes stay in bounds.
    #[test]
    fn what_is_open_was_opened(
        steps in proptest::collection::vec((0_u8..6, 0_u64..6, 0_u8..3, 0_u64..400), 1..40),
    ) {
        let limits = GrantLimits { sessions_max: 4, tokens_max: 4 };
        let mut grants = Grants::new(limits);
        let tokens: Vec<_> = (0..3).map(|number| token(number, 0, START)).collect();
        let mut accepted = [false; 3];
        let mut now = START;
        for (what, session, number, later) in steps {
            now = now.plus(Duration::from_secs(later));
            let token = &tokens[usize::from(number)];
            match what {
                0..3 => {
                    let in_skew = now <= token.expires_at().plus(SKEW_MAX);
                    let granted = authenticate(&mut grants, session, number, token, now);
                    accepted[usize::from(number)] |= in_skew;
                    match granted {
                        Some(granted) => {
                            prop_assert!(accepted[usize::from(number)]);
                            prop_assert_eq!(granted.device.get(), DeviceId::from_bytes([number; 16]));
                            prop_assert!(now < token.expires_at().plus(SKEW_MAX).plus(GRACE) || in_skew);
                        }
                        None => prop_assert!(!in_skew),
                    }
                }
                3 => grants.forget(session),
                4 => if let Some(bytes) = grants.to_bytes(session, now) {
                    let mut other = Grants::new(limits);
                    prop_assert_eq!(other.from_bytes(9, &bytes, now), grants.lookup(session, now));
                },
                _ => if let Some(granted) = grants.lookup(session, now) {
                    prop_assert!(now < granted.until);
                    prop_assert!(granted.until <= now.plus(HOUR));
                },
            }
            prop_assert!(grants.sessions() <= 4 && grants.tokens() <= 4);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), now in any::<u64>()) {
        let mut grants = grants();
        let granted = grants.from_bytes(1, &bytes, Timestamp(now));
        prop_assert_eq!(granted.is_some(), grants.sessions() == 1);
    }
}
