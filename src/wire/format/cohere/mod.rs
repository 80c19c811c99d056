//! Cohere's chat API, `/v2/chat`, as a provider. No caller uses it by translation.
//! <https://docs.cohere.com/reference/chat>
//!
//! ```text
//! types            what is written: requests
//! fit              what the API and its models refuse
//! encode_request   a fitted Request -> a provider's request
//! decode_response  a provider's answer, streamed or whole -> events
//! ```

mod decode_response;
mod encode_request;
mod fit;
mod types;

pub use self::decode_response::{Decoder, decode_whole};
pub use self::encode_request::encode_request;
pub(crate) use self::fit::fit;
