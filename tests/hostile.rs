//! Requests that no library sends, byte by byte: delimited twice, cut short, malformed, oversized. Each gets
//! a response in the caller's format with an id and an access line, and none reaches a provider.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "so a test fails")]

mod common;

use std::time::Duration;

use common::config::{client, config, key, one_key, provider};
use common::http::{self, Connection, Reply, exchange};
use common::keymux::Keymux;
use common::upstream::{Upstream, chat_answer, chunk};
use serde_json::{Value, json};
use tokio::time::sleep;

const CHAT: &str = "/v1/chat/completions";
const BODY: &[u8] = b"{\"model\":\"m\"}";

async fn start() -> (Keymux, Upstream) {
    let upstream = Upstream::always(chat_answer("hello")).await;
    (Keymux::start(&one_key(&upstream), &[]).await, upstream)
}

/// Returns the access line of the request with this response.
async fn line_of(keymux: &Keymux, reply: &Reply) -> Value {
    let id = reply.header("x-keymux-request-id").expect("an id");
    let log = keymux.log_with(id).await;
    let line = log.lines().find(|line| line.contains(id) && line.contains("\"access\"")).unwrap();
    serde_json::from_str(line).unwrap()
}

/// Returns the only response on a connection that closes after it.
async fn only_answer(keymux: &Keymux, request: &[u8]) -> Reply {
    let mut caller = Connection::open(keymux.address()).await;
    caller.send(request).await;
    let reply = caller.reply().await;
    assert!(reply.complete, "{:?}", String::from_utf8_lossy(request));
    assert!(caller.rest().await.is_empty(), "the connection closes behind it");
    reply
}

