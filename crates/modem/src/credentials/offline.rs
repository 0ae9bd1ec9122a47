//! Offline for as long as a change needs it, and back in every case.

use super::StoreError;
use super::ask::{ask, functional_mode};
use crate::Modem;

/// Flight mode: credentials can be changed.
const OFFLINE: u8 = 4;

/// What was done to the radio so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Radio {
    /// Nobody allowed to touch it: a change while LTE is active is refused by the modem (518).
    Untouched,
    /// It may be switched off for a change; no change has come yet.
    Allowed,
    /// Looked at: LTE was off anyway.
    WasOff,
    /// Switched off by us; this is the mode to go back to.
    SwitchedOff(u8),
}

impl Radio {
    /// Before a change: goes offline if that is allowed and needed.
    pub(super) fn before_change(&mut self, modem: &mut dyn Modem) -> Result<(), StoreError> {
        if *self == Self::Allowed {
            let mode = functional_mode(modem)?;
            *self = Self::WasOff;
            if lte_active(mode) {
                // Noted before it is sent: a line without an answer may have been executed.
                *self = Self::SwitchedOff(mode);
                ask(modem, &format!("AT+CFUN={OFFLINE}"))?;
            }
        }
        Ok(())
    }

    /// Goes back to the mode before; does nothing when nothing was switched.
    pub(super) fn restore(&mut self, modem: &mut dyn Modem) -> Result<(), StoreError> {
        let Self::SwitchedOff(mode) = std::mem::replace(self, Self::Untouched) else {
            return Ok(());
        };
        ask(modem, &format!("AT+CFUN={mode}"))
            .map(|_| ())
            .map_err(|source| StoreError::NotRestored {
                mode,
                source: Box::new(source),
            })
    }
}

/// Modes in which credentials must not change (spec/modem-at §2).
const fn lte_active(mode: u8) -> bool {
    matches!(mode, 1 | 2 | 21)
}
