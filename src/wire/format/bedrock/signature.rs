//! Signatures of reasoning, and reasoning that is redacted.

use crate::wire::api::Format;
use crate::wire::ir::Signature;

/// Begins the data of a signature that is a `redactedContent` and not a `signature`. Both may come with an empty
/// text, and neither is accepted in the place of the other.
const REDACTED: &str = "redacted:";

/// Returns the signature that carries a `redactedContent`.
pub(super) fn of_redacted(data: &str) -> Signature {
    let data = format!("{REDACTED}{data}");
    Signature { format: Format::Bedrock, data, id: None }
}

/// Returns the `redactedContent` that a signature carries.
pub(super) fn as_redacted(signature: &Signature) -> Option<&str> {
    signature.data.strip_prefix(REDACTED).filter(|_| signature.format == Format::Bedrock)
}