#[tokio::test]
async fn a_body_delimited_twice_is_a_400_and_closes_the_connection() {
    let (keymux, upstream) = start().await;
    let chunked = [&chunk(BODY)[..], b"0\r\n\r\n", b"GET /v1/models HTTP/1.1\r\nhost: k\r\n\r\n"];
    for framing in [
        "content-length: 13\r\ntransfer-encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 13",
        "transfer-encoding:chunked\r\ncontent-length:13",
        "content-length: 13\r\ncontent-length: 13",
        "content-length: 13\r\ncontent-length: 14",
        "content-length: 13, 13",
        "content-length: +13",
        "content-length: 0x0d",
        "content-length: -1",
        "content-length: 18446744073709551616",
        "content-length : 13",
        "transfer-encoding: identity",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: \u{b}chunked",
    ] {
        let head = format!("POST {CHAT} HTTP/1.1\r\nhost: k\r\n{framing}\r\n\r\n");
        let request = [head.as_bytes(), &chunked.concat()].concat();
        let reply = only_answer(&keymux, &request).await;
        assert_eq!(reply.status(), 400, "{framing}");
        assert_eq!(reply.json()["error"]["type"], "invalid_request_error", "{framing}");
        let line = line_of(&keymux, &reply).await;
        assert_eq!((&line["status"], &line["end"]), (&json!(400), &json!("refused")), "{framing}");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn the_second_request_of_a_connection_is_checked_like_the_first() {
    let (keymux, upstream) = start().await;
    let mut caller = Connection::open(keymux.address()).await;
    for good in [
        http::request("POST", CHAT, &[], BODY),
        [
            format!("POST {CHAT} HTTP/1.1\r\nhost: k\r\ntransfer-encoding: chunked\r\n\r\n")
                .as_bytes(),
            &chunk(BODY),
            b"0\r\n\r\n",
        ]
        .concat(),
    ] {
        caller.send(&good).await;
        assert_eq!(caller.reply().await.status(), 200);
    }
    // In small pieces, so that no read has a whole line.
    let twice = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: k\r\ncontent-length: 13\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    for piece in twice.as_bytes().chunks(5) {
        caller.send(piece).await;
        sleep(Duration::from_millis(1)).await;
    }
    caller.send(&chunk(BODY)).await;
    assert_eq!(caller.reply().await.status(), 400);
    assert!(caller.rest().await.is_empty());
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn malformed_requests_get_an_error_message() {
    let (keymux, upstream) = start().await;
    let fold = "POST /v1/messages HTTP/1.1\r\nhost: k\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n";
    let big = format!("GET /v1/models HTTP/1.1\r\nhost: k\r\nx: {}\r\n\r\n", "x".repeat(70_000));
    let many = "x: 1\r\n".repeat(101);
    let many = format!("POST /v1beta/models/m:generateContent HTTP/1.1\r\nhost: k\r\n{many}\r\n");
    for (request, status, member) in [
        (fold, 400, "/error/message"),
        ("GET / HTTP/9.9\r\n\r\n", 400, "/error/message"),
        ("GET /\u{1} HTTP/1.1\r\nhost: k\r\n\r\n", 400, "/error/message"),
        ("GET /v1/models HTTP/1.1\r\nhost: k\r\nx: a\0b\r\n\r\n", 400, "/error/message"),
        ("GET /v1/models HTTP/1.1\r\nhost: k\r\nx y: b\r\n\r\n", 400, "/error/message"),
        ("\u{16}\u{3}\u{1} hello\r\n\r\n", 400, "/error/message"),
        (&big, 431, "/error/code"),
        (&many, 431, "/error/status"),
    ] {
        let reply = only_answer(&keymux, request.as_bytes()).await;
        let start: String = request.chars().take(40).collect();
        assert_eq!(reply.status(), status, "{start:?}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert!(reply.json().pointer(member).is_some(), "{start:?}: {}", reply.text());
        assert_eq!(line_of(&keymux, &reply).await["status"], status, "{start:?}");
    }
    let anthropic = only_answer(&keymux, fold.as_bytes()).await.json();
    assert_eq!(anthropic["type"], "error", "{anthropic}");
    assert!(upstream.requests().is_empty());
    let metrics = keymux.admin("/metrics").await.text();
    assert!(metrics.contains("status=\"431\""), "{metrics}");
}

#[tokio::test]
async fn an_aborted_upload_is_logged_as_a_caller_disconnect() {
    let (keymux, upstream) = start().await;
    let length = format!("POST {CHAT} HTTP/1.1\r\nhost: k\r\ncontent-length: 100\r\n\r\n{{\"model");
    let coded = format!("POST {CHAT} HTTP/1.1\r\nhost: k\r\ntransfer-encoding: chunked\r\n\r\n");
    let coded = [coded.as_bytes(), &chunk(b"{\"model")].concat();
    for (at, part) in [length.as_bytes(), &coded].into_iter().enumerate() {
        let mut caller = Connection::open(keymux.address()).await;
        caller.send(part).await;
        sleep(Duration::from_millis(50)).await;
        drop(caller);
        let gone = async {
            while keymux.log().matches("\"end\":\"caller_gone\"").count() <= at {
                sleep(Duration::from_millis(10)).await;
            }
        };
        http::patiently("the line", gone).await;
    }
    assert!(!keymux.log().contains("\"refused\""), "{}", keymux.log());
    // A body that continues with invalid framing is refused.
    let bad =
        format!("POST {CHAT} HTTP/1.1\r\nhost: k\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n");
    let reply = exchange(keymux.address(), bad.as_bytes()).await;
    assert_eq!(reply.status(), 400);
    assert_eq!(line_of(&keymux, &reply).await["end"], "refused");
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_model_in_a_path_stays_one_path_segment() {
    let upstream = Upstream::always(common::upstream::json_answer(200, &json!({}))).await;
    let gemini = format!(
        "[providers.g]\nkind = \"gemini\"\nbase_url = \"{}\"\n[[providers.g.keys]]\n{}",
        upstream.url(),
        key("only", "")
    );
    let keymux = Keymux::start(&config("", &[gemini]), &[]).await;
    let long = "x".repeat(10_000);
    let names = [
        "..%2F..%2Fv1%2Ffiles",
        "%2e%2e",
        "..",
        "a%2Fb",
        "a%5Cb",
        "a%0d%0ax-evil:%201",
        "a%00b",
        "a%3Fkey=1",
        "a%23b",
        "%F0%9F%98%80",
        "%ff",
        "a;b",
        &long,
    ];
    for name in names {
        let path = format!("/v1beta/models/{name}:generateContent");
        let before = upstream.requests().len();
        let reply = exchange(keymux.address(), &http::request("POST", &path, &[], b"{}")).await;
        assert!(matches!(reply.status(), 200 | 400 | 404 | 405), "{name}: {}", reply.status());
        assert_eq!(reply.header("x-evil"), None);
        for received in &upstream.requests()[before..] {
            let path = received.path();
            assert!(path.starts_with("/v1beta/models/"), "{name}: {path}");
            assert!(path.ends_with(":generateContent"), "{name}: {path}");
            assert_eq!(path.matches('/').count(), 3, "{name}: {path}");
            assert!(!path.contains("..") && !path.contains(['?', '#', '\\']), "{name}: {path}");
            assert_eq!(received.header("x-evil"), None);
        }
    }
}

#[tokio::test]
async fn unusual_bodies_are_forwarded_whole_or_refused_with_a_message() {
    let (keymux, upstream) = start().await;
    let deep = |open: &str, close: &str, times: usize| {
        format!("{{\"model\":\"m\",\"x\":{}1{}}}", open.repeat(times), close.repeat(times))
    };
    let nul = "{\"model\":\"m\",\"x\":\"\0\"}".to_owned();
    for body in [
        "\u{feff}{\"model\":\"m\"}".to_owned(),
        nul,
        deep("[", "]", 100_000),
        deep("{\"a\":", "}", 100_000),
        format!("{{\"model\":\"m\",\"x\":{}}}", "9".repeat(100_000)),
        format!("{{\"model\":\"m\",{}\"y\":1}}", "\"x\":1,".repeat(100_000)),
    ] {
        let before = upstream.requests().len();
        let reply =
            exchange(keymux.address(), &http::request("POST", CHAT, &[], body.as_bytes())).await;
        let start: String = body.chars().take(30).collect();
        if reply.status() == 200 {
            assert_eq!(upstream.request(before).await.body, body.as_bytes(), "{start:?}");
        } else {
            assert_eq!(reply.status(), 400, "{start:?}: {}", reply.text());
            assert!(reply.json()["error"]["message"].is_string(), "{start:?}");
            assert_eq!(upstream.requests().len(), before);
        }
    }
    assert_eq!(
        exchange(keymux.address(), &http::request("POST", CHAT, &[], BODY)).await.status(),
        200
    );
}

#[tokio::test]
async fn a_request_cannot_choose_its_destination_or_credential() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let elsewhere = Upstream::always(chat_answer("stolen")).await;
    let main = provider("main", &upstream, "", &[key("only", "")]);
    let keymux = Keymux::start(&config("", &[main, client("c", "")]), &[]).await;
    let body = json!({"model": "m", "base_url": elsewhere.url(), "api_base": elsewhere.url(), "api_key": "sk-mine",
                      "fallbacks": [{"model": "x", "base_url": elsewhere.url()}]});
    let target = format!("{}{CHAT}", elsewhere.url());
    let headers = [
        ("authorization", "Bearer client-c"),
        ("cookie", "session=secret"),
        ("x-forwarded-host", "elsewhere"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("te", "trailers"),
    ];
    for path in [CHAT, &target] {
        let request = http::request("POST", path, &headers, body.to_string().as_bytes());
        assert_eq!(exchange(keymux.address(), &request).await.status(), 200, "{path}");
    }
    for received in upstream.requests() {
        let secret = format!("Bearer {}", common::config::secret("only"));
        assert_eq!(received.header("authorization"), Some(&*secret));
        for name in ["cookie", "x-hop", "te"] {
            assert_eq!(received.header(name), None, "{name}");
        }
    }
    assert_eq!((upstream.requests().len(), elsewhere.connections()), (2, 0));
}
