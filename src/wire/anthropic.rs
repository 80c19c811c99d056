//! Anthropic's messages: `/v1/messages`, also as Vertex and Bedrock serve them.
//!
//! ```text
//! decode     a caller's request      encode   a provider's request; model: what each takes
//! encoder    a caller's stream       stream   a provider's answer, streamed or whole
//! reply      a caller's whole answer
//! seal       signatures              stop     reasons and errors
//! features   what stands where
//! ```

mod decode;
mod encode;
mod encoder;
mod features;
mod json;
mod model;
mod reply;
mod seal;
mod stop;
mod stream;

pub use decode::decode_request;
pub use encode::encode_request;
pub use encoder::Encoder;
pub use features::{place, verdict};
pub use reply::encode_whole;
pub use stream::{Decoder, decode_whole};
