//! What a caller gets: a provider's response, or an error of our own.

pub(crate) mod cooling_down;
pub(crate) mod error_response;
pub(crate) mod refusal;
pub(crate) mod relay;
pub(crate) mod rescue;
