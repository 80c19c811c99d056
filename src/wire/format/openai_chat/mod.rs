//! The format of `/v1/chat/completions`, of OpenAI and of all who copied it: both halves.
//!
//! ```text
//! of callers     request.rs, messages.rs, tools.rs -> Request     encoder.rs, whole.rs <- Event, Response
//! of providers   body.rs, said.rs, chosen.rs <- Request           decoder.rs, calls.rs -> Event
//! ```
//!
//! The reference is <https://platform.openai.com/docs/api-reference/chat>; how vendors differ in what they
//! are asked stands in [`Quirks`](super::quirks::Quirks), and in what they answer the decoder knows all.

mod decode_request;
mod decode_response;
mod encode_request;
mod encode_response;
mod media;

pub use self::decode_request::decode_request;
pub use self::decode_response::{Decoder, decode_whole};
pub use self::encode_request::encode_request;
pub use self::encode_response::Encoder;
pub use self::encode_response::whole::encode_whole;

#[cfg(test)]
mod tests;
