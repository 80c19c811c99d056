//! The format of `/v1/chat/completions`, of OpenAI and of all vendors that copied it.
//!
//! The reference is <https://platform.openai.com/docs/api-reference/chat>. What vendors take differently is in
//! [`Quirks`](super::quirks::Quirks); the decoder reads the answers of all of them.

mod decode_request;
mod decode_response;
mod encode_request;
mod encode_response;
mod fit;
mod media;
mod stop_reason;
mod types;

pub use self::decode_request::decode_request;
pub use self::decode_response::{Decoder, decode_whole};
pub use self::encode_request::encode_request;
pub use self::encode_response::{Encoder, encode_whole};
pub(crate) use self::fit::fit;

#[cfg(test)]
mod tests;
