//! Who may claim what: the decision, over what is known. Each backend loads, asks, and writes the answer.

use crate::record::{ClaimOutcome, Device, KnownKey, NewClaim, Tombstone};
use sectag_proto::es256::{Kid, PublicKey};
use sectag_proto::token::Candidate;

/// What to write, if anything.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Write nothing.
    Answer(ClaimOutcome),
    /// Insert the device, delete the tombstone. `new_key`: other keys were known, and the owner accepted these.
    Create { device: Device, new_key: bool },
    /// Replace the device; its owner accepted new keys.
    Rekey { device: Device },
}

/// Decides a claim.
pub(crate) fn decide(
    claim: NewClaim,
    live: Option<Device>,
    tombstone: Option<Tombstone>,
) -> Decision {
    if let Some(device) = live {
        if !claim.view.shows(&device) {
            return Decision::Answer(ClaimOutcome::OwnedByOther(device));
        }
        if !common(device.pin.as_ref(), &device.candidates, &claim.candidates).is_empty() {
            return Decision::Answer(ClaimOutcome::Existing(device));
        }
        if !claim.accept_new_key {
            return Decision::Answer(ClaimOutcome::KeyConflict(KnownKey {
                claimed: true,
                kids: kids(device.pin.as_ref(), &device.candidates),
            }));
        }
        return Decision::Rekey {
            device: Device {
                version: device.version + 1,
                candidates: claim.candidates,
                pin: None,
                device_type: claim.device_type,
                firmware: claim.firmware,
                ..device
            },
        };
    }
    let mut device = Device {
        id: claim.device,
        version: 1,
        candidates: claim.candidates,
        pin: None,
        device_type: claim.device_type,
        firmware: claim.firmware,
        owner: claim.view.team,
        tags: tidy(claim.tags),
        blocked: false,
        claimed_at: claim.claimed_at,
        last_seen_at: None,
        finished_at: None,
        next_sequence: 1,
        reserved: claim.reserved,
    };
    let mut new_key = false;
    if let Some(known) = tombstone {
        device.version = known.version + 1;
        let shown = common(known.pin.as_ref(), &known.candidates, &device.candidates);
        if !shown.is_empty() {
            device.candidates = shown;
            device.pin = known.pin;
        } else if claim.accept_new_key {
            new_key = true;
        } else {
            return Decision::Answer(ClaimOutcome::KeyConflict(KnownKey {
                claimed: false,
                kids: kids(known.pin.as_ref(), &known.candidates),
            }));
        }
    }
    Decision::Create { device, new_key }
}

/// The new candidates under which the device is known already.
fn common(pin: Option<&PublicKey>, known: &[Candidate], new: &[Candidate]) -> Vec<Candidate> {
    let knows = |key: &PublicKey| match pin {
        Some(pin) => pin == key,
        None => known.iter().any(|candidate| candidate.key == *key),
    };
    new.iter().filter(|c| knows(&c.key)).cloned().collect()
}

fn kids(pin: Option<&PublicKey>, candidates: &[Candidate]) -> Vec<Kid> {
    match pin {
        Some(pin) => vec![pin.kid()],
        None => candidates.iter().map(|candidate| candidate.kid).collect(),
    }
}

/// Tags in the order given, without empty ones and repetitions.
pub(crate) fn tidy(tags: Vec<String>) -> Vec<String> {
    let mut tidy: Vec<String> = Vec::with_capacity(tags.len());
    for tag in tags {
        if !tag.is_empty() && !tidy.contains(&tag) {
            tidy.push(tag);
        }
    }
    tidy
}
