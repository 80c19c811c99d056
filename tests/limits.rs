//! Hostile and broken callers: each gets a clear error in the format of its API, or is disconnected, and
//! none of its requests reaches a provider.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::time::Duration;

use common::config::{config, key, provider};
use common::http::{self, Connection, Reply, exchange};
use common::keymux::Keymux;
use common::upstream::{Upstream, chat_answer, chunk};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const CHAT: &str = "/v1/chat/completions";
const LIMITS: &str = "max_body = \"64KiB\"\nhead_timeout = \"400ms\"\nbody_timeout = \"400ms\"";

async fn start() -> (Keymux, Upstream) {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let text = config(LIMITS, &[provider("main", &upstream, "", &[key("only", "")])]);
    (Keymux::start(&text, &[]).await, upstream)
}

/// Checks the error format of OpenAI, whose four members every official SDK reads.
fn assert_openai_error(reply: &Reply, status: u16) -> Value {
    assert_eq!(reply.status(), status, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let error = reply.json()["error"].clone();
    let fields: Vec<&String> = error.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["message", "type", "param", "code"]);
    assert!(error["message"].as_str().is_some_and(|text| text.len() > 10), "{error}");
    assert!(error["type"].is_string() && error["code"].is_string(), "{error}");
    error
}

fn post(headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    http::request("POST", CHAT, headers, body)
}

#[tokio::test]
async fn a_body_without_a_valid_model_is_a_400_with_the_reason() {
    let (keymux, upstream) = start().await;
    for (body, param, words) in [
        (&b""[..], None, "empty"),
        (b"{", None, "not whole"),
        (b"not json", None, "byte 0"),
        (b"[{\"model\":\"m\"}]", None, "byte 0"),
        (b"{\"model\":\"m\"} {}", None, "byte 14"),
        (b"{\"messages\":[]}", Some("model"), "model"),
        (b"{\"model\":\"\"}", Some("model"), "empty"),
        (b"{\"model\":7}", Some("model"), "string"),
        (b"{\"model\":\"a\",\"model\":\"b\"}", Some("model"), "twice"),
        (b"{\"model\":\"a\",\"mo\\u0064el\":\"b\"}", Some("model"), "twice"),
        (b"{\"model\":\"a\",\"stream\":true,\"stream\":false}", Some("stream"), "twice"),
        (b"{\"model\":\"a\",\"stream\":\"yes\"}", Some("stream"), "true or false"),
        (b"{\"model\":\"\xff\"}", Some("model"), "valid"),
    ] {
        let reply = exchange(keymux.address(), &post(&[], body)).await;
        let error = assert_openai_error(&reply, 400);
        assert_eq!(error["type"], "invalid_request_error");
        assert_eq!(error["param"].as_str(), param, "{error}");
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    }
    let deep = format!("{{\"x\":{}", "[".repeat(60_000));
    assert_openai_error(&exchange(keymux.address(), &post(&[], deep.as_bytes())).await, 400);
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn unusual_model_names_are_forwarded_and_escaped() {
    let (keymux, upstream) = start().await;
    let long = "x".repeat(50_000);
    let names =
        ["a\r\nx-evil: 1", "\"}", "\u{0}", "../../etc/passwd", "\u{1f600}", "%0d%0a", &long];
    for (number, name) in names.into_iter().enumerate() {
        let body = json!({"model": name}).to_string();
        let reply = exchange(keymux.address(), &post(&[], body.as_bytes())).await;
        assert_eq!((reply.status(), reply.header("x-evil")), (200, None), "{name:?}");
        let received = upstream.request(number).await;
        assert_eq!((received.path(), &received.json()["model"]), (CHAT, &json!(name)));
        assert_eq!(received.header("x-evil"), None);
    }
    for line in keymux.log_with("%0d%0a").await.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(line.to_string().len() < 2000);
    }
}

#[tokio::test]
async fn an_unknown_model_is_a_404_with_a_shortened_name() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keys = [key("only", "models = [\"gpt-4o\"]")];
    let client = "[[clients]]\nname = \"c\"\nkey = \"client-c-key\"\nmodels = [\"gpt-4o\"]\n";
    let keymux = Keymux::start(
        &config("", &[provider("main", &upstream, "", &keys), client.to_owned()]),
        &[],
    )
    .await;
    for name in [
        "x\r\n\"\u{1b}[31m".to_owned(),
        "x".repeat(1 << 20),
        format!("main/{}", "y".repeat(1 << 20)),
    ] {
        let body = json!({"model": name}).to_string();
        let headers = [("authorization", "Bearer client-c-key")];
        let reply = exchange(keymux.address(), &post(&headers, body.as_bytes())).await;
        let error = assert_openai_error(&reply, 404);
        assert_eq!((&error["code"], &error["param"]), (&json!("model_not_found"), &json!("model")));
        assert!(reply.body.len() < 1000, "{} bytes", reply.body.len());
        assert!(!reply.text().contains("\\u001b"), "{}", reply.text());
    }
}

