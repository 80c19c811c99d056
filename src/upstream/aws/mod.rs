//! Signature Version 4: of requests to Bedrock, and of callers.
//!
//! ```text
//! regions.rs    what a key's requests are allowed by, region by region
//! sign.rs       the signature of a request to Bedrock
//! verify.rs     the signature of a caller's request
//!   canonical.rs  what a signature is made over
//! ```

pub mod caller_signature;
mod canonical_request;
mod regions;
mod sign;

pub use regions::{Regions, SigningKeys, has_expired};
pub use sign::Service;

#[cfg(test)]
mod tests;
