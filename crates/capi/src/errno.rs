//! Results as C knows them: negative errno values, whose numbers differ between C libraries.

use core::ffi::c_int;

use sectag_proto::device::{CallError, Errno, StoreFailure, TransportError};

/// A negative errno value on its way to C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(c_int);

#[cfg(any(
    not(any(target_os = "linux", target_os = "none")),
    all(
        target_os = "linux",
        // Linux has numbers of its own there.
        any(
            target_arch = "mips",
            target_arch = "mips64",
            target_arch = "mips32r6",
            target_arch = "mips64r6",
            target_arch = "sparc",
            target_arch = "sparc64"
        )
    )
))]
compile_error!("the errno numbers of this system's C library are not known: add them to the table");

macro_rules! codes {
    ($($name:ident $linux:literal $newlib:literal)*) => {
        #[allow(dead_code)] // each number once, used or not
        impl Code {
            $(pub(crate) const $name: Self = Self(-if cfg!(target_os = "none") { $newlib } else { $linux });)*
        }
    };
}

// Linux: include/uapi/asm-generic/errno*.h. Without an operating system: newlib and picolibc, <sys/errno.h>, which
// Zephyr's own <errno.h> follows.
codes! {
    PERM 1 1
    NOENT 2 2
    IO 5 5
    TOO_BIG 7 7
    NOEXEC 8 8
    AGAIN 11 11
    NOMEM 12 12
    ACCES 13 13
    FAULT 14 14
    BUSY 16 16
    INVAL 22 22
    NAMETOOLONG 36 91
    NOMSG 42 35
    NOSTR 60 60
    NODATA 61 61
    TIME 62 62
    BADMSG 74 77
    MSGSIZE 90 122
    NOTSUP 95 134
    SHUTDOWN 108 110
    TIMEDOUT 110 116
    CONNREFUSED 111 111
    HOSTUNREACH 113 118
    ALREADY 114 120
}

impl Code {
    /// As a function returns it.
    pub(crate) const fn get(self) -> c_int {
        self.0
    }

    /// What a callback returned; only for negative numbers.
    pub(crate) const fn of_callback(number: c_int) -> Self {
        Self(number)
    }

    pub(crate) const fn of_call(error: CallError) -> Self {
        match error {
            CallError::NotInitialised => Self::FAULT,
            CallError::Already => Self::ALREADY,
            CallError::Invalid => Self::INVAL,
            CallError::NotScheduled => Self::NOTSUP,
            CallError::NotStored => Self::NOSTR,
            _ => Self::IO,
        }
    }

    pub(crate) const fn of(errno: Errno) -> Self {
        match errno {
            Errno::NoData => Self::NODATA,
            Errno::Access => Self::ACCES,
            Errno::Permission => Self::PERM,
            Errno::NoMemory => Self::NOMEM,
            Errno::ConnectionRefused => Self::CONNREFUSED,
            Errno::Busy => Self::BUSY,
            Errno::TimedOut => Self::TIMEDOUT,
            Errno::Invalid => Self::INVAL,
            Errno::NotSupported => Self::NOTSUP,
            Errno::NoMessage => Self::NOMSG,
            Errno::Shutdown => Self::SHUTDOWN,
            Errno::HostUnreachable => Self::HOSTUNREACH,
            Errno::NoTime => Self::TIME,
            Errno::NoExec => Self::NOEXEC,
            Errno::BadMessage => Self::BADMSG,
            Errno::Io => Self::IO,
            Errno::NoEntry => Self::NOENT,
            _ => Self::IO,
        }
    }

    /// What a fetch or report without an answer means.
    pub(crate) const fn transport(self) -> TransportError {
        match self {
            Self::HOSTUNREACH => TransportError::Name,
            Self::CONNREFUSED => TransportError::Refused,
            Self::TIMEDOUT => TransportError::Timeout,
            Self::NOMEM | Self::MSGSIZE | Self::TOO_BIG => TransportError::TooLarge,
            Self::BADMSG => TransportError::Garbage,
            _ => TransportError::Closed,
        }
    }

    /// What a setting that was not stored means.
    pub(crate) const fn store(self) -> StoreFailure {
        match self {
            Self::NAMETOOLONG => StoreFailure::KeyTooBig,
            Self::NOMEM => StoreFailure::NoMemory,
            Self::INVAL => StoreFailure::Invalid,
            _ => StoreFailure::Io,
        }
    }
}
