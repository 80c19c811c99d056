use std::sync::Mutex;

use tokio::time::{advance, sleep};

use super::*;
use crate::upstream::error::TokenError;

/// What an issuer does when it is asked.
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
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Issuer {
    fn cell(script: &'static [Does]) -> (Self, Arc<TokenCache<usize>>) {
        let issuer = Self { script, asked: Arc::default() };
        let cell = TokenCache::new("test".to_owned(), issuer.clone());
        (issuer, cell)
    }

    fn asked(&self) -> Vec<Instant> {
        self.asked.lock().unwrap().clone()
    }

    /// The waits between the times it was asked, in seconds.
    fn waits(&self) -> Vec<f64> {
        self.asked().windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    }
}

impl TokenSource<usize> for Issuer {
    async fn mint(&self) -> Result<NewToken<usize>, TokenError> {
        let value = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(Instant::now());
            asked.len() - 1
        };
        match self.script[value.min(self.script.len() - 1)] {
            Does::Give(lives, after) => {
                sleep(seconds(after)).await;
                Ok(NewToken { value, lives: seconds(lives) })
            }
            Does::Refuse => Err(TokenError::refused("says invalid_client")),
            Does::Fail => Err(TokenError::unreachable("answered 503")),
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

async fn given(cell: &TokenCache<usize>) -> Result<usize, TokenError> {
    cell.get().await.map(|minted| minted.value)
}

/// The same, with the clock standing still: nothing is waited for.
async fn given_at_once(cell: &TokenCache<usize>) -> Result<usize, TokenError> {
    let now = Instant::now();
    let given = given(cell).await;
    assert_eq!(Instant::now(), now, "it was waited for");
    given
}

#[tokio::test(start_paused = true)]
async fn fifty_requests_at_once_are_one_mint() {
    let (issuer, cell) = Issuer::cell(&[Does::Give(3600, 2)]);
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let cell = cell.clone();
        tasks.spawn(async move { given(&cell).await });
    }
    assert_eq!(tasks.join_all().await, vec![Ok(0); 50]);
    sleep(seconds(60)).await;
    assert_eq!(issuer.asked().len(), 1);
    assert_eq!(given_at_once(&cell).await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_minted_before_anybody_asks_for_it() {
    let (_issuer, cell) = Issuer::cell(&[Does::Give(3600, 0)]);
    settled().await;
    assert_eq!(cell.current().unwrap().value, 0);
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
        let (issuer, cell) = Issuer::cell(script);
        cell.get().await.unwrap();
        while issuer.asked().len() < 4 {
            assert!(cell.current().is_some(), "a token is missing");
            sleep(Duration::from_secs_f64(last / 100.0)).await;
        }
        for wait in issuer.waits() {
            assert!(first <= wait && wait <= last, "{wait} is not in {first}..{last}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_made_together_are_not_replaced_together() {
    let cells: Vec<_> = (0..20).map(|_| Issuer::cell(&[Does::Give(3600, 0)])).collect();
    sleep(seconds(3000)).await;
    let mut waits: Vec<f64> = cells.iter().map(|(issuer, _)| issuer.waits()[0]).collect();
    waits.sort_by(f64::total_cmp);
    waits.dedup();
    assert!(waits.len() > 15, "{waits:?}");
    assert!(waits[waits.len() - 1] - waits[0] > 60.0, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_served_to_its_end_while_its_issuer_is_down() {
    let (issuer, cell) = Issuer::cell(&[Does::Give(1000, 0), Does::Fail]);
    settled().await;
    let born = Instant::now();
    while born.elapsed() < seconds(999) {
        assert_eq!(given_at_once(&cell).await, Ok(0));
        advance(seconds(1)).await;
        settled().await;
    }
    advance(seconds(1)).await;
    assert_eq!(given_at_once(&cell).await, Err(TokenError::unreachable("answered 503")));
    assert!(issuer.asked().len() > 5);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_is_asked_less_and_less_often() {
    let (issuer, _cell) = Issuer::cell(&[Does::Fail]);
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
    let (issuer, cell) = Issuer::cell(&[Does::Refuse]);
    let refused = Err(TokenError::refused("says invalid_client"));
    assert_eq!(given(&cell).await, refused);
    for _ in 0..100 {
        advance(Duration::from_millis(40)).await;
        assert_eq!(given_at_once(&cell).await, refused);
    }
    assert_eq!(issuer.asked().len(), 1, "4 s, and 100 requests");
    sleep(seconds(3600)).await;
    let asked = issuer.asked().len();
    assert!((8..=14).contains(&asked), "asked {asked} times in an hour");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_finds_an_old_failure_has_the_issuer_asked_again() {
    let (issuer, cell) = Issuer::cell(&[Does::Refuse, Does::Give(3600, 2)]);
    given(&cell).await.unwrap_err();
    advance(seconds(6)).await;
    // It does not wait for what comes of it: that may be another ten seconds of silence.
    given_at_once(&cell).await.unwrap_err();
    settled().await;
    assert_eq!(issuer.asked().len(), 2);
    sleep(seconds(3)).await;
    assert_eq!(given_at_once(&cell).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_many_requests_saw_refused_is_replaced_once() {
    let (issuer, cell) = Issuer::cell(&[Does::Give(3600, 1)]);
    let refused = cell.get().await.unwrap();
    let mut tasks = JoinSet::new();
    for at in 0..50 {
        let (cell, refused) = (cell.clone(), refused.clone());
        tasks.spawn(async move {
            // Some learn of it when the next one is there already.
            sleep(Duration::from_millis(at * 100)).await;
            cell.invalidate(&refused);
            given(&cell).await
        });
    }
    assert_eq!(tasks.join_all().await, vec![Ok(1); 50]);
    sleep(seconds(60)).await;
    assert_eq!(issuer.asked().len(), 2);
    let recent: Vec<usize> = cell.recent().map(|minted| minted.value).collect();
    assert_eq!(recent, [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_hangs_is_given_up_and_delays_no_other() {
    let (_silent, hanging) = Issuer::cell(&[Does::Hang]);
    let (_fine, other) = Issuer::cell(&[Does::Give(3600, 0)]);
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
    let (_issuer, cell) = Issuer::cell(&[Does::Panic, Does::Give(0, 0), Does::Give(60, 0)]);
    assert_eq!(
        given(&cell).await,
        Err(TokenError::unreachable("gave an answer that cannot be read"))
    );
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(
        given_at_once(&cell).await,
        Err(TokenError::unreachable("gave a token that has already run out"))
    );
    sleep(seconds(3)).await;
    assert_eq!(given_at_once(&cell).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn tokens_that_hardly_live_are_not_minted_without_a_pause() {
    let (issuer, cell) = Issuer::cell(&[Does::Give(1, 0)]);
    cell.get().await.unwrap();
    sleep(seconds(60)).await;
    assert!(issuer.asked().len() <= 62, "{}", issuer.asked().len());
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_user_of_the_cell() {
    for script in [&[Does::Give(60, 0)] as &[Does], &[Does::Hang], &[Does::Fail]] {
        let (issuer, cell) = Issuer::cell(script);
        settled().await;
        drop(cell);
        settled().await;
        assert_eq!(Arc::strong_count(&issuer.asked), 1, "nobody holds what mints");
    }
}
