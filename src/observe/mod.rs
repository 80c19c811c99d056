//! What the program tells about itself: the access line, the metrics, the log. Only plain values come
//! in here, so nothing that is a secret by type can get out.

pub mod access;
pub mod log;
pub mod metrics;
mod series;

/// Seconds since 1970.
pub fn unix_time() -> u64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
