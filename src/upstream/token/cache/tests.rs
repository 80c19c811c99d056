use std::sync::Mutex;

use tokio::time::{advance, sleep};

use super::*;
use crate::upstream::error::TokenError;

/// One step of a scripted issuer.
#[derive(Clone, Copy)]
enum Step {
    /// Returns a token with this lifetime after this delay, in seconds.
    Token(u64, u64),
    Refuse,
    Fail,
    Hang,
    Panic,
}

/// An issuer that follows a script and repeats its last step. The tokens are numbers from 0.
#[derive(Clone)]
struct Issuer {
    script: &'static [Step],
    fetches: Arc<Mutex<Vec<Instant>>>,
}

impl Issuer {
    fn start(script: &'static [Step]) -> (Self, Arc<TokenCache<usize>>) {
        let issuer = Self { script, fetches: Arc::default() };
        let cache = TokenCache::start("test".to_owned(), issuer.clone());
        (issuer, cache)
    }

    fn fetches(&self) -> Vec<Instant> {
        self.fetches.lock().unwrap().clone()
    }

    /// Returns the waits between the fetches, in seconds.
    fn waits(&self) -> Vec<f64> {
        self.fetches().windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    }
}

impl TokenSource<usize> for Issuer {
    async fn fetch(&self) -> Result<NewToken<usize>, TokenError> {
        let value = {
            let mut fetches = self.fetches.lock().unwrap();
            fetches.push(Instant::now());
            fetches.len() - 1
        };
        match self.script[value.min(self.script.len() - 1)] {
            Step::Token(lifetime, delay) => {
                sleep(seconds(delay)).await;
                Ok(NewToken { value, lifetime: seconds(lifetime) })
            }
            Step::Refuse => Err(TokenError::refused("returned invalid_client")),
            Step::Fail => Err(TokenError::unreachable("returned status 503")),
            Step::Hang => std::future::pending().await,
            Step::Panic => panic!("as a library may"),
        }
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Runs all tasks that are ready, while the clock stands still.
async fn settled() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn get(cache: &TokenCache<usize>) -> Result<usize, TokenError> {
    cache.get().await.map(|token| token.value)
}

/// Like [`get`], but panics if the call waits.
async fn get_at_once(cache: &TokenCache<usize>) -> Result<usize, TokenError> {
    let now = Instant::now();
    let got = get(cache).await;
    assert_eq!(Instant::now(), now, "the call waited");
    got
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_share_one_fetch() {
    let (issuer, cache) = Issuer::start(&[Step::Token(3600, 2)]);
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let cache = cache.clone();
        tasks.spawn(async move { get(&cache).await });
    }
    assert_eq!(tasks.join_all().await, vec![Ok(0); 50]);
    sleep(seconds(60)).await;
    assert_eq!(issuer.fetches().len(), 1);
    assert_eq!(get_at_once(&cache).await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_fetched_before_the_first_request() {
    let (_issuer, cache) = Issuer::start(&[Step::Token(3600, 0)]);
    settled().await;
    assert_eq!(cache.current().unwrap().value, 0);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_early_and_never_missing() {
    // Life, and the earliest and latest moment of its replacement.
    for (script, first, last) in [
        (&[Step::Token(3600, 1)] as &[Step], 2592.0, 2880.0),
        (&[Step::Token(1200, 1)], 810.0, 900.0),
        (&[Step::Token(700, 1)], 360.0, 400.0),
        (&[Step::Token(300, 1)], 216.0, 240.0),
        (&[Step::Token(86400 * 365, 1)], 62208.0, 69120.0),
    ] {
        let (issuer, cache) = Issuer::start(script);
        cache.get().await.unwrap();
        while issuer.fetches().len() < 4 {
            assert!(cache.current().is_some(), "a token is missing");
            sleep(Duration::from_secs_f64(last / 100.0)).await;
        }
        for wait in issuer.waits() {
            assert!(first <= wait && wait <= last, "{wait} is not in {first}..{last}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_fetched_together_are_not_renewed_together() {
    let cells: Vec<_> = (0..20).map(|_| Issuer::start(&[Step::Token(3600, 0)])).collect();
    sleep(seconds(3000)).await;
    let mut waits: Vec<f64> = cells.iter().map(|(issuer, _)| issuer.waits()[0]).collect();
    waits.sort_by(f64::total_cmp);
    waits.dedup();
    assert!(waits.len() > 15, "{waits:?}");
    assert!(waits[waits.len() - 1] - waits[0] > 60.0, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_used_until_it_expires_while_its_issuer_is_down() {
    let (issuer, cache) = Issuer::start(&[Step::Token(1000, 0), Step::Fail]);
    settled().await;
    let born = Instant::now();
    while born.elapsed() < seconds(999) {
        assert_eq!(get_at_once(&cache).await, Ok(0));
        advance(seconds(1)).await;
        settled().await;
    }
    advance(seconds(1)).await;
    assert_eq!(get_at_once(&cache).await, Err(TokenError::unreachable("returned status 503")));
    assert!(issuer.fetches().len() > 5);
}

#[tokio::test(start_paused = true)]
async fn the_wait_between_failed_fetches_grows() {
    let (issuer, _cell) = Issuer::start(&[Step::Fail]);
    sleep(seconds(600)).await;
    let waits = issuer.waits();
    for (at, wait) in waits.iter().enumerate() {
        let longest = f64::from(1 << at.min(6)).min(60.0);
        assert!(longest * 0.8 <= *wait && *wait <= longest + 0.01, "{at}: {wait}");
    }
    assert!(waits.len() > 10 && waits.len() < 20, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_returned_at_once_and_retried_rarely() {
    let (issuer, cache) = Issuer::start(&[Step::Refuse]);
    let refused = Err(TokenError::refused("returned invalid_client"));
    assert_eq!(get(&cache).await, refused);
    for _ in 0..100 {
        advance(Duration::from_millis(40)).await;
        assert_eq!(get_at_once(&cache).await, refused);
    }
    assert_eq!(issuer.fetches().len(), 1, "4 s, and 100 requests");
    sleep(seconds(3600)).await;
    let fetches = issuer.fetches().len();
    assert!((8..=14).contains(&fetches), "fetches {fetches} times in an hour");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_finds_an_old_failure_starts_a_fetch() {
    let (issuer, cache) = Issuer::start(&[Step::Refuse, Step::Token(3600, 2)]);
    get(&cache).await.unwrap_err();
    advance(seconds(6)).await;
    // It does not wait for the fetch, which may take another ten seconds.
    get_at_once(&cache).await.unwrap_err();
    settled().await;
    assert_eq!(issuer.fetches().len(), 2);
    sleep(seconds(3)).await;
    assert_eq!(get_at_once(&cache).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_many_requests_report_rejected_is_replaced_once() {
    let (issuer, cache) = Issuer::start(&[Step::Token(3600, 1)]);
    let refused = cache.get().await.unwrap();
    let mut tasks = JoinSet::new();
    for at in 0..50 {
        let (cache, refused) = (cache.clone(), refused.clone());
        tasks.spawn(async move {
            // Some learn of it when the next one is there already.
            sleep(Duration::from_millis(at * 100)).await;
            cache.invalidate(&refused);
            get(&cache).await
        });
    }
    assert_eq!(tasks.join_all().await, vec![Ok(1); 50]);
    sleep(seconds(60)).await;
    assert_eq!(issuer.fetches().len(), 2);
    let recent: Vec<usize> = cache.recent().map(|token| token.value).collect();
    assert_eq!(recent, [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_hangs_times_out_and_delays_no_other() {
    let (_silent, hanging) = Issuer::start(&[Step::Hang]);
    let (_fine, other) = Issuer::start(&[Step::Token(3600, 0)]);
    settled().await;
    assert_eq!(get_at_once(&other).await, Ok(0));
    let began = Instant::now();
    assert_eq!(get(&hanging).await, Err(TokenError::Timeout));
    assert_eq!(began.elapsed().as_secs(), 10);
    for _ in 0..60 {
        advance(Duration::from_millis(500)).await;
        get_at_once(&hanging).await.unwrap_err();
        assert_eq!(get_at_once(&other).await, Ok(0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_and_an_expired_token_fail_the_fetch() {
    let (_issuer, cache) = Issuer::start(&[Step::Panic, Step::Token(0, 0), Step::Token(60, 0)]);
    assert_eq!(get(&cache).await, Err(TokenError::unreachable("returned an unreadable answer")));
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(
        get_at_once(&cache).await,
        Err(TokenError::unreachable("returned an expired token"))
    );
    sleep(seconds(3)).await;
    assert_eq!(get_at_once(&cache).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn short_lived_tokens_are_fetched_with_a_pause() {
    let (issuer, cache) = Issuer::start(&[Step::Token(1, 0)]);
    cache.get().await.unwrap();
    sleep(seconds(60)).await;
    assert!(issuer.fetches().len() <= 62, "{}", issuer.fetches().len());
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_user_of_the_cache() {
    for script in [&[Step::Token(60, 0)] as &[Step], &[Step::Hang], &[Step::Fail]] {
        let (issuer, cache) = Issuer::start(script);
        settled().await;
        drop(cache);
        settled().await;
        assert_eq!(Arc::strong_count(&issuer.fetches), 1, "nobody holds what mints");
    }
}
