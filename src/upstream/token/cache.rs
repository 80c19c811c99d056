//! One credential's current token, and the task that keeps it fresh.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::upstream::error::TokenError;

/// How long one mint may take, all its requests together.
const MINT: Duration = Duration::from_secs(10);
/// A token is replaced at least that long before its end, where it lives for more than twice as long.
const EARLY: Duration = Duration::from_secs(5 * 60);
/// No lifetime is believed that is longer: Azure's managed identities have the longest, a day.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Two mints are not closer than this, however short tokens live.
const CLOSEST: Duration = Duration::from_secs(1);
/// The first and the longest wait after a mint that got no answer.
const UNREACHABLE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The first and the longest wait after a refusal, which somebody has to put right.
const REFUSED: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));
/// A request that finds a failure older than this makes the task try again at once.
const FAILURE: Duration = Duration::from_secs(5);

/// Makes tokens of one credential.
pub trait TokenSource<T>: Send + Sync + 'static {
    /// Asks for a new token; never answered from a cache. The caller sets the time limit.
    fn mint(&self) -> impl Future<Output = Result<NewToken<T>, TokenError>> + Send;
}

/// A token as it comes from its issuer.
pub struct NewToken<T> {
    /// The token in the form in which it is used.
    pub value: T,
    /// How long it is good for, counted from the moment it was asked for.
    pub lives: Duration,
}

/// A token in use.
pub struct CachedToken<T> {
    /// The token in the form in which it is used.
    pub value: T,
    until: Instant,
}

/// One credential's current token. A task of its own mints the first one at once and each further one
/// early; it ends with the last `Arc` of the cell.
pub struct TokenCache<T> {
    name: String,
    current: ArcSwapOption<CachedToken<T>>,
    /// The one before it: an answer that is still on its way may hold it.
    previous: ArcSwapOption<CachedToken<T>>,
    /// Changes with the end of each mint.
    failure: watch::Sender<Option<Failure>>,
    wanted: Arc<Notify>,
    keeper: OnceLock<AbortHandle>,
}

/// How the latest mint failed.
#[derive(Clone)]
struct Failure {
    why: TokenError,
    /// Until then no request makes the task try again.
    until: Instant,
    /// How many have failed in a row.
    count: u32,
}

impl<T: Send + Sync + 'static> TokenCache<T> {
    /// Begins to mint. `name` is what log lines call the credential. Must be called within the runtime.
    pub fn new(name: String, mint: impl TokenSource<T>) -> Arc<Self> {
        let cell = Arc::new(Self {
            name,
            current: ArcSwapOption::empty(),
            previous: ArcSwapOption::empty(),
            failure: watch::Sender::new(None),
            wanted: Arc::default(),
            keeper: OnceLock::new(),
        });
        let task = tokio::spawn(keep(Arc::downgrade(&cell), cell.wanted.clone(), Arc::new(mint)));
        let _ = cell.keeper.set(task.abort_handle());
        cell
    }

    /// The token that requests go with now.
    pub fn current(&self) -> Option<Arc<CachedToken<T>>> {
        self.current.load_full().filter(|minted| Instant::now() < minted.until)
    }

    /// The current token: at once when there is one; else when the mint under way has ended. While
    /// mints fail, the reason at once. The caller sets the time limit.
    pub async fn get(&self) -> Result<Arc<CachedToken<T>>, TokenError> {
        if let Some(minted) = self.current() {
            return Ok(minted);
        }
        let mut ends = self.failure.subscribe();
        loop {
            let failure = ends.borrow_and_update().clone();
            if let Some(minted) = self.current() {
                return Ok(minted);
            }
            self.wanted.notify_one();
            if let Some(failure) = failure {
                return Err(failure.why);
            }
            if ends.changed().await.is_err() {
                return Err(TokenError::unreachable("is no longer asked"));
            }
        }
    }

    /// The provider does not take this token: a new one is minted, unless that has been done already.
    pub fn invalidate(&self, refused: &Arc<CachedToken<T>>) {
        let refused = Some(refused.clone());
        let found = self.current.compare_and_swap(&refused, None);
        if found.as_ref().map(Arc::as_ptr) == refused.as_ref().map(Arc::as_ptr) {
            self.previous.store(refused);
            self.wanted.notify_one();
        }
    }

    /// The current token and the one before it: what an answer on its way may hold.
    pub fn recent(&self) -> impl Iterator<Item = Arc<CachedToken<T>>> {
        [self.current.load_full(), self.previous.load_full()].into_iter().flatten()
    }

    /// Whether a request waits for what the task has not begun.
    fn lacks(&self) -> bool {
        let held = |failure: &Failure| Instant::now() < failure.until;
        self.current().is_none() && !self.failure.borrow().as_ref().is_some_and(held)
    }

    /// Takes in what came of a mint begun at that moment; says when the next is due.
    fn settle(&self, began: Instant, outcome: Result<NewToken<T>, TokenError>) -> Instant {
        let now = Instant::now();
        let outcome = outcome.and_then(|fresh| {
            let lives = fresh.lives.min(LONGEST);
            let until = began + lives;
            let run_out = || TokenError::unreachable("gave a token that has already run out");
            if now < until { Ok((fresh.value, until, lives)) } else { Err(run_out()) }
        });
        match outcome {
            Ok((value, until, lives)) => {
                let minted = Some(Arc::new(CachedToken { value, until }));
                if let Some(old) = self.current.swap(minted) {
                    self.previous.store(Some(old));
                }
                if self.failure.send_replace(None).is_some() {
                    tracing::info!(credential = self.name, "there is a token again");
                }
                (began + early(lives)).max(now + CLOSEST)
            }
            Err(why) => {
                let before = self.failure.borrow().clone();
                if before.as_ref().is_none_or(|before| before.why != why) {
                    tracing::warn!(credential = self.name, "no token: its issuer {why}");
                }
                let count = before.map_or(0, |before| before.count + 1);
                let wait = wait(&why, count);
                let until = now + wait.min(FAILURE);
                self.failure.send_replace(Some(Failure { why, until, count }));
                now + wait
            }
        }
    }
}

