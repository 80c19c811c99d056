//! A wait for a place where there is no choice: of a client, or at the one key that will do.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::Call;
use crate::keys::places::{Permit, Places, Waiter};
use crate::keys::{Held, Standing, Whose};
use crate::route::Target;

/// One of these places, as soon as one is free. `None`: not by then, or too many wait already.
pub(in crate::gateway) async fn place(places: &Arc<Places>, by: Instant) -> Option<Permit> {
    if let Some(permit) = places.take() {
        return Some(permit);
    }
    let mut waiter = Waiter::default();
    if !waiter.line_up(places) {
        return None;
    }
    timeout_at(by, waiter).await.ok()
}

/// What a request takes up at this key, as soon as its limits allow; why not, when that is not within
/// `server.queue_timeout`.
pub(super) async fn hold(call: &Call<'_>, hop: Target<'_>, key: usize) -> Result<Held, Standing> {
    let pool = &call.gateway.providers[hop.provider].pool;
    let by = Instant::now() + call.gateway.config.server.queue_timeout;
    let mut given = None;
    loop {
        let now = Instant::now();
        let standing = match pool.hold(key, call.want(hop), &mut given, now.into_std()) {
            Ok(held) => return Ok(held),
            Err(standing) => standing,
        };
        // A place that cannot be used now is for whoever can use it.
        given = None;
        match standing {
            _ if now >= by => return Err(standing),
            Standing::Cooling { left, .. } if now + left <= by => sleep_until(now + left).await,
            Standing::Busy(whose) => {
                let places = match whose {
                    Whose::Key => &pool.members()[key].places,
                    Whose::Provider => pool.places(),
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
