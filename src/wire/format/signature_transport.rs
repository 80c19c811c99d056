//! Signatures of other formats in the field that a caller's format has for its own.
//!
//! A signature of another format is written there as `NAME:data`, or `NAME#id:data` where the format wants an id
//! back with it. A call or a text may be signed too, for which these formats have no field; such a signature gets
//! empty reasoning directly after the block, with `NAME^:data`. Clients send reasoning back unchanged, because the
//! API demands it for its own, so every signature returns. Base64 contains none of these characters, so a
//! signature of the caller's format is never mistaken for another's.

use crate::wire::api::Format;
use crate::wire::ir::Signature;

/// A signature that a caller sends back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) signature: Signature,
    /// True if it belongs to the block before.
    pub(crate) of_block_before: bool,
}

/// Parses a signature that a caller of the format `own` sends back; an empty one is `None`.
pub(crate) fn read(own: Format, text: &str) -> Option<Carried> {
    let foreign = text.split_once(':').and_then(|(prefix, data)| {
        let (prefix, of_block_before) = match prefix.strip_suffix('^') {
            Some(prefix) => (prefix, true),
            None => (prefix, false),
        };
        let (name, id) = match prefix.split_once('#') {
            Some((name, id)) => (name, Some(id.to_owned())),
            None => (prefix, None),
        };
        let signature = Signature { format: Format::named(name)?, data: data.to_owned(), id };
        Some(Carried { signature, of_block_before })
    });
    foreign.or_else(|| {
        let signature = Signature { format: own, data: text.to_owned(), id: None };
        (!text.is_empty()).then_some(Carried { signature, of_block_before: false })
    })
}

/// Writes a signature for a caller of the format `own`.
pub(crate) fn write(own: Format, signature: &Signature, of_block_before: bool) -> String {
    if signature.format == own {
        return signature.data.clone();
    }
    let (hash, id) = match &signature.id {
        Some(id) => ("#", id.as_str()),
        None => ("", ""),
    };
    let caret = if of_block_before { "^" } else { "" };
    format!("{}{hash}{id}{caret}:{}", signature.format.name(), signature.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_survive_the_round_trip_to_the_caller() {
        for (format, id) in [
            (Format::Gemini, None),
            (Format::OpenAiResponses, Some("rs_1")),
            (Format::Bedrock, None),
        ] {
            let signature =
                Signature { format, data: "Eu+/=".to_owned(), id: id.map(str::to_owned) };
            for of_block_before in [false, true] {
                let back =
                    read(Format::Bedrock, &write(Format::Bedrock, &signature, of_block_before));
                let of_block_before = of_block_before && format != Format::Bedrock;
                assert_eq!(back, Some(Carried { signature: signature.clone(), of_block_before }));
            }
        }
        assert_eq!(read(Format::Bedrock, ""), None);
    }
}
