//! What went wrong with an attempt, how long to wait, and the same error in another API's form.

mod aws;
pub mod class;
pub mod classify;
pub mod convert;
mod error_body;
pub mod error_event;
mod google;
mod provider_error;
pub mod rate_limits;
pub(crate) mod retry_after;

pub use self::class::{Class, Failure};
pub use self::provider_error::ProviderError;
