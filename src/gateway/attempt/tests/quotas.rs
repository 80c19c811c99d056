//! Configured limits, limits that keys share, and limits that providers report.

use tokio::task::JoinSet;

use super::*;

/// A provider whose keys each have these settings.
fn with(settings: &str, each: &str, keys: &[&str]) -> String {
    let mut text = provider("p", settings, &[]);
    for key in keys {
        let _ = write!(
            text,
            "[[providers.p.keys]]\nname = \"{key}\"\nvalue = \"secret-of-{key}\"\n{each}\n"
        );
    }
    text
}

fn at_once(world: &World, requests: usize) -> JoinSet<Reply> {
    let mut all = JoinSet::new();
    for _ in 0..requests {
        let world = world.clone();
        all.spawn(async move { world.request("p/m").await });
    }
    all
}

/// Returns the most concurrent requests among those that match.
fn most_at_once(received: &[Received], of: impl Fn(&Received) -> bool) -> usize {
    let matching: Vec<&Received> = received.iter().filter(|received| of(received)).collect();
    let at = |now: Instant| {
        matching
            .iter()
            .filter(|received| received.at <= now && received.ended.is_none_or(|over| over > now))
            .count()
    };
    matching.iter().map(|received| at(received.at)).max().unwrap_or(0)
}

