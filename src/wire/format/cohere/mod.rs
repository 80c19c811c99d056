//! `/v2/chat` of Cohere, as its models are asked and answer. No caller speaks it.
//! <https://docs.cohere.com/reference/chat>
//!
//! ```text
//! features.rs  what becomes of each feature
//! encode.rs    Request -> body
//! stream.rs    an answer, streamed or whole -> events
//! ```

mod decode_response;
mod encode_request;

pub use self::decode_response::{Decoder, decode_whole};
pub use self::encode_request::encode_request;
