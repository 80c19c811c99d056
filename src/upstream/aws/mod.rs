//! AWS Signature Version 4, of requests to AWS and of callers' requests.
//!
//! ```text
//! signing_keys.rs       the keys of an account, ready to sign
//! sign.rs               signs a request to AWS
//! caller_signature.rs   verifies the signature of a caller's request
//! canonical_request.rs  the text that a signature covers
//! ```

pub mod caller_signature;
mod canonical_request;
mod sign;
mod signing_keys;

pub use sign::Service;
pub use signing_keys::SigningKeys;

#[cfg(test)]
mod tests;
