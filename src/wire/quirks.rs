//! How vendors bend a format: plain data, one row a vendor, never a copy of the code.

/// The row of one kind of provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// The name of the token limit in OpenAI's chat format: `max_completion_tokens`, or `max_tokens`.
    pub max_tokens: &'static str,
}

/// A vendor that does as the format's own reference says.
pub static PLAIN: Quirks = Quirks { max_tokens: "max_completion_tokens" };
