//! What passes between the formats: nothing here belongs to one of them.

/// Tokens of one exchange as the provider counted them. What it did not say stays absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens, cached ones included.
    pub input: Option<u64>,
    /// Prompt tokens that the provider read from its cache.
    pub cached_input: Option<u64>,
    /// Answer tokens, reasoning included.
    pub output: Option<u64>,
    /// Answer tokens spent on reasoning.
    pub reasoning: Option<u64>,
}
