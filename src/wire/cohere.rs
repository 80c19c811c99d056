//! `/v2/chat` of Cohere, as its models are asked and answer. No caller speaks it.
//! <https://docs.cohere.com/reference/chat>
//!
//! ```text
//! features.rs  what becomes of each feature
//! encode.rs    Request -> body
//! stream.rs    an answer, streamed or whole -> events
//! ```

mod encode;
mod features;
mod stream;

pub use encode::encode_request;
pub use features::verdict;
pub use stream::{Decoder, decode_whole};