#[tokio::test]
async fn unknown_paths_are_a_404_and_wrong_methods_a_405() {
    let (keymux, _upstream) = start().await;
    for path in [
        "/v1",
        "/v1/",
        "/chat/completions",
        "/v1/chat/completions/",
        "/V1/models",
        "/livez",
        "/readyz",
        "/metrics",
        "/config",
        "//v1/models",
        "/v1/models/",
    ] {
        let reply = http::get(keymux.address(), path, &[]).await;
        assert_eq!(assert_openai_error(&reply, 404)["code"], "unknown_url", "{path}");
    }
    for (method, path, allowed) in [
        ("GET", CHAT, "POST"),
        ("PUT", CHAT, "POST"),
        ("TRACE", CHAT, "POST"),
        ("OPTIONS", CHAT, "POST"),
        ("DELETE", "/v1/models/main/m", "GET"),
        ("POST", "/v1/models", "GET"),
        ("POST", "/", "GET, HEAD"),
        ("BREW", "/", "GET, HEAD"),
    ] {
        let reply = exchange(keymux.address(), &http::request(method, path, &[], b"")).await;
        assert_openai_error(&reply, 405);
        assert_eq!(reply.header("allow"), Some(allowed), "{method} {path}");
    }
    let connect = b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n";
    assert_openai_error(&exchange(keymux.address(), connect).await, 405);
}

#[tokio::test]
async fn http_1_1_requires_exactly_one_host_header() {
    let (keymux, _upstream) = start().await;
    for hosts in ["", "host: a\r\nhost: a\r\n", "host: a\r\nhost: b\r\n"] {
        let request = format!("GET /v1/models HTTP/1.1\r\n{hosts}\r\n");
        assert_openai_error(&exchange(keymux.address(), request.as_bytes()).await, 400);
    }
    let old = b"GET /v1/models HTTP/1.0\r\n\r\n";
    assert_eq!(exchange(keymux.address(), old).await.status(), 200);
    // The host in the request has no influence on the provider.
    let absolute = b"GET http://elsewhere.example/v1/models HTTP/1.1\r\nhost: k\r\n\r\n";
    assert_eq!(exchange(keymux.address(), absolute).await.status(), 200);
}

