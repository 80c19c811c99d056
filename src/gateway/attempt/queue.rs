//! Waits for a concurrency permit where there is no choice: of a client, or of the one key that can serve.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::call::Call;
use crate::keys::concurrency::{ConcurrencyLimit, Permit, Waiter};
use crate::keys::{KeyReservation, KeyState, LimitScope};
use crate::route::Target;

/// Acquires a permit. Returns `None` if none is free by then, or if the queue is full.
pub(crate) async fn acquire(limit: &Arc<ConcurrencyLimit>, by: Instant) -> Option<Permit> {
    if let Some(permit) = limit.try_acquire() {
        return Some(permit);
    }
    let mut waiter = Waiter::default();
    if !waiter.enqueue(limit) {
        return None;
    }
    timeout_at(by, waiter).await.ok()
}

/// Reserves what a request uses of this key, as soon as the key's limits allow.
///
/// # Errors
///
/// The key's state, if its limits do not allow it within `server.queue_timeout`.
pub(super) async fn reserve(
    call: &Call<'_>,
    target: Target<'_>,
    key: usize,
) -> Result<KeyReservation, KeyState> {
    let pool = &call.gateway.providers[target.provider].pool;
    let by = Instant::now() + call.gateway.config.server.queue_timeout;
    let mut permit = None;
    loop {
        let now = Instant::now();
        let state = match pool.reserve(key, call.want(target), &mut permit, now.into_std()) {
            Ok(held) => return Ok(held),
            Err(state) => state,
        };
        // A permit that cannot be used now goes to the next waiter.
        permit = None;
        match state {
            _ if now >= by => return Err(state),
            KeyState::CoolingDown { remaining, .. } if now + remaining <= by => {
                sleep_until(now + remaining).await;
            }
            KeyState::Busy(whose) => {
                let limit = match whose {
                    LimitScope::Key => &pool.keys()[key].concurrency,
                    LimitScope::Provider => pool.concurrency(),
                };
                permit = acquire(limit, by).await;
                if permit.is_none() {
                    return Err(state);
                }
            }
            _ => return Err(state),
        }
    }
}
