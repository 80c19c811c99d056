//! What is read of a body that passes as it is. Nothing is changed but the model's name.

pub mod batch;
pub mod conversation;
pub mod gemini_model_field;
pub mod model;
pub mod multipart;
pub mod observer;
pub mod signatures;
pub mod token_counts;
pub mod usage;
