//! `thoughtSignature`: base64 of bytes that only their maker can read. A signature of another format travels
//! to the caller and back as base64 of `NAME:DATA`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;

use crate::wire::api::Format;
use crate::wire::ir::Signature;

/// The signature that Google documents for calls without one, because another model made them.
/// <https://ai.google.dev/gemini-api/docs/thought-signatures#faqs>
pub(super) const SKIP: &str = "skip_thought_signature_validator";

/// The base64 characters that are decoded to look for the name of a format: longer than the longest name, and
/// whole groups of four.
const NAME_LEN: usize = 24;

/// Decodes what the JSON of protocol buffers accepts: padded or not.
static LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes a signature that a caller sends back.
pub(super) fn decode(signature: String) -> Signature {
    match decode_foreign(&signature) {
        Some((format, data)) => Signature { format, data, id: None },
        None => Signature { format: Format::Gemini, data: signature, id: None },
    }
}

/// Encodes a signature for a caller. One of Google's own stays as it is.
pub(super) fn encode(signature: &Signature) -> Cow<'_, str> {
    match signature.format {
        Format::Gemini => Cow::Borrowed(&signature.data),
        format => {
            Cow::Owned(BASE64_STANDARD.encode(format!("{}:{}", format.name(), signature.data)))
        }
    }
}

fn decode_foreign(signature: &str) -> Option<(Format, String)> {
    let start = decode_base64(signature.get(..NAME_LEN).unwrap_or(signature))?;
    let end = start.iter().position(|byte| *byte == b':')?;
    let format = Format::named(std::str::from_utf8(&start[..end]).ok()?)?;
    let mut text = String::from_utf8(decode_base64(signature)?).ok()?;
    Some((format, text.split_off(end + 1)))
}

/// Returns the bytes of base64 in either alphabet, padded or not.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    if text.contains(['-', '_']) {
        return LENIENT.decode(text.replace('-', "+").replace('_', "/")).ok();
    }
    LENIENT.decode(text).ok()
}

/// Rewrites base64 in the standard alphabet, padded. Google's own Python client writes the other alphabet.
pub(super) fn standard_base64(mut text: String) -> String {
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
    fn a_foreign_signature_survives_the_round_trip() {
        for format in Format::ALL {
            let signature = Signature { format, data: "EsMB+/==\u{e9}:x".to_owned(), id: None };
            assert_eq!(decode(encode(&signature).into_owned()), signature);
        }
    }

    #[test]
    fn either_alphabet_and_missing_padding_are_accepted() {
        let signature =
            Signature { format: Format::Anthropic, data: "??>>~~".to_owned(), id: None };
        let written = encode(&signature).replace('+', "-").replace('/', "_");
        assert_eq!(decode(written.trim_end_matches('=').to_owned()), signature);
    }

    #[test]
    fn signatures_of_google_stay_as_they_are() {
        for data in ["CiwBjz1rX7BKwi0Yqwh_-A", SKIP, "", "no base64"] {
            assert_eq!(decode(data.to_owned()).format, Format::Gemini);
            assert_eq!(decode(data.to_owned()).data, data);
        }
        assert_eq!(standard_base64("_-8".to_owned()), "/+8=");
    }
}
