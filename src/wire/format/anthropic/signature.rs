//! Signatures: those of this format, and how those of others are carried in its fields.

use crate::wire::api::Format;
use crate::wire::format::signature_transport;
use crate::wire::format::signature_transport::Carried;
use crate::wire::ir::Signature;

/// Before the `data` of a `redacted_thinking`, which must go back as one; a thought whose text was omitted
/// (`display`) has no text either, but goes back as `thinking`.
const REDACTED: &str = "redacted:";

/// Of a `redacted_thinking` block.
pub(crate) fn redacted(data: &str) -> Signature {
    Signature { format: Format::Anthropic, data: format!("{REDACTED}{data}"), id: None }
}

/// The `data` of a signature that came from a `redacted_thinking` block.
pub(crate) fn as_redacted(signature: &Signature) -> Option<&str> {
    signature.data.strip_prefix(REDACTED).filter(|_| signature.format == Format::Anthropic)
}

/// A `signature` as it stands in an answer of the format's own.
pub(crate) fn own(signature: &str) -> Option<Signature> {
    let data = signature.to_owned();
    (!signature.is_empty()).then_some(Signature { format: Format::Anthropic, data, id: None })
}

/// Reads a signature that a caller hands back; an empty one is none.
pub(crate) fn read(signature: &str) -> Option<Carried> {
    signature_transport::read(Format::Anthropic, signature)
}

/// Writes a signature for a caller.
pub(crate) fn write(signature: &Signature, of_block_before: bool) -> String {
    signature_transport::write(Format::Anthropic, signature, of_block_before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_finds_its_way_home() {
        for (format, id) in [
            (Format::Gemini, None),
            (Format::OpenAiResponses, Some("rs_1")),
            (Format::Anthropic, None),
        ] {
            let signature =
                Signature { format, data: "Eu+/=".to_owned(), id: id.map(str::to_owned) };
            let back = read(&write(&signature, false)).unwrap();
            assert_eq!(back, Carried { signature: signature.clone(), of_block_before: false });
            let back = read(&write(&signature, true)).unwrap();
            assert_eq!(back.of_block_before, format != Format::Anthropic);
            assert_eq!(back.signature, signature);
        }
    }

    #[test]
    fn an_empty_signature_is_none() {
        assert_eq!(read(""), None);
        assert_eq!(own(""), None);
    }

    #[test]
    fn a_redacted_thought_is_told_from_an_omitted_one() {
        assert_eq!(as_redacted(&redacted("Eq")), Some("Eq"));
        assert_eq!(as_redacted(&own("Eq").unwrap()), None);
    }
}
