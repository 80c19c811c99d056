//! OpenAI's Responses API, `/v1/responses`.
//! <https://platform.openai.com/docs/api-reference/responses>, and <https://www.openresponses.org> for the
//! part of it that other vendors serve.
//!
//! ```text
//! caller half     decode.rs input.rs tools.rs    a request -> Request
//!                 echo.rs                        what its answer repeats of it
//!                 encoder.rs output.rs parts.rs  events -> the caller's stream
//!                 object.rs                      the response object, and whole answers
//! provider half   encode.rs items.rs calls.rs    Request -> a request
//!                 decoder.rs blocks.rs told.rs   frames, or a whole answer -> events
//! both            signature.rs                        signatures in `encrypted_content`
//! ```
//!
//! An answer is a list of items: messages of several parts, reasoning, calls, and the work of OpenAI's own
//! tools. A part of a message is a block, as is an item of any other sort.
//!
//! Nothing is ever stored for a caller of another format: providers are always asked with `store: false`.

mod decode_request;
mod decode_response;
mod encode_request;
mod encode_response;
mod signature;

use crate::wire::json::walk::members;

pub use self::decode_request::decode_request;
pub use self::decode_response::{Decoder, decode_whole};
pub use self::encode_request::encode_request;
pub use self::encode_response::{Encoder, encode_whole};

/// The one member that a function has in place of the plain text that a custom tool takes.
const FREEFORM: &str = "input";

/// Whether a body that came to `/v1/chat/completions` is one of this format: it has `input`, and no
/// `messages`. Some clients are known to send it there.
pub fn is_responses_shaped(body: &[u8]) -> bool {
    let [input, messages] = members(body, ["input", "messages"]);
    input.is_some_and(|input| input.starts_with(b"\"") || input.starts_with(b"["))
        && messages.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_of_this_format_by_its_input() {
        assert!(is_responses_shaped(br#"{"model":"m","input":"Hello"}"#));
        assert!(is_responses_shaped(br#"{"input": [{"role":"user","content":"x"}]}"#));
        assert!(!is_responses_shaped(br#"{"messages":[],"input":"x"}"#));
        assert!(!is_responses_shaped(br#"{"messages":[{"input":"x"}]}"#));
        assert!(!is_responses_shaped(b"[1]"));
    }
}
