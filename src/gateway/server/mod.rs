//! The listener: connections, HTTP on them, and their limits.

pub(crate) mod connection;
mod flow_control;
pub(crate) mod http;
pub mod listener;
mod request_head;
