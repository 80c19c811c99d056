//! Tests of failover after a provider's failure, and of load balancing without failures.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::time::Duration;

use common::config::{config, key, one_key, provider, secret};
use common::http::{self, Reply};
use common::keymux::Keymux;
use common::upstream::{Received, Step, Upstream, answer, chat_answer, json_answer};
use serde_json::json;
use tokio::time::Instant;

const CHAT: &str = "/v1/chat/completions";

async fn ask(keymux: &Keymux, model: &str) -> Reply {
    http::post(keymux.address(), CHAT, &[], &json!({"model": model})).await
}

/// Returns the name of the key in a request.
fn carries(request: &Received, name: &str) -> bool {
    request.header("authorization") == Some(&*format!("Bearer {}", secret(name)))
}

fn keys_used(upstream: &Upstream, names: &[&str]) -> Vec<usize> {
    let requests = upstream.requests();
    names.iter().map(|name| requests.iter().filter(|r| carries(r, name)).count()).collect()
}

/// A provider that accepts only the key `good`.
async fn only_good_is_served(failure: Vec<Step>) -> Upstream {
    Upstream::start(
        move |request| {
            if carries(request, "good") { chat_answer("hello") } else { failure.clone() }
        },
    )
    .await
}

#[tokio::test]
async fn one_good_key_makes_the_first_request_succeed_whatever_the_others_return() {
    let failures = [
        answer(401, &[], br#"{"error":{"code":"invalid_api_key"}}"#),
        answer(402, &[], b""),
        answer(403, &[], b""),
        answer(404, &[], br#"{"error":{"code":"model_not_found"}}"#),
        answer(429, &[("retry-after", "5")], b"{}"),
        answer(429, &[], br#"{"error":{"code":"insufficient_quota"}}"#),
        answer(500, &[], b"oops"),
        answer(503, &[], b""),
        vec![Step::Close],
        vec![Step::Reset],
    ];
    for failure in failures {
        let upstream = only_good_is_served(failure.clone()).await;
        let bad = "weight = 1000";
        let keys =
            [key("bad-1", bad), key("bad-2", bad), key("bad-3", bad), key("good", "weight = 0")];
        let keymux =
            Keymux::start(&config("", &[provider("main", &upstream, "", &keys)]), &[]).await;
        let start = Instant::now();
        let reply = ask(&keymux, "m").await;
        assert_eq!(reply.status(), 200, "{failure:?}: {}", reply.text());
        assert_eq!(reply.header("x-keymux-key"), Some("good"));
        assert_eq!(reply.header("x-keymux-attempts"), Some("4"));
        assert!(start.elapsed() < Duration::from_secs(1), "nothing is waited for");
        assert_eq!(keys_used(&upstream, &["bad-1", "bad-2", "bad-3", "good"]), [1, 1, 1, 1]);
    }
}

#[tokio::test]
async fn a_rejected_key_cools_down() {
    for status in [401, 402, 429] {
        let upstream = only_good_is_served(answer(status, &[], b"{}")).await;
        let keys = [key("bad", "weight = 3"), key("good", "")];
        let keymux =
            Keymux::start(&config("", &[provider("main", &upstream, "", &keys)]), &[]).await;
        for _ in 0..20 {
            assert_eq!(ask(&keymux, "m").await.status(), 200);
        }
        assert_eq!(keys_used(&upstream, &["bad", "good"]), [1, 20], "{status}");
    }
}

#[tokio::test]
async fn a_throttled_key_returns_after_retry_after() {
    let upstream = only_good_is_served(answer(429, &[("retry-after-ms", "300")], b"{}")).await;
    let keys = [key("limited", ""), key("good", "weight = 0")];
    let keymux = Keymux::start(&config("", &[provider("main", &upstream, "", &keys)]), &[]).await;
    for _ in 0..3 {
        ask(&keymux, "m").await;
    }
    assert_eq!(keys_used(&upstream, &["limited"]), [1]);
    tokio::time::sleep(Duration::from_millis(400)).await;
    ask(&keymux, "m").await;
    assert_eq!(keys_used(&upstream, &["limited"]), [2]);
}

#[tokio::test]
async fn when_every_key_fails_the_most_useful_error_is_returned() {
    let upstream = Upstream::start(|request| {
        if carries(request, "throttled") {
            answer(429, &[("retry-after", "7")], br#"{"error":{"message":"slow down"}}"#)
        } else {
            answer(401, &[], br#"{"error":{"message":"bad key"}}"#)
        }
    })
    .await;
    let keys = [key("throttled", ""), key("wrong", "")];
    let keymux = Keymux::start(&config("", &[provider("main", &upstream, "", &keys)]), &[]).await;
    let reply = ask(&keymux, "m").await;
    assert_eq!((reply.status(), reply.header("retry-after")), (429, Some("7")));
    assert_eq!(reply.json(), json!({"error": {"message": "slow down"}}));
    assert_eq!(reply.header("x-keymux-attempts"), Some("2"));
}

#[tokio::test]
async fn an_unreachable_provider_is_a_502_in_the_callers_format() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let text = config("", &[provider("main", &upstream, "", &[key("only", "")])]);
    let keymux = Keymux::start(&text, &[]).await;
    let address = upstream.address();
    drop(upstream);
    let reply = ask(&keymux, "m").await;
    assert_eq!(reply.status(), 502);
    let error = reply.json()["error"].clone();
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("upstream_error"), &json!("upstream_unavailable"))
    );
    assert!(!reply.text().contains(&address.port().to_string()), "{}", reply.text());
}

#[tokio::test]
async fn a_silent_provider_is_a_504_and_is_not_retried() {
    let upstream = Upstream::always(vec![Step::Hang]).await;
    let settings = "timeouts = { first_byte = \"200ms\" }";
    let keys = [key("a", ""), key("b", "")];
    let keymux =
        Keymux::start(&config("", &[provider("main", &upstream, settings, &keys)]), &[]).await;
    let start = Instant::now();
    let reply = ask(&keymux, "m").await;
    assert_eq!(reply.status(), 504);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(reply.json()["error"]["code"], "upstream_timeout");
    assert_eq!(upstream.requests().len(), 1);
    upstream.left(0).await;
}

#[tokio::test]
async fn the_total_timeout_covers_all_attempts() {
    let slow = [Step::Pause(Duration::from_millis(150))].into_iter().chain(answer(500, &[], b""));
    let upstream = Upstream::always(slow.collect()).await;
    let keys: Vec<String> = (0..8).map(|n| key(&format!("k{n}"), "")).collect();
    let settings = "timeouts = { total = \"400ms\" }";
    let keymux =
        Keymux::start(&config("", &[provider("main", &upstream, settings, &keys)]), &[]).await;
    let start = Instant::now();
    assert!(ask(&keymux, "m").await.status() >= 500);
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    assert!(upstream.requests().len() <= 3);
}

#[tokio::test]
async fn shares_follow_the_weights() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keys =
        [key("heavy", "weight = 3"), key("light", "weight = 1"), key("standby", "weight = 0")];
    let keymux = Keymux::start(&config("", &[provider("main", &upstream, "", &keys)]), &[]).await;
    let mut caller = http::Connection::open(keymux.address()).await;
    for _ in 0..400 {
        caller.send(&http::json_request(CHAT, &[], &json!({"model": "m"}))).await;
        assert_eq!(caller.reply().await.status(), 200);
    }
    let used = keys_used(&upstream, &["heavy", "light", "standby"]);
    assert!((295..=305).contains(&used[0]) && used[0] + used[1] == 400, "{used:?}");
}

#[tokio::test]
async fn a_route_balances_targets_then_tries_the_others_then_fallbacks() {
    let serving = |name: &'static str| {
        Upstream::start(move |request| match request.json()["model"].as_str().unwrap() {
            down if down.starts_with("down") => answer(503, &[], b"{}"),
            model => json_answer(200, &json!({"from": name, "model": model})),
        })
    };
    let (a, b, c) = (serving("a").await, serving("b").await, serving("c").await);
    let routes = r#"
        [routes.shared]
        targets = [{ model = "a/x", weight = 3 }, { model = "b/y" }]
        [routes.half-down]
        targets = [{ model = "a/down" }, { model = "b/y" }]
        fallbacks = ["c/z"]
        [routes.down]
        targets = [{ model = "a/down-too" }, { model = "b/down-too" }]
        fallbacks = ["c/down-too", "c/z"]
    "#;
    let providers = [("a", &a), ("b", &b), ("c", &c)];
    let mut parts: Vec<String> =
        providers.iter().map(|(name, at)| provider(name, at, "", &[key("k", "")])).collect();
    parts.push(routes.to_owned());
    let keymux = Keymux::start(&config("", &parts), &[]).await;

    let mut from_a = 0;
    for _ in 0..40 {
        let reply = ask(&keymux, "shared").await.json();
        match reply["from"].as_str().unwrap() {
            "a" => from_a += 1,
            _ => assert_eq!(reply, json!({"from": "b", "model": "y"})),
        }
    }
    assert!((28..=32).contains(&from_a), "{from_a}");

    for _ in 0..4 {
        let reply = ask(&keymux, "half-down").await;
        assert_eq!(reply.json(), json!({"from": "b", "model": "y"}));
    }
    let reply = ask(&keymux, "down").await;
    assert_eq!(reply.json(), json!({"from": "c", "model": "z"}));
    // Each is the only key of its provider, so it gets a second try.
    assert_eq!(reply.header("x-keymux-attempts"), Some("7"));
    assert_eq!(reply.header("x-keymux-provider"), Some("c"));
}

