//! The correlation ids of wire commands: which command, which number of it, which step.
//!
//! They are `<command uuid>.<sequence, hexadecimal>` for the command itself, and the same with `.s` behind it for the
//! delete that prepares it. A pre-shared key needs three steps in front of its last write; they are `.s`, `.t` and `.u`,
//! so that a sequence of six hexadecimal digits and a step still make the 8 characters that a device keeps behind the
//! UUID.

use crate::{CommandId, CorrelationId};
use alloc::format;

/// First number that has no room in a correlation id: 36 characters of UUID, a dot, six digits, a dot and a step make
/// the 45 that a device keeps.
pub const SEQUENCE_END: u32 = 1 << 24;

/// A correlation id taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) id: CommandId,
    pub(super) sequence: u32,
    /// `None`: the command itself; otherwise a step in front of it (`s`, `t`, `u`).
    pub(super) step: Option<char>,
}

impl Named {
    /// Reads the forms that [`Named::text`] writes; `None` for everything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (uuid, rest) = text.split_once('.')?;
        let (digits, step) = match rest.split_once('.') {
            Some((digits, step)) => {
                let mut letters = step.chars();
                let letter = letters.next().filter(|c| matches!(c, 's' | 't' | 'u'))?;
                if letters.next().is_some() {
                    return None;
                }
                (digits, Some(letter))
            }
            None => (rest, None),
        };
        let canonical = !digits.is_empty()
            && digits.len() <= 6
            && digits
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            && (digits == "0" || !digits.starts_with('0'));
        if !canonical {
            return None;
        }
        Some(Self {
            id: uuid.parse().ok()?,
            sequence: u32::from_str_radix(digits, 16).ok()?,
            step,
        })
    }

    /// The id that a device sends back.
    pub(super) fn text(&self) -> CorrelationId {
        let mut text = format!("{}.{:x}", self.id, self.sequence);
        if let Some(step) = self.step {
            text.push('.');
            text.push(step);
        }
        CorrelationId::new(&text)
            .expect("36 + 1 + at most 6 + 2 characters of [0-9a-f.-stu]: sequences end at 2^24")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "0b8f2f1e-7c55-4a55-9d3e-2f6f0a4d7c11";

    #[test]
    fn texts_that_we_never_write_name_nothing() {
        for text in ["", "abc", UUID, "0b8f2f1e-7c55-4a55-9d3e-2f6f0a4d7c11."] {
            assert_eq!(Named::parse(text), None, "{text}");
        }
        for rest in [
            "0e", "E", "1.x", "1.ss", "1.", "01234567", "g", "1.s.s", "+1",
        ] {
            assert_eq!(Named::parse(&format!("{UUID}.{rest}")), None, "{rest}");
        }
    }
}
