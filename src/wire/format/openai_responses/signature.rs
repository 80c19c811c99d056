//! Signatures in the `encrypted_content` of reasoning items.
//!
//! Those of this API stand there as they are. A caller of this format also keeps those of other formats
//! there, behind the format's name, so that they return to it: `anthropic:...` signs the thought itself.
//! Gemini signs calls and texts, which have no field for it here; its signature becomes a reasoning item of
//! its own behind them, `gemini/before:...`. Clients hand back items in the order in which they came.

use std::borrow::Cow;

use crate::wire::api::Format;
use crate::wire::ir::Signature;

const OWN: Format = Format::OpenAiResponses;
const BEFORE: &str = "/before";

/// Whose signature it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// The reasoning item's that holds it.
    Thought,
    /// The item's that stands before it.
    Before,
}

/// As it is written.
pub(crate) fn written(signature: &Signature, of: Of) -> Cow<'_, str> {
    match of {
        Of::Thought if signature.format == OWN => Cow::Borrowed(&signature.data),
        Of::Thought => Cow::Owned(format!("{}:{}", signature.format.name(), signature.data)),
        Of::Before => Cow::Owned(format!("{}{BEFORE}:{}", signature.format.name(), signature.data)),
    }
}

/// What is written in the item of this id.
pub(crate) fn read(data: String, id: Option<String>) -> (Signature, Of) {
    let carried = data.split_once(':').and_then(|(name, rest)| {
        let (name, of) = match name.strip_suffix(BEFORE) {
            Some(name) => (name, Of::Before),
            None => (name, Of::Thought),
        };
        Some((Signature { format: Format::named(name)?, data: rest.to_owned(), id: None }, of))
    });
    carried.unwrap_or((Signature { format: OWN, data, id }, Of::Thought))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_returns_to_the_format_that_made_it() {
        for format in Format::ALL {
            for of in [Of::Thought, Of::Before] {
                let signature = Signature { format, data: "EpQ:c=".to_owned(), id: None };
                assert_eq!(read(written(&signature, of).into_owned(), None), (signature, of));
            }
        }
        let own = read("gAAAA_x".to_owned(), Some("rs_1".to_owned())).0;
        assert_eq!((own.format, own.id.as_deref()), (OWN, Some("rs_1")));
    }
}
