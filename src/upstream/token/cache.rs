//! The current token of one credential, and the task that renews it.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::Transport;
use crate::secret::Fingerprint;
use crate::upstream::error::TokenError;

/// Time limit of one fetch, all its requests together.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// A token that lives longer than twice this is renewed at least this long before it expires.
const EARLY: Duration = Duration::from_secs(5 * 60);
/// A longer lifetime is cut to this: Azure's managed identities have the longest, one day.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Shortest time between two fetches, however short tokens live.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// The first and the longest wait after a fetch without an answer.
const UNREACHABLE_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The first and the longest wait after a refusal, which an operator has to fix.
const REFUSED_WAIT: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));
/// A request that finds a failure older than this starts the next fetch at once.
const FAILURE_HOLD: Duration = Duration::from_secs(5);

/// Fetches tokens for one credential.
pub trait TokenSource<T>: Send + Sync + 'static {
    /// Fetches a new token, never from a cache. The caller sets the time limit.
    fn fetch(&self) -> impl Future<Output = Result<NewToken<T>, TokenError>> + Send;
}

/// A token from its issuer.
pub struct NewToken<T> {
    /// The token in the form that requests need.
    pub value: T,
    /// Counted from the moment of the request for the token.
    pub lifetime: Duration,
}

/// A token in use.
pub struct CachedToken<T> {
    /// The token in the form that requests need.
    pub value: T,
    expires: Instant,
}

/// The current token of one credential. Its task fetches the first token at once and renews each one
/// early; the task ends with the last `Arc` of the cache.
pub struct TokenCache<T> {
    name: String,
    current: ArcSwapOption<CachedToken<T>>,
    /// The token before: an answer that is still in flight may contain it.
    previous: ArcSwapOption<CachedToken<T>>,
    /// Changes with the end of each fetch.
    failure: watch::Sender<Option<Failure>>,
    wanted: Arc<Notify>,
    task: OnceLock<AbortHandle>,
}

/// How the latest fetch failed.
#[derive(Clone)]
struct Failure {
    error: TokenError,
    /// Until then no request starts another fetch.
    held_until: Instant,
    /// Number of failures in a row before this one.
    earlier: u32,
}

impl<T: Send + Sync + 'static> TokenCache<T> {
    /// Starts to fetch. `name` identifies the credential in the log. Must be called within the runtime.
    pub fn start(name: String, source: impl TokenSource<T>) -> Arc<Self> {
        let cache = Arc::new(Self {
            name,
            current: ArcSwapOption::empty(),
            previous: ArcSwapOption::empty(),
            failure: watch::Sender::new(None),
            wanted: Arc::default(),
            task: OnceLock::new(),
        });
        let renewing = renew(Arc::downgrade(&cache), cache.wanted.clone(), Arc::new(source));
        let _ = cache.task.set(tokio::spawn(renewing).abort_handle());
        cache
    }

    /// Returns the current token, if there is one that has not expired.
    pub fn current(&self) -> Option<Arc<CachedToken<T>>> {
        self.current.load_full().filter(|token| Instant::now() < token.expires)
    }

    /// Returns the current token: at once if there is one, else after the fetch in progress. While
    /// fetches fail, returns the error at once. The caller sets the time limit.
    pub async fn get(&self) -> Result<Arc<CachedToken<T>>, TokenError> {
        if let Some(token) = self.current() {
            return Ok(token);
        }
        let mut fetches = self.failure.subscribe();
        loop {
            let failure = fetches.borrow_and_update().clone();
            if let Some(token) = self.current() {
                return Ok(token);
            }
            self.wanted.notify_one();
            if let Some(failure) = failure {
                return Err(failure.error);
            }
            if fetches.changed().await.is_err() {
                return Err(TokenError::unreachable("is no longer called"));
            }
        }
    }

    /// Fetches a new token because the provider rejected this one, unless that has been done already.
    pub fn invalidate(&self, rejected: &Arc<CachedToken<T>>) {
        let rejected = Some(rejected.clone());
        let found = self.current.compare_and_swap(&rejected, None);
        if found.as_ref().map(Arc::as_ptr) == rejected.as_ref().map(Arc::as_ptr) {
            self.previous.store(rejected);
            self.wanted.notify_one();
        }
    }

    /// Returns the current token and the one before it: the tokens that an answer in flight may contain.
    pub fn recent(&self) -> impl Iterator<Item = Arc<CachedToken<T>>> {
        [self.current.load_full(), self.previous.load_full()].into_iter().flatten()
    }

    /// Returns true if a request needs a fetch that the task has not started.
    fn needs_fetch(&self) -> bool {
        let is_held = |failure: &Failure| Instant::now() < failure.held_until;
        self.current().is_none() && !self.failure.borrow().as_ref().is_some_and(is_held)
    }

    /// Stores the result of a fetch that began at that moment; returns when the next fetch is due.
    fn store(&self, began: Instant, fetched: Result<NewToken<T>, TokenError>) -> Instant {
        let now = Instant::now();
        let fetched = fetched.and_then(|new| {
            let lifetime = new.lifetime.min(MAX_LIFETIME);
            let expires = began + lifetime;
            if now >= expires {
                return Err(TokenError::unreachable("returned an expired token"));
            }
            Ok((CachedToken { value: new.value, expires }, lifetime))
        });
        match fetched {
            Ok((token, lifetime)) => {
                if let Some(old) = self.current.swap(Some(Arc::new(token))) {
                    self.previous.store(Some(old));
                }
                if self.failure.send_replace(None).is_some() {
                    tracing::info!(credential = self.name, "the token issuer returns tokens again");
                }
                (began + renewal_age(lifetime)).max(now + MIN_INTERVAL)
            }
            Err(error) => {
                let before = self.failure.borrow().clone();
                if before.as_ref().is_none_or(|before| before.error != error) {
                    tracing::warn!(credential = self.name, "no token: the token issuer {error}");
                }
                let earlier = before.map_or(0, |before| before.earlier + 1);
                let wait = retry_wait(&error, earlier);
                let held_until = now + wait.min(FAILURE_HOLD);
                self.failure.send_replace(Some(Failure { error, held_until, earlier }));
                now + wait
            }
        }
    }
}

