//! What a kind of provider is, as data. A new vendor on a known format is one more row in `kinds.rs`.

mod kinds;

pub use kinds::{Auth, Kind, Row};
