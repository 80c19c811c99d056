//! Which keys, targets and fallbacks are asked, in which order, and how often.

use super::*;

/// Every failure that lets another key be asked, with the number of attempts that it costs.
fn failures() -> Vec<Says> {
    let code = |status, code: &str| Says::Answer(status, vec![], json!({"error": {"code": code}}));
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
        Says::Cut,
        Says::Breaks(UpstreamError::Connect),
        Says::Breaks(UpstreamError::ConnectionLost),
        Says::Breaks(UpstreamError::CredentialRefused),
        Says::Breaks(UpstreamError::NoToken),
    ]
}

#[tokio::test(start_paused = true)]
async fn with_one_good_key_the_first_request_succeeds_without_a_sleep() {
    for failure in failures() {
        let told = format!("{failure:?}");
        let bad: Vec<String> = (0..9).map(|n| format!("bad-{n}")).collect();
        let mut keys: Vec<&str> = bad.iter().map(|key| &**key).collect();
        keys.push("good=0");
        let play = move |asked: &Asked| if asked.key == "good" { well() } else { failure.clone() };
        let world = World::new(&provider("p", "", &keys), play);
        let reply = world.ask("p/m").await;
        assert_eq!((reply.status, reply.attempts), (200, 10), "{told}");
        assert_eq!(reply.took, Duration::ZERO, "{told}");
        let mut asked = world.keys();
        asked.sort();
        asked.dedup();
        assert_eq!(asked.len(), 10, "{told}: each once");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_the_callers_fault_is_answered_after_one_attempt() {
    for status in [400, 413, 422] {
        let routes = "[routes.r]\ntargets = [{ model = \"p/m\" }]\nfallbacks = [\"p/other\"]\n";
        let world = World::new(&(provider("p", "", &["a", "b"]) + routes), move |_| fails(status));
        for _ in 0..5 {
            let reply = world.ask("r").await;
            assert_eq!((reply.status, reply.attempts), (status, 1));
            assert!(reply.refusal.is_none(), "the provider's own words");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_other_targets_come_next_and_then_the_fallbacks() {
    let text = provider("a", "", &["a1", "a2"])
        + &provider("b", "", &["b1", "b2"])
        + &provider("c", "", &["c1", "c2"])
        + "[routes.r]\ntargets = [{ model = \"a/m\" }, { model = \"b/m\", weight = 0 }]\n\
           fallbacks = [\"c/first\", \"c/second\"]\n";
    let world = World::new(&text, |asked| match &*asked.model {
        "second" => well(),
        _ => fails(401),
    });
    // Another key of the same provider is refused as well, so `c` is asked for `first` and not for more.
    let reply = world.ask("r").await;
    let order: Vec<String> = world.asked().iter().map(|asked| asked.provider.clone()).collect();
    assert_eq!(order, ["a", "a", "b", "b", "c", "c"]);
    assert_eq!((reply.status, reply.took), (401, Duration::ZERO));

    let world = World::new(&text, |asked| match &*asked.model {
        "second" => well(),
        _ => fails(429),
    });
    let reply = world.ask("r").await;
    assert_eq!((reply.status, reply.attempts), (200, 7));
    assert_eq!(world.asked()[6].model, "second");
}

#[tokio::test(start_paused = true)]
async fn a_target_s_only_key_has_one_quick_retry_before_the_fallbacks() {
    let text = provider("a", "", &["only"])
        + &provider("b", "", &["b1", "b2"])
        + "[routes.r]\ntargets = [{ model = \"a/m\" }]\nfallbacks = [\"b/m\"]\n";
    for failure in [
        fails(500),
        Says::Cut,
        Says::Breaks(UpstreamError::ConnectionLost),
        Says::Breaks(UpstreamError::Connect),
    ] {
        let play =
            move |asked: &Asked| if asked.provider == "b" { well() } else { failure.clone() };
        let world = World::new(&text, play);
        let reply = world.ask("r").await;
        assert_eq!((reply.status, reply.attempts), (200, 3));
        assert_eq!(world.keys()[..2], ["only", "only"]);
        assert_eq!(reply.took, Duration::ZERO);
        // The second request's first attempt is the third trouble in a row: the key cools, and is not
        // tried again quickly.
        assert_eq!(world.ask("r").await.attempts, 2);
        assert_eq!(world.ask("r").await.attempts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_trouble_is_tried_again_quickly_and_only_with_an_only_key() {
    for failure in [fails(401), fails(402), fails(429)] {
        let world = World::new(&provider("p", "", &["only"]), move |_| failure.clone());
        assert_eq!(world.ask("p/m").await.attempts, 1);
    }
    let world = World::new(&provider("p", "", &["a", "b"]), |_| fails(500));
    assert_eq!(world.ask("p/m").await.attempts, 2);
}

#[tokio::test(start_paused = true)]
async fn a_quick_retry_that_succeeds_is_an_answer_like_any() {
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let world = World::new(&provider("p", "", &["only"]), move |_| {
        match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => fails(502),
            _ => well(),
        }
    });
    let reply = world.ask("p/m").await;
    assert_eq!((reply.status, reply.attempts, reply.took), (200, 2, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_prompt_too_long_for_a_model_is_never_sent_to_it_again() {
    let text = provider("a", "", &["a1", "a2"])
        + &provider("b", "", &["b1"])
        + "[routes.r]\ntargets = [{ model = \"a/small\" }]\nfallbacks = [\"b/small\", \"b/large\"]\n";
    let too_long =
        || Says::Answer(400, vec![], json!({"error": {"code": "context_length_exceeded"}}));
    let world = World::new(&text, move |asked| match &*asked.model {
        "large" => well(),
        _ => too_long(),
    });
    let reply = world.ask("r").await;
    assert_eq!((reply.status, reply.from.as_deref()), (200, Some("b/b1")));
    let models: Vec<String> = world.asked().iter().map(|asked| asked.model.clone()).collect();
    assert_eq!(models, ["small", "large"]);
    // Without a fallback: the provider's own words, and nothing cools.
    for _ in 0..5 {
        let reply = world.ask("a/small").await;
        assert_eq!((reply.status, reply.attempts), (400, 1));
        assert!(reply.refusal.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_names_a_target_twice_asks_its_keys_once() {
    let text = provider("p", "", &["a", "b"])
        + "[routes.r]\ntargets = [{ model = \"p/m\" }]\nfallbacks = [\"p/m\"]\n";
    let world = World::new(&text, |_| fails(500));
    assert_eq!(world.ask("r").await.attempts, 2);
}
