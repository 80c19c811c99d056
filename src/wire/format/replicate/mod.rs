//! Predictions of language models on Replicate, as a provider. No caller uses it by translation.
//! <https://replicate.com/docs/reference/http#predictions.create>
//!
//! Each model defines the members of its `input`. The official language models have a few in common: a prompt, a
//! system prompt, limits of sampling. Only OpenAI's accept a conversation; for other models the template that
//! would make one prompt of several turns is unknown here.
//!
//! ```text
//! vendors          the members of `input` that each vendor's models accept
//! fit              what the model does not accept
//! encode_request   a fitted Request -> a provider's request
//! decode_response  a provider's answer, streamed or whole -> events
//! ```
//!
//! The answer to a request with `stream` is not the stream: it contains the stream's address (`urls.stream`). The
//! decoder reads what that address sends.

mod decode_response;
mod encode_request;
mod fit;
mod vendors;

pub use self::decode_response::{Decoder, decode_whole};
pub use self::encode_request::encode_request;
pub(crate) use self::fit::fit;
