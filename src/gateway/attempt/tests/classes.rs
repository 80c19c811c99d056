//! The table of failures, row by row and through all that stands between an answer and the next choice: what
//! cools, for how long, for how long after a failed probe, and who is asked next.
//!
//! `a` is asked whenever it may be; `b` only when it may not.

use super::*;

/// What of a key is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Key,
    Model,
}
use Scope::{Key, Model};

const KEYS: [&str; 2] = ["a", "b=0"];

fn coded(status: u16, code: &str) -> Says {
    Says::Answer(status, vec![], json!({"error": {"code": code, "message": "no"}}))
}

/// Failures, how many in a row begin a cooldown, what cools, and the first three spans in seconds.
fn rows() -> Vec<(Says, usize, Scope, [u64; 3])> {
    vec![
        (coded(401, "invalid_api_key"), 1, Key, [300, 600, 1200]),
        (fails(401), 1, Key, [300, 600, 1200]),
        (fails(403), 1, Key, [300, 600, 1200]),
        (coded(400, "invalid_api_key"), 1, Key, [300, 600, 1200]),
        (Says::Breaks(UpstreamError::CredentialRefused), 1, Key, [300, 600, 1200]),
        (coded(403, "model_not_found"), 1, Model, [300, 300, 300]),
        (coded(404, "model_not_found"), 1, Model, [300, 300, 300]),
        (fails(402), 1, Key, [600, 1200, 2400]),
        (coded(429, "insufficient_quota"), 1, Key, [600, 1200, 2400]),
        (coded(403, "billing_not_active"), 1, Key, [600, 1200, 2400]),
        (fails(429), 1, Model, [10, 20, 40]),
        (throttles(45_000), 1, Model, [45, 45, 45]),
        (throttles(2 * 3_600_000), 1, Model, [3600, 3600, 3600]),
        (fails(500), 3, Model, [5, 10, 20]),
        (fails(503), 3, Model, [5, 10, 20]),
        (fails(529), 3, Model, [5, 10, 20]),
        (Says::Breaks(UpstreamError::Connect), 3, Model, [5, 10, 20]),
        (Says::Breaks(UpstreamError::ConnectionLost), 3, Model, [5, 10, 20]),
        (Says::Breaks(UpstreamError::NoToken), 3, Model, [5, 10, 20]),
        (Says::Cut, 3, Model, [5, 10, 20]),
    ]
}

/// Lets `a` fail so with the model `m`.
fn failing(says: Says) -> World {
    World::new(&provider("p", "", &KEYS), move |asked| match (&*asked.key, &*asked.model) {
        ("a", "m") => says.clone(),
        _ => well(),
    })
}

/// Asks, and says whether `a` was asked. `b` has answered at once if it failed.
async fn asks_a(world: &World, model: &str) -> bool {
    let before = world.asked().len();
    let reply = world.ask(model).await;
    assert_eq!((reply.status, reply.took), (200, Duration::ZERO));
    world.asked()[before].key == "a"
}

