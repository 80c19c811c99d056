//! Reads bodies that are forwarded unchanged. Only the model name is ever replaced.

pub mod batch;
pub mod conversation;
pub mod gemini_model_field;
pub mod model;
pub mod multipart;
pub mod observer;
pub mod signatures;
pub mod token_counts;
pub mod usage;
