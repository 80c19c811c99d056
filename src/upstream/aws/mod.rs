//! Signature Version 4: of requests to Bedrock, and of callers.

mod canonical;
mod sign;
pub mod verify;

#[cfg(test)]
mod tests;
