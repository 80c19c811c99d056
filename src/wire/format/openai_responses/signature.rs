//! Signatures in the `encrypted_content` of reasoning items.
//!
//! Those of this API stand there as they are. A caller of this format also keeps those of other formats
//! there, behind the format's name, so that they return to it: `anthropic:...` signs the thought itself.
//! Gemini signs calls and texts, which have no field for it here; its signature becomes a reasoning item of
//! its own behind them, `gemini/before:...`. Clients hand back items in the order in which they came.

use std::borrow::Cow;

use crate::wire::api::Wire;
use crate::wire::ir::Seal;

const OWN: Wire = Wire::OpenAiResponses;
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
pub(crate) fn written(seal: &Seal, of: Of) -> Cow<'_, str> {
    match of {
        Of::Thought if seal.wire == OWN => Cow::Borrowed(&seal.data),
        Of::Thought => Cow::Owned(format!("{}:{}", seal.wire.name(), seal.data)),
        Of::Before => Cow::Owned(format!("{}{BEFORE}:{}", seal.wire.name(), seal.data)),
    }
}

/// What is written in the item of this id.
pub(crate) fn read(data: String, id: Option<String>) -> (Seal, Of) {
    let carried = data.split_once(':').and_then(|(name, rest)| {
        let (name, of) = match name.strip_suffix(BEFORE) {
            Some(name) => (name, Of::Before),
            None => (name, Of::Thought),
        };
        Some((Seal { wire: Wire::named(name)?, data: rest.to_owned(), id: None }, of))
    });
    carried.unwrap_or((Seal { wire: OWN, data, id }, Of::Thought))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_returns_to_the_format_that_made_it() {
        for wire in Wire::ALL {
            for of in [Of::Thought, Of::Before] {
                let seal = Seal { wire, data: "EpQ:c=".to_owned(), id: None };
                assert_eq!(read(written(&seal, of).into_owned(), None), (seal, of));
            }
        }
        let own = read("gAAAA_x".to_owned(), Some("rs_1".to_owned())).0;
        assert_eq!((own.wire, own.id.as_deref()), (OWN, Some("rs_1")));
    }
}
