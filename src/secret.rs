//! A secret value and what may be said of it.
//!
//! A [`Secret`] has no `Display`, no `Serialize` and no `Debug` text, so it cannot reach a log line,
//! an error or a status page by accident. [`Secret::expose`] is called in `upstream/` only, where the
//! key goes into a request; `tests/layers.rs` holds that.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use secrecy::{ExposeSecret, SecretString};

/// A credential in memory: wiped when dropped, never shown.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes the text over; the caller keeps no copy.
    pub fn new(text: String) -> Self {
        Self(SecretString::from(text))
    }

    /// The text itself. Only for the code that puts it into a request.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Says whether two secrets of one process are the same, and nothing else.
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

/// A hash of a secret, keyed with a random number of this process: it cannot be used to guess the
/// secret elsewhere, and means nothing after a restart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fingerprint(u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// SHA-256: how callers' keys and the admin's token are kept and compared.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_text() {
        assert_eq!(format!("{:?}", Secret::new("sk-0123456789".into())), "Secret");
    }

    #[test]
    fn fingerprints_tell_same_from_different() {
        let (a, b) = (Secret::new("a-key".into()), Secret::new("b-key".into()));
        assert_eq!(a.fingerprint(), Secret::new("a-key".into()).fingerprint());
        assert_ne!(a.fingerprint(), b.fingerprint());
        assert_eq!(a.fingerprint().to_string().len(), 16);
    }
}
