//! Options after their checks, and what the modem adds to them.

use alloc::string::String;

use sectag_proto::device::{Client, ClientConfig, Config};

use crate::ask;
use crate::errno::Code;
use crate::ffi::carrier::Carrier;

/// What a client or session is made from.
#[derive(Debug)]
pub(crate) struct Options {
    /// Without what is left open below.
    pub(crate) client: ClientConfig,
    /// Sent as `mver`; `None`: the modem is asked.
    pub(crate) modem_version: Option<String>,
    /// `None`: made from the device's UUID.
    pub(crate) seed: Option<u64>,
    /// The program switches LTE, the library only looks.
    pub(crate) lte_by_program: bool,
}

impl Options {
    /// For [`Session::new`](sectag_proto::device::Session::new), with the saved `after` when there is one.
    pub(crate) fn session(&self, carrier: &Carrier) -> Result<Config, Code> {
        let mut config = self.client.session.clone();
        config.modem_version = self.version(carrier)?;
        if config.save_command_id {
            // Unreadable is as good as never stored: the service begins at the start of the queue.
            config.after = carrier.load(&config.after_key()).unwrap_or_default();
        }
        Ok(config)
    }

    /// A client that is not initialised.
    pub(crate) fn client(&self, carrier: &Carrier) -> Result<Client, Code> {
        let mut config = self.client.clone();
        config.session.modem_version = self.version(carrier)?;
        config.seed = match self.seed {
            Some(seed) => seed,
            None => seed_of(&ask::device_uuid(carrier)?),
        };
        Client::new(config).map_err(|_| Code::INVAL)
    }

    fn version(&self, carrier: &Carrier) -> Result<String, Code> {
        match &self.modem_version {
            Some(version) => Ok(version.clone()),
            None => ask::firmware(carrier),
        }
    }
}

/// FNV-1a, 64 bit: it has to differ between devices, nothing more.
fn seed_of(uuid: &str) -> u64 {
    uuid.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::seed_of;

    #[test]
    fn two_devices_have_two_seeds() {
        // The function's published test vectors.
        assert_eq!(seed_of(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(seed_of("a"), 0xaf63_dc4c_8601_ec8c);
        assert_ne!(
            seed_of("50343956-3531-4a3b-8029-0a1a2b3c4d5e"),
            seed_of("50343956-3531-4a3b-8029-0a1a2b3c4d5f")
        );
    }
}
