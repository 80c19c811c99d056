//! The access log, the metrics and the admin pages, tested with real requests.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::PATIENCE;
use common::config::{client, config, key, one_key, provider};
use common::http::{self, Connection};
use common::keymux::Keymux;
use common::upstream::{Step, Upstream, answer, chat_answer, chat_events, cut, sse};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const CHAT: &str = "/v1/chat/completions";
const PACE: Duration = Duration::from_millis(5);

/// Waits for the access lines of all requests, and checks that no more follow.
async fn access_lines(keymux: &Keymux, requests: usize) -> Vec<Value> {
    let start = Instant::now();
    let mut settled = false;
    loop {
        let log = keymux.log();
        let lines: Vec<Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
            .filter(|line: &Value| line["target"] == "access")
            .collect();
        if lines.len() >= requests {
            assert_eq!(lines.len(), requests, "{log}");
            if settled {
                return lines;
            }
            settled = true;
        }
        assert!(start.elapsed() < PATIENCE, "{} lines for {requests}:\n{log}", lines.len());
        sleep(Duration::from_millis(50)).await;
    }
}

/// Returns the samples of `/metrics` by name and labels.
async fn samples(keymux: &Keymux) -> BTreeMap<String, f64> {
    let reply = keymux.admin("/metrics").await;
    assert_eq!(reply.status(), 200);
    let text = reply.text();
    assert!(text.ends_with("# EOF\n"), "the OpenMetrics text format");
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
    };
    text.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

