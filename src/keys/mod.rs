//! The keys of each provider at run time: which key serves a request, and which keys are cooling down or
//! at a limit. The current time is always a parameter.
//!
//! ```text
//! state.rs            KeyState: available, cooling down, busy, ...
//! health.rs           failures and cooldowns of a key; cooldown_policy.rs: how long they last
//! concurrency.rs      max_concurrent: permits, and the queue for them
//! rate_limit.rs       rpm and tpm; window.rs: a sliding minute
//! reported_limits.rs  the remaining limits that providers report
//! pooled_key.rs       one key with all of this
//! select.rs           eligibility, and the choice by weight
//! affinity.rs         the choice by conversation
//! pool.rs             all keys of one provider
//! ```

mod affinity;
pub mod concurrency;
mod cooldown_policy;
mod health;
mod pool;
mod pooled_key;
mod rate_limit;
mod reported_limits;
mod select;
mod state;
mod window;

pub use affinity::AffinityKeys;
pub use health::{Admission, Health, LastResult};
pub use pool::{ChosenKey, KeyReservation, Pool, TriedKeys};
pub use pooled_key::{KeyRequest, PooledKey};
pub use rate_limit::{RateLimit, RateUsage};
pub use reported_limits::{ReportedLimit, ReportedLimits};
pub use select::{ClientScope, Ineligible, eligibility};
pub use state::{KeyState, LimitScope, Reason};
