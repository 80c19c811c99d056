//! APIs, their operations, formats of requests, paths, and stored objects.

mod format;
mod framing;
mod operation;
pub mod resources;
pub mod routes;

pub use self::format::Format;
pub use self::framing::Framing;
pub use self::operation::{Api, Operation};
