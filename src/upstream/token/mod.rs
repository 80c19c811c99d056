//! Tokens that clouds issue for a credential, fetched in the background.
//!
//! ```text
//! cache.rs    the current token of one credential: one fetch at a time, early renewal, retries
//! oauth.rs    requests to a token endpoint and their answers
//! entra.rs    Microsoft Entra ID and Azure's managed identities
//! google.rs   Google: credentials files, the metadata server
//! aws.rs      AWS: the default credential chain and assumed roles
//! ```
//!
//! Each credential has a cache with its own task, so that an issuer that hangs delays no other. Caches
//! outlive the configuration they were made for, like connections.

pub mod aws;
mod cache;
pub(super) mod entra;
pub(super) mod google;
mod oauth;

use http::HeaderValue;

pub use cache::{CachedToken, NewToken, TokenCache, TokenCaches, TokenSource};

use super::client::HttpClient;
use crate::secret::{Fingerprint, Secret};

/// Tokens as values of `authorization`, marked sensitive: `Bearer TOKEN`.
pub type BearerCache = TokenCache<HeaderValue>;

/// Returns the token alone, as an answer might echo it.
pub fn token_of(bearer: &HeaderValue) -> &[u8] {
    bearer.as_bytes().strip_prefix(b"Bearer ").unwrap_or_default()
}

/// The clients that a token source sends its requests with.
#[derive(Clone, Debug)]
pub struct TokenClients {
    /// With the provider's proxy and certificates.
    pub(super) provider: HttpClient,
    /// Without proxy or TLS. For metadata services: through a proxy they would identify the proxy's
    /// machine.
    pub(super) direct: HttpClient,
}

/// Returns a hash of everything that decides which token a credential gets.
fn fingerprint(parts: &[&str]) -> Fingerprint {
    Secret::new(format!("{parts:?}")).fingerprint()
}

#[cfg(test)]
mod tests;
