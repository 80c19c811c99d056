//! The format of `/v1/chat/completions`, of OpenAI and of all who copied it: both halves.
//!
//! ```text
//! of callers     request.rs, messages.rs, tools.rs -> Request     encoder.rs, whole.rs <- Event, Reply
//! of providers   body.rs, said.rs, chosen.rs <- Request           decoder.rs, calls.rs -> Event
//! ```
//!
//! The reference is <https://platform.openai.com/docs/api-reference/chat>; how vendors differ in what they
//! are asked stands in [`Quirks`](super::quirks::Quirks), and in what they answer the decoder knows all.

mod body;
mod calls;
mod chosen;
mod chunk;
mod decoder;
mod encoder;
mod features;
mod media;
mod messages;
mod request;
mod said;
mod shown;
mod told;
mod tools;
mod whole;

pub use body::encode_request;
pub use decoder::{Decoder, decode_whole};
pub use encoder::Encoder;
pub use features::{place, verdict};
pub use request::decode_request;
pub use whole::encode_whole;

#[cfg(test)]
mod tests;
