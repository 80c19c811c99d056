//! The configuration as its user meets it: files in, problems or a `Config` out.

mod bad;
mod world;
