//! An error as a provider sent it.

use super::{Class, Failure};

/// A failure within an answer, as the provider told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderError {
    /// What it means.
    pub failure: Failure,
    /// The status that the provider gave it, or would have.
    pub status: Option<u16>,
    /// The provider's name of the error: `overloaded_error`, `RESOURCE_EXHAUSTED`, `throttlingException`.
    pub kind: Option<String>,
    /// The provider's finer code: `insufficient_quota`, `context_length_exceeded`.
    pub code: Option<String>,
    /// The field of the request that it is about.
    pub param: Option<String>,
    /// In the provider's words.
    pub message: String,
}

impl ProviderError {
    /// An answer that cannot be read. `message` is keymux's own text.
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
