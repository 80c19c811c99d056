//! Streams that may take more than one attempt: `rescue` and `first_token` of a route.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::time::Duration;

use common::config::{config, key, provider, secret};
use common::http::{self, Connection, Framing, Piece, Reply};
use common::keymux::Keymux;
use common::upstream::{Received, Step, Upstream, chat_events, cut, sse};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const CHAT: &str = "/v1/chat/completions";
/// Small, but long enough that the events are sent one by one.
const PACE: Duration = Duration::from_millis(20);
const WORDS: [&str; 4] = ["one ", "two ", "three ", "four"];

fn carries(request: &Received, name: &str) -> bool {
    request.header("authorization") == Some(&*format!("Bearer {}", secret(name)))
}

/// Starts keymux with one provider, a route `r` to its model `m`, and the keys `a` and `b`, of which `a` is
/// tried first.
async fn keymux(upstream: &Upstream, route: &str) -> Keymux {
    let keys = [key("a", "weight = 1"), key("b", "weight = 0")];
    let route = format!("[routes.r]\ntargets = [{{ model = \"main/m\" }}]\n{route}\n");
    Keymux::start(&config("", &[provider("main", upstream, "", &keys), route]), &[]).await
}

async fn ask(keymux: &Keymux) -> Reply {
    begin(keymux).await.reply().await
}

async fn begin(keymux: &Keymux) -> Connection {
    let mut caller = Connection::open(keymux.address()).await;
    caller.send(&http::json_request(CHAT, &[], &json!({"model": "r", "stream": true}))).await;
    caller
}

/// A provider that answers the key `a` with the first steps and `b` with the others.
async fn two(a: Vec<Step>, b: Vec<Step>) -> Upstream {
    Upstream::start(move |request| if carries(request, "a") { a.clone() } else { b.clone() }).await
}

/// Returns the text of a chat's stream, and its last event.
fn text(reply: &Reply) -> (String, String) {
    let events = http::sse_data(&reply.body);
    let content = |data: &String| {
        let chunk: Value = serde_json::from_str(data).ok()?;
        chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)
    };
    (events.iter().filter_map(content).collect(), events.last().cloned().unwrap_or_default())
}