fn succeeds_with(headers: &[(&'static str, &str)]) -> Action {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Action::Respond(200, headers, json!({"choices": []}))
}

#[tokio::test(start_paused = true)]
async fn a_key_at_its_limit_is_skipped_for_another() {
    let world =
        World::new(&with("", "max_concurrent = 2", &["a", "b"]), |_| later(500, succeeds()));
    let replies = at_once(&world, 4).join_all().await;
    assert!(replies.iter().all(|reply| (reply.status, reply.attempts) == (200, 1)), "{replies:?}");
    assert!(replies.iter().all(|reply| reply.took == Duration::from_millis(500)), "nobody waits");
    for key in ["a", "b"] {
        assert_eq!(most_at_once(&world.received(), |received| received.key == key), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_keys_are_busy_requests_queue_in_order() {
    let world =
        World::new(&with("", "max_concurrent = 1", &["a", "b"]), |_| later(300, succeeds()));
    let mut all = at_once(&world, 6);
    let mut took = Vec::new();
    while let Some(reply) = all.join_next().await {
        let reply = reply.expect("a reply");
        assert_eq!((reply.status, reply.attempts), (200, 1));
        took.push(reply.took.as_millis());
    }
    assert_eq!(took, [300, 300, 600, 600, 900, 900]);
    assert_eq!(most_at_once(&world.received(), |_| true), 2);
}

#[tokio::test(start_paused = true)]
async fn a_queue_timeout_names_the_limit() {
    let world = World::new(&with("", "max_concurrent = 1", &["a"]), |_| later(5000, succeeds()));
    let mut all = at_once(&world, 2);
    let first = all.join_next().await.expect("two").expect("a reply");
    assert_eq!((first.status, first.took), (429, Duration::from_secs(1)), "queue_timeout");
    assert_eq!(first.header("retry-after"), Some("1"));
    assert_eq!(first.header("x-keymux-attempts"), Some("0"));
    assert!(first.message().contains("p/a has reached its"), "{}", first.message());
    assert!(first.message().contains("max_concurrent"), "{}", first.message());
    assert_eq!(all.join_next().await.expect("two").expect("a reply").status, 200);
    let none = "[retry]\nmax_waits = 0\n".to_owned() + &with("", "max_concurrent = 1", &["a"]);
    let world = World::new(&none, |_| later(500, succeeds()));
    let mut all = at_once(&world, 2);
    let first = all.join_next().await.expect("two").expect("a reply");
    assert_eq!((first.status, first.took), (429, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_provider_limit_covers_all_its_keys() {
    let world =
        World::new(&with("max_concurrent = 2", "", &["a", "b", "c"]), |_| later(900, succeeds()));
    let replies = at_once(&world, 6).join_all().await;
    let status = |wanted: u16| replies.iter().filter(|reply| reply.status == wanted).count();
    assert_eq!((status(200), status(429)), (4, 2));
    assert_eq!(most_at_once(&world.received(), |_| true), 2);
    let refused = replies.iter().find(|reply| reply.status == 429).expect("one");
    assert!(refused.message().contains("waits for its provider"), "{}", refused.message());
}

#[tokio::test(start_paused = true)]
async fn failed_attempts_and_disconnects_release_their_permit() {
    let world =
        World::new(&with("", "max_concurrent = 1", &["a"]), |received| match &*received.model {
            "bad" => fails(400),
            "slow" => Action::Stall,
            _ => succeeds(),
        });
    for _ in 0..3 {
        assert_eq!(world.request("p/bad").await.status, 400);
        let left = tokio::time::timeout(Duration::from_millis(100), world.request("p/slow")).await;
        assert!(left.is_err());
        let reply = world.request("p/m").await;
        assert_eq!((reply.status, reply.took), (200, Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_target_falls_back() {
    let text = with("", "max_concurrent = 1", &["a"])
        + &provider("q", "", &["b"])
        + "[routes.r]\ntargets = [{ model = \"p/m\" }]\nfallbacks = [\"q/m\"]\n";
    let world = World::new(&text, |_| later(300, succeeds()));
    let (one, two) = tokio::join!(world.request("r"), world.request("r"));
    assert_eq!((one.from.as_deref(), two.from.as_deref()), (Some("p/a"), Some("q/b")));
    assert_eq!(two.took, Duration::from_millis(300));
}

/// A route to the key `a` and then to `b`, each with `max_concurrent = 1`.
fn hasty() -> String {
    with("", "max_concurrent = 1", &["a"])
        + &with("", "max_concurrent = 1", &["b"]).replace("providers.p", "providers.q")
        + "[routes.r]\nfirst_token = \"2s\"\n\
           targets = [{ model = \"p/m\" }, { model = \"q/m\", weight = 0 }]\n"
}

#[tokio::test(start_paused = true)]
async fn a_late_first_token_releases_its_permit() {
    let world = World::new(&hasty(), |received| match &*received.key {
        "a" => later(30_000, succeeds()),
        _ => succeeds(),
    });
    for _ in 0..3 {
        let reply = world.request_stream("r", true).await;
        assert_eq!((reply.from.as_deref(), reply.attempts), (Some("q/b"), 2), "`a` was free again");
        assert_eq!(reply.took, Duration::from_secs(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_first_token_does_not_move_to_a_busy_key() {
    let world = World::new(&hasty(), |received| match &*received.key {
        "a" => later(5000, succeeds()),
        _ => later(9000, succeeds()),
    });
    let (reply, _) = tokio::join!(world.request_stream("r", true), world.request("q/m"));
    assert_eq!((reply.from.as_deref(), reply.attempts), (Some("p/a"), 1));
    assert_eq!(reply.took, Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_requests_in_flight_and_applies_the_new_limit() {
    let world = World::new(&with("", "max_concurrent = 3", &["a"]), |_| later(800, succeeds()));
    let mut all = at_once(&world, 3);
    sleep(Duration::from_millis(100)).await;
    world.reload(&with("", "max_concurrent = 1", &["a"]));
    let late = world.request("p/m").await;
    assert_eq!((late.status, late.took.as_millis()), (200, 700 + 800));
    while all.join_next().await.is_some() {}
    let received = world.received();
    assert_eq!(
        received[3].at - received[0].at,
        Duration::from_millis(800),
        "not before all have left"
    );
}

#[tokio::test(start_paused = true)]
async fn no_minute_has_more_requests_than_rpm() {
    let world = World::new(&with("", "rpm = 6", &["a"]), |_| succeeds());
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(300) {
        let reply = world.request("p/m").await;
        if reply.status == 429 {
            assert_eq!(reply.attempts, 0);
            assert!(reply.message().contains("p/a has reached its rpm"), "{}", reply.message());
        }
        sleep(Duration::from_millis(1700)).await;
    }
    let at: Vec<Instant> = world.received().iter().map(|received| received.at).collect();
    assert!(at.windows(7).all(|few| few[6] - few[0] > Duration::from_secs(60)), "{at:?}");
    assert!((24..=30).contains(&at.len()), "{}", at.len());
}

#[tokio::test(start_paused = true)]
async fn a_key_at_its_rpm_sets_retry_after_and_is_waited_for() {
    let world = World::new(&with("", "rpm = 1", &["a", "b"]), |_| succeeds());
    assert_eq!(world.request("p/m").await.status, 200);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(world.request("p/m").await.status, 200, "the other key");
    let reply = world.request("p/m").await;
    assert_eq!((reply.status, reply.took), (429, Duration::ZERO));
    assert_eq!(reply.header("retry-after"), Some("41"));
    sleep(Duration::from_millis(39_500)).await;
    let reply = world.request("p/m").await;
    assert_eq!((reply.status, reply.took.as_millis()), (200, 700));
    world.reload(&with("", "rpm = 1", &["a", "b"]));
    assert_eq!(world.request("p/m").await.status, 429, "a reload forgets nothing");
    world.reload(&with("", "rpm = 2", &["a", "b"]));
    assert_eq!(world.request("p/m").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_counts_as_a_request() {
    let world = World::new(&with("", "rpm = 2", &["a"]), |_| fails(400));
    assert_eq!(world.request("p/m").await.status, 400);
    assert_eq!(world.request("p/m").await.status, 400);
    assert_eq!(world.request("p/m").await.status, 429);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_estimated_by_the_size_of_the_body() {
    // The body has 44 bytes.
    let world = World::new(&with("", "tpm = 25", &["a"]), |_| succeeds());
    assert_eq!(world.request("p/m").await.status, 200);
    assert_eq!(world.request("p/m").await.status, 200);
    let reply = world.request("p/m").await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("60")));
    assert!(reply.message().contains("has reached its tpm"), "{}", reply.message());
    let small = World::new(&with("", "tpm = 1", &["a"]), |_| succeeds());
    assert_eq!(small.request("p/m").await.status, 200, "what is larger than any minute goes alone");
    assert_eq!(small.request("p/m").await.status, 429);
}

#[tokio::test(start_paused = true)]
async fn keys_of_one_quota_group_cool_down_together() {
    let text = with("", "quota_group = \"one\"", &["a", "b"])
        + &with("", "", &["c"])[provider("p", "", &[]).len()..];
    for (status, elsewhere) in [(429, 200), (402, 429)] {
        let world = World::new(&text, move |received| match &*received.key {
            "c" => fails(503),
            _ if received.model == "m" => fails(status),
            _ => succeeds(),
        });
        for _ in 0..4 {
            world.request("p/m").await;
        }
        let keys = world.keys();
        let of_group = keys.iter().filter(|key| *key != "c").count();
        assert_eq!(of_group, 1, "{keys:?}");
        assert_eq!(keys.iter().filter(|key| *key == "c").count(), 3, "it has its own failures");
        world.request("p/n").await;
        let last = world
            .received()
            .iter()
            .rev()
            .find(|received| received.key != "c")
            .map(|received| received.response);
        let status = last.flatten().map(|(status, _)| status);
        let served = if status == Some(200) { 200 } else { 429 };
        assert_eq!(served, elsewhere, "a throttled model, and an account without credit");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_credential_affects_one_key_only() {
    let world = World::new(&with("", "quota_group = \"one\"", &["a", "b"]), |received| {
        if received.key == "a" { fails(401) } else { succeeds() }
    });
    for _ in 0..4 {
        assert_eq!(world.request("p/m").await.status, 200);
    }
    assert_eq!(world.keys().iter().filter(|key| *key == "a").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn rate_limit_headers_steer_to_keys_with_more_left() {
    let headers = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "30s")];
    let world = World::new(&with("", "", &["a", "b"]), move |received| {
        if received.key == "a" { succeeds_with(&headers) } else { succeeds() }
    });
    for _ in 0..20 {
        assert_eq!(world.request("p/m").await.status, 200);
    }
    assert_eq!(world.keys().iter().filter(|key| *key == "a").count(), 1);
    for _ in 0..4 {
        world.request("p/other").await;
    }
    assert_eq!(world.keys().iter().filter(|key| *key == "a").count(), 2, "each model has its own");
    sleep(Duration::from_secs(30)).await;
    for _ in 0..4 {
        world.request("p/m").await;
    }
    assert_eq!(world.keys().iter().filter(|key| *key == "a").count(), 3, "after its reset");
}

#[tokio::test(start_paused = true)]
async fn rate_limit_headers_alone_cool_no_key_down() {
    let headers = [("x-ratelimit-remaining-tokens", "3"), ("x-ratelimit-reset-tokens", "30s")];
    let world = World::new(&with("", "", &["a", "b"]), move |_| succeeds_with(&headers));
    for _ in 0..10 {
        let reply = world.request("p/m").await;
        assert_eq!((reply.status, reply.attempts, reply.took), (200, 1, Duration::ZERO));
    }
    let keys = world.keys();
    assert!(
        ["a", "b"].iter().all(|key| keys.iter().filter(|other| other == key).count() >= 4),
        "{keys:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn rate_limit_headers_apply_to_the_quota_group_and_a_standby_serves() {
    let headers = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "1m")];
    let mut text = with("", "quota_group = \"one\"", &["a", "b"]);
    text += "[[providers.p.keys]]\nname = \"spare\"\nvalue = \"secret-of-spare\"\nweight = 0\n";
    let world = World::new(&text, move |received| {
        if received.key == "spare" { succeeds() } else { succeeds_with(&headers) }
    });
    for _ in 0..6 {
        assert_eq!(world.request("p/m").await.status, 200);
    }
    assert_eq!(world.keys().iter().filter(|key| *key == "spare").count(), 5);
    world.reload(&text);
    world.request("p/m").await;
    assert_eq!(world.keys().last().map(String::as_str), Some("spare"), "a reload forgets nothing");
}
