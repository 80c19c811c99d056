//! The configuration as its user meets it: files in, problems or a `Config` out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests end where something is not as it should be"
)]

mod bad;
mod clouds;
mod example;
mod good;
mod schema;
mod world;
