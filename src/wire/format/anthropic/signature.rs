//! Signatures of this format, and those of other formats in its fields.

use crate::wire::api::Format;
use crate::wire::format::signature_transport::{self, Carried};
use crate::wire::ir::Signature;

/// Stands before the `data` of a `redacted_thinking`, which must go back as one. Reasoning whose text was omitted
/// (`display`) has no text either, but goes back as `thinking`.
const REDACTED: &str = "redacted:";

/// Returns the signature that stands for a `redacted_thinking` block.
pub(super) fn redacted(data: &str) -> Signature {
    Signature { format: Format::Anthropic, data: format!("{REDACTED}{data}"), id: None }
}

/// Returns the `data` of a signature that came from a `redacted_thinking` block.
pub(super) fn as_redacted(signature: &Signature) -> Option<&str> {
    signature.data.strip_prefix(REDACTED).filter(|_| signature.format == Format::Anthropic)
}

/// Parses the `signature` of a provider's answer; an empty one is `None`.
pub(super) fn own(signature: &str) -> Option<Signature> {
    let data = signature.to_owned();
    (!signature.is_empty()).then_some(Signature { format: Format::Anthropic, data, id: None })
}

/// Parses a signature that a caller sends back; an empty one is `None`.
pub(super) fn parse(signature: &str) -> Option<Carried> {
    signature_transport::read(Format::Anthropic, signature)
}

/// Writes a signature for a caller.
pub(super) fn write(signature: &Signature, of_block_before: bool) -> String {
    signature_transport::write(Format::Anthropic, signature, of_block_before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_signature_is_ignored() {
        assert_eq!(parse(""), None);
        assert_eq!(own(""), None);
    }

    #[test]
    fn redacted_and_omitted_reasoning_stay_apart() {
        assert_eq!(as_redacted(&redacted("Eq")), Some("Eq"));
        assert_eq!(as_redacted(&own("Eq").unwrap()), None);
    }
}
