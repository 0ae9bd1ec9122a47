//! What lies under the security tags (spec/modem-at §4).

use std::collections::BTreeMap;
use std::fmt;

use sectag_proto::CredentialType;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::Cme;

/// Longest content of one entry, in bytes: what the modem takes of a certificate chain.
pub const CONTENT_BYTES_MAX: usize = 4096;

/// What all entries together may take; beyond: 515.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Bytes of content.
    pub(crate) bytes: usize,
    /// Entries.
    pub(crate) entries: usize,
}

impl Room {
    /// For what is stored already.
    pub(crate) const ENDLESS: Self = Self {
        bytes: usize::MAX,
        entries: usize::MAX,
    };
}

/// Largest tag that can be written: the users' tags, then the twenty development tags.
pub(crate) const TAG_MAX: u32 = 2_147_483_667;

type Slot = (u32, CredentialType);

/// All entries, ordered by tag, then type: the order of a list.
#[derive(Clone, Default)]
pub(crate) struct Storage {
    entries: BTreeMap<Slot, Zeroizing<String>>,
}

impl Storage {
    /// Overwrites an entry.
    pub(crate) fn write(&mut self, slot: Slot, content: &str, room: Room) -> Result<(), Cme> {
        let replaced = self.entries.get(&slot);
        let others = self.bytes() - replaced.map_or(0, |old| old.len());
        let full = replaced.is_none() && self.entries.len() >= room.entries;
        if full || others + content.len() > room.bytes {
            return Err(Cme::STORAGE_FULL);
        }
        self.entries
            .insert(slot, Zeroizing::new(content.to_owned()));
        Ok(())
    }

    /// `false` when there was none.
    pub(crate) fn delete(&mut self, slot: Slot) -> bool {
        self.entries.remove(&slot).is_some()
    }

    /// Content as written; whoever asks decides whether it may be printed.
    pub(crate) fn content(&self, slot: Slot) -> Option<&str> {
        self.entries.get(&slot).map(|content| content.as_str())
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (Slot, &str)> {
        self.entries
            .iter()
            .map(|(slot, content)| (*slot, content.as_str()))
    }

    fn bytes(&self) -> usize {
        self.entries.values().map(|content| content.len()).sum()
    }
}

/// Prints which entries there are, never what is in them.
impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.entries
                    .keys()
                    .map(|(tag, kind)| format!("{tag},{}", kind.0)),
            )
            .finish()
    }
}

/// SHA-256 over the stored bytes, 64 upper-case hex digits.
pub(crate) fn digest(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect()
}

/// Whether `AT%CMNG=2` may print this type.
pub(crate) const fn readable(kind: CredentialType) -> bool {
    matches!(
        kind,
        CredentialType::ROOT_CA
            | CredentialType::CLIENT_CERTIFICATE
            | CredentialType::PSK_IDENTITY
            | CredentialType::OWNERSHIP_PUBLIC_KEY
    )
}

/// Whether `AT%CMNG=0` may write this type; keys of type 8 are made by KEYGEN, the rest is the factory's.
pub(crate) const fn writable(kind: CredentialType) -> bool {
    kind.0 <= CredentialType::PSK_IDENTITY.0
}

/// Whether `AT%CMNG=3` may delete this type.
pub(crate) const fn deletable(kind: CredentialType) -> bool {
    writable(kind)
        || matches!(
            kind,
            CredentialType::PUBLIC_KEY
                | CredentialType::ENDORSEMENT_PRIVATE_KEY
                | CredentialType::OWNERSHIP_PUBLIC_KEY
        )
}

/// Whether the number names a type at all: 7 is reserved.
pub(crate) const fn known(kind: CredentialType) -> bool {
    kind.0 <= CredentialType::NORDIC_PUBLIC_KEY.0 && kind.0 != 7
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn overwriting_frees_the_old_bytes_first() {
        let ten = Room {
            bytes: 10,
            entries: 2,
        };
        let mut storage = Storage::default();
        let slot = (1, CredentialType::ROOT_CA);
        storage.write(slot, "12345678", ten).unwrap();
        storage.write(slot, "1234567890", ten).unwrap();
        assert_eq!(
            storage.write((2, CredentialType::ROOT_CA), "1", ten),
            Err(Cme::STORAGE_FULL)
        );
        assert_eq!(storage.content(slot), Some("1234567890"));
    }

    #[test]
    fn a_digest_is_upper_case_and_over_the_bytes_as_they_are() {
        assert_eq!(
            digest(b"abc"),
            "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"
        );
        assert_ne!(digest(b"a\n"), digest(b"a\r\n"));
    }

    #[test]
    fn debug_shows_slots_only() {
        let mut storage = Storage::default();
        storage
            .write((7, CredentialType::PSK), "c0ffee", Room::ENDLESS)
            .unwrap();
        assert_eq!(format!("{storage:?}"), r#"["7,3"]"#);
    }
}