#[tokio::test]
async fn a_silent_target_is_not_retried_by_its_route() {
    let silent = Upstream::always(vec![Step::Hang]).await;
    let good = Upstream::always(chat_answer("hello")).await;
    let settings = "timeouts = { first_byte = \"200ms\" }";
    let parts = [
        provider("silent", &silent, settings, &[key("k", "")]),
        provider("good", &good, "", &[key("k", "")]),
        "[routes.r]\ntargets = [{ model = \"silent/a\" }]\nfallbacks = [\"silent/b\", \"good/c\"]\n"
            .to_owned(),
    ];
    let keymux = Keymux::start(&config("", &parts), &[]).await;
    let reply = ask(&keymux, "r").await;
    assert_eq!((reply.status(), reply.header("x-keymux-attempts")), (200, Some("2")));
    assert_eq!(silent.requests().len(), 1);
}

#[tokio::test]
async fn a_stale_pooled_connection_is_retried_transparently() {
    // The provider closes the connection at its second request.
    let upstream = Upstream::start(|received| match received.number {
        1 => vec![Step::Close],
        _ => chat_answer("hello"),
    })
    .await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    for _ in 0..2 {
        let reply = ask(&keymux, "main/m").await;
        assert_eq!((reply.status(), reply.header("x-keymux-attempts")), (200, Some("1")));
    }
    assert_eq!(upstream.requests().len(), 3);
}
