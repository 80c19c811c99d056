//! Predictions of language models on Replicate. No caller speaks it.
//! <https://replicate.com/docs/reference/http#predictions.create>
//!
//! A model is asked by the members of its own `input`, of which the official language models have a few in
//! common: a prompt, a system prompt, limits of sampling. Only OpenAI's take a conversation; a template
//! that would make one prompt of many turns is nothing that this knows of other models.
//!
//! ```text
//! encode.rs    Request -> body; vendors.rs: how each vendor's models name things
//! stream.rs    an answer, streamed or whole -> events
//! ```
//!
//! A stream is not the answer to the request that asks for it: that answer names its address
//! (`urls.stream`). The decoder is for what comes from there.

mod decode_response;
mod encode_request;
mod vendors;

pub use self::decode_response::{Decoder, decode_whole};
pub use self::encode_request::encode_request;
