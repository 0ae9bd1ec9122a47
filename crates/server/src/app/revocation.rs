//! Certificates taken back for good, and the broker that has to know of it.
//!
//! The store decides and remembers; the broker's view follows its events by itself ([`Doorkeeper`]). A use case waits for it
//! before it answers, so that whoever was told "blocked" or "revoked" finds the device kept out.

use super::{App, Caller, OwnerError};
use crate::gate::Doorkeeper;
use sectag_proto::DeviceId;
use std::sync::Arc;

/// Characters of a serial number: 20 bytes in hexadecimal (RFC 5280 §4.1.2.2), and colons between them.
const SERIAL_CHARS_MAX: usize = 60;

impl App {
    /// Who knows whom the broker lets in.
    pub const fn doorkeeper(&self) -> &Arc<Doorkeeper> {
        &self.doorkeeper
    }

    /// Takes one certificate of a claimed device back, for good: issued by this service, or registered. Its live sessions end.
    /// A second time changes nothing.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn revoke_certificate(
        &self,
        caller: &Caller,
        device: DeviceId,
        serial: &str,
    ) -> Result<(), OwnerError> {
        let known = self.device_of(caller, device).await?;
        let no_such = || OwnerError::NotFound {
            what: "certificate of this device",
            id: serial
                .chars()
                .filter(|c| !c.is_control())
                .take(SERIAL_CHARS_MAX)
                .collect(),
        };
        let plain: String = serial
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_ascii_lowercase())
            .collect();
        let is_serial = !plain.is_empty()
            && serial.len() <= SERIAL_CHARS_MAX
            && plain.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_serial {
            return Err(no_such());
        }
        let by = &caller.name;
        let revoked = self
            .store
            .revoke_certificate(device, &known.owner, &plain, by, self.now())
            .await?;
        self.doorkeeper.settled().await;
        match revoked {
            None => Err(no_such()),
            Some(is_new) => {
                if is_new {
                    tracing::info!(%device, serial = %plain, by, "certificate revoked");
                }
                Ok(())
            }
        }
    }
}
