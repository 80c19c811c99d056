//! Configured limits, limits of a `quota_group`, and limits that providers report, tested with a caller and
//! a provider around the process.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::time::Duration;

use common::config::{client, config, key, provider, secret};
use common::http::{self, Connection, Reply};
use common::keymux::{Keymux, run};
use common::upstream::{Received, Step, Upstream, answer, chat_answer, chat_events, sse};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const CHAT: &str = "/v1/chat/completions";

async fn send_chat(keymux: &Keymux, model: &str) -> Reply {
    http::post(keymux.address(), CHAT, &[], &json!({"model": model})).await
}

/// Sends many requests at once, as a client.
fn send_at_once(keymux: &Keymux, requests: usize, client: &str) -> JoinSet<Reply> {
    let (mut all, bearer) = (JoinSet::new(), format!("Bearer client-{client}"));
    for _ in 0..requests {
        let (address, bearer) = (keymux.address(), bearer.clone());
        all.spawn(async move {
            let caller = [("authorization", &*bearer)];
            http::post(address, CHAT, &caller, &json!({"model": "m"})).await
        });
    }
    all
}

fn count(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status() == status).count()
}

fn has_key(request: &Received, name: &str) -> bool {
    request.header("authorization") == Some(&*format!("Bearer {}", secret(name)))
}

fn slow(millis: u64) -> Vec<Step> {
    [vec![Step::Pause(Duration::from_millis(millis))], chat_answer("hello")].concat()
}

/// Returns the highest number of requests that the provider had at once, if each takes this long.
fn max_concurrent(upstream: &Upstream, each: Duration) -> usize {
    let all = upstream.requests();
    let concurrent = |own: &Received| {
        all.iter().filter(|other| other.at <= own.at && own.at < other.at + each).count()
    };
    all.iter().map(concurrent).max().unwrap_or(0)
}

async fn start(upstream: &Upstream, server: &str, settings: &str, keys: &[String]) -> Keymux {
    Keymux::start(&config(server, &[provider("main", upstream, settings, keys)]), &[]).await
}

async fn key_state(keymux: &Keymux, name: &str) -> Value {
    let all = keymux.admin("/keys").await.json();
    all.as_array().unwrap().iter().find(|key| key["key"] == name).unwrap().clone()
}

#[tokio::test]
async fn requests_under_way_never_exceed_max_concurrent_of_the_key() {
    let upstream = Upstream::always(slow(400)).await;
    let keymux =
        start(&upstream, "queue_timeout = \"5s\"", "", &[key("only", "max_concurrent = 2")]).await;
    let mut all = send_at_once(&keymux, 8, "any");
    sleep(Duration::from_millis(200)).await;
    let state = key_state(&keymux, "only").await;
    assert_eq!((&state["in_flight"], &state["state"]), (&json!(2), &json!("limited")), "{state}");
    assert_eq!(state["reason"], "max_concurrent reached");
    let text = keymux.admin("/metrics").await.text();
    let labels = "provider=\"main\",key=\"only\"";
    assert!(text.contains(&format!("keymux_key_in_flight_requests{{{labels}}} 2\n")), "{text}");
    assert!(text.contains(&format!("keymux_key_limit{{{labels},kind=\"max_concurrent\"}} 2\n")));
    let mut replies = Vec::new();
    while let Some(reply) = all.join_next().await {
        replies.push(reply.unwrap());
    }
    assert_eq!(count(&replies, 200), 8);
    // A little less than an answer takes: the provider has sent it before the next request arrives.
    assert_eq!(max_concurrent(&upstream, Duration::from_millis(395)), 2);
}

