//! Deadlines and the retry budget.

use super::*;

const TWO: [&str; 2] = ["a", "b"];

#[tokio::test(start_paused = true)]
async fn a_silent_provider_is_not_tried_twice() {
    let text = provider("silent", "", &TWO)
        + &provider("good", "", &["g"])
        + "[routes.r]\ntargets = [{ model = \"silent/m\" }]\nfallbacks = [\"silent/other\", \"good/m\"]\n";
    let play =
        |received: &Received| if received.provider == "good" { succeeds() } else { Action::Stall };
    let world = World::new(&text, play);
    let reply = world.request("r").await;
    assert_eq!((reply.status, reply.attempts), (200, 2));
    assert_eq!(reply.took, Duration::from_secs(120), "first_byte");
    let reply = world.request("silent/m").await;
    assert_eq!((reply.status, reply.attempts), (504, 1));
}

#[tokio::test(start_paused = true)]
async fn a_connect_timeout_counts_as_silent() {
    let world = World::new(&provider("p", "", &["only"]), |_| {
        later(3000, Action::Fail(UpstreamError::Connect))
    });
    let reply = world.request("p/m").await;
    assert_eq!((reply.status, reply.attempts), (502, 1));
}

#[tokio::test(start_paused = true)]
async fn total_covers_all_attempts() {
    let keys: Vec<String> = (0..30).map(|n| format!("k{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
    let settings = "timeouts = { total = \"10s\" }";
    let world = World::new(&provider("p", settings, &keys), |_| later(3000, fails(500)));
    let reply = world.request("p/m").await;
    // The fourth attempt is cut by the total timeout.
    assert_eq!((reply.attempts, reply.took), (4, Duration::from_secs(10)));
    assert!(reply.status >= 500);
}

#[tokio::test(start_paused = true)]
async fn a_routes_timeouts_override_the_providers() {
    let text = provider("p", "", &["a"])
        + "[routes.r]\ntargets = [{ model = \"p/m\" }]\ntimeouts = { first_byte = \"2s\" }\n";
    let world = World::new(&text, |_| Action::Stall);
    let reply = world.request("r").await;
    assert_eq!((reply.status, reply.took), (504, Duration::from_secs(2)));
}

/// Sends requests for new models, so that no cooldown affects them.
async fn outage(retry: &str, requests: usize, pace: Duration) -> usize {
    let text = format!("[retry]\n{retry}\n{}", provider("p", "", &TWO));
    let world = World::new(&text, |_| fails(503));
    for number in 0..requests {
        assert_eq!(world.request(&format!("p/m{number}")).await.status, 503);
        sleep(pace).await;
    }
    world.received().len() - requests
}

#[tokio::test(start_paused = true)]
async fn an_outage_causes_at_most_a_fifth_more_requests_plus_ten_per_second() {
    // 1,000 requests in ten seconds: 200, and 100, and the second in the bucket at the start.
    let more = outage("", 1000, Duration::from_millis(10)).await;
    assert!((290..=310).contains(&more), "{more}");
    let more = outage("floor_per_second = 0", 1000, Duration::from_millis(10)).await;
    assert!((199..=201).contains(&more), "{more}");
    let more = outage("budget = 0.0", 1000, Duration::from_millis(10)).await;
    assert!((100..=110).contains(&more), "{more}");
    let more = outage("budget = 0.0\nfloor_per_second = 0", 100, Duration::from_millis(10)).await;
    assert_eq!(more, 0);
}

#[tokio::test(start_paused = true)]
async fn a_reload_does_not_refill_the_retry_budget() {
    let text = "[retry]\nbudget = 0.0\n".to_owned() + &provider("p", "", &TWO);
    let world = World::new(&text, |_| fails(503));
    for number in 0..100 {
        world.request(&format!("p/m{number}")).await;
        world.reload(&text);
    }
    assert_eq!(world.received().len(), 110);
}

#[tokio::test(start_paused = true)]
async fn other_failures_take_nothing_from_the_retry_budget() {
    let text =
        "[retry]\nbudget = 0.0\nfloor_per_second = 0\n".to_owned() + &provider("p", "", &TWO);
    let world = World::new(&text, |_| fails(429));
    for number in 0..20 {
        assert_eq!(world.request(&format!("p/m{number}")).await.attempts, 2);
    }
}
