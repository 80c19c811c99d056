//! The tools of the other tests, tested on themselves.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::time::Duration;

use common::http::{self, Connection, Framing, Piece};
use common::keymux::free_ports;
use common::upstream::{
    Step, Upstream, answer, chat_answer, chat_events, chunk, cut, json_answer, sse,
};
use serde_json::json;
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn the_script_sees_the_request_and_chooses_the_answer() {
    let upstream = Upstream::start(|request| {
        let path = request.path().to_owned();
        json_answer(418, &json!({"path": path, "asked": request.json()["model"]}))
    })
    .await;
    let body = json!({"model": "m"});
    let reply = http::post(upstream.address(), "/v1/x?y=1", &[("X-Name", "Value")], &body).await;
    assert_eq!(reply.status(), 418);
    assert_eq!(reply.json(), json!({"path": "/v1/x?y=1", "asked": "m"}));

    let received = upstream.request(0).await;
    assert_eq!((received.method(), received.path()), ("POST", "/v1/x?y=1"));
    assert_eq!(received.body, body.to_string().as_bytes());
    assert_eq!(received.header("x-name"), Some("Value"));
    let raw = String::from_utf8(received.head.raw.clone()).unwrap();
    assert!(raw.contains("\r\nX-Name: Value\r\n") && raw.ends_with("\r\n\r\n"), "{raw}");
}

#[tokio::test]
async fn a_connection_serves_several_requests() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let mut connection = Connection::open(upstream.address()).await;
    for _ in 0..3 {
        connection.send(&http::request("GET", "/", &[], b"")).await;
        let reply = connection.reply().await;
        assert_eq!(reply.json()["choices"][0]["message"]["content"], "hello");
    }
    assert_eq!((upstream.connections(), upstream.requests().len()), (1, 3));
    http::get(upstream.address(), "/", &[]).await;
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn a_chunked_request_is_read_whole() {
    let upstream = Upstream::always(answer(204, &[], b"")).await;
    let mut connection = Connection::open(upstream.address()).await;
    connection.send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    for piece in [&b"one "[..], b"two"] {
        connection.send(&chunk(piece)).await;
        sleep(Duration::from_millis(20)).await;
    }
    assert!(upstream.requests().is_empty(), "the body is not over yet");
    connection.send(b"0\r\n\r\n").await;
    assert_eq!(connection.reply().await.status(), 204);
    assert_eq!(upstream.request(0).await.body, b"one two");
}

#[tokio::test]
async fn events_arrive_one_by_one_at_their_pace() {
    let pace = Duration::from_millis(50);
    let events = chat_events(&["a", "b"]);
    let upstream = Upstream::always(sse(&events, pace)).await;
    let mut connection = Connection::open(upstream.address()).await;
    connection.send(&http::request("GET", "/", &[], b"")).await;
    let head = connection.head().await.unwrap();
    let mut framing = Framing::of_answer(&head);
    let start = Instant::now();
    for event in &events {
        let piece = connection.piece(&mut framing).await;
        assert_eq!(piece, Piece::Bytes(event.as_bytes().to_vec()));
    }
    assert_eq!(connection.piece(&mut framing).await, Piece::End);
    assert!(start.elapsed() >= pace * 4, "{:?}", start.elapsed());

    let reply = http::get(upstream.address(), "/", &[]).await;
    assert!(reply.complete);
    let data = http::sse_data(&reply.body);
    assert_eq!((data.len(), data[4].as_str()), (5, "[DONE]"));
}

#[tokio::test]
async fn a_cut_stream_is_told_from_a_whole_one() {
    for end in [Step::Close, Step::Reset, Step::HalfClose] {
        let stream = sse(&chat_events(&["a", "b", "c"]), Duration::from_millis(1));
        let upstream = Upstream::always(cut(stream, 2, end.clone())).await;
        let reply = http::get(upstream.address(), "/", &[]).await;
        assert!(!reply.complete, "{end:?}");
        assert_eq!(http::sse_data(&reply.body).len(), 2, "{end:?}");
    }
    let until_close = vec![Step::Send(b"HTTP/1.1 200 OK\r\n\r\nall".to_vec()), Step::Close];
    let upstream = Upstream::always(until_close).await;
    let reply = http::get(upstream.address(), "/", &[]).await;
    assert!(reply.complete);
    assert_eq!(reply.text(), "all");
}

#[tokio::test]
async fn a_reset_before_any_answer_is_seen() {
    let upstream = Upstream::always(vec![Step::Reset]).await;
    let mut connection = Connection::open(upstream.address()).await;
    connection.send(&http::request("GET", "/", &[], b"")).await;
    assert!(connection.head().await.is_none());
}

#[tokio::test]
async fn it_is_noted_when_the_peer_leaves() {
    let slow = sse(&chat_events(&["a"; 100]), Duration::from_millis(50));
    for steps in [vec![Step::Hang], slow] {
        let upstream = Upstream::always(steps).await;
        let mut connection = Connection::open(upstream.address()).await;
        connection.send(&http::request("GET", "/", &[], b"")).await;
        upstream.request(0).await;
        sleep(Duration::from_millis(120)).await;
        let left = Instant::now();
        drop(connection);
        let noted = upstream.left(0).await;
        assert!(noted >= left && noted < left + Duration::from_millis(500));
    }
}

#[tokio::test]
async fn dropping_the_provider_closes_its_port_and_connections() {
    let upstream = Upstream::always(vec![Step::Hang]).await;
    let address = upstream.address();
    let mut connection = Connection::open(address).await;
    connection.send(&http::request("GET", "/", &[], b"")).await;
    upstream.request(0).await;
    drop(upstream);
    assert!(connection.rest().await.is_empty());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[test]
fn free_ports_differ() {
    let [a, b] = free_ports();
    assert_ne!(a, b);
}