#[tokio::test]
async fn a_permit_is_held_until_the_last_byte_or_until_the_caller_disconnects() {
    let upstream = Upstream::start(|request| {
        let events = chat_events(&["a", "b", "c", "d"]);
        match request.number {
            0 => sse(&events, Duration::from_millis(150)),
            1 => sse(&events, Duration::from_secs(60)),
            _ => chat_answer("hello"),
        }
    })
    .await;
    let server = "queue_timeout = \"3s\"";
    let keymux = start(&upstream, server, "", &[key("only", "max_concurrent = 1")]).await;
    let mut first = Connection::open(keymux.address()).await;
    let stream = json!({"model": "m", "stream": true});
    first.send(&http::json_request(CHAT, &[], &stream)).await;
    let first_began = upstream.request(0).await.at;
    let mut second = Connection::open(keymux.address()).await;
    second.send(&http::json_request(CHAT, &[], &stream)).await;
    let second_began = upstream.request(1).await.at;
    assert!(
        second_began - first_began >= Duration::from_millis(7 * 150),
        "{:?}",
        second_began - first_began
    );
    assert_eq!(first.reply().await.status(), 200);
    drop(second);
    let start = Instant::now();
    assert_eq!(send_chat(&keymux, "m").await.status(), 200);
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_request_that_waits_in_vain_is_refused_in_the_format_of_the_caller() {
    let upstream = Upstream::always(slow(4000)).await;
    let part = |kind: &str, more: &str| {
        format!(
            "[providers.{kind}]\nkind = \"{kind}\"\nbase_url = \"{}\"\nmax_concurrent = 1\n\
             [[providers.{kind}.keys]]\nname = \"{kind}\"\n{more}\n",
            upstream.url(),
        )
    };
    let value = |kind: &str| format!("value = \"{}\"", secret(kind));
    let aws = "bedrock_key_config = { region = \"us-east-1\", access_key = \"AKIA0000\", \
               secret_key = \"s3cr3t-of-bedrock\" }";
    let parts = [
        part("openai", &value("openai")).replace(&upstream.url(), &(upstream.url() + "/v1")),
        part("anthropic", &value("anthropic")),
        part("gemini", &value("gemini")),
        part("bedrock", aws),
    ];
    let keymux = Keymux::start(&config("queue_timeout = \"200ms\"", &parts), &[]).await;
    for (path, model, pointer, expected) in [
        (CHAT, "openai/m", "/error/code", "rate_limit_exceeded"),
        ("/v1/messages", "anthropic/m", "/error/type", "rate_limit_error"),
        ("/v1beta/models/gemini%2Fm:generateContent", "", "/error/status", "RESOURCE_EXHAUSTED"),
        ("/model/bedrock%2Fm/converse", "", "", ""),
    ] {
        let body = json!({"model": model, "messages": [], "max_tokens": 1});
        let before = upstream.requests().len();
        let mut holder = Connection::open(keymux.address()).await;
        holder.send(&http::json_request(path, &[], &body)).await;
        upstream.request(before).await;
        let reply = http::post(keymux.address(), path, &[], &body).await;
        assert_eq!((reply.status(), reply.header("retry-after")), (429, Some("1")), "{path}");
        assert_eq!(reply.header("x-keymux-attempts"), Some("0"));
        if pointer.is_empty() {
            assert_eq!(reply.header("x-amzn-errortype"), Some("ThrottlingException"));
        } else {
            assert_eq!(reply.json().pointer(pointer).unwrap(), expected, "{}", reply.text());
        }
        assert!(reply.text().contains("max_concurrent"), "{}", reply.text());
    }
}

#[tokio::test]
async fn requests_under_way_never_exceed_max_concurrent_of_the_client() {
    let upstream = Upstream::always(slow(700)).await;
    let parts = [
        client("small", "max_concurrent = 2"),
        client("large", ""),
        provider("main", &upstream, "", &[key("only", "")]),
    ];
    let keymux = Keymux::start(&config("", &parts), &[]).await;
    let (small, large) = (send_at_once(&keymux, 6, "small"), send_at_once(&keymux, 6, "large"));
    let (small, large) = (small.join_all().await, large.join_all().await);
    assert_eq!((count(&large, 200), count(&small, 200), count(&small, 429)), (6, 4, 2));
    let refused = small.iter().find(|reply| reply.status() == 429).unwrap();
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.json()["error"]["code"], "rate_limit_exceeded");
    assert!(refused.text().contains("The client `small` has 2 requests"), "{}", refused.text());
    let models =
        http::get(keymux.address(), "/v1/models", &[("authorization", "Bearer client-small")]);
    assert_eq!(models.await.status(), 200);
}