/// Waits until a sample has a value: requests are counted after their last byte is sent.
async fn wait_for_sample(keymux: &Keymux, name: &str, value: f64) {
    let start = Instant::now();
    loop {
        let all = samples(keymux).await;
        let found = all.get(name).copied();
        if found.is_some_and(|found| (found - value).abs() < 0.5) {
            return;
        }
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{name} is {found:?}, not {value}: {all:#?}"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn every_request_writes_exactly_one_access_line() {
    let upstream = Upstream::start(|request| match request.json()["model"].as_str().unwrap() {
        "stream" => sse(&chat_events(&["one", "two"]), PACE),
        "cut" => cut(sse(&chat_events(&["one", "two"]), PACE), 1, Step::Close),
        "error" => answer(400, &[("x-request-id", "theirs")], b"{}"),
        "hang" => vec![Step::Hang],
        _ => chat_answer("hello"),
    })
    .await;
    let parts = [client("c", ""), provider("main", &upstream, "", &[key("only", "")])];
    let keymux = Keymux::start(&config("", &parts), &[]).await;
    let bearer = [("authorization", "Bearer client-c")];
    let chat = |model: &str| http::json_request(CHAT, &bearer, &json!({"model": model}));
    let requests = [
        (
            chat("plain"),
            json!({"status": 200, "end": "complete", "operation": "chat", "model": "plain",
            "client": "c", "provider": "main", "key": "only", "attempts": 1, "stream": false,
            "tokens_in": 3, "tokens_out": 2}),
        ),
        (
            chat("stream"),
            json!({"status": 200, "end": "complete", "stream": true, "tokens_in": 3,
            "tokens_out": 2}),
        ),
        (chat("cut"), json!({"status": 200, "end": "cut", "stream": true})),
        (chat("error"), json!({"status": 400, "end": "complete", "upstream_id": "theirs"})),
        (
            http::json_request(CHAT, &[], &json!({"model": "m"})),
            json!({"status": 401, "end": "refused", "operation": "none", "attempts": 0}),
        ),
        (
            http::request("POST", CHAT, &bearer, b"{"),
            json!({"status": 400, "end": "refused", "client": "c"}),
        ),
        (http::request("GET", "/nowhere", &[], b""), json!({"status": 404, "operation": "none"})),
        (http::request("PUT", CHAT, &[], b""), json!({"status": 405, "end": "refused"})),
        (
            http::request("GET", "/v1/models", &bearer, b""),
            json!({"status": 200, "operation": "models", "end": "complete"}),
        ),
        (http::request("GET", "/", &[], b""), json!({"status": 200, "operation": "presence"})),
    ];
    let mut expected = BTreeMap::new();
    for (request, mut fields) in requests {
        let reply = http::exchange(keymux.address(), &request).await;
        let id = reply.header("x-keymux-request-id").unwrap().to_owned();
        fields["bytes_out"] = json!(reply.body.len());
        expected.insert(id, fields);
    }
    let mut leaving = Connection::open(keymux.address()).await;
    leaving.send(&chat("hang")).await;
    upstream.request(4).await;
    drop(leaving);

    let lines = access_lines(&keymux, expected.len() + 1).await;
    let mut disconnected = 0;
    for line in lines {
        assert!(line["timestamp"].is_string() && line["total_ms"].is_u64(), "{line}");
        let Some(fields) = expected.remove(line["id"].as_str().unwrap()) else {
            let fields = (line["end"].as_str(), line["status"].as_u64(), line["model"].as_str());
            assert_eq!(fields, (Some("caller_gone"), Some(0), Some("hang")));
            disconnected += 1;
            continue;
        };
        for (name, value) in fields.as_object().unwrap() {
            assert_eq!(&line[name], value, "{name} of {line}");
        }
    }
    assert_eq!((expected.len(), disconnected), (0, 1));
}

#[tokio::test]
async fn counters_match_the_traffic() {
    let upstream = Upstream::start(|request| {
        let limited = request.header("authorization").unwrap().contains("limited");
        match request.json()["model"].as_str().unwrap() {
            _ if limited => answer(429, &[], b"{}"),
            "stream" => sse(&chat_events(&["one", "two"]), PACE),
            "bad" => answer(400, &[], b"{}"),
            _ => chat_answer("hello"),
        }
    })
    .await;
    let keys = [key("limited", ""), key("good", "weight = 0")];
    let parts = [client("c", ""), provider("main", &upstream, "", &keys)];
    let keymux = Keymux::start(&config("", &parts), &[]).await;
    let bearer = [("authorization", "Bearer client-c")];
    for (model, times) in [("m", 5), ("stream", 3), ("bad", 2)] {
        for _ in 0..times {
            http::post(keymux.address(), CHAT, &bearer, &json!({"model": model})).await;
        }
    }
    for _ in 0..4 {
        http::post(keymux.address(), CHAT, &[], &json!({"model": "m"})).await;
    }
    for (name, value) in [
        ("requests_total{operation=\"chat\",status=\"200\",client=\"c\"}", 8.0),
        ("requests_total{operation=\"chat\",status=\"400\",client=\"c\"}", 2.0),
        ("requests_total{operation=\"none\",status=\"401\",client=\"\"}", 4.0),
        // Throttling concerns one model, and there are three models.
        ("attempts_total{provider=\"main\",key=\"limited\",class=\"throttled\"}", 3.0),
        ("attempts_total{provider=\"main\",key=\"limited\",class=\"ok\"}", 0.0),
        ("attempts_total{provider=\"main\",key=\"good\",class=\"ok\"}", 8.0),
        ("attempts_total{provider=\"main\",key=\"good\",class=\"caller\"}", 2.0),
        ("tokens_total{provider=\"main\",key=\"good\",kind=\"input\"}", 24.0),
        ("tokens_total{provider=\"main\",key=\"good\",kind=\"output\"}", 16.0),
        ("request_duration_seconds_count{provider=\"main\"}", 10.0),
        ("time_to_first_byte_seconds_count{provider=\"main\"}", 10.0),
        ("in_flight_requests", 0.0),
        ("connections", 0.0),
        ("config_last_reload_successful", 1.0),
    ] {
        wait_for_sample(&keymux, &format!("keymux_{name}"), value).await;
    }
    let all = samples(&keymux).await;
    assert!(all.keys().any(|name| name.starts_with("keymux_config_info{hash=\"")), "{all:#?}");
    assert!(all["keymux_config_last_reload_success_timestamp_seconds"] > 1.7e9);
}

#[tokio::test]
async fn requests_under_way_are_counted() {
    let upstream = Upstream::always(vec![Step::Hang]).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let mut callers = Vec::new();
    for number in 0..3 {
        let mut caller = Connection::open(keymux.address()).await;
        caller.send(&http::json_request(CHAT, &[], &json!({"model": "m"}))).await;
        upstream.request(number).await;
        callers.push(caller);
    }
    wait_for_sample(&keymux, "keymux_in_flight_requests", 3.0).await;
    wait_for_sample(&keymux, "keymux_connections", 3.0).await;
    drop(callers);
    wait_for_sample(&keymux, "keymux_in_flight_requests", 0.0).await;
    wait_for_sample(&keymux, "keymux_connections", 0.0).await;
}

#[tokio::test]
async fn callers_cannot_create_new_label_values() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let send_requests = async |n: usize| {
        let body = json!({"model": format!("model-{n}"), "user": format!("u{n}")});
        let headers = [("authorization", &*format!("Bearer key-{n}"))];
        http::post(keymux.address(), CHAT, &headers, &body).await;
        http::get(keymux.address(), &format!("/path-{n}"), &[]).await;
        let method = http::request(&format!("METHOD{n}"), "/v1/models", &[], b"");
        http::exchange(keymux.address(), &method).await;
    };
    send_requests(0).await;
    wait_for_sample(
        &keymux,
        "keymux_requests_total{operation=\"none\",status=\"405\",client=\"\"}",
        1.0,
    )
    .await;
    let before: Vec<String> = samples(&keymux).await.into_keys().collect();
    for n in 1..20 {
        send_requests(n).await;
    }
    wait_for_sample(
        &keymux,
        "keymux_requests_total{operation=\"none\",status=\"405\",client=\"\"}",
        20.0,
    )
    .await;
    let after: Vec<String> = samples(&keymux).await.into_keys().collect();
    assert_eq!(before, after);
}

#[tokio::test]
async fn only_health_needs_no_admin_token() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let text =
        one_key(&upstream).replace("[admin]\n", "[admin]\ntoken = { env_var = \"TOKEN\" }\n");
    let keymux = Keymux::start(&text, &[("TOKEN", "the-admin-token")]).await;
    let admin = keymux.admin_address();
    assert_eq!(http::get(admin, "/livez", &[]).await.status(), 200);
    let ready = http::get(admin, "/readyz", &[]).await;
    assert_eq!((ready.status(), &ready.json()["status"]), (200, &json!("ready")));
    assert_eq!(ready.json()["last_reload"]["result"], "success");
    for path in ["/metrics", "/config", "/", "/nowhere"] {
        for wrong in ["", "Bearer the-admin-toke", "Bearer the-admin-token1", "the-admin-token"] {
            let reply = http::get(admin, path, &[("authorization", wrong)]).await;
            assert_eq!(reply.status(), 401, "{path} with {wrong:?}");
        }
        let reply = http::get(admin, path, &[("authorization", "Bearer the-admin-token")]).await;
        assert_ne!(reply.status(), 401, "{path}");
    }
    let posted = http::exchange(admin, &http::request("POST", "/livez", &[], b"")).await;
    assert_eq!(posted.status(), 405);
    assert_eq!(
        http::get(admin, "/v1/models", &[]).await.status(),
        401,
        "not on the admin listener"
    );
}

