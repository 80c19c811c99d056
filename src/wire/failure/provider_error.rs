//! An error as a provider sent it.

use super::Failure;

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
