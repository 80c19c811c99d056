//! JSON as text: scanned, searched and spliced without being parsed, and read with places for errors.

pub mod digest;
pub mod fields;
pub mod splice;
pub(crate) mod walk;
pub(crate) mod write;
