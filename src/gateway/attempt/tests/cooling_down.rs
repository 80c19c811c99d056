//! Every key is cooling down: a bounded wait, or an immediate and accurate refusal.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_key_that_is_available_soon_is_waited_for() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let world = World::new(&provider("p", "", &["only"]), move |_| {
        if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            throttles(600)
        } else {
            succeeds()
        }
    });
    let reply = world.request("p/m").await;
    assert_eq!((reply.status, reply.attempts), (200, 2));
    let took = reply.took.as_millis();
    assert!((600..=661).contains(&took), "{took} ms");
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_twice_at_most() {
    let world = World::new(&provider("p", "", &["only"]), |_| throttles(500));
    let reply = world.request("p/m").await;
    assert_eq!((reply.status, reply.attempts), (429, 3));
    let none = "[retry]\nmax_waits = 0\n".to_owned() + &provider("p", "", &["only"]);
    let reply = World::new(&none, |_| throttles(500)).request("p/m").await;
    assert_eq!((reply.status, reply.attempts, reply.took), (429, 1, Duration::ZERO));
    let short = "[server]\nqueue_timeout = \"400ms\"\n".to_owned() + &provider("p", "", &["only"]);
    let reply = World::new(&short, |_| throttles(500)).request("p/m").await;
    assert_eq!((reply.status, reply.attempts, reply.took), (429, 1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_wait_respects_the_total_timeout() {
    let text = provider("p", "timeouts = { total = \"300ms\" }", &["only"]);
    let reply = World::new(&text, |_| throttles(500)).request("p/m").await;
    assert_eq!((reply.attempts, reply.took), (1, Duration::ZERO));
}

/// Makes each key fail once, and sends another request.
async fn after(failures: &[(&'static str, Action)]) -> (World, Reply) {
    let keys: Vec<&str> = failures.iter().map(|(key, _)| *key).collect();
    let failures_by_key = failures.to_vec();
    let world = World::new(&provider("p", "", &keys), move |received| {
        failures_by_key.iter().find(|(key, _)| *key == received.key).expect("a key").1.clone()
    });
    world.request("p/m").await;
    // Enough requests for three failures in a row, too.
    world.request("p/m").await;
    let before = world.received().len();
    let reply = world.request("p/m").await;
    assert_eq!(world.received().len(), before, "no provider is received");
    assert_eq!((reply.took, reply.attempts), (Duration::ZERO, 0));
    assert_eq!(reply.header("x-keymux-attempts"), Some("0"));
    (world, reply)
}

fn seconds(reply: &Reply) -> u64 {
    reply.header("retry-after").expect("retry-after").parse().expect("seconds")
}

#[tokio::test(start_paused = true)]
async fn throttled_keys_are_an_immediate_429_with_retry_after() {
    let (_, reply) = after(&[("a", throttles(7000)), ("b", throttles(30_000))]).await;
    assert_eq!(reply.status, 429);
    assert!((7..=8).contains(&seconds(&reply)));
    assert_eq!(reply.header("x-should-retry"), None);
    let message = reply.message();
    assert!(
        message.contains("p/a is throttled") && message.contains("p/b is throttled"),
        "{message}"
    );
    assert!(!message.contains("secret"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn keys_without_credit_are_a_429_without_retry() {
    let (_, reply) = after(&[("a", fails(402)), ("b", fails(402))]).await;
    assert_eq!((reply.status, seconds(&reply)), (429, 60));
    assert_eq!(reply.header("x-should-retry"), Some("false"));
    assert!(reply.message().contains("p/a has no credit"), "{}", reply.message());
}

#[tokio::test(start_paused = true)]
async fn a_failing_provider_is_a_503() {
    let (_, reply) = after(&[("a", fails(500))]).await;
    assert_eq!(reply.status, 503);
    assert!((5..=6).contains(&seconds(&reply)));
    assert_eq!(reply.header("x-should-retry"), None);
}

#[tokio::test(start_paused = true)]
async fn rejected_keys_are_a_503_without_retry() {
    let (_, reply) = after(&[("a", fails(401))]).await;
    assert_eq!((reply.status, seconds(&reply)), (503, 60));
    assert_eq!(reply.header("x-should-retry"), Some("false"));
}

#[tokio::test(start_paused = true)]
async fn the_body_contains_a_reason_for_each_key() {
    let (_, reply) = after(&[("a", fails(401)), ("b", throttles(9000)), ("c", fails(402))]).await;
    assert_eq!(reply.status, 429);
    let message = reply.message();
    for reason in ["p/a was rejected", "p/b is throttled", "p/c has no credit"] {
        assert!(message.contains(reason), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_model_of_a_throttled_key_is_served() {
    let world = World::new(&provider("p", "", &["only"]), |received| match &*received.model {
        "m" => throttles(9000),
        _ => succeeds(),
    });
    assert_eq!(world.request("p/m").await.status, 429);
    assert_eq!(world.request("p/other").await.status, 200);
    assert_eq!(world.request("p/m").await.attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_cooling_target_is_skipped_for_the_fallback_at_no_cost() {
    let text = "[retry]\nbudget = 0.0\nfloor_per_second = 3\n".to_owned()
        + &provider("a", "", &["a1"])
        + &provider("b", "", &["b1"])
        + "[routes.r]\ntargets = [{ model = \"a/m\" }]\nfallbacks = [\"b/m\"]\n";
    let world = World::new(
        &text,
        |received| if received.provider == "b" { succeeds() } else { fails(500) },
    );
    for _ in 0..100 {
        let reply = world.request("r").await;
        assert_eq!((reply.status, reply.took), (200, Duration::ZERO));
    }
    let at_a = world.received().iter().filter(|received| received.provider == "a").count();
    assert_eq!(at_a, 3);
}
