//! The base address of a provider.

use http::Uri;
use http::uri::{Authority, Scheme};

/// The base address of a provider: the beginning of every URL that is requested from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// http or https.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
    /// Path before the operation's path: empty, or `/…` without a slash at its end.
    pub prefix: String,
}

impl Endpoint {
    /// Parses an http or https URL. `None` if it has a query, a user name or a password, or no host.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let parts = url.parse::<Uri>().ok()?.into_parts();
        let scheme =
            parts.scheme.filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme))?;
        let authority = parts.authority.filter(|authority| {
            !authority.as_str().contains('@') && !authority.host().is_empty()
        })?;
        let path = parts.path_and_query.filter(|path| path.query().is_none())?;
        let prefix = path.path().trim_end_matches('/').to_owned();
        Some(Self { scheme, authority, prefix })
    }

    /// `https://HOST`
    pub(super) fn https(host: String) -> Option<Self> {
        let authority = Authority::try_from(host).ok()?;
        Some(Self { scheme: Scheme::HTTPS, authority, prefix: String::new() })
    }

    /// A placeholder: for an address whose mistake was reported, and for `echo`, which has none.
    pub(super) fn placeholder() -> Self {
        let authority = Authority::from_static("localhost");
        Self { scheme: Scheme::HTTP, authority, prefix: String::new() }
    }
}
