//! Limits of the file's own, limits that keys share, and what providers say is left, seen from both sides
//! of the program.

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

async fn ask(keymux: &Keymux, model: &str) -> Reply {
    http::post(keymux.address(), CHAT, &[], &json!({"model": model})).await
}

/// Asks many times at once, as a client.
fn at_once(keymux: &Keymux, requests: usize, client: &str) -> JoinSet<Reply> {
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

fn carries(request: &Received, name: &str) -> bool {
    request.header("authorization") == Some(&*format!("Bearer {}", secret(name)))
}

fn slow(millis: u64) -> Vec<Step> {
    [vec![Step::Pause(Duration::from_millis(millis))], chat_answer("hello")].concat()
}

/// How many requests the provider had at once, when each takes this long.
fn most_at_once(upstream: &Upstream, each: Duration) -> usize {
    let all = upstream.requests();
    let beside = |own: &Received| {
        all.iter().filter(|other| other.at <= own.at && own.at < other.at + each).count()
    };
    all.iter().map(beside).max().unwrap_or(0)
}

async fn with(upstream: &Upstream, server: &str, settings: &str, keys: &[String]) -> Keymux {
    Keymux::start(&config(server, &[provider("main", upstream, settings, keys)]), &[]).await
}

async fn known(keymux: &Keymux, name: &str) -> Value {
    let all = keymux.admin("/keys").await.json();
    all.as_array().unwrap().iter().find(|key| key["key"] == name).unwrap().clone()
}

#[tokio::test]
async fn a_provider_never_sees_more_at_once_than_the_key_may_have() {
    let upstream = Upstream::always(slow(400)).await;
    let keymux =
        with(&upstream, "queue_timeout = \"5s\"", "", &[key("only", "max_concurrent = 2")]).await;
    let mut all = at_once(&keymux, 8, "nobody");
    sleep(Duration::from_millis(200)).await;
    let told = known(&keymux, "only").await;
    assert_eq!((&told["in_flight"], &told["state"]), (&json!(2), &json!("limited")), "{told}");
    assert_eq!(told["why"], "at its max_concurrent");
    let text = keymux.admin("/metrics").await.text();
    let labels = "provider=\"main\",key=\"only\"";
    assert!(text.contains(&format!("keymux_key_in_flight_requests{{{labels}}} 2\n")), "{text}");
    assert!(text.contains(&format!("keymux_key_limit{{{labels},kind=\"max_concurrent\"}} 2\n")));
    let mut replies = Vec::new();
    while let Some(reply) = all.join_next().await {
        replies.push(reply.unwrap());
    }
    assert_eq!(count(&replies, 200), 8);
    // A little less than an answer takes: it has left the provider before the next request comes.
    assert_eq!(most_at_once(&upstream, Duration::from_millis(395)), 2);
}

#[tokio::test]
async fn a_place_is_held_until_the_last_byte_or_until_the_caller_leaves() {
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
    let keymux = with(&upstream, server, "", &[key("only", "max_concurrent = 1")]).await;
    let mut first = Connection::open(keymux.address()).await;
    let stream = json!({"model": "m", "stream": true});
    first.send(&http::json_request(CHAT, &[], &stream)).await;
    let begun = upstream.request(0).await.at;
    let mut second = Connection::open(keymux.address()).await;
    second.send(&http::json_request(CHAT, &[], &stream)).await;
    let next = upstream.request(1).await.at;
    assert!(next - begun >= Duration::from_millis(7 * 150), "{:?}", next - begun);
    assert_eq!(first.reply().await.status(), 200);
    drop(second);
    let start = Instant::now();
    assert_eq!(ask(&keymux, "m").await.status(), 200);
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
}

#[tokio::test]
async fn whoever_waits_in_vain_is_told_in_its_own_format() {
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
    for (path, model, kind, wanted) in [
        (CHAT, "openai/m", "/error/code", "rate_limit_exceeded"),
        ("/v1/messages", "anthropic/m", "/error/type", "rate_limit_error"),
        ("/v1beta/models/gemini%2Fm:generateContent", "", "/error/status", "RESOURCE_EXHAUSTED"),
        ("/model/bedrock%2Fm/converse", "", "", ""),
    ] {
        let asked = json!({"model": model, "messages": [], "max_tokens": 1});
        let before = upstream.requests().len();
        let mut holder = Connection::open(keymux.address()).await;
        holder.send(&http::json_request(path, &[], &asked)).await;
        upstream.request(before).await;
        let reply = http::post(keymux.address(), path, &[], &asked).await;
        assert_eq!((reply.status(), reply.header("retry-after")), (429, Some("1")), "{path}");
        assert_eq!(reply.header("x-keymux-attempts"), Some("0"));
        if kind.is_empty() {
            assert_eq!(reply.header("x-amzn-errortype"), Some("ThrottlingException"));
        } else {
            assert_eq!(reply.json().pointer(kind).unwrap(), wanted, "{}", reply.text());
        }
        assert!(reply.text().contains("max_concurrent"), "{}", reply.text());
    }
}

#[tokio::test]
async fn a_client_has_as_many_requests_at_once_as_it_may() {
    let upstream = Upstream::always(slow(700)).await;
    let parts = [
        client("small", "max_concurrent = 2"),
        client("large", ""),
        provider("main", &upstream, "", &[key("only", "")]),
    ];
    let keymux = Keymux::start(&config("", &parts), &[]).await;
    let (small, large) = (at_once(&keymux, 6, "small"), at_once(&keymux, 6, "large"));
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
async fn rpm_goes_to_other_keys_and_then_says_when() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keys = [key("a", "rpm = 3"), key("b", "rpm = 5")];
    let keymux = with(&upstream, "", "", &keys).await;
    let replies = at_once(&keymux, 20, "nobody").join_all().await;
    assert_eq!((count(&replies, 200), count(&replies, 429)), (8, 12));
    let seen = upstream.requests();
    assert_eq!(seen.iter().filter(|request| carries(request, "a")).count(), 3);
    let refused = ask(&keymux, "m").await;
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((55..=60).contains(&after), "{after}");
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("main/a has reached its rpm, next try in"), "{message}");

    let told = known(&keymux, "a").await;
    assert_eq!((&told["state"], &told["why"]), (&json!("limited"), &json!("over its own rpm")));
    assert_eq!((&told["limits"]["rpm"], &told["last_minute"]["requests"]), (&json!(3), &json!(3)));
    let file = keymux.config_path();
    let explained = run(
        keymux.folder(),
        &["explain", "m", "--running", "--config", file.to_str().unwrap()],
        &[],
    );
    let explained = String::from_utf8(explained.stdout).unwrap();
    assert!(explained.contains("over its own rpm, for "), "{explained}");
    assert!(explained.contains("3 of 3 requests in the last minute"), "{explained}");

    // A reload keeps what was counted, and puts other limits in force.
    let keys = [key("a", "rpm = 4"), key("b", "rpm = 5")];
    keymux.rewrite(&config("", &[provider("main", &upstream, "", &keys)]));
    keymux.signal(rustix::process::Signal::HUP);
    let patience = Instant::now();
    while known(&keymux, "a").await["limits"]["rpm"] != 4 {
        assert!(patience.elapsed() < common::PATIENCE, "no reload");
        sleep(Duration::from_millis(20)).await;
    }
    let replies = at_once(&keymux, 6, "nobody").join_all().await;
    assert_eq!((count(&replies, 200), count(&replies, 429)), (1, 5));
}

