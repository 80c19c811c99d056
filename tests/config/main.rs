//! Loads configuration files and checks the problems or the `Config`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

mod bad;
mod clouds;
mod example;
mod good;
mod schema;
mod world;
