//! HTTP/1 connections between two requests: the buffers of an idle connection are freed (it is parked), and
//! the caller does not notice. `hostile_load.rs` measures the memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

mod common;

use std::time::Duration;

use common::config::one_key;
use common::http::{self, Connection, Framing, patiently};
use common::keymux::Keymux;
use common::upstream::{Upstream, chat_answer, chat_events, sse};
use rustix::process::Signal;
use serde_json::json;
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep, timeout};

const CHAT: &str = "/v1/chat/completions";
/// The idle time until a connection is parked, and a time that is certainly longer.
const QUIET: Duration = Duration::from_millis(100);
const AWAY: Duration = Duration::from_millis(600);

async fn start() -> (Keymux, Upstream) {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    (keymux, upstream)
}

fn chat() -> Vec<u8> {
    http::json_request(CHAT, &[], &json!({"model": "m"}))
}

fn models() -> Vec<u8> {
    http::request("GET", "/v1/models", &[], b"")
}

#[tokio::test]
async fn a_parked_connection_serves_another_request() {
    let (keymux, upstream) = start().await;
    let mut caller = Connection::open(keymux.address()).await;
    for _ in 0..3 {
        caller.send(&chat()).await;
        let reply = caller.reply().await;
        assert_eq!((reply.status(), reply.header("connection")), (200, None));
        sleep(AWAY).await;
    }
    assert_eq!(upstream.requests().len(), 3);
    assert!(keymux.admin("/metrics").await.text().contains("keymux_connections 1"));
    drop(caller);
    let gone = async {
        while !keymux.admin("/metrics").await.text().contains("keymux_connections 0") {
            sleep(Duration::from_millis(20)).await;
        }
    };
    patiently("its end to be seen", gone).await;
}

#[tokio::test]
async fn a_request_that_arrives_during_parking_is_answered() {
    let (keymux, _upstream) = start().await;
    let address = keymux.address();
    let callers = (0..64).map(|number| {
        tokio::spawn(async move {
            let mut caller = Connection::open(address).await;
            // From shortly before it to shortly after, in steps of 0.25 ms.
            let pause = QUIET.saturating_sub(Duration::from_millis(5))
                + Duration::from_micros(250) * number;
            for _ in 0..10 {
                caller.send(&models()).await;
                assert_eq!(caller.reply().await.status(), 200);
                sleep(pause).await;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

#[tokio::test]
async fn a_request_split_around_parking_is_answered() {
    let (keymux, _upstream) = start().await;
    let (first, second) = (models(), chat());
    // Within the head, at its end, within the body.
    let head = second.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    for early in [1, 10, head - 1, head, head + 3, second.len()] {
        let mut caller = Connection::open(keymux.address()).await;
        caller.send(&[&first, &second[..early]].concat()).await;
        assert_eq!(caller.reply().await.status(), 200);
        sleep(AWAY).await;
        caller.send(&second[early..]).await;
        assert_eq!(caller.reply().await.status(), 200, "{early} bytes came early");
        sleep(AWAY).await;
        caller.send(&first).await;
        assert_eq!(caller.reply().await.status(), 200, "it goes on after {early}");
    }
}

#[tokio::test]
async fn a_slowly_read_response_is_whole_and_the_connection_stays_open() {
    // More than the socket buffers hold, and translated, so that it is written as one piece.
    let text = "x".repeat(12 << 20);
    let upstream = Upstream::always(chat_answer(&text)).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut caller = Connection::new(socket.connect(keymux.address()).await.unwrap());
    let ask = json!({
        "model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}],
    });
    caller.send(&http::json_request("/v1/messages", &[], &ask)).await;
    let head = caller.head().await.unwrap();
    assert_eq!(head.status(), 200);
    keymux.log_with("\"end\":\"complete\"").await;
    sleep(AWAY).await;
    let (body, complete) = caller.body(Framing::of_answer(&head)).await;
    assert!(complete && body.len() > text.len(), "{} bytes", body.len());
    sleep(AWAY).await;
    caller.send(&models()).await;
    assert_eq!(caller.reply().await.status(), 200);
}

#[tokio::test]
async fn a_stream_with_long_pauses_is_not_parked() {
    let events = chat_events(&["one", "two"]);
    let upstream = Upstream::always(sse(&events, AWAY)).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let mut caller = Connection::open(keymux.address()).await;
    for _ in 0..2 {
        caller.send(&http::json_request(CHAT, &[], &json!({"model": "m", "stream": true}))).await;
        let reply = caller.reply().await;
        assert!(reply.complete);
        assert_eq!(reply.body, events.concat().as_bytes());
    }
}

#[tokio::test]
async fn a_parked_connection_is_closed_at_once_on_shutdown() {
    let (mut keymux, _upstream) = start().await;
    let mut resting = Vec::new();
    for more in [&b""[..], b"GET /v1/mod"] {
        let mut caller = Connection::open(keymux.address()).await;
        caller.send(&[&models(), more].concat()).await;
        assert_eq!(caller.reply().await.status(), 200);
        resting.push(caller);
    }
    sleep(AWAY).await;
    let start = Instant::now();
    keymux.signal(Signal::TERM);
    for mut caller in resting {
        timeout(Duration::from_secs(2), caller.closed()).await.unwrap();
    }
    assert!(keymux.ended().await.success());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
