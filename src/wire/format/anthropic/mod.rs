//! Anthropic's Messages API: `/v1/messages`, also as Vertex and Bedrock serve it.
//!
//! ```text
//! types            what is written: requests, answers, events of streams
//! decode_request   a caller's request -> Request
//! fit              what the API and its models refuse
//! encode_request   a fitted Request -> a provider's request
//! decode_response  a provider's answer, streamed or whole -> events
//! encode_response  events -> a caller's answer, streamed or whole
//! signature        signatures of reasoning
//! stop_reason      stop reasons and types of errors
//! ```

mod decode_request;
mod decode_response;
mod encode_request;
mod encode_response;
mod fit;
mod signature;
mod stop_reason;
mod types;

pub use self::decode_request::decode_request;
pub use self::decode_response::{Decoder, decode_whole};
pub use self::encode_request::encode_request;
pub use self::encode_response::{Encoder, encode_whole};
pub(crate) use self::fit::fit;
