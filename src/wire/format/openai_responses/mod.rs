//! OpenAI's Responses API, `/v1/responses`.
//! <https://platform.openai.com/docs/api-reference/responses>, and <https://www.openresponses.org> for the
//! part of it that other vendors serve.
//!
//! An answer is a list of items: messages of several parts, reasoning, calls, and the work of OpenAI's own
//! tools. A part of a message is a block, as is an item of any other type.
//!
//! Nothing is stored for a caller of another format: requests to providers always contain `store: false`.
//!
//! Besides the files that every format has: signature.rs has the signatures in `encrypted_content`,
//! decode_request/echo.rs the members of the request that its answer repeats.

mod decode_request;
mod decode_response;
mod encode_request;
mod encode_response;
mod fit;
mod signature;
mod types;

use crate::wire::json::walk::members;

pub use self::decode_request::decode_request;
pub use self::decode_response::{Decoder, decode_whole};
pub use self::encode_request::encode_request;
pub use self::encode_response::{Encoder, encode_whole};
pub(crate) use self::fit::fit;

/// Returns true if a body that was sent to `/v1/chat/completions` is a request of this format: it has `input`,
/// and no `messages`. Some clients are known to send it there.
pub fn is_responses_shaped(body: &[u8]) -> bool {
    let [input, messages] = members(body, ["input", "messages"]);
    input.is_some_and(|input| input.starts_with(b"\"") || input.starts_with(b"["))
        && messages.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_this_format_is_recognized_by_its_input() {
        assert!(is_responses_shaped(br#"{"model":"m","input":"Hello"}"#));
        assert!(is_responses_shaped(br#"{"input": [{"role":"user","content":"x"}]}"#));
        assert!(!is_responses_shaped(br#"{"messages":[],"input":"x"}"#));
        assert!(!is_responses_shaped(br#"{"messages":[{"input":"x"}]}"#));
        assert!(!is_responses_shaped(b"[1]"));
    }
}
