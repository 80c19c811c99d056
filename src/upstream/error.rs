//! Errors of one attempt that got no answer from the provider.

use std::fmt;

/// Why a provider returned no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// The model's name cannot be part of a URL of this provider. Nothing was sent.
    InvalidModelName,
    /// No connection could be opened.
    Connect,
    /// The connection broke before the head of an answer arrived.
    ConnectionLost,
    /// The provider closed a reused connection before it sent a byte of an answer.
    StaleConnection,
    /// No answer arrived in time.
    Timeout,
    /// The token issuer rejected the key's credential. Nothing was sent to the provider.
    CredentialRefused,
    /// The token issuer returned no token. Nothing was sent to the provider.
    NoToken,
}

impl UpstreamError {
    /// Returns the error text for the caller, to follow "The provider `NAME`". The texts of the
    /// libraries are not used: they may contain addresses.
    pub fn message(self) -> &'static str {
        match self {
            UpstreamError::InvalidModelName => {
                "was not called: a model name of this form cannot be part of its URL"
            }
            UpstreamError::Connect => "could not be reached",
            UpstreamError::ConnectionLost | UpstreamError::StaleConnection => {
                "closed the connection before it answered"
            }
            UpstreamError::Timeout => "did not answer in time",
            UpstreamError::CredentialRefused => {
                "was not called: the token issuer rejected the key's credential"
            }
            UpstreamError::NoToken => "was not called: the token issuer returned no token",
        }
    }
}

/// Why there is no token. The texts are keymux's own, with the issuer's error code at most, and
/// contain no part of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The issuer rejected the credential. Further requests fail until an operator fixes the
    /// credential.
    Refused(String),
    /// The issuer did not answer, or its answer contains no token.
    Unreachable(String),
    /// The issuer did not answer in time.
    Timeout,
}

impl TokenError {
    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::Refused(message.into())
    }

    pub(super) fn unreachable(message: impl Into<String>) -> Self {
        Self::Unreachable(message.into())
    }
}

/// The text to follow "the token issuer".
impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused(message) | Self::Unreachable(message) => message,
            Self::Timeout => "did not answer in time",
        })
    }
}

impl From<TokenError> for UpstreamError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Refused(_) => UpstreamError::CredentialRefused,
            TokenError::Unreachable(_) | TokenError::Timeout => UpstreamError::NoToken,
        }
    }
}
