//! Error numbers as the firmware's C library has them, which differ from those of Linux. In a log they are negative.

use std::io::ErrorKind;

use sectag_modem::credentials::StoreError;
use sectag_mqtt::ClientError;
use sectag_mqtt::client::Ending;

use crate::link::LinkError;

/// Not allowed: LTE is active.
pub const EPERM: i32 = 1;
/// Nothing there.
pub const ENOENT: i32 = 2;
/// Input or output failed.
pub const EIO: i32 = 5;
/// Storage full.
pub const ENOMEM: i32 = 12;
/// No access to a private key.
pub const EACCES: i32 = 13;
/// Wrong argument.
pub const EINVAL: i32 = 22;
/// Operation not supported: the call came in the wrong state.
pub const EOPNOTSUPP: i32 = 95;
/// Connection reset.
pub const ECONNRESET: i32 = 104;
/// Connection refused, as the modem says for every TLS failure.
pub const ECONNREFUSED: i32 = 111;
/// Connection aborted.
pub const ECONNABORTED: i32 = 113;
/// No answer in time.
pub const ETIMEDOUT: i32 = 116;
/// No way to the host, or no address for its name.
pub const EHOSTUNREACH: i32 = 118;
/// Already there.
pub const EALREADY: i32 = 120;
/// Message too long: the client id does not fit its buffer.
pub const EMSGSIZE: i32 = 122;
/// Not connected.
pub const ENOTCONN: i32 = 128;
/// Cancelled: power-off warning.
pub const ECANCELED: i32 = 140;
/// What `modem_key_mgmt` returns for an answer it has no number for.
pub const UNKNOWN: i32 = 0xBAAD_BAAD_u32.cast_signed();

/// The number for a link that did not come about.
pub(super) fn of_link(error: &LinkError) -> i32 {
    match error {
        LinkError::Session { error, .. } => of_client(error),
        LinkError::NoTags | LinkError::ServerName(_) => -EINVAL,
        // The modem cannot tell a missing credential from a refused one.
        _ => -ECONNREFUSED,
    }
}

/// The number for a call, or a connection, that failed.
pub(super) fn of_client(error: &ClientError) -> i32 {
    match error {
        ClientError::Disconnected => 0,
        ClientError::Resolve { .. } => -EHOSTUNREACH,
        ClientError::Tcp { source, .. } => of_io(source.kind()),
        ClientError::Timeout { .. } => -ETIMEDOUT,
        ClientError::Closed { ending, .. } => match ending {
            Ending::Closed | Ending::Disconnect { .. } => -ENOTCONN,
            Ending::Io(kind) => of_io(*kind),
            Ending::PingUnanswered { .. } => -ETIMEDOUT,
            _ => -ECONNABORTED,
        },
        ClientError::Invalid(_) => -EINVAL,
        _ => -ECONNREFUSED,
    }
}

fn of_io(kind: ErrorKind) -> i32 {
    match kind {
        ErrorKind::ConnectionRefused => -ECONNREFUSED,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => -ECONNRESET,
        ErrorKind::TimedOut => -ETIMEDOUT,
        _ => -EHOSTUNREACH,
    }
}

/// The number of `modem_key_mgmt` (spec/modem-at §10).
pub(super) fn of_store(error: &StoreError) -> i32 {
    match error.errno() {
        "-EPERM" => -EPERM,
        "-ENOENT" => -ENOENT,
        "-EIO" => -EIO,
        "-ENOMEM" => -ENOMEM,
        "-EACCES" => -EACCES,
        "-EINVAL" => -EINVAL,
        "-ETIMEDOUT" => -ETIMEDOUT,
        "-EALREADY" => -EALREADY,
        "-ECANCELED" => -ECANCELED,
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_that_cannot_change_online_is_not_permitted() {
        assert_eq!(of_store(&StoreError::Active), -1);
        assert_eq!(of_store(&StoreError::Content), -1_163_019_603);
    }
}
