//! What the program tells about itself: the access line, the metrics, the log. Only plain values come
//! in here, so nothing that is a secret by type can get out.

pub mod access;
pub mod log;
pub mod metrics;
