//! Streams in OpenAI's format: each event is forwarded at once, with the same bytes, and a cut never looks
//! complete.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::time::Duration;

use common::config::{config, key, one_key, provider};
use common::http::{self, Connection, Framing, Piece, Reply};
use common::keymux::Keymux;
use common::upstream::{Step, Upstream, answer, chat_events, chunk, cut, sse};
use serde_json::{Value, json};
use tokio::time::Instant;

const CHAT: &str = "/v1/chat/completions";
/// Small, but long enough that the events are sent one by one.
const PACE: Duration = Duration::from_millis(20);

fn request() -> Vec<u8> {
    http::json_request(CHAT, &[], &json!({"model": "m", "stream": true}))
}

async fn begin(keymux: &Keymux) -> Connection {
    let mut caller = Connection::open(keymux.address()).await;
    caller.send(&request()).await;
    caller
}

/// Returns the response for this response of the provider.
async fn streamed(steps: Vec<Step>) -> Reply {
    streamed_with("", steps).await
}

async fn streamed_with(settings: &str, steps: Vec<Step>) -> Reply {
    let upstream = Upstream::always(steps).await;
    let text = config("", &[provider("main", &upstream, settings, &[key("only", "")])]);
    let keymux = Keymux::start(&text, &[]).await;
    let reply = begin(&keymux).await.reply().await;
    assert!(reply.complete, "{}", reply.text());
    reply
}

/// Returns the events, and the error that the last of them must be.
fn and_error(reply: &Reply) -> (Vec<String>, Value) {
    let mut events = http::sse_data(&reply.body);
    assert!(!reply.text().contains("[DONE]"), "{}", reply.text());
    assert!(reply.body.ends_with(b"\n\n"), "{}", reply.text());
    let last: Value = serde_json::from_str(&events.pop().unwrap()).unwrap();
    let error = last["error"].clone();
    for field in ["message", "type", "param", "code"] {
        assert!(error.get(field).is_some(), "{field} in {last}");
    }
    (events, error)
}

fn data(events: &[String]) -> Vec<String> {
    http::sse_data(events.concat().as_bytes())
}

/// The head of a chunked event stream.
fn head() -> Step {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
                transfer-encoding: chunked\r\n\r\n";
    Step::Send(head.as_bytes().to_vec())
}

fn piece(text: &str) -> Step {
    Step::Send(chunk(text.as_bytes()))
}

fn end() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}

#[tokio::test]
async fn each_event_is_forwarded_before_the_next_arrives() {
    let events = chat_events(&["one", "two", "three"]);
    let pace = Duration::from_millis(200);
    let upstream = Upstream::always(sse(&events, pace)).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let mut caller = begin(&keymux).await;
    let head = caller.head().await.unwrap();
    let mut framing = Framing::of_answer(&head);
    assert_eq!(framing, Framing::Chunked);
    let mut last = Instant::now();
    for event in &events {
        let bytes = http::within(pace * 2, "the event", caller.piece(&mut framing)).await;
        assert_eq!(bytes, Piece::Bytes(event.clone().into_bytes()));
        last = Instant::now();
    }
    assert_eq!(caller.piece(&mut framing).await, Piece::End);
    assert!(last.elapsed() < Duration::from_millis(600), "ends when the provider ends");
}

#[tokio::test]
async fn bytes_are_the_same_in_any_chunking() {
    let text = concat!(
        "\u{feff}: hello\r\n\r\nretry: 3\r\n\r\nevent: x\r\ndata: {\"choices\":[{\"index\":0,\r\n",
        "data:  \"delta\":{\"content\":\"\u{1f600}\"},\"finish_reason\":null}]}\r\n\r\n",
        "data: not json at all\n\nid: 7\ndata:{\"choices\":[{\"index\":0,\"delta\":{},",
        "\"finish_reason\":\"stop\"}]}\n\n: bye\n\ndata: [DONE]\n\n"
    );
    for size in [1, 3, 7, 64, 100_000] {
        let mut steps = vec![head()];
        steps.extend(text.as_bytes().chunks(size).map(|part| Step::Send(chunk(part))));
        steps.push(end());
        let reply = streamed(steps).await;
        assert_eq!(reply.text(), text, "in pieces of {size}");
        assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    }
}

