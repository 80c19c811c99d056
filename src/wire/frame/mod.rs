//! Bytes to frames: how a stream of bytes falls into events.

pub mod array;
pub mod aws;
pub mod sse;
