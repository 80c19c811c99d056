//! Classifies failed attempts, reads how long to wait, and converts an error into another API's form.

mod aws;
pub mod class;
pub mod classify;
pub mod convert;
pub(crate) mod encode_error;
mod error_body;
pub mod error_event;
mod google;
mod provider_error;
pub mod rate_limits;
pub(crate) mod retry_after;

pub use self::class::{Class, Failure};
pub use self::provider_error::ProviderError;