#[tokio::test]
async fn the_active_configuration_is_shown_with_origins_and_without_secrets() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let parts = [client("c", ""), provider("main", &upstream, "", &[key("only", "weight = 2.5")])];
    let env = [("KEYMUX_SERVER__MAX_BODY", "5MiB")];
    let keymux = Keymux::start(&config("drain_timeout = \"7s\"", &parts), &env).await;
    let reply = keymux.admin("/config").await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let settings = reply.json()["settings"].as_array().unwrap().clone();
    let setting = |path: &str| {
        let found = settings.iter().find(|setting| setting["path"] == path);
        found.unwrap_or_else(|| panic!("{path} in {settings:#?}")).clone()
    };
    let drain = setting("server.drain_timeout");
    assert_eq!(drain["value"], "7s");
    assert!(drain["origin"].as_str().unwrap().contains("keymux.toml:3"), "{drain}");
    let max_body = setting("server.max_body");
    assert_eq!(max_body["value"], "5MiB");
    assert!(max_body["origin"].as_str().unwrap().contains("KEYMUX_SERVER__MAX_BODY"), "{max_body}");
    assert_eq!(setting("providers.main.keys[0].weight")["value"], 2.5);
    for path in ["providers.main.keys[0].value", "clients[0].key"] {
        let shown = setting(path).to_string();
        assert!(!shown.contains("7f3a9c") && !shown.contains("client-c"), "{shown}");
    }
}

#[tokio::test]
async fn the_time_to_first_byte_of_a_stream_ends_at_its_first_event() {
    let events = chat_events(&["one", "two"]);
    let burst = vec![events.concat()];
    let upstream = Upstream::start(move |request| match request.number {
        0 => sse(&events, Duration::from_millis(150)),
        _ => sse(&burst, PACE),
    })
    .await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    for _ in 0..2 {
        let body = json!({"model": "m", "stream": true});
        assert!(http::post(keymux.address(), CHAT, &[], &body).await.complete);
    }
    let lines = access_lines(&keymux, 2).await;
    let first_byte =
        |line: &Value| line["first_byte_ms"].as_u64().unwrap_or_else(|| panic!("{line}"));
    assert!((100..300).contains(&first_byte(&lines[0])), "{}", lines[0]);
    assert!(first_byte(&lines[1]) < 100, "{}", lines[1]);
}
