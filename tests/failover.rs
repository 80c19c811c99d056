//! Tests of the behaviour when providers fail, seen by the caller and by the provider.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::time::Duration;

use common::config::{config, key, provider, secret};
use common::http::{self, Connection, Reply};
use common::keymux::{Keymux, run};
use common::upstream::{Received, Step, Upstream, answer, chat_answer, json_answer};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const CHAT: &str = "/v1/chat/completions";

async fn ask(keymux: &Keymux, model: &str) -> Reply {
    http::post(keymux.address(), CHAT, &[], &json!({"model": model})).await
}

fn throttled(millis: u64) -> Vec<Step> {
    answer(429, &[("retry-after-ms", &millis.to_string())], b"{}")
}

fn carries(request: &Received, name: &str) -> bool {
    request.header("authorization") == Some(&*format!("Bearer {}", secret(name)))
}

async fn with(upstream: &Upstream, more: &str, keys: &[&str]) -> Keymux {
    let keys: Vec<String> = keys.iter().map(|name| key(name, "")).collect();
    Keymux::start(&config("", &[more.to_owned(), provider("main", upstream, "", &keys)]), &[]).await
}

#[tokio::test]
async fn when_all_keys_cool_down_the_refusal_is_immediate_and_accurate() {
    let upstream = Upstream::always(throttled(20_000)).await;
    let keymux = with(&upstream, "", &["a", "b"]).await;
    assert_eq!(ask(&keymux, "m").await.header("x-keymux-attempts"), Some("2"));
    let mut caller = Connection::open(keymux.address()).await;
    let mut fastest = Duration::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        caller.send(&http::json_request(CHAT, &[], &json!({"model": "m"}))).await;
        let reply = caller.reply().await;
        fastest = fastest.min(start.elapsed());
        assert_eq!((reply.status(), reply.header("x-keymux-attempts")), (429, Some("0")));
        let after: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((19..=22).contains(&after), "{after}");
        assert_eq!(reply.header("x-should-retry"), None, "a key is free by then");
        let error = reply.json()["error"].clone();
        assert_eq!(error["code"], "rate_limit_exceeded");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("main/a is throttled") && message.contains("main/b is throttled"));
        assert!(!message.contains(&secret("a")[..6]), "{message}");
    }
    assert!(fastest < Duration::from_millis(5), "{fastest:?}");
    assert_eq!(upstream.requests().len(), 2, "no provider is asked");
}

#[tokio::test]
async fn a_refusal_has_the_format_of_each_api() {
    let upstream = Upstream::always(answer(402, &[], b"{}")).await;
    let part = |kind: &str| {
        format!(
            "[providers.{kind}]\nkind = \"{kind}\"\nbase_url = \"{}\"\n[[providers.{kind}.keys]]\n{}",
            upstream.url(),
            key(kind, "")
        )
    };
    let keymux = Keymux::start(&config("", &[part("anthropic"), part("gemini")]), &[]).await;
    for (path, model, body) in [
        ("/v1/messages", "anthropic/m", "/error/type"),
        ("/v1beta/models/gemini%2Fm:generateContent", "", "/error/status"),
    ] {
        let asked = json!({"model": model, "messages": [], "max_tokens": 1});
        http::post(keymux.address(), path, &[], &asked).await;
        let reply = http::post(keymux.address(), path, &[], &asked).await;
        assert_eq!((reply.status(), reply.header("retry-after")), (429, Some("60")), "{path}");
        assert_eq!(reply.header("x-should-retry"), Some("false"), "not within a minute");
        let kind = reply.json().pointer(body).cloned().unwrap();
        assert!(kind == "rate_limit_error" || kind == "RESOURCE_EXHAUSTED", "{}", reply.text());
        assert!(reply.text().contains("has no credit"), "{}", reply.text());
    }
}

#[tokio::test]
async fn a_key_available_within_the_queue_timeout_is_waited_for() {
    let upstream = Upstream::start(|request| match request.number {
        0 => throttled(300),
        _ => chat_answer("hello"),
    })
    .await;
    let keymux = with(&upstream, "", &["only"]).await;
    let start = Instant::now();
    let reply = ask(&keymux, "m").await;
    assert_eq!((reply.status(), reply.header("x-keymux-attempts")), (200, Some("2")));
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_recovering_key_gets_one_probe() {
    let upstream = Upstream::start(|request| match request.number {
        0 => throttled(1500),
        // The probe is slow.
        _ if carries(request, "tired") => {
            [vec![Step::Pause(Duration::from_millis(400))], throttled(60_000)].concat()
        }
        _ => chat_answer("hello"),
    })
    .await;
    let keys = [key("tired", "weight = 1000"), key("good", "weight = 1")];
    let keymux = Keymux::start(&config("", &[provider("main", &upstream, "", &keys)]), &[]).await;
    assert_eq!(ask(&keymux, "m").await.status(), 200);
    sleep(Duration::from_millis(1700)).await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let address = keymux.address();
        callers.spawn(async move { http::post(address, CHAT, &[], &json!({"model": "m"})).await });
    }
    for reply in callers.join_all().await {
        assert_eq!((reply.status(), reply.header("x-keymux-key")), (200, Some("good")));
    }
    let tired = upstream.requests().iter().filter(|request| carries(request, "tired")).count();
    assert_eq!(tired, 2, "the one that was throttled, and the probe");
}

