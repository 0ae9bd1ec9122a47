//! A value that prints as `****`.

use alloc::string::String;
use core::fmt;
use zeroize::Zeroize;

/// Holds a secret and forgets it on drop. `Debug` and `Display` print `****`; it has no `Serialize`, so it cannot
/// slip into a list, a log or an answer. Reading it takes [`Secret::expose`], which grep finds.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T: Zeroize>(T);

/// The usual case: secret text (a PEM private key, a password, a PSK).
pub type SecretText = Secret<String>;

impl<T: Zeroize> Secret<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The secret itself. Every caller is a place to review.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl<T: Zeroize> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}