#[tokio::test]
async fn comments_are_forwarded_but_the_head_waits_for_the_first_event() {
    let events = chat_events(&["one"]);
    let mut steps =
        vec![head(), piece(": processing\n\n"), Step::Pause(Duration::from_millis(150))];
    steps.extend([piece(": processing\n\n"), Step::Pause(Duration::from_millis(150))]);
    steps.extend(events.iter().map(|event| piece(event)));
    steps.push(end());
    let reply = streamed(steps).await;
    assert_eq!(reply.text(), format!(": processing\n\n: processing\n\n{}", events.concat()));
}

#[tokio::test]
async fn a_stream_of_comments_only_is_a_silent_provider() {
    let mut steps = vec![head()];
    for _ in 0..20 {
        steps.extend([piece(": wait\n\n"), Step::Pause(Duration::from_millis(50))]);
    }
    let upstream = Upstream::always(steps).await;
    let settings = "timeouts = { first_byte = \"300ms\" }";
    let text = config("", &[provider("main", &upstream, settings, &[key("only", "")])]);
    let keymux = Keymux::start(&text, &[]).await;
    assert_eq!(begin(&keymux).await.reply().await.status(), 504);
}

#[tokio::test]
async fn a_cut_in_mid_stream_becomes_an_error_event() {
    let events = chat_events(&["one", "two", "three"]);
    for how in [Step::Close, Step::Reset] {
        let reply = streamed(cut(sse(&events, PACE), 2, how)).await;
        let (passed, error) = and_error(&reply);
        assert_eq!(passed, data(&events[..2]));
        assert_eq!(error["type"], "upstream_error");
    }
}

#[tokio::test]
async fn a_clean_end_without_a_finish_reason_becomes_an_error_event() {
    let events = chat_events(&["one", "two", "three"]);
    let reply = streamed(cut(sse(&events, PACE), 2, end())).await;
    let (passed, _) = and_error(&reply);
    assert_eq!(passed, data(&events[..2]));
}

#[tokio::test]
async fn a_stream_with_one_unfinished_choice_is_incomplete() {
    let chunk = |index: u8, reason: Value| {
        let choice = json!({"index": index, "delta": {"content": "x"}, "finish_reason": reason});
        piece(&format!("data: {}\n\n", json!({"choices": [choice]})))
    };
    let null = Value::Null;
    let steps =
        vec![head(), chunk(0, null.clone()), chunk(1, null), chunk(0, json!("stop")), end()];
    let (passed, _) = and_error(&streamed(steps).await);
    assert_eq!(passed.len(), 3);
}

#[tokio::test]
async fn a_partial_event_is_closed_before_the_error() {
    let events = chat_events(&["one"]);
    let half = "data: {\"choices\":[{\"index\":0,\"delta\":{\"cont";
    let steps = vec![head(), piece(&events[0]), Step::Pause(PACE), piece(half), Step::Close];
    let reply = streamed(steps).await;
    let (passed, _) = and_error(&reply);
    assert_eq!(passed, [data(&events[..1]), vec![half["data: ".len()..].to_owned()]].concat());
}

#[tokio::test]
async fn a_stall_becomes_an_error_event_and_closes_the_provider() {
    let events = chat_events(&["one", "two"]);
    let upstream = Upstream::always(cut(sse(&events, PACE), 1, Step::Hang)).await;
    let settings = "timeouts = { idle = \"200ms\" }";
    let text = config("", &[provider("main", &upstream, settings, &[key("only", "")])]);
    let keymux = Keymux::start(&text, &[]).await;
    let start = Instant::now();
    let reply = begin(&keymux).await.reply().await;
    let (passed, _) = and_error(&reply);
    assert_eq!(passed, data(&events[..1]));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    upstream.left(0).await;
}

