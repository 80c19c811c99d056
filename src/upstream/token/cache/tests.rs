use std::sync::Mutex;

use tokio::time::{advance, sleep};

use super::*;
use crate::upstream::error::TokenError;

/// What an issuer does when it is received.
#[derive(Clone, Copy)]
enum Does {
    /// Gives a token that lives so long, after so long.
    Give(u64, u64),
    Refuse,
    Fail,
    Hang,
    Panic,
}

/// An issuer that follows a script, its last step again and again. Tokens are numbers from 0.
#[derive(Clone)]
struct Issuer {
    script: &'static [Does],
    received: Arc<Mutex<Vec<Instant>>>,
}

impl Issuer {
    fn cache(script: &'static [Does]) -> (Self, Arc<TokenCache<usize>>) {
        let issuer = Self { script, received: Arc::default() };
        let cache = TokenCache::start("test".to_owned(), issuer.clone());
        (issuer, cache)
    }

    fn received(&self) -> Vec<Instant> {
        self.received.lock().unwrap().clone()
    }

    /// The waits between the times it was received, in seconds.
    fn waits(&self) -> Vec<f64> {
        self.received().windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    }
}

impl TokenSource<usize> for Issuer {
    async fn fetch(&self) -> Result<NewToken<usize>, TokenError> {
        let value = {
            let mut received = self.received.lock().unwrap();
            received.push(Instant::now());
            received.len() - 1
        };
        match self.script[value.min(self.script.len() - 1)] {
            Does::Give(lives, after) => {
                sleep(seconds(after)).await;
                Ok(NewToken { value, lifetime: seconds(lives) })
            }
            Does::Refuse => Err(TokenError::refused("returned invalid_client")),
            Does::Fail => Err(TokenError::unreachable("returned status 503")),
            Does::Hang => std::future::pending().await,
            Does::Panic => panic!("as a library may"),
        }
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Lets all tasks run that can, without the clock moving.
async fn settled() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn given(cache: &TokenCache<usize>) -> Result<usize, TokenError> {
    cache.get().await.map(|minted| minted.value)
}

/// The same, with the clock standing still: nothing is waited for.
async fn given_at_once(cache: &TokenCache<usize>) -> Result<usize, TokenError> {
    let now = Instant::now();
    let given = given(cache).await;
    assert_eq!(Instant::now(), now, "it was waited for");
    given
}

#[tokio::test(start_paused = true)]
async fn fifty_requests_at_once_are_one_mint() {
    let (issuer, cache) = Issuer::cache(&[Does::Give(3600, 2)]);
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let cache = cache.clone();
        tasks.spawn(async move { given(&cache).await });
    }
    assert_eq!(tasks.join_all().await, vec![Ok(0); 50]);
    sleep(seconds(60)).await;
    assert_eq!(issuer.received().len(), 1);
    assert_eq!(given_at_once(&cache).await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_minted_before_anybody_asks_for_it() {
    let (_issuer, cache) = Issuer::cache(&[Does::Give(3600, 0)]);
    settled().await;
    assert_eq!(cache.current().unwrap().value, 0);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_replaced_early_and_never_missing() {
    // Life, and the earliest and latest moment of its replacement.
    for (script, first, last) in [
        (&[Does::Give(3600, 1)] as &[Does], 2592.0, 2880.0),
        (&[Does::Give(1200, 1)], 810.0, 900.0),
        (&[Does::Give(700, 1)], 360.0, 400.0),
        (&[Does::Give(300, 1)], 216.0, 240.0),
        (&[Does::Give(86400 * 365, 1)], 62208.0, 69120.0),
    ] {
        let (issuer, cache) = Issuer::cache(script);
        cache.get().await.unwrap();
        while issuer.received().len() < 4 {
            assert!(cache.current().is_some(), "a token is missing");
            sleep(Duration::from_secs_f64(last / 100.0)).await;
        }
        for wait in issuer.waits() {
            assert!(first <= wait && wait <= last, "{wait} is not in {first}..{last}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_made_together_are_not_replaced_together() {
    let cells: Vec<_> = (0..20).map(|_| Issuer::cache(&[Does::Give(3600, 0)])).collect();
    sleep(seconds(3000)).await;
    let mut waits: Vec<f64> = cells.iter().map(|(issuer, _)| issuer.waits()[0]).collect();
    waits.sort_by(f64::total_cmp);
    waits.dedup();
    assert!(waits.len() > 15, "{waits:?}");
    assert!(waits[waits.len() - 1] - waits[0] > 60.0, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_served_to_its_end_while_its_issuer_is_down() {
    let (issuer, cache) = Issuer::cache(&[Does::Give(1000, 0), Does::Fail]);
    settled().await;
    let born = Instant::now();
    while born.elapsed() < seconds(999) {
        assert_eq!(given_at_once(&cache).await, Ok(0));
        advance(seconds(1)).await;
        settled().await;
    }
    advance(seconds(1)).await;
    assert_eq!(given_at_once(&cache).await, Err(TokenError::unreachable("returned status 503")));
    assert!(issuer.received().len() > 5);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_is_asked_less_and_less_often() {
    let (issuer, _cell) = Issuer::cache(&[Does::Fail]);
    sleep(seconds(600)).await;
    let waits = issuer.waits();
    for (at, wait) in waits.iter().enumerate() {
        let longest = f64::from(1 << at.min(6)).min(60.0);
        assert!(longest * 0.8 <= *wait && *wait <= longest + 0.01, "{at}: {wait}");
    }
    assert!(waits.len() > 10 && waits.len() < 20, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_at_once_and_the_issuer_left_alone() {
    let (issuer, cache) = Issuer::cache(&[Does::Refuse]);
    let refused = Err(TokenError::refused("returned invalid_client"));
    assert_eq!(given(&cache).await, refused);
    for _ in 0..100 {
        advance(Duration::from_millis(40)).await;
        assert_eq!(given_at_once(&cache).await, refused);
    }
    assert_eq!(issuer.received().len(), 1, "4 s, and 100 requests");
    sleep(seconds(3600)).await;
    let received = issuer.received().len();
    assert!((8..=14).contains(&received), "received {received} times in an hour");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_finds_an_old_failure_has_the_issuer_asked_again() {
    let (issuer, cache) = Issuer::cache(&[Does::Refuse, Does::Give(3600, 2)]);
    given(&cache).await.unwrap_err();
    advance(seconds(6)).await;
    // It does not wait for what comes of it: that may be another ten seconds of silence.
    given_at_once(&cache).await.unwrap_err();
    settled().await;
    assert_eq!(issuer.received().len(), 2);
    sleep(seconds(3)).await;
    assert_eq!(given_at_once(&cache).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_many_requests_saw_refused_is_replaced_once() {
    let (issuer, cache) = Issuer::cache(&[Does::Give(3600, 1)]);
    let refused = cache.get().await.unwrap();
    let mut tasks = JoinSet::new();
    for at in 0..50 {
        let (cache, refused) = (cache.clone(), refused.clone());
        tasks.spawn(async move {
            // Some learn of it when the next one is there already.
            sleep(Duration::from_millis(at * 100)).await;
            cache.invalidate(&refused);
            given(&cache).await
        });
    }
    assert_eq!(tasks.join_all().await, vec![Ok(1); 50]);
    sleep(seconds(60)).await;
    assert_eq!(issuer.received().len(), 2);
    let recent: Vec<usize> = cache.recent().map(|minted| minted.value).collect();
    assert_eq!(recent, [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_hangs_is_given_up_and_delays_no_other() {
    let (_silent, hanging) = Issuer::cache(&[Does::Hang]);
    let (_fine, other) = Issuer::cache(&[Does::Give(3600, 0)]);
    settled().await;
    assert_eq!(given_at_once(&other).await, Ok(0));
    let began = Instant::now();
    assert_eq!(given(&hanging).await, Err(TokenError::Timeout));
    assert_eq!(began.elapsed().as_secs(), 10);
    for _ in 0..60 {
        advance(Duration::from_millis(500)).await;
        given_at_once(&hanging).await.unwrap_err();
        assert_eq!(given_at_once(&other).await, Ok(0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_and_a_token_without_life_are_failed_mints() {
    let (_issuer, cache) = Issuer::cache(&[Does::Panic, Does::Give(0, 0), Does::Give(60, 0)]);
    assert_eq!(given(&cache).await, Err(TokenError::unreachable("returned an unreadable answer")));
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(
        given_at_once(&cache).await,
        Err(TokenError::unreachable("returned an expired token"))
    );
    sleep(seconds(3)).await;
    assert_eq!(given_at_once(&cache).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn tokens_that_hardly_live_are_not_minted_without_a_pause() {
    let (issuer, cache) = Issuer::cache(&[Does::Give(1, 0)]);
    cache.get().await.unwrap();
    sleep(seconds(60)).await;
    assert!(issuer.received().len() <= 62, "{}", issuer.received().len());
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_user_of_the_cell() {
    for script in [&[Does::Give(60, 0)] as &[Does], &[Does::Hang], &[Does::Fail]] {
        let (issuer, cache) = Issuer::cache(script);
        settled().await;
        drop(cache);
        settled().await;
        assert_eq!(Arc::strong_count(&issuer.received), 1, "nobody holds what mints");
    }
}
