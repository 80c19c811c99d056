//! The keys, targets and fallbacks that are tried, their order, and how often each is tried.

use super::*;

/// Every failure after which another key is tried.
fn failures() -> Vec<Action> {
    let code =
        |status, code: &str| Action::Respond(status, vec![], json!({"error": {"code": code}}));
    vec![
        code(401, "invalid_api_key"),
        fails(403),
        code(404, "model_not_found"),
        fails(402),
        code(429, "insufficient_quota"),
        fails(429),
        throttles(7000),
        fails(500),
        fails(503),
        fails(529),
        Action::Cut,
        Action::Fail(UpstreamError::Connect),
        Action::Fail(UpstreamError::ConnectionLost),
        Action::Fail(UpstreamError::CredentialRefused),
        Action::Fail(UpstreamError::NoToken),
    ]
}

#[tokio::test(start_paused = true)]
async fn one_good_key_makes_the_first_request_succeed_without_a_wait() {
    for failure in failures() {
        let case = format!("{failure:?}");
        let bad: Vec<String> = (0..9).map(|n| format!("bad-{n}")).collect();
        let mut keys: Vec<&str> = bad.iter().map(|key| &**key).collect();
        keys.push("good=0");
        let play = move |received: &Received| {
            if received.key == "good" { succeeds() } else { failure.clone() }
        };
        let world = World::new(&provider("p", "", &keys), play);
        let reply = world.request("p/m").await;
        assert_eq!((reply.status, reply.attempts), (200, 10), "{case}");
        assert_eq!(reply.took, Duration::ZERO, "{case}");
        let mut received = world.keys();
        received.sort();
        received.dedup();
        assert_eq!(received.len(), 10, "{case}: each once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_error_is_returned_after_one_attempt() {
    for status in [400, 413, 422] {
        let routes = "[routes.r]\ntargets = [{ model = \"p/m\" }]\nfallbacks = [\"p/other\"]\n";
        let world = World::new(&(provider("p", "", &["a", "b"]) + routes), move |_| fails(status));
        for _ in 0..5 {
            let reply = world.request("r").await;
            assert_eq!((reply.status, reply.attempts), (status, 1));
            assert!(reply.refusal.is_none(), "the provider's own error");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn other_targets_are_tried_before_fallbacks() {
    let text = provider("a", "", &["a1", "a2"])
        + &provider("b", "", &["b1", "b2"])
        + &provider("c", "", &["c1", "c2"])
        + "[routes.r]\ntargets = [{ model = \"a/m\" }, { model = \"b/m\", weight = 0 }]\n\
           fallbacks = [\"c/first\", \"c/second\"]\n";
    let world = World::new(&text, |received| match &*received.model {
        "second" => succeeds(),
        _ => fails(401),
    });
    // Another key of the same provider fails as well, so `c` is tried for `first` only.
    let reply = world.request("r").await;
    let order: Vec<String> =
        world.received().iter().map(|received| received.provider.clone()).collect();
    assert_eq!(order, ["a", "a", "b", "b", "c", "c"]);
    assert_eq!((reply.status, reply.took), (401, Duration::ZERO));

    let world = World::new(&text, |received| match &*received.model {
        "second" => succeeds(),
        _ => fails(429),
    });
    let reply = world.request("r").await;
    assert_eq!((reply.status, reply.attempts), (200, 7));
    assert_eq!(world.received()[6].model, "second");
}

#[tokio::test(start_paused = true)]
async fn a_targets_only_key_gets_one_quick_retry_before_the_fallbacks() {
    let text = provider("a", "", &["only"])
        + &provider("b", "", &["b1", "b2"])
        + "[routes.r]\ntargets = [{ model = \"a/m\" }]\nfallbacks = [\"b/m\"]\n";
    for failure in [
        fails(500),
        Action::Cut,
        Action::Fail(UpstreamError::ConnectionLost),
        Action::Fail(UpstreamError::Connect),
    ] {
        let play = move |received: &Received| {
            if received.provider == "b" { succeeds() } else { failure.clone() }
        };
        let world = World::new(&text, play);
        let reply = world.request("r").await;
        assert_eq!((reply.status, reply.attempts), (200, 3));
        assert_eq!(world.keys()[..2], ["only", "only"]);
        assert_eq!(reply.took, Duration::ZERO);
        // The first attempt of the second request is the third failure in a row: the key cools down and gets no
        // quick retry.
        assert_eq!(world.request("r").await.attempts, 2);
        assert_eq!(world.request("r").await.attempts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn only_provider_failures_of_an_only_key_get_a_quick_retry() {
    for failure in [fails(401), fails(402), fails(429)] {
        let world = World::new(&provider("p", "", &["only"]), move |_| failure.clone());
        assert_eq!(world.request("p/m").await.attempts, 1);
    }
    let world = World::new(&provider("p", "", &["a", "b"]), |_| fails(500));
    assert_eq!(world.request("p/m").await.attempts, 2);
}

#[tokio::test(start_paused = true)]
async fn a_successful_quick_retry_is_a_normal_response() {
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let world = World::new(&provider("p", "", &["only"]), move |_| {
        match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => fails(502),
            _ => succeeds(),
        }
    });
    let reply = world.request("p/m").await;
    assert_eq!((reply.status, reply.attempts, reply.took), (200, 2, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_prompt_too_long_for_a_model_is_not_sent_to_it_again() {
    let text = provider("a", "", &["a1", "a2"])
        + &provider("b", "", &["b1"])
        + "[routes.r]\ntargets = [{ model = \"a/small\" }]\nfallbacks = [\"b/small\", \"b/large\"]\n";
    let too_long =
        || Action::Respond(400, vec![], json!({"error": {"code": "context_length_exceeded"}}));
    let world = World::new(&text, move |received| match &*received.model {
        "large" => succeeds(),
        _ => too_long(),
    });
    let reply = world.request("r").await;
    assert_eq!((reply.status, reply.from.as_deref()), (200, Some("b/b1")));
    let models: Vec<String> =
        world.received().iter().map(|received| received.model.clone()).collect();
    assert_eq!(models, ["small", "large"]);
    // Without a fallback: the provider's own error, and nothing cools down.
    for _ in 0..5 {
        let reply = world.request("a/small").await;
        assert_eq!((reply.status, reply.attempts), (400, 1));
        assert!(reply.refusal.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_with_a_duplicate_target_tries_its_keys_once() {
    let text = provider("p", "", &["a", "b"])
        + "[routes.r]\ntargets = [{ model = \"p/m\" }]\nfallbacks = [\"p/m\"]\n";
    let world = World::new(&text, |_| fails(500));
    assert_eq!(world.request("r").await.attempts, 2);
}
