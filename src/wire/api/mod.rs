//! Whose API is called, for what, and where: operations, formats, paths, stored objects.

mod format;
mod framing;
mod operation;
pub mod resources;
pub mod routes;

pub use self::format::Format;
pub use self::framing::Framing;
pub use self::operation::{Api, Operation};
