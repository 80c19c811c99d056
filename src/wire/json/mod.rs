//! JSON as text: scans, searches and splices it without parsing, and reads members with a JSON pointer for
//! errors.

pub mod digest;
pub mod fields;
pub(crate) mod member_finder;
pub(crate) mod splice;
pub mod string_rewriter;
pub(crate) mod walk;
pub(crate) mod write;