#[tokio::test]
async fn tokens_count_as_the_provider_has_counted_them() {
    let usage =
        r#"{"choices":[],"usage":{"prompt_tokens":900,"completion_tokens":50,"total_tokens":950}}"#;
    let json = [("content-type", "application/json")];
    let upstream = Upstream::always(answer(200, &json, usage.as_bytes())).await;
    let keymux = with(&upstream, "", "", &[key("only", "tpm = 1000")]).await;
    assert_eq!(ask(&keymux, "m").await.status(), 200);
    assert_eq!(known(&keymux, "only").await["last_minute"]["tokens"], 950);
    let prompt = "word ".repeat(60);
    let large = json!({"model": "m", "messages": [{"role": "user", "content": prompt}]});
    let reply = http::post(keymux.address(), CHAT, &[], &large).await;
    assert_eq!(reply.status(), 429);
    assert!(reply.text().contains("main/only has reached its tpm"), "{}", reply.text());
    assert_eq!(ask(&keymux, "m").await.status(), 200, "a small one has room");
}

#[tokio::test]
async fn keys_of_one_account_rest_together() {
    let upstream = Upstream::start(|request| {
        if carries(request, "other") { chat_answer("hello") } else { answer(429, &[], b"{}") }
    })
    .await;
    let group = "quota_group = \"account\"";
    let keys = [key("a", group), key("b", group), key("c", group), key("other", "weight = 0")];
    let keymux = with(&upstream, "", "", &keys).await;
    for _ in 0..5 {
        assert_eq!(ask(&keymux, "m").await.status(), 200);
    }
    let seen = upstream.requests();
    assert_eq!(seen.iter().filter(|request| !carries(request, "other")).count(), 1);
    for name in ["a", "b", "c"] {
        assert_eq!(known(&keymux, name).await["models"][0]["why"], "throttled", "{name}");
    }
}

#[tokio::test]
async fn a_key_that_its_provider_says_is_used_up_is_spared() {
    let upstream = Upstream::start(|request| {
        let left = if carries(request, "a") { "0" } else { "70" };
        let headers = [
            ("content-type", "application/json"),
            ("x-ratelimit-limit-requests", "100"),
            ("x-ratelimit-remaining-requests", left),
            ("x-ratelimit-reset-requests", "2s"),
        ];
        answer(200, &headers, b"{\"choices\":[]}")
    })
    .await;
    let keymux = with(&upstream, "", "", &[key("a", "weight = 5"), key("b", "")]).await;
    for _ in 0..12 {
        let reply = ask(&keymux, "m").await;
        assert_eq!((reply.status(), reply.header("x-keymux-attempts")), (200, Some("1")));
    }
    let with_a = || upstream.requests().iter().filter(|request| carries(request, "a")).count();
    assert_eq!(with_a(), 1);
    let told = known(&keymux, "a").await;
    assert_eq!((&told["state"], &told["told"][0]["remaining"]), (&json!("ok"), &json!(0)));
    let text = keymux.admin("/metrics").await.text();
    let labels = "provider=\"main\",key=\"a\",kind=\"requests\"";
    assert!(text.contains(&format!("keymux_key_remaining{{{labels}}} 0\n")), "{text}");
    sleep(Duration::from_millis(2100)).await;
    for _ in 0..6 {
        ask(&keymux, "m").await;
    }
    assert_eq!(with_a(), 2, "once more after the reset");
}
