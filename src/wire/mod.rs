//! Bytes and their meaning. Synchronous; no sockets, clock, configuration or logging in here.

pub mod address;
pub mod batch;
pub mod envelope;
pub mod failure;
pub mod frame;
pub mod google;
pub mod ids;
pub mod ir;
pub mod listen;
pub mod multipart;
mod operation;
pub mod peek;
mod scan;
pub mod stored;

pub use operation::{Api, Operation};
