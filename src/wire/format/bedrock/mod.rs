//! `Converse` and `ConverseStream` of Bedrock.
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>
//!
//! ```text
//! decode_request   a caller's body -> Request
//! fit              Request -> a Request that Converse and the model take
//! encode_request   that Request -> a provider's body
//! decode_response  a provider's answer -> events
//! encode_response  events -> a caller's answer
//! model            what Converse supports for each model
//! types            the shapes that are written
//! media signature stop_reason   the API's words, both ways
//! ```
//!
//! An answer is one message of blocks, each with an index; text and reasoning have no event that opens them. A
//! stream ends with `metadata`, after `messageStop`.

mod decode_request;
mod decode_response;
mod encode_request;
mod encode_response;
mod fit;
mod media;
mod model;
mod signature;
mod stop_reason;
mod types;

pub use self::decode_request::decode_request;
pub use self::decode_response::{Decoder, decode_whole};
pub use self::encode_request::encode_request;
pub use self::encode_response::{Encoder, encode_whole};
pub(crate) use self::fit::fit;
