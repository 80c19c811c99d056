//! The formats, one folder each. The same role has the same file name everywhere:
//!
//! ```text
//! decode_request     a caller's body -> Request        encode_response   events -> the caller's answer
//! encode_request     Request -> a provider's body      decode_response   a provider's answer -> events
//! ```

pub mod anthropic;
pub mod anthropic_on_clouds;
pub mod bedrock;
pub mod cohere;
pub mod context;
pub mod gemini;
pub mod openai_chat;
pub mod openai_responses;
pub mod quirks;
pub mod replicate;
mod signature_transport;