impl<T> Drop for TokenCache<T> {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.abort();
        }
    }
}

async fn keep<T: Send + Sync + 'static, M: TokenSource<T>>(
    cell: Weak<TokenCache<T>>,
    wanted: Arc<Notify>,
    mint: Arc<M>,
) {
    loop {
        let began = Instant::now();
        let outcome = once(mint.clone()).await;
        // Held for no longer than this: the cell must be free to end while the task sleeps.
        let Some(next) = cell.upgrade().map(|cell| cell.settle(began, outcome)) else { return };
        loop {
            tokio::select! {
                () = sleep_until(next) => break,
                () = wanted.notified() => {
                    // Those who waited for the mint that has just ended have called as well.
                    if cell.upgrade().is_some_and(|cell| cell.lacks()) {
                        break;
                    }
                }
            }
        }
    }
}

/// One mint in a task of its own: a panic in a library, over an answer it did not expect, is a failed
/// mint and not the end of all minting.
async fn once<T: Send + 'static, M: TokenSource<T>>(
    mint: Arc<M>,
) -> Result<NewToken<T>, TokenError> {
    let mut task = JoinSet::new();
    task.spawn(async move { timeout(MINT, mint.mint()).await });
    match task.join_next().await {
        Some(Ok(Ok(outcome))) => outcome,
        Some(Ok(Err(_))) => Err(TokenError::Timeout),
        Some(Err(_)) | None => Err(TokenError::unreachable("gave an answer that cannot be read")),
    }
}

/// When a token that lives so long is replaced: at four fifths of its life, or [`EARLY`] before its
/// end; up to a tenth sooner, so that tokens made together are not replaced together.
fn early(lives: Duration) -> Duration {
    let mut at = lives * 4 / 5;
    if lives > EARLY * 2 {
        at = at.min(lives.saturating_sub(EARLY));
    }
    at.mul_f64(1.0 - 0.1 * random())
}

/// How long to wait after so many failures before this one.
fn wait(why: &TokenError, count: u32) -> Duration {
    let (first, longest) = match why {
        TokenError::Refused(_) => REFUSED,
        TokenError::Unreachable(_) | TokenError::Timeout => UNREACHABLE,
    };
    first.saturating_mul(1 << count.min(10)).min(longest).mul_f64(1.0 - 0.2 * random())
}

/// From 0 to 1. For jitter; nothing depends on its being hard to guess.
fn random() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are plenty")]
    let number = RandomState::new().hash_one(()) as f64;
    number / 18_446_744_073_709_551_616.0
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
