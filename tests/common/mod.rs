//! What the tests of the whole program share: a keymux that really runs, providers that do what a
//! script says, and a client that sees every byte. All over real sockets on loopback, and nothing
//! waits longer than [`PATIENCE`].

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(unreachable_pub, reason = "each test program is a crate of its own")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "so a test fails")]
#![allow(clippy::print_stdout, reason = "the test runner shows it when the test fails")]

pub mod config;
pub mod google;
pub mod http;
pub mod keymux;
pub mod upstream;

use std::time::Duration;

/// The longest wait for anything: far beyond what a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(10);
