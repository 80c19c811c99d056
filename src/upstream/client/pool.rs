//! Idle connections, kept for the next request to the same host.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};
use tokio::time::Instant;

use super::h1_connection::H1Connection;

/// Idle connections kept for each host. Reached only when more were in use at once a moment ago; the
/// pool closes them after [`IDLE`].
pub(super) const IDLE_PER_HOST: usize = 1024;
/// How long an idle connection is kept: less than the 60 s after which common load balancers drop it.
pub(super) const IDLE: Duration = Duration::from_secs(55);
/// How often idle connections that no request uses are checked.
const SWEEP: Duration = Duration::from_secs(30);

/// The hosts that one client has connected to.
#[derive(Debug, Default)]
pub(super) struct Pool {
    hosts: Mutex<Vec<Arc<Host>>>,
    has_sweeper: AtomicBool,
}

/// A scheme and an authority, and the idle connections to it.
#[derive(Debug)]
pub(super) struct Host {
    scheme: Scheme,
    authority: Authority,
    header: HeaderValue,
    h2: AtomicBool,
    /// The oldest first.
    idle: Mutex<Vec<(Instant, H1Connection)>>,
}

impl Pool {
    /// Returns the host of the URI; `None` if the URI has no scheme or authority.
    pub(super) fn host(&self, uri: &Uri) -> Option<Arc<Host>> {
        let (scheme, authority) = (uri.scheme()?, uri.authority()?);
        let mut hosts = lock(&self.hosts);
        let same = |h: &&Arc<Host>| h.authority == *authority && h.scheme == *scheme;
        if let Some(host) = hosts.iter().find(same) {
            return Some(host.clone());
        }
        let host = Arc::new(Host::new(scheme, authority)?);
        hosts.push(host.clone());
        Some(host)
    }

    /// Starts the task that closes old idle connections when no further request comes. Does nothing the
    /// second time. Must be called within the runtime.
    pub(super) fn start_sweeper(self: &Arc<Self>) {
        if self.has_sweeper.swap(true, Ordering::Relaxed) {
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
        let hosts = lock(&self.hosts).clone();
        for host in hosts {
            host.sweep();
        }
    }
}

impl Host {
    fn new(scheme: &Scheme, authority: &Authority) -> Option<Self> {
        let default_port = if *scheme == Scheme::HTTPS { 443 } else { 80 };
        let header = match authority.port_u16() {
            Some(port) if port != default_port => format!("{}:{port}", authority.host()),
            _ => authority.host().to_owned(),
        };
        Some(Self {
            scheme: scheme.clone(),
            authority: authority.clone(),
            header: HeaderValue::try_from(header).ok()?,
            h2: AtomicBool::new(false),
            idle: Mutex::default(),
        })
    }

    /// Returns the value of the Host header.
    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    pub(super) fn supports_h2(&self) -> bool {
        self.h2.load(Ordering::Relaxed)
    }

    pub(super) fn set_h2(&self) {
        self.h2.store(true, Ordering::Relaxed);
    }

    /// Takes the most recently used connection that is still usable.
    pub(super) fn pop(&self) -> Option<H1Connection> {
        loop {
            let (since, mut connection) = lock(&self.idle).pop()?;
            if since.elapsed() < IDLE && connection.is_usable() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection that has served its request.
    pub(super) fn push(&self, connection: H1Connection) {
        let now = Instant::now();
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_PER_HOST {
            idle.push((now, connection));
        }
    }

    /// Closes connections that were idle for too long.
    fn sweep(&self) {
        let now = Instant::now();
        let old: Vec<_> = {
            let mut idle = lock(&self.idle);
            let count = idle.partition_point(|(since, _)| now.duration_since(*since) >= IDLE);
            idle.drain(..count).collect()
        };
        // After the lock is released: closing a connection takes system calls.
        drop(old);
    }
}

/// Ignores poisoning: a panic elsewhere leaves these lists intact.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
