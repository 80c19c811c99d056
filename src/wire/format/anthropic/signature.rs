//! Signatures: those of this format, and how those of others are carried in its fields.

use crate::wire::api::Wire;
use crate::wire::format::signature_transport;
use crate::wire::format::signature_transport::Carried;
use crate::wire::ir::Seal;

/// Before the `data` of a `redacted_thinking`, which must go back as one; a thought whose text was omitted
/// (`display`) has no text either, but goes back as `thinking`.
const REDACTED: &str = "redacted:";

/// Of a `redacted_thinking` block.
pub(crate) fn redacted(data: &str) -> Seal {
    Seal { wire: Wire::Anthropic, data: format!("{REDACTED}{data}"), id: None }
}

/// The `data` of a seal that came from a `redacted_thinking` block.
pub(crate) fn as_redacted(seal: &Seal) -> Option<&str> {
    seal.data.strip_prefix(REDACTED).filter(|_| seal.wire == Wire::Anthropic)
}

/// A `signature` as it stands in an answer of the format's own.
pub(crate) fn own(signature: &str) -> Option<Seal> {
    let data = signature.to_owned();
    (!signature.is_empty()).then_some(Seal { wire: Wire::Anthropic, data, id: None })
}

/// Reads a signature that a caller hands back; an empty one is none.
pub(crate) fn read(signature: &str) -> Option<Carried> {
    signature_transport::read(Wire::Anthropic, signature)
}

/// Writes a signature for a caller.
pub(crate) fn write(seal: &Seal, of_block_before: bool) -> String {
    signature_transport::write(Wire::Anthropic, seal, of_block_before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_finds_its_way_home() {
        for (wire, id) in
            [(Wire::Gemini, None), (Wire::OpenAiResponses, Some("rs_1")), (Wire::Anthropic, None)]
        {
            let seal = Seal { wire, data: "Eu+/=".to_owned(), id: id.map(str::to_owned) };
            let back = read(&write(&seal, false)).unwrap();
            assert_eq!(back, Carried { seal: seal.clone(), of_block_before: false });
            let back = read(&write(&seal, true)).unwrap();
            assert_eq!(back.of_block_before, wire != Wire::Anthropic);
            assert_eq!(back.seal, seal);
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
