//! A secret value that cannot be printed.
//!
//! A [`Secret`] has no `Display`, no `Serialize` and no `Debug` text, so it cannot reach a log line,
//! an error or a page by accident. [`Secret::expose`] is called in `upstream/` only, where the
//! key goes into a request, and [`Secret::inspect_text`] in `config/check/` only; `tests/layers.rs`
//! enforces both.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use secrecy::{ExposeSecret, SecretString};

/// A credential in memory. It is wiped when it is dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes ownership of the text; the caller keeps no copy.
    pub fn new(text: String) -> Self {
        Self(SecretString::from(text))
    }

    /// Returns the text. Only for the code that puts it into a request.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Passes the text to a function that checks or parses it. Only for the checks of the configuration.
    pub fn inspect_text<T>(&self, inspect: impl FnOnce(&str) -> T) -> T {
        inspect(self.0.expose_secret())
    }

    /// Returns a hash that is equal for equal secrets within one process.
    pub fn fingerprint(&self) -> Fingerprint {
        static SALT: OnceLock<RandomState> = OnceLock::new();
        Fingerprint(SALT.get_or_init(RandomState::new).hash_one(self.0.expose_secret()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
    }
}

impl Eq for Secret {}

/// A hash of a secret, keyed with a random number of this process. It cannot be used to guess the secret,
/// and it changes with every restart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fingerprint(u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Returns the SHA-256. Clients' keys and the admin token are stored and compared in this form.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_does_not_contain_the_text() {
        assert_eq!(format!("{:?}", Secret::new("sk-0123456789".into())), "Secret");
    }

    #[test]
    fn fingerprints_are_equal_for_equal_secrets_only() {
        let (a, b) = (Secret::new("a-key".into()), Secret::new("b-key".into()));
        assert_eq!(a.fingerprint(), Secret::new("a-key".into()).fingerprint());
        assert_ne!(a.fingerprint(), b.fingerprint());
        assert_eq!(a.fingerprint().to_string().len(), 16);
    }
}
