//! The kinds of providers as data: a new vendor with a known format is one more row in `kinds.rs`.
//! `conversion.rs` decides the format of each request to a provider.

mod conversion;
mod kinds;

pub use conversion::Conversion;
pub use kinds::{Auth, Kind, KindInfo};