#[tokio::test]
async fn the_total_timeout_ends_an_endless_stream() {
    let events = vec![chat_events(&["more"])[0].clone(); 100];
    let settings = "timeouts = { total = \"400ms\" }";
    let start = Instant::now();
    let reply = streamed_with(settings, sse(&events, PACE)).await;
    let (passed, _) = and_error(&reply);
    assert!(!passed.is_empty() && passed.len() < 40, "{}", passed.len());
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_finished_stream_without_done_ends_promptly_as_complete() {
    let mut events = chat_events(&["one", "two"]);
    events.pop();
    for last in [end(), Step::Close, Step::Reset] {
        let steps = cut(sse(&events, PACE), events.len(), last);
        assert_eq!(streamed(steps).await.text(), events.concat());
    }
    let start = Instant::now();
    let steps = cut(sse(&events, PACE), events.len(), Step::Hang);
    assert_eq!(streamed(steps).await.text(), events.concat());
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_stream_that_stays_open_after_done_is_ended() {
    let events = chat_events(&["one"]);
    let start = Instant::now();
    let reply = streamed(cut(sse(&events, PACE), events.len(), Step::Hang)).await;
    assert_eq!(reply.text(), events.concat());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_stream_of_unknown_events_is_forwarded_and_a_cut_is_reported() {
    let event = piece("data: {\"something\":\"else\"}\n\n");
    let pause = Step::Pause(Duration::from_millis(2500));
    let steps = vec![head(), event.clone(), pause, event.clone(), end()];
    assert_eq!(http::sse_data(&streamed(steps).await.body).len(), 2);
    let steps = vec![head(), event.clone(), Step::Pause(PACE), event, Step::Reset];
    let (passed, _) = and_error(&streamed(steps).await);
    assert_eq!(passed.len(), 2);
}

#[tokio::test]
async fn an_error_within_the_stream_is_forwarded_alone() {
    let mut events = chat_events(&["one"]);
    events.truncate(1);
    events.push("data: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\n".to_owned());
    for last in [end(), Step::Close] {
        let reply = streamed(cut(sse(&events, PACE), 2, last)).await;
        assert_eq!(reply.text(), events.concat());
    }
}

#[tokio::test]
async fn a_stream_that_stays_open_after_an_error_is_ended() {
    let error = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n";
    let events = [chat_events(&["one"])[0].clone(), error.to_owned()];
    let start = Instant::now();
    let reply = streamed(cut(sse(&events, PACE), 2, Step::Hang)).await;
    assert_eq!(reply.text(), events.concat());
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_error_as_the_first_event_becomes_an_error_status() {
    for (error, status) in [
        (json!({"message": "Rate limit reached", "code": "rate_limit_exceeded"}), 429),
        (json!({"message": "The server had an error", "type": "server_error"}), 502),
        (json!({"message": "bad", "code": 400}), 400),
    ] {
        let event = format!("data: {}\n\n", json!({"error": error}));
        let upstream = Upstream::always(vec![head(), piece(&event), end()]).await;
        let keymux = Keymux::start(&one_key(&upstream), &[]).await;
        let reply = begin(&keymux).await.reply().await;
        assert_eq!(reply.status(), status, "{error}: {}", reply.text());
        assert_eq!(reply.json()["error"], error, "in the provider's own words");
    }
}

#[tokio::test]
async fn before_the_first_event_another_key_is_tried() {
    let events = chat_events(&["one"]);
    let failures = [
        vec![head(), piece("data: {\"error\":{\"code\":\"rate_limit_exceeded\"}}\n\n"), end()],
        vec![head(), piece(": wait\n\n"), Step::Close],
        vec![head(), piece("data: {\"cho"), Step::Reset],
        vec![head(), end()],
        answer(500, &[("content-type", "text/event-stream")], b"data: {}\n\n"),
    ];
    for failure in failures {
        let (good, bad) = (sse(&events, PACE), failure.clone());
        let upstream =
            Upstream::start(move |r| if r.number == 0 { bad.clone() } else { good.clone() }).await;
        let keys = [key("a", ""), key("b", "")];
        let keymux =
            Keymux::start(&config("", &[provider("main", &upstream, "", &keys)]), &[]).await;
        let reply = begin(&keymux).await.reply().await;
        assert_eq!(reply.text(), events.concat(), "{failure:?}");
        assert_eq!(reply.header("x-keymux-attempts"), Some("2"));
    }
}

#[tokio::test]
async fn a_cut_responses_stream_ends_with_response_failed() {
    let created = "event: response.created\ndata: {\"type\":\"response.created\"}\n\n";
    let item =
        "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\"}\n\n";
    let upstream = Upstream::always(vec![head(), piece(created), piece(item), end()]).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let body = json!({"model": "m", "stream": true});
    let reply = http::post(keymux.address(), "/v1/responses", &[], &body).await;
    let events = http::sse_data(&reply.body);
    let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    assert_eq!((events.len(), &last["type"]), (4, &json!("response.failed")));
    assert!(!reply.text().contains("response.completed"));
}

#[tokio::test]
async fn a_responses_stream_that_fails_before_its_first_token_becomes_an_error_status() {
    let created = "event: response.created\ndata: {\"type\":\"response.created\"}\n\n";
    let error =
        json!({"type": "server_error", "code": "rate_limit_exceeded", "message": "slow down"});
    let raised = json!({"type": "error", "error": error});
    let raised = format!("event: error\ndata: {raised}\n\n");
    let upstream = Upstream::always(vec![head(), piece(created), piece(&raised), end()]).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let body = json!({"model": "m", "stream": true});
    let reply = http::post(keymux.address(), "/v1/responses", &[], &body).await;
    assert_eq!((reply.status(), &reply.json()["error"]), (429, &error), "{}", reply.text());
}

#[tokio::test]
async fn an_endless_event_becomes_an_error_event() {
    let events = chat_events(&["one"]);
    let mebibyte = "x".repeat(1 << 20);
    let mut steps = vec![head(), piece(&events[0]), Step::Pause(PACE), piece("data: {\"x\":\"")];
    steps.extend(vec![piece(&mebibyte); 17]);
    steps.push(Step::Hang);
    let reply = streamed(steps).await;
    let (passed, error) = and_error(&reply);
    assert_eq!(passed[0], data(&events[..1])[0]);
    assert!(error["message"].as_str().unwrap().contains("16 MiB"), "{error}");
    assert!(reply.body.len() <= (17 << 20), "{}", reply.body.len());
}

#[tokio::test]
async fn many_small_events_in_one_chunk_are_not_one_long_event() {
    let event = chat_events(&[&"x".repeat(1 << 19)])[0].clone();
    let stream = event.repeat(40);
    let mut steps = vec![head()];
    steps.extend(stream.as_bytes().chunks(300_007).map(|part| Step::Send(chunk(part))));
    steps.extend(chat_events(&[]).iter().map(|event| piece(event)));
    steps.push(end());
    let reply = streamed(steps).await;
    assert_eq!(reply.body.len(), stream.len() + chat_events(&[]).concat().len());
    assert!(reply.text().ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn a_disconnect_closes_the_provider_at_any_point_of_the_response() {
    let events = chat_events(&["one", "two"]);
    let whole =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let cases: [(bool, Vec<Step>); 5] = [
        (true, vec![Step::Hang]),
        (true, vec![head(), Step::Hang]),
        (true, cut(sse(&events, PACE), 1, Step::Hang)),
        (false, vec![Step::Hang]),
        (false, vec![Step::Send(whole.to_vec()), Step::Hang]),
    ];
    for (stream, steps) in cases {
        let upstream = Upstream::always(steps.clone()).await;
        let keymux = Keymux::start(&one_key(&upstream), &[]).await;
        let mut caller = Connection::open(keymux.address()).await;
        let body = json!({"model": "m", "stream": stream});
        caller.send(&http::json_request(CHAT, &[], &body)).await;
        upstream.request(0).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        let gone = Instant::now();
        drop(caller);
        let left = upstream.left(0).await;
        assert!(left - gone < Duration::from_millis(100), "{:?} of {steps:?}", left - gone);
    }
}
