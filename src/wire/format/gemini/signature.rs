//! `thoughtSignature`: base64 of bytes that only their maker can read. Signatures of other formats travel
//! as base64 of `NAME:DATA` and so find their way back.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;

use crate::wire::api::Format;
use crate::wire::ir::Signature;

/// What Google documents for calls of which there is no signature, because another model made them.
/// <https://ai.google.dev/gemini-api/docs/thought-signatures#faqs>
pub(crate) const SKIP: &str = "skip_thought_signature_validator";

/// Longer than the longest name of a format in base64, and whole groups of it.
const NAME: usize = 24;

/// JSON of protocol buffers takes base64 of both alphabets, padded or not.
static LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// As a caller writes it back.
pub(crate) fn read(signature: String) -> Signature {
    match foreign(&signature) {
        Some((format, data)) => Signature { format, data, id: None },
        None => Signature { format: Format::Gemini, data: signature, id: None },
    }
}

/// As a caller gets it.
pub(crate) fn write(signature: &Signature) -> Cow<'_, str> {
    match signature.format {
        Format::Gemini => Cow::Borrowed(&signature.data),
        format => {
            Cow::Owned(BASE64_STANDARD.encode(format!("{}:{}", format.name(), signature.data)))
        }
    }
}

fn foreign(signature: &str) -> Option<(Format, String)> {
    let start = decode(signature.get(..NAME).unwrap_or(signature))?;
    let end = start.iter().position(|byte| *byte == b':')?;
    let format = Format::named(std::str::from_utf8(&start[..end]).ok()?)?;
    let mut text = String::from_utf8(decode(signature)?).ok()?;
    Some((format, text.split_off(end + 1)))
}

/// The bytes of base64 in any of its forms.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    if text.contains(['-', '_']) {
        return LENIENT.decode(text.replace('-', "+").replace('_', "/")).ok();
    }
    LENIENT.decode(text).ok()
}

/// Base64 of the standard alphabet, padded. Google's own Python client writes the other one.
pub(crate) fn standard(mut text: String) -> String {
    if text.contains(['-', '_']) {
        text = text.replace('-', "+").replace('_', "/");
    }
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_signature_comes_back_as_it_went() {
        for format in Format::ALL {
            let signature = Signature { format, data: "EsMB+/==\u{e9}:x".to_owned(), id: None };
            assert_eq!(read(write(&signature).into_owned()), signature);
        }
    }

    #[test]
    fn the_other_alphabet_and_no_padding_are_the_same_signature() {
        let signature =
            Signature { format: Format::Anthropic, data: "??>>~~".to_owned(), id: None };
        let written = write(&signature).replace('+', "-").replace('/', "_");
        assert_eq!(read(written.trim_end_matches('=').to_owned()), signature);
    }

    #[test]
    fn googles_own_stay_as_they_are() {
        for own in ["CiwBjz1rX7BKwi0Yqwh_-A", SKIP, "", "no base64"] {
            assert_eq!(read(own.to_owned()).format, Format::Gemini);
            assert_eq!(read(own.to_owned()).data, own);
        }
        assert_eq!(standard("_-8".to_owned()), "/+8=");
    }
}