#[tokio::test]
async fn an_outage_is_not_amplified_beyond_the_budget() {
    let upstream = Upstream::always(answer(503, &[], b"{}")).await;
    let keymux =
        with(&upstream, "[retry]\nbudget = 0.2\nfloor_per_second = 10\n", &["a", "b"]).await;
    let start = Instant::now();
    let mut caller = Connection::open(keymux.address()).await;
    for number in 0..300 {
        // Each case has its own model, so no cooldown affects another.
        let asked = json!({"model": format!("main/m{number}")});
        caller.send(&http::json_request(CHAT, &[], &asked)).await;
        assert_eq!(caller.reply().await.status(), 503);
    }
    let (most, seen) =
        (300.0 * 1.2 + 10.0 * (start.elapsed().as_secs_f64() + 1.0), upstream.requests().len());
    assert!(seen >= 360, "the budget is there to be used: {seen}");
    assert!(f64::from(u32::try_from(seen).unwrap()) <= most, "{seen} of {most}");
}

#[tokio::test]
async fn failures_in_a_row_end_in_a_503_without_an_upstream_call() {
    let upstream = Upstream::always(vec![Step::Reset]).await;
    let keymux = with(&upstream, "", &["only"]).await;
    // The key and its second try; then the key, which cools down.
    assert_eq!(ask(&keymux, "m").await.header("x-keymux-attempts"), Some("2"));
    assert_eq!(ask(&keymux, "m").await.header("x-keymux-attempts"), Some("1"));
    let reply = ask(&keymux, "m").await;
    assert_eq!((reply.status(), reply.header("x-keymux-attempts")), (503, Some("0")));
    assert_eq!(upstream.requests().len(), 3);
    assert_eq!(ask(&keymux, "other").await.header("x-keymux-attempts"), Some("2"), "for one model");
}

