//! `AT+CFUN`: which radios are on (spec/modem-at §2).

/// The functional mode, as what is on rather than as the last number: 20 and 31 change one radio and leave the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Functional {
    lte: Lte,
    gnss: bool,
    /// What reads back when both radios are off: 0, 4, 41 or 44.
    rest: u8,
    /// The number that was set last.
    last: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lte {
    Off,
    ReceiveOnly,
    On,
}

/// What a change of mode did to the LTE link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkChange {
    None,
    Up,
    Down,
}

impl Functional {
    pub(crate) const POWERED_OFF: Self = Self {
        lte: Lte::Off,
        gnss: false,
        rest: 0,
        last: 0,
    };

    /// The numbers `AT+CFUN=` takes.
    pub(crate) const NUMBERS: [u32; 11] = [0, 1, 2, 4, 20, 21, 30, 31, 40, 41, 44];

    /// Applies `AT+CFUN=<n>`; `None` for a number that is none of [`Functional::NUMBERS`].
    pub(crate) fn set(&mut self, n: u32) -> Option<LinkChange> {
        let before = self.lte;
        match n {
            0 => *self = Self::POWERED_OFF,
            1 => {
                self.lte = Lte::On;
                self.gnss = true;
                self.rest = 4;
            }
            2 => {
                self.lte = Lte::ReceiveOnly;
                self.rest = 4;
            }
            4 | 44 => {
                self.lte = Lte::Off;
                self.gnss = false;
                self.rest = if n == 4 { 4 } else { 44 };
            }
            20 => {
                self.lte = Lte::Off;
                self.rest = 4;
            }
            21 => {
                self.lte = Lte::On;
                self.rest = 4;
            }
            30 => self.gnss = false,
            31 => {
                self.gnss = true;
                self.rest = if self.rest == 0 { 4 } else { self.rest };
            }
            40 => self.rest = if self.rest == 0 { 0 } else { 4 },
            41 => self.rest = 41,
            _ => return None,
        }
        // None of the numbers is above 44.
        self.last = n as u8;
        Some(match (before, self.lte) {
            (Lte::On, Lte::Off | Lte::ReceiveOnly) => LinkChange::Down,
            (Lte::Off | Lte::ReceiveOnly, Lte::On) => LinkChange::Up,
            _ => LinkChange::None,
        })
    }

    /// What `AT+CFUN?` prints by the quirk `cfun-reads-back=literal`.
    pub(crate) const fn last(self) -> u8 {
        self.last
    }

    /// What `AT+CFUN?` prints.
    pub(crate) const fn number(self) -> u8 {
        match (self.lte, self.gnss) {
            (Lte::On, true) => 1,
            (Lte::On, false) => 21,
            (Lte::ReceiveOnly, _) => 2,
            (Lte::Off, true) => 31,
            (Lte::Off, false) => self.rest,
        }
    }

    /// In modes 1, 2 and 21 credentials must not change.
    pub(crate) const fn lte_active(self) -> bool {
        !matches!(self.lte, Lte::Off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(numbers: &[u32]) -> u8 {
        let mut mode = Functional::POWERED_OFF;
        for n in numbers {
            assert!(mode.set(*n).is_some(), "{n}");
        }
        mode.number()
    }

    #[test]
    fn plain_modes_read_back_as_set() {
        for n in [0, 1, 2, 4, 21, 31, 41, 44] {
            assert_eq!(u32::from(after(&[n])), n);
        }
    }

    #[test]
    fn switching_lte_off_reads_back_as_offline_or_as_gnss_only() {
        assert_eq!(after(&[21, 20]), 4);
        assert_eq!(after(&[1, 20]), 31);
    }

    #[test]
    fn switching_gnss_leaves_lte_alone() {
        assert_eq!(after(&[1, 30]), 21);
        assert_eq!(after(&[21, 31]), 1);
        assert_eq!(after(&[31, 30]), 4);
    }

    #[test]
    fn credentials_may_change_only_without_lte() {
        for n in Functional::NUMBERS {
            let mut mode = Functional::POWERED_OFF;
            mode.set(n);
            assert_eq!(mode.lte_active(), matches!(n, 1 | 2 | 21), "{n}");
        }
    }

    #[test]
    fn other_numbers_change_nothing() {
        let mut mode = Functional::POWERED_OFF;
        mode.set(1);
        for n in [3, 5, 22, 42, 45, 99, u32::MAX] {
            assert_eq!(mode.set(n), None);
            assert_eq!(mode.number(), 1);
        }
    }
}
