//! Idle connections, kept for the next request to the same place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};
use tokio::time::Instant;

use super::h1_connection::Link;

/// Idle connections kept for each host. More than that were in use at once a moment ago; the pool
/// closes them after [`IDLE`].
pub(super) const IDLE_PER_HOST: usize = 1024;
/// How long an idle connection is kept: under the 60 s after which common load balancers drop it.
pub(super) const IDLE: Duration = Duration::from_secs(55);
/// How often connections that nobody asks for are looked at.
const SWEEP: Duration = Duration::from_secs(30);

/// The places that one client has been to.
#[derive(Debug, Default)]
pub(super) struct Pool {
    places: Mutex<Vec<Arc<Place>>>,
    swept: AtomicBool,
}

/// A scheme and an authority, and the idle connections to it.
#[derive(Debug)]
pub(super) struct Place {
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    h2: AtomicBool,
    /// The oldest first.
    idle: Mutex<Vec<(Instant, Link)>>,
}

impl Pool {
    /// The place that the URI names; `None` when it names none.
    pub(super) fn place(&self, uri: &Uri) -> Option<Arc<Place>> {
        let (scheme, authority) = (uri.scheme()?, uri.authority()?);
        let mut places = locked(&self.places);
        let same = |p: &&Arc<Place>| p.authority == *authority && p.scheme == *scheme;
        if let Some(place) = places.iter().find(same) {
            return Some(place.clone());
        }
        let place = Arc::new(Place::new(scheme, authority)?);
        places.push(place.clone());
        Some(place)
    }

    /// Sees to it that idle connections end in time even when no further request comes. Must be
    /// called within the runtime.
    pub(super) fn keep_swept(self: &Arc<Self>) {
        if self.swept.swap(true, Ordering::Relaxed) {
            return;
        }
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(pool) = pool.upgrade() else { return };
                pool.sweep();
            }
        });
    }

    fn sweep(&self) {
        let places = locked(&self.places).clone();
        for place in places {
            place.sweep();
        }
    }
}

impl Place {
    fn new(scheme: &Scheme, authority: &Authority) -> Option<Self> {
        let usual = if *scheme == Scheme::HTTPS { 443 } else { 80 };
        let host = match authority.port_u16() {
            Some(port) if port != usual => format!("{}:{port}", authority.host()),
            _ => authority.host().to_owned(),
        };
        Some(Self {
            scheme: scheme.clone(),
            authority: authority.clone(),
            host: HeaderValue::try_from(host).ok()?,
            h2: AtomicBool::new(false),
            idle: Mutex::default(),
        })
    }

    /// The value of the Host header.
    pub(super) fn host(&self) -> HeaderValue {
        self.host.clone()
    }

    pub(super) fn speaks_h2(&self) -> bool {
        self.h2.load(Ordering::Relaxed)
    }

    pub(super) fn set_h2(&self) {
        self.h2.store(true, Ordering::Relaxed);
    }

    /// The connection used last that is still good.
    pub(super) fn pop(&self) -> Option<Link> {
        loop {
            let (since, mut link) = locked(&self.idle).pop()?;
            if since.elapsed() < IDLE && link.is_usable() {
                return Some(link);
            }
        }
    }

    /// Keeps a connection that has served its request.
    pub(super) fn push(&self, link: Link) {
        let now = Instant::now();
        let mut idle = locked(&self.idle);
        if idle.len() < IDLE_PER_HOST {
            idle.push((now, link));
        }
    }

    /// Closes what has been idle for too long.
    fn sweep(&self) {
        let now = Instant::now();
        let old: Vec<_> = {
            let mut idle = locked(&self.idle);
            let fresh = idle.partition_point(|(since, _)| now.duration_since(*since) >= IDLE);
            idle.drain(..fresh).collect()
        };
        // Now that the lock is free again.
        drop(old);
    }
}

/// A panic elsewhere leaves the list as good as it was.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