#[tokio::test]
async fn a_targets_only_key_gets_one_immediate_retry() {
    let upstream = Upstream::start(|request| match request.number {
        0 => answer(502, &[], b"{}"),
        _ => chat_answer("hello"),
    })
    .await;
    let keymux = with(&upstream, "", &["only"]).await;
    let start = Instant::now();
    let reply = ask(&keymux, "m").await;
    assert_eq!((reply.status(), reply.header("x-keymux-attempts")), (200, Some("2")));
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_prompt_over_the_context_limit_goes_to_the_fallback() {
    let upstream = Upstream::start(|request| match request.json()["model"].as_str().unwrap() {
        "large" => chat_answer("hello"),
        _ => json_answer(400, &json!({"error": {"code": "context_length_exceeded"}})),
    })
    .await;
    let routes = "[routes.r]\ntargets = [{ model = \"main/small\" }]\nfallbacks = [\"main/small\", \"main/large\"]\n";
    let keymux = with(&upstream, routes, &["a", "b"]).await;
    let reply = ask(&keymux, "r").await;
    assert_eq!((reply.status(), reply.header("x-keymux-attempts")), (200, Some("2")));
    // Without a fallback, the provider's own error.
    let reply = ask(&keymux, "main/small").await;
    assert_eq!((reply.status(), reply.header("x-keymux-attempts")), (400, Some("1")));
    assert_eq!(reply.json(), json!({"error": {"code": "context_length_exceeded"}}));
}

async fn keys(keymux: &Keymux) -> Value {
    http::get(keymux.admin_address(), "/keys", &[("authorization", "Bearer adm-token-1")])
        .await
        .json()
}

#[tokio::test]
async fn cooldowns_are_reported_by_keys_metrics_and_explain() {
    let upstream = Upstream::start(|request| {
        if carries(request, "poor") {
            answer(402, &[], b"{}")
        } else if request.json()["model"] == "busy" {
            throttled(50_000)
        } else {
            chat_answer("hello")
        }
    })
    .await;
    let keys_of = [key("poor", "weight = 9"), key("fine", "")];
    let text = config("", &[provider("main", &upstream, "", &keys_of)])
        .replace("[admin]\n", "[admin]\ntoken = { file = \"{DIR}/token\" }\n");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "adm-token-1\n").unwrap();
    let keymux = Keymux::start_in(folder, &text, &[]).await;
    ask(&keymux, "busy").await;
    ask(&keymux, "free").await;

    let told = keys(&keymux).await;
    assert_eq!((&told[0]["state"], &told[0]["reason"]), (&json!("cooling"), &json!("no_credit")));
    assert_eq!((&told[1]["state"], &told[1]["reason"]), (&json!("ok"), &Value::Null));
    let model = &told[1]["models"][0];
    assert_eq!((&model["model"], &model["reason"]), (&json!("busy"), &json!("throttled")));
    assert!((48..=55).contains(&model["cooldown_remaining_seconds"].as_u64().unwrap()), "{model}");

    let metrics =
        http::get(keymux.admin_address(), "/metrics", &[("authorization", "Bearer adm-token-1")]);
    let metrics = metrics.await.text();
    for line in [
        "keymux_key_cooling{provider=\"main\",key=\"poor\"} 1\n",
        "keymux_key_cooling{provider=\"main\",key=\"fine\"} 0\n",
        "keymux_key_cooling_models{provider=\"main\",key=\"fine\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }

    let explain = |model: &str, more: &[&str]| {
        let arguments = [&["explain", model], more].concat();
        let output = run(keymux.folder(), &arguments, &[]);
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let said = explain("busy", &["--running"]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[1].contains("90.0000 %; now cooling down for ") && lines[1].contains("(no_credit)"),
        "{said}"
    );
    assert!(lines[2].contains("10.0000 %; now cooling down with this model for "), "{said}");
    assert!(explain("free", &["--running"]).contains("10.0000 %; now ok"), "{said}");
    assert!(!explain("busy", &[]).contains("now"), "nobody was asked");
    assert!(!said.contains("adm-to"), "{said}");
}

#[tokio::test]
async fn explain_reports_that_no_daemon_runs() {
    let folder = tempfile::tempdir().unwrap();
    let [port, admin] = common::keymux::free_ports();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n[providers.echo]\n"
    );
    std::fs::write(folder.path().join("keymux.toml"), text).unwrap();
    let output = run(folder.path(), &["explain", "echo/x", "--running"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("127.0.0.1:{admin}/keys")), "{said}");
}

#[tokio::test]
async fn a_truncated_or_failed_whole_response_is_retried_with_another_key() {
    let error = json!({"error": {"message": "Overloaded", "type": "overloaded_error"}});
    let half = answer(200, &[("content-type", "application/json")], &[b' '; 300]);
    let [Step::Send(bytes)] = &half[..] else { panic!("one step") };
    let broken = vec![Step::Send(bytes[..bytes.len() - 100].to_vec()), Step::Reset];
    for bad in [json_answer(200, &error), broken] {
        let upstream =
            Upstream::start(
                move |request| {
                    if carries(request, "a") { bad.clone() } else { chat_answer("hello") }
                },
            )
            .await;
        let keymux = with(&upstream, "", &["a", "b"]).await;
        for _ in 0..4 {
            let reply = ask(&keymux, "m").await;
            assert_eq!(reply.status(), 200);
            assert_eq!(reply.json()["choices"][0]["message"]["content"], "hello");
            assert_eq!(reply.header("x-keymux-key"), Some("b"));
        }
        assert!(upstream.requests().iter().any(|request| carries(request, "a")));
    }
}

#[tokio::test]
async fn an_error_with_status_200_gets_the_right_status() {
    let body = json!({"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}});
    let upstream = Upstream::always(json_answer(200, &body)).await;
    let keymux = with(&upstream, "", &["a"]).await;
    let reply = ask(&keymux, "m").await;
    assert_eq!((reply.status(), reply.json()), (429, body));
}

/// Azure's response to a prompt that its content filter refuses.
#[tokio::test]
async fn a_caller_error_with_status_200_is_forwarded_unchanged() {
    let error = json!({"message": "filtered", "code": "content_filter", "status": 400});
    let body = json!({"error": error});
    let upstream = Upstream::always(json_answer(200, &body)).await;
    let keymux = with(&upstream, "", &["a", "b"]).await;
    let reply = ask(&keymux, "m").await;
    assert_eq!((reply.status(), reply.json()), (200, body));
    assert_eq!(upstream.requests().len(), 1);
}
