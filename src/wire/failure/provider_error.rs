//! An error as a provider sent it.

use super::{Class, Failure};

/// A failure inside a response, as the provider sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderError {
    /// Its class, and how long to wait.
    pub failure: Failure,
    /// The HTTP status that the provider sent, or would have sent.
    pub status: Option<u16>,
    /// The provider's name of the error: `overloaded_error`, `RESOURCE_EXHAUSTED`, `throttlingException`.
    pub kind: Option<String>,
    /// The provider's finer code: `insufficient_quota`, `context_length_exceeded`.
    pub code: Option<String>,
    /// The parameter of the request that it is about.
    pub param: Option<String>,
    /// The provider's message.
    pub message: String,
}

impl ProviderError {
    /// Creates the error for a malformed response. `message` is keymux's own text.
    pub(crate) fn malformed(message: impl Into<String>) -> ProviderError {
        ProviderError {
            failure: Failure { class: Class::Trouble, retry_after: None },
            status: None,
            kind: None,
            code: None,
            param: None,
            message: message.into(),
        }
    }
}
