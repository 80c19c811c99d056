//! Tests of the response that a caller receives, and of the headers that name provider and key.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::time::Duration;

use common::config::{config, key, one_key, provider, secret};
use common::http::{self, Reply};
use common::keymux::Keymux;
use common::upstream::{Step, Upstream, answer, chat_answer, json_answer};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

async fn chat(keymux: &Keymux) -> Reply {
    http::post(keymux.address(), CHAT, &[], &json!({"model": "m"})).await
}

/// Returns the response to a chat for this response of the provider.
async fn answered(steps: Vec<Step>) -> Reply {
    let upstream = Upstream::always(steps).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    chat(&keymux).await
}

#[tokio::test]
async fn status_headers_and_body_are_forwarded_unchanged() {
    let body = b"{ \"odd\" :  1.0,\n\"\xc3\xa9\":[]}\n\n";
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("x-ratelimit-remaining-requests", "99"),
        ("openai-processing-ms", "7"),
        ("x-twice", "a"),
        ("x-twice", "b"),
        ("cache-control", "no-store"),
    ];
    let reply = answered(answer(201, &headers, body)).await;
    assert_eq!((reply.status(), reply.complete), (201, true));
    assert_eq!(reply.body, body);
    assert_eq!(reply.header("content-length"), Some(&*body.len().to_string()));
    for (name, value) in headers {
        let pair = (name.to_owned(), value.to_owned());
        assert!(reply.head.headers.contains(&pair), "{name}: {:?}", reply.head);
    }
}

#[tokio::test]
async fn a_chunked_response_is_forwarded_whole() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut steps = vec![Step::Send(head.to_vec())];
    for byte in 0..=255_u8 {
        steps.push(Step::Send(common::upstream::chunk(&[byte; 100])));
    }
    steps.push(Step::Send(b"0\r\n\r\n".to_vec()));
    let reply = answered(steps).await;
    assert!(reply.complete);
    let expected: Vec<u8> = (0..=255).flat_map(|byte| [byte; 100]).collect();
    assert_eq!(reply.body, expected);
}

#[tokio::test]
async fn an_empty_response_is_forwarded() {
    let reply = answered(answer(204, &[], b"")).await;
    assert_eq!((reply.status(), reply.body.len(), reply.complete), (204, 0, true));
}

#[tokio::test]
async fn the_response_names_provider_key_and_attempts() {
    let reply = answered(chat_answer("hello")).await;
    assert_eq!(reply.header("x-keymux-provider"), Some("main"));
    assert_eq!(reply.header("x-keymux-key"), Some("only"));
    assert_eq!(reply.header("x-keymux-attempts"), Some("1"));
    let id = reply.header("x-request-id").unwrap();
    assert_eq!(reply.header("x-keymux-request-id"), Some(id));
}

#[tokio::test]
async fn the_providers_request_id_stays_and_ours_is_added() {
    let steps = answer(200, &[("x-request-id", "theirs"), ("x-keymux-key", "forged")], b"{}");
    let upstream = Upstream::always(steps).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let reply = chat(&keymux).await;
        let of = |name: &str| -> Vec<String> {
            let same = reply.head.headers.iter().filter(|(known, _)| known == name);
            same.map(|(_, value)| value.clone()).collect()
        };
        assert_eq!(of("x-request-id"), ["theirs"]);
        assert_eq!(of("x-keymux-key"), ["only"]);
        ids.extend(of("x-keymux-request-id"));
    }
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn headers_of_the_providers_host_are_removed() {
    let left = [
        ("set-cookie", "__cf_bm=1; domain=.provider.example"),
        ("alt-svc", "h3=\":443\""),
        ("strict-transport-security", "max-age=1"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
    ];
    let reply = answered(answer(200, &left, b"{}")).await;
    for (name, value) in left {
        let same = |(known, of): &(String, String)| known == name && of == value;
        assert!(!reply.head.headers.iter().any(same), "{name}");
    }
}

#[tokio::test]
async fn a_caller_error_is_returned_unmodified_after_one_attempt() {
    let body = b"{\"error\": {\"message\":\"Unsupported value: 'temperature'\", \"param\":\"temperature\"}}";
    for status in [400, 413, 422] {
        let upstream = Upstream::always(answer(status, &[("x-mine", "1")], body)).await;
        let keys = [key("a", ""), key("b", "")];
        let keymux =
            Keymux::start(&config("", &[provider("main", &upstream, "", &keys)]), &[]).await;
        let reply = chat(&keymux).await;
        assert_eq!((reply.status(), &reply.body[..]), (status, &body[..]));
        assert_eq!(reply.header("x-mine"), Some("1"));
        assert_eq!(reply.header("x-keymux-attempts"), Some("1"));
        assert_eq!(upstream.requests().len(), 1);
    }
}

#[tokio::test]
async fn an_error_that_repeats_the_key_is_redacted() {
    let key = secret("only");
    let echo = json!({"error": {"message": format!("Incorrect API key provided: {key}. Or {}", &key[3..12])}});
    let reply = answered(json_answer(401, &echo)).await;
    assert_eq!(reply.status(), 401);
    let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "Incorrect API key provided: ***. Or ***");
    assert_eq!(reply.header("content-length"), Some(&*reply.body.len().to_string()));
}

#[tokio::test]
async fn a_redirect_is_forwarded_and_not_followed() {
    let elsewhere = Upstream::always(chat_answer("from elsewhere")).await;
    let steps = answer(307, &[("location", &elsewhere.url())], b"");
    let upstream = Upstream::always(steps).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    assert_eq!(chat(&keymux).await.status(), 307);
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_truncated_body_is_truncated_for_the_caller() {
    let length = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"half\":";
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{\"half\":\r\n";
    for part in [&length[..], chunked] {
        for end in [Step::Close, Step::Reset] {
            // The pause lets the head and the first bytes reach the caller first.
            let pause = Step::Pause(Duration::from_millis(50));
            let reply = answered(vec![Step::Send(part.to_vec()), pause, end]).await;
            assert_eq!(reply.text(), "{\"half\":");
            assert!(!reply.complete, "{:?}", reply.head);
        }
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_cut() {
    let part = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"half\":";
    let upstream = Upstream::always(vec![Step::Send(part.to_vec()), Step::Hang]).await;
    let settings = "timeouts = { idle = \"200ms\" }";
    let text = config("", &[provider("main", &upstream, settings, &[key("only", "")])]);
    let keymux = Keymux::start(&text, &[]).await;
    let reply = chat(&keymux).await;
    assert_eq!((reply.text().as_str(), reply.complete), ("{\"half\":", false));
    upstream.left(0).await;
}

#[tokio::test]
async fn a_callers_connection_serves_several_requests() {
    let upstream = Upstream::start(|request| json_answer(200, &request.json())).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let mut caller = http::Connection::open(keymux.address()).await;
    for number in 0..5 {
        let body = json!({"model": "m", "n": number});
        caller.send(&http::json_request(CHAT, &[], &body)).await;
        assert_eq!(caller.reply().await.json(), body);
        // A refusal keeps the connection open.
        caller.send(&http::request("GET", "/nowhere", &[], b"")).await;
        assert_eq!(caller.reply().await.status(), 404);
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::start(|request| json_answer(200, &request.json())).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let bodies: Vec<Value> = (0..20).map(|number| json!({"model": "m", "n": number})).collect();
    let mut caller = http::Connection::open(keymux.address()).await;
    let all: Vec<u8> = bodies.iter().flat_map(|body| http::json_request(CHAT, &[], body)).collect();
    caller.send(&all).await;
    for body in bodies {
        assert_eq!(caller.reply().await.json(), body);
    }
}