/// How long `a` is left alone with `m` from now, to a fortieth of what is expected.
async fn left_alone(world: &World, expected: u64) -> Duration {
    let (began, step) = (Instant::now(), Duration::from_secs(expected) / 40);
    loop {
        if asks_a(world, "p/m").await {
            return began.elapsed();
        }
        sleep(step).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_row_cools_what_it_is_about_for_as_long_as_it_says() {
    for (says, in_a_row, scope, spans) in rows() {
        let told = format!("{says:?}");
        let world = failing(says);
        for _ in 0..in_a_row {
            assert!(asks_a(&world, "p/m").await, "{told}: nothing cools yet");
        }
        assert!(!asks_a(&world, "p/m").await, "{told}");
        assert_eq!(asks_a(&world, "p/other").await, scope == Model, "{told}");
        for expected in spans {
            let span = left_alone(&world, expected).await;
            let least = Duration::from_secs(expected);
            // A tenth of jitter, and a step of the measure; an hour is the longest there is.
            let most = least.mul_f64(1.1).min(Duration::from_secs(3600).max(least)) + least / 39;
            assert!((least..=most).contains(&span), "{told}: {span:?} for {least:?}");
            // What was asked is one probe, and it has failed.
            assert!(!asks_a(&world, "p/m").await, "{told}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_fault_of_the_keys_cools_nothing() {
    for says in [
        fails(400),
        fails(413),
        fails(422),
        coded(400, "content_policy_violation"),
        coded(400, "context_length_exceeded"),
        Says::Answer(404, vec![], json!({"error": {"message": "Unknown request URL"}})),
    ] {
        let told = format!("{says:?}");
        let world = failing(says);
        for number in 1..=10 {
            let reply = world.ask("p/m").await;
            assert_eq!((reply.attempts, reply.from.as_deref()), (1, Some("p/a")), "{told}");
            assert!(reply.refusal.is_none(), "{told}: the provider's own words");
            assert_eq!(world.asked().len(), number, "{told}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_provider_counts_as_one_in_trouble() {
    let text = provider("p", "timeouts = { first_byte = \"1s\" }", &["a"]);
    let world = World::new(&text, |_| Says::Nothing);
    for _ in 0..3 {
        assert_eq!((world.ask("p/m").await.status, world.asked().len() <= 3), (504, true));
    }
    let reply = world.ask("p/m").await;
    assert_eq!((reply.status, reply.attempts, reply.took), (503, 0, Duration::ZERO));
}

/// A throttled answer with these headers.
fn hinted(headers: &[(&'static str, &str)]) -> Says {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Says::Answer(429, headers, json!({"error": {"message": "slow down"}}))
}

/// For how long `a` is left alone after that, which is to be about so many seconds.
async fn is_left_alone(says: Says, expected: u64) {
    let told = format!("{says:?}");
    let world = failing(says);
    assert!(asks_a(&world, "p/m").await, "{told}");
    let span = left_alone(&world, expected).await;
    let least = Duration::from_secs(expected);
    assert!((least..=least.mul_f64(1.1) + least / 39).contains(&span), "{told}: {span:?}");
}

const NOW: (&str, &str) = ("date", "Wed, 28 Feb 2024 23:59:30 GMT");

#[tokio::test(start_paused = true)]
async fn every_form_of_a_hint_is_kept_to() {
    let used_up = ("x-ratelimit-remaining-requests", "0");
    let of_input = ("anthropic-ratelimit-input-tokens-remaining", "0");
    for (headers, expected) in [
        (&[("retry-after", "37")][..], 37),
        (&[("retry-after", "37.0")], 37),
        (&[("retry-after-ms", "37000")], 37),
        (&[("x-ms-retry-after-ms", "37000")], 37),
        (&[("retry-after", "Thu, 29 Feb 2024 00:00:15 GMT"), NOW], 45),
        (&[used_up, ("x-ratelimit-reset-requests", "6m0s")], 360),
        (&[of_input, ("anthropic-ratelimit-input-tokens-reset", "2024-02-29T00:00:15Z"), NOW], 45),
    ] {
        is_left_alone(hinted(headers), expected).await;
    }
    let info = json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37s"});
    let error =
        json!({"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "no", "details": [info]});
    is_left_alone(Says::Answer(429, vec![], json!({"error": error})), 37).await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_hint_is_none() {
    for bad in ["-1", "0", "NaN", "inf", "1e308", "soon", "", "Wed, 28 Feb 2024 23:59:00 GMT"] {
        is_left_alone(hinted(&[("retry-after", bad), NOW]), 10).await;
        is_left_alone(hinted(&[("retry-after-ms", bad), NOW]), 10).await;
        is_left_alone(hinted(&[("x-ms-retry-after-ms", bad), NOW]), 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_failure_extends_a_cooldown_and_never_shortens_it() {
    for (first, second) in [(30_000, 2000), (2000, 30_000)] {
        let turn = std::sync::atomic::AtomicUsize::new(0);
        // Both are under way before either has failed.
        let world = World::new(&provider("p", "", &["a"]), move |_| {
            match turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 => later(100, throttles(first)),
                1 => later(200, throttles(second)),
                _ => well(),
            }
        });
        let replies = tokio::join!(world.ask("p/m"), world.ask("p/m"));
        assert_eq!((replies.0.status, replies.1.status), (429, 429));
        sleep(Duration::from_secs(25)).await;
        assert_eq!(world.ask("p/m").await.attempts, 0);
        // And nothing was doubled.
        sleep(Duration::from_secs(9)).await;
        assert_eq!((world.ask("p/m").await.status, world.asked().len()), (200, 3));
    }
}
