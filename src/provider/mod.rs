//! What a kind of provider is, as data: a new vendor on a known format is one more row in `kinds.rs`.
//! serving.rs says in which format each is asked.

mod conversion;
mod kinds;

pub use conversion::Conversion;
pub use kinds::{Auth, Kind, KindInfo};