impl<T> Drop for TokenCache<T> {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

/// The task of a cache.
async fn renew<T: Send + Sync + 'static, S: TokenSource<T>>(
    cache: Weak<TokenCache<T>>,
    wanted: Arc<Notify>,
    source: Arc<S>,
) {
    loop {
        let began = Instant::now();
        let fetched = fetch_once(source.clone()).await;
        // Upgraded only for this call: the cache must be free to be dropped while the task sleeps.
        let Some(due) = cache.upgrade().map(|cache| cache.store(began, fetched)) else { return };
        loop {
            tokio::select! {
                () = sleep_until(due) => break,
                () = wanted.notified() => {
                    // Requests that waited for the fetch that has just ended have notified as well.
                    if cache.upgrade().is_some_and(|cache| cache.needs_fetch()) {
                        break;
                    }
                }
            }
        }
    }
}

/// Fetches once, in a separate task: a panic in a library, caused by an unexpected answer, fails one
/// fetch and does not end all renewal.
async fn fetch_once<T: Send + 'static, S: TokenSource<T>>(
    source: Arc<S>,
) -> Result<NewToken<T>, TokenError> {
    let mut task = JoinSet::new();
    task.spawn(async move { timeout(FETCH_TIMEOUT, source.fetch()).await });
    match task.join_next().await {
        Some(Ok(Ok(fetched))) => fetched,
        Some(Ok(Err(_))) => Err(TokenError::Timeout),
        Some(Err(_)) | None => Err(TokenError::unreachable("returned an unreadable answer")),
    }
}

/// Returns the age at which a token is renewed: four fifths of its lifetime, or [`EARLY`] before it
/// expires; up to a tenth sooner, so that tokens fetched together are not renewed together.
fn renewal_age(lifetime: Duration) -> Duration {
    let mut age = lifetime * 4 / 5;
    if lifetime > EARLY * 2 {
        age = age.min(lifetime.saturating_sub(EARLY));
    }
    age.mul_f64(1.0 - 0.1 * random())
}

/// Returns the wait after a failure, which doubles with each earlier failure in a row.
fn retry_wait(error: &TokenError, earlier: u32) -> Duration {
    let (first, longest) = match error {
        TokenError::Refused(_) => REFUSED_WAIT,
        TokenError::Unreachable(_) | TokenError::Timeout => UNREACHABLE_WAIT,
    };
    first.saturating_mul(1 << earlier.min(10)).min(longest).mul_f64(1.0 - 0.2 * random())
}

/// Returns a number from 0 to 1, for jitter; it need not be hard to guess.
fn random() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are enough")]
    let number = RandomState::new().hash_one(()) as f64;
    number / 18_446_744_073_709_551_616.0
}

/// The caches of one configuration for one type of token.
#[derive(Debug)]
pub struct TokenCaches<T> {
    caches: Vec<(Transport, Fingerprint, Arc<TokenCache<T>>)>,
}

impl<T: Send + Sync + 'static> TokenCaches<T> {
    /// Returns the cache of the credential with this fingerprint, reached over this transport: from this
    /// configuration, else from `before`, else a new one. Must be called within the runtime.
    pub fn cache(
        &mut self,
        transport: &Transport,
        credential: Fingerprint,
        before: Option<&Self>,
        name: &str,
        source: impl TokenSource<T>,
    ) -> Arc<TokenCache<T>> {
        if let Some(cache) = self.find(transport, credential) {
            return cache;
        }
        let taken_over = before.and_then(|before| before.find(transport, credential));
        let cache = taken_over.unwrap_or_else(|| TokenCache::start(name.to_owned(), source));
        self.caches.push((transport.clone(), credential, cache.clone()));
        cache
    }

    fn find(&self, transport: &Transport, credential: Fingerprint) -> Option<Arc<TokenCache<T>>> {
        let mut caches = self.caches.iter();
        let found = caches.find(|(t, c, _)| *c == credential && t == transport);
        found.map(|(_, _, cache)| cache.clone())
    }
}

impl<T> Default for TokenCaches<T> {
    fn default() -> Self {
        Self { caches: Vec::new() }
    }
}

impl<T> fmt::Debug for TokenCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for CachedToken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CachedToken")
    }
}

#[cfg(test)]
mod tests;