/// Returns the access line of the request.
async fn line(keymux: &Keymux) -> Value {
    let start = Instant::now();
    loop {
        let log = keymux.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(line) = lines.rev().find(|line| line["target"] == "access") {
            return line;
        }
        assert!(start.elapsed() < Duration::from_secs(5), "no access line:\n{log}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_broken_held_stream_is_replaced_invisibly() {
    let events = chat_events(&WORDS);
    let upstream = two(cut(sse(&events, PACE), 2, Step::Close), sse(&events, PACE)).await;
    let keymux = keymux(&upstream, "rescue = \"hold\"").await;
    let reply = ask(&keymux).await;
    assert!(reply.complete);
    let bare = reply.text().replace(": keymux\n\n", "");
    assert_eq!(bare, events.concat(), "one stream, whole and as it came");
    assert!(reply.text().starts_with(": keymux\n\n"), "the caller hears that it is worked on");
    // The head names the first attempt; the log names the last.
    assert_eq!(reply.header("x-keymux-key"), Some("a"));
    let line = line(&keymux).await;
    let told = (&line["attempts"], &line["rescued"], &line["key"], &line["end"]);
    assert_eq!(told, (&json!(2), &json!(1), &json!("b"), &json!("complete")));
    assert_eq!(line["bytes_out"], reply.body.len());
    let metrics = keymux.admin("/metrics").await.text();
    assert!(metrics.contains("keymux_rescues_total{provider=\"main\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_held_stream_with_an_error_event_is_replaced() {
    let events = chat_events(&WORDS);
    let error = "data: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\n".to_owned();
    let failing = sse(&[events[0].clone(), events[1].clone(), error], PACE);
    let upstream = two(failing, sse(&events, PACE)).await;
    let reply = ask(&keymux(&upstream, "rescue = \"hold\"").await).await;
    assert_eq!(reply.text().replace(": keymux\n\n", ""), events.concat());
}

#[tokio::test]
async fn when_all_attempts_break_a_held_stream_is_only_an_error() {
    let events = chat_events(&WORDS);
    let upstream = Upstream::always(cut(sse(&events, PACE), 2, Step::Reset)).await;
    let keymux = keymux(&upstream, "rescue = \"hold\"").await;
    let reply = ask(&keymux).await;
    let (said, last) = text(&reply);
    assert_eq!((said.as_str(), reply.complete), ("", true), "{}", reply.text());
    assert!(last.contains("\"error\"") && !reply.text().contains("[DONE]"), "{}", reply.text());
    let line = line(&keymux).await;
    assert_eq!((&line["attempts"], &line["end"]), (&json!(2), &json!("cut")));
}

#[tokio::test]
async fn a_providers_only_key_gets_a_second_try() {
    let events = chat_events(&WORDS);
    let (bad, good) = (cut(sse(&events, PACE), 2, Step::Close), sse(&events, PACE));
    let upstream =
        Upstream::start(move |r| if r.number == 0 { bad.clone() } else { good.clone() }).await;
    let route = "[routes.r]\ntargets = [{ model = \"main/m\" }]\nrescue = \"hold\"\n".to_owned();
    // The broken attempt has released its permit by then.
    let keys = [key("a", "max_concurrent = 1")];
    let keymux =
        Keymux::start(&config("", &[provider("main", &upstream, "", &keys), route]), &[]).await;
    assert_eq!(ask(&keymux).await.text().replace(": keymux\n\n", ""), events.concat());
}

#[tokio::test]
async fn a_failure_before_the_first_event_keeps_its_status_when_streams_are_held() {
    let upstream = Upstream::always(common::upstream::answer(400, &[], b"{}")).await;
    let reply = ask(&keymux(&upstream, "rescue = \"hold\"").await).await;
    assert_eq!((reply.status(), reply.text()), (400, "{}".to_owned()));
}

#[tokio::test]
async fn a_disconnect_during_a_held_stream_closes_the_provider() {
    let events = chat_events(&WORDS);
    let upstream =
        two(cut(sse(&events, PACE), 2, Step::Close), cut(sse(&events, PACE), 1, Step::Hang)).await;
    let keymux = keymux(&upstream, "rescue = \"hold\"").await;
    let mut caller = begin(&keymux).await;
    caller.head().await.unwrap();
    upstream.request(1).await;
    sleep(Duration::from_millis(100)).await;
    let gone = Instant::now();
    drop(caller);
    let left = upstream.left(1).await;
    assert!(left - gone < Duration::from_millis(100), "{:?}", left - gone);
    assert_eq!(line(&keymux).await["end"], "caller_gone");
}

#[tokio::test]
async fn a_stream_over_the_hold_limit_is_forwarded_in_order() {
    let filler = "x".repeat(1 << 20);
    let event = |n: usize| chat_events(&[&format!("{n} {filler}")])[0].clone();
    let events: Vec<String> = (0..18).map(event).collect();
    let mut steps = sse(&events, Duration::ZERO);
    steps.pop();
    steps.push(Step::Hang);
    let upstream = Upstream::always(steps).await;
    let keymux = keymux(&upstream, "rescue = \"hold\"").await;
    let mut caller = begin(&keymux).await;
    let mut framing = Framing::of_answer(&caller.head().await.unwrap());
    let (mut received, expected) = (Vec::new(), events.concat());
    while received.len() < expected.len() {
        match caller.piece(&mut framing).await {
            Piece::Bytes(bytes) if bytes == b": keymux\n\n" => {}
            Piece::Bytes(bytes) => received.extend(bytes),
            end => panic!("{end:?} after {}", received.len()),
        }
    }
    assert!(received == expected.as_bytes(), "the events arrive in order");
}

#[tokio::test]
async fn a_late_first_token_moves_to_the_next_key() {
    let events = chat_events(&WORDS);
    // The head arrives at once, but it is no token.
    let mut late = sse(&events, PACE);
    late[1] = Step::Pause(Duration::from_secs(20));
    let upstream = two(late, sse(&events, PACE)).await;
    let keymux = keymux(&upstream, "first_token = \"300ms\"").await;
    let start = Instant::now();
    let reply = ask(&keymux).await;
    assert_eq!(reply.text(), events.concat());
    assert_eq!(
        (reply.header("x-keymux-key"), reply.header("x-keymux-attempts")),
        (Some("b"), Some("2"))
    );
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let left = upstream.left(0).await;
    assert!(left - start < Duration::from_millis(600), "{:?}", left - start);
    // A slow key is tried again at the next request.
    ask(&keymux).await;
    assert!(carries(&upstream.request(2).await, "a"));
}

#[tokio::test]
async fn a_caller_that_leaves_between_two_attempts_takes_the_provider_along() {
    let events = chat_events(&WORDS);
    let upstream = two(cut(sse(&events, PACE), 2, Step::Close), vec![Step::Hang]).await;
    let keymux = keymux(&upstream, "rescue = \"hold\"").await;
    let mut caller = begin(&keymux).await;
    caller.head().await.unwrap();
    upstream.request(1).await;
    sleep(Duration::from_millis(50)).await;
    let gone = Instant::now();
    drop(caller);
    let left = upstream.left(1).await;
    assert!(left - gone < Duration::from_millis(100), "{:?}", left - gone);
    let line = line(&keymux).await;
    assert_eq!((&line["end"], &line["attempts"]), (&json!("caller_gone"), &json!(2)));
}

#[tokio::test]
async fn the_total_timeout_covers_the_attempts_of_a_rescue() {
    let events = chat_events(&WORDS);
    let upstream = two(cut(sse(&events, PACE), 2, Step::Close), vec![Step::Hang]).await;
    let route = "rescue = \"hold\"\ntimeouts = { total = \"600ms\" }";
    let keymux = keymux(&upstream, route).await;
    let start = Instant::now();
    let reply = ask(&keymux).await;
    assert!(text(&reply).1.contains("\"error\""), "{}", reply.text());
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_drain_timeout_ends_a_rescue_with_an_error() {
    let events = chat_events(&WORDS);
    for b in [vec![Step::Hang], cut(sse(&events, PACE), 1, Step::Hang)] {
        let upstream = two(cut(sse(&events, PACE), 2, Step::Close), b).await;
        let keys = [key("a", "weight = 1"), key("b", "weight = 0")];
        let route = "[routes.r]\ntargets = [{ model = \"main/m\" }]\nrescue = \"hold\"\n";
        let parts = [provider("main", &upstream, "", &keys), route.to_owned()];
        let keymux = Keymux::start(&config("drain_timeout = \"200ms\"", &parts), &[]).await;
        let mut caller = begin(&keymux).await;
        let mut framing = Framing::of_answer(&caller.head().await.unwrap());
        upstream.request(1).await;
        keymux.signal(rustix::process::Signal::TERM);
        let mut body = Vec::new();
        while let Piece::Bytes(bytes) = caller.piece(&mut framing).await {
            body.extend(bytes);
        }
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("the gateway is stopping") && !body.contains("[DONE]"), "{body}");
        assert_eq!(line(&keymux).await["end"], "stopped");
    }
}
