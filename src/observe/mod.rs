//! Access log, log and metrics. Only plain values enter this room, so no value of a secret type can leave
//! the process here.

pub mod access;
pub mod log;
pub mod metrics;
mod series;

/// Returns the current Unix time in seconds.
pub fn unix_time() -> u64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