#[tokio::test]
async fn conflicting_framings_cannot_smuggle_a_request() {
    let (keymux, upstream) = start().await;
    let inner = "GET /v1/models HTTP/1.1\r\nhost: smuggled\r\n\r\n";
    let chunked = String::from_utf8(chunk(b"{\"model\":\"m\"}")).unwrap() + "0\r\n\r\n";
    for headers in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "content-length: 4\r\ncontent-length: 5\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "content-length: +4\r\n",
        "content-length: 4, 5\r\n",
        "content-length : 4\r\n",
    ] {
        let request = format!("POST {CHAT} HTTP/1.1\r\nhost: k\r\n{headers}\r\n{chunked}{inner}");
        let mut caller = Connection::open(keymux.address()).await;
        caller.send(request.as_bytes()).await;
        let answers = String::from_utf8_lossy(&caller.rest().await).into_owned();
        // One answer, then the connection closes: the rest is not read as a request.
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{headers}: {answers}");
    }
    for request in upstream.requests() {
        assert_eq!(request.body, b"{\"model\":\"m\"}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413_with_and_without_content_length() {
    let (keymux, upstream) = start().await;
    let body = json!({"model": "m", "x": "y".repeat(100_000)}).to_string();
    let reply = exchange(keymux.address(), &post(&[], body.as_bytes())).await;
    let error = assert_openai_error(&reply, 413);
    assert!(error["message"].as_str().unwrap().contains("65536"), "{error}");

    let mut caller = Connection::open(keymux.address()).await;
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: k\r\ntransfer-encoding: chunked\r\n\r\n");
    caller.send(head.as_bytes()).await;
    caller.send(&chunk(body.as_bytes())).await;
    assert_openai_error(&caller.reply().await, 413);

    // The `content-length` alone is refused, before any byte of the body arrives.
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: k\r\ncontent-length: 99999999999\r\n\r\n");
    assert_openai_error(&exchange(keymux.address(), head.as_bytes()).await, 413);
    assert!(upstream.requests().is_empty());
    let largest = json!({"model": "m", "x": "y".repeat(65_536 - 20)}).to_string();
    assert_eq!(largest.len(), 65_536);
    assert_eq!(exchange(keymux.address(), &post(&[], largest.as_bytes())).await.status(), 200);
}

#[tokio::test]
async fn a_caller_that_sends_a_large_body_first_still_reads_the_413() {
    let (keymux, _upstream) = start().await;
    let body = vec![b' '; 8 << 20];
    let mut caller = Connection::open(keymux.address()).await;
    caller.send(&post(&[], &body)).await;
    assert_openai_error(&caller.reply().await, 413);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_a_431() {
    let (keymux, upstream) = start().await;
    let big = "x".repeat(70_000);
    let reply = exchange(keymux.address(), &post(&[("x-big", &big)], b"{\"model\":\"m\"}")).await;
    assert_eq!(reply.status(), 431);
    let many: Vec<String> = (0..101).map(|n| format!("x-{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (&**name, "1")).collect();
    let reply = exchange(keymux.address(), &post(&many, b"{\"model\":\"m\"}")).await;
    assert_eq!(reply.status(), 431);
    let path = format!("/v1/models/{}", "x".repeat(70_000));
    let reply = exchange(keymux.address(), &http::request("GET", &path, &[], b"")).await;
    assert!(matches!(reply.status(), 414 | 431), "{}", reply.status());
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_caller_without_a_whole_head_in_time_is_disconnected() {
    let (keymux, _upstream) = start().await;
    let started = Instant::now();
    let mut silent = Connection::open(keymux.address()).await;
    assert!(silent.rest().await.is_empty());
    let silence = started.elapsed();
    assert!((300..1500).contains(&silence.as_millis()), "{silence:?}");

    let mut caller = Connection::open(keymux.address()).await;
    let started = Instant::now();
    for byte in b"GET /v1/models HTTP/1.1\r\nhost: k\r\nx-slow: yes, very slow" {
        caller.send(&[*byte]).await;
        sleep(Duration::from_millis(20)).await;
    }
    caller.rest().await;
    assert!(started.elapsed() < Duration::from_secs(3));
    keymux.admin("/livez").await;
}

#[tokio::test]
async fn a_body_may_be_slow_but_must_make_progress() {
    let (keymux, upstream) = start().await;
    let body = b"{\"model\":\"m\"}";
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: k\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut slow = Connection::open(keymux.address()).await;
    slow.send(head.as_bytes()).await;
    for byte in body {
        sleep(Duration::from_millis(60)).await;
        slow.send(&[*byte]).await;
    }
    assert_eq!(slow.reply().await.status(), 200, "slower than the timeout, but with progress");

    for part in [&body[..0], &body[..5]] {
        let mut caller = Connection::open(keymux.address()).await;
        caller.send(&[head.as_bytes(), part].concat()).await;
        let reply = caller.reply().await;
        assert_eq!(assert_openai_error(&reply, 408)["code"], "request_timeout");
        // The rest of that body is not read as a request.
        assert!(caller.rest().await.is_empty());
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_compressed_body_is_a_415() {
    let (keymux, _upstream) = start().await;
    for coding in ["gzip", "br", "gzip, identity"] {
        let headers = [("content-encoding", coding)];
        assert_openai_error(&exchange(keymux.address(), &post(&headers, b"\x1f\x8b")).await, 415);
    }
    let headers = [("content-encoding", "identity")];
    let reply = exchange(keymux.address(), &post(&headers, b"{\"model\":\"m\"}")).await;
    assert_eq!(reply.status(), 200);
}

#[tokio::test]
async fn expect_100_continue_is_answered_at_once_with_100_or_413() {
    let (keymux, _upstream) = start().await;
    let head = |length: usize| {
        let path = format!("POST {CHAT} HTTP/1.1\r\nhost: k\r\nexpect: 100-continue\r\n");
        format!("{path}content-length: {length}\r\n\r\n")
    };
    let mut caller = Connection::open(keymux.address()).await;
    caller.send(head(13).as_bytes()).await;
    assert_eq!(caller.head().await.unwrap().status(), 100);
    caller.send(b"{\"model\":\"m\"}").await;
    assert_eq!(caller.reply().await.status(), 200);
    assert_openai_error(&exchange(keymux.address(), head(1 << 20).as_bytes()).await, 413);
}

#[tokio::test]
async fn bytes_that_are_not_http_are_refused() {
    let (keymux, _upstream) = start().await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 tls hello\r\n\r\n"[..],
        b"\r\n\r\n\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\nhost: k\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: k\r\nx: a\0b\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot frames at all",
    ] {
        let mut caller = Connection::open(keymux.address()).await;
        caller.send(garbage).await;
        let answer = String::from_utf8_lossy(&caller.rest().await).into_owned();
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    assert_eq!(http::get(keymux.address(), "/v1/models", &[]).await.status(), 200);
}

#[tokio::test]
async fn errors_have_the_format_of_the_api_of_the_caller() {
    let (keymux, _upstream) = start().await;
    let anthropic = [("anthropic-version", "2023-06-01")];
    let messages = |body: &[u8]| http::request("POST", "/v1/messages", &[], body);
    for (request, status, kind) in [
        (messages(b"{"), 400, "invalid_request_error"),
        (http::request("GET", "/v1/nowhere", &anthropic, b""), 404, "not_found_error"),
        (messages(&vec![b' '; 70_000]), 413, "request_too_large"),
    ] {
        let reply = exchange(keymux.address(), &request).await;
        assert_eq!(reply.status(), status);
        let body = reply.json();
        assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!(kind)));
        assert!(body["error"]["message"].is_string());
        assert_eq!(body["request_id"].as_str(), reply.header("x-request-id"));
    }
    for request in [
        http::request("POST", "/v1beta/models/m:predict", &[], b"{}"),
        http::request("GET", "/v1beta/nowhere", &[], b""),
    ] {
        let reply = exchange(keymux.address(), &request).await;
        let error = reply.json()["error"].clone();
        assert_eq!(error["code"], reply.status());
        assert!(error["message"].is_string() && error["status"].is_string(), "{error}");
    }
}
