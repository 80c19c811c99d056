//! The table of failure classes, row by row, from the response to the next choice of a key: what
//! cools down, for how long, for how long after a failed probe, and which key is tried next.
//!
//! `a` is tried whenever it is available; `b` only when `a` is not.

use super::*;

/// The scope that cools down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Key,
    Model,
}
use Scope::{Key, Model};

const KEYS: [&str; 2] = ["a", "b=0"];

fn coded(status: u16, code: &str) -> Action {
    Action::Respond(status, vec![], json!({"error": {"code": code, "message": "no"}}))
}

/// Failures, how many in a row start a cooldown, its scope, and its first three durations in seconds.
fn rows() -> Vec<(Action, usize, Scope, [u64; 3])> {
    vec![
        (coded(401, "invalid_api_key"), 1, Key, [300, 600, 1200]),
        (fails(401), 1, Key, [300, 600, 1200]),
        (fails(403), 1, Key, [300, 600, 1200]),
        (coded(400, "invalid_api_key"), 1, Key, [300, 600, 1200]),
        (Action::Fail(UpstreamError::CredentialRefused), 1, Key, [300, 600, 1200]),
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
        (Action::Fail(UpstreamError::Connect), 3, Model, [5, 10, 20]),
        (Action::Fail(UpstreamError::ConnectionLost), 3, Model, [5, 10, 20]),
        (Action::Fail(UpstreamError::NoToken), 3, Model, [5, 10, 20]),
        (Action::Cut, 3, Model, [5, 10, 20]),
    ]
}

/// A provider whose key `a` fails like this with the model `m`.
fn failing(action: Action) -> World {
    World::new(&provider("p", "", &KEYS), move |received| {
        match (&*received.key, &*received.model) {
            ("a", "m") => action.clone(),
            _ => succeeds(),
        }
    })
}

/// Sends a request. Returns true if `a` was tried; if it failed, `b` answers at once.
async fn tries_a(world: &World, model: &str) -> bool {
    let before = world.received().len();
    let reply = world.request(model).await;
    assert_eq!((reply.status, reply.took), (200, Duration::ZERO));
    world.received()[before].key == "a"
}

/// Returns how long `a` cools down with `m` from now, with a precision of a fortieth of the expected time.
async fn left_alone(world: &World, expected: u64) -> Duration {
    let (began, step) = (Instant::now(), Duration::from_secs(expected) / 40);
    loop {
        if tries_a(world, "p/m").await {
            return began.elapsed();
        }
        sleep(step).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_failure_class_cools_its_scope_for_its_time() {
    for (action, in_a_row, scope, spans) in rows() {
        let case = format!("{action:?}");
        let world = failing(action);
        for _ in 0..in_a_row {
            assert!(tries_a(&world, "p/m").await, "{case}: no cooldown yet");
        }
        assert!(!tries_a(&world, "p/m").await, "{case}");
        assert_eq!(tries_a(&world, "p/other").await, scope == Model, "{case}");
        for expected in spans {
            let span = left_alone(&world, expected).await;
            let least = Duration::from_secs(expected);
            // A tenth of jitter and one step of the measurement; an hour is the maximum.
            let most = least.mul_f64(1.1).min(Duration::from_secs(3600).max(least)) + least / 39;
            assert!((least..=most).contains(&span), "{case}: {span:?} for {least:?}");
            // The attempt was a probe, and it has failed.
            assert!(!tries_a(&world, "p/m").await, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failures_that_are_not_the_keys_fault_cool_nothing() {
    for action in [
        fails(400),
        fails(413),
        fails(422),
        coded(400, "content_policy_violation"),
        coded(400, "context_length_exceeded"),
        Action::Respond(404, vec![], json!({"error": {"message": "Unknown request URL"}})),
    ] {
        let case = format!("{action:?}");
        let world = failing(action);
        for number in 1..=10 {
            let reply = world.request("p/m").await;
            assert_eq!((reply.attempts, reply.from.as_deref()), (1, Some("p/a")), "{case}");
            assert!(reply.refusal.is_none(), "{case}: the provider's own error");
            assert_eq!(world.received().len(), number, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_provider_counts_as_a_failure() {
    let text = provider("p", "timeouts = { first_byte = \"1s\" }", &["a"]);
    let world = World::new(&text, |_| Action::Stall);
    for _ in 0..3 {
        assert_eq!((world.request("p/m").await.status, world.received().len() <= 3), (504, true));
    }
    let reply = world.request("p/m").await;
    assert_eq!((reply.status, reply.attempts, reply.took), (503, 0, Duration::ZERO));
}

/// A throttled response with these headers.
fn hinted(headers: &[(&'static str, &str)]) -> Action {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Action::Respond(429, headers, json!({"error": {"message": "slow down"}}))
}

/// Checks that `a` then cools down for about this number of seconds.
async fn assert_cools_down(action: Action, expected: u64) {
    let case = format!("{action:?}");
    let world = failing(action);
    assert!(tries_a(&world, "p/m").await, "{case}");
    let span = left_alone(&world, expected).await;
    let least = Duration::from_secs(expected);
    assert!((least..=least.mul_f64(1.1) + least / 39).contains(&span), "{case}: {span:?}");
}

const NOW: (&str, &str) = ("date", "Wed, 28 Feb 2024 23:59:30 GMT");

#[tokio::test(start_paused = true)]
async fn every_form_of_retry_after_is_obeyed() {
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
        assert_cools_down(hinted(headers), expected).await;
    }
    let info = json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37s"});
    let error =
        json!({"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "no", "details": [info]});
    assert_cools_down(Action::Respond(429, vec![], json!({"error": error})), 37).await;
}

#[tokio::test(start_paused = true)]
async fn an_invalid_retry_after_is_ignored() {
    for bad in ["-1", "0", "NaN", "inf", "1e308", "soon", "", "Wed, 28 Feb 2024 23:59:00 GMT"] {
        assert_cools_down(hinted(&[("retry-after", bad), NOW]), 10).await;
        assert_cools_down(hinted(&[("retry-after-ms", bad), NOW]), 10).await;
        assert_cools_down(hinted(&[("x-ms-retry-after-ms", bad), NOW]), 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_failure_extends_a_cooldown_and_never_shortens_it() {
    for (first, second) in [(30_000, 2000), (2000, 30_000)] {
        let turn = std::sync::atomic::AtomicUsize::new(0);
        // Both are in flight before either has failed.
        let world = World::new(&provider("p", "", &["a"]), move |_| {
            match turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 => later(100, throttles(first)),
                1 => later(200, throttles(second)),
                _ => succeeds(),
            }
        });
        let replies = tokio::join!(world.request("p/m"), world.request("p/m"));
        assert_eq!((replies.0.status, replies.1.status), (429, 429));
        sleep(Duration::from_secs(25)).await;
        assert_eq!(world.request("p/m").await.attempts, 0);
        // The cooldown was not doubled.
        sleep(Duration::from_secs(9)).await;
        assert_eq!((world.request("p/m").await.status, world.received().len()), (200, 3));
    }
}
