//! A wait for a place where there is no choice: of a client, or at the one key that will do.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::Call;
use crate::keys::concurrency::{ConcurrencyLimit, Permit, Waiter};
use crate::keys::{KeyReservation, KeyState, LimitScope};
use crate::route::Hop;

/// One of these places, as soon as one is free. `None`: not by then, or too many wait already.
pub(in crate::gateway) async fn place(
    places: &Arc<ConcurrencyLimit>,
    by: Instant,
) -> Option<Permit> {
    if let Some(permit) = places.try_acquire() {
        return Some(permit);
    }
    let mut waiter = Waiter::default();
    if !waiter.enqueue(places) {
        return None;
    }
    timeout_at(by, waiter).await.ok()
}

/// What a request takes up at this key, as soon as its limits allow; why not, when that is not within
/// `server.queue_timeout`.
pub(super) async fn hold(
    call: &Call<'_>,
    hop: Hop<'_>,
    key: usize,
) -> Result<KeyReservation, KeyState> {
    let pool = &call.gateway.providers[hop.provider].pool;
    let by = Instant::now() + call.gateway.config.server.queue_timeout;
    let mut given = None;
    loop {
        let now = Instant::now();
        let standing = match pool.reserve(key, call.want(hop), &mut given, now.into_std()) {
            Ok(held) => return Ok(held),
            Err(standing) => standing,
        };
        // A place that cannot be used now is for whoever can use it.
        given = None;
        match standing {
            _ if now >= by => return Err(standing),
            KeyState::CoolingDown { remaining, .. } if now + remaining <= by => {
                sleep_until(now + remaining).await;
            }
            KeyState::Busy(whose) => {
                let places = match whose {
                    LimitScope::Key => &pool.keys()[key].concurrency,
                    LimitScope::Provider => pool.concurrency(),
                };
                given = place(places, by).await;
                if given.is_none() {
                    return Err(standing);
                }
            }
            _ => return Err(standing),
        }
    }
}