#[tokio::test]
async fn rpm_moves_requests_to_other_keys_and_then_refuses_them_with_retry_after() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keys = [key("a", "rpm = 3"), key("b", "rpm = 5")];
    let keymux = start(&upstream, "", "", &keys).await;
    let replies = send_at_once(&keymux, 20, "any").join_all().await;
    assert_eq!((count(&replies, 200), count(&replies, 429)), (8, 12));
    let received = upstream.requests();
    assert_eq!(received.iter().filter(|request| has_key(request, "a")).count(), 3);
    let refused = send_chat(&keymux, "m").await;
    let retry_after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((55..=60).contains(&retry_after), "{retry_after}");
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("main/a has reached its rpm, next try in"), "{message}");

    let state = key_state(&keymux, "a").await;
    assert_eq!(
        (&state["state"], &state["reason"]),
        (&json!("limited"), &json!("rpm limit reached"))
    );
    assert_eq!(
        (&state["limits"]["rpm"], &state["last_minute"]["requests"]),
        (&json!(3), &json!(3))
    );
    let file = keymux.config_path();
    let explained = run(
        keymux.folder(),
        &["explain", "m", "--running", "--config", file.to_str().unwrap()],
        &[],
    );
    let explained = String::from_utf8(explained.stdout).unwrap();
    assert!(explained.contains("rpm limit reached, for "), "{explained}");
    assert!(explained.contains("3 of 3 requests in the last minute"), "{explained}");

    // A reload keeps the counts and makes the new limits active.
    let keys = [key("a", "rpm = 4"), key("b", "rpm = 5")];
    keymux.rewrite(&config("", &[provider("main", &upstream, "", &keys)]));
    keymux.signal(rustix::process::Signal::HUP);
    let start = Instant::now();
    while key_state(&keymux, "a").await["limits"]["rpm"] != 4 {
        assert!(start.elapsed() < common::PATIENCE, "no reload");
        sleep(Duration::from_millis(20)).await;
    }
    let replies = send_at_once(&keymux, 6, "any").join_all().await;
    assert_eq!((count(&replies, 200), count(&replies, 429)), (1, 5));
}

#[tokio::test]
async fn tpm_uses_the_token_counts_of_the_provider() {
    let usage =
        r#"{"choices":[],"usage":{"prompt_tokens":900,"completion_tokens":50,"total_tokens":950}}"#;
    let json = [("content-type", "application/json")];
    let upstream = Upstream::always(answer(200, &json, usage.as_bytes())).await;
    let keymux = start(&upstream, "", "", &[key("only", "tpm = 1000")]).await;
    assert_eq!(send_chat(&keymux, "m").await.status(), 200);
    assert_eq!(key_state(&keymux, "only").await["last_minute"]["tokens"], 950);
    let prompt = "word ".repeat(60);
    let large = json!({"model": "m", "messages": [{"role": "user", "content": prompt}]});
    let reply = http::post(keymux.address(), CHAT, &[], &large).await;
    assert_eq!(reply.status(), 429);
    assert!(reply.text().contains("main/only has reached its tpm"), "{}", reply.text());
    assert_eq!(send_chat(&keymux, "m").await.status(), 200, "a small request is below the limit");
}

#[tokio::test]
async fn keys_of_one_quota_group_cool_down_together() {
    let upstream = Upstream::start(|request| {
        if has_key(request, "other") { chat_answer("hello") } else { answer(429, &[], b"{}") }
    })
    .await;
    let group = "quota_group = \"account\"";
    let keys = [key("a", group), key("b", group), key("c", group), key("other", "weight = 0")];
    let keymux = start(&upstream, "", "", &keys).await;
    for _ in 0..5 {
        assert_eq!(send_chat(&keymux, "m").await.status(), 200);
    }
    let received = upstream.requests();
    assert_eq!(received.iter().filter(|request| !has_key(request, "other")).count(), 1);
    for name in ["a", "b", "c"] {
        assert_eq!(key_state(&keymux, name).await["models"][0]["reason"], "throttled", "{name}");
    }
}

#[tokio::test]
async fn a_key_whose_reported_limit_is_exhausted_is_avoided() {
    let upstream = Upstream::start(|request| {
        let left = if has_key(request, "a") { "0" } else { "70" };
        let headers = [
            ("content-type", "application/json"),
            ("x-ratelimit-limit-requests", "100"),
            ("x-ratelimit-remaining-requests", left),
            ("x-ratelimit-reset-requests", "2s"),
        ];
        answer(200, &headers, b"{\"choices\":[]}")
    })
    .await;
    let keymux = start(&upstream, "", "", &[key("a", "weight = 5"), key("b", "")]).await;
    for _ in 0..12 {
        let reply = send_chat(&keymux, "m").await;
        assert_eq!((reply.status(), reply.header("x-keymux-attempts")), (200, Some("1")));
    }
    let requests_with_a =
        || upstream.requests().iter().filter(|request| has_key(request, "a")).count();
    assert_eq!(requests_with_a(), 1);
    let state = key_state(&keymux, "a").await;
    assert_eq!((&state["state"], &state["rate_limits"][0]["remaining"]), (&json!("ok"), &json!(0)));
    let text = keymux.admin("/metrics").await.text();
    let labels = "provider=\"main\",key=\"a\",kind=\"requests\"";
    assert!(text.contains(&format!("keymux_key_rate_limit_remaining{{{labels}}} 0\n")), "{text}");
    sleep(Duration::from_millis(2100)).await;
    for _ in 0..6 {
        send_chat(&keymux, "m").await;
    }
    assert_eq!(requests_with_a(), 2, "once more after the reset");
}
