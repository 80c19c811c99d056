//! Signatures in the `encrypted_content` of reasoning items.
//!
//! Signatures of this API are written unchanged. A caller of this format also keeps signatures of other formats
//! there, after the format's name, so that they return to the format that made them: `anthropic:...` signs the
//! reasoning item itself. Gemini signs calls and texts, for which this format has no field; such a signature
//! becomes a reasoning item after the signed item, `gemini/before:...`. Clients send items back in the order in
//! which they received them.

use std::borrow::Cow;

use crate::wire::api::Format;
use crate::wire::ir::Signature;

const OWN: Format = Format::OpenAiResponses;
const BEFORE: &str = "/before";

/// The item that a signature signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signed {
    /// The reasoning item that holds the signature.
    ThisItem,
    /// The item before it.
    ItemBefore,
}

/// Returns the value of `encrypted_content`.
pub(super) fn encode(signature: &Signature, signed: Signed) -> Cow<'_, str> {
    let Signature { format, data, .. } = signature;
    match signed {
        Signed::ThisItem if *format == OWN => Cow::Borrowed(data),
        Signed::ThisItem => Cow::Owned(format!("{}:{data}", format.name())),
        Signed::ItemBefore => Cow::Owned(format!("{}{BEFORE}:{data}", format.name())),
    }
}

/// Parses the `encrypted_content` of the reasoning item with this id.
pub(super) fn decode(data: String, id: Option<String>) -> (Signature, Signed) {
    let of_other_format = data.split_once(':').and_then(|(name, rest)| {
        let (name, signed) = match name.strip_suffix(BEFORE) {
            Some(name) => (name, Signed::ItemBefore),
            None => (name, Signed::ThisItem),
        };
        let format = Format::named(name)?;
        Some((Signature { format, data: rest.to_owned(), id: None }, signed))
    });
    of_other_format.unwrap_or((Signature { format: OWN, data, id }, Signed::ThisItem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_returns_to_the_format_that_made_it() {
        for format in Format::ALL {
            for signed in [Signed::ThisItem, Signed::ItemBefore] {
                let signature = Signature { format, data: "EpQ:c=".to_owned(), id: None };
                let encoded = encode(&signature, signed).into_owned();
                assert_eq!(decode(encoded, None), (signature, signed));
            }
        }
        let own = decode("gAAAA_x".to_owned(), Some("rs_1".to_owned())).0;
        assert_eq!((own.format, own.id.as_deref()), (OWN, Some("rs_1")));
    }
}
