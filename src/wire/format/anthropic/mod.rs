//! Anthropic's messages: `/v1/messages`, also as Vertex and Bedrock serve them.
//!
//! ```text
//! decode     a caller's request      encode   a provider's request; model: what each takes
//! encoder    a caller's stream       stream   a provider's answer, streamed or whole
//! reply      a caller's whole answer
//! signature       signatures              stop     reasons and errors
//! features   what stands where
//! ```

mod decode_request;
mod decode_response;
mod encode_request;
mod encode_response;
mod signature;
mod stop_reason;

pub use self::decode_request::decode_request;
pub use self::decode_response::{Decoder, decode_whole};
pub use self::encode_request::encode_request;
pub use self::encode_response::Encoder;
pub use self::encode_response::whole::encode_whole;
