//! Bytes and their meaning. Synchronous; no sockets, clock, configuration or logging in here.

pub mod address;
pub mod anthropic;
pub mod batch;
pub mod bedrock;
mod carried;
pub mod cohere;
pub mod counting;
pub mod digest;
pub mod embeddings;
pub mod envelope;
pub mod errors;
pub mod failure;
pub mod feature;
pub mod fields;
pub mod frame;
pub mod gemini;
pub mod google;
pub mod ids;
pub mod ir;
pub mod listen;
pub mod multipart;
pub mod openai_chat;
pub mod openai_responses;
mod operation;
pub mod peek;
pub mod quirks;
pub mod quota;
pub mod replicate;
mod scan;
pub mod seals;
pub mod stable;
pub mod stored;
pub mod translate;

pub use operation::{Api, Operation};
